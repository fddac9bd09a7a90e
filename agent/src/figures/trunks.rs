//! Trunks: what they carried, how many lines they need, and what a change of the phone system did to them.

use std::collections::BTreeMap;

use demarc_proto::Outcome;
use jiff::{Timestamp, civil::Date, tz::TimeZone};

use super::{Amounts, BusyHours, Change, LineAdvice, Period};
use crate::{
    call::QUARTER,
    private::Trunk,
    store::{RollupRow, Store, StoreError},
};

/// How long before and after a change calls are compared, at most, in seconds.
const COMPARED: i64 = 7 * 86_400;

/// What a trunk carried.
#[derive(Clone, Debug, Default)]
pub struct TrunkFigures {
    /// Its calls.
    pub calls: Amounts,
    /// Seconds that its lines were held by calls which ended in an hour of a day: see [`held_seconds`].
    held: BTreeMap<Date, [i64; 24]>,
}

/// How long a call held its line, at most. A call that nobody answered held it for as long as it lasted; one that was answered for
/// its waiting and talking time, of which music and menus before the talk count twice.
fn held_seconds(row: &RollupRow) -> i64 {
    let talked = if row.cell.outcome == Outcome::Answered { row.figures.talk_seconds } else { 0 };
    row.figures.wait_seconds.saturating_add(talked)
}

impl TrunkFigures {
    fn add(&mut self, row: &RollupRow, zone: &TimeZone) {
        self.calls.add(row.cell, &row.figures);
        let wall = zone.to_datetime(Timestamp::from_second(row.quarter.saturating_mul(QUARTER)).unwrap_or_default());
        let held = &mut self.held.entry(wall.date()).or_default()[usize::from(wall.hour().unsigned_abs()) % 24];
        *held = held.saturating_add(held_seconds(row));
    }

    /// How many lines it needs; none where too few days had calls.
    pub fn advice(&self) -> Option<LineAdvice> {
        let mut hours = BusyHours::default();
        for day in self.held.values() {
            hours.add(day.iter().copied().max().unwrap_or(0) as f64 / 3600.0);
        }
        hours.advice()
    }
}

/// What each trunk carried in a period.
///
/// # Errors
/// When the store cannot be read.
pub fn trunk_figures(
    store: &Store,
    period: Period,
    zone: &TimeZone,
) -> Result<BTreeMap<Trunk, TrunkFigures>, StoreError> {
    let (from, to) = period.quarters(zone);
    let mut trunks = BTreeMap::<i64, TrunkFigures>::new();
    store.rollups(from, to, |row| {
        if row.trunk != 0 {
            trunks.entry(row.trunk).or_default().add(&row, zone);
        }
    })?;
    let texts = store.texts()?;
    let kept = trunks.into_iter().filter(|(_, figures)| !figures.calls.is_empty());
    Ok(kept.filter_map(|(id, figures)| Some((texts.trunk(id)?, figures))).collect())
}

/// The answer bid ratio of each trunk before and after a moment, as far as it rests on enough calls: so many days before and after as
/// there are after, seven at most. Moments are seconds since 1970 in UTC.
///
/// # Errors
/// When the store cannot be read.
pub fn changes_at(store: &Store, moment: i64, now: i64) -> Result<BTreeMap<Trunk, Change>, StoreError> {
    let length = now.saturating_sub(moment).clamp(0, COMPARED) / QUARTER;
    // The quarter hour of the change itself is on neither side.
    let change = moment.div_euclid(QUARTER);
    let mut sides = BTreeMap::<i64, [Amounts; 2]>::new();
    store.rollups(change - length, change + 1 + length, |row| {
        if row.trunk != 0 && row.quarter != change {
            let side = usize::from(row.quarter > change);
            sides.entry(row.trunk).or_default()[side].add(row.cell, &row.figures);
        }
    })?;
    let texts = store.texts()?;
    let compared = sides.iter().filter_map(|(id, [before, after])| {
        Some((texts.trunk(*id)?, Change::of(before.answer_bid_ratio(), after.answer_bid_ratio())?))
    });
    Ok(compared.collect())
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;
    use crate::{
        call::CallRules,
        figures::Share,
        pbx::{Disposition, Leg},
        settings::Pbx,
        state::StateDir,
    };

    const DAY: i64 = 86_400;
    const NOON: i64 = 20_000 * DAY + 12 * 3600;

    /// An outbound call that held its line for two minutes, one of them with a person.
    fn outbound(id: &str, start: i64, answered: bool) -> Leg<'_> {
        Leg {
            uniqueid: Some(id.as_bytes()),
            linkedid: Some(id.as_bytes()),
            sequence: Some(1),
            channel: Cow::Borrowed(b"PJSIP/1001-00000001"),
            dstchannel: Cow::Borrowed(b"PJSIP/provider1-00000002"),
            lastapp: Cow::Borrowed(b"Dial"),
            lastdata: Cow::Borrowed(b""),
            src: Cow::Borrowed(b"1001"),
            dst: Cow::Borrowed(b"0301234567"),
            start,
            answer: answered.then_some(start + 60),
            end: start + 120,
            disposition: if answered { Disposition::Answered } else { Disposition::NoAnswer },
        }
    }

    fn store_of(calls: &[(i64, bool)]) -> (tempfile::TempDir, Store) {
        let directory = tempfile::tempdir().unwrap();
        let mut store = Store::open(&StateDir::new(directory.path().join("state"))).unwrap();
        let rules = CallRules::new(&Pbx { trunks: vec!["provider1".into()], ..Pbx::default() });
        let ids: Vec<_> = (0..calls.len()).map(|place| format!("{place}.1")).collect();
        let mut batch = store.batch(&rules).unwrap();
        calls.iter().zip(&ids).for_each(|((start, answered), id)| batch.leg(&outbound(id, *start, *answered), 0));
        batch.commit(NOON as u64).unwrap();
        (directory, store)
    }

    #[test]
    fn lines_are_advised_from_the_busiest_hour_of_each_day() {
        // 75 calls of two minutes in an hour are 2.5 erlangs.
        let calls: Vec<_> =
            (0..20).flat_map(|day| (0..75).map(move |call| (NOON + day * DAY + call * 30, call % 2 == 0))).collect();
        let (_directory, store) = store_of(&calls);
        let days = |last: i64| {
            let day = |number: i64| Timestamp::from_second(number).unwrap().to_zoned(TimeZone::UTC).date();
            Period::new(day(NOON), day(NOON + last * DAY)).unwrap()
        };
        let trunks = trunk_figures(&store, days(19), &TimeZone::UTC).unwrap();
        let figures = &trunks[&Trunk::new("provider1")];
        assert_eq!(figures.calls.answer_bid_ratio(), Share { part: 20 * 38, n: 20 * 75 });
        let advice = figures.advice().unwrap();
        assert_eq!((advice.lines, advice.days, advice.mean), (7, 20, 2.5));
        let fewer = trunk_figures(&store, days(18), &TimeZone::UTC).unwrap();
        assert_eq!(fewer[&Trunk::new("provider1")].advice(), None);
    }

    #[test]
    fn a_reload_that_broke_a_trunk_shows() {
        let before = (0..100).map(|call| (NOON - DAY + call * 600, call % 10 != 0));
        let after = (0..100).map(|call| (NOON + 900 + call * 600, call % 2 != 0));
        let (_directory, store) = store_of(&before.chain(after).collect::<Vec<_>>());
        let changes = changes_at(&store, NOON, NOON + DAY).unwrap();
        let change = changes[&Trunk::new("provider1")];
        assert!(change.is_real() && change.before.value() > change.after.value(), "{change:?}");
        assert!(changes_at(&store, NOON, NOON + 3600).unwrap().is_empty(), "too few calls since");
    }
}
