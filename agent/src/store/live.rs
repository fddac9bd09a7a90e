//! How many calls were up at the same time, as the PBX itself said.

use rusqlite::OptionalExtension;
use serde::{Deserialize, Serialize};

use super::{Store, StoreError, commit::sql};

const QUARTER: u64 = 900;
/// For how many quarters of an hour peaks are kept: five weeks.
const KEPT: i64 = 35 * 96;

/// The most calls at a time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peak {
    /// How many.
    pub calls: u64,
    /// When they were first seen: seconds since 1970 in UTC.
    pub at: u64,
}

impl Store {
    /// So many calls are up now. Nothing is written unless there were never so many in this quarter of an hour.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn note_concurrency(&mut self, calls: u64, now: u64) -> Result<(), StoreError> {
        let quarter = sql(now / QUARTER);
        let known: Option<i64> = self
            .connection
            .prepare_cached("SELECT peak FROM concurrency WHERE quarter = ?1")
            .and_then(|mut statement| statement.query_row([quarter], |row| row.get(0)).optional())
            .map_err(|error| self.fault(error))?;
        if known.is_some_and(|known| known >= sql(calls)) {
            return Ok(());
        }
        self.transact(|transaction| {
            transaction
                .prepare_cached("INSERT OR REPLACE INTO concurrency (quarter, peak, at) VALUES (?1, ?2, ?3)")?
                .execute((quarter, sql(calls), sql(now)))?;
            if known.is_none() {
                transaction.execute("DELETE FROM concurrency WHERE quarter < ?1", [quarter - KEPT])?;
            }
            Ok(())
        })
    }

    /// The most calls at a time since that moment, taken to the quarter of an hour.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn peak_since(&self, moment: u64) -> Result<Option<Peak>, StoreError> {
        self.peak_between(sql(moment / QUARTER), i64::MAX)
    }

    /// The most calls at a time from a quarter of an hour to before another one, both counted from 1970 in UTC.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn peak_between(&self, from: i64, to: i64) -> Result<Option<Peak>, StoreError> {
        const PEAK: &str =
            "SELECT peak, at FROM concurrency WHERE quarter >= ?1 AND quarter < ?2 ORDER BY peak DESC, at LIMIT 1";
        self.connection
            .prepare_cached(PEAK)
            .and_then(|mut statement| {
                let peak = |row: &rusqlite::Row<'_>| {
                    Ok(Peak { calls: super::tally::number(row, 0)?, at: super::tally::number(row, 1)? })
                };
                statement.query_row([from, to], peak).optional()
            })
            .map_err(|error| self.fault(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::StateDir;

    #[test]
    fn the_peak_of_a_day_is_the_highest_of_its_quarters() {
        let directory = tempfile::tempdir().unwrap();
        let mut store = Store::open(&StateDir::new(directory.path())).unwrap();
        let midnight = 86_400 * 20_000;
        assert_eq!(store.peak_since(midnight).unwrap(), None);
        for (second, calls) in [(0, 3), (5, 7), (10, 2), (900, 7), (1800, 5)] {
            store.note_concurrency(calls, midnight + second).unwrap();
        }
        assert_eq!(store.peak_since(midnight).unwrap(), Some(Peak { calls: 7, at: midnight + 5 }));
        let quarter = sql(midnight / QUARTER);
        let early = store.peak_between(quarter, quarter + 1).unwrap();
        assert_eq!(early, Some(Peak { calls: 7, at: midnight + 5 }));
        assert_eq!(store.peak_between(quarter + 2, quarter + 3).unwrap().unwrap().calls, 5);
        assert_eq!(store.peak_since(midnight + 900).unwrap(), Some(Peak { calls: 7, at: midnight + 900 }));
        assert_eq!(store.peak_since(midnight + 1800).unwrap(), Some(Peak { calls: 5, at: midnight + 1800 }));
        store.note_concurrency(1, midnight + 40 * 86_400).unwrap();
        let kept = store.peak_since(0).unwrap();
        assert_eq!(kept, Some(Peak { calls: 1, at: midnight + 40 * 86_400 }), "older ones are forgotten");
    }
}
