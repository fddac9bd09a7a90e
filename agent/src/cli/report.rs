//! `demarc report`: the local call report.

use std::{
    fs::File,
    io::{self, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use clap::{Args, error::ErrorKind};
use jiff::{ToSpan, civil::Date};

use crate::{
    call::QUARTER,
    figures::Period,
    local_report::{Dimension, LocalReport, Query, ReportZone},
    missed_report::{MissedQuery, MissedReport},
    number::Shown,
    printed::Printed,
    queue_report::QueueReport,
    settings::Settings,
    state::StateDir,
    store::Store,
    wait_report::WaitReport,
};

/// Prints how many calls there were, how long people talked and how long callers waited.
///
/// Calls count at the time at which they ended. Nothing of this leaves the machine.
#[derive(Debug, Args)]
#[command(after_help = "Example: demarc report --from 2026-11-01 --to 2026-12-01 --by weekday,outcome")]
pub struct ReportArgs {
    /// Counts calls that ended from this moment on, such as 2026-11-22, 2026-11-22T09:00 or 2026-11-22T09:00:00Z.
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// Counts calls that ended before this moment.
    #[arg(long, value_name = "TIME")]
    to: Option<String>,
    /// Tells calls apart by these, in this order.
    #[arg(long, value_delimiter = ',', default_value = "direction,outcome", value_name = "DIMENSIONS")]
    by: Vec<Dimension>,
    /// Prints what happened in the queues instead, by the queue log: --from and --to are when callers came in.
    #[arg(long, conflicts_with_all = ["by", "csv"])]
    queues: bool,
    /// Prints how long callers from outside waited instead: calls by groups of waiting times.
    #[arg(long, conflicts_with_all = ["by", "queues", "missed"])]
    waits: bool,
    /// Lists the callers instead who reached no person and were not called back: --from and --to are when they called.
    #[arg(long, conflicts_with_all = ["by", "queues"])]
    missed: bool,
    /// With --missed: lists missed calls that were returned, too.
    #[arg(long, requires = "missed")]
    all: bool,
    /// With --missed: prints the numbers of callers whole, not without their last four digits.
    #[arg(long, requires = "missed")]
    whole_numbers: bool,
    /// Writes a report for paper into this file instead: whole days of the wall clock, by default the last week that is over.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["by", "csv", "json", "queues", "missed", "waits"])]
    html: Option<PathBuf>,
    /// Prints JSON for scripts.
    #[arg(long, conflicts_with = "csv")]
    json: bool,
    /// Prints CSV for spreadsheets.
    #[arg(long)]
    csv: bool,
    /// Takes hours and days in this zone, such as Europe/Berlin. Without it JSON and CSV are in UTC, the table in the
    /// machine's own zone.
    #[arg(long, value_name = "ZONE")]
    timezone: Option<String>,
}

/// Runs the command.
///
/// # Errors
/// When an argument is not understood, or the store cannot be read.
pub fn run(args: &ReportArgs, settings: &Settings) -> anyhow::Result<()> {
    if let Some(file) = &args.html {
        return printed(args, file, settings);
    }
    let query = match query(args) {
        Ok(query) => query,
        Err(error) => clap::Error::raw(ErrorKind::ValueValidation, format!("{error}\n")).exit(),
    };
    // The machine's time zone is read by now.
    super::confine_command(settings)?;
    let store = Store::open_existing(&StateDir::new(&settings.state_dir))?;
    let text = if args.queues {
        queues(args, query, store.as_ref())?
    } else if args.waits {
        waits(args, query, store.as_ref())?
    } else if args.missed {
        missed(args, query, store.as_ref())?
    } else {
        calls(args, &query, store.as_ref())?
    };
    match io::stdout().lock().write_all(text.as_bytes()) {
        // Whoever reads has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result.context("cannot write the report"),
    }
}

/// Writes the report for paper.
fn printed(args: &ReportArgs, path: &Path, settings: &Settings) -> anyhow::Result<()> {
    let (period, zone) = match days(args) {
        Ok(both) => both,
        Err(error) => clap::Error::raw(ErrorKind::ValueValidation, format!("{error:#}\n")).exit(),
    };
    // Whoever may write there opens it; what follows may not.
    let mut file = File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
    super::confine_command(settings)?;
    let store = Store::open_existing(&StateDir::new(&settings.state_dir))?.context("no call was counted yet")?;
    let text = Printed::read(&store, period, &zone)?.file();
    file.write_all(text.as_bytes()).with_context(|| format!("cannot write {}", path.display()))?;
    println!("{}: the calls of {} to {}.", path.display(), period.first(), period.last());
    Ok(())
}

/// The days of the report for paper: from the first to before the other one.
fn days(args: &ReportArgs) -> anyhow::Result<(Period, ReportZone)> {
    let zone = args.timezone.as_deref().map_or_else(|| Ok(ReportZone::local()), ReportZone::named)?;
    let day = |text: &str| text.parse::<Date>().context("--html counts whole days: write 2026-11-22");
    let today = zone.rules.to_datetime(jiff::Timestamp::now()).date();
    let period = match (&args.from, &args.to) {
        (None, None) => Period::last_week(today),
        (Some(from), None) => Period::new(day(from)?, today)?,
        (None, Some(_)) => bail!("--html needs --from beside --to"),
        (Some(from), Some(to)) => Period::new(day(from)?, day(to)?.saturating_sub(1.day()))?,
    };
    Ok((period, zone))
}

/// The report in the form that was asked for.
fn in_form(
    args: &ReportArgs,
    json: impl FnOnce() -> String,
    csv: impl FnOnce() -> String,
    table: impl FnOnce() -> String,
) -> String {
    match args {
        ReportArgs { json: true, .. } => json() + "\n",
        ReportArgs { csv: true, .. } => csv(),
        _ => table(),
    }
}

fn calls(args: &ReportArgs, query: &Query, store: Option<&Store>) -> anyhow::Result<String> {
    let report = match store {
        Some(store) => store.local_report(query)?,
        None => LocalReport::empty(query),
    };
    Ok(in_form(args, || report.to_json(), || report.to_csv(), || report.to_table()))
}

fn queues(args: &ReportArgs, query: Query, store: Option<&Store>) -> anyhow::Result<String> {
    let Query { from, to, zone, .. } = query;
    let report = match store {
        Some(store) => store.queue_report(from, to, zone)?,
        None => QueueReport::empty(from, to, zone),
    };
    Ok(if args.json { report.to_json() + "\n" } else { report.to_table() })
}

fn waits(args: &ReportArgs, query: Query, store: Option<&Store>) -> anyhow::Result<String> {
    let Query { from, to, zone, .. } = query;
    let report = match store {
        Some(store) => store.wait_report(from, to, zone)?,
        None => WaitReport::empty(from, to, zone),
    };
    Ok(in_form(args, || report.to_json(), || report.to_csv(), || report.to_table()))
}

fn missed(args: &ReportArgs, query: Query, store: Option<&Store>) -> anyhow::Result<String> {
    let second = |quarter: Option<i64>| quarter.map(|quarter| quarter.saturating_mul(QUARTER));
    let shown = if args.whole_numbers { Shown::Whole } else { Shown::Masked };
    let (from, to) = (second(query.from), second(query.to));
    let query = MissedQuery { from, to, returned: args.all, shown, zone: query.zone };
    let report = match store {
        Some(store) => store.missed_report(query)?,
        None => MissedReport::empty(query),
    };
    Ok(in_form(args, || report.to_json(), || report.to_csv(), || report.to_table()))
}

fn query(args: &ReportArgs) -> anyhow::Result<Query> {
    for (place, dimension) in args.by.iter().enumerate() {
        if args.by[..place].contains(dimension) {
            bail!("--by names {} twice", dimension.word());
        }
    }
    let zone = match &args.timezone {
        Some(name) => ReportZone::named(name)?,
        None if args.json || args.csv => ReportZone::utc(),
        None => ReportZone::local(),
    };
    let moment = |option, text: &Option<String>| text.as_ref().map(|text| zone.quarter(option, text)).transpose();
    let (from, to) = (moment("--from", &args.from)?, moment("--to", &args.to)?);
    if let (Some(from), Some(to)) = (from, to)
        && from >= to
    {
        bail!("--from must be before --to");
    }
    Ok(Query { by: args.by.clone(), from, to, zone })
}
