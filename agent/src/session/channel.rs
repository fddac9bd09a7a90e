//! One channel of the SSH connection, as those see it who serve it.

use std::{ffi::c_int, sync::Arc};

use bytes::Bytes;
use russh::{
    ChannelWriteHalf, Sig,
    server::{Handle, Msg},
};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::{
    context::Context,
    queue::{Lane, Queue},
};

/// The code of standard error in SSH.
const STDERR: u32 = 1;

/// The size of the engineer's window: columns and rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Size {
    /// Columns.
    pub(super) columns: u16,
    /// Rows.
    pub(super) rows: u16,
}

/// What the engineer's terminal is.
#[derive(Clone, Debug)]
pub(super) struct Terminal {
    /// The value of `TERM`, where it is a plain word.
    pub(super) name: String,
    /// Whether the terminal speaks UTF-8, and which signs erase, interrupt and so on: as the client said it.
    pub(super) modes: Vec<(russh::Pty, u32)>,
}

/// A channel that is being served.
pub(super) struct Served {
    /// The session.
    pub(super) context: Arc<Context>,
    /// Where bytes for the engineer go; waits for his window.
    pub(super) write: ChannelWriteHalf<Msg>,
    /// For what the write half has no word for.
    pub(super) handle: Handle,
    /// What comes from the engineer.
    pub(super) input: Queue,
    /// His terminal, if he asked for one.
    pub(super) terminal: Option<Terminal>,
    /// The size of his window.
    pub(super) size: watch::Receiver<Size>,
    /// Signals that he sends.
    pub(super) signals: mpsc::Receiver<c_int>,
    /// The channel is closed.
    pub(super) closed: CancellationToken,
}

/// The channel, or the whole session, is over.
#[derive(Debug, thiserror::Error)]
#[error("the channel is closed")]
pub(super) struct Closed;

impl Served {
    /// Shows bytes to the engineer once they are recorded.
    ///
    /// # Errors
    /// When they cannot be recorded, or he is gone.
    pub(super) async fn show(&self, lane: Lane, bytes: &[u8]) -> Result<(), Closed> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.context.recorder.show(bytes).await.map_err(|_| Closed)?;
        self.send(lane, Bytes::copy_from_slice(bytes)).await
    }

    /// Sends bytes that are not recorded themselves, only counted.
    ///
    /// # Errors
    /// When the engineer is gone.
    pub(super) async fn send(&self, lane: Lane, bytes: Bytes) -> Result<(), Closed> {
        let count = bytes.len();
        let sent = match lane {
            Lane::Main => self.write.data_bytes(bytes).await,
            Lane::Error => self.write.extended_data_bytes(STDERR, bytes).await,
        };
        sent.map_err(|_| Closed)?;
        self.context.tally.went(count);
        Ok(())
    }

    /// Tells the engineer something in words, and ends with a status.
    pub(super) async fn answer(&self, lane: Lane, words: &str, status: u32) {
        let words = if self.terminal.is_some() { words.replace('\n', "\r\n") } else { words.to_owned() };
        if self.show(lane, words.as_bytes()).await.is_ok() {
            self.finish(status).await;
        }
    }

    /// Ends with a status.
    pub(super) async fn finish(&self, status: u32) {
        // Each of these fails only when the engineer is gone.
        let _ = self.write.exit_status(status).await;
        self.hang_up().await;
    }

    /// Ends as a program does that was killed by a signal.
    pub(super) async fn finish_by_signal(&self, signal: c_int) {
        let (id, name) = (self.write.id(), signal_name(signal));
        let _ = self.handle.exit_signal_request(id, name, false, String::new(), String::new()).await;
        self.hang_up().await;
    }

    /// Says that nothing more follows, and closes the channel.
    pub(super) async fn hang_up(&self) {
        let _ = self.write.eof().await;
        let _ = self.write.close().await;
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.input.close();
    }
}

fn signal_name(signal: c_int) -> Sig {
    match signal {
        libc::SIGABRT => Sig::ABRT,
        libc::SIGALRM => Sig::ALRM,
        libc::SIGFPE => Sig::FPE,
        libc::SIGHUP => Sig::HUP,
        libc::SIGILL => Sig::ILL,
        libc::SIGINT => Sig::INT,
        libc::SIGKILL => Sig::KILL,
        libc::SIGPIPE => Sig::PIPE,
        libc::SIGQUIT => Sig::QUIT,
        libc::SIGSEGV => Sig::SEGV,
        libc::SIGTERM => Sig::TERM,
        libc::SIGUSR1 => Sig::USR1,
        other => Sig::Custom(format!("{other}@demarc")),
    }
}

/// The number of a signal that an engineer may send.
pub(super) fn signal_number(signal: &Sig) -> Option<c_int> {
    Some(match signal {
        Sig::ABRT => libc::SIGABRT,
        Sig::ALRM => libc::SIGALRM,
        Sig::HUP => libc::SIGHUP,
        Sig::INT => libc::SIGINT,
        Sig::KILL => libc::SIGKILL,
        Sig::PIPE => libc::SIGPIPE,
        Sig::QUIT => libc::SIGQUIT,
        Sig::TERM => libc::SIGTERM,
        Sig::USR1 => libc::SIGUSR1,
        _ => return None,
    })
}
