//! The recording of a session: an asciicast (version 2) whose lines are chained by hashes, so that nothing can be changed
//! or taken out unseen.
//!
//! The first line is the header, a JSON object. Each other line is `[seconds, code, text]`: `o` is what the engineer was
//! shown, `i` what he typed, `r` a new size of his window, `m` something that happened, in words. Each line `h` holds the
//! SHA-256 of the hash on the `h` line before it (64 zeros at first) followed by all bytes from after that line up to its
//! own hash. Players skip `h`.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Write},
    path::{Path, PathBuf},
    time::Instant,
};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::SessionId;
use crate::{gate::entry::LineHash, state::StateDir};

/// No line is longer: what is shown in one piece is cut before it gets there.
const MAX_LINE: u64 = 1 << 20;
/// The longest text in one line: JSON makes at most six bytes of one, and a replaced byte is three.
const LONGEST_PIECE: usize = 64 << 10;

/// How long the end of an `h` line is, from the first digit of its hash on.
const HASH_TAIL: usize = 64 + "\"]\n".len();

/// Where the recording of a session lies.
pub fn path(state: &StateDir, session: SessionId) -> PathBuf {
    state.session_recordings().join(format!("{session}.cast"))
}

/// The code of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// The engineer was shown this.
    Output,
    /// The engineer typed this.
    Input,
    /// His window has this size now: `COLUMNSxROWS`.
    Resize,
    /// Something happened, in words.
    Mark,
}

impl Code {
    fn letter(self) -> &'static str {
        match self {
            Self::Output => "o",
            Self::Input => "i",
            Self::Resize => "r",
            Self::Mark => "m",
        }
    }
}

/// A recording that is being written. What [`Cast::sync`] has returned for is on the disk.
#[derive(Debug)]
pub struct Cast {
    file: File,
    began: Instant,
    pending: Vec<u8>,
    written: u64,
    synced: u64,
    head: LineHash,
    /// What is left of a character that was cut between two chunks, for output and for input.
    cut: [Vec<u8>; 2],
}

impl Cast {
    /// Begins a recording with its header, which is on the disk when this returns.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn begin(file: File, header: &impl Serialize) -> io::Result<Self> {
        let mut cast = Self {
            file,
            began: Instant::now(),
            pending: Vec::new(),
            written: 0,
            synced: 0,
            head: LineHash::GENESIS,
            cut: Default::default(),
        };
        serde_json::to_writer(&mut cast.pending, header)?;
        cast.pending.push(b'\n');
        cast.write()?;
        cast.sync()?;
        Ok(cast)
    }

    /// Notes an event. Bytes that are no UTF-8 are replaced, as a terminal would show them.
    pub fn note(&mut self, code: Code, bytes: &[u8]) {
        self.note_at(Instant::now(), code, bytes);
    }

    /// Notes an event that happened at that moment, which is not before that of the event noted last.
    pub fn note_at(&mut self, at: Instant, code: Code, bytes: &[u8]) {
        for piece in bytes.chunks(LONGEST_PIECE) {
            let text = match code {
                Code::Output => whole_characters(&mut self.cut[0], piece),
                Code::Input => whole_characters(&mut self.cut[1], piece),
                Code::Resize | Code::Mark => String::from_utf8_lossy(piece).into_owned(),
            };
            if !text.is_empty() {
                self.line(at, code.letter(), &text);
            }
        }
    }

    /// Writes everything that was noted. The end of this process does not undo it any more; that of the machine may.
    ///
    /// # Errors
    /// When that fails; the session may not go on then.
    pub fn write(&mut self) -> io::Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let seconds = self.began.elapsed().as_secs_f64();
        let _ = write!(self.pending, "[{seconds:.6},\"h\",\"");
        self.head = chained(self.head, &self.pending);
        let _ = writeln!(self.pending, "{}\"]", self.head);
        self.file.write_all(&self.pending)?;
        self.written += self.pending.len() as u64;
        self.pending.clear();
        self.pending.shrink_to(LONGEST_PIECE);
        Ok(())
    }

    /// Puts everything that was written on the disk.
    ///
    /// # Errors
    /// When that fails; the session may not go on then.
    pub fn sync(&mut self) -> io::Result<()> {
        if self.synced < self.written {
            self.file.sync_data()?;
            self.synced = self.written;
        }
        Ok(())
    }

    /// How many bytes were written.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// How many bytes the disk still takes, where it says so.
    pub fn room(&self) -> Option<u64> {
        let disk = rustix::fs::fstatvfs(&self.file).ok()?;
        Some(disk.f_bavail.saturating_mul(disk.f_frsize))
    }

    /// The last hash.
    pub fn head(&self) -> LineHash {
        self.head
    }

    fn line(&mut self, at: Instant, code: &str, text: &str) {
        let seconds = at.saturating_duration_since(self.began).as_secs_f64();
        let text = serde_json::to_string(text).expect("a text has a JSON form");
        // Writing to memory does not fail.
        let _ = writeln!(self.pending, "[{seconds:.6},\"{code}\",{text}]");
    }
}

/// The text of the bytes so far, without a last character of which only the beginning has come; that waits in `cut`.
fn whole_characters(cut: &mut Vec<u8>, bytes: &[u8]) -> String {
    cut.extend_from_slice(bytes);
    let whole = match std::str::from_utf8(cut) {
        Err(error) if error.error_len().is_none() => error.valid_up_to(),
        // Wrong in the middle: only what stands at the very end may still become a character.
        Err(_) => cut.len() - unfinished(cut),
        Ok(_) => cut.len(),
    };
    let rest = cut.split_off(whole);
    String::from_utf8_lossy(&std::mem::replace(cut, rest)).into_owned()
}

/// How many bytes at the end are the beginning of a character.
fn unfinished(bytes: &[u8]) -> usize {
    let tail = &bytes[bytes.len().saturating_sub(3)..];
    let begins = |start: usize| matches!(std::str::from_utf8(&tail[start..]), Err(error) if error.valid_up_to() == 0 && error.error_len().is_none());
    (0..tail.len()).find(|start| begins(*start)).map_or(0, |start| tail.len() - start)
}

fn chained(head: LineHash, bytes: &[u8]) -> LineHash {
    let mut hash = Sha256::new();
    hash.update(head.to_string());
    hash.update(bytes);
    LineHash::from(<[u8; 32]>::from(hash.finalize()))
}

/// What a recording turned out to be.
#[derive(Clone, Debug, PartialEq)]
pub struct Verified {
    /// The last hash that fits.
    pub head: LineHash,
    /// How many events stand before it.
    pub events: u64,
    /// Bytes after it: of a chunk that was never shown, because its process died while writing.
    pub torn: u64,
    /// The header.
    pub header: serde_json::Value,
}

/// A recording cannot be trusted.
#[derive(Debug, thiserror::Error)]
pub enum CastError {
    /// It cannot be read.
    #[error("it cannot be read")]
    Unreadable(#[from] io::Error),
    /// It does not begin with a header.
    #[error("it does not begin as a recording does")]
    NoHeader,
    /// A hash does not fit what stands before it.
    #[error("line {line} does not fit what stands before it: the recording was changed")]
    Changed {
        /// The line with the hash, counted from 1.
        line: u64,
    },
}

/// One line after the header.
#[derive(Debug, Deserialize)]
pub struct Event(pub f64, pub String, pub String);

/// Checks the chain of a recording from its beginning to its end.
///
/// # Errors
/// When it cannot be read or was changed.
pub fn verify(path: &Path) -> Result<Verified, CastError> {
    let mut lines = BufReader::new(File::open(path)?);
    let mut verified = Verified { head: LineHash::GENESIS, events: 0, torn: 0, header: serde_json::Value::Null };
    let (mut since, mut events) = (Sha256::new_with_prefix(verified.head.to_string()), 0);
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        io::Read::take(&mut lines, MAX_LINE).read_until(b'\n', &mut line)?;
        if number == 1 {
            let header: serde_json::Value = serde_json::from_slice(&line).map_err(|_| CastError::NoHeader)?;
            if header["version"] != 2 {
                return Err(CastError::NoHeader);
            }
            verified.header = header;
        }
        let event = serde_json::from_slice::<Event>(&line).ok().filter(|_| line.ends_with(b"\n"));
        match event {
            _ if line.is_empty() => break,
            Some(Event(_, code, hash)) if code == "h" => {
                since.update(&line[..line.len().saturating_sub(HASH_TAIL)]);
                let head = LineHash::from(<[u8; 32]>::from(since.finalize()));
                if hash != head.to_string() {
                    return Err(CastError::Changed { line: number });
                }
                since = Sha256::new_with_prefix(&hash);
                verified.head = head;
                verified.events += events;
                (events, verified.torn) = (0, 0);
            }
            event => {
                since.update(&line);
                verified.torn += line.len() as u64;
                events += u64::from(event.is_some());
            }
        }
    }
    Ok(verified)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> (tempfile::TempDir, PathBuf, LineHash) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.cast");
        let mut cast = Cast::begin(
            File::create_new(&path).unwrap(),
            &serde_json::json!({"version": 2, "width": 80, "height": 24}),
        )
        .unwrap();
        cast.note(Code::Output, "a\u{1b}[1mé".as_bytes());
        cast.write().unwrap();
        cast.note(Code::Input, b"x\n");
        cast.note(Code::Mark, b"end: done");
        cast.write().unwrap();
        cast.sync().unwrap();
        let head = cast.head();
        (directory, path, head)
    }

    #[test]
    fn what_was_written_is_verified() {
        let (_directory, path, head) = record();
        let verified = verify(&path).unwrap();
        assert_eq!((verified.head, verified.events, verified.torn), (head, 3, 0));
        assert_eq!(verified.header["width"], 80);
    }

    #[test]
    fn any_change_is_seen_and_a_torn_end_is_told() {
        let (_directory, path, _) = record();
        let whole = std::fs::read(&path).unwrap();
        for place in 0..whole.len() {
            let mut changed = whole.clone();
            changed[place] ^= 1;
            std::fs::write(&path, &changed).unwrap();
            let good = verify(&path).is_ok_and(|verified| verified.torn == 0);
            assert!(!good, "a change at {place} is not seen");
        }
        let lines: Vec<&[u8]> = whole.split_inclusive(|byte| *byte == b'\n').collect();
        let without_second = [&lines[..2], &lines[4..]].concat().concat();
        std::fs::write(&path, without_second).unwrap();
        assert!(matches!(verify(&path), Err(CastError::Changed { .. })));
        std::fs::write(&path, &whole[..whole.len() - 10]).unwrap();
        let torn = verify(&path).unwrap();
        assert!(torn.torn > 0 && torn.events == 1);
    }

    #[test]
    fn characters_that_are_cut_between_chunks_come_out_whole() {
        let mut cut = Vec::new();
        let text = "é€😀x";
        let mut shown = String::new();
        for byte in text.as_bytes() {
            shown += &whole_characters(&mut cut, &[*byte]);
        }
        assert_eq!(shown, text);
        let mut shown = whole_characters(&mut cut, b"\xffa\xc3");
        shown += &whole_characters(&mut cut, b"\xa9");
        assert_eq!(shown, "\u{fffd}aé");
    }
}
