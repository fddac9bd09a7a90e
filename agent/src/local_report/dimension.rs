//! What a report can tell apart, and the values that this takes.

use clap::ValueEnum;
use demarc_proto::{Cell, Direction, Outcome};
use jiff::{
    Timestamp,
    civil::{Date, Weekday},
    tz::TimeZone,
};

use crate::{
    call::QUARTER,
    private::{Extension, Queue, Trunk},
    store::{RollupRow, Texts},
};

/// What a report can tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Dimension {
    /// The hour in which calls ended.
    Hour,
    /// The day on which calls ended.
    Day,
    /// The day of the week on which calls ended.
    Weekday,
    /// Inbound, outbound or internal.
    Direction,
    /// How calls ended.
    Outcome,
    /// The trunk that calls came in or went out over.
    Trunk,
    /// The queue that calls went through.
    Queue,
    /// The telephone that answered, or else rang first; of outbound and internal calls the one that called.
    Extension,
}

/// A value of a dimension. Values of one dimension are in their natural order, and what has none comes first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Value {
    /// First second of the hour.
    Hour(i64),
    /// The day.
    Day(Date),
    /// Days since Monday.
    Weekday(i8),
    /// The direction.
    Direction(Direction),
    /// The outcome.
    Outcome(Outcome),
    /// The trunk, if there is one.
    Trunk(Option<Trunk>),
    /// The queue, if there is one.
    Queue(Option<Queue>),
    /// The extension, if there is one.
    Extension(Option<Extension>),
}

/// The hours and days of a zone. Rollups come in the order of time, so that most questions repeat the last one.
pub(super) struct Calendar {
    rules: TimeZone,
    last: Option<Place>,
}

#[derive(Clone, Copy)]
struct Place {
    quarter: i64,
    /// First second of the hour.
    hour: i64,
    /// Days since 1970, by the wall clock.
    day: i64,
    weekday: i64,
}

impl Dimension {
    /// The word for it, in the query and in all output.
    pub fn word(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Weekday => "weekday",
            Self::Direction => "direction",
            Self::Outcome => "outcome",
            Self::Trunk => "trunk",
            Self::Queue => "queue",
            Self::Extension => "extension",
        }
    }

    /// The value in a cell of the rollups, as a number.
    pub(super) fn code(self, row: &RollupRow, calendar: &mut Calendar) -> i64 {
        match self {
            Self::Hour => calendar.at(row.quarter).hour,
            Self::Day => calendar.at(row.quarter).day,
            Self::Weekday => calendar.at(row.quarter).weekday,
            Self::Direction => row.cell.index() as i64 / Outcome::ALL.len() as i64,
            Self::Outcome => row.cell.index() as i64 % Outcome::ALL.len() as i64,
            Self::Trunk => row.trunk,
            Self::Queue => row.queue,
            Self::Extension => row.extension,
        }
    }

    /// The value behind such a number.
    pub(super) fn value(self, code: i64, texts: &Texts) -> Value {
        match self {
            Self::Hour => Value::Hour(code),
            Self::Day => Value::Day(date(code)),
            Self::Weekday => Value::Weekday(code as i8),
            Self::Direction => {
                let cell = Cell::from_index(code as usize * Outcome::ALL.len());
                Value::Direction(cell.map_or(Direction::Internal, |cell| cell.direction))
            }
            Self::Outcome => {
                Value::Outcome(Cell::from_index(code as usize).map_or(Outcome::Failed, |cell| cell.outcome))
            }
            Self::Trunk => Value::Trunk(texts.trunk(code)),
            Self::Queue => Value::Queue(texts.queue(code)),
            Self::Extension => Value::Extension(texts.extension(code)),
        }
    }
}

impl Value {
    /// The day's name, in lower case.
    pub(super) fn weekday(since_monday: i8) -> &'static str {
        match Weekday::from_monday_zero_offset(since_monday) {
            Ok(Weekday::Monday) => "monday",
            Ok(Weekday::Tuesday) => "tuesday",
            Ok(Weekday::Wednesday) => "wednesday",
            Ok(Weekday::Thursday) => "thursday",
            Ok(Weekday::Friday) => "friday",
            Ok(Weekday::Saturday) => "saturday",
            _ => "sunday",
        }
    }

    /// The value as scripts see it; none where there is none.
    pub(super) fn text(&self, zone: &super::ReportZone) -> Option<String> {
        match self {
            Self::Hour(second) => Some(zone.timestamp(*second)),
            Self::Day(date) => Some(date.to_string()),
            Self::Weekday(since_monday) => Some(Self::weekday(*since_monday).to_owned()),
            Self::Direction(direction) => Some(direction.as_str().to_owned()),
            Self::Outcome(outcome) => Some(outcome.as_str().to_owned()),
            Self::Trunk(name) => name.as_ref().map(|name| name.expose().to_owned()),
            Self::Queue(name) => name.as_ref().map(|name| name.expose().to_owned()),
            Self::Extension(name) => name.as_ref().map(|name| name.expose().to_owned()),
        }
    }
}

impl Calendar {
    pub(super) fn new(rules: TimeZone) -> Self {
        Self { rules, last: None }
    }

    fn at(&mut self, quarter: i64) -> Place {
        if let Some(place) = self.last.filter(|place| place.quarter == quarter) {
            return place;
        }
        let second = quarter.saturating_mul(QUARTER);
        let offset =
            Timestamp::from_second(second).map_or(0, |moment| i64::from(self.rules.to_offset(moment).seconds()));
        let wall = second.saturating_add(offset);
        // Offsets are whole quarter hours in every zone since 1972, so that a quarter lies in one hour.
        let hour = second - wall.rem_euclid(3600);
        let day = wall.div_euclid(86_400);
        // 1970 began on a Thursday.
        let place = Place { quarter, hour, day, weekday: (day + 3).rem_euclid(7) };
        self.last = Some(place);
        place
    }
}

fn date(days: i64) -> Date {
    // A row can claim any year; those that the calendar lacks are shown as its first day.
    Timestamp::from_second(days.saturating_mul(86_400))
        .map_or(Date::MIN, |moment| moment.to_zoned(TimeZone::UTC).date())
}
