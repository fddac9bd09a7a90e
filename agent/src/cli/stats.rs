//! `demarc stats`: the upload switch.

use std::{path::Path, process::ExitCode};

use clap::{Args, Subcommand};

use super::switch::turn;
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
}

/// Does what was asked.
///
/// # Errors
/// When the config file cannot be changed, or the running daemon does not follow.
pub fn run(args: &StatsArgs, config: &Path, loaded: &Loaded) -> anyhow::Result<ExitCode> {
    match args.command {
        StatsCommand::On => switch(config, loaded, true),
        StatsCommand::Off => switch(config, loaded, false),
    }
}

fn switch(config: &Path, loaded: &Loaded, on: bool) -> anyhow::Result<ExitCode> {
    let turned = turn(config, loaded, Switch::Upload, on)?;
    if on {
        println!("Statistics uploads are on in the config file.");
        println!("What leaves are aggregated reports, each entered in the ledger first (`demarc sent`).");
    } else {
        println!("Statistics uploads are off: no report leaves, and those that waited are discarded.");
        println!(
            "Call counting, `demarc report` and the ledger go on; the tunnel stays as it is (`demarc tunnel off`)."
        );
    }
    // The daemon's environment counts where there is a daemon, and our own tells nothing about it.
    match &turned.daemon {
        Some(daemon) if daemon.upload != on => {
            let word = if daemon.upload { "on" } else { "off" };
            println!("But the running demarc keeps them {word}, because of {}.", daemon.upload_decided_by);
        }
        None if on && !derive::upload(loaded, std::env::var_os("DO_NOT_TRACK").as_deref()).on && do_not_track() => {
            println!("But DO_NOT_TRACK in the environment keeps them off.");
        }
        _ => {}
    }
    turned.print_remarks(Switch::Upload);
    Ok(ExitCode::SUCCESS)
}

/// Whether `DO_NOT_TRACK` alone would keep uploads off.
fn do_not_track() -> bool {
    !crate::gate::consent::effective_upload(true, std::env::var_os("DO_NOT_TRACK").as_deref())
}
