//! How long to wait before the next attempt, so that a fleet does not come back all at once.

use std::time::Duration;

/// The first ceiling.
const FIRST: Duration = Duration::from_secs(1);
/// The last ceiling.
const LAST: Duration = Duration::from_secs(300);
/// After the loss of a connection that had lived, the whole fleet may have lost theirs: spread over this.
const SPREAD: Duration = Duration::from_secs(30);
/// A connection that lived this long was a good one. A shorter life says nothing about a restarted hub, so it is
/// treated as a failed attempt, whose first delays are short.
const LIVED: Duration = Duration::from_secs(60);

/// Full jitter over a ceiling that doubles with each failure, up to five minutes.
#[derive(Debug, Default)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The delay after a connection that was up for `lived` (zero where it never came up, or the hub misbehaved).
    /// `random` is uniform over all of its range.
    pub fn after(&mut self, lived: Duration, random: u64) -> Duration {
        let ceiling = if lived >= LIVED {
            self.failures = 0;
            SPREAD
        } else {
            let ceiling = FIRST.saturating_mul(1 << self.failures.min(16)).min(LAST);
            self.failures = self.failures.saturating_add(1);
            ceiling
        };
        share(ceiling, random)
    }
}

/// That share of a duration which `random` has of its range.
fn share(whole: Duration, random: u64) -> Duration {
    let millis = (u128::from(random) * whole.as_millis()) >> 64;
    Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEVER_UP: Duration = Duration::ZERO;

    #[test]
    fn the_ceiling_doubles_up_to_five_minutes() {
        let mut backoff = Backoff::default();
        let ceilings: Vec<u64> = (0..11).map(|_| backoff.after(NEVER_UP, u64::MAX).as_millis() as u64).collect();
        assert_eq!(ceilings, [999, 1999, 3999, 7999, 15999, 31999, 63999, 127_999, 255_999, 299_999, 299_999]);
        for _ in 0..100 {
            assert!(backoff.after(NEVER_UP, u64::MAX) < LAST);
        }
    }

    #[test]
    fn jitter_is_full() {
        let mut backoff = Backoff::default();
        assert_eq!(backoff.after(NEVER_UP, 0), Duration::ZERO);
        assert_eq!(backoff.after(NEVER_UP, 1 << 63), Duration::from_secs(1));
    }

    #[test]
    fn a_lost_good_connection_spreads_over_half_a_minute_and_starts_anew() {
        let mut backoff = Backoff::default();
        for _ in 0..9 {
            backoff.after(NEVER_UP, 0);
        }
        assert_eq!(backoff.after(Duration::from_secs(61), 1 << 63), Duration::from_secs(15));
        assert_eq!(backoff.after(NEVER_UP, 1 << 63), Duration::from_millis(500));
    }

    #[test]
    fn a_short_life_does_not_start_anew() {
        let mut backoff = Backoff::default();
        for _ in 0..3 {
            backoff.after(NEVER_UP, 0);
        }
        assert_eq!(backoff.after(Duration::from_secs(59), 1 << 63), Duration::from_secs(4));
    }
}
