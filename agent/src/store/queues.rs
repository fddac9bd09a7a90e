//! Figures of queues: what callers and agents did, counted in the quarter hour in which the caller came in.
//!
//! A caller's way ends minutes or hours after it began, and its figures must stand beside those of its beginning: so the store
//! remembers when each came in.

use rusqlite::{OptionalExtension, Row, Transaction};
use rustc_hash::FxHashMap;

use super::{Store, StoreError, error::Fault, names::NameTable};
use crate::{
    call::{NameId, QUARTER, key::text_hash},
    pbx::queue_log::{Exit, QueueEvent, QueueRow},
};

/// Who hangs up before so many seconds was not there long enough to be answered: the S of the formulas.
pub const SHORT: i64 = 5;
/// Callers are remembered for so long after they were heard of last, by the log's own clock.
const REMEMBERED: i64 = 26 * 3600;

/// A row of a queue log on its way into the store.
pub(super) struct QueueEntry {
    at: i64,
    call: i64,
    queue: NameId,
    event: QueueEvent,
    target: i64,
}

/// What happened in a queue. Everything but `offered` and `returned` is about callers of whom it is known how it ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueFigures {
    /// Callers who came in.
    pub offered: i64,
    /// Of those, who had been in it before in the same call.
    pub returned: i64,
    /// Callers whom an agent answered.
    pub connected: i64,
    /// Of those, within the target.
    pub in_time: i64,
    /// Callers who hung up.
    pub abandoned: i64,
    /// Of those, before [`SHORT`] seconds.
    pub short: i64,
    /// Callers who waited for as long as the queue lets anybody wait.
    pub timed_out: i64,
    /// Callers who left because there were no agents.
    pub emptied: i64,
    /// Callers who left with a key.
    pub keyed: i64,
    /// Talks with an agent that are over.
    pub handled: i64,
    /// Of those, passed on to somebody else.
    pub transferred: i64,
    /// How long the connected had waited.
    pub hold_seconds: i64,
    /// How long the handled talked.
    pub talk_seconds: i64,
    /// How long the lost waited: abandoned, timed out, emptied.
    pub wait_seconds: i64,
}

/// Figures of one queue, quarter hour and target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueShare {
    /// Quarter hour in which the callers came in, counted from 1970 in UTC.
    pub quarter: i64,
    /// Number of the queue's text: see [`Store::texts`].
    pub queue: i64,
    /// Seconds within which callers should have been answered.
    pub target: i64,
    /// The figures.
    pub figures: QueueFigures,
}

const COLUMNS: &str = "offered, returned, connected, in_time, abandoned, short, timed_out, emptied, keyed, handled, transferred, \
                       hold_seconds, talk_seconds, wait_seconds";

impl QueueFigures {
    /// Callers who wanted an agent and got none.
    pub fn lost(&self) -> i64 {
        self.abandoned + self.timed_out + self.emptied
    }

    /// Callers of whom it is not known how it ended: they wait, or the PBX was restarted.
    pub fn open(&self) -> i64 {
        (self.offered - self.connected - self.lost() - self.keyed).max(0)
    }

    /// Adds others.
    pub fn add(&mut self, other: &Self) {
        let mut sums = self.as_array();
        for (sum, more) in sums.iter_mut().zip(other.as_array()) {
            *sum = sum.saturating_add(more);
        }
        *self = Self::from_array(sums);
    }

    /// In the order of [`COLUMNS`].
    fn as_array(&self) -> [i64; 14] {
        let Self { offered, returned, connected, in_time, abandoned, short, timed_out, emptied, keyed, .. } = *self;
        let Self { handled, transferred, hold_seconds, talk_seconds, wait_seconds, .. } = *self;
        [
            offered,
            returned,
            connected,
            in_time,
            abandoned,
            short,
            timed_out,
            emptied,
            keyed,
            handled,
            transferred,
            hold_seconds,
            talk_seconds,
            wait_seconds,
        ]
    }

    fn from_array(sums: [i64; 14]) -> Self {
        let [offered, returned, connected, in_time, abandoned, short, timed_out, emptied, keyed, ..] = sums;
        let [.., handled, transferred, hold_seconds, talk_seconds, wait_seconds] = sums;
        Self {
            offered,
            returned,
            connected,
            in_time,
            abandoned,
            short,
            timed_out,
            emptied,
            keyed,
            handled,
            transferred,
            hold_seconds,
            talk_seconds,
            wait_seconds,
        }
    }
}

impl QueueEntry {
    pub(super) fn of(row: &QueueRow<'_>, queue: NameId, target: u64) -> Self {
        // The same bits, as SQLite can hold them.
        let call = text_hash(row.call) as i64;
        Self { at: row.at, call, queue, event: row.event, target: i64::try_from(target).unwrap_or(i64::MAX) }
    }
}

/// Writes what a batch brought.
pub(super) fn write(transaction: &Transaction<'_>, entries: &[QueueEntry], names: &mut NameTable) -> Result<(), Fault> {
    let Some(newest) = entries.iter().map(|entry| entry.at).max() else { return Ok(()) };
    let mut sums = FxHashMap::<(i64, i64, i64), QueueFigures>::default();
    for entry in entries {
        if entry.event == QueueEvent::Other {
            continue;
        }
        let queue = names.id(transaction, entry.queue)?;
        let (entered, figures) = share(transaction, entry, queue)?;
        sums.entry((entered.div_euclid(QUARTER), queue, entry.target)).or_default().add(&figures);
    }
    for ((quarter, queue, target), figures) in sums {
        add(transaction, (quarter, queue, target), &figures)?;
    }
    transaction
        .prepare_cached("DELETE FROM caller WHERE touched < ?1")?
        .execute([newest.saturating_sub(REMEMBERED)])?;
    Ok(())
}

/// When the caller of a row came in, and what the row adds to that time.
fn share(transaction: &Transaction<'_>, entry: &QueueEntry, queue: i64) -> Result<(i64, QueueFigures), Fault> {
    let mut figures = QueueFigures::default();
    let known: Option<i64> = transaction
        .prepare_cached("SELECT entered FROM caller WHERE call = ?1 AND queue = ?2")?
        .query_row([entry.call, queue], |row| row.get(0))
        .optional()?;
    // Where the log begins in the middle of the call, its times tell.
    let entered = match entry.event {
        QueueEvent::Enter | QueueEvent::Other => entry.at,
        QueueEvent::Connect { hold } => known.unwrap_or(entry.at - hold),
        QueueEvent::Leave { wait, .. } => known.unwrap_or(entry.at - wait.unwrap_or(0)),
        QueueEvent::Complete { hold, talk, .. } => known.unwrap_or(entry.at - hold - talk),
    };
    let waited = |told: i64| told.max(0);
    match entry.event {
        QueueEvent::Enter => {
            figures.offered = 1;
            figures.returned = i64::from(known.is_some());
        }
        QueueEvent::Connect { hold } => {
            figures.connected = 1;
            figures.in_time = i64::from(hold <= entry.target);
            figures.hold_seconds = waited(hold);
        }
        QueueEvent::Leave { exit: Exit::Key, .. } => figures.keyed = 1,
        QueueEvent::Leave { exit, wait } => {
            let wait = waited(wait.unwrap_or(entry.at - entered));
            figures.wait_seconds = wait;
            match exit {
                Exit::Timeout => figures.timed_out = 1,
                Exit::Empty => figures.emptied = 1,
                Exit::Abandon | Exit::Key => {
                    figures.abandoned = 1;
                    figures.short = i64::from(wait < SHORT);
                }
            }
        }
        QueueEvent::Complete { talk, transferred, .. } => {
            figures.handled = 1;
            figures.transferred = i64::from(transferred);
            figures.talk_seconds = waited(talk);
        }
        QueueEvent::Other => {}
    }
    transaction
        .prepare_cached(
            "INSERT INTO caller (call, queue, entered, touched) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT DO UPDATE SET entered = excluded.entered, touched = excluded.touched",
        )?
        .execute([entry.call, queue, entered, entry.at])?;
    Ok((entered, figures))
}

fn add(transaction: &Transaction<'_>, place: (i64, i64, i64), figures: &QueueFigures) -> Result<(), Fault> {
    let sums: Vec<String> =
        COLUMNS.split(", ").map(|column| format!("{column} = {column} + excluded.{column}")).collect();
    let values: Vec<String> = (1..=17).map(|number| format!("?{number}")).collect();
    let statement = format!(
        "INSERT INTO queue (quarter, queue, target, {COLUMNS}) VALUES ({}) ON CONFLICT DO UPDATE SET {}",
        values.join(", "),
        sums.join(", ")
    );
    let (quarter, queue, target) = place;
    let values = [quarter, queue, target].into_iter().chain(figures.as_array());
    transaction.prepare_cached(&statement)?.execute(rusqlite::params_from_iter(values))?;
    Ok(())
}

impl Store {
    /// The figures of queues, of callers who came in in a half-open range of quarter hours.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn queues(&self, from: i64, to: i64) -> Result<Vec<QueueShare>, StoreError> {
        let statement = format!(
            "SELECT quarter, queue, target, {COLUMNS} FROM queue WHERE quarter >= ?1 AND quarter < ?2 ORDER BY quarter, queue"
        );
        self.connection
            .prepare_cached(&statement)
            .and_then(|mut statement| statement.query_map([from, to], read)?.collect())
            .map_err(|error| self.fault(error))
    }
}

fn read(row: &Row<'_>) -> rusqlite::Result<QueueShare> {
    let mut sums = [0; 14];
    for (place, sum) in sums.iter_mut().enumerate() {
        *sum = row.get(3 + place)?;
    }
    Ok(QueueShare {
        quarter: row.get(0)?,
        queue: row.get(1)?,
        target: row.get(2)?,
        figures: QueueFigures::from_array(sums),
    })
}

#[cfg(test)]
mod tests;
