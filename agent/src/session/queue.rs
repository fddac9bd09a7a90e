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

/// From here on each piece that comes from the engineer waits a little, so that a slow taker sets the pace.
const SOFT: usize = 256 << 10;
/// Here it waits until there is room.
const HARD: usize = 8 << 20;
/// How much a program may have said that was not shown yet.
const OUTPUT: usize = 256 << 10;
/// How long one piece waits for a taker that takes nothing: what the other channels of the connection feel meanwhile. At
/// this pace it takes about as long to get from the soft bound to the hard one as it takes to call a queue stuck.
const WAIT: Duration = Duration::from_millis(20);
/// A full queue from which nobody took a byte for so long is stuck.
const STUCK: Duration = Duration::from_secs(5);

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
    /// When something was taken last, or came into an empty queue.
    moved: Option<Instant>,
    is_ended: bool,
    is_closed: bool,
}

/// The far end took nothing for too long, or is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotTaken {
    /// Nothing was taken for too long.
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
        let mut has_waited = false;
        loop {
            {
                let mut state = self.inner.lock();
                if state.is_closed {
                    return Err(NotTaken::Gone);
                }
                if state.bytes < SOFT || (has_waited && state.bytes < HARD) {
                    state.put(Lane::Main, bytes);
                    break;
                }
                if state.bytes >= HARD && state.moved.is_some_and(|moved| moved.elapsed() >= STUCK) {
                    return Err(NotTaken::Stuck);
                }
            }
            has_waited = true;
            // Whether something was taken or the time is over, the bounds decide.
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

    /// Whether it is empty, and was for so long.
    pub(super) fn rests(&self, long: Duration) -> bool {
        let state = self.inner.lock();
        state.pieces.is_empty() && state.moved.is_none_or(|moved| moved.elapsed() >= long)
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
                    state.moved = Some(Instant::now());
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
        if self.pieces.is_empty() {
            self.moved = Some(Instant::now());
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn pieces_of_one_lane_become_one_and_the_end_comes_last() {
        let queue = Queue::default();
        queue.say(Lane::Main, b"a").await.unwrap();
        queue.say(Lane::Main, b"b").await.unwrap();
        queue.say(Lane::Error, b"c").await.unwrap();
        queue.end();
        assert_eq!(queue.take().await, Some((Lane::Main, b"ab".to_vec())));
        assert_eq!(queue.take().await, Some((Lane::Error, b"c".to_vec())));
        assert_eq!(queue.take().await, None);
        queue.close();
        assert_eq!(queue.say(Lane::Main, b"d").await, Err(NotTaken::Gone));
    }

    #[tokio::test]
    async fn a_taker_that_takes_nothing_is_given_up_within_bounds() {
        let queue = Queue::default();
        let (began, mut fed) = (Instant::now(), 0);
        let piece = [0; 32 << 10];
        while queue.feed(&piece).await.is_ok() {
            fed += piece.len();
        }
        assert_eq!(queue.feed(&piece).await, Err(NotTaken::Stuck));
        assert!((HARD..HARD + (64 << 10)).contains(&fed), "{fed}");
        assert!((4..9).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
    }

    #[tokio::test]
    async fn a_slow_taker_sets_the_pace_and_loses_nothing() {
        let queue = Queue::default();
        let taker = queue.clone();
        let taking = tokio::spawn(async move {
            let mut taken = 0;
            while let Some((_, piece)) = taker.take().await {
                taken += piece.len();
                tokio::time::sleep(Duration::from_millis(3)).await;
            }
            taken
        });
        for _ in 0..1000 {
            queue.feed(&[0; 32 << 10]).await.unwrap();
        }
        queue.end();
        assert_eq!(taking.await.unwrap(), 1000 * (32 << 10));
    }
}
