//! `demarc backup key`: the key is made, printed once, and not stored.

use std::path::Path;

use clap::Args;

use super::follow;
use crate::{
    backup::age::Identity,
    gate::entry::utc,
    settings::{edit, load::Loaded},
};

/// Arguments of `demarc backup key`.
#[derive(Debug, Args)]
#[command(after_help = "Example: demarc backup key > backup-key.txt")]
pub(super) struct KeyArgs {
    /// Makes another key where there is one. Backups that were made for the old one still need the old one.
    #[arg(long)]
    replace: bool,
}

pub(super) fn run(args: &KeyArgs, config: &Path, loaded: &Loaded) -> anyhow::Result<()> {
    if let Some(recipient) = loaded.settings.backup.recipient.as_ref().filter(|_| !args.replace) {
        anyhow::bail!(
            "backups are encrypted to {recipient} already; --replace makes another key, and backups that were made before \
             still need the one before"
        );
    }
    let identity = Identity::generate()?;
    let recipient = identity.recipient()?.to_text();
    edit::set_key(config, "backup", "recipient", recipient.clone().into())?;
    // Before the daemon is told, since what can fail there must not cost the key.
    println!("# The key to backups of this site, made {}.", utc(super::super::now()));
    println!("# public key: {recipient}");
    println!("{}", identity.to_text().expose());
    eprintln!("This is the key, and it is stored nowhere else: not in demarc, not at the vendor.");
    eprintln!(
        "Print it or write it down, and keep it where this machine's loss is not its loss: paper in a safe, a USB stick."
    );
    eprintln!("Whoever has it can read every backup; whoever loses it can read none.");
    follow(loaded)?;
    if !loaded.settings.backup.enabled {
        eprintln!("`demarc backup on` has backups made from now on.");
    }
    Ok(())
}
