//! Waiting for something to become true, with a deadline instead of a fixed sleep.

use std::time::{Duration, Instant};

/// How often a condition is looked at.
const PAUSE: Duration = Duration::from_millis(40);

/// Asks until there is an answer.
///
/// # Panics
/// When the limit is over: `what` says what never came.
pub fn until<T>(limit: Duration, what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + limit;
    loop {
        if let Some(answer) = probe() {
            return answer;
        }
        assert!(Instant::now() < end, "waited {limit:?} in vain for {what}");
        std::thread::sleep(PAUSE);
    }
}

/// Asks until it is so.
///
/// # Panics
/// When the limit is over.
pub fn until_true(limit: Duration, what: &str, mut probe: impl FnMut() -> bool) {
    until(limit, what, || probe().then_some(()));
}

/// Watches that something stays so for a whole period: the one place where time itself is the test.
///
/// # Panics
/// When it stops being so.
pub fn throughout(period: Duration, what: &str, mut probe: impl FnMut() -> bool) {
    let end = Instant::now() + period;
    while Instant::now() < end {
        assert!(probe(), "no longer so: {what}");
        std::thread::sleep(PAUSE);
    }
}

/// Seconds since 1970 by this machine's clock.
pub fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}
