//! `demarc role`: what the supervisor starts; nobody types it.

use anyhow::Context;
use clap::{Args, ValueEnum};

use crate::ipc::channel;

/// Arguments of `demarc role`.
#[derive(Debug, Args)]
pub struct RoleArgs {
    /// The role to take.
    pub role: Role,
}

/// The roles that there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Role {
    /// Reads call records, keeps the store, builds reports. Has no network.
    Collector,
    /// Speaks to the hub. Cannot read call records.
    Link,
}

/// Takes the role.
///
/// # Errors
/// When the program was not started by the supervisor.
pub fn run(_args: &RoleArgs) -> anyhow::Result<()> {
    let _socket = channel::inherited().context("a role is started by `demarc run`, not by hand")?;
    Ok(())
}
