//! Callers who reached no person: kept for a while, so that somebody can call them back.
//!
//! Who takes part from outside is noted with each leg of a live source. Once a call is quiet, it is decided about: a call from outside
//! that no person answered enters the list; a conversation answers all earlier calls of the same number. A leg that comes later has
//! its call decided about once more, so that the list is right in whatever order rows come.

use std::time::Duration;

use demarc_proto::{Cell, Direction, Outcome};
use rusqlite::{OptionalExtension, Transaction};

use super::{
    Pending, Store, StoreError,
    commit::{FORGET_AFTER, sql},
    error::{Fault, damaged},
    set,
    tally::{number, out_of_range},
};
use crate::{
    call::{Call, CallKey, CallRules, Ids},
    number::{MAX_BYTES, Normal},
    pbx::Leg,
    private::{OutsideNumber, OwnNumber, Queue, Trunk},
};

/// No more missed calls are kept, so that nobody can fill the disk by calling.
const MAX_MISSED: i64 = 100_000;
/// So many calls are decided about in one transaction.
const PORTION: usize = 1024;
/// The key of the small table under which it stands for how long callers are kept.
const KEPT: &str = "keep missed";

/// Who takes part from outside in a call, by one of its legs.
pub(super) struct Outside {
    key: CallKey,
    way: Way,
    /// Whether it is another leg than the one that began the call.
    further: bool,
    began: i64,
    ended: i64,
    sequence: i64,
    number: OutsideNumber,
    dialled: OwnNumber,
}

/// Which way the leg went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i64)]
enum Way {
    In = 0,
    Out = 1,
}

/// A call from outside that no person answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissedCall {
    /// The caller's number.
    pub number: OutsideNumber,
    /// What the caller dialled, as the records have it.
    pub dialled: OwnNumber,
    /// When the call began: seconds since 1970 in UTC.
    pub began: i64,
    /// How long the caller held on, in seconds.
    pub waited: i64,
    /// How it ended.
    pub outcome: Outcome,
    /// The trunk.
    pub trunk: Option<Trunk>,
    /// The queue, if the caller was in one.
    pub queue: Option<Queue>,
    /// When somebody first talked with that number after that.
    pub returned: Option<i64>,
}

impl Outside {
    /// Who takes part from outside by that leg; nobody where it is on no trunk, or belongs to no call that can be named.
    pub(super) fn of(leg: &Leg<'_>, rules: &CallRules) -> Option<Self> {
        let (way, number) = if rules.is_on_trunk(&leg.channel) {
            (Way::In, &leg.src)
        } else if rules.is_on_trunk(&leg.dstchannel) {
            (Way::Out, &leg.dst)
        } else {
            return None;
        };
        let ids = Ids::of(leg);
        Some(Self {
            key: ids.call?,
            way,
            further: !ids.begins,
            began: leg.start,
            ended: leg.end,
            sequence: leg.sequence.map_or(i64::MAX, sql),
            number: OutsideNumber::new(text(number)),
            dialled: OwnNumber::new(text(&leg.dst)),
        })
    }
}

/// A text of the PBX's, cut.
pub(super) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(MAX_BYTES)]).trim().to_owned()
}

impl Store {
    /// From here on callers who reach no person are kept for so long; for no time at all, everything about them is forgotten.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn keep_missed(&mut self, keep: Duration) -> Result<(), StoreError> {
        self.keep_missed = Some(sql(keep.as_secs())).filter(|seconds| *seconds > 0);
        let seconds = keep.as_secs().to_string();
        if self.setting(KEPT)?.as_ref() != Some(&seconds) {
            let none = self.keep_missed.is_none();
            self.transact(|transaction| {
                if none {
                    transaction.execute_batch("DELETE FROM outside; DELETE FROM missed; DELETE FROM spoken;")?;
                }
                set(transaction, KEPT, &seconds)
            })?;
        }
        Ok(())
    }

    /// For how long callers who reach no person are kept; none before the daemon first ran.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn missed_kept(&self) -> Result<Option<Duration>, StoreError> {
        Ok(self.setting(KEPT)?.and_then(|seconds| seconds.parse().ok()).map(Duration::from_secs))
    }

    /// Calls from outside that no person answered and that began at that moment or later, the newest first.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn missed(&self, since: i64) -> Result<Vec<MissedCall>, StoreError> {
        self.read_missed(since).map_err(|error| self.fault(error))
    }

    fn read_missed(&self, since: i64) -> rusqlite::Result<Vec<MissedCall>> {
        let mut statement = self.connection.prepare_cached(
            "SELECT number, dialled, began, waited, cell, trunk.text, queue.text, returned FROM missed
             LEFT JOIN name AS trunk ON trunk.id = missed.trunk LEFT JOIN name AS queue ON queue.id = missed.queue
             WHERE began >= ?1 ORDER BY began DESC, key",
        )?;
        let calls = statement.query_map([since], |row| {
            let cell = Cell::from_index(number(row, 4)?).ok_or_else(|| out_of_range(4))?;
            Ok(MissedCall {
                number: OutsideNumber::new(row.get::<_, String>(0)?),
                dialled: OwnNumber::new(row.get::<_, String>(1)?),
                began: row.get(2)?,
                waited: row.get(3)?,
                outcome: cell.outcome,
                trunk: row.get::<_, Option<String>>(5)?.map(Trunk::new),
                queue: row.get::<_, Option<String>>(6)?.map(Queue::new),
                returned: row.get(7)?,
            })
        })?;
        calls.collect()
    }

    /// Decides about the calls that got no leg after that moment.
    pub(super) fn settle_callers(&mut self, latest: i64, now: i64) -> Result<(), StoreError> {
        while self.keep_missed.is_some() && self.any_caller_waits(latest, now).map_err(|error| self.fault(error))? {
            self.transact(|transaction| {
                // A clock that was set back must not make callers wait for as long as it was ahead.
                transaction.execute("UPDATE outside SET touched = ?1 WHERE settled = 0 AND touched > ?1", [now])?;
                let keys: Vec<Vec<u8>> = transaction
                    .prepare_cached("SELECT key FROM outside WHERE settled = 0 AND touched <= ?1 LIMIT ?2")?
                    .query_map((latest, PORTION as i64), |row| row.get(0))?
                    .collect::<rusqlite::Result<_>>()?;
                for key in keys {
                    decide(transaction, &key, now)?;
                    transaction.prepare_cached("UPDATE outside SET settled = 1 WHERE key = ?1")?.execute([key])?;
                }
                Ok(())
            })?;
            if latest >= now {
                break;
            }
        }
        Ok(())
    }

    /// Nothing is written, and no lock taken, while nothing is due.
    fn any_caller_waits(&self, latest: i64, now: i64) -> rusqlite::Result<bool> {
        self.connection
            .prepare_cached(
                "SELECT EXISTS (SELECT 1 FROM outside WHERE settled = 0 AND touched <= ?1)
                 OR EXISTS (SELECT 1 FROM outside WHERE settled = 0 AND touched > ?2)",
            )?
            .query_row([latest, now], |row| row.get(0))
    }
}

/// Writes who takes part from outside, as far as their calls ended not longer ago than they are kept.
pub(super) fn write(transaction: &Transaction<'_>, pending: &Pending, keep: i64, now: i64) -> Result<(), Fault> {
    let oldest = now.saturating_sub(keep);
    let mut note = transaction.prepare_cached(
        "INSERT INTO outside (key, way, further, began, sequence, number, dialled, touched, settled)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, 0)
         ON CONFLICT DO UPDATE SET further = excluded.further, began = excluded.began, sequence = excluded.sequence,
             number = excluded.number, dialled = excluded.dialled
         WHERE (excluded.further, excluded.began, excluded.sequence) < (outside.further, outside.began, outside.sequence)",
    )?;
    for one in pending.outside.iter().filter(|one| one.ended >= oldest) {
        let key = one.key.as_bytes();
        let (number, dialled) = (one.number.expose(), one.dialled.expose());
        note.execute((key, one.way as i64, one.further, one.began, one.sequence, number, dialled, now))?;
    }
    // Whatever leg came: its call is decided about once it is quiet again.
    let mut touch = transaction.prepare_cached("UPDATE outside SET touched = ?2, settled = 0 WHERE key = ?1")?;
    for (key, _) in pending.open.iter().filter(|(_, open)| open.call.end() >= oldest) {
        touch.execute((key.as_bytes(), now))?;
    }
    Ok(())
}

/// Decides about a call.
fn decide(transaction: &Transaction<'_>, key: &[u8], now: i64) -> Result<(), Fault> {
    let state: Option<Vec<u8>> = transaction
        .prepare_cached("SELECT state FROM call WHERE key = ?1")?
        .query_row([key], |row| row.get(0))
        .optional()?;
    // A row that waits for another source's word: its call comes with that, or never.
    let Some(state) = state else { return Ok(()) };
    let call = Call::from_bytes(&state).map_err(damaged)?;
    let is_answered = call.outcome() == Outcome::Answered;
    let way = match call.direction() {
        Direction::Inbound => Way::In,
        Direction::Outbound => Way::Out,
        Direction::Internal => return Ok(()),
    };
    let party: Option<(String, String)> = transaction
        .prepare_cached("SELECT number, dialled FROM outside WHERE key = ?1 AND way = ?2")?
        .query_row((key, way as i64), |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((number, dialled)) = party else { return Ok(()) };
    let number = OutsideNumber::new(number);
    if is_answered {
        transaction.prepare_cached("DELETE FROM missed WHERE key = ?1")?.execute([key])?;
        let answered_at = call.start().saturating_add_unsigned(call.wait_seconds());
        spoken(transaction, &number, answered_at, now)
    } else if way == Way::In {
        missed(transaction, key, &call, &number, &dialled)
    } else {
        Ok(())
    }
}

/// Somebody talked with that number: earlier calls of it were returned by that.
fn spoken(transaction: &Transaction<'_>, number: &OutsideNumber, at: i64, now: i64) -> Result<(), Fault> {
    let Some(normal) = Normal::of(number) else { return Ok(()) };
    transaction
        .prepare_cached(
            "INSERT INTO spoken (tail, number, at, noted) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT DO UPDATE SET noted = excluded.noted",
        )?
        .execute((normal.key(), number.expose(), at, now))?;
    let mut find = transaction.prepare_cached(
        "SELECT key, number FROM missed WHERE tail = ?1 AND began <= ?2 AND (returned IS NULL OR returned > ?2)",
    )?;
    let mut rows = find.query((normal.key(), at))?;
    let mut returned: Vec<Vec<u8>> = Vec::new();
    while let Some(row) = rows.next()? {
        if Normal::of(&OutsideNumber::new(row.get::<_, String>(1)?)).is_some_and(|other| other.is_same(&normal)) {
            returned.push(row.get(0)?);
        }
    }
    for key in returned {
        transaction.prepare_cached("UPDATE missed SET returned = ?2 WHERE key = ?1")?.execute((key, at))?;
    }
    Ok(())
}

/// No person answered that call from outside.
fn missed(
    transaction: &Transaction<'_>,
    key: &[u8],
    call: &Call,
    number: &OutsideNumber,
    dialled: &str,
) -> Result<(), Fault> {
    let normal = Normal::of(number);
    let returned = match &normal {
        Some(normal) => first_spoken(transaction, normal, call.start())?,
        None => None,
    };
    let tail = normal.as_ref().map_or("", Normal::key);
    let place = call.share().place;
    transaction
        .prepare_cached(
            "INSERT INTO missed (key, number, tail, dialled, began, ended, waited, cell, trunk, queue, returned)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, coalesce((SELECT id FROM name WHERE hash = ?9), 0),
                 coalesce((SELECT id FROM name WHERE hash = ?10), 0), ?11)
             ON CONFLICT DO UPDATE SET number = excluded.number, tail = excluded.tail, dialled = excluded.dialled,
                 began = excluded.began, ended = excluded.ended, waited = excluded.waited, cell = excluded.cell,
                 trunk = excluded.trunk, queue = excluded.queue, returned = coalesce(returned, excluded.returned)",
        )?
        .execute((
            key,
            number.expose(),
            tail,
            dialled,
            call.start(),
            call.end(),
            sql(call.wait_seconds()),
            place.cell.index() as i64,
            place.trunk.as_i64(),
            place.queue.as_i64(),
            returned,
        ))?;
    Ok(())
}

/// When somebody first talked with that number after a moment, of the conversations that became quiet of late.
fn first_spoken(transaction: &Transaction<'_>, normal: &Normal, after: i64) -> Result<Option<i64>, Fault> {
    let mut find =
        transaction.prepare_cached("SELECT number, at FROM spoken WHERE tail = ?1 AND at >= ?2 ORDER BY at")?;
    let mut rows = find.query((normal.key(), after))?;
    while let Some(row) = rows.next()? {
        if Normal::of(&OutsideNumber::new(row.get::<_, String>(0)?)).is_some_and(|other| other.is_same(normal)) {
            return Ok(Some(row.get(1)?));
        }
    }
    Ok(None)
}

/// Forgets what is not to be kept any longer.
pub(super) fn prune(transaction: &Transaction<'_>, keep: Option<i64>, now: i64) -> Result<(), Fault> {
    let oldest_open = now.saturating_sub(FORGET_AFTER);
    transaction.execute("DELETE FROM outside WHERE settled = 1 AND touched < ?1", [oldest_open])?;
    transaction.execute("DELETE FROM spoken WHERE noted < ?1", [oldest_open])?;
    let Some(keep) = keep else { return Ok(()) };
    transaction.execute("DELETE FROM missed WHERE ended < ?1", [now.saturating_sub(keep)])?;
    let count: i64 = transaction.query_row("SELECT count(*) FROM missed", [], |row| row.get(0))?;
    if count > MAX_MISSED {
        transaction.execute(
            "DELETE FROM missed WHERE key IN (SELECT key FROM missed ORDER BY ended LIMIT ?1)",
            [count - MAX_MISSED],
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
