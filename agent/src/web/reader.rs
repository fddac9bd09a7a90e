//! The way to the figures: one connection to the store, which can only read.

use std::{
    os::unix::fs::MetadataExt,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::Notify;

use crate::{state::StateDir, store::Store};

/// A process that is younger than this was let at the files as they are now: another would not fare better.
const FRESH: Duration = Duration::from_secs(5);
/// So long a browser may take to get the answer that asks it to come again.
const LAST_ANSWER: Duration = Duration::from_millis(300);

/// The way to the figures.
#[derive(Clone)]
pub(super) struct Reader {
    state: StateDir,
    open: Arc<Mutex<Option<Open>>>,
    began: Instant,
    outdated: Arc<Notify>,
}

struct Open {
    store: Store,
    inode: u64,
}

/// Why there are no figures, in words.
#[derive(Debug)]
pub(super) enum NoFigures {
    /// No call was counted yet.
    Nothing,
    /// The store cannot be read (now).
    Failed(String),
}

impl Reader {
    pub(super) fn new(state: StateDir) -> Self {
        Self { state, open: Arc::default(), began: Instant::now(), outdated: Arc::default() }
    }

    /// Waits until the files are others than those that this process was let at when it began: only another process can
    /// read them.
    pub(super) async fn outdated(&self) {
        self.outdated.notified().await;
        tokio::time::sleep(LAST_ANSWER).await;
    }

    /// Where everything lies.
    pub(super) fn state(&self) -> &StateDir {
        &self.state
    }

    /// Reads figures, on a thread of its own.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Store) -> anyhow::Result<T> + Send + 'static,
    ) -> Result<T, NoFigures> {
        let reader = self.clone();
        let done = tokio::task::spawn_blocking(move || {
            let mut open = reader.open.lock().unwrap_or_else(PoisonError::into_inner);
            let store = reader.current(&mut open)?;
            work(store).map_err(NoFigures::failed)
        });
        done.await.unwrap_or_else(|error| Err(NoFigures::Failed(error.to_string())))
    }

    /// The store that is in use: a damaged one is set aside, and another begins in its place.
    fn current<'a>(&self, open: &'a mut Option<Open>) -> Result<&'a Store, NoFigures> {
        let inode = std::fs::metadata(self.state.store()).map(|file| file.ino()).map_err(|_| NoFigures::Nothing)?;
        if open.as_ref().is_none_or(|open| open.inode != inode) {
            *open = None;
            let store = Store::open_to_read(&self.state).map_err(|error| self.refused(error.into()))?;
            let store = store.ok_or(NoFigures::Nothing)?;
            *open = Some(Open { store, inode });
        }
        open.as_ref().map(|open| &open.store).ok_or(NoFigures::Nothing)
    }

    fn refused(&self, error: anyhow::Error) -> NoFigures {
        if self.began.elapsed() < FRESH {
            return NoFigures::failed(error);
        }
        self.outdated.notify_one();
        NoFigures::Failed("the files of the figures are new; load the page again in a moment".to_owned())
    }
}

impl NoFigures {
    fn failed(error: anyhow::Error) -> Self {
        Self::Failed(format!("{error:#}"))
    }
}

impl std::fmt::Display for NoFigures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Nothing => f.write_str("No call was counted yet."),
            Self::Failed(reason) => write!(f, "The figures cannot be read: {reason}."),
        }
    }
}
