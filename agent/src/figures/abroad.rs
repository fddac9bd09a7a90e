//! Whether more calls went abroad in a night than is usual: what a misused phone system looks like first.

use demarc_proto::{Cell, Direction};
use jiff::{
    Timestamp, ToSpan,
    civil::{Date, DateTime},
    tz::TimeZone,
};
use rustc_hash::FxHashMap;

use super::{Period, chance_of_as_many};
use crate::{
    call::QUARTER,
    store::{Store, StoreError},
};

/// A night begins and ends at these hours of the wall clock.
const EVENING: i8 = 20;
const MORNING: i8 = 6;
/// Nights that tell what is usual: eight weeks.
const NIGHTS: i32 = 56;
/// Fewer nights tell of nothing usual.
const LEAST_NIGHTS: usize = 14;
/// What chance alone makes more rarely is no chance.
const RARE: f64 = 1e-4;

/// Outbound calls to other countries that ended in one night, beside those of the nights before.
#[derive(Clone, Debug, PartialEq)]
pub struct NightAbroad {
    /// The day in whose evening the night begins.
    pub evening: Date,
    /// The calls.
    pub calls: u32,
    /// The nights before that tell what is usual, 56 at most.
    pub nights: usize,
    /// Calls in all of these.
    pub before: u32,
    /// The chance of so many calls or more, if nothing is different in this night (Poisson).
    pub chance: f64,
}

impl NightAbroad {
    /// Judges a night by the calls of the nights before; not at all where these are too few.
    ///
    /// The mean that is usual is taken as if there had been one more call in one more night: a place that never calls abroad may
    /// do so once.
    pub fn judge(evening: Date, calls: u32, before: &[u32]) -> Option<Self> {
        if before.len() < LEAST_NIGHTS {
            return None;
        }
        let sum = before.iter().fold(0_u32, |sum, calls| sum.saturating_add(*calls));
        let mean = (f64::from(sum) + 1.0) / (before.len() as f64 + 1.0);
        Some(Self { evening, calls, nights: before.len(), before: sum, chance: chance_of_as_many(calls, mean) })
    }

    /// Whether somebody should look: chance alone makes as many in less than one of 10,000 nights.
    pub fn is_unusual(&self) -> bool {
        self.chance < RARE
    }

    /// What there is to say of an unusual night.
    pub fn in_words(&self) -> String {
        format!(
            "{} calls went abroad in the night after {}, {} in the {} nights before it together: somebody may be misusing the phone system",
            self.calls, self.evening, self.before, self.nights
        )
    }

    /// The night that is, or else was last, at that moment; none where too little is known.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn read(store: &Store, now: Timestamp, zone: &TimeZone) -> Result<Option<Self>, StoreError> {
        let this = evening_before(zone.to_datetime(now));
        let (from, to) = Period::until(this.saturating_add(1.day()), NIGHTS + 3).quarters(zone);
        let mut nights = FxHashMap::<Date, i64>::default();
        let mut first = None;
        store.kinds(from, to, |row| {
            first = Some(first.map_or(row.quarter, |first: i64| first.min(row.quarter)));
            if let (Cell { direction: Direction::Outbound, .. }, true) = (row.cell, row.kind.is_abroad())
                && let Some(evening) = night_of(wall(row.quarter, zone))
            {
                *nights.entry(evening).or_default() += row.calls;
            }
        })?;
        let Some(first) = first else { return Ok(None) };
        // Of a night before the first call, or in which it came, not everything is known.
        let known = wall(first, zone).date();
        let calls = |evening: &Date| nights.get(evening).map_or(0, |calls| u32::try_from(*calls).unwrap_or(0));
        let before = (1..=NIGHTS).map(|night| this.saturating_sub(night.days())).filter(|evening| *evening > known);
        let before: Vec<u32> = before.map(|evening| calls(&evening)).collect();
        Ok(Self::judge(this, calls(&this), &before))
    }
}

fn wall(quarter: i64, zone: &TimeZone) -> DateTime {
    zone.to_datetime(Timestamp::from_second(quarter.saturating_mul(QUARTER)).unwrap_or_default())
}

/// The night that a moment lies in, by its evening.
fn night_of(wall: DateTime) -> Option<Date> {
    match wall.hour() {
        EVENING.. => Some(wall.date()),
        ..MORNING => Some(wall.date().saturating_sub(1.day())),
        _ => None,
    }
}

/// The evening of the night that is, or was last.
fn evening_before(wall: DateTime) -> Date {
    if wall.hour() >= EVENING { wall.date() } else { wall.date().saturating_sub(1.day()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_night_belongs_to_its_evening() {
        let at = |text: &str| text.parse::<DateTime>().unwrap();
        let day = |text: &str| text.parse::<Date>().unwrap();
        for (moment, night, last) in [
            ("2026-11-25T20:00", Some("2026-11-25"), "2026-11-25"),
            ("2026-11-26T05:59", Some("2026-11-25"), "2026-11-25"),
            ("2026-11-26T06:00", None, "2026-11-25"),
            ("2026-11-26T19:59", None, "2026-11-25"),
        ] {
            assert_eq!((night_of(at(moment)), evening_before(at(moment))), (night.map(day), day(last)), "{moment}");
        }
    }

    #[test]
    fn a_few_calls_are_no_alarm_and_many_are() {
        let evening: Date = "2026-11-25".parse().unwrap();
        let unusual = |calls, before: &[u32]| NightAbroad::judge(evening, calls, before).unwrap().is_unusual();
        let quiet = [0; 56];
        assert!(!unusual(0, &quiet) && !unusual(2, &quiet) && unusual(3, &quiet));
        // Ten a night are usual: the mean is 561 / 57, and P(X >= 23) = 2.4e-4, P(X >= 24) = 9.5e-5.
        let busy = [10; 56];
        assert!(!unusual(23, &busy) && unusual(24, &busy));
        assert_eq!(NightAbroad::judge(evening, 100, &[0; 13]), None);
        let words = NightAbroad::judge(evening, 30, &busy).unwrap().in_words();
        assert!(
            words.starts_with("30 calls went abroad in the night after 2026-11-25, 560 in the 56 nights"),
            "{words}"
        );
    }
}
