//! The recorder of a session: a thread that writes what happens to the disk, and tells when it is there.
//!
//! Nothing is shown to the engineer before [`Recorder::durable`] returned for it. What is noted while the disk is busy goes
//! into the next write, so that a slow disk makes bigger pieces and no queue.

use std::{
    fs::File,
    io,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::Instant,
};

use serde::Serialize;
use tokio::sync::watch;

use crate::support::cast::{Cast, Code};

/// How much may wait for the disk before whoever notes has to wait as well.
const MOST_WAITING: usize = 2 << 20;

/// The disk is looked at after so many bytes.
const LOOK: u64 = 4 << 20;
/// A session may not take the last room on the disk that the phone system needs, in bytes.
const LEAST_FREE: u64 = 64 << 20;
/// The longest recording: beyond it something is being copied that belongs into the scope `files`.
const LONGEST: u64 = 2 << 30;

/// Hands events to the recorder's thread. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct Recorder {
    shared: Arc<Shared>,
    durable: watch::Receiver<Progress>,
}

/// The session cannot be recorded, or its recording is complete: nothing more may be shown.
#[derive(Debug, thiserror::Error)]
#[error("the recording takes nothing more")]
pub(super) struct NotRecorded;

/// Ends the recording; there is one for each.
#[derive(Debug)]
pub(super) struct Ending {
    shared: Arc<Shared>,
    thread: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    waiting: Mutex<Waiting>,
    wake: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    events: Vec<(Instant, Code, Vec<u8>)>,
    bytes: usize,
    /// How many events were ever noted.
    noted: u64,
    is_closed: bool,
}

/// How far the disk is.
#[derive(Clone, Copy, Debug)]
enum Progress {
    /// So many events are on it.
    Durable(u64),
    /// It takes nothing more.
    Over,
    Failed,
}

impl Recorder {
    /// Begins a recording: its header is on the disk when this returns.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn begin(file: File, header: &impl Serialize) -> io::Result<(Self, Ending)> {
        let cast = Cast::begin(file, header)?;
        let shared = Arc::new(Shared { waiting: Mutex::default(), wake: Condvar::new() });
        let (progress, durable) = watch::channel(Progress::Durable(0));
        let theirs = Arc::clone(&shared);
        let thread = thread::Builder::new()
            .name("recorder".to_owned())
            .stack_size(128 << 10)
            .spawn(move || write_all(cast, &theirs, &progress))?;
        Ok((Self { shared: Arc::clone(&shared), durable }, Ending { shared, thread }))
    }

    /// Notes an event. It is not on the disk yet.
    pub(super) fn note(&self, code: Code, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let mut waiting = self.shared.lock();
        if waiting.is_closed {
            return;
        }
        waiting.events.push((Instant::now(), code, bytes.to_vec()));
        waiting.bytes += bytes.len();
        waiting.noted += 1;
        drop(waiting);
        self.shared.wake.notify_one();
    }

    /// Notes that something happened, in words.
    pub(super) fn mark(&self, words: &str) {
        self.note(Code::Mark, words.as_bytes());
    }

    /// Whether more waits for the disk than should: whoever brings more had better wait with [`Recorder::durable`].
    pub(super) fn is_behind(&self) -> bool {
        self.shared.lock().bytes > MOST_WAITING
    }

    /// Waits until everything that was noted so far is on the disk.
    ///
    /// # Errors
    /// When it will never be.
    pub(super) async fn durable(&self) -> Result<(), NotRecorded> {
        let wanted = self.shared.lock().noted;
        let mut durable = self.durable.clone();
        let enough = |progress: &Progress| !matches!(progress, Progress::Durable(count) if *count < wanted);
        match durable.wait_for(enough).await.map(|progress| *progress) {
            Ok(Progress::Durable(_)) => Ok(()),
            _ => Err(NotRecorded),
        }
    }

    /// Notes what the engineer is about to be shown, and waits until it is on the disk.
    ///
    /// # Errors
    /// When it cannot be recorded, and so may not be shown.
    pub(super) async fn show(&self, bytes: &[u8]) -> Result<(), NotRecorded> {
        self.note(Code::Output, bytes);
        self.durable().await
    }

    /// Whether the disk has failed.
    pub(super) fn has_failed(&self) -> bool {
        matches!(*self.durable.borrow(), Progress::Failed)
    }

    /// Returns when the disk has failed.
    pub(super) async fn failed(&self) {
        let mut durable = self.durable.clone();
        let outcome =
            durable.wait_for(|progress| !matches!(progress, Progress::Durable(_))).await.map(|progress| *progress);
        if !matches!(outcome, Ok(Progress::Failed) | Err(_)) {
            std::future::pending::<()>().await;
        }
    }
}

impl Ending {
    /// Writes the last words, and nothing after them. Returns whether the recording is complete.
    pub(super) fn end(self, words: &str) -> bool {
        let mut waiting = self.shared.lock();
        waiting.events.push((Instant::now(), Code::Mark, words.as_bytes().to_vec()));
        waiting.noted += 1;
        waiting.is_closed = true;
        drop(waiting);
        self.shared.wake.notify_one();
        self.thread.join().is_ok()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Nothing panics while it holds the lock, and what it guards is whole at any time.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn write_all(mut cast: Cast, shared: &Shared, progress: &watch::Sender<Progress>) {
    let mut looked = 0;
    loop {
        let mut waiting = shared.lock();
        while waiting.events.is_empty() && !waiting.is_closed {
            waiting = shared.wake.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
        let events = std::mem::take(&mut waiting.events);
        waiting.bytes = 0;
        let (noted, is_last) = (waiting.noted, waiting.is_closed);
        drop(waiting);
        for (at, code, bytes) in events {
            cast.note_at(at, code, &bytes);
        }
        let mut is_recorded = cast.commit().is_ok();
        if cast.written() >= looked + LOOK {
            looked = cast.written();
            is_recorded &= looked <= LONGEST && cast.room().is_none_or(|room| room >= LEAST_FREE);
        }
        if !is_recorded {
            shared.lock().is_closed = true;
            progress.send_replace(Progress::Failed);
            return;
        }
        progress.send_replace(if is_last { Progress::Over } else { Progress::Durable(noted) });
        if is_last {
            return;
        }
    }
}
