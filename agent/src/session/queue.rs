//! A queue of bytes between the SSH connection and whatever a channel is connected to.
//!
//! The SSH library grants its peer a new window as soon as bytes have come, not when they were used. A program or a port
//! that takes nothing would therefore fill the memory, or, with a queue that simply makes its feeder wait, bring the whole
//! connection to a halt. So who fills its queue is slowed down first, and told to give up when nothing moves at all.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{Instant, timeout},
};

/// From here on each piece that comes from the engineer waits a little.
const SOFT: usize = 512 << 10;
/// Here it waits until there is room.
const HARD: usize = 2 << 20;
/// How much a program may have said that was not shown yet.
const OUTPUT: usize = 256 << 10;
/// How long one piece waits: what the other channels of the connection feel.
const WAIT: Duration = Duration::from_millis(50);
/// A queue from which nobody took a byte for so long is stuck.
const STUCK: Duration = Duration::from_secs(10);

/// Which of a program's two outputs; what comes from the engineer has only one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Lane {
    /// Standard output.
    #[default]
    Main,
    /// Standard error.
    Error,
}

/// A queue of bytes with one end. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Queue {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    state: Mutex<State>,
    came: Notify,
    went: Notify,
}

#[derive(Debug, Default)]
struct State {
    pieces: VecDeque<(Lane, Vec<u8>)>,
    bytes: usize,
    taken: u64,
    is_ended: bool,
    is_closed: bool,
}

/// The far end took nothing for too long, or is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotTaken {
    /// Nothing was taken for ten seconds.
    Stuck,
    /// Nobody will ever take anything.
    Gone,
}

impl Queue {
    /// Puts in what came from the engineer. Waits only where the far end does not keep up.
    ///
    /// # Errors
    /// When the far end is gone, or stuck.
    pub(super) async fn feed(&self, bytes: &[u8]) -> Result<(), NotTaken> {
        let (mut since, mut seen) = (Instant::now(), None);
        loop {
            let (held, taken) = {
                let mut state = self.inner.lock();
                if state.is_closed {
                    return Err(NotTaken::Gone);
                }
                if state.bytes < SOFT || (state.bytes < HARD && seen.is_some()) {
                    state.put(Lane::Main, bytes);
                    break;
                }
                (state.bytes, state.taken)
            };
            if seen != Some(taken) {
                (since, seen) = (Instant::now(), Some(taken));
            } else if held >= HARD && since.elapsed() >= STUCK {
                return Err(NotTaken::Stuck);
            }
            let _ = timeout(WAIT, self.inner.went.notified()).await;
        }
        self.inner.came.notify_one();
        Ok(())
    }

    /// Puts in what a program said; waits until there is room.
    ///
    /// # Errors
    /// When nobody will ever take it.
    pub(super) async fn say(&self, lane: Lane, bytes: &[u8]) -> Result<(), NotTaken> {
        loop {
            {
                let mut state = self.inner.lock();
                if state.is_closed {
                    return Err(NotTaken::Gone);
                }
                if state.bytes < OUTPUT {
                    state.put(lane, bytes);
                    break;
                }
            }
            self.inner.went.notified().await;
        }
        self.inner.came.notify_one();
        Ok(())
    }

    /// Nothing more will be put in.
    pub(super) fn end(&self) {
        self.inner.lock().is_ended = true;
        self.inner.came.notify_one();
    }

    /// Nothing more will be taken out.
    pub(super) fn close(&self) {
        let mut state = self.inner.lock();
        state.is_closed = true;
        state.pieces.clear();
        state.bytes = 0;
        drop(state);
        self.inner.went.notify_one();
        self.inner.came.notify_one();
    }

    /// Waits for bytes of one lane; `None` at the end.
    pub(super) async fn take(&self) -> Option<(Lane, Vec<u8>)> {
        loop {
            {
                let mut state = self.inner.lock();
                if let Some((lane, piece)) = state.pieces.pop_front() {
                    state.bytes -= piece.len();
                    state.taken += piece.len() as u64;
                    drop(state);
                    self.inner.went.notify_one();
                    return Some((lane, piece));
                }
                if state.is_ended || state.is_closed {
                    return None;
                }
            }
            self.inner.came.notified().await;
        }
    }
}

impl State {
    fn put(&mut self, lane: Lane, bytes: &[u8]) {
        self.bytes += bytes.len();
        match self.pieces.back_mut() {
            Some((last, piece)) if *last == lane && piece.len() < (64 << 10) => piece.extend_from_slice(bytes),
            _ => self.pieces.push_back((lane, bytes.to_vec())),
        }
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it holds the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
