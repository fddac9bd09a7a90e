//! From a row of the table to a leg: what the columns mean.

use crate::{
    call::key::text_hash,
    pbx::{
        leg::{Disposition, MalformedReason},
        mysql::Row,
        record::{Record, Unreadable},
        table::Found,
        uniqueid,
        wall::DateCache,
        zone::{WallTimes, Zone},
        zone_check::ZoneCheck,
    },
};

/// A leg that lasted longer than this is a number that went wrong.
const LONGEST: i64 = 366 * 86_400;

/// Makes legs out of rows; knows the zone of their times.
pub(super) struct RowMaker {
    zone: Zone,
    check: ZoneCheck,
    dates: DateCache,
}

impl RowMaker {
    pub(super) fn new(zone: Zone) -> Self {
        Self { zone, check: ZoneCheck::default(), dates: DateCache::default() }
    }

    /// What looks wrong with the zone, in words.
    pub(super) fn trouble(&self) -> Option<String> {
        self.check.trouble(&self.zone)
    }

    /// What the wall clock of the zone shows at a moment.
    pub(super) fn wall(&self, moment: i64) -> i64 {
        moment + self.zone.offset_at(moment)
    }

    /// A time of the table, with or without fractions of a second.
    pub(super) fn time(&mut self, text: &[u8]) -> Option<i64> {
        self.dates.parse(text.get(..19)?)
    }

    pub(super) fn make(&mut self, row: &Row) -> Found {
        let at = row.text(0).and_then(|text| self.time(text));
        let sequence = row.number(12).filter(|&sequence| sequence > 0);
        let key = match (row.text(10).filter(|id| !id.is_empty()), sequence) {
            (Some(id), Some(sequence)) => text_hash(&[id, b"\0", &sequence.to_le_bytes()].concat()),
            _ => text_hash(row.bytes()),
        };
        let duration = row.number(1).unwrap_or(0);
        let record = self.record(row, at);
        let row = record.map_err(|why| Unreadable { bytes: row.bytes().to_vec(), why });
        Found { at: at.unwrap_or(0), duration, key, row }
    }

    fn record(&mut self, row: &Row, at: Option<i64>) -> Result<Record, MalformedReason> {
        let start = at.ok_or(MalformedReason::Time)?;
        let number = |column| row.number(column).filter(|number| (0..=LONGEST).contains(number));
        let duration = number(1).ok_or(MalformedReason::Number)?;
        let billed = number(2).ok_or(MalformedReason::Number)?.min(duration);
        let disposition = row.text(3).and_then(Disposition::parse).ok_or(MalformedReason::Disposition)?;
        let text = |column| row.text(column).unwrap_or_default().to_vec();
        let id = |column| row.text(column).filter(|id| !id.is_empty()).map(<[u8]>::to_vec);
        let (unique, linked) = (id(10), id(11));

        let created = || unique.as_deref().or(linked.as_deref()).and_then(uniqueid::created);
        // The table holds one time of the clock only; durations are of no zone.
        let wall = WallTimes { start, answer: None, end: start, duration: 0, billed: 0 };
        let began = self.zone.resolve(wall, created, || None).start;
        if self.check.wants()
            && let Some(created) = created()
        {
            self.check.note(start, began, created);
        }
        let was_answered = disposition == Disposition::Answered || billed > 0;
        Ok(Record {
            channel: text(4),
            dstchannel: text(5),
            lastapp: text(6),
            lastdata: text(7),
            src: text(8),
            dst: text(9),
            // Where Asterisk does not fill the column it is 0 in every row, and tells no row from another. (So it is in the first
            // row after each start of Asterisk, which does without.)
            sequence: row.number(12).and_then(|number| u64::try_from(number).ok()).filter(|&number| number > 0),
            uniqueid: unique,
            linkedid: linked,
            start: began,
            answer: was_answered.then(|| began + duration - billed),
            end: began + duration,
            disposition,
        })
    }
}
