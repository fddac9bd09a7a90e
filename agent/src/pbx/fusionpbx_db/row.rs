//! From a row of `v_xml_cdr` to a leg: what FreeSWITCH's words mean.
//!
//! A row is one channel, and FusionPBX says in it which way its call went. Call rules tell that by channels, so the row is given
//! channels of our own: `gateway/NAME` to the outside, `user/1001` to an extension; and the source tells which gateways there are.

use tokio_postgres::SimpleQueryRow;

use crate::{
    call::key::text_hash,
    pbx::{
        leg::{Disposition, MalformedReason},
        record::{Record, Unreadable},
        table::Found,
    },
};

/// Every column that is ever read: the names that it has had, the newest first. None of them holds what was said, or where that
/// lies.
const WANTED: [&[&str]; 20] = [
    &["xml_cdr_uuid", "uuid"],
    &["start_epoch"],
    &["end_epoch"],
    &["direction"],
    &["hangup_cause"],
    &["answer_epoch"],
    &["duration"],
    &["billsec"],
    &["leg"],
    &["originating_leg_uuid"],
    &["bridge_uuid"],
    &["caller_id_number"],
    &["destination_number"],
    &["last_app"],
    &["last_arg"],
    &["voicemail_message"],
    &["cc_queue"],
    &["cc_agent"],
    &["cc_queue_answered_epoch"],
    &["cc_side"],
];
/// So many of them must be there.
const NEEDED: usize = 5;
/// A leg that lasted longer than this is a number that went wrong.
const LONGEST: i64 = 366 * 86_400;
/// The technology of channels to the outside.
pub(super) const GATEWAY: &str = "gateway";
/// The gateway of calls that came in, which no column names.
pub(super) const OUTSIDE: &str = "outside";
/// What tells an Asterisk's channels from each other; names may end with something that looks like it.
const COUNTER: &str = "-00000000";

/// What a question names.
#[derive(Default)]
pub(super) struct Columns {
    /// All columns for a question, with NULL for those that are not there.
    pub(super) list: String,
}

impl Columns {
    /// Finds them among those that are there; or the first that is missed.
    pub(super) fn find(there: &[&str]) -> Result<Self, &'static str> {
        let mut list = Vec::new();
        for (number, names) in WANTED.iter().enumerate() {
            match names.iter().find(|name| there.contains(name)) {
                Some(name) => list.push(*name),
                None if number < NEEDED => return Err(names[0]),
                None => list.push("NULL"),
            }
        }
        Ok(Self { list: list.join(", ") })
    }
}

/// The names of all columns, for the statement that grants them.
pub(super) fn all() -> String {
    WANTED.map(|names| names[0]).join(", ")
}

/// A number, of whose fraction only the whole seconds count.
pub(super) fn number(text: &str) -> Option<i64> {
    text.split('.').next()?.parse().ok()
}

pub(super) fn make(row: &SimpleQueryRow) -> Found {
    from_cells(&|column| row.get(column).filter(|text| !text.is_empty()))
}

/// The gateway that a row names.
pub(super) fn gateway(row: &SimpleQueryRow) -> Option<String> {
    match Way::of(&|column| row.get(column).filter(|text| !text.is_empty())) {
        Way::Out(gateway) => Some(gateway.to_owned()),
        _ => None,
    }
}

type Cells<'a> = dyn Fn(usize) -> Option<&'a str> + 'a;

fn from_cells(cell: &Cells<'_>) -> Found {
    let at = cell(1).and_then(number);
    let bytes =
        || (0..WANTED.len()).map(|column| cell(column).unwrap_or_default()).collect::<Vec<_>>().join(",").into_bytes();
    let row = record(cell, at);
    let duration = row.as_ref().map_or(0, |record| record.end - record.start);
    let row = row.map_err(|why| Unreadable { bytes: bytes(), why });
    Found { at: at.unwrap_or(0), duration, key: text_hash(cell(0).unwrap_or_default().as_bytes()), row }
}

fn record(cell: &Cells<'_>, at: Option<i64>) -> Result<Record, MalformedReason> {
    let start = at.ok_or(MalformedReason::Time)?;
    let end = cell(2).and_then(number).filter(|&end| end > 0);
    let end = end.or_else(|| Some(start + cell(6).and_then(number)?)).ok_or(MalformedReason::Time)?;
    if !(start..=start + LONGEST).contains(&end) {
        return Err(MalformedReason::Time);
    }
    let billed = cell(7).and_then(number).unwrap_or(0);
    let answer = cell(5).and_then(number).filter(|&answer| answer > 0);
    let answer = answer.or_else(|| (billed > 0).then(|| end - billed)).map(|answer| answer.clamp(start, end));

    let way = Way::of(cell);
    let (channel, called) = way.channels(cell);
    let joined = cell(10).is_some();
    let queue = cell(16).filter(|_| cell(19) != Some("agent"));
    let voicemail = cell(15).is_some_and(|value| matches!(value, "t" | "true")) || cell(13) == Some("voicemail");
    let by_queue = queue.map(|_| cell(18).and_then(number).filter(|&answered| answered > 0));
    // In a queue the channel is answered by the queue; who took the call came later.
    let by_person = if voicemail { None } else { by_queue.unwrap_or_else(|| answer.filter(|_| joined)) };

    let disposition = match (answer, by_person) {
        (None, None) => unanswered(cell(4).unwrap_or_default()),
        _ => Disposition::Answered,
    };
    let dialled_out = matches!(way, Way::Out(_));
    let rings = by_person.is_some() || (disposition != Disposition::Answered && queue.is_none());
    let lastapp = if voicemail {
        "VoiceMail"
    } else if queue.is_some() {
        "Queue"
    } else {
        cell(13).unwrap_or_default()
    };
    let id = cell(0).map(|id| id.as_bytes().to_vec());
    // The second leg of a call names the first, by one column or the other.
    let first = cell(9).or_else(|| cell(10).filter(|_| cell(8) == Some("b"))).or_else(|| cell(0));
    Ok(Record {
        uniqueid: id,
        linkedid: first.map(|id| id.as_bytes().to_vec()),
        sequence: Some(0),
        channel: channel.into_bytes(),
        dstchannel: if rings || dialled_out { called.into_bytes() } else { Vec::new() },
        lastapp: lastapp.as_bytes().to_vec(),
        lastdata: queue.and_then(|queue| queue.split('@').next()).unwrap_or_default().as_bytes().to_vec(),
        src: cell(11).unwrap_or_default().as_bytes().to_vec(),
        dst: cell(12).unwrap_or_default().as_bytes().to_vec(),
        start,
        answer: by_person.or(answer).map(|answer| answer.clamp(start, end)),
        end,
        disposition,
    })
}

/// Which way a call went.
enum Way<'a> {
    In,
    /// Over that gateway.
    Out(&'a str),
    Inside,
}

impl<'a> Way<'a> {
    fn of(cell: &Cells<'a>) -> Self {
        match cell(3) {
            Some("inbound") => Self::In,
            // `sofia/gateway/NAME/number` is what it dialled last.
            Some("outbound") => {
                let dialled = cell(14).and_then(|dialled| dialled.split("sofia/gateway/").nth(1));
                Self::Out(dialled.and_then(|rest| rest.split('/').next()).unwrap_or(OUTSIDE))
            }
            _ => Self::Inside,
        }
    }

    /// The calling channel and the called one.
    fn channels(&self, cell: &Cells<'_>) -> (String, String) {
        let agent = cell(17).and_then(|agent| agent.split('@').next());
        let user = |number: &str| format!("user/{number}{COUNTER}");
        let caller = user(cell(11).unwrap_or("?"));
        let called = user(agent.or_else(|| cell(12)).unwrap_or("?"));
        match self {
            Self::In => (format!("{GATEWAY}/{OUTSIDE}{COUNTER}"), called),
            Self::Out(gateway) => (caller, format!("{GATEWAY}/{gateway}{COUNTER}")),
            Self::Inside => (caller, called),
        }
    }
}

/// What became of a channel that nobody answered.
fn unanswered(cause: &str) -> Disposition {
    match cause {
        "USER_BUSY" | "CALL_REJECTED" => Disposition::Busy,
        "NO_ANSWER" | "NO_USER_RESPONSE" | "ALLOTTED_TIMEOUT" | "NORMAL_CLEARING" | "PICKED_OFF" | "LOSE_RACE" => {
            Disposition::NoAnswer
        }
        "ORIGINATOR_CANCEL" => Disposition::Cancel,
        "NORMAL_CIRCUIT_CONGESTION" | "SWITCH_CONGESTION" => Disposition::Congestion,
        _ => Disposition::Failed,
    }
}

#[cfg(test)]
mod tests;
