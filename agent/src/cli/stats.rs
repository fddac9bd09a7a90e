//! `demarc stats`: the upload switch.

use std::{path::Path, process::ExitCode};

use clap::{Args, Subcommand};

use super::{
    ReadArgs, preview,
    switch::{must_be_off, turn},
};
use crate::{
    settings::{edit::Switch, load::Loaded},
    supervisor::derive,
};

/// Arguments of `demarc stats`.
#[derive(Debug, Args)]
#[command(after_help = "Example: demarc stats off")]
pub struct StatsArgs {
    #[command(subcommand)]
    command: StatsCommand,
}

#[derive(Debug, Subcommand)]
enum StatsCommand {
    /// Lets aggregated reports leave from now on: sets stats.upload in the config file.
    On,
    /// Stops all reports at once: when this returns, not one further byte of them leaves.
    Off,
    /// Prints the next report's exact bytes, and whether they would leave.
    Preview(ReadArgs),
    /// Shows the figures of the open window before and after the privacy floor.
    Show(ReadArgs),
}

/// Does what was asked.
///
/// # Errors
/// When the config file cannot be changed, or the running daemon does not follow.
pub fn run(args: &StatsArgs, config: &Path, loaded: &Loaded) -> anyhow::Result<ExitCode> {
    match args.command {
        StatsCommand::On => switch(config, loaded, true),
        StatsCommand::Off => switch(config, loaded, false),
        StatsCommand::Preview(ref read) => preview::preview(&loaded.settings, upload(loaded), read.json).map(done),
        StatsCommand::Show(ref read) => preview::show(&loaded.settings, upload(loaded), read.json).map(done),
    }
}

fn done((): ()) -> ExitCode {
    ExitCode::SUCCESS
}

/// Whether uploads are on as far as this command can see: the daemon's environment may say otherwise.
fn upload(loaded: &Loaded) -> bool {
    derive::upload(loaded, std::env::var_os("DO_NOT_TRACK").as_deref()).on
}

fn switch(config: &Path, loaded: &Loaded, on: bool) -> anyhow::Result<ExitCode> {
    let turned = turn(config, loaded, Switch::Upload, on)?;
    let decided = turned.uploads(loaded, Switch::Upload, on).stats;
    if !on {
        must_be_off(Switch::Upload, &decided)?;
    }
    match (on, &turned.daemon) {
        (true, _) if !decided.on => {
            println!("stats.upload is true in the config file now, but {} keeps uploads off.", decided.decided_by);
        }
        (true, _) => {
            println!("Statistics uploads are on.");
            println!("What leaves are aggregated reports, each entered in the ledger first (`demarc sent`).");
        }
        (false, Some(_)) => {
            println!("Statistics uploads are off: no report leaves, and those that waited are discarded.");
        }
        (false, None) => {
            println!("Statistics uploads are off: no report leaves; those that wait are discarded at the next start.");
        }
    }
    if !on {
        let rest = "the tunnel stays as it is (`demarc tunnel off`)";
        println!("Call counting, `demarc report` and the ledger go on; {rest}.");
    }
    turned.print_remarks(&loaded.settings);
    Ok(ExitCode::SUCCESS)
}
