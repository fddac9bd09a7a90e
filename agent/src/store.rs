//! The store: how far sources were read, and what their rows amount to, in one SQLite file.
//!
//! A source's position and the figures of the rows before it commit in one transaction: that is what makes counting
//! exact. In WAL mode with `synchronous = NORMAL` a power loss may take back the last transactions, but only whole
//! ones, and with them the position, so that the rows are read again. What decides about reports commits with
//! `FULL`: it must not be forgotten once a report has left.

mod callers;
mod commit;
mod days;
mod error;
mod feeds;
mod files;
mod gathered;
mod health;
mod history;
mod kinds;
mod ledger;
mod live;
mod names;
mod open;
mod own_numbers;
mod packer;
mod pending;
mod places;
mod queues;
mod read;
mod schema;
mod settle;
mod tally;
#[cfg(test)]
mod tests;
mod told;

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior};

pub use self::{
    callers::MissedCall,
    commit::Committed,
    error::StoreError,
    feeds::{Enlisted, FeedCounts},
    files::{Known, head_of},
    gathered::{Gathered, Gatherer, Gathering},
    health::{Figures as HealthFigures, HealthPoint},
    kinds::KindRow,
    ledger::{RowLedger, SourceLedger},
    live::Peak,
    own_numbers::OwnNumberUse,
    packer::{Closed, Packer},
    pending::{Origin, Pending},
    queues::{QueueFigures, QueueShare, SHORT},
    read::{Counts, Quarantined, RollupRow, SourceCounts, Texts},
    settle::Reporting,
    told::{Standing, Via},
};
use self::{
    callers::Outside,
    error::Fault,
    names::NameTable,
    queues::QueueEntry,
    told::{Told, Verdict},
};
use crate::{
    call::{CallRules, Qualities, Sample},
    pbx::{Leg, MalformedReason, Position, queue_log::QueueRow},
};

/// How long to wait for another process that writes.
const BUSY: Duration = Duration::from_secs(10);

/// The store of one agent.
pub struct Store {
    connection: Connection,
    path: PathBuf,
    names: NameTable,
    /// The position of each source as this process saw or wrote it last, in the form in which it is stored. Where
    /// another stands at commit, somebody else has read on.
    expected: RefCell<HashMap<PathBuf, Option<String>>>,
    /// How often files had been imported when this process last looked.
    imports: Cell<i64>,
    /// When old calls were last forgotten.
    pruned: u64,
    /// How long callers who reached no person are kept, in seconds; not at all where absent.
    keep_missed: Option<i64>,
    /// How the calls sounded that are up, or were not long ago. It is in no file: a restart forgets it.
    qualities: Qualities,
}

/// Rows on their way into the store. Nothing is written before [`Batch::commit`], which writes all of it or nothing.
pub struct Batch<'a> {
    store: &'a mut Store,
    rules: &'a CallRules,
    pending: Pending,
    told: Told,
    /// Where rows come from; nowhere that needs a comparison with other sources, where absent.
    via: Option<Via>,
    /// Why the batch is of no use.
    failed: Option<StoreError>,
}

impl Store {
    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Begins a batch.
    ///
    /// # Errors
    /// None today: the store is touched at the commit only.
    pub fn batch<'a>(&'a mut self, rules: &'a CallRules) -> Result<Batch<'a>, StoreError> {
        let pending = Pending::default();
        Ok(Batch { store: self, rules, pending, told: Told::default(), via: None, failed: None })
    }

    /// Takes in how a call sounds; it enters the call's report once the call is settled.
    pub fn note_quality(&mut self, sample: Sample) {
        self.qualities.note(sample);
    }

    /// A value of the small table of settings.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn setting(&self, key: &str) -> Result<Option<String>, StoreError> {
        self.connection
            .prepare_cached("SELECT value FROM setting WHERE key = ?1")
            .and_then(|mut statement| statement.query_row([key], |row| row.get(0)).optional())
            .map_err(|error| self.fault(error))
    }

    /// Sets a value of the small table of settings. It survives a power loss once this returns.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn set(&mut self, key: &str, value: &str) -> Result<(), StoreError> {
        self.durable(|transaction| set(transaction, key, value))
    }

    /// Runs one transaction.
    fn transact<T>(&mut self, work: impl FnOnce(&Transaction<'_>) -> Result<T, Fault>) -> Result<T, StoreError> {
        let path = &self.path;
        // Immediate: who reads first and writes later can be refused in the middle, whatever the timeout.
        let result =
            self.connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(Fault::from).and_then(
                |transaction| {
                    let value = work(&transaction)?;
                    transaction.commit()?;
                    Ok(value)
                },
            );
        result.map_err(|error| StoreError::of(path, error))
    }

    /// Runs one transaction that survives a power loss once this returns, with all that was committed before.
    fn durable<T>(&mut self, work: impl FnOnce(&Transaction<'_>) -> Result<T, Fault>) -> Result<T, StoreError> {
        self.connection.pragma_update(None, "synchronous", "FULL").map_err(|error| self.fault(error))?;
        let result = self.transact(work);
        self.connection.pragma_update(None, "synchronous", "NORMAL").map_err(|error| self.fault(error))?;
        result
    }

    fn fault(&self, error: rusqlite::Error) -> StoreError {
        StoreError::of(&self.path, error.into())
    }
}

fn set(transaction: &Transaction<'_>, key: &str, value: &str) -> Result<(), Fault> {
    transaction
        .prepare_cached(
            "INSERT INTO setting (key, value) VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        )?
        .execute([key, value])?;
    Ok(())
}

impl Batch<'_> {
    /// Says which source the rows from here on come from.
    pub fn via(&mut self, via: Via) {
        self.via = Some(via);
    }

    /// Takes in a leg. If its call ends before `reportable_from` (seconds since 1970 in UTC), no report counts it.
    pub fn leg(&mut self, leg: &Leg<'_>, reportable_from: u64) {
        let Some(via) = self.via else {
            self.note_outside(leg);
            return self.pending.leg(leg, self.rules, reportable_from);
        };
        match self.told.judge(self.store, &via, leg) {
            Ok(Verdict::Count) => {
                self.note_outside(leg);
                self.pending.leg(leg, self.rules, reportable_from);
            }
            Ok(Verdict::Pass) => self.pending.told(),
            Ok(Verdict::Hold(waiting)) => {
                self.note_outside(leg);
                self.pending.told();
                let row = self.pending.call_of(leg, self.rules);
                self.told.hold(&via, waiting, row, reportable_from);
            }
            Err(error) => self.failed = Some(error),
        }
    }

    /// Notes who takes part from outside.
    fn note_outside(&mut self, leg: &Leg<'_>) {
        self.pending.own_numbers.note(leg, self.rules);
        if self.store.keep_missed.is_some() {
            self.pending.outside.extend(Outside::of(leg, self.rules));
        }
    }

    /// Takes in a row of a queue log, whose callers should be answered within `target` seconds.
    pub fn queue(&mut self, row: &QueueRow<'_>, target: u64) {
        let queue = self.pending.names.note(row.queue);
        self.pending.queues.push(QueueEntry::of(row, queue, target));
        // It is no row of calls.
        self.pending.told();
    }

    /// Counts a row that says no more than the one before it.
    pub fn repeat(&mut self) {
        self.pending.repeat();
    }

    /// Takes in a row that could not be understood.
    pub fn malformed(&mut self, bytes: &[u8], why: MalformedReason) {
        self.pending.malformed(bytes, why);
    }

    /// Says that the rows since the last such word came from that source, which was read so far.
    pub fn position(&mut self, source: &Path, position: &Position) {
        self.pending.position(Origin::Source(source.to_owned()), position);
    }

    /// Says that the rows since the last such word came from that source, which is no file and was read so far by its own
    /// words.
    pub fn stream(&mut self, feed: i64, position: String) {
        let counts = self.pending.close_part();
        self.told.stream(feed, position, counts);
    }

    /// Remembers that a source has delivered the row of that name, which it may come upon again; `at` is the row's moment.
    pub fn delivered(&mut self, feed: i64, row: u64, at: i64) {
        self.told.delivered(feed, row, at);
    }

    /// Forgets the names of rows that were delivered with an earlier moment.
    pub fn forget_delivered(&mut self, feed: i64, before: i64) {
        self.told.forget_delivered(feed, before);
    }

    /// How many rows the batch holds; they are kept in memory until the commit.
    pub fn rows(&self) -> u64 {
        self.pending.rows()
    }

    /// Writes everything in one transaction; `now` is in seconds since 1970 in UTC.
    ///
    /// # Errors
    /// When the store cannot be written, or somebody else has read on in a source. Nothing of the batch is in the
    /// store then: read again from [`Store::source_position`].
    pub fn commit(mut self, now: u64) -> Result<Committed, StoreError> {
        match self.failed {
            Some(error) => Err(error),
            None => self.store.commit_told(&mut self.pending, &self.told, now),
        }
    }
}
