//! `demarc setup`: from a phone system to a running demarc, by four questions.

mod ask;
mod deed;
mod sample;
mod screen;

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, bail};
use clap::Args;
use rustix::fs::{Access, access};
use toml_edit::DocumentMut;

pub use self::sample::{SampleArgs, run as run_sample};
use self::{ask::Asker, deed::Outcome, screen::Screen};
use crate::{
    confine::layout::Ground,
    detect::PbxKind,
    settings::{
        Settings,
        load::{self, Loaded},
    },
    setup::{
        answers::Vendor,
        database::NewUser,
        draft::{Draft, Wish},
        findings::Findings,
        sample::Sample,
    },
    state::{Site, StateDir},
};

/// Sets demarc up: finds the phone system, asks what may leave, writes the config file, enrolls, and starts.
///
/// It asks four questions, and none has an answer beforehand. Running it again changes nothing but what it asks: what you set
/// in the config file stays, comments too. Before it changes anything, it shows what it would do.
#[derive(Debug, Args)]
#[command(
    after_help = "A file of answers, for many machines alike; a question that it does not answer is an error:\n\n  \
    stats = true            # totals of calls, in groups of 10 or more\n  \
    health = true           # how the machine is\n  \
    support = true          # you may let an engineer in, each time anew\n  \
    updates = false         # new versions of demarc through the tunnel\n  \
    token = \"demarc1.…\"     # or \"none\": no vendor\n  \
    trunks = [\"provider1\"]  # where the phone system's settings do not tell\n\n\
    Examples:\n  demarc setup\n  demarc setup --answers answers.toml --dry-run"
)]
pub struct SetupArgs {
    /// Takes the answers from this file, or from standard input for -, and asks nothing.
    #[arg(long, value_name = "FILE", allow_hyphen_values = true)]
    answers: Option<PathBuf>,
    /// Shows the config file and what would be done, and changes nothing.
    #[arg(long)]
    dry_run: bool,
    /// Makes the database user that only reads call records, as MariaDB's root; without it, says what root has to type.
    #[arg(long)]
    create_db_user: bool,
    /// Writes and enrolls, and starts nothing.
    #[arg(long)]
    no_start: bool,
    /// Looks for the phone system below this directory, such as the root of a container, and reads its records there.
    #[arg(long, value_name = "DIRECTORY", default_value = "/")]
    root: PathBuf,
    /// Keeps there what demarc keeps, instead of in /var/lib/demarc.
    #[arg(long, value_name = "DIRECTORY")]
    state_dir: Option<PathBuf>,
    /// Prints what came of it as JSON; what happens is told on standard error.
    #[arg(long, requires = "answers")]
    json: bool,
}

/// Sets demarc up. `before` is the config file that there is.
///
/// # Errors
/// When a question is not answered, the file cannot be written, or the site cannot be enrolled.
pub fn run(args: &SetupArgs, config: &Path, before: Option<&Loaded>) -> anyhow::Result<ExitCode> {
    let mut asker = Asker::new(args.answers.as_deref())?;
    let config = &std::path::absolute(config)?;
    let root = std::path::absolute(&args.root)?;
    if !args.dry_run {
        may_write(config)?;
    }
    let text = before.map(|_| fs::read_to_string(config)).transpose().context("the config file cannot be read")?;
    let now = match &text {
        Some(text) => load::load_text(config, text, std::iter::empty())?.settings,
        None => Settings::default(),
    };
    if text.is_some() && args.state_dir.as_ref().is_some_and(|asked| *asked != now.state_dir) {
        bail!("the config file says state_dir = {:?} already; --state-dir is for a first one", now.state_dir);
    }
    let screen = Screen { to_stderr: args.json };

    let findings = Findings::of(&root, super::now(), &now.pbx);
    screen.say(&findings.screen());
    let (mut sources, mut new_user) = (Vec::new(), None);
    if now.pbx.source.is_empty() {
        match asker.sources() {
            // Named ones are taken at their word.
            Some(named) => sources = named,
            None => {
                sources = findings.sources.clone();
                new_user = NewUser::for_one_of(&mut sources)?;
            }
        }
    }
    let in_effect = if sources.is_empty() { &now.pbx.source } else { &sources };
    let known: Vec<String> = findings.trunks.iter().map(|trunk| trunk.name.clone()).collect();
    let needed = now.pbx.trunks.is_empty() && !in_effect.is_empty() && !Findings::tell_of_trunks(in_effect);
    let trunks = asker.trunks(known, needed)?;
    let says_confinement =
        text.as_ref().and_then(|text| text.parse::<DocumentMut>().ok()?.get("confinement").map(drop));
    let confinement = match Ground::of_the_kernel()?.landlock {
        None if says_confinement.is_none() => Some(asker.confinement()?),
        _ => None,
    };
    let site =
        Site::load(&StateDir::new(before.map_or_else(|| state_dir(args), |loaded| loaded.settings.state_dir.clone())))?;

    let (choices, vendor, draft, sample) = loop {
        let choices = asker.choices(text.is_some().then_some(&now))?;
        let vendor = match &site {
            Some(_) => Vendor::None,
            None => asker.vendor()?,
        };
        let wish = Wish {
            choices,
            sources: sources.clone(),
            trunks: trunks.clone(),
            authorities: asker.authorities(),
            confinement,
            state_dir: args.state_dir.clone(),
            pbx: findings.kind.map(PbxKind::as_str),
            day: today(),
        };
        let draft = Draft::new(config, text.clone(), &wish)?;
        let planned = load::load_text(config, &draft.text, std::iter::empty())?.settings;
        let sample = if choices[0] { sample::take(&planned) } else { Sample::default() };
        screen.preview(choices[0], &sample, planned.stats.grace);
        screen.plan(config, text.is_some(), &draft, args.dry_run);
        if args.dry_run || asker.confirmed()? {
            break (choices, vendor, draft, sample);
        }
    };

    let mut outcome = Outcome::new(config, &findings, choices, sample, site.as_ref());
    outcome.vendor = vendor;
    outcome.dry_run = args.dry_run;
    if args.dry_run {
        outcome.would_do(&draft, new_user.as_ref(), args, &screen);
    } else {
        outcome.do_it(&draft, new_user.as_ref(), args, &screen)?;
    }
    outcome.close(args.json, &screen)
}

/// Where a first config file lets demarc keep what it keeps.
fn state_dir(args: &SetupArgs) -> PathBuf {
    let named = std::env::var_os("DEMARC__STATE_DIR").map(PathBuf::from);
    named.or_else(|| args.state_dir.clone()).unwrap_or_else(|| Settings::default().state_dir)
}

/// Nobody is to answer questions whose answers cannot be written down.
fn may_write(config: &Path) -> anyhow::Result<()> {
    let above = config.ancestors().skip(1).find(|path| path.exists()).unwrap_or(Path::new("/"));
    if access(above, Access::WRITE_OK | Access::EXEC_OK).is_err() {
        bail!(
            "{} cannot be written by this user; run demarc setup as root, or name another file with --config",
            config.display()
        );
    }
    Ok(())
}

fn today() -> String {
    jiff::Zoned::now().strftime("%Y-%m-%d").to_string()
}
