//! How many agents each queue needs in its busiest hour.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{Timestamp, civil::Date, tz::TimeZone};

use super::{Demand, Period};
use crate::{
    call::QUARTER,
    private::Queue,
    store::{QueueFigures, QueueShare, Store, StoreError},
};

/// The share of callers that should be answered in time.
pub const LEVEL: f64 = 0.8;
/// Fewer days with callers, or talks, are no ground for advice.
const LEAST_DAYS: usize = 5;
const LEAST_TALKS: i64 = 30;

/// What a queue's busiest hour of the day asks for.
#[derive(Clone, Debug, PartialEq)]
pub struct AgentAdvice {
    /// From 0 to 23, by the wall clock.
    pub hour: i8,
    /// Callers in that hour, on average over the days with callers.
    pub callers: f64,
    /// The days.
    pub days: usize,
    /// What it comes to.
    pub demand: Demand,
    /// The fewest agents that answer [`LEVEL`] of the callers in time.
    pub agents: u32,
}

/// Callers of a queue.
#[derive(Default)]
struct Callers {
    total: QueueFigures,
    days: BTreeSet<Date>,
    hours: [i64; 24],
    target: i64,
}

impl Callers {
    fn add(&mut self, share: &QueueShare, zone: &TimeZone) {
        let wall = zone.to_datetime(Timestamp::from_second(share.quarter.saturating_mul(QUARTER)).unwrap_or_default());
        self.total.add(&share.figures);
        self.target = self.target.max(share.target);
        if share.figures.offered > 0 {
            self.days.insert(wall.date());
            self.hours[usize::from(wall.hour().unsigned_abs()) % 24] += share.figures.offered;
        }
    }

    fn advice(&self) -> Option<AgentAdvice> {
        let days = self.days.len();
        let handling = self.total.handle_seconds().value()?;
        if days < LEAST_DAYS || self.total.handled < LEAST_TALKS {
            return None;
        }
        let hour = (0..24).max_by_key(|hour| (self.hours[*hour], 24 - hour))?;
        let callers = self.hours[hour] as f64 / days as f64;
        let demand = Demand { load: callers * handling / 3600.0, handling, target: self.target as f64, level: LEVEL };
        Some(AgentAdvice { hour: hour as i8, callers, days, demand, agents: demand.agents_needed()? })
    }
}

/// How many agents each queue needs in its busiest hour, by the callers of a period; queues of too few callers are left out.
///
/// # Errors
/// When the store cannot be read.
pub fn agents_needed(
    store: &Store,
    period: Period,
    zone: &TimeZone,
) -> Result<BTreeMap<Queue, AgentAdvice>, StoreError> {
    let (from, to) = period.quarters(zone);
    let mut queues = BTreeMap::<i64, Callers>::new();
    for share in store.queues(from, to)? {
        queues.entry(share.queue).or_default().add(&share, zone);
    }
    let texts = store.texts()?;
    Ok(queues.iter().filter_map(|(queue, callers)| Some((texts.queue(*queue)?, callers.advice()?))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share(day: i64, hour: i64, offered: i64) -> QueueShare {
        let figures =
            QueueFigures { offered, handled: offered, talk_seconds: 180 * offered, ..QueueFigures::default() };
        QueueShare { quarter: day * 96 + hour * 4, queue: 1, target: 20, figures }
    }

    #[test]
    fn the_busiest_hour_tells() {
        let mut callers = Callers::default();
        for day in 0..5 {
            callers.add(&share(20_000 + day, 9, 150), &TimeZone::UTC);
            callers.add(&share(20_000 + day, 10, 200), &TimeZone::UTC);
            if day < 4 {
                assert_eq!(callers.advice(), None);
            }
        }
        // 200 callers an hour × 180 s are 10 erlangs.
        let advice = callers.advice().unwrap();
        assert_eq!((advice.hour, advice.days, advice.agents), (10, 5, 14));
        assert!((advice.demand.load - 10.0).abs() < 1e-9);
    }
}
