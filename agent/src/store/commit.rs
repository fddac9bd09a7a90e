//! Writing a batch: each touched call's old share of the rollups goes out, its new one in.

use rusqlite::{OptionalExtension, Transaction};
use rustc_hash::FxHashMap;

use super::{
    Pending, Store, StoreError, callers,
    days::Packed,
    error::{Fault, damaged},
    files::{self, Seen},
    history::{History, Stored},
    kinds::{self, Kinds},
    names::NameTable,
    packer::Packer,
    pending::{MAX_QUARANTINED, Open, RowCounts, is_never_reported},
    queues,
    settle::prune,
    told::Told,
};
use crate::call::{Call, CallKey, Figures, Place, Share};

/// What a commit added to the store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Committed {
    /// Rows read.
    pub rows: u64,
    /// Rows that could not be understood.
    pub malformed: u64,
    /// Rows that were read twice.
    pub duplicates: u64,
    /// Rows that were left to another source.
    pub left: u64,
    /// Calls that the store did not know.
    pub calls: u64,
    /// Legs that the store did not know.
    pub legs: u64,
}

/// How a call stands to the reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i64)]
pub(super) enum Status {
    Waits = 0,
    Tallied = 1,
    Never = 2,
}

/// A call that ended so long ago is taken for history: no later leg can make it end in reportable times.
pub(super) const FORGET_AFTER: i64 = 26 * 3600;

/// So many cells of the rollups are changed in memory before they are written.
const MAX_DELTAS: usize = 56_000;

/// What changes in the rollups.
#[derive(Default)]
struct Deltas {
    cells: FxHashMap<Place, Figures>,
    kinds: Kinds,
}

impl Deltas {
    fn add(&mut self, share: &Share) {
        self.cells.entry(share.place).or_default().add(&share.figures);
        self.kinds.add(share, 1);
    }

    fn subtract(&mut self, share: &Share) {
        self.cells.entry(share.place).or_default().subtract(&share.figures);
        self.kinds.add(share, -1);
    }
}

const INSERT_CALL: &str = "INSERT INTO call (key, state, status, touched, not_before) VALUES (?1, ?2, ?3, ?4, ?5)";

/// When a leg of a call came last, and from which end on the call may be reported.
struct Touched {
    at: i64,
    not_before: i64,
}

impl Store {
    /// Writes all of it in one transaction, and empties it.
    ///
    /// # Errors
    /// As for [`super::Batch::commit`]; what is pending is of no use any more then.
    pub fn commit(&mut self, pending: &mut Pending, now: u64) -> Result<Committed, StoreError> {
        self.commit_told(pending, &Told::default(), now)
    }

    /// Writes all of it in one transaction, with what sources have told of, and empties it.
    pub(super) fn commit_told(
        &mut self,
        pending: &mut Pending,
        told: &Told,
        now: u64,
    ) -> Result<Committed, StoreError> {
        let mut names = std::mem::take(&mut self.names);
        let keep_missed = self.keep_missed;
        let seen = Seen { positions: self.expected.borrow().clone(), imports: self.imports.get() };
        let result = self.transact(|transaction| {
            if let Some(history) = &mut pending.history {
                history.stored.refresh(transaction)?;
            }
            let mut work = Work { transaction, names: &mut names, now: sql(now) };
            let committed = work.calls(pending)?;
            let positions = files::write(transaction, pending, &seen, work.now)?;
            work.quarantine(pending)?;
            queues::write(transaction, &pending.queues, work.names)?;
            told.write(transaction, sql(now))?;
            pending.own_numbers.write(transaction)?;
            if let Some(keep) = keep_missed {
                callers::write(transaction, pending, keep, sql(now))?;
            }
            if pending.history.is_some() {
                prune(transaction, now)?;
            }
            Ok((committed, positions))
        });
        if result.is_err() {
            // Ids that were given in it are given again to other texts.
            names.clear();
        }
        self.names = names;
        let (committed, positions) = result?;
        self.expected.borrow_mut().extend(positions);
        pending.clear();
        Ok(committed)
    }

    /// Rows of an import on their way into the store: at least `room` calls stay open in memory for later legs.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn import(&self, room: usize) -> Result<Pending, StoreError> {
        let mut stored = Stored::default();
        stored.refresh(&self.connection).map_err(|error| self.fault(error))?;
        Ok(Pending::of_import(History::new(room, stored)))
    }
}

struct Work<'a> {
    transaction: &'a Transaction<'a>,
    names: &'a mut NameTable,
    now: i64,
}

impl Work<'_> {
    fn calls(&mut self, pending: &mut Pending) -> Result<Committed, Fault> {
        self.names.add(self.transaction, &pending.names)?;
        let mut deltas = Deltas::default();
        let mut sum = Figures::default();
        let mut counts = pending.total;
        counts.add(&pending.current);
        // Where duplicates come to light only here, they are entered with the part that brought them.
        let mut late_duplicates = FxHashMap::<usize, u64>::default();
        let horizon = pending.newest_end.map_or(i64::MIN, |end| end.saturating_sub(FORGET_AFTER));
        for (key, open) in &pending.open {
            let Some(stored) = self.stored(key)? else {
                deltas.add(&open.call.share());
                // What is older than the newest by so much gets no more legs.
                if open.call.end() >= horizon || !is_never_reported(open.not_before) {
                    self.insert(key, open)?;
                }
                if deltas.cells.len() >= MAX_DELTAS {
                    sum.add(&self.rollups(&mut deltas)?);
                }
                continue;
            };
            let repeated = self.update(key, stored, &open.call, self.touched(open), &mut deltas)?;
            if repeated > 0 {
                *late_duplicates.entry(open.part).or_default() += repeated;
                counts.duplicates += repeated;
            }
        }
        self.singles(pending, &mut deltas)?;
        for (part, repeated) in late_duplicates {
            if let Some(part) = pending.parts.get_mut(part) {
                part.counts.duplicates += repeated;
            }
        }
        if let Some(history) = &mut pending.history {
            let (closed, repeated) = self.history(history, &mut deltas)?;
            sum.add(&closed);
            counts.duplicates += repeated;
        }
        sum.add(&self.rollups(&mut deltas)?);
        self.totals(&counts, &sum)?;
        Ok(Committed {
            rows: counts.rows,
            malformed: counts.malformed,
            duplicates: counts.duplicates,
            left: counts.told,
            calls: u64::try_from(sum.calls).unwrap_or(0),
            legs: u64::try_from(sum.legs).unwrap_or(0),
        })
    }

    /// An import is history, and goes in by the day; what amends calls that are in the store goes in by the cell. Says
    /// what the former adds up to, and how many rows came to light that had been read before.
    fn history(&mut self, history: &mut History, deltas: &mut Deltas) -> Result<(Figures, u64), Fault> {
        let (calls, lone) = history.drain();
        let horizon = history.horizon();
        let mut packer = Packer::default();
        let mut repeated = 0;
        let mut fresh = Vec::new();
        for (key, call) in &calls {
            let stored = if history.stored.has(key) { self.stored(key)? } else { None };
            match stored {
                Some(stored) => repeated += self.update(key, stored, call, self.touched_long_ago(call), deltas)?,
                None => {
                    packer.add(&call.share());
                    // What is older than the newest by so much gets no more legs.
                    if call.end() >= horizon {
                        fresh.push((key, call));
                    }
                }
            }
        }
        lone.iter().for_each(|call| packer.add(&call.share()));
        // In the order of the table: neighbours share pages.
        fresh.sort_unstable_by_key(|(key, _)| **key);
        let mut insert = self.transaction.prepare_cached(INSERT_CALL)?;
        for (key, call) in &fresh {
            let Touched { at, not_before } = self.touched_long_ago(call);
            insert.execute((key.as_bytes(), call.to_bytes(), Status::Never as i64, at, not_before))?;
        }
        history.stored.add(fresh.into_iter().map(|(key, _)| *key));
        history.closed.add(packer.finish());
        let closed = std::mem::take(&mut history.closed);
        self.days(&closed.days)?;
        Ok((closed.sum, repeated))
    }

    fn insert(&self, key: &CallKey, open: &Open) -> Result<(), Fault> {
        let status = first_status(&open.call, open.not_before);
        let Touched { at, not_before } = self.touched(open);
        self.transaction.prepare_cached(INSERT_CALL)?.execute((
            key.as_bytes(),
            open.call.to_bytes(),
            status as i64,
            at,
            not_before,
        ))?;
        Ok(())
    }

    fn touched(&self, open: &Open) -> Touched {
        if is_never_reported(open.not_before) {
            self.touched_long_ago(&open.call)
        } else {
            Touched { at: self.now, not_before: sql(open.not_before) }
        }
    }

    /// History passes for touched some time ago, so that however much there is of it, it is forgotten before the calls of
    /// today. It is never reported.
    fn touched_long_ago(&self, call: &Call) -> Touched {
        let at = call.end().clamp(self.now.saturating_sub(FORGET_AFTER - 3600), self.now);
        Touched { at, not_before: i64::MAX }
    }

    /// Puts a call together with what the store has of it; says how many of its rows were there already.
    fn update(
        &self,
        key: &CallKey,
        stored: Call,
        with: &Call,
        touched: Touched,
        deltas: &mut Deltas,
    ) -> Result<u64, Fault> {
        let mut call = stored.clone();
        let repeated = call.merge(with);
        if call != stored {
            deltas.subtract(&stored.share());
            deltas.add(&call.share());
            self.transaction
                .prepare_cached(
                    "UPDATE call SET state = ?2, touched = max(touched, ?3), not_before = max(not_before, ?4)
                     WHERE key = ?1",
                )?
                .execute((key.as_bytes(), call.to_bytes(), touched.at, touched.not_before))?;
        }
        Ok(repeated)
    }

    fn stored(&self, key: &CallKey) -> Result<Option<Call>, Fault> {
        let state: Option<Vec<u8>> = self
            .transaction
            .prepare_cached("SELECT state FROM call WHERE key = ?1")?
            .query_row([key.as_bytes()], |row| row.get(0))
            .optional()?;
        state.map(|state| Call::from_bytes(&state).map_err(|error| damaged(error).into())).transpose()
    }

    /// Calls without an id are kept only as long as a report may still count them.
    fn singles(&mut self, pending: &Pending, deltas: &mut Deltas) -> Result<(), Fault> {
        if pending.singles.is_empty() {
            return Ok(());
        }
        let mut number: i64 =
            self.transaction.query_row("SELECT singles FROM totals WHERE id = 0", [], |row| row.get(0))?;
        for (call, not_before) in &pending.singles {
            deltas.add(&call.share());
            if first_status(call, *not_before) == Status::Never {
                continue;
            }
            let key = CallKey::of_single(number as u64);
            number += 1;
            self.transaction
                .prepare_cached(
                    "INSERT INTO call (key, state, status, touched, not_before) VALUES (?1, ?2, 0, ?3, ?4)",
                )?
                .execute((key.as_bytes(), call.to_bytes(), self.now, sql(*not_before)))?;
        }
        self.transaction.execute("UPDATE totals SET singles = ?1 WHERE id = 0", [number])?;
        Ok(())
    }

    /// Writes what changes in the rollups, and says what it sums up to.
    fn rollups(&mut self, deltas: &mut Deltas) -> Result<Figures, Fault> {
        let mut sum = Figures::default();
        deltas.kinds.write(self.transaction)?;
        let mut changed: Vec<_> = deltas.cells.drain().filter(|(_, figures)| !figures.is_zero()).collect();
        // In the order of the table: neighbours share pages.
        changed.sort_unstable_by_key(|(place, _)| *place);
        // Prepared once: looking a statement up by its text takes as long as running it.
        let mut upsert = self.transaction.prepare_cached(
            "INSERT INTO rollup VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) ON CONFLICT DO UPDATE SET
             calls = calls + excluded.calls, legs = legs + excluded.legs,
             talk_seconds = talk_seconds + excluded.talk_seconds,
             wait_seconds = wait_seconds + excluded.wait_seconds",
        )?;
        let mut delete = self.transaction.prepare_cached(
            "DELETE FROM rollup WHERE (quarter, cell, trunk, queue, extension) = (?1, ?2, ?3, ?4, ?5)
             AND calls = 0 AND legs = 0 AND talk_seconds = 0 AND wait_seconds = 0",
        )?;
        for (place, figures) in changed {
            sum.add(&figures);
            let (quarter, cell) = (place.quarter, place.cell.index() as i64);
            let trunk = self.names.id(self.transaction, place.trunk)?;
            let queue = self.names.id(self.transaction, place.queue)?;
            let extension = self.names.id(self.transaction, place.extension)?;
            let Figures { calls, legs, talk_seconds, wait_seconds } = figures;
            upsert.execute((quarter, cell, trunk, queue, extension, calls, legs, talk_seconds, wait_seconds))?;
            if calls < 0 {
                delete.execute((quarter, cell, trunk, queue, extension))?;
            }
        }
        Ok(sum)
    }

    fn days(&mut self, days: &[Packed]) -> Result<(), Fault> {
        for packed in days {
            let numbers: rusqlite::Result<Vec<_>> =
                packed.names.iter().map(|&name| self.names.id(self.transaction, name)).collect();
            self.transaction
                .prepare_cached("INSERT INTO day (day, cells) VALUES (?1, ?2)")?
                .execute((packed.day, packed.to_bytes(&numbers?)))?;
            kinds::write_day(self.transaction, packed.day, &packed.kinds)?;
        }
        Ok(())
    }

    fn totals(&self, counts: &RowCounts, sum: &Figures) -> Result<(), Fault> {
        self.transaction
            .prepare_cached(
                "UPDATE totals SET calls = calls + ?1, legs = legs + ?2, rows = rows + ?3,
                 malformed = malformed + ?4, duplicates = duplicates + ?5, halves = halves + ?6 WHERE id = 0",
            )?
            .execute((
                sum.calls,
                sum.legs,
                sql(counts.rows),
                sql(counts.malformed),
                sql(counts.duplicates),
                sql(counts.halves),
            ))?;
        Ok(())
    }

    fn quarantine(&self, pending: &Pending) -> Result<(), Fault> {
        for (why, bytes) in pending.quarantine.iter() {
            self.transaction
                .prepare_cached("INSERT INTO quarantine (seen, why, bytes) VALUES (?1, ?2, ?3)")?
                .execute((self.now, why.name(), &**bytes))?;
        }
        if !pending.quarantine.is_empty() {
            self.transaction
                .prepare_cached("DELETE FROM quarantine WHERE id <= (SELECT max(id) FROM quarantine) - ?1")?
                .execute([MAX_QUARANTINED as i64])?;
        }
        Ok(())
    }
}

fn first_status(call: &Call, not_before: u64) -> Status {
    match i64::try_from(not_before) {
        Ok(not_before) if call.end() >= not_before.saturating_sub(FORGET_AFTER) => Status::Waits,
        _ => Status::Never,
    }
}

/// A count or moment as SQLite holds it.
pub(super) fn sql(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
