//! `demarc sources`: what there is to read on this machine, and what should be read.

use std::{
    fmt::Write as _,
    io::{self, Write},
    path::PathBuf,
};

use anyhow::Context;
use clap::Args;
use jiff::{Timestamp, tz::TimeZone};
use serde_json::json;

use crate::{
    detect::{self, Finding, Machine, Recommendation, State},
    settings::Settings,
};

/// Looks which sources of call records this machine has: which are written, which are stale, which tell of the same calls.
///
/// It reads the phone system's own settings and the last row of a file, connects to nothing, and changes nothing.
#[derive(Debug, Args)]
#[command(after_help = "Example: demarc sources --toml >> /etc/demarc/demarc.toml")]
pub struct SourcesArgs {
    /// Looks at the machine whose root directory lies there, such as a mounted image.
    #[arg(long, value_name = "DIRECTORY", default_value = "/")]
    root: PathBuf,
    /// Prints the recommended settings alone, as they would stand in the config file.
    #[arg(long, conflicts_with = "json")]
    toml: bool,
    /// Prints everything as JSON.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
///
/// # Errors
/// When standard output cannot be written.
pub fn run(args: &SourcesArgs, settings: &Settings) -> anyhow::Result<()> {
    let machine = Machine::new(&args.root, super::now());
    let found = detect::survey(&machine, &settings.pbx);
    let recommendation = detect::recommend(&found);
    let text = if args.json {
        let value = json!({
            "found": found,
            "words": recommendation.words,
            "recommended": recommendation.sources.iter().map(|source| source.name()).collect::<Vec<_>>(),
            "toml": recommendation.to_toml(),
        });
        format!("{value:#}\n")
    } else if args.toml {
        recommendation.to_toml()
    } else {
        screen(&found, &recommendation)
    };
    match io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result.context("cannot write what was found"),
    }
}

fn screen(found: &[Finding], recommendation: &Recommendation) -> String {
    let mut text = String::new();
    for finding in found {
        let written = finding.last_written.and_then(moment).map(|moment| format!(", last written {moment}"));
        let configured = if finding.configured { ", in the config file" } else { "" };
        let state = state(finding.state);
        let _ = writeln!(text, "{}: {state}{}{configured}", finding.name, written.unwrap_or_default());
        for words in &finding.words {
            let _ = writeln!(text, "    {words}");
        }
        if let Some(advice) = &finding.advice {
            let _ = writeln!(text, "    would be better with: {advice}");
        }
    }
    if !found.is_empty() {
        text.push('\n');
    }
    for words in &recommendation.words {
        let _ = writeln!(text, "{words}");
    }
    if !recommendation.sources.is_empty() {
        let _ = write!(text, "The config file would say:\n\n{}", recommendation.to_toml());
    }
    text
}

fn state(state: State) -> &'static str {
    match state {
        State::Fresh => "written of late",
        State::Stale => "STALE: others were written since, or it is old",
        State::Empty => "empty so far",
        State::Missing => "not there yet",
        State::Unreadable => "cannot be read by this user",
        State::Server => "a server: it takes a user of demarc's own",
        State::Off => "the phone system is not set to write it",
    }
}

fn moment(seconds: u64) -> Option<String> {
    let moment = Timestamp::from_second(i64::try_from(seconds).ok()?).ok()?;
    Some(moment.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M").to_string())
}
