//! What the keeper keeps of its own: a line a day for charts, the prunings, and the list of a dry run. All of it is bounded.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufWriter, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use jiff::{Timestamp, tz::TimeZone};
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{By, TreeStatus};
use crate::{staged::Staged, state::StateDir};

/// Days that are kept for charts.
const MOST_DAYS: usize = 400;
/// Prunings that are kept.
const MOST_PRUNINGS: usize = 500;

/// How much there was, day by day.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    /// The oldest first.
    pub days: Vec<Day>,
}

/// How much there was on one day, when the keeper looked last.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Day {
    /// The day in UTC, such as `2026-11-26`.
    pub day: String,
    /// One a tree.
    pub trees: Vec<TreeOfDay>,
}

/// How much there was in one tree.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TreeOfDay {
    /// Where it lies.
    pub path: PathBuf,
    /// How many files.
    pub files: u64,
    /// How long they were together.
    pub bytes: u64,
    /// Free bytes of its file system.
    pub free_bytes: u64,
}

/// One pruning.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pruning {
    /// When it began: seconds since 1970 in UTC.
    pub began: u64,
    /// When it ended, likewise; absent while it goes on, and where it was cut short.
    pub ended: Option<u64>,
    /// Why it was done.
    pub by: By,
    /// The rule: files that had not changed for so many seconds.
    pub older_than: u64,
    /// How many files were removed.
    pub files: u64,
    /// How long they were together.
    pub bytes: u64,
    /// How many could not be removed.
    pub failed: u64,
}

/// All prunings that are kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prunings {
    /// The oldest first.
    pub prunings: Vec<Pruning>,
}

/// A file that was found by a dry run: one line of the list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// Where it lies; bytes that are no UTF-8 are shown as such.
    pub path: String,
    /// Its length.
    pub bytes: u64,
    /// When it was changed last: seconds since 1970 in UTC.
    pub changed: u64,
}

/// Held for as long as the keeper works; the kernel lets go of it whatever ends the process.
#[derive(Debug)]
pub(super) struct Desk {
    _lock: File,
    history: PathBuf,
    prunings: PathBuf,
}

impl Desk {
    /// Takes the keeper's directory for this process alone; nothing if another keeper has it.
    pub(super) fn take(state: &StateDir) -> io::Result<Option<Self>> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600).custom_flags(libc::O_NOFOLLOW);
        let lock = options.open(state.recordings().join("lock"))?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        Ok(Some(Self { _lock: lock, history: state.recordings_history(), prunings: state.prunings() }))
    }

    /// Notes how much there is today, in place of what was noted today.
    pub(super) fn note_day(&self, now: u64, trees: &[TreeStatus]) -> io::Result<()> {
        let mut history: History = read(&self.history)?;
        let day = day(now);
        // Whatever says that it comes later was noted by a clock that was wrong.
        history.days.retain(|noted| noted.day < day);
        let trees = trees.iter().map(|tree| TreeOfDay {
            path: tree.path.clone(),
            files: tree.files,
            bytes: tree.bytes,
            free_bytes: tree.free_bytes,
        });
        history.days.push(Day { day, trees: trees.collect() });
        let surplus = history.days.len().saturating_sub(MOST_DAYS);
        history.days.drain(..surplus);
        write(&self.history, &history)
    }

    /// Notes a pruning, in place of what was noted of it before.
    pub(super) fn note_pruning(&self, pruning: &Pruning) -> io::Result<()> {
        let mut all: Prunings = read(&self.prunings)?;
        if all.prunings.last().is_some_and(|last| last.began == pruning.began && last.ended.is_none()) {
            all.prunings.pop();
        }
        all.prunings.push(pruning.clone());
        let surplus = all.prunings.len().saturating_sub(MOST_PRUNINGS);
        all.prunings.drain(..surplus);
        write(&self.prunings, &all)
    }

    /// The last pruning.
    pub(super) fn last_pruning(&self) -> io::Result<Option<Pruning>> {
        read::<Prunings>(&self.prunings).map(|mut all| all.prunings.pop())
    }
}

/// Reads one of these files. One that is not there is empty; one that is damaged is, too, and makes room for a new one.
///
/// # Errors
/// When the file is there and cannot be read.
pub fn read<T: DeserializeOwned + Default>(file: &Path) -> io::Result<T> {
    match fs::read(file) {
        Ok(bytes) => Ok(serde_json::from_slice(&bytes).unwrap_or_else(|_| {
            tracing::warn!("{} is damaged, and is begun anew", file.display());
            T::default()
        })),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(T::default()),
        Err(error) => Err(error),
    }
}

fn write(file: &Path, what: &impl Serialize) -> io::Result<()> {
    Staged::write(file, &serde_json::to_vec(what)?)?.commit()
}

fn day(now: u64) -> String {
    let moment = i64::try_from(now).ok().and_then(|now| Timestamp::from_second(now).ok()).unwrap_or(Timestamp::MAX);
    moment.to_zoned(TimeZone::UTC).date().to_string()
}

/// The list of a dry run while it is written.
#[derive(Debug)]
pub(super) struct List {
    file: BufWriter<File>,
    most: u64,
    /// Lines that were written.
    pub(super) lines: u64,
}

impl List {
    /// Begins a list of so many lines at most, in place of the last one.
    pub(super) fn begin(file: &Path, most: u64) -> io::Result<Self> {
        match fs::remove_file(file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let new = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file)?;
        Ok(Self { file: BufWriter::new(new), most, lines: 0 })
    }

    /// Adds a line, if there is room for it.
    pub(super) fn add(&mut self, listed: &Listed) -> io::Result<()> {
        if self.lines < self.most {
            self.lines += 1;
            serde_json::to_writer(&mut self.file, listed)?;
            self.file.write_all(b"\n")?;
        }
        Ok(())
    }

    /// Ends the list.
    pub(super) fn end(mut self) -> io::Result<u64> {
        self.file.flush()?;
        Ok(self.lines)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn desk() -> (tempfile::TempDir, StateDir) {
        let root = tempfile::tempdir().unwrap();
        let state = StateDir::new(root.path());
        state.create().unwrap();
        (root, state)
    }

    #[test]
    fn a_day_has_one_line_and_old_days_go() {
        let (_root, state) = desk();
        let desk = Desk::take(&state).unwrap().unwrap();
        assert!(Desk::take(&state).unwrap().is_none());
        let tree = |files| [TreeStatus { path: "/m".into(), files, ..TreeStatus::default() }];
        for number in 0..MOST_DAYS as u64 + 5 {
            desk.note_day(number * 86_400, &tree(number)).unwrap();
        }
        let last = (MOST_DAYS as u64 + 4) * 86_400;
        desk.note_day(last + 3_600, &tree(7)).unwrap();
        let history: History = read(&state.recordings_history()).unwrap();
        assert_eq!(history.days.len(), MOST_DAYS);
        let newest = history.days.last().unwrap();
        assert_eq!((history.days[0].day.as_str(), newest.day.as_str()), ("1970-01-06", "1971-02-09"));
        assert_eq!(newest.trees[0].files, 7);
        // The clock was a year ahead: what was noted then is no history.
        desk.note_day(86_400, &tree(1)).unwrap();
        assert_eq!(read::<History>(&state.recordings_history()).unwrap().days.len(), 1);
    }

    #[test]
    fn a_pruning_is_noted_while_it_goes_on() {
        let (_root, state) = desk();
        let desk = Desk::take(&state).unwrap().unwrap();
        assert_eq!(desk.last_pruning().unwrap(), None);
        let mut pruning =
            Pruning { began: 5, ended: None, by: By::Command, older_than: 86_400, files: 0, bytes: 0, failed: 0 };
        desk.note_pruning(&pruning).unwrap();
        pruning.files = 10;
        desk.note_pruning(&pruning).unwrap();
        // Cut short; the next one stands beside it.
        pruning.began = 6;
        pruning.ended = Some(7);
        desk.note_pruning(&pruning).unwrap();
        let all: Prunings = read(&state.prunings()).unwrap();
        assert_eq!(
            all.prunings.iter().map(|one| (one.began, one.ended)).collect::<Vec<_>>(),
            [(5, None), (6, Some(7))]
        );
        fs::write(state.prunings(), "damaged").unwrap();
        assert_eq!(desk.last_pruning().unwrap(), None);
        desk.note_pruning(&pruning).unwrap();
        assert_eq!(desk.last_pruning().unwrap(), Some(pruning));
    }

    #[test]
    fn a_list_is_as_long_as_was_asked() {
        let (_root, state) = desk();
        for most in [2, 10] {
            let mut list = List::begin(&state.recordings_list(), most).unwrap();
            for number in 0..3 {
                list.add(&Listed { path: format!("/m/{number}.wav"), bytes: 1, changed: 2 }).unwrap();
            }
            assert_eq!(list.end().unwrap(), most.min(3));
        }
        let text = fs::read_to_string(state.recordings_list()).unwrap();
        assert_eq!(text.lines().next(), Some(r#"{"path":"/m/0.wav","bytes":1,"changed":2}"#));
    }
}
