//! Notices that a file became another one: at once where inotify works, and within half a second everywhere.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;

/// A file that was written so recently may still be being written: half a config file must not be taken for a whole
/// one, since what is missing from it would count as its default.
pub(super) const SETTLED: Duration = Duration::from_millis(100);

/// What tells one state of a file from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Identity {
    /// The state of that file now; `None` while there is none.
    pub(super) fn of(file: &Path) -> Option<Self> {
        let metadata = fs::metadata(file).ok()?;
        Some(Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }

    /// Whether nobody has written to it for a moment. A time in the future, after a clock was set back, counts as
    /// settled.
    pub(super) fn is_settled(&self, now: SystemTime) -> bool {
        let seconds = u64::try_from(self.modified.0).unwrap_or(0);
        let nanoseconds = u32::try_from(self.modified.1).unwrap_or(0);
        let modified = SystemTime::UNIX_EPOCH + Duration::new(seconds, nanoseconds);
        now.duration_since(modified).map_or(true, |age| age >= SETTLED)
    }
}

/// A file whose changes matter.
#[derive(Debug)]
pub(super) struct Watched {
    file: PathBuf,
    /// Its state when it was looked at last, if it ever was.
    seen: Option<Option<Identity>>,
}

impl Watched {
    /// Watches from its state now on.
    pub(super) fn new(file: PathBuf) -> Self {
        let seen = Some(Identity::of(&file));
        Self { file, seen }
    }

    /// Watches a file that was read some time ago, nobody knows in which state: it counts as changed.
    pub(super) fn read_before(file: PathBuf) -> Self {
        Self { file, seen: None }
    }

    /// Whether the file is another one than at the last call that returned true, and has settled.
    pub(super) fn has_changed(&mut self, now: SystemTime) -> bool {
        let identity = Identity::of(&self.file);
        if self.seen == Some(identity) || identity.is_some_and(|identity| !identity.is_settled(now)) {
            return false;
        }
        self.seen = Some(identity);
        true
    }

    /// Takes the file as it is now for seen.
    pub(super) fn seen(&mut self) {
        self.seen = Some(Identity::of(&self.file));
    }
}

/// Wakes up `changed` whenever something happens to one of the files, for as long as the watcher lives. Absent where
/// the kernel offers no more watches; the caller looks by itself from time to time anyway.
pub(super) fn wake_on_change(files: &[&Path], changed: Arc<Notify>) -> Option<RecommendedWatcher> {
    let names: Vec<_> = files.iter().filter_map(|file| file.file_name().map(ToOwned::to_owned)).collect();
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        let ours = |path: &PathBuf| path.file_name().is_some_and(|name| names.iter().any(|ours| ours == name));
        if event.is_ok_and(|event| !event.kind.is_access() && event.paths.iter().any(ours)) {
            changed.notify_one();
        }
    })
    .ok()?;
    for directory in files.iter().filter_map(|file| file.parent()) {
        // One of several directories may be missing; looking from time to time covers it.
        let _ = watcher.watch(directory, RecursiveMode::NonRecursive);
    }
    Some(watcher)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_save_a_file_is_seen_once_it_settled() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("demarc.toml");
        fs::write(&file, "a").unwrap();
        let mut watched = Watched::new(file.clone());
        let later = || SystemTime::now() + Duration::from_secs(1);
        assert!(!watched.has_changed(later()));
        fs::write(&file, "b").unwrap();
        assert!(!watched.has_changed(SystemTime::now()), "it may still be being written");
        assert!(watched.has_changed(later()));
        assert!(!watched.has_changed(later()));
        fs::write(root.path().join("new"), "b").unwrap();
        fs::rename(root.path().join("new"), &file).unwrap();
        assert!(watched.has_changed(later()));
        fs::remove_file(&file).unwrap();
        assert!(watched.has_changed(later()));
        assert!(!watched.has_changed(later()));
    }

    #[test]
    fn what_was_read_before_it_was_watched_is_read_once_more() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("demarc.toml");
        let later = || SystemTime::now() + Duration::from_secs(1);
        let mut watched = Watched::read_before(file.clone());
        assert!(watched.has_changed(later()), "it may be gone since");
        fs::write(&file, "a").unwrap();
        let mut watched = Watched::read_before(file);
        assert!(watched.has_changed(later()));
        assert!(!watched.has_changed(later()));
    }

    #[test]
    fn a_time_in_the_future_does_not_hold_a_change_back() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("demarc.toml");
        fs::write(&file, "a").unwrap();
        let identity = Identity::of(&file).unwrap();
        assert!(identity.is_settled(SystemTime::UNIX_EPOCH + Duration::from_secs(1)));
    }
}
