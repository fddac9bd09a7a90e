//! Follows one file of call records through rotations, truncations and restarts: each row once, in order.
//!
//! What to read next is decided in `plan`, from what `survey` finds in the directory; here it is done.

mod error;
mod older;
mod open;
mod plan;
mod survey;

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

pub use error::{TailError, Trouble};
pub(super) use open::open;

use self::{
    older::Older,
    open::OpenFile,
    plan::{Missed, Next},
    survey::{Survey, directory_of, modified},
};
use super::{
    format::Format,
    leg::Row,
    position::{Mark, Position},
    reader::{Memory, RowReader, Taken},
    scanner::MAX_RECORD,
    zone::Zone,
};

/// How much is read at a time. Pages that no row ever filled cost nothing.
const BUFFER: usize = 256 * 1024;
const _: () = assert!(BUFFER > MAX_RECORD);
/// How many rows a poll delivers at most, so that they fit one transaction.
const ROWS: u64 = 5_000;
/// How many files that were rotated away are watched for late rows.
const OLDER: usize = 2;
/// More changes of file than this are not made in one poll: somebody may be renaming in a loop.
const MOVES: u32 = 64;

/// Follows one file.
///
/// Rows count as delivered when [`Tail::poll`] has returned; the caller stores them together with
/// [`Tail::position`], and goes back with [`Tail::go_back`] to the stored position where that failed.
pub struct Tail {
    path: PathBuf,
    reader: Box<dyn Format>,
    current: Option<OpenFile>,
    /// Whether a row of `current` was delivered, or it is certain that nothing is to be read before it.
    settled: bool,
    /// When `current` changed last, as of the last time that it was found empty.
    empty_since: Option<i64>,
    /// Where to resume while there is no `current`.
    resume: Position,
    started: bool,
    older: Vec<Older>,
    /// How far files were imported, which are not read again.
    imported: Vec<Mark>,
    /// See [`Position::modified`].
    modified: i64,
    /// When the directory changed last, as of the last survey that found no next file.
    surveyed: Option<i64>,
    missing: bool,
    trouble: Option<Trouble>,
    buffer: Vec<u8>,
    rows: u64,
}

/// What a poll did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Rows delivered, malformed and repeated ones too.
    pub rows: u64,
    /// Bytes that they took.
    pub bytes: u64,
    /// Whether there is more to read at once.
    pub more: bool,
}

/// How reading a file ended.
enum Reading {
    /// At its end, or before a row that is not finished.
    End,
    /// As many rows as a poll may deliver.
    Enough,
    /// The file is not what it was.
    Changed,
    /// Another file comes first.
    Overlooked,
}

impl Tail {
    /// Follows a file of Asterisk's `cdr_csv`, its times in that zone: see [`Tail::of`].
    pub fn new(path: impl Into<PathBuf>, zone: Zone, position: Option<Position>) -> Self {
        Self::of(path, Box::new(RowReader::new(zone)), position)
    }

    /// Follows the file at `path` from there on; from its beginning where there is no position yet.
    pub fn of(path: impl Into<PathBuf>, format: Box<dyn Format>, position: Option<Position>) -> Self {
        let mut tail = Self {
            path: path.into(),
            reader: format,
            current: None,
            settled: false,
            empty_since: None,
            resume: Position::default(),
            started: false,
            older: Vec::new(),
            imported: Vec::new(),
            modified: i64::MAX,
            surveyed: None,
            missing: false,
            trouble: None,
            buffer: vec![0; BUFFER],
            rows: ROWS,
        };
        tail.go_back(position);
        tail
    }

    /// Delivers at most so many rows a poll.
    pub fn with_rows(mut self, rows: u64) -> Self {
        self.rows = rows.max(1);
        self
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Learns how far files were imported. Whichever of them comes to be read is read from there on.
    pub fn know(&mut self, imported: Vec<Mark>) {
        self.imported = imported;
    }

    /// Goes back to a position: what was delivered since could not be stored.
    pub fn go_back(&mut self, position: Option<Position>) {
        self.resume = position.unwrap_or(Position { modified: i64::MAX, ..Position::default() });
        self.modified = self.resume.modified;
        self.reader.remember(Memory { last_end: self.resume.last_end, twice: self.resume.twice });
        self.current = None;
        self.older.clear();
        self.started = false;
        self.surveyed = None;
    }

    /// How far rows were delivered.
    pub fn position(&self) -> Position {
        let mut position = self.resume.clone();
        if let Some(current) = &self.current {
            let mark = current.mark();
            (position.device, position.inode, position.offset) = (mark.device, mark.inode, mark.offset);
            (position.prefix_len, position.prefix_hash) = (mark.prefix_len, mark.prefix_hash);
        }
        position.modified = self.modified;
        Memory { last_end: position.last_end, twice: position.twice } = self.reader.memory();
        if self.started {
            position.older = self.older.iter().map(|older| older.file.mark()).collect();
        }
        position
    }

    /// What is wrong with the source and what the owner can do, in words.
    pub fn trouble(&self) -> Option<String> {
        let hint = self.reader.written_when();
        let missing =
            (self.missing && self.current.is_none()).then(|| Trouble::Missing { path: self.path.clone(), hint });
        self.trouble.clone().or(missing).map(|trouble| trouble.to_string()).or_else(|| self.reader.trouble())
    }

    /// Finds the file without reading it, so that [`Tail::position`] names it.
    ///
    /// # Errors
    /// When the directory or the file cannot be examined.
    pub fn look(&mut self) -> Result<(), TailError> {
        if self.current.is_none() {
            self.find()?;
        }
        Ok(())
    }

    /// Delivers what was written since.
    ///
    /// An error says that nothing was delivered.
    pub fn poll(&mut self, sink: &mut dyn FnMut(Row<'_>)) -> Result<Progress, TailError> {
        let mut progress = Progress::default();
        match self.advance(&mut progress, sink) {
            // The same error will come again when there is nothing to deliver before it.
            Err(_) if progress.rows > 0 => Ok(Progress { more: true, ..progress }),
            Err(error) => Err(error),
            Ok(()) => Ok(progress),
        }
    }

    fn advance(&mut self, progress: &mut Progress, sink: &mut dyn FnMut(Row<'_>)) -> Result<(), TailError> {
        if self.current.is_none() && !self.find()? {
            return Ok(());
        }
        self.read_older(progress, sink)?;
        // Set once the file has lost its name: what it still holds is read before the next file is.
        let mut left_behind = false;
        for _ in 0..MOVES {
            match self.read_current(progress, sink)? {
                Reading::Enough => {
                    progress.more = true;
                    return Ok(());
                }
                Reading::Changed | Reading::Overlooked => {
                    self.resume = self.position();
                    self.current = None;
                    left_behind = false;
                    if !self.find()? {
                        return Ok(());
                    }
                }
                Reading::End if left_behind => {
                    if !self.move_on(progress, sink)? {
                        return Ok(());
                    }
                    left_behind = false;
                }
                Reading::End => {
                    left_behind = self.is_left_behind()?;
                    if !left_behind {
                        return Ok(());
                    }
                }
            }
        }
        progress.more = true;
        Ok(())
    }

    /// Opens the file at which to go on; says whether there is one.
    fn find(&mut self) -> Result<bool, TailError> {
        let running = self.started;
        if running && self.nothing_new()? {
            return Ok(false);
        }
        let changed = self.directory_changed();
        let survey = self.survey()?;
        if !self.started {
            self.older.clear();
            for mark in std::mem::take(&mut self.resume.older) {
                let found = survey.files.iter().find(|file| (file.device, file.inode) == (mark.device, mark.inode));
                if let Some(facts) = found
                    && facts.size >= mark.offset
                    && let Ok(Some(file)) = self.open(facts, mark.offset)
                    && file.is(&mark)
                {
                    self.older.push(Older::new(file));
                }
                self.resume.older.push(mark);
            }
        }
        let (next, missed) = plan::resume(&self.resume, &survey);
        let opened = self.arrive(next, &survey)?;
        // A file that moved away between the survey and its opening is looked for again at the next poll.
        if next != Next::Wait && opened.is_none() {
            self.surveyed = None;
            return Ok(false);
        }
        if plan::is_first_start(&self.resume) {
            self.modified = survey.newest();
            self.resume.modified = self.modified;
        }
        self.started = true;
        self.missing = survey.live().is_none();
        self.surveyed = if opened.is_none() { changed } else { None };
        match missed {
            Missed::Nothing => {}
            Missed::InCompressed { file } => {
                let path = directory_of(&self.path).join(&survey.files[file].name);
                self.trouble = Some(Trouble::Compressed { path });
            }
            // A file that was read to its end before it was emptied or deleted took nothing along.
            Missed::Unknown if running => {}
            Missed::Unknown => self.trouble = Some(Trouble::Lost { path: self.path.clone() }),
        }
        let Some(file) = opened else { return Ok(false) };
        self.take_up(file);
        Ok(true)
    }

    /// Delivers what was written late to files that were rotated away.
    fn read_older(&mut self, progress: &mut Progress, sink: &mut dyn FnMut(Row<'_>)) -> Result<(), TailError> {
        let mut place = 0;
        while let Some(older) = self.older.get_mut(place) {
            let limit = self.rows.saturating_sub(progress.rows);
            let look = older
                .read(&mut *self.reader, &mut self.buffer, limit, sink)
                .map_err(|error| TailError::from_io(&self.path, "read", error))?;
            count(progress, look.taken);
            progress.more |= look.more;
            if look.keep {
                place += 1;
            } else {
                self.older.remove(place);
            }
        }
        Ok(())
    }

    fn read_current(&mut self, progress: &mut Progress, sink: &mut dyn FnMut(Row<'_>)) -> Result<Reading, TailError> {
        loop {
            let Some(file) = &self.current else { return Ok(Reading::End) };
            if progress.rows >= self.rows {
                return Ok(Reading::Enough);
            }
            let failed = |error| TailError::from_io(&self.path, "read", error);
            let read = file.read(&mut self.buffer).map_err(failed)?;
            if read == 0 {
                let now = file.now().map_err(failed)?;
                if now.size < file.offset || (now.modified != self.modified && !file.unchanged().map_err(failed)?) {
                    return Ok(Reading::Changed);
                }
                if self.settled {
                    if now.size == file.offset {
                        self.modified = now.modified;
                    }
                } else if self.empty_since.replace(now.modified) != Some(now.modified) && self.is_overlooking()? {
                    return Ok(Reading::Overlooked);
                }
                return Ok(Reading::End);
            }
            if !file.unchanged().map_err(failed)? {
                return Ok(Reading::Changed);
            }
            if !self.settled && self.is_overlooking()? {
                return Ok(Reading::Overlooked);
            }
            let limit = self.rows - progress.rows;
            let taken = self.reader.read(&self.buffer[..read], false, limit, sink);
            count(progress, taken);
            if let Some(file) = &mut self.current {
                file.consume(&self.buffer[..taken.bytes]);
            }
            if taken.bytes == 0 {
                return Ok(Reading::End);
            }
            self.settled = true;
        }
    }

    /// Whether another file must be read before the current one, of which nothing was read yet.
    fn is_overlooking(&self) -> Result<bool, TailError> {
        Ok(plan::overlooked(&self.position(), &self.survey()?).is_some())
    }

    /// Whether another file has the followed name by now, or may have.
    fn is_left_behind(&self) -> Result<bool, TailError> {
        let Some(current) = &self.current else { return Ok(false) };
        match fs::symlink_metadata(&self.path) {
            Ok(metadata) => Ok((metadata.dev(), metadata.ino()) != (current.device, current.inode)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Ok(self.surveyed.is_none() || self.surveyed != self.directory_changed())
            }
            Err(error) => Err(TailError::from_io(&self.path, "examined", error)),
        }
    }

    /// Goes to the next file; says whether there is one.
    fn move_on(&mut self, progress: &mut Progress, sink: &mut dyn FnMut(Row<'_>)) -> Result<bool, TailError> {
        let changed = self.directory_changed();
        let survey = self.survey()?;
        let Some(current) = &self.current else { return Ok(false) };
        let position = self.position();
        let before = if current.offset == 0 { plan::overlooked(&position, &survey) } else { None };
        let next = match before {
            Some(file) => Next::At { file, offset: 0 },
            None => plan::successor(&position, &survey),
        };
        if next == Next::Wait {
            self.surveyed = changed;
            return Ok(false);
        }
        // Where it moved away meanwhile, look again.
        let Some(opened) = self.arrive(next, &survey)? else { return Ok(true) };
        if let Some(file) = self.take_up(opened) {
            self.older.insert(0, Older::new(file));
        }
        while self.older.len() > OLDER
            && let Some(older) = self.older.pop()
        {
            let closed = older.close(&mut *self.reader, &mut self.buffer, sink);
            count(progress, closed.map_err(|error| TailError::from_io(&self.path, "read", error))?);
        }
        Ok(true)
    }

    /// Opens the file that was decided on; absent where there is none, or none of that kind any more.
    fn arrive(&self, next: Next, survey: &Survey) -> Result<Option<OpenFile>, TailError> {
        match next {
            Next::Wait => Ok(None),
            Next::At { file, offset } => self.open(&survey.files[file], offset),
            Next::AtEndOf { file } => {
                let mut opened = self.open(&survey.files[file], 0)?;
                if let Some(opened) = &mut opened {
                    opened.skip_to_end().map_err(|error| TailError::from_io(&self.path, "read", error))?;
                }
                Ok(opened)
            }
        }
    }

    /// Makes a file the current one; gives back the one before.
    fn take_up(&mut self, file: OpenFile) -> Option<OpenFile> {
        self.settled = file.offset > 0;
        self.empty_since = None;
        self.surveyed = None;
        self.current.replace(file)
    }

    /// Whether a new look at the directory would find what the last one found.
    fn nothing_new(&self) -> Result<bool, TailError> {
        match fs::symlink_metadata(&self.path) {
            Ok(_) => Ok(false),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Ok(self.surveyed.is_some() && self.surveyed == self.directory_changed())
            }
            Err(error) => Err(TailError::from_io(&self.path, "examined", error)),
        }
    }

    fn directory_changed(&self) -> Option<i64> {
        fs::metadata(directory_of(&self.path)).ok().map(|metadata| modified(&metadata))
    }

    fn survey(&self) -> Result<Survey, TailError> {
        let older = self.resume.older.iter().map(|mark| mark.inode);
        let known: Vec<u64> =
            older.chain(self.current.as_ref().map(|file| file.inode)).chain([self.resume.inode]).collect();
        Survey::take(&self.path, &known)
    }

    fn open(&self, facts: &survey::Facts, offset: u64) -> Result<Option<OpenFile>, TailError> {
        let same = |mark: &&Mark| mark.prefix_len > 0 && mark.offset <= facts.size && mark.matches(facts.head());
        let imported = self.imported.iter().filter(same).map(|mark| mark.offset).max();
        let offset = offset.max(imported.unwrap_or(0));
        OpenFile::open(&directory_of(&self.path).join(&facts.name), (facts.device, facts.inode), offset)
    }
}

impl std::fmt::Debug for Tail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tail").field("path", &self.path).finish_non_exhaustive()
    }
}

fn count(progress: &mut Progress, taken: Taken) {
    progress.rows += taken.rows;
    progress.bytes += taken.bytes as u64;
}

#[cfg(test)]
mod tests;
