//! `demarc man`: the manual pages and the completions of shells, for whoever builds a package.

use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, Command};

/// Arguments of `demarc man`.
#[derive(Debug, Args)]
pub struct ManArgs {
    /// The directory to write them into.
    directory: PathBuf,
}

/// Writes them.
///
/// # Errors
/// When a file cannot be written.
pub fn run(args: &ManArgs, command: Command) -> anyhow::Result<()> {
    demarc_manual::write(command, &args.directory)
        .with_context(|| format!("the manual cannot be written into {}", args.directory.display()))
}
