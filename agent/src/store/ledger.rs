//! The row ledger: what became of every row that was read.

use super::{Store, StoreError, tally::number};

/// What became of every row that was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RowLedger {
    /// Rows that this store has to account for: those that no other source's word stands for.
    pub rows: u64,
    /// Legs of calls.
    pub legs: u64,
    /// Of the rows that became legs, those of one half of a channel inside the PBX, counted when they were read.
    pub halves: u64,
    /// Rows that say no more than another.
    pub repeats: u64,
    /// Rows that were not understood.
    pub unclassified: u64,
    /// What became of the rows of each source.
    pub sources: Vec<SourceLedger>,
}

/// What became of the rows of a source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceLedger {
    /// [`crate::settings::Source::name`].
    pub name: String,
    /// Rows read.
    pub read: u64,
    /// Rows that another source had told of.
    pub confirmed: u64,
    /// Rows from before the source had a say.
    pub left: u64,
    /// Rows that wait for another source's word.
    pub waiting: u64,
    /// Rows that say no more than another.
    pub repeats: u64,
    /// Rows that were not understood.
    pub unclassified: u64,
}

impl RowLedger {
    /// Legs that are a part of a call by themselves.
    pub fn used(&self) -> u64 {
        self.legs.saturating_sub(self.halves)
    }

    /// Rows of which the ledger does not know what became; negative where it knows of too many. Anything but 0 is a fault
    /// of this program.
    pub fn missing(&self) -> i64 {
        let known = self.legs + self.repeats + self.unclassified;
        i64::try_from(self.rows).unwrap_or(i64::MAX).saturating_sub(i64::try_from(known).unwrap_or(i64::MAX))
    }

    /// Rows that came from no source of today: of imported files, and of sources that were named otherwise.
    pub fn elsewhere(&self) -> u64 {
        self.rows.saturating_sub(self.sources.iter().map(SourceLedger::own).sum())
    }
}

impl SourceLedger {
    /// Whether it tells of queues, and of no calls.
    pub fn is_of_queues(&self) -> bool {
        self.name.starts_with("queue-log ")
    }

    /// Rows that are accounted for by this source's word.
    pub fn own(&self) -> u64 {
        if self.is_of_queues() {
            return self.unclassified;
        }
        self.read.saturating_sub(self.confirmed + self.left + self.waiting)
    }
}

impl Store {
    /// What became of every row that was read.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn row_ledger(&self) -> Result<RowLedger, StoreError> {
        self.read_row_ledger().map_err(|error| self.fault(error))
    }

    fn read_row_ledger(&self) -> rusqlite::Result<RowLedger> {
        // One look: nobody commits between the two questions.
        let reading = self.connection.unchecked_transaction()?;
        let mut ledger = reading
            .prepare_cached("SELECT rows, legs, halves, duplicates, malformed FROM totals WHERE id = 0")?
            .query_row([], |row| {
                Ok(RowLedger {
                    rows: number(row, 0)?,
                    legs: number(row, 1)?,
                    halves: number(row, 2)?,
                    repeats: number(row, 3)?,
                    unclassified: number(row, 4)?,
                    sources: Vec::new(),
                })
            })?;
        // How much of a file was read stands under its path.
        let mut statement = reading.prepare_cached(
            "SELECT feed.name, feed.rows + coalesce(source.rows, 0), confirmed, earlier,
                 (SELECT count(*) FROM held WHERE held.feed = feed.number),
                 feed.duplicates + coalesce(source.duplicates, 0), feed.malformed + coalesce(source.malformed, 0)
             FROM feed LEFT JOIN source
                 ON substr(CAST(feed.name AS BLOB), instr(CAST(feed.name AS BLOB), x'20') + 1) = source.path
             ORDER BY feed.number",
        )?;
        let sources = statement.query_map([], |row| {
            Ok(SourceLedger {
                name: row.get(0)?,
                read: number(row, 1)?,
                confirmed: number(row, 2)?,
                left: number(row, 3)?,
                waiting: number(row, 4)?,
                repeats: number(row, 5)?,
                unclassified: number(row, 6)?,
            })
        })?;
        ledger.sources = sources.collect::<rusqlite::Result<_>>()?;
        Ok(ledger)
    }
}
