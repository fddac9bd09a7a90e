//! The one place where pages ask what time it is.

use jiff::{Timestamp, civil::DateTime};

use crate::local_report::ReportZone;

/// This moment.
pub(super) fn now() -> Timestamp {
    Timestamp::now()
}

/// This moment by the wall clock of a zone.
pub(super) fn wall(zone: &ReportZone) -> DateTime {
    zone.rules.to_datetime(now())
}

/// How many seconds ago a moment was, in seconds since 1970 in UTC; none where it is still to come.
pub(super) fn since(moment: u64) -> u64 {
    u64::try_from(now().as_second()).unwrap_or(0).saturating_sub(moment)
}
