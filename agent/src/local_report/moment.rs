//! Moments as the owner writes them, and as reports print them.

use jiff::{Timestamp, civil::DateTime, tz::AmbiguousOffset};

use super::ReportZone;
use crate::call::QUARTER;

/// A moment or a zone was not understood.
#[derive(Debug, thiserror::Error)]
pub enum MomentError {
    /// No moment.
    #[error("{option} {text:?} is no moment: write 2026-11-22, 2026-11-22T09:00 or 2026-11-22T09:00:00Z")]
    Form {
        /// The option.
        option: &'static str,
        /// Its value.
        text: String,
    },
    /// Inside a quarter hour.
    #[error(
        "{option} {text:?} lies inside a quarter hour: calls are kept by quarter hours of UTC, so give one that begins there"
    )]
    Inside {
        /// The option.
        option: &'static str,
        /// Its value.
        text: String,
    },
    /// No zone.
    #[error("{name:?} is no time zone: use a name such as Europe/Berlin, or UTC")]
    Zone {
        /// The name.
        name: String,
    },
}

impl ReportZone {
    /// The quarter hour that a moment begins, which the owner gave with that option.
    ///
    /// # Errors
    /// When it is no moment, or lies inside a quarter hour.
    pub fn quarter(&self, option: &'static str, text: &str) -> Result<i64, MomentError> {
        let second = self.second(text).ok_or_else(|| MomentError::Form { option, text: text.to_owned() })?;
        if second.rem_euclid(QUARTER) != 0 {
            return Err(MomentError::Inside { option, text: text.to_owned() });
        }
        Ok(second.div_euclid(QUARTER))
    }

    fn second(&self, text: &str) -> Option<i64> {
        let moment = match text.parse::<Timestamp>() {
            Ok(moment) => moment,
            // Without an offset it is the wall clock's time in the report's zone.
            Err(_) => {
                let wall: DateTime = text.parse().ok()?;
                self.rules.to_ambiguous_timestamp(wall).compatible().ok()?
            }
        };
        (moment.subsec_nanosecond() == 0).then(|| moment.as_second())
    }

    /// A moment as scripts read it.
    pub(crate) fn timestamp(&self, second: i64) -> String {
        let Ok(moment) = Timestamp::from_second(second) else { return second.to_string() };
        if self.asked_for {
            moment.to_zoned(self.rules.clone()).strftime("%Y-%m-%dT%H:%M:%S%:z").to_string()
        } else {
            moment.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
        }
    }

    /// A moment as people read it. In the hour that autumn repeats it names the offset.
    pub(crate) fn wall_clock(&self, second: i64) -> String {
        let Ok(moment) = Timestamp::from_second(second) else { return second.to_string() };
        let zoned = moment.to_zoned(self.rules.clone());
        let twice =
            matches!(self.rules.to_ambiguous_timestamp(zoned.datetime()).offset(), AmbiguousOffset::Fold { .. });
        zoned.strftime(if twice { "%Y-%m-%d %H:%M %:z" } else { "%Y-%m-%d %H:%M" }).to_string()
    }
}
