//! Rows out of bytes: scanner, columns and zone put together, and the way back after bytes that are no row.

use memchr::{memchr_iter, memrchr};
use sha2::{Digest, Sha256};

use super::{
    asterisk_csv::{self, Written},
    leg::{Leg, MalformedReason, Row},
    scanner::{Columns, MAX_RECORD, Record, scan},
    uniqueid,
    wall::DateCache,
    zone::{WallTimes, Zone},
    zone_check::ZoneCheck,
};

/// How long a row may be to prove that reading is in step again.
const MAX_WITNESS: usize = 4096;

/// Turns bytes into rows. It keeps nothing of the file itself but what the next row needs.
#[derive(Clone, Debug)]
pub struct RowReader {
    zone: Zone,
    check: ZoneCheck,
    dates: DateCache,
    columns: Columns,
    last_end: Option<i64>,
    twice: Option<u64>,
}

/// What a buffer yielded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// How many bytes the rows took.
    pub bytes: usize,
    /// How many rows there were, malformed and repeated ones too.
    pub rows: u64,
}

/// Whether what stands after a line feed is a row.
enum Witness {
    Row,
    Nothing,
    Unfinished,
}

impl RowReader {
    /// Reads times in that zone.
    pub fn new(zone: Zone) -> Self {
        let (check, dates, columns) = Default::default();
        Self { zone, check, dates, columns, last_end: None, twice: None }
    }

    /// What the next row needs to know of the rows before it: the last end, and the last row that may come twice.
    pub(super) fn memory(&self) -> (Option<i64>, Option<u64>) {
        (self.last_end, self.twice)
    }

    /// Goes on with that memory.
    pub(super) fn remember(&mut self, (last_end, twice): (Option<i64>, Option<u64>)) {
        (self.last_end, self.twice) = (last_end, twice);
    }

    /// What looks wrong with the zone, in words.
    pub fn trouble(&self) -> Option<String> {
        self.check.trouble(&self.zone)
    }

    /// Delivers at most `limit` rows from the start of the buffer. What is left then is the beginning of a row, or
    /// nothing; where `whole` says that nothing follows, it is delivered too.
    ///
    /// A buffer of at least [`MAX_RECORD`] bytes always yields something.
    pub fn read(&mut self, buffer: &[u8], whole: bool, limit: u64, sink: &mut dyn FnMut(Row<'_>)) -> Taken {
        let mut taken = Taken::default();
        while taken.rows < limit && taken.bytes < buffer.len() {
            let rest = &buffer[taken.bytes..];
            // Empty lines, and the holes that a crash or a truncation under a writer's feet leaves.
            let blank = rest.iter().take_while(|byte| matches!(byte, b'\n' | b'\r' | 0)).count();
            if blank > 0 {
                taken.bytes += blank;
                continue;
            }
            let bytes = self.row(rest, whole, sink);
            if bytes == 0 {
                break;
            }
            taken.bytes += bytes;
            taken.rows += 1;
        }
        taken
    }

    /// Delivers one row and returns how many bytes it took; 0 where more must be seen first.
    fn row(&mut self, rest: &[u8], whole: bool, sink: &mut dyn FnMut(Row<'_>)) -> usize {
        match scan(rest, whole, &mut self.columns) {
            Some(record) if !record.folded => self.deliver(rest, record, sink),
            found => self.unfold(rest, whole, found, sink),
        }
    }

    fn deliver(&mut self, rest: &[u8], record: Record, sink: &mut dyn FnMut(Row<'_>)) -> usize {
        let bytes = &rest[..record.length];
        match asterisk_csv::read(bytes, &self.columns, &mut self.dates) {
            Ok(written) => {
                let row = self.understand(bytes, written);
                sink(row);
            }
            Err(why) => self.pass_over(bytes, why, sink),
        }
        record.consumed
    }

    /// A quoted column holds a line feed, or never ends. The latter is what a torn row does: all quotes after it are
    /// taken for the wrong kind. So wherever a row stands at the beginning of a line, it is one.
    fn unfold(&mut self, rest: &[u8], whole: bool, found: Option<Record>, sink: &mut dyn FnMut(Row<'_>)) -> usize {
        let good = found.is_some_and(|record| {
            let bytes = &rest[..record.length];
            asterisk_csv::read(bytes, &self.columns, &mut self.dates).is_ok()
                && asterisk_csv::is_well_formed(bytes, &self.columns)
        });
        let window = rest.len().min(MAX_RECORD);
        let mut unfinished = false;
        for line_feed in memchr_iter(b'\n', &rest[..window]) {
            let next = line_feed + 1;
            let beyond = found.is_some_and(|record| next >= record.consumed);
            if beyond && (good || !unfinished) {
                break;
            }
            match self.witness(&rest[next..window], whole && window == rest.len()) {
                // What began within the record and is still unfinished here was no row.
                Witness::Row if beyond => {
                    unfinished = false;
                    break;
                }
                Witness::Row => {
                    self.pass_over(trim(&rest[..next]), MalformedReason::Quoting, sink);
                    return next;
                }
                Witness::Unfinished if !beyond => unfinished = true,
                Witness::Unfinished | Witness::Nothing => {}
            }
        }
        match found {
            Some(record) if good || !unfinished || whole || window == MAX_RECORD => {
                // The witnesses have written over the columns.
                scan(rest, whole, &mut self.columns);
                if good {
                    return self.deliver(rest, record, sink);
                }
                let bytes = &rest[..record.length];
                let read = asterisk_csv::read(bytes, &self.columns, &mut self.dates);
                self.pass_over(bytes, read.err().unwrap_or(MalformedReason::Quoting), sink);
                record.consumed
            }
            None if window == MAX_RECORD => {
                let end = memrchr(b'\n', &rest[..window]).map_or(window, |at| at + 1);
                self.pass_over(trim(&rest[..end]), MalformedReason::TooLong, sink);
                end
            }
            None if whole => {
                self.pass_over(trim(rest), MalformedReason::Torn, sink);
                rest.len()
            }
            _ => 0,
        }
    }

    fn witness(&mut self, text: &[u8], whole: bool) -> Witness {
        if text.is_empty() {
            return if whole { Witness::Nothing } else { Witness::Unfinished };
        }
        if text[0] != b'"' {
            return Witness::Nothing;
        }
        let shown = &text[..text.len().min(MAX_WITNESS)];
        let whole = whole && shown.len() == text.len();
        match scan(shown, whole, &mut self.columns) {
            Some(record) => {
                let bytes = &shown[..record.length];
                match asterisk_csv::read(bytes, &self.columns, &mut self.dates) {
                    Ok(_) if asterisk_csv::is_strict(bytes, &self.columns) => Witness::Row,
                    _ => Witness::Nothing,
                }
            }
            None if shown.len() < MAX_WITNESS && !whole => Witness::Unfinished,
            None => Witness::Nothing,
        }
    }

    fn pass_over(&mut self, bytes: &[u8], why: MalformedReason, sink: &mut dyn FnMut(Row<'_>)) {
        self.twice = None;
        sink(Row::Malformed { bytes, why });
    }

    fn understand<'a>(&mut self, bytes: &[u8], written: Written<'a>) -> Row<'a> {
        if *written.account == *b"Master" {
            let digest = Sha256::digest(bytes);
            let this = digest.first_chunk().map(|first| u64::from_le_bytes(*first));
            if self.twice.is_some() && self.twice == this {
                self.twice = None;
                return Row::Repeat;
            }
            self.twice = this;
        } else {
            self.twice = None;
        }
        // Where the row's own channel has no id, that of the call's first channel is the next best.
        let created = || written.uniqueid.or(written.linkedid).and_then(uniqueid::created);
        let Written { start, answer, end, duration, billed, .. } = written;
        let times = self.zone.resolve(WallTimes { start, answer, end, duration, billed }, created, self.last_end);
        if self.check.wants()
            && let Some(created) = created()
        {
            self.check.note(start, times.start, created);
        }
        self.last_end = Some(times.end);
        Row::Leg(Leg {
            uniqueid: written.uniqueid,
            linkedid: written.linkedid,
            sequence: written.sequence,
            channel: written.channel,
            dstchannel: written.dstchannel,
            lastapp: written.lastapp,
            lastdata: written.lastdata,
            src: written.src,
            dst: written.dst,
            start: times.start,
            answer: times.answer,
            end: times.end,
            disposition: written.disposition,
        })
    }
}

fn trim(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().rposition(|byte| !matches!(byte, b'\n' | b'\r')).map_or(0, |at| at + 1);
    &bytes[..end]
}

#[cfg(test)]
mod tests;
