//! The ledger: an append-only, hash-chained file of everything that left, written before it leaves.
//!
//! Several processes may write it (the collector; commands while the daemon is down): each entry is made under a
//! lock on the file, after whatever others added was read. An entry that was reported as made is durable. One that
//! a power loss or a full disk cut short is taken away again: it cannot have left, since nobody was told of it.

use std::{
    collections::{BTreeMap, VecDeque},
    fs::{DirBuilder, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use demarc_proto::{Report, ReportId};

use super::{
    entry::{Draft, Entry, Kind, LineHash, MAX_LINE},
    lines::{Entries, Line, Lines},
};
use crate::state::StateDir;

/// How much of the end is read when the ledger is opened: far more than the reports that the outbox can hold.
const TAIL: u64 = 8 * 1024 * 1024;
/// How many reports are remembered by name: more than the outbox can hold.
const REMEMBERED: usize = 1024;

/// The ledger, open for writing.
#[derive(Debug)]
pub struct Ledger {
    path: PathBuf,
    file: File,
    /// The first byte after the last entry that was read.
    end: u64,
    /// The last entry's number and hash.
    seq: u64,
    hash: LineHash,
    /// Where the last entry of each kind begins, of the entries read so far.
    last: BTreeMap<Kind, u64>,
    /// Where the part begins that was not read when the ledger was opened, and ends; empty once it was searched.
    unread: u64,
    /// The latest reports, oldest first.
    reports: VecDeque<Known>,
}

/// A report that stands in the ledger.
#[derive(Clone, Copy, Debug)]
struct Known {
    report: ReportId,
    offset: u64,
    /// Whether a receipt, a refusal, a withdrawal stand in the ledger too.
    said: [bool; 3],
}

impl Known {
    fn said(&self, kind: Kind) -> bool {
        said_place(kind).is_some_and(|place| self.said[place])
    }
}

fn said_place(kind: Kind) -> Option<usize> {
    [Kind::Receipt, Kind::Refused, Kind::Withdrawn].into_iter().position(|said| said == kind)
}

/// What came of entering a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entered {
    /// It is in the ledger from now on.
    Now,
    /// It was there before, with the same bytes.
    Before,
    /// A report of that name is there with other bytes.
    OtherBytes,
}

/// The ledger cannot be written. Nothing may leave until it can.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// Try again: the disk is full, or the like.
    #[error("cannot {doing} the ledger {path}: {source}; it is as it was before")]
    Io {
        /// What was tried.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// Somebody else has to look at it: entries do not hold together.
    #[error(
        "the ledger {path} is damaged at byte {offset}: {why}; `demarc sent verify` says more; move the file aside to \
         begin a new one"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where the first bad line begins.
        offset: u64,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Somebody else has to look at it: entries were taken out while we held it open.
    #[error("the ledger {path} has become shorter: entries were taken out; move the file aside to begin a new one")]
    Shortened {
        /// The file.
        path: PathBuf,
    },
    /// Never enter this: it is longer than anything that leaves.
    #[error("an entry of {bytes} bytes is longer than the ledger takes")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
}

impl Ledger {
    /// Opens the ledger for writing, and makes it where there is none. Only its end is read, however long it is.
    ///
    /// # Errors
    /// When it cannot be read or written, or its end is damaged by something else than a power loss.
    pub fn open(state: &StateDir) -> Result<Self, LedgerError> {
        let path = state.ledger();
        let file = open_or_create(&state.collector(), &path).map_err(failed("open", &path))?;
        let mut ledger = Self {
            path,
            file,
            end: 0,
            seq: 0,
            hash: LineHash::GENESIS,
            last: BTreeMap::new(),
            unread: 0,
            reports: VecDeque::new(),
        };
        ledger.locked(Self::catch_up)?;
        Ok(ledger)
    }

    /// Makes an entry, durably, and returns its number. `now` is in seconds since 1970 in UTC.
    ///
    /// # Errors
    /// When it could not be made; the ledger is then as it was.
    pub fn append(&mut self, now: u64, draft: Draft) -> Result<u64, LedgerError> {
        self.locked(|ledger| {
            ledger.catch_up()?;
            ledger.write(now, draft)
        })
    }

    /// Makes an entry unless the last one of its kind has the same bytes: for messages that never change.
    ///
    /// # Errors
    /// As [`Ledger::append`].
    pub fn append_if_new(&mut self, now: u64, draft: Draft) -> Result<(), LedgerError> {
        self.locked(|ledger| {
            ledger.catch_up()?;
            match ledger.read_last(draft.about.kind())? {
                Some(last) if last.bytes == draft.bytes && last.about == draft.about => Ok(()),
                _ => ledger.write(now, draft).map(drop),
            }
        })
    }

    /// Enters what was said of a report (a receipt, a refusal, a withdrawal), unless the same was said before: a hub
    /// repeats its receipt when it did not hear that we have it.
    ///
    /// # Errors
    /// As [`Ledger::append`].
    pub fn settle(&mut self, now: u64, draft: Draft) -> Result<(), LedgerError> {
        self.locked(|ledger| {
            ledger.catch_up()?;
            let known = draft.about.report().and_then(|report| ledger.known(report));
            match known.is_some_and(|known| known.said(draft.about.kind())) {
                true => Ok(()),
                false => ledger.write(now, draft).map(drop),
            }
        })
    }

    /// The last entry of a kind, if there is one. The first question about a kind that the end of the ledger does
    /// not hold reads all of it, once.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn last(&mut self, kind: Kind) -> Result<Option<Entry>, LedgerError> {
        self.locked(|ledger| {
            ledger.catch_up()?;
            ledger.read_last(kind)
        })
    }

    /// Reports, of the latest thousand, that were entered and have neither a receipt nor a refusal nor a withdrawal.
    pub fn unsettled(&self) -> Vec<ReportId> {
        self.reports.iter().filter(|known| known.said == [false; 3]).map(|known| known.report).collect()
    }

    /// All entries, oldest first.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn entries(&self) -> Result<Entries, LedgerError> {
        Entries::open(&self.path).map_err(failed("read", &self.path))
    }

    /// Enters a report that is about to leave, once.
    pub(super) fn enter_report(&mut self, now: u64, report: &Report, body: &str) -> Result<Entered, LedgerError> {
        self.locked(|ledger| {
            ledger.catch_up()?;
            match ledger.known(report.id) {
                Some(known) => {
                    let same = ledger.read_at(known.offset)?.bytes == body;
                    Ok(if same { Entered::Before } else { Entered::OtherBytes })
                }
                None => ledger.write(now, Draft::report(report, body)).map(|_| Entered::Now),
            }
        })
    }

    fn known(&self, report: ReportId) -> Option<Known> {
        self.reports.iter().rev().find(|known| known.report == report).copied()
    }

    /// Does something while no other process writes.
    fn locked<T>(&mut self, work: impl FnOnce(&mut Self) -> Result<T, LedgerError>) -> Result<T, LedgerError> {
        self.file.lock().map_err(failed("lock", &self.path))?;
        let result = work(self);
        // The lock goes with the process at the latest; an error here changes nothing for the caller.
        let _ = self.file.unlock();
        result
    }

    /// Reads what was added since the last look, by whomever, and takes away what a power loss left of a line.
    fn catch_up(&mut self) -> Result<(), LedgerError> {
        self.follow_path()?;
        let length = self.file.metadata().map_err(failed("read", &self.path))?.len();
        if length < self.end {
            return Err(LedgerError::Shortened { path: self.path.clone() });
        }
        if length == self.end {
            return Ok(());
        }
        let mut anchored = true;
        let mut lines = Lines::of(&self.file, self.end, length).map_err(failed("read", &self.path))?;
        if self.end == 0 && length > TAIL {
            // Only the end is read: the first line there is taken at its word, and everything after checked against it.
            let from = self.line_start(length - TAIL, length)?;
            lines = Lines::of(&self.file, from, length).map_err(failed("read", &self.path))?;
            (self.unread, anchored) = (from, false);
        }
        while let Some(line) = lines.next_line().map_err(failed("read", &self.path))? {
            match Entry::from_line(&line.bytes) {
                Ok(entry) if !anchored || (entry.seq == self.seq + 1 && entry.prev == self.hash) => {
                    if !line.ended {
                        self.finish_line(&line)?;
                    }
                    self.note(&entry, line.offset, line.offset + line.bytes.len() as u64 + 1);
                    anchored = true;
                }
                Ok(_) => return Err(self.damaged(&line, "it does not follow the entry before it")),
                Err(_) if line.end() == length && is_torn(&line) => self.cut(line.offset)?,
                Err(_) => return Err(self.damaged(&line, "the line was changed")),
            }
        }
        Ok(())
    }

    /// A ledger that was moved aside is left alone; a new one begins in its place.
    fn follow_path(&mut self) -> Result<(), LedgerError> {
        let held = self.file.metadata().map_err(failed("read", &self.path))?;
        let there = std::fs::metadata(&self.path).ok();
        if there.is_some_and(|there| (there.dev(), there.ino()) == (held.dev(), held.ino())) {
            return Ok(());
        }
        tracing::warn!("the ledger was moved aside; a new one begins");
        let directory = self.path.parent().unwrap_or(Path::new("."));
        self.file = open_or_create(directory, &self.path).map_err(failed("open", &self.path))?;
        self.file.lock().map_err(failed("lock", &self.path))?;
        (self.end, self.seq, self.hash, self.unread) = (0, 0, LineHash::GENESIS, 0);
        self.last.clear();
        self.reports.clear();
        Ok(())
    }

    fn write(&mut self, now: u64, draft: Draft) -> Result<u64, LedgerError> {
        let (entry, mut line) = Entry::seal(draft, self.seq + 1, now, self.hash);
        if line.len() > MAX_LINE {
            return Err(LedgerError::TooLong { bytes: line.len() });
        }
        line.push('\n');
        let written = (&self.file).write_all(line.as_bytes()).and_then(|()| self.file.sync_data());
        if let Err(error) = written {
            // If even this fails, the rest of the line is taken away before the next entry.
            let _ = self.file.set_len(self.end).and_then(|()| self.file.sync_data());
            return Err(failed("write", &self.path)(error));
        }
        self.note(&entry, self.end, self.end + line.len() as u64);
        Ok(entry.seq)
    }

    /// Remembers an entry that stands in the file from `offset` to before `end`.
    fn note(&mut self, entry: &Entry, offset: u64, end: u64) {
        (self.end, self.seq, self.hash) = (end, entry.seq, entry.hash);
        self.last.insert(entry.kind(), offset);
        match (entry.kind(), entry.about.report()) {
            (Kind::Report, Some(report)) => {
                if self.reports.len() == REMEMBERED {
                    self.reports.pop_front();
                }
                self.reports.push_back(Known { report, offset, said: [false; 3] });
            }
            (kind, Some(report)) => {
                let known = self.reports.iter_mut().rev().find(|known| known.report == report);
                if let (Some(known), Some(place)) = (known, said_place(kind)) {
                    known.said[place] = true;
                }
            }
            (_, None) => {}
        }
    }

    fn read_last(&mut self, kind: Kind) -> Result<Option<Entry>, LedgerError> {
        if !self.last.contains_key(&kind) && self.unread > 0 {
            let mut lines = Lines::of(&self.file, 0, self.unread).map_err(failed("read", &self.path))?;
            let mut earlier = BTreeMap::new();
            while let Some(line) = lines.next_line().map_err(failed("read", &self.path))? {
                if let Some(kind) = kind_of(&line.bytes) {
                    earlier.insert(kind, line.offset);
                }
            }
            self.unread = 0;
            for (kind, offset) in earlier {
                self.last.entry(kind).or_insert(offset);
            }
        }
        self.last.get(&kind).copied().map(|offset| self.read_at(offset)).transpose()
    }

    fn read_at(&self, offset: u64) -> Result<Entry, LedgerError> {
        let mut lines = Lines::of(&self.file, offset, self.end).map_err(failed("read", &self.path))?;
        let line = lines.next_line().map_err(failed("read", &self.path))?;
        let entry = line.and_then(|line| Entry::from_line(&line.bytes).ok());
        entry.ok_or_else(|| LedgerError::Damaged { path: self.path.clone(), offset, why: "the line was changed" })
    }

    /// The first byte of the line after the one that `place` is in.
    fn line_start(&self, place: u64, length: u64) -> Result<u64, LedgerError> {
        let mut lines = Lines::of(&self.file, place, length).map_err(failed("read", &self.path))?;
        let line = lines.next_line().map_err(failed("read", &self.path))?;
        Ok(line.map_or(length, |line| line.end()))
    }

    /// Writes the line feed that a power loss kept from the disk: the entry itself is whole.
    fn finish_line(&self, line: &Line) -> Result<(), LedgerError> {
        tracing::warn!(offset = line.offset, "the last line of the ledger lacked its line feed; it was completed");
        (&self.file).write_all(b"\n").and_then(|()| self.file.sync_data()).map_err(failed("mend", &self.path))
    }

    fn cut(&self, offset: u64) -> Result<(), LedgerError> {
        tracing::warn!(
            offset,
            "the last line of the ledger was cut short by a power loss or a crash; it was taken away"
        );
        self.file.set_len(offset).and_then(|()| self.file.sync_data()).map_err(failed("mend", &self.path))
    }

    fn damaged(&self, line: &Line, why: &'static str) -> LedgerError {
        LedgerError::Damaged { path: self.path.clone(), offset: line.offset, why }
    }
}

/// Whether the last line of the file can be what a power loss left of an entry: it was not ended, or its beginning
/// or whole sectors of it never reached the disk and read as zeros; such a sector may begin with the line feed. A whole
/// entry with another wrong byte where the line feed should be was ended once, and then changed; so was a line with a
/// single zero in it.
pub(super) fn is_torn(line: &Line) -> bool {
    const SECTOR: [u8; 512] = [0; 512];
    if line.ended {
        return line.bytes.first() == Some(&0) || memchr::memmem::find(&line.bytes, &SECTOR).is_some();
    }
    match line.bytes.split_last() {
        Some((0, _)) | None => true,
        Some((_, but_one)) => Entry::from_line(but_one).is_err(),
    }
}

/// The kind of a line, without reading all of it: the first keys of each line have fixed places.
fn kind_of(line: &[u8]) -> Option<Kind> {
    let head = &line[..line.len().min(96)];
    let start = memchr::memmem::find(head, b"\"kind\":\"")? + 8;
    let length = memchr::memchr(b'"', &head[start..])?;
    Kind::ALL.into_iter().find(|kind| kind.as_str().as_bytes() == &head[start..start + length])
}

/// Opens the file; where there is none, makes it so that it outlives a power loss.
fn open_or_create(directory: &Path, path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).append(true).mode(0o600);
    match options.open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        opened => return opened,
    }
    if !directory.exists() {
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    }
    let file = options.create(true).open(path)?;
    file.sync_all()?;
    File::open(directory)?.sync_all()?;
    Ok(file)
}

fn failed(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> LedgerError {
    let path = path.to_owned();
    move |source| LedgerError::Io { doing, path, source }
}
