//! Tries to break out of a confinement, and tells what the kernel said.

/// Answers what `demarc doctor` asks.
pub fn serve(_socket: &mut std::os::unix::net::UnixStream) -> anyhow::Result<()> {
    Ok(())
}
