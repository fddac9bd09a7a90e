//! The command line's end of the control socket.

use std::{
    io::{self, BufRead, BufReader, Write},
    os::unix::net::UnixStream,
    path::Path,
    time::Duration,
};

use super::{Address, Answer, Request};

/// How long an answer may take: a reload waits for the collector, which may be in the middle of a batch.
const PATIENCE: Duration = Duration::from_secs(15);

/// The daemon could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Nobody listens.
    #[error("demarc is not running")]
    NotRunning,
    /// The socket is there and may not be used.
    #[error("demarc runs as another user; ask as that user or as root")]
    NotAllowed,
    /// The conversation broke.
    #[error("demarc does not answer on its control socket")]
    Broken(#[from] io::Error),
    /// The answer is not understood.
    #[error("the running demarc gives an answer that this one does not understand; restart it after an upgrade")]
    Unknown(#[source] serde_json::Error),
}

/// Asks the daemon that listens there.
///
/// # Errors
/// When none listens, or it does not answer.
pub fn ask(socket: &Path, request: Request) -> Result<Answer, AskError> {
    let stream = Address::of(socket).and_then(|address| UnixStream::connect(&address.path));
    let mut stream = stream.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => AskError::NotRunning,
        io::ErrorKind::PermissionDenied => AskError::NotAllowed,
        _ => AskError::Broken(error),
    })?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut line = serde_json::to_string(&request).map_err(AskError::Unknown)?;
    line.push('\n');
    stream.write_all(line.as_bytes())?;
    let mut answer = String::new();
    if BufReader::new(stream).read_line(&mut answer)? == 0 {
        return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
    }
    serde_json::from_str(&answer).map_err(AskError::Unknown)
}
