//! A call: what all legs of one conversation amount to, whatever order they arrive in.

pub mod channel;
pub mod code;
mod hash;
pub mod identity;
pub mod key;
pub mod kind;
pub mod name;
mod party;
pub mod quality;
pub mod rows;
pub mod rules;
mod slip;
pub mod spans;

use demarc_proto::{Cell, Direction, Outcome, report::Destination};

pub use self::{
    identity::Identity,
    key::CallKey,
    kind::Kind,
    name::{NameId, Names},
    quality::{Qualities, Sample},
    rules::CallRules,
};
pub(crate) use self::{
    key::Ids,
    party::{Parties, Party},
    slip::Slip,
};
use self::{rows::Rows, spans::Spans};
use crate::pbx::leg::Leg;

/// A call, put together from its legs.
///
/// Everything in it is a minimum, a maximum or a union over the legs. So [`Call::merge`] gives the same call in
/// whatever order and grouping legs come, and a row that is read twice changes nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The earliest start of a leg.
    start: i64,
    /// The latest end of a leg.
    end: i64,
    /// When a person first answered.
    person: Option<i64>,
    /// When at least one answered leg was up.
    talk: Spans,
    /// The rows that make up the call, by their names.
    rows: Rows,
    /// Rows without a name: each is a leg, even if its bytes repeat those of another (ForkCDR writes such rows).
    nameless_rows: u32,
    /// What happened in any of the legs: a set of `SAW_` bits.
    saw: u16,
    /// The leg that began the call, with its caller: a trunk if `detail` is [`ON_TRUNK`], else an extension.
    first: Pick,
    /// The leg that went out over a trunk: the one answered first, else the last one tried. `detail` tells the
    /// destination's class.
    out: Option<Pick>,
    /// The earliest leg in a queue.
    queue: Option<Pick>,
    /// The extension that answered first, else the one rung first.
    rung: Option<Pick>,
}

/// A leg that won a comparison against all others, and the name that it stands for. The least wins, field by field,
/// so that no two different legs are equal and the order of arrival cannot matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Pick {
    rank: Rank,
    time: i64,
    sequence: u32,
    name: NameId,
    detail: u8,
}

/// The class in which a leg takes part in a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Best,
    Other,
}

const ON_TRUNK: u8 = 1;
const ABROAD: u8 = 1;

const SAW_PERSON: u16 = 1;
const SAW_VOICEMAIL: u16 = 1 << 1;
const SAW_QUEUE: u16 = 1 << 2;
const SAW_ANSWERED: u16 = 1 << 3;
const SAW_NO_ANSWER: u16 = 1 << 4;
const SAW_BUSY: u16 = 1 << 5;

/// What a call adds to the rollups: where, and how much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// The cell of the rollups.
    pub place: Place,
    /// Waiting time and destination, by class.
    pub kind: Kind,
    /// The amounts.
    pub figures: Figures,
}

/// A cell of the rollups.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// Quarter hour of the call's end, counted from 1970 in UTC.
    pub quarter: i64,
    /// Direction and outcome.
    pub cell: Cell,
    /// The trunk, if there is one.
    pub trunk: NameId,
    /// The queue, if there is one.
    pub queue: NameId,
    /// The extension, if there is one.
    pub extension: NameId,
}

/// Amounts in the rollups; differences may be negative.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Calls.
    pub calls: i64,
    /// Their legs.
    pub legs: i64,
    /// Their talk time.
    pub talk_seconds: i64,
    /// Their waiting time.
    pub wait_seconds: i64,
}

/// Seconds of a quarter hour, the grain of the rollups: every time zone's hours are made of such.
pub const QUARTER: i64 = 900;

impl Call {
    /// The call that a leg is on its own.
    pub fn of(leg: &Leg<'_>, rules: &CallRules, names: &mut Names) -> Self {
        Self::of_ids(leg, Ids::of(leg), rules, names)
    }

    /// The same, where the leg's ids are known already.
    pub(crate) fn of_ids(leg: &Leg<'_>, ids: Ids, rules: &CallRules, names: &mut Names) -> Self {
        Slip::of(leg, ids, rules, names, |channel, names| Party::of(channel, rules, names)).call()
    }

    /// Takes in all legs of another part of the same call; says how many of them were here already.
    pub fn merge(&mut self, other: &Self) -> u64 {
        self.start = self.start.min(other.start);
        self.end = self.end.max(other.end);
        self.person = least(self.person, other.person);
        self.talk.add_all(&other.talk);
        self.nameless_rows = self.nameless_rows.saturating_add(other.nameless_rows);
        self.saw |= other.saw;
        self.first = self.first.min(other.first);
        self.out = least(self.out, other.out);
        self.queue = least(self.queue, other.queue);
        self.rung = least(self.rung, other.rung);
        self.rows.add_all(&other.rows)
    }

    /// The second in which the call began.
    pub fn start(&self) -> i64 {
        self.start
    }

    /// The second in which the call ended: the time that it is counted at.
    pub fn end(&self) -> i64 {
        self.end
    }

    /// How many legs the call has.
    pub fn legs(&self) -> u64 {
        self.rows.len() + u64::from(self.nameless_rows)
    }

    /// Where it came from and went to.
    pub fn direction(&self) -> Direction {
        if self.came_in() {
            Direction::Inbound
        } else if self.out.is_some() {
            Direction::Outbound
        } else {
            Direction::Internal
        }
    }

    /// Whether it came in over a trunk and was led out over one again. Such a call counts as inbound.
    pub fn is_forwarded(&self) -> bool {
        self.came_in() && self.out.is_some()
    }

    /// How it ended: the first that applies.
    pub fn outcome(&self) -> Outcome {
        outcome(self.saw)
    }

    /// How long the caller waited for a person, or until the end.
    pub fn wait_seconds(&self) -> u64 {
        let until = self.person.unwrap_or(self.end);
        if until > self.start { until.abs_diff(self.start) } else { 0 }
    }

    /// How long at least one answered leg was up.
    pub fn talk_seconds(&self) -> u64 {
        self.talk.seconds()
    }

    /// What kind of place an outbound call led to.
    pub fn destination(&self) -> Destination {
        match self.direction() {
            direction if self.leads_abroad(direction) => Destination::International,
            Direction::Outbound => Destination::National,
            _ => Destination::NotOutbound,
        }
    }

    fn leads_abroad(&self, direction: Direction) -> bool {
        direction == Direction::Outbound && self.out.is_some_and(|out| out.detail == ABROAD)
    }

    /// What the call adds to the rollups.
    pub fn share(&self) -> Share {
        let direction = self.direction();
        let name = |pick: Option<Pick>| pick.map_or(NameId::NONE, |pick| pick.name);
        let (trunk, extension) = match direction {
            Direction::Inbound => (self.first.name, name(self.rung)),
            Direction::Outbound => (name(self.out), self.first.name),
            Direction::Internal => (NameId::NONE, self.first.name),
        };
        let wait_seconds = self.wait_seconds();
        Share {
            place: Place {
                quarter: self.end.div_euclid(QUARTER),
                cell: Cell { direction, outcome: self.outcome() },
                trunk,
                queue: name(self.queue),
                extension,
            },
            kind: Kind::of(wait_seconds, self.leads_abroad(direction)),
            figures: Figures {
                calls: 1,
                legs: amount(self.legs()),
                talk_seconds: amount(self.talk_seconds()),
                wait_seconds: amount(wait_seconds),
            },
        }
    }

    fn came_in(&self) -> bool {
        self.first.detail == ON_TRUNK
    }
}

impl Figures {
    /// Nothing.
    pub fn is_zero(&self) -> bool {
        *self == Self::default()
    }

    /// Adds other amounts.
    pub fn add(&mut self, other: &Self) {
        self.calls += other.calls;
        self.legs += other.legs;
        self.talk_seconds = self.talk_seconds.saturating_add(other.talk_seconds);
        self.wait_seconds = self.wait_seconds.saturating_add(other.wait_seconds);
    }

    /// Takes other amounts away.
    pub fn subtract(&mut self, other: &Self) {
        self.calls -= other.calls;
        self.legs -= other.legs;
        self.talk_seconds = self.talk_seconds.saturating_sub(other.talk_seconds);
        self.wait_seconds = self.wait_seconds.saturating_sub(other.wait_seconds);
    }
}

/// How a call ended in which these things were seen.
const fn outcome(saw: u16) -> Outcome {
    if saw & SAW_PERSON != 0 {
        Outcome::Answered
    } else if saw & SAW_VOICEMAIL != 0 {
        Outcome::Voicemail
    } else if saw & SAW_QUEUE != 0 {
        Outcome::Abandoned
    } else if saw & SAW_ANSWERED != 0 {
        Outcome::System
    } else if saw & SAW_NO_ANSWER != 0 {
        Outcome::NoAnswer
    } else if saw & SAW_BUSY != 0 {
        Outcome::Busy
    } else {
        Outcome::Failed
    }
}

#[inline(always)]
fn amount(number: u64) -> i64 {
    // A row can claim to last from year 1 to year 9999; sums of a million such rows must not overflow either.
    i64::try_from(number).unwrap_or(i64::MAX).min(1 << 40)
}

/// The lesser of two, where there are two.
fn least<T: Ord>(left: Option<T>, right: Option<T>) -> Option<T> {
    match (left, right) {
        (Some(left), Some(right)) => Some(left.min(right)),
        (left, right) => left.or(right),
    }
}

#[cfg(test)]
mod tests;
