//! The sources as the store knows them: each has a number, and a moment from which on it has a say.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension, Transaction};

use super::{Store, StoreError, commit::sql, error::Fault, files::stored_of_source, tally::number};

/// A source that comes to a store which others have filled has no say about calls that ended longer ago than this: the
/// store no longer knows which of their rows it has. Sightings are kept for at least as long.
pub(super) const LOOK_BACK: i64 = 3600;

/// A source in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Enlisted {
    /// Its number.
    pub number: i64,
    /// Rows that ended before are left to the sources that were there then: seconds since 1970 in UTC.
    pub since: i64,
}

/// What became of a source's rows, beside those that the store counts for its file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FeedCounts {
    /// [`crate::settings::Source::name`].
    pub name: String,
    /// Rows read.
    pub rows: u64,
    /// Rows that could not be understood.
    pub malformed: u64,
    /// Rows that were read twice.
    pub duplicates: u64,
    /// Rows without a `linkedid`.
    pub unlinked: u64,
    /// Rows that another source had told of.
    pub confirmed: u64,
    /// Rows of a witness that no other source told of in time, and which were counted by its word.
    pub rescued: u64,
    /// Rows that ended before the source had a say.
    pub left: u64,
    /// When the newest row was read: seconds since 1970 in UTC.
    pub last_read: Option<u64>,
}

impl Store {
    /// The source of that name; one that is new gets a number. `file` is where it lies, where it is a file that is
    /// followed.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn enlist(&mut self, name: &str, file: Option<&Path>, now: u64) -> Result<Enlisted, StoreError> {
        self.transact(|transaction| {
            if let Some(known) = find(transaction, name)? {
                return Ok(known);
            }
            let was_read = file.map(|file| stored_of_source(transaction, file)).transpose()?.flatten().is_some();
            // A queue log has filled the store with no calls.
            let others: bool = transaction.query_row(
                "SELECT EXISTS (SELECT 1 FROM feed WHERE name NOT GLOB 'queue-log *')",
                [],
                |row| row.get(0),
            )?;
            let since = if others && !was_read { sql(now).saturating_sub(LOOK_BACK) } else { 0 };
            transaction.execute("INSERT INTO feed (name, since) VALUES (?1, ?2)", (name, since))?;
            Ok(Enlisted { number: transaction.last_insert_rowid(), since })
        })
    }

    /// How far a source was read that is no file, in its own words.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn feed_position(&self, feed: i64) -> Result<Option<String>, StoreError> {
        self.connection
            .prepare_cached("SELECT position FROM feed WHERE number = ?1")
            .and_then(|mut statement| statement.query_row([feed], |row| row.get(0)).optional())
            .map(Option::flatten)
            .map_err(|error| self.fault(error))
    }

    /// The names of the rows that a source has delivered and may come upon again, with the moment of each.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn delivered(&self, feed: i64) -> Result<Vec<(u64, i64)>, StoreError> {
        let read = || -> rusqlite::Result<Vec<_>> {
            let mut statement = self.connection.prepare_cached("SELECT row, at FROM delivered WHERE feed = ?1")?;
            let rows = statement.query_map([feed], |row| Ok((row.get::<_, i64>(0)? as u64, row.get(1)?)))?;
            rows.collect()
        };
        read().map_err(|error| self.fault(error))
    }

    /// What became of the rows of each source.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn feeds(&self) -> Result<Vec<FeedCounts>, StoreError> {
        read(&self.connection).map_err(|error| self.fault(error))
    }
}

fn find(transaction: &Transaction<'_>, name: &str) -> Result<Option<Enlisted>, Fault> {
    Ok(transaction
        .prepare_cached("SELECT number, since FROM feed WHERE name = ?1")?
        .query_row([name], |row| Ok(Enlisted { number: row.get(0)?, since: row.get(1)? }))
        .optional()?)
}

fn read(connection: &Connection) -> rusqlite::Result<Vec<FeedCounts>> {
    let mut statement = connection.prepare_cached(
        "SELECT name, rows, malformed, duplicates, unlinked, confirmed, rescued, earlier, last_read FROM feed",
    )?;
    let feeds = statement.query_map([], |row| {
        Ok(FeedCounts {
            name: row.get(0)?,
            rows: number(row, 1)?,
            malformed: number(row, 2)?,
            duplicates: number(row, 3)?,
            unlinked: number(row, 4)?,
            confirmed: number(row, 5)?,
            rescued: number(row, 6)?,
            left: number(row, 7)?,
            last_read: Some(number(row, 8)?).filter(|&moment: &u64| moment > 0),
        })
    })?;
    feeds.collect()
}
