//! Rows out of bytes: scanner, columns and zone put together, and the way back after bytes that are no row.

use memchr::{memchr_iter, memrchr};
use sha2::{Digest, Sha256};

#[cfg(target_arch = "x86_64")]
use super::blocks::Wide;
use super::{
    asterisk_csv::{self, Written},
    blocks::WINDOW,
    index::{Found, Index},
    leg::{Leg, MalformedReason, Row, Sink},
    scanner::{Columns, Fields, MAX_RECORD, Record, scan},
    uniqueid, usual,
    wall::DateCache,
    zone::{Times, WallTimes, Zone},
    zone_check::ZoneCheck,
};

/// How long a row may be to prove that reading is in step again.
const MAX_WITNESS: usize = 4096;
/// So much is indexed at once where the last row could not be.
const SMALL_WINDOW: usize = 1024;

/// Turns bytes into rows. It keeps nothing of the file itself but what the next row needs.
///
/// Rows without line feeds inside are found many at a time by the index; every other one, and what is no row, is looked
/// at for itself.
#[derive(Clone, Debug)]
pub struct RowReader {
    index: Index,
    window: usize,
    columns: Columns,
    sense: Sense,
}

/// What makes rows of columns.
#[derive(Clone, Debug)]
struct Sense {
    zone: Zone,
    check: ZoneCheck,
    dates: DateCache,
    memory: Memory,
    /// Which parts of the memory are only supposed, since the rows before were not read.
    supposed: Supposed,
    /// Whether a row was read by what is only supposed.
    relied: bool,
}

/// What the next row needs to know of the rows before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// The end of the last row.
    pub last_end: Option<i64>,
    /// The last row, if it may come twice.
    pub twice: Option<u64>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Supposed {
    last_end: bool,
    twice: bool,
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
        let sense = Sense {
            zone,
            check: ZoneCheck::default(),
            dates: DateCache::default(),
            memory: Memory::default(),
            supposed: Supposed::default(),
            relied: false,
        };
        Self { index: Index::default(), window: WINDOW, columns: Columns::default(), sense }
    }

    pub(super) fn memory(&self) -> Memory {
        self.sense.memory
    }

    /// Goes on with that memory.
    pub(super) fn remember(&mut self, memory: Memory) {
        (self.sense.memory, self.sense.supposed, self.sense.relied) = (memory, Supposed::default(), false);
    }

    /// Begins in the middle of a file, without knowing the rows before. Whether that could have made a difference,
    /// [`RowReader::relied_on_nothing`] tells.
    pub(super) fn suppose(&mut self) {
        self.remember(Memory::default());
        self.sense.supposed = Supposed { last_end: true, twice: true };
    }

    /// Whether all rows since were read the same as if those before them were known.
    pub(super) fn relied_on_nothing(&self) -> bool {
        let Supposed { last_end, twice } = self.sense.supposed;
        !(self.sense.relied || last_end || twice)
    }

    /// What looks wrong with the zone, in words.
    pub fn trouble(&self) -> Option<String> {
        self.sense.check.trouble(&self.sense.zone)
    }

    /// What was found out about the zone, which is forgotten here.
    pub(super) fn take_check(&mut self) -> ZoneCheck {
        std::mem::take(&mut self.sense.check)
    }

    /// Delivers at most `limit` rows from the start of the buffer. What is left then is the beginning of a row, or
    /// nothing; where `whole` says that nothing follows, it is delivered too.
    ///
    /// A buffer of at least [`MAX_RECORD`] bytes always yields something.
    pub fn read(&mut self, buffer: &[u8], whole: bool, limit: u64, sink: &mut dyn FnMut(Row<'_>)) -> Taken {
        self.read_until(buffer, buffer.len(), whole, limit, &mut |row: Row<'_>| sink(row))
    }

    /// The same for rows that begin before `until`.
    pub(super) fn read_until(
        &mut self,
        buffer: &[u8],
        until: usize,
        whole: bool,
        limit: u64,
        sink: &mut impl Sink,
    ) -> Taken {
        let mut taken = Taken::default();
        while taken.rows < limit && taken.bytes < until {
            let rest = &buffer[taken.bytes..];
            let many = self.indexed_rows(rest, until - taken.bytes, limit - taken.rows, sink);
            taken.bytes += many.bytes;
            taken.rows += many.rows;
            if many.bytes > 0 {
                continue;
            }
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

    /// Delivers the rows that the index finds.
    fn indexed_rows(&mut self, rest: &[u8], until: usize, limit: u64, sink: &mut impl Sink) -> Taken {
        #[cfg(target_arch = "x86_64")]
        if Wide::is_here() {
            // SAFETY: the processor has the instructions.
            return unsafe { self.indexed_rows_wide(rest, until, limit, sink) };
        }
        self.indexed_rows_with_any(rest, until, limit, sink)
    }

    /// The same, made of the instructions that newer processors have for it.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,bmi1,bmi2,pclmulqdq,popcnt")]
    fn indexed_rows_wide(&mut self, rest: &[u8], until: usize, limit: u64, sink: &mut impl Sink) -> Taken {
        self.indexed_rows_with_any(rest, until, limit, sink)
    }

    #[inline(always)]
    fn indexed_rows_with_any(&mut self, rest: &[u8], until: usize, limit: u64, sink: &mut impl Sink) -> Taken {
        let mut taken = Taken::default();
        self.index.fill(rest, self.window);
        while taken.rows < limit
            && taken.bytes < until
            && let Some(found) = self.index.next(rest)
        {
            taken = Taken { bytes: found.next, rows: taken.rows + 1 };
            let start = found.start;
            if !self.sense.deliver(found, sink) {
                self.row(&rest[start..], false, sink);
            }
        }
        // Where one row must be looked at for itself, the next ones often must, too.
        self.window = if taken.rows > 0 { WINDOW.min(4 * self.window) } else { SMALL_WINDOW };
        taken
    }

    /// Delivers one row and returns how many bytes it took; 0 where more must be seen first.
    #[cold]
    fn row(&mut self, rest: &[u8], whole: bool, sink: &mut impl Sink) -> usize {
        match scan(rest, whole, &mut self.columns) {
            Some(record) if !record.folded => {
                self.sense.deliver_any(&self.columns.of(&rest[..record.length]), sink);
                record.consumed
            }
            found => self.unfold(rest, whole, found, sink),
        }
    }

    /// A quoted column holds a line feed, or never ends. The latter is what a torn row does: all quotes after it are
    /// taken for the wrong kind. So wherever a row stands at the beginning of a line, it is one.
    fn unfold(&mut self, rest: &[u8], whole: bool, found: Option<Record>, sink: &mut impl Sink) -> usize {
        let good = found.is_some_and(|record| {
            let fields = self.columns.of(&rest[..record.length]);
            asterisk_csv::examine(&fields, &mut self.sense.dates).is_ok() && asterisk_csv::is_well_formed(&fields)
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
                    self.sense.pass_over(trim(&rest[..next]), MalformedReason::Quoting, sink);
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
                let fields = self.columns.of(&rest[..record.length]);
                if good {
                    self.sense.deliver_any(&fields, sink);
                } else {
                    let read = asterisk_csv::examine(&fields, &mut self.sense.dates);
                    self.sense.pass_over(fields.record(), read.err().unwrap_or(MalformedReason::Quoting), sink);
                }
                record.consumed
            }
            None if window == MAX_RECORD => {
                let end = memrchr(b'\n', &rest[..window]).map_or(window, |at| at + 1);
                self.sense.pass_over(trim(&rest[..end]), MalformedReason::TooLong, sink);
                end
            }
            None if whole => {
                self.sense.pass_over(trim(rest), MalformedReason::Torn, sink);
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
                let fields = self.columns.of(&shown[..record.length]);
                match asterisk_csv::examine(&fields, &mut self.sense.dates) {
                    Ok(()) if asterisk_csv::is_strict(&fields) => Witness::Row,
                    _ => Witness::Nothing,
                }
            }
            None if shown.len() < MAX_WITNESS && !whole => Witness::Unfinished,
            None => Witness::Nothing,
        }
    }

    /// Where in a buffer from the middle of a file a row certainly begins, and one that may be read without knowing
    /// the rows before it, if there is such a place.
    pub(super) fn foothold(&mut self, buffer: &[u8]) -> Option<usize> {
        let lines = memchr_iter(b'\n', buffer).map(|line_feed| line_feed + 1);
        lines.into_iter().find(|&line| {
            let text = &buffer[line..];
            !text.starts_with(asterisk_csv::QUOTED_MASTER) && matches!(self.witness(text, false), Witness::Row)
        })
    }
}

impl Sense {
    /// The one place where many rows are made: everything that it takes is put together here. Says whether it was one that is
    /// written as most are.
    #[inline(always)]
    fn deliver(&mut self, found: Found<'_>, sink: &mut impl Sink) -> bool {
        let Some(written) = usual::read(found, &mut self.dates) else { return false };
        sink.plain(self.understand(written));
        true
    }

    /// The same for rows that are written in an unusual way, or may come twice, or are none.
    #[inline(never)]
    fn deliver_any(&mut self, fields: &Fields<'_>, sink: &mut impl Sink) {
        match asterisk_csv::read(fields, &mut self.dates) {
            Ok(written) if written.is_master && self.is_second(fields.record()) => sink.row(Row::Repeat),
            Ok(written) => sink.row(Row::Leg(self.understand(written))),
            Err(why) => self.pass_over(fields.record(), why, sink),
        }
    }

    #[cold]
    fn pass_over(&mut self, bytes: &[u8], why: MalformedReason, sink: &mut impl Sink) {
        (self.memory.twice, self.supposed.twice) = (None, false);
        sink.row(Row::Malformed { bytes, why });
    }

    #[inline(always)]
    fn understand<'a, T: AsRef<[u8]>>(&mut self, written: Written<'a, T>) -> Leg<'a, T> {
        if !written.is_master {
            (self.memory.twice, self.supposed.twice) = (None, false);
        }
        let Written { start, answer, end, duration, billed, .. } = written;
        // Where the row's own channel has no id, that of the call's first channel is the next best.
        let id = written.uniqueid.or(written.linkedid);
        let times = match self.zone.resolve_plain(start, answer, end) {
            Some(times) => times,
            None => self.resolve(WallTimes { start, answer, end, duration, billed }, id),
        };
        if self.check.wants()
            && let Some(created) = id.and_then(uniqueid::created)
        {
            self.check.note(start, times.start, created);
        }
        (self.memory.last_end, self.supposed.last_end) = (Some(times.end), false);
        Leg {
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
        }
    }

    #[cold]
    fn resolve(&mut self, wall: WallTimes, id: Option<&[u8]>) -> Times {
        let last_end = || {
            self.relied |= self.supposed.last_end;
            self.memory.last_end
        };
        self.zone.resolve(wall, || id.and_then(uniqueid::created), last_end)
    }

    /// Whether a row of the account code `Master` is the second writing of the row before.
    fn is_second(&mut self, bytes: &[u8]) -> bool {
        self.relied |= self.supposed.twice;
        self.supposed.twice = false;
        let digest = Sha256::digest(bytes);
        let this = digest.first_chunk().map(|first| u64::from_le_bytes(*first));
        let second = self.memory.twice.is_some() && self.memory.twice == this;
        self.memory.twice = if second { None } else { this };
        second
    }
}

fn trim(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().rposition(|byte| !matches!(byte, b'\n' | b'\r')).map_or(0, |at| at + 1);
    &bytes[..end]
}

#[cfg(test)]
mod tests;
