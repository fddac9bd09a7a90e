//! The ledger read from its end back, so that a page costs what it shows and not what there is.

use std::{
    fs::File,
    io::{self, ErrorKind},
    os::unix::fs::FileExt,
    path::Path,
};

use crate::gate::entry::{Entry, NotAnEntry};

/// So much is read at once.
const BLOCK: u64 = 64 * 1024;

/// The lines of the ledger as it stood when it was opened, the last one first.
pub(super) struct Backward {
    file: Option<File>,
    /// What lies before is not read yet.
    at: u64,
    /// What was read and not handed out.
    rest: Vec<u8>,
    /// Whether the last line still stands in `rest`: it alone may be unfinished.
    fresh: bool,
}

/// A line of the ledger.
pub(super) struct Line {
    bytes: Vec<u8>,
    is_ended: bool,
}

impl Backward {
    /// The ledger at that path; no lines where there is none.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = match File::open(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            opened => Some(opened?),
        };
        let mut at = 0;
        if let Some(file) = &file {
            // No writer is in the middle of an entry then.
            file.lock_shared()?;
            at = file.metadata()?.len();
            file.unlock()?;
        }
        Ok(Self { file, at, rest: Vec::new(), fresh: true })
    }

    /// The line before the one that was handed out last.
    pub(super) fn line(&mut self) -> io::Result<Option<Line>> {
        let mut is_ended = true;
        if std::mem::take(&mut self.fresh) {
            self.fill()?;
            is_ended = self.rest.last() == Some(&b'\n');
            if is_ended {
                self.rest.pop();
            }
        }
        // What was searched in vain need not be searched again.
        let mut searched = 0;
        loop {
            let unsearched = self.rest.len() - searched;
            if let Some(feed) = memchr::memrchr(b'\n', &self.rest[..unsearched]) {
                let bytes = self.rest.split_off(feed + 1);
                self.rest.pop();
                return Ok(Some(Line { bytes, is_ended }));
            }
            searched = self.rest.len();
            if !self.fill()? {
                let bytes = std::mem::take(&mut self.rest);
                return Ok((!bytes.is_empty()).then_some(Line { bytes, is_ended }));
            }
        }
    }

    /// Reads what lies before; false where that is nothing.
    fn fill(&mut self) -> io::Result<bool> {
        let from = self.at.saturating_sub(BLOCK);
        let (Some(file), true) = (&self.file, from < self.at) else { return Ok(false) };
        let mut bytes = vec![0; (self.at - from) as usize];
        file.read_exact_at(&mut bytes, from)?;
        bytes.append(&mut self.rest);
        (self.rest, self.at) = (bytes, from);
        Ok(true)
    }
}

impl Line {
    /// The entry's number, without a look at the rest: the first keys of each line have fixed places.
    pub(super) fn seq(&self) -> Option<u64> {
        let digits = self.bytes.strip_prefix(b"{\"seq\":")?;
        let end = memchr::memchr(b',', digits)?;
        std::str::from_utf8(&digits[..end]).ok()?.parse().ok()
    }

    /// The entry; none where a power loss left a part of one, of which nothing left.
    pub(super) fn entry(&self) -> Option<Result<Entry, NotAnEntry>> {
        match Entry::from_line(&self.bytes) {
            Err(_) if !self.is_ended => None,
            result => Some(result),
        }
    }

    /// Whether it can be a receipt.
    pub(super) fn may_be_receipt(&self) -> bool {
        memchr::memmem::find(&self.bytes[..self.bytes.len().min(96)], b"\"kind\":\"receipt\"").is_some()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn lines(text: &[u8]) -> Vec<(String, bool)> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ledger");
        fs::write(&path, text).unwrap();
        let mut backward = Backward::open(&path).unwrap();
        let next = || backward.line().unwrap();
        std::iter::from_fn(next).map(|line| (String::from_utf8(line.bytes).unwrap(), line.is_ended)).collect()
    }

    #[test]
    fn lines_come_from_the_last_to_the_first() {
        assert_eq!(lines(b"a\nbc\n"), [("bc".to_owned(), true), ("a".to_owned(), true)]);
        assert_eq!(lines(b"a\nbc"), [("bc".to_owned(), false), ("a".to_owned(), true)]);
        assert_eq!(lines(b""), []);
        assert_eq!(Backward::open(Path::new("/nowhere/ledger")).unwrap().line().unwrap().map(|_| ()), None);
        // Lines longer than what is read at once, and one that ends where a block does.
        let long: Vec<String> = [1, BLOCK as usize, 3 * BLOCK as usize + 7, BLOCK as usize - 1]
            .iter()
            .map(|length| "x".repeat(*length))
            .collect();
        let found: Vec<String> = lines((long.join("\n") + "\n").as_bytes()).into_iter().map(|(line, _)| line).collect();
        assert!(found.iter().rev().eq(long.iter()));
    }

    #[test]
    fn a_number_is_told_without_the_rest() {
        let seq = |text: &str| Line { bytes: text.as_bytes().to_vec(), is_ended: true }.seq();
        assert_eq!(seq("{\"seq\":42,\"time\":"), Some(42));
        assert_eq!((seq("{\"seq\":"), seq("{\"seq\":x,"), seq("")), (None, None, None));
    }
}
