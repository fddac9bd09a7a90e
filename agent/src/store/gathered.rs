//! The calls of one stretch of an old file, put together away from the store: by any thread, in any order of stretches.

use std::collections::VecDeque;

use rustc_hash::FxHashMap;

use super::{
    packer::{Closed, Packer},
    pending::{Quarantine, RowCounts},
};
use crate::{
    call::{Call, CallKey, CallRules, Ids, Names, key::present},
    pbx::{Leg, MalformedReason, Row},
};

/// A row with a time so far ahead of now, in seconds, must not make all others look old.
const AHEAD: i64 = 86_400;

/// The calls of one stretch of an old file.
#[derive(Default)]
pub struct Gathered {
    /// Where each call stands.
    places: FxHashMap<CallKey, u32>,
    pub(super) keys: Vec<CallKey>,
    pub(super) calls: Vec<Call>,
    /// Calls without an id: no other leg can ever belong to them.
    pub(super) lone: Vec<Call>,
    /// The first and the last of the seconds that the keys begin with. Only calls between them can be here.
    seconds: Option<(u32, u32)>,
    /// Names that may be new to the store.
    pub(super) names: Names,
    pub(super) counts: RowCounts,
    pub(super) quarantine: Quarantine,
    /// The latest end of a call, of those that are believed.
    pub(super) newest_end: Option<i64>,
}

/// Puts rows together to calls.
pub struct Gatherer<'a> {
    rules: &'a CallRules,
    names: Names,
    /// Ends after this are not believed.
    latest_end: i64,
}

impl<'a> Gatherer<'a> {
    /// By these rules, at that moment.
    pub fn new(rules: &'a CallRules, now: u64) -> Self {
        let latest_end = i64::try_from(now).unwrap_or(i64::MAX).saturating_add(AHEAD);
        Self { rules, names: Names::default(), latest_end }
    }

    /// Takes in a row.
    #[inline(always)]
    pub fn row(&mut self, row: Row<'_>, into: &mut Gathered) {
        match row {
            Row::Leg(leg) => self.leg(&leg, into),
            Row::Repeat => {
                into.counts.rows += 1;
                into.counts.duplicates += 1;
            }
            Row::Malformed { bytes, why } => self.malformed(bytes, why, into),
            // Only files of calls are imported.
            Row::Queue(_) => {}
        }
    }

    /// Ends a stretch. Names are handed on once, by the stretch that had them first.
    pub fn end(&mut self, stretch: &mut Gathered) {
        stretch.names = self.names.hand_on();
    }

    #[inline(always)]
    fn leg(&mut self, leg: &Leg<'_>, into: &mut Gathered) {
        into.counts.rows += 1;
        into.counts.unlinked += u64::from(present(leg.linkedid).is_none());
        if leg.end <= self.latest_end {
            into.newest_end = into.newest_end.max(Some(leg.end));
        }
        let ids = Ids::of(leg);
        let call = Call::of_ids(leg, ids, self.rules, &mut self.names);
        match ids.call {
            Some(key) => into.add(key, call),
            None => into.lone.push(call),
        }
    }

    #[cold]
    fn malformed(&mut self, bytes: &[u8], why: MalformedReason, into: &mut Gathered) {
        into.counts.rows += 1;
        into.counts.malformed += 1;
        into.quarantine.add(bytes, why);
    }
}

impl Gathered {
    #[inline(always)]
    fn add(&mut self, key: CallKey, call: Call) {
        let next = self.calls.len() as u32;
        let place = *self.places.entry(key).or_insert(next);
        if place != next {
            self.counts.duplicates += self.calls[place as usize].merge(&call);
            return;
        }
        self.keys.push(key);
        self.calls.push(call);
        let second = key.second();
        self.seconds =
            Some(self.seconds.map_or((second, second), |(first, last)| (first.min(second), last.max(second))));
    }

    /// How many calls there are.
    pub(super) fn calls(&self) -> usize {
        self.calls.len() + self.lone.len()
    }

    /// The last of the seconds that the keys begin with.
    pub(super) fn last_second(&self) -> Option<u32> {
        self.seconds.map(|(_, last)| last)
    }

    fn may_hold(&self, key: &CallKey) -> bool {
        self.seconds.is_some_and(|(first, last)| (first..=last).contains(&key.second()))
    }

    /// Gives a call away.
    pub(super) fn take(&mut self, key: &CallKey) -> Option<Call> {
        let place = self.places.remove(key)? as usize;
        self.keys.swap_remove(place);
        let call = self.calls.swap_remove(place);
        if let Some(moved) = self.keys.get(place) {
            self.places.insert(*moved, place as u32);
        }
        Some(call)
    }

    /// Puts the calls together with those of the stretches before, as far as they are the same. Says how many calls were
    /// taken from there.
    pub(super) fn absorb(&mut self, before: &mut VecDeque<Self>) -> usize {
        // Most calls began later than any of those before: they need not be looked for.
        let last = before.iter().filter_map(Self::last_second).max();
        let mut taken = 0;
        for (key, call) in self.keys.iter().zip(&mut self.calls).filter(|(key, _)| Some(key.second()) <= last) {
            let holders = before.iter_mut().rev().filter(|stretch| stretch.may_hold(key));
            for earlier in holders.filter_map(|stretch| stretch.take(key)) {
                self.counts.duplicates += call.merge(&earlier);
                taken += 1;
            }
        }
        taken
    }

    /// What all calls amount to that are still here. They get no more legs; their memory is used again.
    pub fn close(&mut self, packer: &mut Packer) -> Closed {
        for call in self.calls.iter().chain(&self.lone) {
            packer.add(&call.share());
        }
        self.clear();
        packer.finish()
    }

    /// Forgets everything; the memory is used again.
    pub fn clear(&mut self) {
        self.places.clear();
        self.keys.clear();
        self.calls.clear();
        self.lone.clear();
        self.seconds = None;
        self.names = Names::default();
        self.counts = RowCounts::default();
        self.quarantine = Quarantine::default();
        self.newest_end = None;
    }
}
