//! How much room is left where recordings lie, and for how long.

use std::{io, os::fd::BorrowedFd};

/// Seconds of a day.
pub(super) const DAY: u64 = 86_400;

/// What a tree takes of its file system.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Share {
    /// Which file system.
    pub(super) device: u64,
    /// Its free bytes.
    pub(super) free: u64,
    /// What is added a day.
    pub(super) per_day: u64,
    /// What retention will remove, once it is old.
    pub(super) passing: u64,
}

/// Free bytes of the file system that a directory lies on.
pub(super) fn free(directory: BorrowedFd<'_>) -> io::Result<u64> {
    let disk = rustix::fs::fstatvfs(directory)?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}

/// What is added a day, by what was changed in the last so many days; a tree that is younger is measured by its age.
pub(super) fn per_day(bytes: u64, days: u64, oldest: Option<u64>, now: u64) -> u64 {
    let age = oldest.map_or(0, |oldest| now.saturating_sub(oldest));
    let seconds = age.clamp(DAY, days * DAY);
    let bytes = u128::from(bytes) * u128::from(DAY) / u128::from(seconds);
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

/// In how many days the file system of a tree is full, if that ever happens: all trees there add to it. With a retention
/// in seconds, a tree grows until it holds as much as is added in that time.
pub(super) fn full_in_days(device: u64, shares: &[Share], retention: Option<u64>) -> Option<u64> {
    let here = || shares.iter().filter(|share| share.device == device);
    let free = here().map(|share| share.free).min()?;
    let per_day: u64 = here().map(|share| share.per_day).fold(0, u64::saturating_add);
    if let Some(retention) = retention {
        let at_last = |share: &Share| u128::from(share.per_day) * u128::from(retention) / u128::from(DAY);
        let to_come: u128 = here().map(|share| at_last(share).saturating_sub(u128::from(share.passing))).sum();
        if to_come <= u128::from(free) {
            return None;
        }
    }
    free.checked_div(per_day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_measured_over_the_days_that_there_are() {
        let now = 100 * DAY;
        assert_eq!(per_day(700, 7, Some(0), now), 100);
        assert_eq!(per_day(700, 7, Some(98 * DAY), now), 350);
        assert_eq!(per_day(700, 7, Some(now - 5), now), 700);
        assert_eq!(per_day(0, 7, None, now), 0);
        assert_eq!(per_day(u64::MAX, 1, Some(now + 10), now), u64::MAX);
    }

    #[test]
    fn trees_of_one_file_system_fill_it_together() {
        let share = |device, per_day, passing| Share { device, free: 1_000, per_day, passing };
        let shares = [share(1, 60, 0), share(1, 40, 0), share(2, 0, 0)];
        assert_eq!(full_in_days(1, &shares, None), Some(10));
        assert_eq!(full_in_days(2, &shares, None), None);
        assert_eq!(full_in_days(3, &shares, None), None);
        // Nine days of 100 bytes fit, eleven do not, unless most of them is there already.
        assert_eq!(full_in_days(1, &shares, Some(9 * DAY)), None);
        assert_eq!(full_in_days(1, &shares, Some(11 * DAY)), Some(10));
        let shares = [share(1, 60, 600), share(1, 40, 0)];
        assert_eq!(full_in_days(1, &shares, Some(11 * DAY)), None);
        let shares = [share(1, u64::MAX, 0), share(1, u64::MAX, 0)];
        assert_eq!(full_in_days(1, &shares, Some(u64::MAX)), Some(0));
    }
}
