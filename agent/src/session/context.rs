//! What all parts of one session share: its settings, its recorder, its figures, and the word that it is over.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use tokio::sync::broadcast;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::recorder::Recorder;
use crate::{
    ipc::SessionSettings,
    support::{End, SessionReport},
};

/// Shared by all tasks of a session.
#[derive(Debug)]
pub(super) struct Context {
    /// What the supervisor said.
    pub(super) settings: SessionSettings,
    /// The recorder.
    pub(super) recorder: Recorder,
    /// What goes into the owner's receipt.
    pub(super) tally: Tally,
    /// What engineers at a terminal are told meanwhile.
    pub(super) notices: broadcast::Sender<Arc<str>>,
    /// The tasks.
    pub(super) tasks: TaskTracker,
    /// The session is over.
    pub(super) over: CancellationToken,
}

/// The most commands, and files, that stand in a receipt one by one. The recording has them all.
const MOST_LISTED: usize = 200;
/// The longest command or file name in a receipt.
const LONGEST_LISTED: usize = 240;
/// Refusals that are noted one by one; later ones are only counted, so that nobody fills the disk with them.
const MOST_REFUSALS: u64 = 500;

/// The figures of a session.
#[derive(Debug, Default)]
pub(super) struct Tally {
    engineer: Mutex<Option<String>>,
    commands: Mutex<Listed>,
    files: Mutex<Listed>,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    forwards: AtomicU64,
    refused: AtomicU64,
}

#[derive(Debug, Default)]
struct Listed {
    lines: Vec<String>,
    more: u64,
}

impl Context {
    /// Notes that something was refused, and counts it.
    pub(super) fn refuse(&self, words: &str) {
        match self.tally.refused.fetch_add(1, Ordering::Relaxed) + 1 {
            count if count < MOST_REFUSALS => self.recorder.mark(&format!("refused: {words}")),
            MOST_REFUSALS => self.recorder.mark("refused: more requests; they are only counted from now on"),
            _ => {}
        }
    }
}

impl Tally {
    /// An engineer was let in.
    pub(super) fn let_in(&self, engineer: &str) {
        *lock(&self.engineer) = Some(engineer.to_owned());
    }

    /// Who was let in.
    pub(super) fn engineer(&self) -> Option<String> {
        lock(&self.engineer).clone()
    }

    /// A command was run.
    pub(super) fn command(&self, words: &str) {
        lock(&self.commands).add(words);
    }

    /// A file was transferred.
    pub(super) fn file(&self, words: &str) {
        lock(&self.files).add(words);
    }

    /// A connection was forwarded.
    pub(super) fn forward(&self) {
        self.forwards.fetch_add(1, Ordering::Relaxed);
    }

    /// Bytes came from the engineer.
    pub(super) fn came(&self, bytes: usize) {
        self.bytes_in.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// The engineer was sent bytes.
    pub(super) fn went(&self, bytes: usize) {
        self.bytes_out.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// The owner's receipt.
    pub(super) fn report(&self, settings: &SessionSettings, end: End, seconds: u64) -> SessionReport {
        SessionReport {
            session: settings.session,
            end,
            engineer: self.engineer(),
            seconds,
            commands: lock(&self.commands).to_lines(),
            bytes_in: self.bytes_in.load(Ordering::Relaxed),
            bytes_out: self.bytes_out.load(Ordering::Relaxed),
            forwards: self.forwards.load(Ordering::Relaxed),
            files: lock(&self.files).to_lines(),
            refused: self.refused.load(Ordering::Relaxed),
        }
    }
}

impl Listed {
    fn add(&mut self, words: &str) {
        if self.lines.len() < MOST_LISTED {
            self.lines.push(shortened(words));
        } else {
            self.more += 1;
        }
    }

    fn to_lines(&self) -> Vec<String> {
        let more = (self.more > 0).then(|| format!("and {} more, which the recording has", self.more));
        self.lines.iter().cloned().chain(more).collect()
    }
}

/// A text on one line, without signs that a terminal would obey.
pub(super) fn shortened(words: &str) -> String {
    let mut line: String = words.chars().map(|c| if c.is_control() { '?' } else { c }).take(LONGEST_LISTED).collect();
    if words.chars().nth(LONGEST_LISTED).is_some() {
        line.push('…');
    }
    line
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing panics while it holds one of these.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
