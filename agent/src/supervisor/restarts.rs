//! When to start a role again that died: soon the first time, later and later when it keeps dying.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// How soon a role is back that died for the first time in a while.
const FIRST: Duration = Duration::from_millis(50);
/// The longest wait for a role that works for a while each time.
const LONGEST_AFTER_WORK: Duration = Duration::from_secs(1);
/// The longest wait for a role that dies before it is ready.
const LONGEST: Duration = Duration::from_secs(30);
/// Deaths further back than this are forgotten.
const MEMORY: Duration = Duration::from_secs(10);
/// A role that asks for fresh rules more often than this waits like one that died.
const FRESH_RULES_EVERY: Duration = Duration::from_secs(1);

/// The deaths of one role.
#[derive(Debug, Default)]
pub(super) struct Restarts {
    recent: VecDeque<Instant>,
    never_ready: u32,
    last_fresh_rules: Option<Instant>,
    /// All starts but the first.
    pub(super) count: u64,
}

impl Restarts {
    /// The role died; how long to wait before it is started again.
    pub(super) fn died(&mut self, now: Instant, was_ready: bool) -> Duration {
        self.count += 1;
        if was_ready {
            self.never_ready = 0;
            self.recent.retain(|death| now.duration_since(*death) < MEMORY);
            let doublings = u32::try_from(self.recent.len()).unwrap_or(u32::MAX).min(10);
            self.recent.push_back(now);
            (FIRST * 2_u32.pow(doublings)).min(LONGEST_AFTER_WORK)
        } else {
            let doublings = self.never_ready.min(10);
            self.never_ready = self.never_ready.saturating_add(1);
            (FIRST * 2_u32.pow(doublings)).min(LONGEST)
        }
    }

    /// The role asks for rules that know a file that is new; how long to wait before it is started again.
    pub(super) fn wants_fresh_rules(&mut self, now: Instant) -> Duration {
        let soon = self.last_fresh_rules.is_some_and(|last| now.duration_since(last) < FRESH_RULES_EVERY);
        self.last_fresh_rules = Some(now);
        if soon { self.died(now, false) } else { Duration::ZERO }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quick_at_first_and_never_a_tight_loop() {
        let start = Instant::now();
        let mut restarts = Restarts::default();
        let waits: Vec<u128> = (0..8).map(|_| restarts.died(start, false).as_millis()).collect();
        assert_eq!(waits, [50, 100, 200, 400, 800, 1600, 3200, 6400]);
        assert_eq!((0..20).map(|_| restarts.died(start, false)).max(), Some(LONGEST));
        assert_eq!(restarts.count, 28);
    }

    #[test]
    fn a_role_that_worked_is_back_within_a_second_and_old_deaths_are_forgotten() {
        let start = Instant::now();
        let mut restarts = Restarts::default();
        for death in 0..200 {
            assert!(restarts.died(start + Duration::from_millis(death * 100), true) <= LONGEST_AFTER_WORK);
        }
        assert_eq!(restarts.died(start + Duration::from_secs(60), true), FIRST);
    }

    #[test]
    fn fresh_rules_come_at_once_but_not_in_a_loop() {
        let start = Instant::now();
        let mut restarts = Restarts::default();
        assert_eq!(restarts.wants_fresh_rules(start), Duration::ZERO);
        assert_eq!(restarts.wants_fresh_rules(start), FIRST);
        assert_eq!(restarts.wants_fresh_rules(start), FIRST * 2);
        assert_eq!(restarts.wants_fresh_rules(start + Duration::from_secs(5)), Duration::ZERO);
    }
}
