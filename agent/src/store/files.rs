//! How far sources and files were read.
//!
//! A file is known by its first bytes, under whatever name it lies: so a rotated file that was followed before, or one
//! that is imported a second time, goes on where reading stopped.

use std::{
    collections::HashMap,
    ffi::OsStr,
    fs::File,
    io::Read,
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::{Path, PathBuf},
};

use rusqlite::{Connection, OptionalExtension, Transaction};

use super::{
    Origin, Pending, Store, StoreError,
    commit::sql,
    error::{Fault, damaged},
    pending::Part,
};
use crate::pbx::{Mark, Position, position::PREFIX};

/// So many files are remembered, those read last.
const MAX_FILES: i64 = 10_000;

/// What the store knows of a file.
#[derive(Clone)]
pub struct Known {
    /// How far it was read.
    pub position: Position,
    record: Record,
    /// The position as it is stored: when it is another at the commit, somebody else has read on.
    stored: String,
}

/// Where that stands.
#[derive(Clone)]
enum Record {
    Source(PathBuf),
    File { prefix_hash: [u8; 32], prefix_len: u32 },
}

/// What a process expects the store to know of a source.
#[derive(Clone, PartialEq)]
pub(super) enum Expected {
    /// Nothing, of the file neither.
    Nothing,
    /// That position, as it is stored.
    Source(String),
    /// That position, as it is stored for a file that was imported before anybody followed it.
    Import(String),
}

impl Known {
    /// What the store knows once a commit with that position has succeeded.
    pub fn after(before: Option<&Self>, position: &Position) -> Self {
        let record = match before.map(|known| &known.record) {
            Some(Record::Source(path)) => Record::Source(path.clone()),
            _ => Record::File { prefix_hash: position.prefix_hash, prefix_len: position.prefix_len },
        };
        Self { position: position.clone(), record, stored: text(position) }
    }

    /// The source that follows the file, if one does.
    pub fn source(&self) -> Option<&Path> {
        match &self.record {
            Record::Source(path) => Some(path),
            Record::File { .. } => None,
        }
    }
}

impl Store {
    /// How far a source was read. A source that was never followed, but whose file was imported, goes on where the
    /// import ended.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn source_position(&self, source: &Path) -> Result<Option<Position>, StoreError> {
        let stored: Option<String> = self
            .connection
            .prepare_cached("SELECT position FROM source WHERE path = ?1")
            .and_then(|mut statement| statement.query_row([source.as_os_str().as_bytes()], |row| row.get(0)).optional())
            .map_err(|error| self.fault(error))?;
        let (position, expected) = match stored {
            Some(stored) => (Some(parse(&stored).map_err(|error| self.fault(error))?), Expected::Source(stored)),
            None => match self.imported(source)? {
                Some((position, stored)) => (Some(position), Expected::Import(stored)),
                None => (None, Expected::Nothing),
            },
        };
        self.expected.borrow_mut().insert(source.to_owned(), expected);
        Ok(position)
    }

    fn imported(&self, source: &Path) -> Result<Option<(Position, String)>, StoreError> {
        // Whether and why a source cannot be read is for its reader to say.
        let Ok((head, metadata)) = File::open(source).and_then(|mut file| Ok((head_of(&mut file)?, file.metadata()?)))
        else {
            return Ok(None);
        };
        let known = self.known(&head, metadata.len())?.filter(|known| known.source().is_none());
        Ok(known.map(|Known { position, stored, .. }| {
            let (device, inode, older) = (metadata.dev(), metadata.ino(), Vec::new());
            (Position { device, inode, older, ..position }, stored)
        }))
    }

    /// What is known of a file with that beginning ([`head_of`]) and length.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn known(&self, head: &[u8], length: u64) -> Result<Option<Known>, StoreError> {
        best(&self.connection, head, length).map_err(|error| self.fault(error))
    }
}

fn best(connection: &Connection, head: &[u8], length: u64) -> rusqlite::Result<Option<Known>> {
    let mut found = Vec::new();
    let mut consider = |stored: String, source: Option<PathBuf>| -> rusqlite::Result<()> {
        let position = parse(&stored)?;
        if position.prefix_len > 0 && position.mark().matches(head) {
            let record = match source {
                Some(path) => Record::Source(path),
                None => Record::File { prefix_hash: position.prefix_hash, prefix_len: position.prefix_len },
            };
            found.push(Known { position, record, stored });
        }
        Ok(())
    };
    let mut statement = connection.prepare_cached("SELECT position, path FROM source")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        consider(row.get(0)?, Some(OsStr::from_bytes(&row.get::<_, Vec<u8>>(1)?).into()))?;
    }
    let mut statement = connection.prepare_cached("SELECT position FROM file")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        consider(row.get(0)?, None)?;
    }
    // The longer the beginning that is the same, the surer; of equals the one that was read further, and of those the
    // one that is followed. A file shorter than what was read is an earlier copy of it: all of it was read.
    Ok(found.into_iter().max_by_key(|known| {
        let position = &known.position;
        (position.prefix_len, position.offset <= length, position.offset, known.source().is_some())
    }))
}

/// The first bytes of a file, as many as its fingerprint may cover.
///
/// # Errors
/// When the file cannot be read.
pub fn head_of(file: &mut File) -> std::io::Result<Vec<u8>> {
    let mut head = Vec::with_capacity(PREFIX);
    file.take(PREFIX as u64).read_to_end(&mut head)?;
    Ok(head)
}

/// Writes the positions of a batch; gives back what is to be expected of its sources now.
pub(super) fn write(
    transaction: &Transaction<'_>,
    pending: &Pending,
    expected: &HashMap<PathBuf, Expected>,
    now: i64,
) -> Result<HashMap<PathBuf, Expected>, Fault> {
    let mut written = HashMap::new();
    for part in &pending.parts {
        match &part.origin {
            Origin::Source(path) => {
                let before = stored_of_source(transaction, path)?;
                // A batch may name a source more than once.
                let expected = written.get(path).or_else(|| expected.get(path));
                match (expected, &before) {
                    (None, _) => {}
                    (Some(Expected::Source(expected)), Some(before)) if expected == before => {}
                    (Some(expected), None) => take_over(transaction, expected, path, &part.position)?,
                    _ => return Err(Fault::Moved(path.clone())),
                }
                write_source(transaction, path, part, before.as_deref(), now)?;
                written.insert(path.clone(), Expected::Source(text(&part.position)));
            }
            Origin::File { known, head } => write_file(transaction, known.as_ref(), head, part, now)?,
        }
    }
    Ok(written)
}

/// The first rows of a source: nobody may have imported its file meanwhile, or further than known here.
fn take_over(
    transaction: &Transaction<'_>,
    expected: &Expected,
    path: &Path,
    position: &Position,
) -> Result<(), Fault> {
    let stands = match expected {
        Expected::Source(_) => false,
        Expected::Nothing => {
            stored_of_file(transaction, (position.prefix_hash.as_slice(), position.prefix_len))?.is_none()
        }
        Expected::Import(stored) => {
            let position = parse(stored)?;
            let key = (position.prefix_hash.as_slice(), position.prefix_len);
            stored_of_file(transaction, key)?.as_ref() == Some(stored)
        }
    };
    if stands { Ok(()) } else { Err(Fault::Moved(path.to_owned())) }
}

fn write_source(
    transaction: &Transaction<'_>,
    path: &Path,
    part: &Part,
    before: Option<&str>,
    now: i64,
) -> Result<(), Fault> {
    let before = before.map(parse).transpose()?;
    let position = &part.position;
    // What is left behind for another file stays known, so that importing it later adds nothing.
    if let Some(before) = &before
        && (before.device, before.inode) != (position.device, position.inode)
        && !position.older.iter().any(|mark| (mark.device, mark.inode) == (before.device, before.inode))
    {
        remember(transaction, before, now)?;
    }
    if let Some(before) = &before
        && (before.device, before.inode) == (position.device, position.inode)
        && position.offset < before.offset
    {
        remember(transaction, before, now)?;
    }
    let already = before.map(|before| before.older).unwrap_or_default();
    for mark in position.older.iter().filter(|mark| !already.contains(mark)) {
        remember(transaction, &of_mark(mark), now)?;
    }
    let counts = part.counts;
    transaction
        .prepare_cached(
            "INSERT INTO source VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT (path) DO UPDATE SET
             position = excluded.position, rows = rows + excluded.rows, malformed = malformed + excluded.malformed,
             duplicates = duplicates + excluded.duplicates, unlinked = unlinked + excluded.unlinked,
             last_read = iif(excluded.rows > 0, excluded.last_read, last_read)",
        )?
        .execute((
            path.as_os_str().as_bytes(),
            text(position),
            sql(counts.rows),
            sql(counts.malformed),
            sql(counts.duplicates),
            sql(counts.unlinked),
            if counts.rows > 0 { now } else { 0 },
        ))?;
    Ok(())
}

fn write_file(
    transaction: &Transaction<'_>,
    known: Option<&Known>,
    head: &[u8],
    part: &Part,
    now: i64,
) -> Result<(), Fault> {
    let position = &part.position;
    let moved = || Fault::Moved(PathBuf::from("the file that is imported"));
    match known {
        Some(Known { record: Record::Source(path), stored: before, .. }) => {
            if stored_of_source(transaction, path)?.as_ref() != Some(before) {
                return Err(moved());
            }
            transaction
                .prepare_cached("UPDATE source SET position = ?2 WHERE path = ?1")?
                .execute((path.as_os_str().as_bytes(), text(position)))?;
        }
        Some(Known { record: Record::File { prefix_hash, prefix_len }, stored: before, .. }) => {
            let key = (prefix_hash.as_slice(), *prefix_len);
            if stored_of_file(transaction, key)?.as_ref() != Some(before) {
                return Err(moved());
            }
            transaction.prepare_cached("DELETE FROM file WHERE prefix_hash = ?1 AND prefix_len = ?2")?.execute(key)?;
            remember(transaction, position, now)?;
        }
        None => {
            if best(transaction, head, u64::MAX)?.is_some() {
                return Err(moved());
            }
            remember(transaction, position, now)?;
        }
    }
    Ok(())
}

/// Keeps in mind how far a file was read that no source follows.
fn remember(transaction: &Transaction<'_>, position: &Position, now: i64) -> Result<(), Fault> {
    if position.prefix_len == 0 {
        return Ok(());
    }
    transaction
        .prepare_cached(
            "INSERT INTO file VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (prefix_hash, prefix_len) DO UPDATE SET
             position = excluded.position, bytes = excluded.bytes, last_read = excluded.last_read
             WHERE excluded.bytes >= bytes",
        )?
        .execute((position.prefix_hash.as_slice(), position.prefix_len, text(position), sql(position.offset), now))?;
    transaction
        .prepare_cached(
            "DELETE FROM file WHERE (SELECT count(*) FROM file) > ?1
             AND last_read < (SELECT last_read FROM file ORDER BY last_read DESC LIMIT 1 OFFSET ?1)",
        )?
        .execute([MAX_FILES])?;
    Ok(())
}

fn stored_of_source(transaction: &Transaction<'_>, path: &Path) -> Result<Option<String>, Fault> {
    Ok(transaction
        .prepare_cached("SELECT position FROM source WHERE path = ?1")?
        .query_row([path.as_os_str().as_bytes()], |row| row.get(0))
        .optional()?)
}

fn stored_of_file(transaction: &Transaction<'_>, key: (&[u8], u32)) -> Result<Option<String>, Fault> {
    Ok(transaction
        .prepare_cached("SELECT position FROM file WHERE prefix_hash = ?1 AND prefix_len = ?2")?
        .query_row(key, |row| row.get(0))
        .optional()?)
}

fn of_mark(mark: &Mark) -> Position {
    Position {
        device: mark.device,
        inode: mark.inode,
        offset: mark.offset,
        prefix_len: mark.prefix_len,
        prefix_hash: mark.prefix_hash,
        ..Position::default()
    }
}

fn parse(stored: &str) -> rusqlite::Result<Position> {
    serde_json::from_str(stored).map_err(damaged)
}

fn text(position: &Position) -> String {
    serde_json::to_string(position).expect("a position is plain data")
}
