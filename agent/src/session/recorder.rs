//! The recorder of a session: a thread that writes what happens to the disk, and tells when it is there.
//!
//! Nothing is shown to the engineer before [`Recorder::durable`] returned for it. What is noted while the disk is busy goes
//! into the next write, so that a slow disk makes bigger pieces and no queue. What nobody waits for is written at once too,
//! so that it outlives this process, and is given a moment before the disk is waited for.

use std::{
    fs::File,
    io,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use serde::Serialize;
use tokio::sync::watch;

use crate::support::cast::{Cast, Code};

/// How much may wait for the disk before whoever notes has to wait as well.
const MOST_WAITING: usize = 2 << 20;

/// How long what was written may be without the disk while nobody waits for it. The echo of a key comes within that time, and
/// one wait for the disk is enough for both.
const LINGER: Duration = Duration::from_millis(2);

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
    /// How many of them somebody waits for.
    wanted: u64,
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
        Self::begin_lingering(file, header, LINGER)
    }

    fn begin_lingering(file: File, header: &impl Serialize, linger: Duration) -> io::Result<(Self, Ending)> {
        let cast = Cast::begin(file, header)?;
        let shared = Arc::new(Shared { waiting: Mutex::default(), wake: Condvar::new() });
        let (progress, durable) = watch::channel(Progress::Durable(0));
        let theirs = Arc::clone(&shared);
        let thread = thread::Builder::new()
            .name("recorder".to_owned())
            .stack_size(128 << 10)
            .spawn(move || write_all(cast, &theirs, &progress, linger))?;
        Ok((Self { shared: Arc::clone(&shared), durable }, Ending { shared, thread }))
    }

    /// Notes an event. It is not on the disk yet.
    pub(super) fn note(&self, code: Code, bytes: &[u8]) {
        self.add(code, bytes, false);
    }

    fn add(&self, code: Code, bytes: &[u8], is_wanted: bool) {
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
        if is_wanted {
            waiting.wanted = waiting.noted;
        }
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
        let wanted = self.shared.want_all();
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
        self.add(Code::Output, bytes, true);
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
    /// Asks for the disk to have all that was noted; says how much that is.
    fn want_all(&self) -> u64 {
        let mut waiting = self.lock();
        let wanted = waiting.noted;
        let is_news = std::mem::replace(&mut waiting.wanted, wanted) < wanted;
        drop(waiting);
        if is_news {
            self.wake.notify_one();
        }
        wanted
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Nothing panics while it holds the lock, and what it guards is whole at any time.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn write_all(mut cast: Cast, shared: &Shared, progress: &watch::Sender<Progress>, linger: Duration) {
    let (mut looked, mut durable) = (0, 0);
    // When what was written goes to the disk though nobody waits for it.
    let mut sync_at: Option<Instant> = None;
    loop {
        let mut waiting = shared.lock();
        let is_due = loop {
            let is_due = waiting.wanted > durable || sync_at.is_some_and(|at| at <= Instant::now());
            if is_due || waiting.is_closed || !waiting.events.is_empty() {
                break is_due || waiting.is_closed;
            }
            waiting = match sync_at {
                Some(at) => {
                    let left = at.saturating_duration_since(Instant::now());
                    shared.wake.wait_timeout(waiting, left).unwrap_or_else(PoisonError::into_inner).0
                }
                None => shared.wake.wait(waiting).unwrap_or_else(PoisonError::into_inner),
            };
        };
        let events = std::mem::take(&mut waiting.events);
        waiting.bytes = 0;
        let (noted, is_last) = (waiting.noted, waiting.is_closed);
        drop(waiting);
        for (at, code, bytes) in events {
            cast.note_at(at, code, &bytes);
        }
        let mut is_recorded = cast.write().is_ok();
        if is_due {
            is_recorded &= cast.sync().is_ok();
            (durable, sync_at) = (noted, None);
        } else {
            sync_at = sync_at.or_else(|| Some(Instant::now() + linger));
        }
        if cast.written() >= looked + LOOK {
            looked = cast.written();
            is_recorded &= looked <= LONGEST && cast.room().is_none_or(|room| room >= LEAST_FREE);
        }
        if !is_recorded {
            shared.lock().is_closed = true;
            progress.send_replace(Progress::Failed);
            return;
        }
        if is_last {
            progress.send_replace(Progress::Over);
            return;
        }
        if is_due {
            progress.send_replace(Progress::Durable(noted));
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    fn begin(linger: Duration) -> (tempfile::NamedTempFile, Recorder, Ending) {
        let file = tempfile::NamedTempFile::new().unwrap();
        let header = serde_json::json!({"version": 2, "width": 80, "height": 24});
        let (recorder, ending) = Recorder::begin_lingering(file.reopen().unwrap(), &header, linger).unwrap();
        (file, recorder, ending)
    }

    fn is_durable(recorder: &Recorder, count: u64) -> bool {
        matches!(*recorder.durable.borrow(), Progress::Durable(durable) if durable >= count)
    }

    #[tokio::test]
    async fn what_nobody_waits_for_is_written_at_once_and_goes_to_the_disk_with_what_is_shown() {
        let (file, recorder, ending) = begin(Duration::from_secs(3600));
        recorder.note(Code::Input, b"typed");
        let written = async {
            while !std::fs::read_to_string(file.path()).unwrap().contains("typed") {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(PATIENCE, written).await.unwrap();
        assert!(!is_durable(&recorder, 1));
        timeout(PATIENCE, recorder.show(b"shown")).await.unwrap().unwrap();
        assert!(is_durable(&recorder, 2));
        assert!(ending.end("end"));
    }

    #[tokio::test]
    async fn what_nobody_waits_for_gets_to_the_disk_by_itself_and_whoever_comes_later_need_not_wait() {
        let (_file, recorder, ending) = begin(Duration::from_millis(1));
        recorder.note(Code::Input, b"typed");
        let mut progress = recorder.durable.clone();
        let durable = progress.wait_for(|progress| matches!(progress, Progress::Durable(1)));
        timeout(PATIENCE, durable).await.unwrap().unwrap();
        timeout(PATIENCE, recorder.durable()).await.unwrap().unwrap();
        assert!(ending.end("end"));
        assert!(recorder.durable().await.is_err());
    }
}
