//! `demarc run`: the daemon.

use std::{path::Path, process::ExitCode};

use clap::Args;

use crate::{confine, log, settings::load::Loaded, supervisor};

/// Arguments of `demarc run`.
#[derive(Debug, Args)]
#[command(after_help = "It ends in good order on SIGTERM and SIGINT and reads its config file again on SIGHUP.\n\
    Exit code 70 means that the confinement does not hold.\n\nExample: demarc --config /etc/demarc/demarc.toml run")]
pub struct RunArgs {}

/// Runs the daemon until it is told to end.
///
/// # Errors
/// When it cannot start.
pub fn run(_args: &RunArgs, config: &Path, loaded: Loaded) -> anyhow::Result<ExitCode> {
    log::start("supervisor");
    confine::name_process("demarc");
    Ok(supervisor::run(config, loaded)?)
}
