//! The worker of one support session: speaks SSH with the engineer, records everything, and can reach nothing else.

use std::{fs::File, os::unix::net::UnixStream};

use crate::ipc::channel::SessionChannel;

/// Speaks with the engineer until either side, the owner or the clock ends it.
///
/// # Errors
/// When the session cannot begin.
pub async fn run(_channel: SessionChannel, _ssh: UnixStream, _recording: File) -> anyhow::Result<()> {
    anyhow::bail!("not there yet")
}
