//! `demarc import`: old call records enter the local figures.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, bail};
use clap::Args;

use crate::{
    call::QUARTER,
    collector::trunks::KnownTrunks,
    import::{self, Input, Summary, progress::Display},
    local_report::ReportZone,
    pbx::Zone,
    settings::{Settings, Source},
    state::StateDir,
    store::Store,
};

/// Reads old call record files into the local figures. Imported calls are never reported to the vendor.
///
/// A file that was read before, by an earlier import or by the daemon, adds nothing. An import that was interrupted
/// goes on where it stopped when it is started again. The daemon may run meanwhile.
#[derive(Debug, Args)]
#[command(after_help = "Example: demarc import /var/log/asterisk/cdr-csv/Master.csv.1")]
pub struct ImportArgs {
    /// Files in any layout of Asterisk's cdr_csv.
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Takes the times in the files in this zone, such as Europe/Berlin. Without it the zone of the configured source
    /// counts, or else the machine's own.
    #[arg(long, value_name = "ZONE")]
    timezone: Option<String>,
    /// Passes over calls that ended at that moment or later, since a source in the config file counts them. It is needed where
    /// the first of these is no file of cdr_csv.
    #[arg(long, value_name = "MOMENT")]
    before: Option<String>,
    /// Prints the summary as JSON.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
///
/// # Errors
/// When a file cannot be read, or the store cannot be written.
pub fn run(args: &ImportArgs, settings: &Settings) -> anyhow::Result<()> {
    // Everything that is named on the command line is opened before anything is read: a mistyped name stops
    // the whole import, not half of it.
    let before = before(args, settings)?;
    let open = |path: &PathBuf| Input::open(path).map(|input| input.before(before));
    let inputs: Vec<_> = args.paths.iter().map(open).collect::<Result<_, _>>()?;
    let zones: Vec<_> = args.paths.iter().map(|path| zone(args, settings, path)).collect::<Result<_, _>>()?;
    let state = StateDir::new(&settings.state_dir);
    state.become_owner()?;
    state.create()?;
    super::confine_command(settings)?;
    let mut store = Store::open(&state)?;
    let rules = KnownTrunks::of(&settings.pbx, &store)?.rules(&settings.pbx);
    let display = Display::new(inputs.iter().map(Input::length).sum());
    let mut summary = Summary::default();
    for (input, zone) in inputs.into_iter().zip(zones) {
        display.begin(input.path());
        if input.is_of_an_account() {
            let path = input.path().display();
            display.warn(&format!(
                "{path} looks like the file of one account code: its calls stand in Master.csv as well, so import only one of the two"
            ));
        }
        let outcome = import::file(&mut store, input, zone, &rules, &now, &mut |progress| display.show(progress))?;
        if let Some(trouble) = &outcome.trouble {
            display.warn(&format!("{}: {trouble}", outcome.path.display()));
        }
        summary.add(outcome);
    }
    display.end();
    let text = if args.json { summary.to_json() + "\n" } else { summary.to_text() };
    match io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result.context("cannot write the summary"),
    }
}

/// Where the rows end that are to be read: seconds since 1970 in UTC. A file that a source follows is known again, but the rows
/// of a database are not known in a file.
fn before(args: &ImportArgs, settings: &Settings) -> anyhow::Result<i64> {
    if let Some(text) = &args.before {
        let zone = args.timezone.as_deref().map_or_else(|| Ok(ReportZone::local()), ReportZone::named)?;
        return Ok(zone.quarter("--before", text)? * QUARTER);
    }
    let first = settings.pbx.source.iter().find(|source| source.tells_of_calls());
    let knows_history = |source: &&Source| !matches!(source, Source::AsteriskCsv { .. } | Source::Ami { .. });
    match first.filter(knows_history) {
        None => Ok(i64::MAX),
        Some(source) => bail!(
            "calls are counted from {}: rows of these files that it knows too would count twice. Say from when on it knows \
             all calls, such as --before 2025-01-01; rows from then on are passed over",
            source.name()
        ),
    }
}

/// The zone of a file: asked for, or that of the source beside which it lies, or of the first source.
fn zone(args: &ImportArgs, settings: &Settings, path: &Path) -> anyhow::Result<Zone> {
    let sources = || {
        let csv = settings.pbx.source.iter().filter(|source| matches!(source, Source::AsteriskCsv { .. }));
        csv.filter_map(|source| Some((source.path()?, source.timezone())))
    };
    let directory = |path: &Path| path.canonicalize().ok().and_then(|path| path.parent().map(Path::to_owned));
    let here = directory(path);
    let source = sources().find(|(source, _)| here.is_some() && directory(source) == here).or_else(|| sources().next());
    let name = args.timezone.as_deref().or(source.and_then(|(_, timezone)| timezone));
    Ok(Zone::load(name)?)
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
