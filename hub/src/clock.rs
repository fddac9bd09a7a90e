//! The wall clock, read in one place and passed on as a number.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Seconds since 1970 in UTC.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs()
}

/// That moment as the certificate library wants it.
pub fn moment(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

/// The database keeps signed numbers; no moment that we ever write comes near the limit.
pub fn to_column(seconds: u64) -> i64 {
    i64::try_from(seconds).unwrap_or(i64::MAX)
}

/// The way back from [`to_column`].
pub fn from_column(column: i64) -> u64 {
    u64::try_from(column).unwrap_or(0)
}
