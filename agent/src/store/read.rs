//! Reading figures back: for `status`, for local reports, for the list of rows that were not understood.

use std::{ffi::OsStr, os::unix::ffi::OsStrExt, path::PathBuf};

use demarc_proto::Cell;
use rusqlite::Connection;
use rustc_hash::{FxHashMap, FxHashSet};

use super::{
    Store, StoreError,
    days::{self, DayCell},
    error::damaged,
    tally::{number, out_of_range},
};
use crate::{
    call::{CallKey, Figures},
    private::{Extension, Queue, Trunk},
};

/// What the store holds, in sum.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Calls.
    pub calls: u64,
    /// Their legs.
    pub legs: u64,
    /// Rows read.
    pub rows: u64,
    /// Rows that could not be understood.
    pub malformed: u64,
    /// Rows that were read twice.
    pub duplicates: u64,
    /// Rows that the quarantine keeps, of those that could not be understood.
    pub quarantined: u64,
    /// Calls that are not yet quiet, or wait to enter a tally.
    pub unsettled: u64,
    /// One a source.
    pub sources: Vec<SourceCounts>,
}

/// What was read from a source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceCounts {
    /// Its file.
    pub path: PathBuf,
    /// Rows read.
    pub rows: u64,
    /// Rows that could not be understood.
    pub malformed: u64,
    /// Rows that were read twice.
    pub duplicates: u64,
    /// Rows without a `linkedid`: which call they belong to is not certain.
    pub unlinked: u64,
    /// When the newest row was read: seconds since 1970 in UTC.
    pub last_read: Option<u64>,
}

/// One cell of the rollups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RollupRow {
    /// Quarter hour of the calls' end, counted from 1970 in UTC.
    pub quarter: i64,
    /// Direction and outcome.
    pub cell: Cell,
    /// Number of the trunk's text; 0 for none. See [`Store::texts`].
    pub trunk: i64,
    /// Number of the queue's text; 0 for none.
    pub queue: i64,
    /// Number of the extension's text; 0 for none.
    pub extension: i64,
    /// The amounts.
    pub figures: Figures,
}

/// A row that could not be understood.
#[derive(Clone, PartialEq, Eq)]
pub struct Quarantined {
    /// When it was read: seconds since 1970 in UTC.
    pub seen: u64,
    /// Why it was not understood.
    pub why: String,
    /// Its first bytes, as they stood in the file.
    pub bytes: Vec<u8>,
}

impl std::fmt::Debug for Quarantined {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Quarantined")
    }
}

impl Store {
    /// What the store holds, in sum.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn counts(&self) -> Result<Counts, StoreError> {
        self.read_counts().map_err(|error| self.fault(error))
    }

    /// Visits the cells of the rollups whose quarter hour lies in a half-open range. A place can come more than once,
    /// with differences too: what it amounts to is the sum.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn rollups(&self, from: i64, to: i64, visit: impl FnMut(RollupRow)) -> Result<(), StoreError> {
        self.read_rollups(from, to, visit).map_err(|error| self.fault(error))
    }

    /// Changes when another process has written.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn data_version(&self) -> Result<i64, StoreError> {
        self.connection
            .prepare_cached("PRAGMA data_version")
            .and_then(|mut statement| statement.query_row([], |row| row.get(0)))
            .map_err(|error| self.fault(error))
    }

    /// The quarter hour in which the newest call ended, if there is a call.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn newest_quarter(&self) -> Result<Option<i64>, StoreError> {
        let last_day =
            "SELECT max((SELECT coalesce(max(day), 0) FROM day), (SELECT coalesce(max(quarter), 0) FROM rollup) / 96)";
        let day: i64 = self
            .connection
            .prepare_cached(last_day)
            .and_then(|mut statement| statement.query_row([], |row| row.get(0)))
            .map_err(|error| self.fault(error))?;
        let mut newest = None;
        let day = days::quarters_of(day);
        self.rollups(day.start, day.end, |row| newest = newest.max(Some(row.quarter)))?;
        Ok(newest)
    }

    /// The texts behind the numbers in a [`RollupRow`].
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn texts(&self) -> Result<Texts, StoreError> {
        self.read_texts().map_err(|error| self.fault(error))
    }

    /// The rows that could not be understood, newest first.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn quarantine(&self, limit: u32) -> Result<Vec<Quarantined>, StoreError> {
        self.connection
            .prepare_cached("SELECT seen, why, bytes FROM quarantine ORDER BY id DESC LIMIT ?1")
            .and_then(|mut statement| {
                statement
                    .query_map([limit], |row| {
                        Ok(Quarantined { seen: number(row, 0)?, why: row.get(1)?, bytes: row.get(2)? })
                    })?
                    .collect()
            })
            .map_err(|error| self.fault(error))
    }

    fn read_counts(&self) -> rusqlite::Result<Counts> {
        let mut counts = self
            .connection
            .prepare_cached(
                "SELECT calls, legs, rows, malformed, duplicates, (SELECT count(*) FROM quarantine),
                 (SELECT count(*) FROM call WHERE status = 0) FROM totals WHERE id = 0",
            )?
            .query_row([], |row| {
                Ok(Counts {
                    calls: number(row, 0)?,
                    legs: number(row, 1)?,
                    rows: number(row, 2)?,
                    malformed: number(row, 3)?,
                    duplicates: number(row, 4)?,
                    quarantined: number(row, 5)?,
                    unsettled: number(row, 6)?,
                    sources: Vec::new(),
                })
            })?;
        let mut statement = self.connection.prepare_cached(
            "SELECT path, rows, malformed, duplicates, unlinked, last_read FROM source ORDER BY path",
        )?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            counts.sources.push(SourceCounts {
                path: OsStr::from_bytes(&row.get::<_, Vec<u8>>(0)?).into(),
                rows: number(row, 1)?,
                malformed: number(row, 2)?,
                duplicates: number(row, 3)?,
                unlinked: number(row, 4)?,
                last_read: Some(number(row, 5)?).filter(|&moment: &u64| moment > 0),
            });
        }
        Ok(counts)
    }

    fn read_rollups(&self, from: i64, to: i64, mut visit: impl FnMut(RollupRow)) -> rusqlite::Result<()> {
        let mut statement = self.connection.prepare_cached(
            "SELECT quarter, cell, trunk, queue, extension, calls, legs, talk_seconds, wait_seconds FROM rollup
             WHERE quarter >= ?1 AND quarter < ?2",
        )?;
        let mut rows = statement.query([from, to])?;
        while let Some(row) = rows.next()? {
            visit(RollupRow {
                quarter: row.get(0)?,
                cell: Cell::from_index(number(row, 1)?).ok_or_else(|| out_of_range(1))?,
                trunk: row.get(2)?,
                queue: row.get(3)?,
                extension: row.get(4)?,
                figures: Figures {
                    calls: row.get(5)?,
                    legs: row.get(6)?,
                    talk_seconds: row.get(7)?,
                    wait_seconds: row.get(8)?,
                },
            });
        }
        drop(rows);
        self.read_days(from, to, visit)
    }

    fn read_days(&self, from: i64, to: i64, mut visit: impl FnMut(RollupRow)) -> rusqlite::Result<()> {
        let mut statement =
            self.connection.prepare_cached("SELECT day, cells FROM day WHERE day BETWEEN ?1 AND ?2 ORDER BY day")?;
        let mut rows = statement.query([days::day_of(from), days::day_of(to)])?;
        while let Some(row) = rows.next()? {
            let cells = row.get_ref(1)?;
            days::read(row.get(0)?, cells.as_blob()?, |cell| {
                let DayCell { quarter, cell, trunk, queue, extension, figures } = cell;
                if (from..to).contains(&quarter) {
                    visit(RollupRow { quarter, cell, trunk, queue, extension, figures });
                }
            })
            .map_err(damaged)?;
        }
        Ok(())
    }

    fn read_texts(&self) -> rusqlite::Result<Texts> {
        let mut statement = self.connection.prepare_cached("SELECT id, text FROM name")?;
        let mut rows = statement.query([])?;
        let mut texts = FxHashMap::default();
        while let Some(row) = rows.next()? {
            texts.insert(row.get(0)?, row.get::<_, Box<str>>(1)?);
        }
        Ok(Texts(texts))
    }
}

/// Keys of the calls that may still get legs.
pub(super) fn keys(connection: &Connection) -> rusqlite::Result<FxHashSet<CallKey>> {
    let mut statement = connection.prepare_cached("SELECT key FROM call")?;
    let mut rows = statement.query([])?;
    let mut keys = FxHashSet::default();
    while let Some(row) = rows.next()? {
        keys.extend(row.get_ref(0)?.as_blob().ok().and_then(CallKey::from_bytes));
    }
    Ok(keys)
}

/// Texts by their numbers.
pub struct Texts(FxHashMap<i64, Box<str>>);

impl Texts {
    /// The trunk of that number.
    pub fn trunk(&self, id: i64) -> Option<Trunk> {
        self.0.get(&id).map(|text| Trunk::new(text.clone()))
    }

    /// The queue of that number.
    pub fn queue(&self, id: i64) -> Option<Queue> {
        self.0.get(&id).map(|text| Queue::new(text.clone()))
    }

    /// The extension of that number.
    pub fn extension(&self, id: i64) -> Option<Extension> {
        self.0.get(&id).map(|text| Extension::new(text.clone()))
    }
}
