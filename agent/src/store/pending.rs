//! Rows that are not in the store yet, put together to calls in memory.

use std::{
    collections::{VecDeque, hash_map::Entry},
    path::PathBuf,
};

use rustc_hash::FxHashMap;

use super::{
    callers::Outside, files::Known, gathered::Gathered, history::History, own_numbers::OwnNumbers, packer::Closed,
    queues::QueueEntry,
};
use crate::{
    call::{Call, CallKey, CallRules, Ids, Names, key::present},
    pbx::{Leg, MalformedReason, Position},
};

/// How many rows the quarantine keeps, the newest.
pub(super) const MAX_QUARANTINED: usize = 1000;
/// How much of each.
const MAX_QUARANTINED_BYTES: usize = 4096;

/// Rows that are not in the store yet.
#[derive(Default)]
pub struct Pending {
    pub(super) open: FxHashMap<CallKey, Open>,
    /// Calls without an id that a report may still count.
    pub(super) singles: Vec<(Call, u64)>,
    /// Rows of an import.
    pub(super) history: Option<History>,
    pub(super) names: Names,
    pub(super) parts: Vec<Part>,
    pub(super) queues: Vec<QueueEntry>,
    /// Who takes part from outside, as far as it is to be known.
    pub(super) outside: Vec<Outside>,
    pub(super) own_numbers: OwnNumbers,
    pub(super) current: RowCounts,
    pub(super) total: RowCounts,
    pub(super) quarantine: Quarantine,
    /// The latest end of a leg.
    pub(super) newest_end: Option<i64>,
}

/// A call with the legs that came in this batch.
pub(super) struct Open {
    pub(super) call: Call,
    pub(super) not_before: u64,
    /// Place in [`Pending::parts`] of the part that it came with, which may not be complete yet.
    pub(super) part: usize,
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
    /// Rows of one half of a channel inside the PBX.
    pub(super) halves: u64,
    /// Rows that count by another source's word, if at all.
    pub(super) told: u64,
}

/// Rows that could not be understood, the newest of them.
#[derive(Default)]
pub(super) struct Quarantine(VecDeque<(MalformedReason, Box<[u8]>)>);

impl Quarantine {
    pub(super) fn add(&mut self, bytes: &[u8], why: MalformedReason) {
        self.push((why, bytes[..bytes.len().min(MAX_QUARANTINED_BYTES)].into()));
    }

    fn push(&mut self, row: (MalformedReason, Box<[u8]>)) {
        if self.0.len() == MAX_QUARANTINED {
            self.0.pop_front();
        }
        self.0.push_back(row);
    }

    fn append(&mut self, later: Self) {
        later.0.into_iter().for_each(|row| self.push(row));
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &(MalformedReason, Box<[u8]>)> {
        self.0.iter()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Pending {
    /// Nothing yet of what an import brings.
    pub(super) fn of_import(history: History) -> Self {
        Self { history: Some(history), ..Self::default() }
    }

    /// Takes in a leg.
    pub fn leg(&mut self, leg: &Leg<'_>, rules: &CallRules, not_before: u64) {
        self.current.rows += 1;
        self.current.unlinked += u64::from(present(leg.linkedid).is_none());
        self.current.halves += u64::from(leg.channel.starts_with(b"Local/"));
        self.newest_end = self.newest_end.max(Some(leg.end));
        let (key, call) = self.call_of(leg, rules);
        self.add(key, call, not_before);
    }

    fn add(&mut self, key: Option<CallKey>, call: Call, not_before: u64) {
        let Some(key) = key else { return self.singles.push((call, not_before)) };
        let part = self.parts.len();
        match self.open.entry(key) {
            Entry::Occupied(mut open) => {
                let open = open.get_mut();
                open.not_before = open.not_before.max(not_before);
                self.current.duplicates += open.call.merge(&call);
            }
            Entry::Vacant(place) => {
                place.insert(Open { call, not_before, part });
            }
        }
    }

    /// Takes in the rows of the next stretch of a file that is imported. Reports never count them.
    pub fn stretch(&mut self, mut stretch: Gathered) {
        self.note_names(&mut stretch);
        let Some(history) = &mut self.history else { return };
        self.quarantine.append(std::mem::take(&mut stretch.quarantine));
        let counts = history.add(stretch);
        self.current.add(&counts);
    }

    /// Takes the names out of a stretch.
    pub fn note_names(&mut self, stretch: &mut Gathered) {
        self.names.add(std::mem::take(&mut stretch.names));
    }

    /// Calls of an import that get no more legs, to be closed by whoever has the time; what they amount to goes
    /// [back](Pending::closed) before the next commit.
    pub fn ripe(&mut self) -> Option<Gathered> {
        self.history.as_mut().and_then(History::ripe)
    }

    /// Takes in what calls amount to.
    pub fn closed(&mut self, closed: Closed) {
        if let Some(history) = &mut self.history {
            history.closed.add(closed);
        }
    }

    /// Counts a row that another source has told of, or may yet tell of.
    pub(super) fn told(&mut self) {
        self.current.told += 1;
    }

    /// The call that a leg is on its own, and the call that it belongs to.
    pub(super) fn call_of(&mut self, leg: &Leg<'_>, rules: &CallRules) -> (Option<CallKey>, Call) {
        let ids = Ids::of(leg);
        (ids.call, Call::of_ids(leg, ids, rules, &mut self.names))
    }

    /// Takes in a call, or part of one, that was put together before.
    pub(super) fn call(&mut self, key: Option<CallKey>, call: Call, not_before: u64) {
        self.current.rows += 1;
        self.newest_end = self.newest_end.max(Some(call.end()));
        self.add(key, call, not_before);
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
        self.quarantine.add(bytes, why);
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

    /// How much memory what an import brought takes beside its open calls, which have their own bound.
    pub fn bytes(&self) -> usize {
        self.history.as_ref().map_or(0, History::bytes) + self.names.len() * 256
    }

    /// Forgets everything that was committed.
    pub(super) fn clear(&mut self) {
        self.open.clear();
        self.singles.clear();
        self.names.clear();
        self.parts.clear();
        self.queues.clear();
        self.outside.clear();
        self.own_numbers.clear();
        self.quarantine = Quarantine::default();
        self.current = RowCounts::default();
        self.total = RowCounts::default();
        self.newest_end = None;
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
        self.halves += other.halves;
        self.told += other.told;
    }
}

/// Whether no end of a call can be late enough.
pub(super) fn is_never_reported(not_before: u64) -> bool {
    i64::try_from(not_before).is_err()
}
