//! `demarc tunnel`: the switch of the connection to the vendor.

use std::{path::Path, process::ExitCode};

use clap::{Args, Subcommand};

use super::switch::turn;
use crate::settings::{edit::Switch, load::Loaded};

/// Arguments of `demarc tunnel`.
#[derive(Debug, Args)]
#[command(after_help = "Example: demarc tunnel off")]
pub struct TunnelArgs {
    #[command(subcommand)]
    command: TunnelCommand,
}

#[derive(Debug, Subcommand)]
enum TunnelCommand {
    /// Connects to the vendor's hub from now on: sets tunnel.enabled in the config file.
    On,
    /// Cuts the connection at once and makes none: when this returns, the process that had it is gone.
    Off,
}

/// Does what was asked.
///
/// # Errors
/// When the config file cannot be changed, or the running daemon does not follow.
pub fn run(args: &TunnelArgs, config: &Path, loaded: &Loaded) -> anyhow::Result<ExitCode> {
    let on = matches!(args.command, TunnelCommand::On);
    let turned = turn(config, loaded, Switch::Tunnel, on)?;
    let kept_by = match &turned.daemon {
        Some(daemon) => daemon.link_absent.is_none().then_some("a variable in the environment of the running demarc"),
        None => turned.overridden_by.as_deref().filter(|_| loaded.settings.tunnel.enabled),
    };
    if let Some(variable) = kept_by.filter(|_| !on) {
        anyhow::bail!(
            "tunnel.enabled is false in the config file now, but {variable} keeps the tunnel on; change that where demarc \
             is started"
        );
    }
    if on {
        println!("The tunnel is on in the config file.");
        if let Some(why) = turned.daemon.as_ref().and_then(|daemon| daemon.link_absent.as_ref()) {
            println!("But there is no connection yet: {why}.");
        }
    } else {
        println!("The tunnel is off: demarc makes no connection, and the one there was is cut.");
        println!("Reports wait on this machine. Call counting, `demarc report` and the ledger go on.");
    }
    turned.print_remarks(&loaded.settings);
    Ok(ExitCode::SUCCESS)
}
