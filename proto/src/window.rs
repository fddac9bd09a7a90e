//! Report windows: fixed periods in UTC that never overlap.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

const DAY: u32 = 86_400;
const WEEK: u32 = 7 * DAY;

/// The length of a report window: one that divides a day, at least a minute, or seven days.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WindowLength(u32);

/// A text or number is not the length of a window.
#[derive(Debug, thiserror::Error)]
#[error("a window is a whole number of minutes that divides a day (such as \"1m\", \"1h\", \"1d\"), or \"7d\"")]
pub struct NotAWindow;

impl WindowLength {
    /// One day: the default.
    pub const DAY: Self = Self(DAY);

    /// The length with that many seconds.
    ///
    /// # Errors
    /// When the length neither divides a day in whole minutes nor is seven days.
    pub fn from_seconds(seconds: u32) -> Result<Self, NotAWindow> {
        let divides_a_day = seconds >= 60 && seconds.is_multiple_of(60) && DAY.is_multiple_of(seconds);
        (divides_a_day || seconds == WEEK).then_some(Self(seconds)).ok_or(NotAWindow)
    }

    /// In seconds.
    pub fn seconds(self) -> u32 {
        self.0
    }

    /// The window of this length that holds that moment (seconds since 1970 in UTC).
    pub fn window_at(self, moment: u64) -> Window {
        Window { start: moment - moment % u64::from(self.0), seconds: self.0 }
    }
}

impl FromStr for WindowLength {
    type Err = NotAWindow;

    fn from_str(text: &str) -> Result<Self, NotAWindow> {
        let unit = match text.as_bytes().last() {
            Some(b's') => 1,
            Some(b'm') => 60,
            Some(b'h') => 3600,
            Some(b'd') => DAY,
            _ => return Err(NotAWindow),
        };
        let number: u32 = text[..text.len() - 1].parse().map_err(|_| NotAWindow)?;
        Self::from_seconds(number.checked_mul(unit).ok_or(NotAWindow)?)
    }
}

impl fmt::Display for WindowLength {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            n if n.is_multiple_of(DAY) => write!(f, "{}d", n / DAY),
            n if n.is_multiple_of(3600) => write!(f, "{}h", n / 3600),
            n => write!(f, "{}m", n / 60),
        }
    }
}

/// One report window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Window {
    /// First second, counted from 1970 in UTC; a multiple of `seconds`.
    pub start: u64,
    /// Length in seconds.
    pub seconds: u32,
}

impl Window {
    /// The first second after the window.
    pub fn end(self) -> u64 {
        self.start + u64::from(self.seconds)
    }

    /// How many hour slots the window has; a window under an hour has one.
    pub fn hours(self) -> u16 {
        u16::try_from(self.seconds.div_ceil(3600)).unwrap_or(u16::MAX)
    }

    /// The hour slot in which a moment falls. A moment outside the window counts in the nearest slot: that is
    /// where a late call goes.
    pub fn hour_of(self, moment: u64) -> u16 {
        let slot = moment.saturating_sub(self.start) / 3600;
        u16::try_from(slot).unwrap_or(u16::MAX).min(self.hours() - 1)
    }

    /// Whether length and start are those of a real window.
    pub fn is_aligned(self) -> bool {
        WindowLength::from_seconds(self.seconds).is_ok_and(|length| length.window_at(self.start) == self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_that_divide_a_day_or_a_week() {
        for (text, seconds) in [("1m", 60), ("15m", 900), ("1h", 3600), ("24h", DAY), ("1d", DAY), ("7d", WEEK)] {
            assert_eq!(text.parse::<WindowLength>().unwrap().seconds(), seconds, "{text}");
        }
        for bad in ["", "m", "0m", "7m", "30s", "90s", "2d", "14d", "5h", "-1h", "1w", "99999999999d"] {
            assert!(bad.parse::<WindowLength>().is_err(), "{bad}");
        }
        assert_eq!("1440m".parse::<WindowLength>().unwrap().to_string(), "1d");
    }

    #[test]
    fn late_calls_fall_in_the_nearest_hour() {
        let window = WindowLength::DAY.window_at(1_795_309_295);
        assert!(window.is_aligned());
        assert_eq!(window.hour_of(window.start - 5), 0);
        assert_eq!(window.hour_of(window.start + 3599), 0);
        assert_eq!(window.hour_of(window.start + 3600), 1);
        assert_eq!(window.hour_of(window.end() + 5), 23);
    }
}
