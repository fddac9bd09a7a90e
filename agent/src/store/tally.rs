//! The tallies of report windows: all that the gate ever sees of calls.

use std::collections::BTreeMap;

use demarc_proto::{
    Cell, Window,
    report::{Destination, Quality},
};
use rusqlite::{OptionalExtension, Row, Transaction};

use super::{Store, StoreError, commit::sql, error::Fault, set};
use crate::tally::{Tally, TallyKey};

impl Store {
    /// The tally of a window; none if it has no calls.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn tally(&self, window: Window) -> Result<Option<Tally>, StoreError> {
        self.read_tally(window).map_err(|error| self.fault(error))
    }

    /// The earliest window that has calls.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn earliest_tally(&self) -> Result<Option<Window>, StoreError> {
        self.connection
            .prepare_cached("SELECT window_start, window_seconds FROM tally ORDER BY window_start LIMIT 1")
            .and_then(|mut statement| {
                statement
                    .query_row([], |row| Ok(Window { start: number(row, 0)?, seconds: number(row, 1)? }))
                    .optional()
            })
            .map_err(|error| self.fault(error))
    }

    /// Lets the calls of a window ride along in another: there they count in the first hour.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn carry(&mut self, from: Window, to: Window) -> Result<(), StoreError> {
        self.durable(|transaction| carry(transaction, from, to))
    }

    /// Forgets the tally of a window. This survives a power loss once it returns.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn drop_tally(&mut self, window: Window) -> Result<(), StoreError> {
        self.durable(|transaction| drop_tally(transaction, window))
    }

    /// Ends a window and notes that under a key, in one: its calls ride along in another window, or are dropped.
    /// This survives a power loss once it returns.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn close_window(
        &mut self,
        window: Window,
        carry_to: Option<Window>,
        key: &str,
        value: &str,
    ) -> Result<(), StoreError> {
        self.durable(|transaction| {
            match carry_to {
                Some(to) => carry(transaction, window, to)?,
                None => drop_tally(transaction, window)?,
            }
            set(transaction, key, value)
        })
    }

    fn read_tally(&self, window: Window) -> rusqlite::Result<Option<Tally>> {
        let mut statement = self.connection.prepare_cached(
            "SELECT hour, cell, talk, wait, destination, quality, calls FROM tally
             WHERE window_start = ?1 AND window_seconds = ?2",
        )?;
        let mut calls = BTreeMap::new();
        let mut rows = statement.query((sql(window.start), window.seconds))?;
        while let Some(row) = rows.next()? {
            let key = TallyKey {
                hour: number(row, 0)?,
                cell: Cell::from_index(number(row, 1)?).ok_or_else(|| out_of_range(1))?,
                talk: number(row, 2)?,
                wait: number(row, 3)?,
                destination: *Destination::ALL.get(number::<usize>(row, 4)?).ok_or_else(|| out_of_range(4))?,
                quality: *Quality::ALL.get(number::<usize>(row, 5)?).ok_or_else(|| out_of_range(5))?,
            };
            calls.insert(key, number(row, 6)?);
        }
        if calls.is_empty() {
            return Ok(None);
        }
        Ok(Some(Tally { window, calls, peak_concurrency: self.peak(window)? }))
    }

    /// The most calls of the window that were up in one second.
    fn peak(&self, window: Window) -> rusqlite::Result<u32> {
        let mut statement = self.connection.prepare_cached(
            "SELECT change FROM edge WHERE window_start = ?1 AND window_seconds = ?2 ORDER BY second",
        )?;
        let mut rows = statement.query((sql(window.start), window.seconds))?;
        let (mut up, mut peak) = (0_i64, 0_i64);
        while let Some(row) = rows.next()? {
            up += row.get::<_, i64>(0)?;
            peak = peak.max(up);
        }
        Ok(u32::try_from(peak).unwrap_or(0))
    }
}

pub(super) fn add(transaction: &Transaction<'_>, window: Window, key: &TallyKey, calls: i64) -> Result<(), Fault> {
    transaction
        .prepare_cached(
            "INSERT INTO tally VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
             ON CONFLICT DO UPDATE SET calls = calls + excluded.calls",
        )?
        .execute((
            sql(window.start),
            window.seconds,
            key.hour,
            key.cell.index() as i64,
            key.talk,
            key.wait,
            key.destination as i64,
            key.quality as i64,
            calls,
        ))?;
    Ok(())
}

pub(super) fn add_edge(transaction: &Transaction<'_>, window: Window, second: i64, change: i64) -> Result<(), Fault> {
    transaction
        .prepare_cached(
            "INSERT INTO edge VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO UPDATE SET change = change + excluded.change",
        )?
        .execute((sql(window.start), window.seconds, second, change))?;
    Ok(())
}

fn carry(transaction: &Transaction<'_>, from: Window, to: Window) -> Result<(), Fault> {
    if from == to {
        return Ok(());
    }
    let keys = (sql(from.start), from.seconds, sql(to.start), to.seconds);
    // `WHERE` tells SQLite's parser that `ON` does not belong to a join.
    transaction.execute(
        "INSERT INTO tally SELECT ?3, ?4, 0, cell, talk, wait, destination, quality, sum(calls) FROM tally
         WHERE window_start = ?1 AND window_seconds = ?2 GROUP BY cell, talk, wait, destination, quality
         ON CONFLICT DO UPDATE SET calls = calls + excluded.calls",
        keys,
    )?;
    transaction.execute(
        "INSERT INTO edge SELECT ?3, ?4, second, change FROM edge WHERE window_start = ?1 AND window_seconds = ?2
         ON CONFLICT DO UPDATE SET change = change + excluded.change",
        keys,
    )?;
    drop_tally(transaction, from)
}

fn drop_tally(transaction: &Transaction<'_>, window: Window) -> Result<(), Fault> {
    let key = (sql(window.start), window.seconds);
    transaction.execute("DELETE FROM tally WHERE window_start = ?1 AND window_seconds = ?2", key)?;
    transaction.execute("DELETE FROM edge WHERE window_start = ?1 AND window_seconds = ?2", key)?;
    Ok(())
}

/// A whole number of a kind that the column holds; anything else means damage.
pub(super) fn number<T: TryFrom<i64>>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    T::try_from(row.get::<_, i64>(column)?).map_err(|_| out_of_range(column))
}

pub(super) fn out_of_range(column: usize) -> rusqlite::Error {
    rusqlite::Error::IntegralValueOutOfRange(column, 0)
}
