//! Rows that are not in the store yet, put together to calls in memory.

use std::{collections::VecDeque, path::PathBuf};

use rustc_hash::{FxHashMap, FxHashSet};

use super::{commit::FORGET_AFTER, days::Days, files::Known, queues::QueueEntry};
use crate::{
    call::{Call, CallKey, CallRules, Names, key::present},
    pbx::{Leg, MalformedReason, Position},
};

/// How many rows the quarantine keeps, the newest.
pub(super) const MAX_QUARANTINED: usize = 1000;
/// How much of each.
const MAX_QUARANTINED_BYTES: usize = 4096;

/// Rows that are not in the store yet.
#[derive(Default)]
pub struct Pending {
    /// At most so many calls stay open. Beyond that the half that was touched longest ago is closed: those calls go
    /// into the rollups, and a later leg of one of them would be taken for a call of its own.
    room: usize,
    /// Calls touched of late, and those before them.
    pub(super) young: FxHashMap<CallKey, Box<Open>>,
    pub(super) old: FxHashMap<CallKey, Box<Open>>,
    /// Calls without an id that a report may still count.
    pub(super) singles: Vec<(Call, u64)>,
    /// What closed calls add to the rollups.
    pub(super) closed: Days,
    /// Keys of the calls in the store: such a call is never closed here alone, and others need not be looked for.
    pub(super) stored: Option<Stored>,
    pub(super) names: Names,
    pub(super) parts: Vec<Part>,
    pub(super) queues: Vec<QueueEntry>,
    pub(super) current: RowCounts,
    pub(super) total: RowCounts,
    pub(super) quarantine: VecDeque<(MalformedReason, Box<[u8]>)>,
    /// The latest end of a call, of those that are believed.
    pub(super) newest_end: i64,
    /// Ends after this are not believed.
    latest_end: i64,
    /// What that was when the older half of the open calls was closed last.
    aged: i64,
}

/// A call with the legs that came in this batch.
pub(super) struct Open {
    pub(super) call: Call,
    pub(super) not_before: u64,
    /// Place in [`Pending::parts`] of the part that it came with, which may not be complete yet.
    pub(super) part: usize,
}

/// Keys of the calls in the store when it was looked at last.
pub(super) struct Stored {
    pub(super) keys: FxHashSet<CallKey>,
    /// SQLite's `data_version` of then: it changes when another process writes.
    pub(super) version: i64,
}

/// The rows that came from one source or file.
pub(super) struct Part {
    pub(super) origin: Origin,
    pub(super) position: Position,
    pub(super) counts: RowCounts,
}

/// Where rows come from.
pub enum Origin {
    /// A source that is followed.
    Source(PathBuf),
    /// A file that is imported.
    File {
        /// What the store knew of it when the reading of these rows began.
        known: Option<Known>,
        /// Its first bytes.
        head: Vec<u8>,
    },
}

/// Rows of each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct RowCounts {
    pub(super) rows: u64,
    pub(super) malformed: u64,
    pub(super) duplicates: u64,
    pub(super) unlinked: u64,
    /// Rows that count by another source's word, if at all.
    pub(super) told: u64,
}

impl Pending {
    /// Room for that many open calls.
    pub fn new(room: usize) -> Self {
        Self { room, newest_end: i64::MIN, latest_end: i64::MAX, aged: i64::MIN, ..Self::default() }
    }

    /// Room for that many open calls of an import, which looks for calls in the store only where there are some.
    pub(super) fn of_import(room: usize, stored: Stored, now: u64) -> Self {
        // A row with a time far ahead must not make all others look old.
        let latest_end = i64::try_from(now).unwrap_or(i64::MAX).saturating_add(86_400);
        Self { stored: Some(stored), latest_end, ..Self::new(room) }
    }

    /// Takes in a leg.
    pub fn leg(&mut self, leg: &Leg<'_>, rules: &CallRules, not_before: u64) {
        self.current.rows += 1;
        self.current.unlinked += u64::from(present(leg.linkedid).is_none());
        if leg.end <= self.latest_end {
            self.newest_end = self.newest_end.max(leg.end);
        }
        let call = Call::of(leg, rules, &mut self.names);
        let Some(key) = CallKey::of(leg) else {
            if is_never_reported(not_before) && self.stored.is_some() {
                self.closed.add(&call.share());
            } else {
                self.singles.push((call, not_before));
            }
            return;
        };
        if let Some(open) = self.young.get_mut(&key) {
            self.current.duplicates += open.take_in(&call, not_before);
            return;
        }
        let part = self.parts.len();
        let open = match self.old.remove(&key) {
            Some(mut open) => {
                self.current.duplicates += open.take_in(&call, not_before);
                open
            }
            None => Box::new(Open { call, not_before, part }),
        };
        self.young.insert(key, open);
        self.make_room();
    }

    /// Counts a row that another source has told of, or may yet tell of.
    pub(super) fn told(&mut self) {
        self.current.told += 1;
    }

    /// The call that a leg is on its own, and the call that it belongs to.
    pub(super) fn call_of(&mut self, leg: &Leg<'_>, rules: &CallRules) -> (Option<CallKey>, Call) {
        (CallKey::of(leg), Call::of(leg, rules, &mut self.names))
    }

    /// Takes in a call, or part of one, that was put together before.
    pub(super) fn call(&mut self, key: Option<CallKey>, call: Call, not_before: u64) {
        self.current.rows += 1;
        let Some(key) = key else { return self.singles.push((call, not_before)) };
        match self.young.get_mut(&key) {
            Some(open) => self.current.duplicates += open.take_in(&call, not_before),
            None => {
                let part = self.parts.len();
                self.young.insert(key, Box::new(Open { call, not_before, part }));
            }
        }
    }

    /// The counts of the rows since the last part, which come from no file.
    pub(super) fn close_part(&mut self) -> RowCounts {
        let counts = std::mem::take(&mut self.current);
        self.total.add(&counts);
        counts
    }

    /// Counts a row that says no more than the one before it.
    pub fn repeat(&mut self) {
        self.current.rows += 1;
        self.current.duplicates += 1;
    }

    /// Takes in a row that could not be understood.
    pub fn malformed(&mut self, bytes: &[u8], why: MalformedReason) {
        self.current.rows += 1;
        self.current.malformed += 1;
        if self.quarantine.len() == MAX_QUARANTINED {
            self.quarantine.pop_front();
        }
        self.quarantine.push_back((why, bytes[..bytes.len().min(MAX_QUARANTINED_BYTES)].into()));
    }

    /// Says where the rows since the last such word came from, and how far that was read.
    pub fn position(&mut self, origin: Origin, position: &Position) {
        let counts = self.close_part();
        self.parts.push(Part { origin, position: position.clone(), counts });
    }

    /// How many rows came in.
    pub fn rows(&self) -> u64 {
        self.total.rows + self.current.rows
    }

    /// How much is kept in memory beside the open calls, which have their own bound, counted in things of some
    /// hundred bytes.
    pub fn weight(&self) -> usize {
        self.closed.bytes() / 128 + self.names.len() + self.singles.len()
    }

    /// Whether it is worth looking for that call in the store.
    pub(super) fn may_be_stored(&self, key: &CallKey) -> bool {
        self.stored.as_ref().is_none_or(|stored| stored.keys.contains(key))
    }

    /// Forgets everything that was committed.
    pub(super) fn clear(&mut self) {
        self.young.clear();
        self.old.clear();
        self.singles.clear();
        self.closed.clear();
        self.names.clear();
        self.parts.clear();
        self.queues.clear();
        self.quarantine.clear();
        self.current = RowCounts::default();
        self.total = RowCounts::default();
    }

    /// Closes the older half of the open calls when there are too many, or when it is history by the records' own
    /// clock: what was not touched for so long gets no more legs.
    fn make_room(&mut self) {
        if self.aged == i64::MIN {
            self.aged = self.newest_end;
        }
        if self.young.len() <= self.room / 2 && self.newest_end.saturating_sub(self.aged) < FORGET_AFTER {
            return;
        }
        self.aged = self.newest_end;
        let mut oldest = std::mem::replace(&mut self.old, std::mem::take(&mut self.young));
        for (key, open) in oldest.drain() {
            if self.may_be_stored(&key) || !is_never_reported(open.not_before) {
                self.old.insert(key, open);
            } else {
                self.closed.add(&open.call.share());
            }
        }
        // Its room is used again.
        self.young = oldest;
    }
}

impl Open {
    fn take_in(&mut self, call: &Call, not_before: u64) -> u64 {
        self.not_before = self.not_before.max(not_before);
        self.call.merge(call)
    }
}

impl RowCounts {
    /// All rows that came from the source, whoever's word they count by.
    pub(super) fn read(&self) -> u64 {
        self.rows + self.told
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.rows += other.rows;
        self.malformed += other.malformed;
        self.duplicates += other.duplicates;
        self.unlinked += other.unlinked;
        self.told += other.told;
    }
}

/// Whether no end of a call can be late enough.
pub(super) fn is_never_reported(not_before: u64) -> bool {
    i64::try_from(not_before).is_err()
}
