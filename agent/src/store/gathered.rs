//! The calls of one stretch of an old file, put together away from the store: by any thread, in any order of stretches.

use std::collections::VecDeque;

use super::{
    packer::{Closed, Packer},
    pending::{Quarantine, RowCounts},
    places::Places,
};
use crate::{
    call::{Call, CallKey, CallRules, Ids, Names, Parties, Slip, key::present},
    pbx::{
        Leg, MalformedReason, Row,
        leg::{PlainLeg, Sink},
    },
};

/// A row with a time so far ahead of now, in seconds, must not make all others look old.
const AHEAD: i64 = 86_400;

/// The calls of one stretch of an old file.
#[derive(Default)]
pub struct Gathered {
    places: Places,
    keys: Vec<CallKey>,
    /// What the first row of each call says. Most calls have one row, and are never more than that.
    slips: Vec<Slip>,
    /// Where the rest of it stands.
    standings: Vec<Standing>,
    /// Calls of several rows.
    calls: Vec<Call>,
    /// How many were given away.
    gone: usize,
    /// Calls without an id: no other leg can ever belong to them.
    lone: Vec<Slip>,
    /// The first and the last of the seconds that the keys begin with. Only calls between them can be here.
    seconds: Option<(u32, u32)>,
    /// Names that may be new to the store.
    pub(super) names: Names,
    pub(super) counts: RowCounts,
    pub(super) quarantine: Quarantine,
    /// The latest end of a call, of those that are believed.
    pub(super) newest_end: Option<i64>,
}

/// Where a call of a stretch stands.
#[derive(Clone, Copy)]
enum Standing {
    /// Its slip is all of it.
    Slip,
    /// At this place among the calls.
    Call(u32),
    /// It was given away.
    Gone,
}

/// Puts rows together to calls.
pub struct Gatherer<'a> {
    rules: &'a CallRules,
    names: Names,
    parties: Parties,
    /// Ends after this are not believed.
    latest_end: i64,
    /// Rows that ended then or later count by another source's word.
    before: i64,
}

impl<'a> Gatherer<'a> {
    /// By these rules, at that moment.
    pub fn new(rules: &'a CallRules, now: u64) -> Self {
        let latest_end = i64::try_from(now).unwrap_or(i64::MAX).saturating_add(AHEAD);
        Self { rules, names: Names::default(), parties: Parties::default(), latest_end, before: i64::MAX }
    }

    /// Leaves rows that ended at that moment or later to others.
    #[must_use]
    pub fn before(self, before: i64) -> Self {
        Self { before, ..self }
    }

    /// Takes in the rows of one stretch.
    pub fn gather<'g>(&'g mut self, into: &'g mut Gathered) -> Gathering<'g, 'a> {
        Gathering { gatherer: self, into }
    }

    /// Takes in a row.
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
    fn leg<T: AsRef<[u8]>>(&mut self, leg: &Leg<'_, T>, into: &mut Gathered) {
        if leg.end >= self.before {
            into.counts.told += 1;
            return;
        }
        into.counts.rows += 1;
        into.counts.unlinked += u64::from(present(leg.linkedid).is_none());
        if leg.end <= self.latest_end {
            into.newest_end = into.newest_end.max(Some(leg.end));
        }
        let ids = Ids::of(leg);
        let (rules, parties) = (self.rules, &mut self.parties);
        let party = |channel: &[u8], names: &mut Names| parties.of(channel, rules, names);
        let slip = Slip::of(leg, ids, rules, &mut self.names, party);
        match ids.call {
            Some(key) => into.add(key, slip),
            None => into.lone.push(slip),
        }
    }

    #[cold]
    fn malformed(&mut self, bytes: &[u8], why: MalformedReason, into: &mut Gathered) {
        into.counts.rows += 1;
        into.counts.malformed += 1;
        into.quarantine.add(bytes, why);
    }
}

/// Takes the rows of one stretch in.
pub struct Gathering<'g, 'a> {
    gatherer: &'g mut Gatherer<'a>,
    into: &'g mut Gathered,
}

impl Sink for Gathering<'_, '_> {
    #[inline(always)]
    fn row(&mut self, row: Row<'_>) {
        self.gatherer.row(row, self.into);
    }

    #[inline(always)]
    fn plain(&mut self, leg: PlainLeg<'_>) {
        self.gatherer.leg(&leg, self.into);
    }
}

impl Gathered {
    #[inline(always)]
    fn add(&mut self, key: CallKey, slip: Slip) {
        // Written where it will stay in most cases: what one row says need not be copied then.
        self.slips.push(slip);
        match self.places.find_or_push(key, &mut self.keys) {
            Ok(place) => {
                if let Some(part) = self.slips.pop() {
                    self.merge(place, &part.call());
                }
            }
            Err(()) => {
                self.standings.push(Standing::Slip);
                let second = key.second();
                let (first, last) = self.seconds.unwrap_or((second, second));
                self.seconds = Some((first.min(second), last.max(second)));
            }
        }
    }

    /// Puts the call that stands there together with another part of it.
    fn merge(&mut self, place: usize, part: &Call) {
        let call = match self.standings[place] {
            Standing::Call(number) => number as usize,
            // It was not given away before its stretch was whole.
            Standing::Slip | Standing::Gone => {
                self.standings[place] = Standing::Call(self.calls.len() as u32);
                self.calls.push(self.slips[place].call());
                self.calls.len() - 1
            }
        };
        self.counts.duplicates += self.calls[call].merge(part);
    }

    /// How many calls there are.
    pub(super) fn calls(&self) -> usize {
        self.keys.len() - self.gone + self.lone.len()
    }

    /// The last of the seconds that the keys begin with.
    fn last_second(&self) -> Option<u32> {
        self.seconds.map(|(_, last)| last)
    }

    fn may_hold(&self, key: &CallKey) -> bool {
        self.seconds.is_some_and(|(first, last)| (first..=last).contains(&key.second()))
    }

    /// Gives a call away.
    fn take(&mut self, key: &CallKey) -> Option<Call> {
        let place = self.places.find(key, &self.keys)?;
        self.take_at(place)
    }

    fn take_at(&mut self, place: usize) -> Option<Call> {
        let call = match self.standings[place] {
            Standing::Slip => self.slips[place].call(),
            Standing::Call(number) => self.calls[number as usize].clone(),
            Standing::Gone => return None,
        };
        self.standings[place] = Standing::Gone;
        self.gone += 1;
        Some(call)
    }

    /// Gives those calls away whose keys are so.
    pub(super) fn take_those(&mut self, are_so: impl Fn(&CallKey) -> bool) -> Vec<(CallKey, Call)> {
        let those: Vec<_> = (0..self.keys.len()).filter(|&place| are_so(&self.keys[place])).collect();
        those.into_iter().filter_map(|place| Some((self.keys[place], self.take_at(place)?))).collect()
    }

    /// Gives all calls away: those with keys, and those without.
    pub(super) fn take_all(mut self) -> (Vec<(CallKey, Call)>, Vec<Call>) {
        (self.take_those(|_| true), self.lone.iter().map(Slip::call).collect())
    }

    /// Puts the calls together with those of the stretches before, as far as they are the same. Says how many calls were
    /// taken from there.
    pub(super) fn absorb(&mut self, before: &mut VecDeque<Self>) -> usize {
        // Most calls began later than any of those before: they need not be looked for.
        let Some(last) = before.iter().filter_map(Self::last_second).max() else { return 0 };
        let mut taken = 0;
        for place in 0..self.keys.len() {
            let key = self.keys[place];
            if key.second() > last {
                continue;
            }
            for stretch in before.iter_mut().rev().filter(|stretch| stretch.may_hold(&key)) {
                if let Some(earlier) = stretch.take(&key) {
                    self.merge(place, &earlier);
                    taken += 1;
                }
            }
        }
        taken
    }

    /// What all calls amount to that are still here. They get no more legs; their memory is used again.
    pub fn close(&mut self, packer: &mut Packer) -> Closed {
        for (slip, standing) in self.slips.iter().zip(&self.standings) {
            if let Standing::Slip = *standing {
                packer.add(&slip.share());
            }
        }
        // In a pass of their own, since they lie elsewhere: memory is read in order.
        for standing in &self.standings {
            if let Standing::Call(number) = *standing {
                packer.add(&self.calls[number as usize].share());
            }
        }
        self.lone.iter().for_each(|slip| packer.add(&slip.share()));
        self.clear();
        packer.finish()
    }

    /// Forgets everything; the memory is used again.
    pub fn clear(&mut self) {
        self.places.clear();
        self.keys.clear();
        self.slips.clear();
        self.standings.clear();
        self.calls.clear();
        self.gone = 0;
        self.lone.clear();
        self.seconds = None;
        self.names = Names::default();
        self.counts = RowCounts::default();
        self.quarantine = Quarantine::default();
        self.newest_end = None;
    }
}
