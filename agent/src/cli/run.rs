//! `demarc run`: the daemon.

use std::{path::Path, process::ExitCode};

use clap::Args;

use crate::{confine, log, settings::load::Loaded, supervisor};

/// Arguments of `demarc run`.
#[derive(Debug, Args)]
#[command(after_help = "It ends in good order on SIGTERM and SIGINT and reads its config file again on SIGHUP.\n\
    Exit code 70 means that the confinement does not hold.\n\nExample: demarc --config /etc/demarc/demarc.toml run")]
pub struct RunArgs {
    /// Only reads the settings: says which key on which line cannot be used, with exit code 64, or nothing.
    #[arg(long)]
    check: bool,
}

/// Runs the daemon until it is told to end, or checks what it would run with.
///
/// # Errors
/// When it cannot start.
pub fn run(args: &RunArgs, config: &Path, loaded: Loaded) -> anyhow::Result<ExitCode> {
    if args.check {
        return Ok(ExitCode::SUCCESS);
    }
    log::start("supervisor");
    confine::name_process("demarc");
    Ok(supervisor::run(config, loaded)?)
}
