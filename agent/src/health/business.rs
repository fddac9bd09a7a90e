//! When there always are calls: as the owner says it, or as the last four weeks show it.

use jiff::{Timestamp, tz::TimeZone};
use serde::{Deserialize, Serialize};

/// Hours in a week.
pub const WEEK_HOURS: usize = 168;
const QUARTER: u64 = 900;
const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
/// Longer silences are not measured.
const LONGEST: u64 = 14 * 86_400;

/// Hours of some days of the week in the machine's own zone, such as `mon-fri 08:00-18:00`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Hours {
    text: String,
    first_day: usize,
    last_day: usize,
    from_minute: u32,
    to_minute: u32,
}

/// A text does not say hours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("business hours are days and hours, such as \"mon-fri 08:00-18:00\"")]
pub struct NotHours;

impl TryFrom<String> for Hours {
    type Error = NotHours;

    fn try_from(text: String) -> Result<Self, NotHours> {
        let day = |name: &str| DAYS.iter().position(|day| *day == name).ok_or(NotHours);
        let (days, hours) = text.split_once(' ').ok_or(NotHours)?;
        let (first, last) = days.split_once('-').unwrap_or((days, days));
        let (from, to) = hours.trim().split_once('-').ok_or(NotHours)?;
        let (first_day, last_day, from_minute, to_minute) = (day(first)?, day(last)?, minute(from)?, minute(to)?);
        if first_day > last_day || from_minute >= to_minute {
            return Err(NotHours);
        }
        Ok(Self { first_day, last_day, from_minute, to_minute, text })
    }
}

impl From<Hours> for String {
    fn from(hours: Hours) -> Self {
        hours.text
    }
}

fn minute(text: &str) -> Result<u32, NotHours> {
    let (hour, minute) = text.split_once(':').ok_or(NotHours)?;
    let (hour, minute): (u8, u8) = (hour.parse().map_err(|_| NotHours)?, minute.parse().map_err(|_| NotHours)?);
    let minutes = u32::from(hour) * 60 + u32::from(minute);
    if minute < 60 && minutes <= 24 * 60 { Ok(minutes) } else { Err(NotHours) }
}

/// When there always are calls.
#[derive(Clone, Debug)]
pub enum Business {
    /// As the owner says it.
    Said(Vec<Hours>, TimeZone),
    /// The hours of the week in UTC, from Thursday (when 1970 began), that had calls in each of the last weeks.
    Learned([bool; WEEK_HOURS]),
}

impl Business {
    /// What was learned of weeks: the hours that had calls in each of them.
    pub fn learned(weeks: &[[bool; WEEK_HOURS]]) -> Self {
        let mut always = [!weeks.is_empty(); WEEK_HOURS];
        for week in weeks {
            always.iter_mut().zip(week).for_each(|(always, had)| *always &= had);
        }
        Self::Learned(always)
    }

    /// Whether there always are calls at that moment.
    fn is_on(&self, moment: u64) -> bool {
        match self {
            Self::Learned(hours) => hours[hour_of_week(moment)],
            Self::Said(said, zone) => {
                let seconds = i64::try_from(moment).unwrap_or(i64::MAX);
                let Ok(moment) = Timestamp::from_second(seconds) else { return false };
                let local = moment.to_zoned(zone.clone());
                let day = usize::try_from(local.weekday().to_monday_zero_offset()).unwrap_or(0);
                let minute = u32::try_from(i32::from(local.hour()) * 60 + i32::from(local.minute())).unwrap_or(0);
                said.iter().any(|hours| {
                    (hours.first_day..=hours.last_day).contains(&day)
                        && (hours.from_minute..hours.to_minute).contains(&minute)
                })
            }
        }
    }

    /// How much business time lies between two moments, in seconds, to the quarter of an hour.
    pub fn between(&self, from: u64, to: u64) -> u64 {
        let from = from.max(to.saturating_sub(LONGEST));
        let quarters = (from.div_ceil(QUARTER)..to / QUARTER).filter(|quarter| self.is_on(quarter * QUARTER));
        quarters.count() as u64 * QUARTER
    }
}

/// The hour of the week, counted from Thursday in UTC.
pub fn hour_of_week(moment: u64) -> usize {
    usize::try_from(moment / 3600 % WEEK_HOURS as u64).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_owners_hours_count() {
        for bad in ["", "mon", "mon 8-18", "fri-mon 08:00-18:00", "mon 18:00-08:00", "mon 08:00-24:01", "x 08:00-09:00"]
        {
            assert_eq!(Hours::try_from(bad.to_owned()), Err(NotHours), "{bad}");
        }
        let hours = Hours::try_from("mon-fri 08:00-18:00".to_owned()).unwrap();
        let business = Business::Said(vec![hours], TimeZone::UTC);
        // 2026-11-26 is a Thursday.
        let thursday = 1_795_651_200;
        assert_eq!(business.between(thursday, thursday + 86_400), 10 * 3600);
        assert_eq!(business.between(thursday + 17 * 3600, thursday + 86_400), 3600);
        // Friday evening to Monday morning.
        assert_eq!(business.between(thursday + 86_400 + 18 * 3600, thursday + 4 * 86_400 + 9 * 3600), 3600);
    }

    #[test]
    fn learned_are_the_hours_that_had_calls_in_each_week() {
        let mut weeks = [[false; WEEK_HOURS]; 4];
        weeks.iter_mut().for_each(|week| (week[9], week[10]) = (true, true));
        weeks[2][10] = false;
        let business = Business::learned(&weeks);
        let start = WEEK_HOURS as u64 * 3600 * 100;
        assert_eq!(business.between(start, start + 86_400), 3600);
        assert_eq!(business.between(start + 9 * 3600 + 1800, start + 86_400), 1800);
        assert_eq!(Business::learned(&[]).between(start, start + 86_400), 0, "nothing is known, nothing is missed");
    }
}
