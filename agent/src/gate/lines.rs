//! The ledger read line by line, as it stood at one moment, in memory that does not grow with it.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read, Seek, SeekFrom},
    path::Path,
};

use super::entry::{Entry, MAX_LINE, NotAnEntry};

/// Lines of a file from a place on, up to the length that the file had.
pub(super) struct Lines<R> {
    source: R,
    at: u64,
}

/// One line.
pub(super) struct Line {
    /// Where it begins.
    pub(super) offset: u64,
    /// Its bytes, without the line feed.
    pub(super) bytes: Vec<u8>,
    /// Whether a line feed ends it; only the last line can be without.
    pub(super) ended: bool,
}

impl Line {
    /// The first byte after it.
    pub(super) fn end(&self) -> u64 {
        self.offset + self.bytes.len() as u64 + u64::from(self.ended)
    }
}

impl Lines<BufReader<io::Take<File>>> {
    /// Reads `file` from `from` to `to`.
    pub(super) fn of(file: &File, from: u64, to: u64) -> io::Result<Self> {
        let mut file = file.try_clone()?;
        file.seek(SeekFrom::Start(from))?;
        Ok(Self { source: BufReader::with_capacity(64 * 1024, file.take(to.saturating_sub(from))), at: from })
    }
}

impl<R: BufRead> Lines<R> {
    /// Whether no byte is left.
    pub(super) fn at_end(&mut self) -> bool {
        self.source.fill_buf().is_ok_and(|rest| rest.is_empty())
    }

    /// The next line. One that is longer than any entry comes in pieces, none of which is an entry.
    pub(super) fn next_line(&mut self) -> io::Result<Option<Line>> {
        let mut bytes = Vec::new();
        (&mut self.source).take(MAX_LINE as u64 + 1).read_until(b'\n', &mut bytes)?;
        if bytes.is_empty() {
            return Ok(None);
        }
        let offset = self.at;
        self.at += bytes.len() as u64;
        let ended = bytes.last() == Some(&b'\n');
        if ended {
            bytes.pop();
        }
        Ok(Some(Line { offset, bytes, ended }))
    }
}

/// An entry, and where its line begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    /// Byte offset of the line.
    pub offset: u64,
    /// The entry.
    pub entry: Entry,
}

/// The entries of a ledger, oldest first, as they stood when it was opened. Each entry's own hash is checked, the
/// chain is not: that is [`super::verify`].
pub struct Entries {
    lines: Option<Lines<BufReader<io::Take<File>>>>,
}

/// The ledger cannot be read on.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// The file cannot be read.
    #[error("cannot read the ledger: {0}")]
    Io(#[from] io::Error),
    /// A line is not an entry.
    #[error("the line at byte {offset} is no entry of the ledger: {why} (`demarc sent verify` checks all of it)")]
    Line {
        /// Where the line begins.
        offset: u64,
        /// What is wrong with it.
        why: NotAnEntry,
    },
}

impl Entries {
    /// The entries of the ledger at that path; none when there is no such file.
    ///
    /// # Errors
    /// When the file is there and cannot be read.
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { lines: snapshot(path)? })
    }
}

impl Iterator for Entries {
    type Item = Result<Placed, Unreadable>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = match self.lines.as_mut()?.next_line() {
            Ok(Some(line)) => match Entry::from_line(&line.bytes) {
                Ok(entry) => return Some(Ok(Placed { offset: line.offset, entry })),
                // What a power loss left of a line: it was never finished, so nothing of it left.
                Err(_) if !line.ended => None,
                Err(why) => Some(Err(Unreadable::Line { offset: line.offset, why })),
            },
            Ok(None) => None,
            Err(error) => Some(Err(error.into())),
        };
        self.lines = None;
        next
    }
}

/// All lines of the file, as it is when no writer is in the middle of an entry.
/// Nothing where no entry was ever made.
pub(super) fn snapshot(path: &Path) -> io::Result<Option<Lines<BufReader<io::Take<File>>>>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    file.lock_shared()?;
    let length = file.metadata()?.len();
    file.unlock()?;
    Lines::of(&file, 0, length).map(Some)
}
