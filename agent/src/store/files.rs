//! How far sources and files were read.
//!
//! A file is known by its first bytes, under whatever name it lies: so a rotated file that was followed before, or one
//! that is imported a second time, goes on where reading stopped.

use std::{
    collections::HashMap,
    ffi::OsStr,
    fs::File,
    io::Read,
    os::unix::ffi::OsStrExt,
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

/// What a process knows of the store's positions.
pub(super) struct Seen {
    /// The position of each source, as it is stored.
    pub(super) positions: HashMap<PathBuf, Option<String>>,
    /// How often files had been imported.
    pub(super) imports: i64,
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
    /// How far a source was read. Files of it may have been imported further: see [`Store::imports`].
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn source_position(&self, source: &Path) -> Result<Option<Position>, StoreError> {
        let stored = stored_of_source(&self.connection, source).map_err(|error| self.fault(error))?;
        let position = stored.as_deref().map(parse).transpose().map_err(|error| self.fault(error))?;
        self.expected.borrow_mut().insert(source.to_owned(), stored);
        Ok(position)
    }

    /// How far files were imported, if that has changed since the given version; and the present version. Whoever
    /// follows a source asks before each batch: one that was begun in ignorance of an import is refused.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn imports(&self, known: Option<i64>) -> Result<Option<(i64, Vec<Mark>)>, StoreError> {
        self.read_imports(known).map_err(|error| self.fault(error))
    }

    fn read_imports(&self, known: Option<i64>) -> rusqlite::Result<Option<(i64, Vec<Mark>)>> {
        let version = imports(&self.connection)?;
        self.imports.set(version);
        if known == Some(version) {
            return Ok(None);
        }
        let mut statement = self.connection.prepare_cached("SELECT position FROM file WHERE imported = 1")?;
        let mut rows = statement.query([])?;
        let mut marks = Vec::new();
        while let Some(row) = rows.next()? {
            marks.push(parse(row.get_ref(0)?.as_str()?)?.mark());
        }
        Ok(Some((version, marks)))
    }

    /// What is known of a file with that beginning ([`head_of`]).
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn known(&self, head: &[u8]) -> Result<Option<Known>, StoreError> {
        best(&self.connection, head).map_err(|error| self.fault(error))
    }
}

fn best(connection: &Connection, head: &[u8]) -> rusqlite::Result<Option<Known>> {
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
        (position.prefix_len, position.offset, known.source().is_some())
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

/// Writes the positions of a batch; gives back those of its sources as they are stored now.
pub(super) fn write(
    transaction: &Transaction<'_>,
    pending: &Pending,
    seen: &Seen,
    now: i64,
) -> Result<HashMap<PathBuf, Option<String>>, Fault> {
    let mut written = HashMap::new();
    for part in &pending.parts {
        match &part.origin {
            Origin::Source(path) => {
                let before = stored_of_source(transaction, path)?;
                // A batch may name a source more than once.
                let expected = written.get(path).or_else(|| seen.positions.get(path));
                if expected.is_some_and(|expected| *expected != before) || imports(transaction)? != seen.imports {
                    return Err(Fault::Moved(path.clone()));
                }
                write_source(transaction, path, part, before.as_deref(), now)?;
                written.insert(path.clone(), Some(text(&part.position)));
            }
            Origin::File { known, head } => write_file(transaction, known.as_ref(), head, part, now)?,
        }
    }
    Ok(written)
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
        remember(transaction, before, false, now)?;
    }
    if let Some(before) = &before
        && (before.device, before.inode) == (position.device, position.inode)
        && position.offset < before.offset
    {
        remember(transaction, before, false, now)?;
    }
    let already = before.map(|before| before.older).unwrap_or_default();
    for mark in position.older.iter().filter(|mark| !already.contains(mark)) {
        remember(transaction, &of_mark(mark), false, now)?;
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
            sql(counts.read()),
            sql(counts.malformed),
            sql(counts.duplicates),
            sql(counts.unlinked),
            if counts.read() > 0 { now } else { 0 },
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
    let found = best(transaction, head)?;
    if found.as_ref().map(|found| &found.stored) != known.map(|known| &known.stored) {
        return Err(Fault::Moved(PathBuf::from("the file that is imported")));
    }
    match found.map(|found| found.record) {
        Some(Record::Source(path)) => {
            transaction
                .prepare_cached("UPDATE source SET position = ?2 WHERE path = ?1")?
                .execute((path.as_os_str().as_bytes(), text(position)))?;
        }
        Some(Record::File { prefix_hash, prefix_len }) => {
            transaction
                .prepare_cached("DELETE FROM file WHERE prefix_hash = ?1 AND prefix_len = ?2")?
                .execute((prefix_hash.as_slice(), prefix_len))?;
            remember(transaction, position, true, now)?;
        }
        None => remember(transaction, position, true, now)?,
    }
    transaction.prepare_cached("UPDATE totals SET imports = imports + 1 WHERE id = 0")?.execute([])?;
    Ok(())
}

/// Keeps in mind how far a file was read that no source follows.
fn remember(transaction: &Transaction<'_>, position: &Position, imported: bool, now: i64) -> Result<(), Fault> {
    if position.prefix_len == 0 {
        return Ok(());
    }
    transaction
        .prepare_cached(
            "INSERT INTO file VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (prefix_hash, prefix_len) DO UPDATE SET
             position = excluded.position, bytes = excluded.bytes, last_read = excluded.last_read,
             imported = max(imported, excluded.imported) WHERE excluded.bytes >= bytes",
        )?
        .execute((
            position.prefix_hash.as_slice(),
            position.prefix_len,
            text(position),
            sql(position.offset),
            now,
            imported,
        ))?;
    transaction
        .prepare_cached(
            "DELETE FROM file WHERE (SELECT count(*) FROM file) > ?1
             AND last_read < (SELECT last_read FROM file ORDER BY last_read DESC LIMIT 1 OFFSET ?1)",
        )?
        .execute([MAX_FILES])?;
    Ok(())
}

pub(super) fn stored_of_source(connection: &Connection, path: &Path) -> rusqlite::Result<Option<String>> {
    connection
        .prepare_cached("SELECT position FROM source WHERE path = ?1")?
        .query_row([path.as_os_str().as_bytes()], |row| row.get(0))
        .optional()
}

fn imports(connection: &Connection) -> rusqlite::Result<i64> {
    connection.prepare_cached("SELECT imports FROM totals WHERE id = 0")?.query_row([], |row| row.get(0))
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
