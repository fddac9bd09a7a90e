//! How long callers from outside waited, in the groups of reports.

use demarc_proto::{Cell, Direction, Outcome, report::WAIT_BOUNDS};

use super::Share;
use crate::store::{KindRow, Store, StoreError};

/// Groups of waiting times.
pub const WAITS: usize = WAIT_BOUNDS.len();

/// Calls from outside by how long the caller waited: for a person, or until the end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Waits {
    /// Those that a person answered, by their place in [`WAIT_BOUNDS`].
    pub answered: [i64; WAITS],
    /// All others.
    pub unanswered: [i64; WAITS],
}

impl Waits {
    /// Reads the calls of a half-open range of quarter hours.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn read(store: &Store, from: i64, to: i64) -> Result<Self, StoreError> {
        let mut waits = Self::default();
        store.kinds(from, to, |row| waits.add(&row))?;
        Ok(waits)
    }

    fn add(&mut self, row: &KindRow) {
        let Cell { direction: Direction::Inbound, outcome } = row.cell else { return };
        let counts = if outcome == Outcome::Answered { &mut self.answered } else { &mut self.unanswered };
        counts[row.kind.wait()] += row.calls;
    }

    /// All calls.
    pub fn total(&self) -> i64 {
        self.answered.iter().chain(&self.unanswered).sum()
    }

    /// Of the calls that a person answered those that waited no longer than the groups up to that one.
    pub fn answered_until(&self, group: usize) -> Share {
        let part = self.answered.iter().take(group + 1).sum();
        Share { part, n: self.answered.iter().sum() }
    }

    /// The waiting time under which at least so large a share of the answered calls lies, in seconds: the end of a group. None
    /// where that is the last group, which has no end, or no call was answered.
    pub fn answered_within(&self, share: f64) -> Option<u32> {
        let group = (0..WAITS).find(|group| self.answered_until(*group).value().is_some_and(|part| part >= share))?;
        WAIT_BOUNDS.get(group + 1).copied()
    }
}

/// A group as people write it: its seconds.
pub fn group_name(group: usize) -> String {
    match (WAIT_BOUNDS[group], WAIT_BOUNDS.get(group + 1)) {
        (0, Some(to)) => format!("under {to} s"),
        (from, Some(to)) => format!("{from} to {to} s"),
        (from, None) => format!("{from} s and more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::Kind;

    #[test]
    fn callers_from_outside_are_told_apart_by_their_wait() {
        let mut waits = Waits::default();
        let mut add = |direction, outcome, seconds, calls| {
            let kind = Kind::of(seconds, false);
            waits.add(&KindRow { quarter: 0, cell: Cell { direction, outcome }, kind, calls });
        };
        add(Direction::Inbound, Outcome::Answered, 4, 5);
        add(Direction::Inbound, Outcome::Answered, 12, 4);
        add(Direction::Inbound, Outcome::Answered, 500, 1);
        add(Direction::Inbound, Outcome::Abandoned, 30, 3);
        add(Direction::Inbound, Outcome::NoAnswer, 30, 2);
        add(Direction::Inbound, Outcome::NoAnswer, 31, -1);
        add(Direction::Outbound, Outcome::Answered, 4, 7);
        assert_eq!((waits.answered, waits.unanswered), ([5, 0, 4, 0, 0, 0, 1], [0, 0, 0, 0, 4, 0, 0]));
        assert_eq!((waits.total(), waits.answered_until(2)), (14, Share { part: 9, n: 10 }));
        assert_eq!(
            [0.5, 0.9, 0.91].map(|share| waits.answered_within(share)),
            [Some(5), Some(20), None],
            "the last group has no end"
        );
        assert_eq!(Waits::default().answered_within(0.5), None);
        assert_eq!((group_name(0), group_name(6)), ("under 5 s".to_owned(), "120 s and more".to_owned()));
    }
}
