//! Waits until a source may have changed: woken by the kernel where it can, by the clock in any case.

use std::{
    collections::BTreeSet,
    ffi::OsString,
    mem::MaybeUninit,
    os::{fd::OwnedFd, unix::ffi::OsStrExt},
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use tokio::{io::unix::AsyncFd, time::Instant};

/// How often to look although the kernel says nothing: it knows nothing of other machines on a network file system.
const SLOW: Duration = Duration::from_millis(1500);
/// How often to look where the kernel cannot be asked.
const QUICK: Duration = Duration::from_millis(500);

/// How long to rest after each wake-up. Rows that come meanwhile are read together and stored in one transaction, which is
/// what a row costs most; nobody sees a report a twentieth of a second later.
const REST: Duration = Duration::from_millis(50);

/// Waits for changes of some files. The directories are watched, since the files come and go.
#[derive(Debug)]
pub struct Watch {
    directories: BTreeSet<PathBuf>,
    names: Vec<OsString>,
    state: State,
    next: Option<Instant>,
    /// Until then the kernel is not asked.
    rest: Option<Instant>,
}

#[derive(Debug)]
enum State {
    /// Not asked yet: that needs the runtime.
    New,
    /// The kernel wakes us, where all directories are there.
    Notified { events: AsyncFd<OwnedFd>, complete: bool },
    /// The kernel has no more watches to give.
    Polling,
}

/// What ended a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waker {
    Kernel,
    Clock,
}

impl Watch {
    /// Watches for changes of these files, and of those that they are rotated to.
    pub fn new<P: AsRef<Path>>(paths: &[P]) -> Self {
        let paths = paths.iter().map(AsRef::as_ref);
        let parent = |path: &Path| match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
            _ => PathBuf::from("."),
        };
        Self {
            directories: paths.clone().map(parent).collect(),
            names: paths.filter_map(|path| path.file_name().map(ToOwned::to_owned)).collect(),
            state: State::New,
            next: None,
            rest: None,
        }
    }

    /// Watches for changes of everything in a directory.
    pub fn of_directory(directory: &Path) -> Self {
        Self {
            directories: BTreeSet::from([directory.to_owned()]),
            // Every name begins with nothing.
            names: vec![OsString::new()],
            state: State::New,
            next: None,
            rest: None,
        }
    }

    /// Returns when a file may have changed; at the latest after a second and a half. Nothing is lost where the wait is
    /// given up and taken up again.
    pub async fn changed(&mut self) {
        self.woken_by().await;
    }

    async fn woken_by(&mut self) -> Waker {
        if matches!(self.state, State::New) {
            self.state = events().map_or(State::Polling, |events| State::Notified { events, complete: false });
            self.watch();
        }
        let every = match &self.state {
            State::Notified { complete: true, .. } => SLOW,
            _ => QUICK,
        };
        let next = *self.next.get_or_insert_with(|| Instant::now() + every);
        tokio::select! {
            biased;
            () = noticed_after(self.rest, &mut self.state, &self.names) => {
                self.rest = Some(Instant::now() + REST);
                Waker::Kernel
            }
            () = tokio::time::sleep_until(next) => {
                self.next = None;
                // A directory may be another one by now, or have come only now.
                self.watch();
                Waker::Clock
            }
        }
    }

    fn watch(&mut self) {
        if let State::Notified { events, complete } = &mut self.state {
            let wanted = WatchFlags::MODIFY
                | WatchFlags::CREATE
                | WatchFlags::DELETE
                | WatchFlags::MOVED_FROM
                | WatchFlags::MOVED_TO
                | WatchFlags::ONLYDIR;
            *complete = true;
            for directory in &self.directories {
                *complete &= inotify::add_watch(&*events, directory, wanted).is_ok();
            }
        }
    }
}

fn events() -> Option<AsyncFd<OwnedFd>> {
    let events = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).ok()?;
    // SAFETY: an `OwnedFd` is always the same descriptor, and closes it only when it is dropped.
    unsafe { AsyncFd::register(events) }.ok()
}

/// Rests, and waits for an event then. What happens meanwhile is kept by the kernel.
async fn noticed_after(rest: Option<Instant>, state: &mut State, names: &[OsString]) {
    if let Some(rest) = rest {
        tokio::time::sleep_until(rest).await;
    }
    noticed(state, names).await;
}

/// Waits for an event that concerns the files; for ever where the kernel cannot be asked.
async fn noticed(state: &mut State, names: &[OsString]) {
    let State::Notified { events, .. } = state else { return std::future::pending().await };
    loop {
        let Ok(mut ready) = events.readable().await else {
            *state = State::Polling;
            return;
        };
        // All that is there is read: one wake-up answers for it.
        let mut concerned = false;
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = inotify::Reader::new(events.get_ref(), &mut buffer);
        loop {
            match reader.next() {
                Ok(event) => {
                    let name = event.file_name().map(std::ffi::CStr::to_bytes);
                    concerned |= event.events().contains(ReadFlags::QUEUE_OVERFLOW)
                        || name.is_none_or(|name| names.iter().any(|ours| name.starts_with(ours.as_bytes())));
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::WOULDBLOCK) => {
                    ready.clear_ready();
                    break;
                }
                Err(_) => {
                    *state = State::Polling;
                    return;
                }
            }
        }
        if concerned {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[tokio::test]
    async fn the_kernel_wakes_us_for_our_file_and_what_it_is_rotated_to() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("Master.csv");
        let mut watch = Watch::new(&[&path]);
        assert_eq!(watch.woken_by().await, Waker::Clock);
        fs::write(&path, b"x").unwrap();
        assert_eq!(watch.woken_by().await, Waker::Kernel);
        fs::rename(&path, directory.path().join("Master.csv.1")).unwrap();
        assert_eq!(watch.woken_by().await, Waker::Kernel);
        fs::write(directory.path().join("ACME.csv"), b"x").unwrap();
        assert_eq!(watch.woken_by().await, Waker::Clock, "another file is none of ours");
    }

    #[tokio::test]
    async fn what_comes_soon_after_a_wake_up_waits_for_the_next() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("Master.csv");
        let mut watch = Watch::new(&[&path]);
        assert_eq!(watch.woken_by().await, Waker::Clock);
        fs::write(&path, b"x").unwrap();
        assert_eq!(watch.woken_by().await, Waker::Kernel);
        let woken = Instant::now();
        fs::write(&path, b"y").unwrap();
        assert_eq!(watch.woken_by().await, Waker::Kernel);
        assert!(woken.elapsed() >= REST / 2);
    }

    #[tokio::test]
    async fn a_directory_that_comes_later_is_watched_too() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("cdr-csv").join("Master.csv");
        let mut watch = Watch::new(&[&path]);
        assert_eq!(watch.woken_by().await, Waker::Clock);
        fs::create_dir(path.parent().unwrap()).unwrap();
        assert_eq!(watch.woken_by().await, Waker::Clock);
        fs::write(&path, b"x").unwrap();
        assert_eq!(watch.woken_by().await, Waker::Kernel);
    }

    #[tokio::test]
    async fn without_the_kernel_the_clock_does() {
        let mut watch = Watch::new(&["Master.csv"]);
        watch.state = State::Polling;
        assert_eq!(watch.woken_by().await, Waker::Clock);
    }
}
