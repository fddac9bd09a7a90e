//! Quiet calls enter the tally of their report window.

use std::{collections::BTreeMap, time::Duration};

use demarc_proto::{Cell, Window, WindowLength, report::Quality};
use rusqlite::Transaction;

use super::{
    Store, StoreError, callers,
    commit::{FORGET_AFTER, Status, sql},
    error::{Fault, damaged},
    told,
};
use crate::{
    call::{Call, CallKey, Qualities},
    tally::{TallyKey, talk_bucket, wait_bucket},
};

/// Which windows calls enter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reporting {
    /// How long a window is.
    pub length: WindowLength,
    /// Start of the earliest window that is not closed. Calls of an earlier one are late and enter this one.
    pub open_from: u64,
}

/// So many calls are settled in one transaction, so that nobody waits long for the store.
const PORTION: usize = 4096;
/// So many calls are kept for later legs, those touched last.
const MAX_CALLS: i64 = 131_072;
/// How often old calls are forgotten, in seconds.
const PRUNE_EVERY: u64 = 300;

/// The calls of the windows, as far as they are new.
#[derive(Default)]
struct Entering {
    calls: BTreeMap<(Window, TallyKey), i64>,
    edges: BTreeMap<(Window, i64), i64>,
}

impl Store {
    /// Lets the calls that were without a new leg for `quiet` enter the tally of their window; without `reporting`,
    /// marks them as not to be reported. Says how many entered a tally. `now` is in seconds since 1970 in UTC.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn settle(&mut self, now: u64, quiet: Duration, reporting: Option<Reporting>) -> Result<u64, StoreError> {
        let qualities = std::mem::take(&mut self.qualities);
        let settled = self.settle_with(now, quiet, reporting, &qualities);
        self.qualities = qualities;
        settled
    }

    fn settle_with(
        &mut self,
        now: u64,
        quiet: Duration,
        reporting: Option<Reporting>,
        qualities: &Qualities,
    ) -> Result<u64, StoreError> {
        let latest = sql(now.saturating_sub(quiet.as_secs()));
        self.settle_callers(latest, sql(now))?;
        let mut entered = 0;
        while self.any_waits(latest, sql(now)).map_err(|error| self.fault(error))? {
            let (settled, tallied) = self.transact(|transaction| {
                // A clock that was set back must not make calls wait for as long as it was ahead.
                transaction.execute("UPDATE call SET touched = ?1 WHERE status = 0 AND touched > ?1", [sql(now)])?;
                settle_portion(transaction, latest, now, reporting, qualities)
            })?;
            entered += tallied;
            if settled < PORTION {
                break;
            }
        }
        if now.abs_diff(self.pruned) >= PRUNE_EVERY {
            let keep_missed = self.keep_missed;
            self.transact(|transaction| {
                prune(transaction, now)?;
                callers::prune(transaction, keep_missed, sql(now))?;
                told::prune(transaction, sql(now))
            })?;
            self.pruned = now;
        }
        Ok(entered)
    }

    /// Drops every tally, and bars all calls that are in none yet from entering one. What the owner sees locally stays
    /// as it is. This survives a power loss once it returns.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn discard_reporting(&mut self) -> Result<(), StoreError> {
        self.durable(|transaction| {
            transaction
                .execute_batch("DELETE FROM tally; DELETE FROM edge; UPDATE call SET status = 2 WHERE status = 0;")?;
            told::bar(transaction)
        })
    }

    /// Nothing is written, and no lock taken, while nothing is due.
    fn any_waits(&self, latest: i64, now: i64) -> rusqlite::Result<bool> {
        self.connection
            .prepare_cached(
                "SELECT EXISTS (SELECT 1 FROM call WHERE status = 0 AND touched <= ?1)
                 OR EXISTS (SELECT 1 FROM call WHERE status = 0 AND touched > ?2)",
            )?
            .query_row([latest, now], |row| row.get(0))
    }
}

fn settle_portion(
    transaction: &Transaction<'_>,
    latest: i64,
    now: u64,
    reporting: Option<Reporting>,
    qualities: &Qualities,
) -> Result<(usize, u64), Fault> {
    let mut quiet = transaction.prepare_cached(
        "SELECT key, state, not_before FROM call WHERE status = 0 AND touched <= ?1 ORDER BY touched LIMIT ?2",
    )?;
    let mut rows = quiet.query((latest, PORTION as i64))?;
    let mut entering = Entering::default();
    let mut decided = Vec::new();
    while let Some(row) = rows.next()? {
        let key = CallKey::from_bytes(row.get_ref(0)?.as_blob().map_err(damaged)?);
        let key = key.ok_or(rusqlite::Error::IntegralValueOutOfRange(0, 0))?;
        let call = Call::from_bytes(row.get_ref(1)?.as_blob().map_err(damaged)?).map_err(damaged)?;
        let not_before: i64 = row.get(2)?;
        let status = match reporting {
            Some(reporting) if call.end() >= not_before => {
                entering.add(&call, qualities.of(&key), reporting, now);
                Status::Tallied
            }
            _ => Status::Never,
        };
        decided.push((key, status));
    }
    drop(rows);
    entering.write(transaction)?;
    let mut tallied = 0;
    for (key, status) in &decided {
        tallied += u64::from(*status == Status::Tallied);
        // No leg can join a call that has no id.
        if key.is_single() {
            transaction.prepare_cached("DELETE FROM call WHERE key = ?1")?.execute([key.as_bytes()])?;
        } else {
            transaction
                .prepare_cached("UPDATE call SET status = ?2 WHERE key = ?1")?
                .execute((key.as_bytes(), *status as i64))?;
        }
    }
    Ok((decided.len(), tallied))
}

impl Entering {
    fn add(&mut self, call: &Call, quality: Quality, reporting: Reporting, now: u64) {
        let end = u64::try_from(call.end()).unwrap_or(0);
        let window = reporting.window(end, now);
        let key = TallyKey {
            hour: window.hour_of(end),
            cell: Cell { direction: call.direction(), outcome: call.outcome() },
            talk: talk_bucket(call.talk_seconds()),
            wait: wait_bucket(call.wait_seconds()),
            destination: call.destination(),
            quality,
        };
        *self.calls.entry((window, key)).or_default() += 1;
        if call.start() < call.end() {
            *self.edges.entry((window, call.start())).or_default() += 1;
            *self.edges.entry((window, call.end())).or_default() -= 1;
        }
    }

    fn write(&self, transaction: &Transaction<'_>) -> Result<(), Fault> {
        for ((window, key), calls) in &self.calls {
            super::tally::add(transaction, *window, key, *calls)?;
        }
        for ((window, second), change) in self.edges.iter().filter(|(_, change)| **change != 0) {
            super::tally::add_edge(transaction, *window, *second, *change)?;
        }
        Ok(())
    }
}

impl Reporting {
    /// The window that a call enters which ended at that moment.
    fn window(self, end: u64, now: u64) -> Window {
        let window = self.length.window_at(end).min(self.length.window_at(now));
        // Late calls go to the open window, even if the clock was set back to before it.
        window.max(self.length.window_at(self.open_from))
    }
}

/// Forgets calls that get no more legs. What waits to be reported is never forgotten.
pub(super) fn prune(transaction: &Transaction<'_>, now: u64) -> Result<(), Fault> {
    let oldest = sql(now).saturating_sub(FORGET_AFTER);
    transaction.execute("DELETE FROM call WHERE status IN (1, 2) AND touched < ?1", [oldest])?;
    let count: i64 = transaction.query_row("SELECT count(*) FROM call", [], |row| row.get(0))?;
    if count > MAX_CALLS {
        transaction.execute(
            "DELETE FROM call WHERE key IN
             (SELECT key FROM call WHERE status IN (1, 2) ORDER BY touched LIMIT ?1)",
            [count - MAX_CALLS],
        )?;
    }
    Ok(())
}
