//! The calls of a period, taken together in one pass over the rollups.

use std::collections::BTreeMap;

use demarc_proto::Direction;
use jiff::{
    Timestamp,
    civil::{Date, DateTime},
    tz::TimeZone,
};
use rustc_hash::FxHashMap;

use super::{Amounts, Period, Share};
use crate::{
    call::QUARTER,
    private::{Extension, Queue, Trunk},
    store::{RollupRow, Store, StoreError},
};

/// An hour of the wall clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hour {
    /// Its day.
    pub day: Date,
    /// From 0 to 23. The hour that autumn repeats is one.
    pub hour: i8,
}

/// The calls of a period.
#[derive(Clone, Debug, Default)]
pub struct CallFigures {
    /// Hours in which calls ended, in order; those without a call are left out.
    pub hours: BTreeMap<Hour, Amounts>,
    /// By who took part.
    pub parties: Parties,
}

/// Calls by who took part, in the order of names. Calls without such a party are left out.
#[derive(Clone, Debug, Default)]
pub struct Parties {
    /// By trunk.
    pub trunks: BTreeMap<Trunk, Amounts>,
    /// By queue.
    pub queues: BTreeMap<Queue, Amounts>,
    /// By extension.
    pub extensions: BTreeMap<Extension, Amounts>,
}

impl CallFigures {
    /// Reads the calls of a period, whose days are those of the zone.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn read(store: &Store, period: Period, zone: &TimeZone) -> Result<Self, StoreError> {
        let (from, to) = period.quarters(zone);
        let mut clock = Clock { zone, known: None };
        let mut hours = FxHashMap::<Hour, Amounts>::default();
        let mut parties = [const { FxHashMap::<i64, Amounts>::with_hasher(rustc_hash::FxBuildHasher) }; 3];
        store.rollups(from, to, |row| {
            hours.entry(clock.hour(row.quarter)).or_default().add(row.cell, &row.figures);
            for (amounts, party) in parties.iter_mut().zip([row.trunk, row.queue, row.extension]) {
                note(amounts, party, &row);
            }
        })?;
        let texts = store.texts()?;
        let [trunks, queues, extensions] = parties;
        let parties = Parties {
            trunks: named(trunks, |id| texts.trunk(id)),
            queues: named(queues, |id| texts.queue(id)),
            extensions: named(extensions, |id| texts.extension(id)),
        };
        // What was counted in one place and amended to another.
        let hours = hours.into_iter().filter(|(_, amounts)| !amounts.is_empty()).collect();
        Ok(Self { hours, parties })
    }

    /// All calls.
    pub fn total(&self) -> Amounts {
        self.sum(|_| true)
    }

    /// The calls of a day.
    pub fn day(&self, day: Date) -> Amounts {
        let mut sum = Amounts::default();
        let hours = Hour { day, hour: 0 }..=Hour { day, hour: 23 };
        self.hours.range(hours).for_each(|(_, amounts)| sum.add_all(amounts));
        sum
    }

    /// Inbound calls that no person answered, of all inbound calls, by day of the week from Monday on and hour.
    pub fn missed_by_week(&self) -> Vec<Vec<Share>> {
        let mut cells = vec![vec![Share::default(); 24]; 7];
        for (hour, amounts) in &self.hours {
            let weekday = usize::try_from(hour.day.weekday().to_monday_zero_offset()).unwrap_or(0);
            let cell = &mut cells[weekday][usize::try_from(hour.hour).unwrap_or(0)];
            cell.part += amounts.missed();
            cell.n += amounts.going(Direction::Inbound);
        }
        cells
    }

    /// The calls of some hours.
    pub fn sum(&self, wanted: impl Fn(&Hour) -> bool) -> Amounts {
        let mut sum = Amounts::default();
        self.hours.iter().filter(|(hour, _)| wanted(hour)).for_each(|(_, amounts)| sum.add_all(amounts));
        sum
    }
}

fn note(amounts: &mut FxHashMap<i64, Amounts>, party: i64, row: &RollupRow) {
    if party != 0 {
        amounts.entry(party).or_default().add(row.cell, &row.figures);
    }
}

fn named<T: Ord>(amounts: FxHashMap<i64, Amounts>, name: impl Fn(i64) -> Option<T>) -> BTreeMap<T, Amounts> {
    let kept = amounts.into_iter().filter(|(_, amounts)| !amounts.is_empty());
    kept.filter_map(|(id, amounts)| Some((name(id)?, amounts))).collect()
}

/// The hours of a zone. Rollups come in the order of time, so that most questions repeat the last one.
struct Clock<'a> {
    zone: &'a TimeZone,
    known: Option<(i64, Hour)>,
}

impl Clock<'_> {
    fn hour(&mut self, quarter: i64) -> Hour {
        match self.known {
            Some((known, hour)) if known == quarter => hour,
            _ => {
                let moment = Timestamp::from_second(quarter * QUARTER).unwrap_or_default();
                let wall: DateTime = self.zone.to_datetime(moment);
                let hour = Hour { day: wall.date(), hour: wall.hour() };
                self.known = Some((quarter, hour));
                hour
            }
        }
    }
}
