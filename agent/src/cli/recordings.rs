//! `demarc recordings`: how many recordings there are, and an end for those that are old.

mod prune;
pub(super) mod table;
mod worker;

use std::{path::Path, process::ExitCode, time::Duration};

use clap::{Args, Subcommand};

use crate::{
    recordings::Work,
    settings::{load::Loaded, parse_duration, recordings::SHORTEST},
};
use worker::Worker;

/// Arguments of `demarc recordings`.
#[derive(Debug, Args)]
#[command(
    after_help = "Nothing is opened to count or to remove recordings: the process that does it cannot open one.\n\n\
                  Examples:\n  demarc recordings\n  demarc recordings prune --dry-run\n  demarc recordings prune --older-than 90d"
)]
pub struct RecordingsArgs {
    #[command(subcommand)]
    command: Option<RecordingsCommand>,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum RecordingsCommand {
    /// Removes recordings that are older than recordings.retention in the config file says, or than --older-than. What a
    /// legal hold names stays, and so does everything that is no recording.
    Prune(PruneArgs),
}

/// Arguments of `demarc recordings prune`.
#[derive(Debug, Args)]
#[command(after_help = "Example: demarc recordings prune --dry-run --older-than 90d")]
struct PruneArgs {
    /// Removes nothing, and lists what would be removed.
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,
    /// Goes by this age instead of recordings.retention: a number with d or h, one day or more. It counts from the last
    /// change of a file.
    #[arg(long, value_name = "TIME", value_parser = age)]
    older_than: Option<Duration>,
    /// Lists every name.
    #[arg(long, requires = "dry_run")]
    all: bool,
    /// Does not ask whether that is meant.
    #[arg(long)]
    yes: bool,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
}

fn age(text: &str) -> Result<Duration, String> {
    let good = parse_duration(text).filter(|age| *age >= SHORTEST);
    good.ok_or_else(|| "an age is one day or more, such as 90d".to_owned())
}

/// Counts, lists or removes.
///
/// # Errors
/// When nothing says how old is old, or the keeper could not do its work.
pub fn run(args: &RecordingsArgs, config: &Path, loaded: &Loaded) -> anyhow::Result<ExitCode> {
    let worker = Worker::find(config, &loaded.settings)?;
    match &args.command {
        None => {
            let outcome = worker.work(&Work::Inventory, &mut |_| {})?;
            let status = worker.status(outcome)?;
            super::end_quietly_with_the_reader();
            if args.json {
                println!("{}", serde_json::to_string_pretty(&status)?);
            } else {
                print!("{}", table::screen(&status));
            }
            Ok(ExitCode::SUCCESS)
        }
        Some(RecordingsCommand::Prune(args)) => prune::run(args, &worker, loaded),
    }
}

/// So many of a thing.
fn count(number: u64, thing: &str) -> String {
    if number == 1 { format!("1 {thing}") } else { format!("{number} {thing}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_a_day_or_more() {
        assert_eq!(age("90d"), Ok(Duration::from_secs(90 * 86_400)));
        assert!(age("24h").is_ok() && age("23h").is_err() && age("90").is_err() && age("").is_err());
    }
}
