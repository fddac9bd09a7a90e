//! The event `Cdr`: one call record, as `cdr_manager` sends it.
//!
//! A caller's name or number, what was dialled and what an application was told may hold CR LF, and so make lines of their
//! own. `cdr_manager` always sends the same keys in the same order, each once: an event where one of them comes twice, or
//! out of order, is not believed in any part, since nobody can say which line is the real one. Lines with other keys are
//! passed over.

use super::message::Message;
use crate::pbx::{
    leg::{Disposition, MalformedReason},
    record::{Entry, Record, Unreadable},
    uniqueid,
    wall::DateCache,
    zone::{WallTimes, Zone},
    zone_check::ZoneCheck,
};

/// What `cdr_manager` sends in every event, in its order.
const KEYS: [&str; 18] = [
    "AccountCode",
    "Source",
    "Destination",
    "DestinationContext",
    "CallerID",
    "Channel",
    "DestinationChannel",
    "LastApplication",
    "LastData",
    "StartTime",
    "AnswerTime",
    "EndTime",
    "Duration",
    "BillableSeconds",
    "Disposition",
    "AMAFlags",
    "UniqueID",
    "UserField",
];
/// What `cdr_manager.conf` can have it add behind them.
const MAPPED: [&str; 2] = ["LinkedID", "Sequence"];

/// Reads events, one after the other.
#[derive(Debug)]
pub struct CdrReader {
    zone: Zone,
    check: ZoneCheck,
    dates: DateCache,
    last_end: Option<i64>,
}

impl CdrReader {
    /// Reads times in that zone.
    pub fn new(zone: Zone) -> Self {
        Self { zone, check: ZoneCheck::default(), dates: DateCache::default(), last_end: None }
    }

    /// The row of an event.
    pub fn read(&mut self, event: &Message) -> Entry {
        let row = self.record(event).map_err(|why| Unreadable { bytes: event.bytes().to_vec(), why });
        Entry { row, name: None }
    }

    /// When that wall time was, in seconds since 1970 in UTC.
    pub fn moment(&mut self, wall: &[u8]) -> Option<i64> {
        let wall = self.dates.parse(wall)?;
        let times = WallTimes { start: wall, answer: None, end: wall, duration: 0, billed: 0 };
        Some(self.zone.resolve(times, || None, || None).start)
    }

    /// What looks wrong with the zone, in words.
    pub fn trouble(&self) -> Option<String> {
        self.check.trouble(&self.zone)
    }

    fn record(&mut self, event: &Message) -> Result<Record, MalformedReason> {
        let (fixed, [linkedid, sequence]) = columns(event)?;
        let [
            _account,
            src,
            dst,
            _context,
            _clid,
            channel,
            dstchannel,
            lastapp,
            lastdata,
            start,
            answer,
            end,
            duration,
            billed,
            disposition,
            _flags,
            uniqueid,
            _userfield,
        ] = fixed;
        let filled = |value: &[u8]| Some(value.to_vec()).filter(|value| !value.is_empty());
        let mut time = |value: &[u8]| self.dates.parse(value).ok_or(MalformedReason::Time);
        let (start, end) = (time(start)?, time(end)?);
        let answer = if answer.is_empty() { None } else { Some(time(answer)?) };
        let (duration, billed) = (integer(duration)?, integer(billed)?);
        let disposition = Disposition::parse(disposition).ok_or(MalformedReason::Disposition)?;
        let sequence = match sequence {
            Some(value) => Some(u64::try_from(integer(value)?).map_err(|_| MalformedReason::Number)?),
            None => None,
        };
        let (uniqueid, linkedid) = (filled(uniqueid), linkedid.and_then(filled));
        let created = || uniqueid.as_deref().or(linkedid.as_deref()).and_then(uniqueid::created);
        let times = self.zone.resolve(WallTimes { start, answer, end, duration, billed }, created, || self.last_end);
        if self.check.wants()
            && let Some(created) = created()
        {
            self.check.note(start, times.start, created);
        }
        self.last_end = Some(times.end);
        Ok(Record {
            uniqueid,
            linkedid,
            sequence,
            channel: channel.to_vec(),
            dstchannel: dstchannel.to_vec(),
            lastapp: lastapp.to_vec(),
            lastdata: lastdata.to_vec(),
            src: src.to_vec(),
            dst: dst.to_vec(),
            start: times.start,
            answer: times.answer,
            end: times.end,
            disposition,
        })
    }
}

type Columns<'a> = ([&'a [u8]; KEYS.len()], [Option<&'a [u8]>; MAPPED.len()]);

/// The values of the keys, if each stands where it belongs and nowhere else.
fn columns(event: &Message) -> Result<Columns<'_>, MalformedReason> {
    let mut fixed: [&[u8]; KEYS.len()] = [b""; KEYS.len()];
    let mut mapped = [None; MAPPED.len()];
    let mut seen = 0;
    for (key, value) in event.pairs() {
        if let Some(at) = KEYS.iter().position(|known| known.as_bytes() == key) {
            if at != seen {
                return Err(MalformedReason::Columns);
            }
            fixed[at] = value;
            seen += 1;
        } else if let Some(at) = MAPPED.iter().position(|known| known.as_bytes().eq_ignore_ascii_case(key))
            && (seen < KEYS.len() || mapped[at].replace(value).is_some())
        {
            return Err(MalformedReason::Columns);
        }
    }
    if seen == KEYS.len() { Ok((fixed, mapped)) } else { Err(MalformedReason::Columns) }
}

fn integer(value: &[u8]) -> Result<i64, MalformedReason> {
    let text = std::str::from_utf8(value).map_err(|_| MalformedReason::Number)?;
    text.parse().map_err(|_| MalformedReason::Number)
}

#[cfg(test)]
mod tests;
