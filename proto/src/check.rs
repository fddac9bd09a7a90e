//! Whether a report keeps the rules of schema 1 and its own floor: asked by the gate before, by the hub after.

use std::collections::BTreeSet;

use crate::{
    Cell, Report, SCHEMA,
    report::{Destination, Quality, SecondsGroup, TALK_BOUNDS, WAIT_BOUNDS},
};

/// Why a report is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReportFault {
    /// Longer than any report can be.
    #[error("the report is too long")]
    TooLong,
    /// Not JSON, or with keys or words that no report has.
    #[error("not a report of schema 1 (column {column})")]
    NotAReport {
        /// Where reading stopped, counted in bytes from 1.
        column: usize,
    },
    /// Written in another way than the one that is allowed.
    #[error("the report is not written in canonical form")]
    NotCanonical,
    /// A schema that this side does not know.
    #[error("schema {0} is not known here")]
    Schema(u32),
    /// The window is not one of the fixed periods.
    #[error("the window does not lie on the grid of its length")]
    Window,
    /// The floor itself is too low.
    #[error("the floor {floor} is below the least one accepted, {least}")]
    FloorTooLow {
        /// The report's floor.
        floor: u32,
        /// The least one accepted.
        least: u32,
    },
    /// A group counts fewer calls than the floor.
    #[error("a group in {table} counts fewer calls than the floor")]
    BelowFloor {
        /// The table's name.
        table: &'static str,
    },
    /// Groups overlap, leave a gap, or are out of order.
    #[error("the groups of {table} do not split the window's calls")]
    NotASplit {
        /// The table's name.
        table: &'static str,
    },
    /// Two tables count different numbers of calls, so that their difference would tell of a few.
    #[error("{table} counts other calls than the first table")]
    Totals {
        /// The table's name.
        table: &'static str,
    },
}

impl Report {
    /// Checks every rule that a report can be held to on its own. `least_floor` is the least k accepted.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn check(&self, least_floor: u32) -> Result<(), ReportFault> {
        if self.schema != SCHEMA {
            return Err(ReportFault::Schema(self.schema));
        }
        if !self.window.is_aligned() {
            return Err(ReportFault::Window);
        }
        if self.floor < least_floor.max(1) {
            return Err(ReportFault::FloorTooLow { floor: self.floor, least: least_floor.max(1) });
        }
        let volume = self.check_volume()?;
        let sums = [
            ("talk", self.check_seconds("talk", &self.talk, &TALK_BOUNDS)?),
            ("wait", self.check_seconds("wait", &self.wait, &WAIT_BOUNDS)?),
            ("destination", {
                let groups = self.destination.iter().map(|group| (group.classes.as_slice(), group.calls));
                self.check_words("destination", groups, &Destination::ALL)?
            }),
        ];
        let quality = self.quality.iter().map(|group| (group.bands.as_slice(), group.calls));
        let quality = match self.quality.is_empty() {
            true => volume,
            false => self.check_words("quality", quality, &Quality::ALL)?,
        };
        for (table, calls) in sums.into_iter().chain([("quality", quality)]) {
            if calls != volume {
                return Err(ReportFault::Totals { table });
            }
        }
        Ok(())
    }

    fn at_floor(&self, table: &'static str, calls: u32) -> Result<u64, ReportFault> {
        if calls < self.floor { Err(ReportFault::BelowFloor { table }) } else { Ok(u64::from(calls)) }
    }

    /// Bands stand in order and leave no gap; inside each, every cell belongs to exactly one group.
    fn check_volume(&self) -> Result<u64, ReportFault> {
        let split = ReportFault::NotASplit { table: "volume" };
        let (mut next_hour, mut sum) = (0u16, 0);
        let mut groups = self.volume.iter().peekable();
        while let Some(first) = groups.peek() {
            let (from_hour, hours) = (first.from_hour, first.hours);
            if from_hour != next_hour || hours == 0 {
                return Err(split);
            }
            let mut seen = BTreeSet::new();
            while let Some(group) = groups.next_if(|group| group.from_hour == from_hour) {
                if group.hours != hours || group.cells.is_empty() || !group.cells.iter().all(|cell| seen.insert(*cell))
                {
                    return Err(split);
                }
                sum += self.at_floor("volume", group.calls)?;
            }
            if seen.len() != Cell::COUNT {
                return Err(split);
            }
            next_hour = from_hour.checked_add(hours).ok_or(split.clone())?;
        }
        if next_hour == self.window.hours() { Ok(sum) } else { Err(split) }
    }

    /// Groups stand on the given bounds, in order, from the first to the open end.
    fn check_seconds(&self, table: &'static str, groups: &[SecondsGroup], bounds: &[u32]) -> Result<u64, ReportFault> {
        let mut next = Some(bounds[0]);
        let mut sum = 0;
        for group in groups {
            let upper_fits = group.to_seconds.is_none_or(|to| to > group.from_seconds && bounds.contains(&to));
            if next != Some(group.from_seconds) || !upper_fits {
                return Err(ReportFault::NotASplit { table });
            }
            sum += self.at_floor(table, group.calls)?;
            next = group.to_seconds;
        }
        if next.is_none() { Ok(sum) } else { Err(ReportFault::NotASplit { table }) }
    }

    /// Every word belongs to exactly one group.
    fn check_words<'a, W: Ord + Copy + 'a>(
        &self,
        table: &'static str,
        groups: impl Iterator<Item = (&'a [W], u32)>,
        all: &[W],
    ) -> Result<u64, ReportFault> {
        let mut seen = BTreeSet::new();
        let mut sum = 0;
        for (words, calls) in groups {
            if words.is_empty() || !words.iter().all(|word| seen.insert(*word)) {
                return Err(ReportFault::NotASplit { table });
            }
            sum += self.at_floor(table, calls)?;
        }
        if seen.len() == all.len() { Ok(sum) } else { Err(ReportFault::NotASplit { table }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Window,
        report::{DestinationGroup, Mechanism, VolumeGroup},
    };

    fn small() -> Report {
        Report {
            schema: SCHEMA,
            id: "00112233445566778899aabbccddeeff".parse().unwrap(),
            window: Window { start: 1_795_309_260, seconds: 60 },
            mechanism: Mechanism::KAnonymous,
            floor: 10,
            volume: vec![VolumeGroup { from_hour: 0, hours: 1, cells: Cell::all().collect(), calls: 12 }],
            talk: vec![SecondsGroup { from_seconds: 0, to_seconds: None, calls: 12 }],
            wait: vec![SecondsGroup { from_seconds: 0, to_seconds: None, calls: 12 }],
            destination: vec![DestinationGroup { classes: Destination::ALL.to_vec(), calls: 12 }],
            quality: vec![],
            peak_concurrency: 2,
        }
    }

    #[test]
    fn a_small_report_passes_and_goes_both_ways() {
        let report = small();
        assert_eq!(report.check(10), Ok(()));
        let body = report.to_body();
        assert_eq!(body.len(), 4096);
        assert_eq!(Report::from_body(&body).unwrap(), report);
    }

    #[test]
    fn every_rule_is_enforced() {
        let broken = |edit: fn(&mut Report)| {
            let mut report = small();
            edit(&mut report);
            report.check(10).unwrap_err()
        };
        assert_eq!(broken(|r| r.schema = 2), ReportFault::Schema(2));
        assert_eq!(broken(|r| r.window.start += 1), ReportFault::Window);
        assert_eq!(broken(|r| r.floor = 9), ReportFault::FloorTooLow { floor: 9, least: 10 });
        assert_eq!(broken(|r| r.volume[0].calls = 9), ReportFault::BelowFloor { table: "volume" });
        assert_eq!(broken(|r| r.talk[0].calls = 13), ReportFault::Totals { table: "talk" });
        assert_eq!(broken(|r| r.talk[0].from_seconds = 1), ReportFault::NotASplit { table: "talk" });
        assert_eq!(broken(|r| r.talk[0].to_seconds = Some(7)), ReportFault::NotASplit { table: "talk" });
        assert_eq!(broken(|r| r.wait.clear()), ReportFault::NotASplit { table: "wait" });
        assert_eq!(
            broken(|r| {
                r.volume[0].cells.pop();
            }),
            ReportFault::NotASplit { table: "volume" }
        );
        assert_eq!(broken(|r| r.volume[0].hours = 2), ReportFault::NotASplit { table: "volume" });
        assert_eq!(broken(|r| r.volume.push(r.volume[0].clone())), ReportFault::NotASplit { table: "volume" });
        assert_eq!(
            broken(|r| {
                r.destination[0].classes.pop();
            }),
            ReportFault::NotASplit { table: "destination" }
        );
    }

    #[test]
    fn nothing_rides_along_in_the_form() {
        let body = small().to_body();
        for smuggled in [
            body.replacen(" ", "\t", 1),
            body.replacen("\"floor\":10", "\"floor\": 10", 1),
            body.replacen("\"floor\":10", "\"floor\":10,\"floor\":10", 1),
            body.replacen("\"floor\":10", "\"floor\":10,\"note\":5551234", 1),
            body.trim_end().to_owned(),
            format!("{body}{}", " ".repeat(4096)),
        ] {
            assert!(Report::from_body(&smuggled).is_err(), "{}", smuggled.trim_end());
        }
    }
}
