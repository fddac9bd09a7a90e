//! Calls by direction and outcome, with their times.

use demarc_proto::{Cell, Direction, Outcome};

use super::Share;
use crate::call::Figures;

/// Calls by direction and outcome, with their times in seconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Amounts {
    calls: [i64; Cell::COUNT],
    talk: [i64; Cell::COUNT],
    wait: [i64; Cell::COUNT],
}

impl Default for Amounts {
    fn default() -> Self {
        Self { calls: [0; Cell::COUNT], talk: [0; Cell::COUNT], wait: [0; Cell::COUNT] }
    }
}

impl Amounts {
    /// Takes in figures of a cell.
    pub fn add(&mut self, cell: Cell, figures: &Figures) {
        self.calls[cell.index()] += figures.calls;
        self.talk[cell.index()] += figures.talk_seconds;
        self.wait[cell.index()] += figures.wait_seconds;
    }

    /// Takes in other amounts.
    pub fn add_all(&mut self, other: &Self) {
        for place in 0..Cell::COUNT {
            self.calls[place] += other.calls[place];
            self.talk[place] += other.talk[place];
            self.wait[place] += other.wait[place];
        }
    }

    /// Whether there is no call.
    pub fn is_empty(&self) -> bool {
        self.calls.iter().all(|calls| *calls == 0)
    }

    /// All calls.
    pub fn total(&self) -> i64 {
        self.calls.iter().sum()
    }

    /// Calls of a direction.
    pub fn going(&self, direction: Direction) -> i64 {
        Outcome::ALL.into_iter().map(|outcome| self.of(direction, outcome)).sum()
    }

    /// Calls that ended so.
    pub fn ended(&self, outcome: Outcome) -> i64 {
        Direction::ALL.into_iter().map(|direction| self.of(direction, outcome)).sum()
    }

    /// Calls of a direction that ended so.
    pub fn of(&self, direction: Direction, outcome: Outcome) -> i64 {
        self.calls[Cell { direction, outcome }.index()]
    }

    /// Inbound calls that no person answered, by whatever way they ended.
    pub fn missed(&self) -> i64 {
        self.going(Direction::Inbound) - self.of(Direction::Inbound, Outcome::Answered)
    }

    /// Of the inbound calls those that a person answered.
    pub fn answered_share(&self) -> Share {
        Share { part: self.of(Direction::Inbound, Outcome::Answered), n: self.going(Direction::Inbound) }
    }

    /// Of the outbound calls those that were answered: the answer bid ratio (ABR, ITU-T E.425).
    pub fn answer_bid_ratio(&self) -> Share {
        Share { part: self.of(Direction::Outbound, Outcome::Answered), n: self.going(Direction::Outbound) }
    }

    /// Talking time of the answered calls, to be divided by their number: the average call duration (ACD).
    pub fn call_duration(&self) -> Share {
        Share { part: self.over(Outcome::Answered, &self.talk), n: self.ended(Outcome::Answered) }
    }

    /// Waiting time of inbound calls that a person answered, to be divided by their number.
    pub fn answer_time(&self) -> Share {
        let place = Cell { direction: Direction::Inbound, outcome: Outcome::Answered }.index();
        Share { part: self.wait[place], n: self.calls[place] }
    }

    /// All talking time, in seconds.
    pub fn talk_seconds(&self) -> i64 {
        self.talk.iter().sum()
    }

    fn over(&self, outcome: Outcome, times: &[i64; Cell::COUNT]) -> i64 {
        Direction::ALL.into_iter().map(|direction| times[Cell { direction, outcome }.index()]).sum()
    }
}
