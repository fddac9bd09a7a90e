//! The zone of a source: turns the PBX's wall times into UTC, in the hour that autumn repeats too.

use std::{fs, io, path::Path};

use jiff::{
    Timestamp,
    civil::DateTime,
    tz::{AmbiguousOffset, Offset, TimeZone, TimeZoneDatabase},
};

/// Where the machine's own zone lies. Asterisk goes by it too, and ignores `TZ`.
const LOCALTIME: &str = "/etc/localtime";

/// How far apart times may be that Asterisk took at the same moment: it rounds each of them by itself.
const SLACK: i64 = 2;

/// Rows are written as calls end, so that a row's end hardly ever lies before the end of the row before it.
const DISORDER: i64 = 60;

/// A time zone, loaded whole: nothing is opened later.
#[derive(Clone, Debug)]
pub struct Zone {
    rules: TimeZone,
    name: String,
    /// Wall times from here up to there have the offset below, and no other.
    from: i64,
    until: i64,
    offset: i64,
}

/// What a row says about its times.
#[derive(Clone, Copy, Debug)]
pub struct WallTimes {
    /// Start, in seconds since 1970 as if the wall clock ran on UTC; so are the other two.
    pub start: i64,
    /// Answer.
    pub answer: Option<i64>,
    /// End.
    pub end: i64,
    /// Seconds from start to end, which no zone can bend.
    pub duration: i64,
    /// Seconds from answer to end.
    pub billed: i64,
}

/// A row's times in UTC: start <= answer <= end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// Start, in seconds since 1970.
    pub start: i64,
    /// Answer.
    pub answer: Option<i64>,
    /// End.
    pub end: i64,
}

/// Why there is no zone.
#[derive(Debug, thiserror::Error)]
pub enum ZoneError {
    /// No such zone.
    #[error("timezone = \"{name}\" is no time zone; use a name such as \"Europe/Berlin\", or \"UTC\"")]
    Unknown {
        /// The name.
        name: String,
    },
    /// The machine's own zone cannot be read.
    #[error("the machine's time zone, {path}, cannot be read ({source}); set timezone = \"…\" for the source")]
    Local {
        /// The file.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// The machine's own zone is no zone.
    #[error("the machine's time zone, {path}, is no time zone file; set timezone = \"…\" for the source")]
    Damaged {
        /// The file.
        path: String,
    },
}

impl Zone {
    /// Loads a zone by its name, out of the program itself; or the machine's own zone, where there is no name.
    /// The latter opens a file: call it before confinement.
    pub fn load(name: Option<&str>) -> Result<Self, ZoneError> {
        match name {
            Some(name) => {
                let rules = TimeZoneDatabase::bundled()
                    .get(name)
                    .map_err(|_| ZoneError::Unknown { name: name.chars().take(64).collect() })?;
                Ok(Self::new(rules, name.to_owned()))
            }
            None => Self::local(Path::new(LOCALTIME)),
        }
    }

    /// UTC.
    pub fn utc() -> Self {
        Self::new(TimeZone::UTC, "UTC".to_owned())
    }

    /// The name that the zone was asked for by.
    pub fn name(&self) -> &str {
        &self.name
    }

    fn local(path: &Path) -> Result<Self, ZoneError> {
        let shown = path.display().to_string();
        let rules = match fs::read(path) {
            Ok(bytes) => TimeZone::tzif("local", &bytes).map_err(|_| ZoneError::Damaged { path: shown })?,
            // The C library and Asterisk both take UTC then.
            Err(error) if error.kind() == io::ErrorKind::NotFound => TimeZone::UTC,
            Err(source) => return Err(ZoneError::Local { path: shown, source }),
        };
        Ok(Self::new(rules, "the machine's own".to_owned()))
    }

    fn new(rules: TimeZone, name: String) -> Self {
        Self { rules, name, from: 0, until: 0, offset: 0 }
    }

    /// Turns a row's times into UTC, where all of them lie in the stretch of one offset that was looked up last, and in order.
    #[inline(always)]
    pub fn resolve_plain(&self, start: i64, answer: Option<i64>, end: i64) -> Option<Times> {
        let between = answer.unwrap_or(end);
        let plain = self.from <= start && start <= between && between <= end && end < self.until;
        let at = |time: i64| time - self.offset;
        plain.then(|| Times { start: at(start), answer: answer.map(at), end: at(end) })
    }

    /// Turns a row's times into UTC.
    ///
    /// In the hour that autumn repeats a wall time stands for two moments. The second at which the channel was made,
    /// which `created` tells, decides; then `duration`; then `last_end`, the end of the row before.
    pub fn resolve(
        &mut self,
        wall: WallTimes,
        created: impl FnOnce() -> Option<i64>,
        last_end: impl FnOnce() -> Option<i64>,
    ) -> Times {
        let plain = |zone: &Self, time: i64| (zone.from..zone.until).contains(&time);
        if !(plain(self, wall.start) && plain(self, wall.end)) {
            self.settle_at(wall.start);
        }
        let (start, end) = if plain(self, wall.start) && plain(self, wall.end) {
            (wall.start - self.offset, wall.end - self.offset)
        } else {
            self.choose(wall, created(), last_end())
        };
        // A clock that was set back in the middle of a call.
        let end = if end < start { start + wall.duration.max(0) } else { end };
        let answer = wall.answer.map(|answer| {
            if plain(self, answer) && plain(self, wall.start) {
                return (answer - self.offset).clamp(start, end);
            }
            let doubts = |&moment: &i64| ((end - moment - wall.billed).abs() > SLACK, (moment - start).abs());
            self.moments(answer).into_iter().min_by_key(doubts).unwrap_or(start).clamp(start, end)
        });
        Times { start, answer, end }
    }

    /// The zone's offset from UTC at a moment, in seconds.
    pub fn offset_at(&self, moment: i64) -> i64 {
        Timestamp::from_second(moment).map_or(0, |moment| i64::from(self.rules.to_offset(moment).seconds()))
    }

    fn choose(&self, wall: WallTimes, created: Option<i64>, last_end: Option<i64>) -> (i64, i64) {
        let mut best: Option<(_, (i64, i64))> = None;
        for start in self.moments(wall.start) {
            for end in self.moments(wall.end) {
                let since_created = created.map(|created| start - created);
                let since_last = last_end.map(|last| end - last);
                let doubts = (
                    (end - start - wall.duration).abs() > SLACK,
                    since_created.is_some_and(|since| since.abs() > SLACK),
                    since_created.is_some_and(|since| since < -SLACK),
                    since_last.is_some_and(|since| since < -DISORDER),
                    since_created.or(since_last).map_or(0, i64::abs),
                    start,
                );
                if best.as_ref().is_none_or(|(least, _)| doubts < *least) {
                    best = Some((doubts, (start, end)));
                }
            }
        }
        best.map_or((wall.start, wall.end), |(_, times)| times)
    }

    /// The moments at which the wall clock shows that time: two in the hour that autumn repeats. A time that spring
    /// skips is taken as if the clock had not been put forward yet.
    fn moments(&self, wall: i64) -> Vec<i64> {
        let at = |offset: Offset| wall - i64::from(offset.seconds());
        match self.rules.to_ambiguous_timestamp(civil(wall)).offset() {
            AmbiguousOffset::Unambiguous { offset } => vec![at(offset)],
            AmbiguousOffset::Gap { before, .. } => vec![at(before)],
            AmbiguousOffset::Fold { before, after } => vec![at(before), at(after)],
        }
    }

    /// Finds the stretch of wall times around this one that have one offset only.
    fn settle_at(&mut self, wall: i64) {
        let moment = wall - self.offset_at(wall);
        let offset = self.offset_at(moment);
        let Ok(timestamp) = Timestamp::from_second(moment) else { return };
        let after = Timestamp::from_second(moment + 1).unwrap_or(timestamp);
        self.offset = offset;
        self.from = self.rules.preceding(after).next().map_or(i64::MIN, |change| {
            let second = change.timestamp().as_second();
            second + offset.max(self.offset_at(second - 1))
        });
        self.until = self.rules.following(timestamp).next().map_or(i64::MAX, |change| {
            change.timestamp().as_second() + offset.min(i64::from(change.offset().seconds()))
        });
    }
}

fn civil(wall: i64) -> DateTime {
    Timestamp::from_second(wall).map_or(DateTime::MAX, |time| Offset::UTC.to_datetime(time))
}

#[cfg(test)]
mod tests;
