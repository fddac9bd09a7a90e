//! A period of whole days of the wall clock.

use jiff::{Span, Timestamp, ToSpan, civil::Date, tz::TimeZone};

use crate::call::QUARTER;

/// The longest period, in days.
const LONGEST: i32 = 3 * 366;

/// Whole days of the wall clock, from the first to the one after the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period {
    from: Date,
    to: Date,
}

/// A period was not understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PeriodError {
    /// No date.
    #[error("a day is written like 2026-11-22")]
    Form,
    /// The end does not come after the beginning.
    #[error("the last day lies before the first")]
    Order,
    /// Too many days.
    #[error("a period has three years at most")]
    Long,
}

impl Period {
    /// The days from the first to the last, both included.
    ///
    /// # Errors
    /// When they are none, or too many.
    pub fn new(first: Date, last: Date) -> Result<Self, PeriodError> {
        let to = last.checked_add(1.day()).map_err(|_| PeriodError::Form)?;
        let period = Self { from: first, to };
        match period.days() {
            i32::MIN..=0 => Err(PeriodError::Order),
            1..=LONGEST => Ok(period),
            _ => Err(PeriodError::Long),
        }
    }

    /// The days from the first to the last, as people write them.
    ///
    /// # Errors
    /// When one is no day, or they are none or too many.
    pub fn parse(first: &str, last: &str) -> Result<Self, PeriodError> {
        let day = |text: &str| text.parse::<Date>().map_err(|_| PeriodError::Form);
        Self::new(day(first)?, day(last)?)
    }

    /// That many days, of which this is the last.
    pub fn until(last: Date, days: i32) -> Self {
        let first = last.saturating_sub((days.max(1) - 1).days());
        Self { from: first, to: last.saturating_add(1.day()) }
    }

    /// The last week that is over, from Monday to Sunday.
    pub fn last_week(today: Date) -> Self {
        let monday = today.saturating_sub(i64::from(today.weekday().to_monday_zero_offset()).days());
        Self::until(monday.saturating_sub(1.day()), 7)
    }

    /// The first day.
    pub fn first(self) -> Date {
        self.from
    }

    /// The last day.
    pub fn last(self) -> Date {
        self.to.saturating_sub(1.day())
    }

    /// How many days there are.
    pub fn days(self) -> i32 {
        self.from.until(self.to).map_or(0, |span: Span| span.get_days())
    }

    /// The period of the same length before this one.
    pub fn before(self) -> Self {
        Self { from: self.from.saturating_sub(self.days().days()), to: self.from }
    }

    /// The period of the same length after this one.
    pub fn after(self) -> Self {
        Self { from: self.to, to: self.to.saturating_add(self.days().days()) }
    }

    /// Its days in order.
    pub fn each_day(self) -> impl Iterator<Item = Date> {
        self.from.series(1.day()).take_while(move |day| *day < self.to)
    }

    /// The quarter hours of UTC in it, counted from 1970: first, and first after. Every zone of today begins its days with one.
    pub fn quarters(self, zone: &TimeZone) -> (i64, i64) {
        let first_quarter = |day: Date| {
            let start = zone.to_ambiguous_timestamp(day.to_datetime(jiff::civil::Time::midnight())).compatible();
            start.map_or(0, Timestamp::as_second).div_euclid(QUARTER)
        };
        (first_quarter(self.from), first_quarter(self.to))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_those_of_the_wall_clock() {
        let period = Period::parse("2026-10-25", "2026-10-25").unwrap();
        let berlin = TimeZone::get("Europe/Berlin").unwrap();
        let (from, to) = period.quarters(&berlin);
        assert_eq!(to - from, 100, "the hour that autumn repeats belongs to it twice");
        assert_eq!(from * QUARTER, 1_792_879_200);
        let week = Period::parse("2026-11-16", "2026-11-22").unwrap();
        assert_eq!(
            (week.days(), week.before().first().to_string(), week.before().last().to_string()),
            (7, "2026-11-09".to_owned(), "2026-11-15".to_owned())
        );
        assert_eq!(week.before().after(), week);
        assert_eq!(week.each_day().count(), 7);
        assert_eq!(Period::until(week.last(), 7), week);
    }

    #[test]
    fn the_last_week_is_one_that_is_over() {
        for (today, first) in [("2026-11-26", "2026-11-16"), ("2026-11-23", "2026-11-16"), ("2026-11-22", "2026-11-09")]
        {
            let week = Period::last_week(today.parse().unwrap());
            assert_eq!((week.first().to_string().as_str(), week.days()), (first, 7), "{today}");
        }
    }

    #[test]
    fn nonsense_is_no_period() {
        assert_eq!(Period::parse("2026-11-22", "2026-11-21"), Err(PeriodError::Order));
        assert_eq!(Period::parse("2026-02-30", "2026-03-01"), Err(PeriodError::Form));
        assert_eq!(Period::parse("today", "2026-03-01"), Err(PeriodError::Form));
        assert_eq!(Period::parse("1999-01-01", "2026-03-01"), Err(PeriodError::Long));
        assert_eq!(Period::parse("9999-12-31", "9999-12-31"), Err(PeriodError::Form));
    }
}
