//! What one leg says about its call, in little room: most calls have one leg, and are never more than this.

use std::num::NonZeroU64;

use demarc_proto::{Cell, Direction, Outcome, report::Destination};

use super::{
    ABROAD, Call, Figures, Ids, Kind, NameId, ON_TRUNK, Pick, Place, QUARTER, Rank, SAW_ANSWERED, SAW_BUSY,
    SAW_NO_ANSWER, SAW_PERSON, SAW_QUEUE, SAW_VOICEMAIL, Share, amount,
    channel::leads_out,
    name::Names,
    outcome,
    party::{Party, PartyPlace},
    rows::Rows,
    rules::CallRules,
    spans::Spans,
};
use crate::pbx::leg::{Disposition, Leg};

/// What one leg says about its call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Slip {
    start: i64,
    /// The end, where there was no answer.
    answer: i64,
    end: i64,
    /// The row's name.
    row: Option<NonZeroU64>,
    /// The trunk or the telephone that the leg came from.
    caller: NameId,
    /// The one that it went to.
    called: NameId,
    queue: NameId,
    /// The highest, where there is none.
    sequence: u32,
    /// A set of `SAW_` bits.
    saw: u16,
    /// A set of the bits below.
    facts: u16,
}

/// The leg's channel is the one that the call is named for.
const BEGINS: u16 = 1;
const HAS_SEQUENCE: u16 = 1 << 1;
/// There is an answer, and it is one.
const TALKED: u16 = 1 << 2;
const CALLER_ON_TRUNK: u16 = 1 << 3;
/// Something that is no half of a channel inside the PBX was called.
const CALLED: u16 = 1 << 4;
const CALLED_ON_TRUNK: u16 = 1 << 5;
const LEADS_ABROAD: u16 = 1 << 6;

impl Slip {
    /// What a leg says. `party` tells who is on a channel.
    #[inline(always)]
    pub(crate) fn of<T: AsRef<[u8]>>(
        leg: &Leg<'_, T>,
        ids: Ids,
        rules: &CallRules,
        names: &mut Names,
        mut party: impl FnMut(&[u8], &mut Names) -> Party,
    ) -> Self {
        let bit = |bit: u16, is_set: bool| if is_set { bit } else { 0 };
        let (dstchannel, lastapp) = (leg.dstchannel.as_ref(), leg.lastapp.as_ref());
        let answered = leg.disposition == Disposition::Answered;
        let caller = party(leg.channel.as_ref(), names);
        let called = party(dstchannel, names);
        let called_trunk = called.place == PartyPlace::Trunk;
        let by_person = answered && (called.place != PartyPlace::Nowhere || leads_out(dstchannel));
        let in_queue = lastapp.eq_ignore_ascii_case(b"Queue");
        let abroad = called_trunk && rules.destination(leg.dst.as_ref()) == Destination::International;

        let saw = match leg.disposition {
            Disposition::Answered => SAW_ANSWERED,
            Disposition::NoAnswer | Disposition::Cancel => SAW_NO_ANSWER,
            Disposition::Busy => SAW_BUSY,
            Disposition::Failed | Disposition::Congestion => 0,
        } | bit(SAW_PERSON, by_person)
            | bit(SAW_VOICEMAIL, answered && lastapp.eq_ignore_ascii_case(b"VoiceMail"))
            | bit(SAW_QUEUE, in_queue);
        let facts = bit(BEGINS, ids.begins)
            | bit(HAS_SEQUENCE, leg.sequence.is_some())
            | bit(TALKED, answered && leg.answer.is_some())
            | bit(CALLER_ON_TRUNK, caller.place == PartyPlace::Trunk)
            | bit(CALLED, called.place != PartyPlace::Nowhere)
            | bit(CALLED_ON_TRUNK, called_trunk)
            | bit(LEADS_ABROAD, abroad);
        Self {
            start: leg.start,
            answer: leg.answer.unwrap_or(leg.end),
            end: leg.end,
            row: ids.row,
            caller: caller.name,
            called: called.name,
            queue: if in_queue { queue_of(leg.lastdata.as_ref(), names) } else { NameId::NONE },
            sequence: leg.sequence.map_or(u32::MAX, |number| u32::try_from(number).unwrap_or(u32::MAX)),
            saw,
            facts,
        }
    }

    #[inline(always)]
    fn has(&self, fact: u16) -> bool {
        self.facts & fact != 0
    }

    /// The call that the leg is on its own.
    pub(crate) fn call(&self) -> Call {
        let Self { start, answer, end, sequence, .. } = *self;
        let answered = self.saw & SAW_ANSWERED != 0;
        let mut talk = Spans::default();
        if self.has(TALKED) {
            talk.add(answer, end);
        }
        let first = Pick {
            // The call is named for its first channel.
            rank: if self.has(BEGINS) { Rank::Best } else { Rank::Other },
            time: start,
            sequence,
            name: self.caller,
            detail: if self.has(CALLER_ON_TRUNK) { ON_TRUNK } else { 0 },
        };
        let out = self.has(CALLED_ON_TRUNK).then(|| {
            let (name, detail) = (self.called, if self.has(LEADS_ABROAD) { ABROAD } else { 0 });
            if answered {
                Pick { rank: Rank::Best, time: answer, sequence, name, detail }
            } else {
                // The last one tried: the latest start is the least of the negated ones.
                let sequence = if self.has(HAS_SEQUENCE) { u32::MAX - sequence } else { u32::MAX };
                Pick { rank: Rank::Other, time: start.saturating_neg(), sequence, name, detail }
            }
        });
        let queue = (self.saw & SAW_QUEUE != 0).then_some(Pick {
            rank: Rank::Best,
            time: start,
            sequence,
            name: self.queue,
            detail: 0,
        });
        let rung = (self.has(CALLED) && out.is_none()).then(|| {
            let (rank, time) = if answered { (Rank::Best, answer) } else { (Rank::Other, start) };
            Pick { rank, time, sequence, name: self.called, detail: 0 }
        });
        let mut rows = Rows::default();
        let named = self.row.is_some_and(|row| rows.add(row));
        Call {
            start,
            end,
            person: (self.saw & SAW_PERSON != 0).then_some(answer),
            talk,
            rows,
            nameless_rows: u32::from(!named),
            saw: self.saw,
            first,
            out,
            queue,
            rung,
        }
    }

    /// What that call adds to the rollups: the same as [`Call::share`] of [`Slip::call`], without the call.
    #[inline(always)]
    pub(crate) fn share(&self) -> Share {
        let Self { start, answer, end, saw, .. } = *self;
        let (direction, trunk, extension) = if self.has(CALLER_ON_TRUNK) {
            let rung = if self.has(CALLED_ON_TRUNK) { NameId::NONE } else { self.called };
            (Direction::Inbound, self.caller, rung)
        } else if self.has(CALLED_ON_TRUNK) {
            (Direction::Outbound, self.called, self.caller)
        } else {
            (Direction::Internal, NameId::NONE, self.caller)
        };
        let seconds = |from: i64, to: i64| if to > from { to.abs_diff(from) } else { 0 };
        let wait_seconds = seconds(start, if saw & SAW_PERSON != 0 { answer } else { end });
        let talk_seconds = if self.has(TALKED) { seconds(answer, end) } else { 0 };
        let abroad = direction == Direction::Outbound && self.has(LEADS_ABROAD);
        Share {
            place: Place {
                quarter: end.div_euclid(QUARTER),
                cell: Cell { direction, outcome: OUTCOMES[usize::from(saw) % OUTCOMES.len()] },
                trunk,
                queue: self.queue,
                extension,
            },
            kind: Kind::of(wait_seconds, abroad),
            figures: Figures {
                calls: 1,
                legs: 1,
                talk_seconds: amount(talk_seconds),
                wait_seconds: amount(wait_seconds),
            },
        }
    }
}

/// Outcomes by what was seen.
static OUTCOMES: [Outcome; 64] = {
    let mut outcomes = [Outcome::Failed; 64];
    let mut saw = 0;
    while saw < outcomes.len() {
        outcomes[saw] = outcome(saw as u16);
        saw += 1;
    }
    outcomes
};

/// The queue's name is the first of the application's arguments.
fn queue_of(lastdata: &[u8], names: &mut Names) -> NameId {
    let argument = lastdata.split(|&byte| byte == b',' || byte == b'|').next().unwrap_or_default();
    names.note(argument.trim_ascii())
}
