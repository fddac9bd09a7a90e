//! Files whose columns an administrator chose: Asterisk's `cdr_custom`.
//!
//! A row that does not fit the mapping is passed over to the end of its first line, so that reading is in step again at
//! the next line that does.

use std::borrow::Cow;

use memchr::memchr;

use super::{
    format::Format,
    leg::{Disposition, Leg, MalformedReason, Row},
    moment::{Moment, Moments, resolve},
    reader::{Memory, Taken},
    scanner::MAX_RECORD,
    split::{Fields, MAX_COLUMNS, Split, split},
    uniqueid,
    wall::DateCache,
    zone::Zone,
    zone_check::ZoneCheck,
};

/// What stands for a column that is passed over.
pub const PASSED_OVER: &str = "-";

/// Every name that `CDR()` has, and `calldate`, which databases have for `start`.
const NAMES: [&str; 22] = [
    "accountcode",
    "amaflags",
    "answer",
    "billsec",
    "calldate",
    "channel",
    "clid",
    "dcontext",
    "disposition",
    "dst",
    "dstchannel",
    "duration",
    "end",
    "lastapp",
    "lastdata",
    "linkedid",
    "peeraccount",
    "sequence",
    "src",
    "start",
    "uniqueid",
    "userfield",
];

/// In which column stands what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mapping {
    width: usize,
    start: usize,
    answer: Option<usize>,
    end: Option<usize>,
    duration: Option<usize>,
    billsec: Option<usize>,
    disposition: usize,
    channel: usize,
    dstchannel: Option<usize>,
    lastapp: Option<usize>,
    lastdata: Option<usize>,
    src: Option<usize>,
    dst: Option<usize>,
    uniqueid: Option<usize>,
    linkedid: Option<usize>,
    sequence: Option<usize>,
}

impl Mapping {
    /// The mapping that the settings name.
    ///
    /// # Errors
    /// In words, when a column is unknown, stands twice, or is missing.
    pub fn new<T: AsRef<str>>(columns: &[T]) -> Result<Self, String> {
        if columns.is_empty() || columns.len() > MAX_COLUMNS {
            return Err(format!("allowed are 1 to {MAX_COLUMNS} columns"));
        }
        for (place, column) in columns.iter().enumerate() {
            let column = column.as_ref();
            if column == PASSED_OVER {
                continue;
            }
            if !NAMES.contains(&column) {
                return Err(format!(
                    "\"{column}\" is no column that CDR() has; write \"{PASSED_OVER}\" for a column to pass over"
                ));
            }
            if columns[..place].iter().any(|before| before.as_ref() == column) {
                return Err(format!("the column \"{column}\" stands there twice"));
            }
        }
        let find = |name: &str| columns.iter().position(|column| column.as_ref() == name);
        if find("start").is_some() && find("calldate").is_some() {
            return Err("\"start\" and \"calldate\" are the same: keep one of them".to_owned());
        }
        let missing = |what: &str| format!("a column is missing: {what}");
        let (end, duration) = (find("end"), find("duration"));
        if end.or(duration).is_none() {
            return Err(missing("\"duration\" or \"end\""));
        }
        Ok(Self {
            width: columns.len(),
            start: find("start").or(find("calldate")).ok_or_else(|| missing("\"start\" (or \"calldate\")"))?,
            answer: find("answer"),
            end,
            duration,
            billsec: find("billsec"),
            disposition: find("disposition").ok_or_else(|| missing("\"disposition\""))?,
            channel: find("channel").ok_or_else(|| missing("\"channel\""))?,
            dstchannel: find("dstchannel"),
            lastapp: find("lastapp"),
            lastdata: find("lastdata"),
            src: find("src"),
            dst: find("dst"),
            uniqueid: find("uniqueid"),
            linkedid: find("linkedid"),
            sequence: find("sequence"),
        })
    }
}

/// Reads rows by a mapping.
pub struct ColumnReader {
    mapping: Mapping,
    zone: Zone,
    check: ZoneCheck,
    dates: DateCache,
    fields: Fields,
    last_end: Option<i64>,
}

impl ColumnReader {
    /// Reads rows of that mapping, and times in that zone.
    pub fn new(mapping: Mapping, zone: Zone) -> Self {
        let (check, dates, fields) = Default::default();
        Self { mapping, zone, check, dates, fields, last_end: None }
    }

    /// Delivers one row and returns how many bytes it took; 0 where more must be seen first.
    fn row(&mut self, rest: &[u8], whole: bool, sink: &mut dyn FnMut(Row<'_>)) -> usize {
        let why = match split(rest, whole, &mut self.fields) {
            Split::Record { length, consumed } => match self.understand(&rest[..length]) {
                Ok(leg) => {
                    sink(Row::Leg(leg));
                    return consumed;
                }
                Err(why) => why,
            },
            Split::Broken => MalformedReason::Quoting,
            Split::Unfinished if rest.len() >= MAX_RECORD => MalformedReason::TooLong,
            Split::Unfinished if whole => MalformedReason::Torn,
            Split::Unfinished => return 0,
        };
        let window = &rest[..rest.len().min(MAX_RECORD)];
        let line = match memchr(b'\n', window) {
            Some(at) => at + 1,
            None if whole || window.len() == MAX_RECORD => window.len(),
            None => return 0,
        };
        sink(Row::Malformed { bytes: window[..line].trim_ascii_end(), why });
        line
    }

    fn understand<'a>(&mut self, record: &'a [u8]) -> Result<Leg<'a>, MalformedReason> {
        let Self { mapping, fields, .. } = self;
        if fields.count() != mapping.width {
            return Err(MalformedReason::Columns);
        }
        let text = |column: Option<usize>| match column {
            Some(column) => fields.text(record, column),
            None => Cow::Borrowed(&b""[..]),
        };
        let plain = |column: Option<usize>| column.map(|column| fields.plain(record, column)).transpose();
        let present = |column| Ok(plain(column)?.filter(|text| !text.is_empty()));
        let mut moment = |column| Moment::read(plain(column)?.unwrap_or_default(), &mut self.dates);
        let number = |column| plain(column)?.map(number).transpose();

        let disposition = disposition(fields.plain(record, mapping.disposition)?)?;
        let moments = Moments {
            start: moment(Some(mapping.start))?.ok_or(MalformedReason::Time)?,
            answer: moment(mapping.answer)?,
            end: moment(mapping.end)?,
            duration: number(mapping.duration)?,
            billed: number(mapping.billsec)?,
            answered: disposition == Disposition::Answered,
        };
        let sequence = present(mapping.sequence)?.map(number_of_record).transpose()?;
        let (uniqueid, linkedid) = (present(mapping.uniqueid)?, present(mapping.linkedid)?);
        let created = uniqueid.or(linkedid).and_then(uniqueid::created);
        let times = resolve(moments, &mut self.zone, created, self.last_end)?;
        if let (Moment::Wall(wall), Some(created)) = (moments.start, created)
            && self.check.wants()
        {
            self.check.note(wall, times.start, created);
        }
        self.last_end = Some(times.end);
        Ok(Leg {
            uniqueid,
            linkedid,
            sequence,
            channel: text(Some(mapping.channel)),
            dstchannel: text(mapping.dstchannel),
            lastapp: text(mapping.lastapp),
            lastdata: text(mapping.lastdata),
            src: text(mapping.src),
            dst: text(mapping.dst),
            start: times.start,
            answer: times.answer,
            end: times.end,
            disposition,
        })
    }
}

impl Format for ColumnReader {
    fn read(&mut self, buffer: &[u8], whole: bool, limit: u64, sink: &mut dyn FnMut(Row<'_>)) -> Taken {
        read_rows(buffer, limit, |rest| self.row(rest, whole, sink))
    }

    fn memory(&self) -> Memory {
        Memory { last_end: self.last_end, twice: None }
    }

    fn remember(&mut self, memory: Memory) {
        self.last_end = memory.last_end;
    }

    fn trouble(&self) -> Option<String> {
        self.check.trouble(&self.zone)
    }

    fn written_when(&self) -> &'static str {
        "Asterisk makes it with the first call when cdr_custom.so is loaded and cdr_custom.conf names it"
    }
}

/// Lets `row` take one row after the other from the buffer, and passes over what is empty between them: empty lines, and
/// the holes that a crash or a truncation under a writer's feet leaves.
pub(super) fn read_rows(buffer: &[u8], limit: u64, mut row: impl FnMut(&[u8]) -> usize) -> Taken {
    let mut taken = Taken::default();
    while taken.rows < limit && taken.bytes < buffer.len() {
        let rest = &buffer[taken.bytes..];
        let blank = rest.iter().take_while(|byte| matches!(byte, b'\n' | b'\r' | 0)).count();
        if blank > 0 {
            taken.bytes += blank;
            continue;
        }
        let bytes = row(rest);
        if bytes == 0 {
            break;
        }
        taken.bytes += bytes;
        taken.rows += 1;
    }
    taken
}

/// The word, or the number that `CDR(disposition,u)` has for it.
fn disposition(text: &[u8]) -> Result<Disposition, MalformedReason> {
    let of_number = || {
        Some(match text {
            b"0" => Disposition::NoAnswer,
            b"2" => Disposition::Failed,
            b"4" => Disposition::Busy,
            b"8" => Disposition::Answered,
            b"16" => Disposition::Congestion,
            _ => return None,
        })
    };
    Disposition::parse(text).or_else(of_number).ok_or(MalformedReason::Disposition)
}

/// Seconds, as a whole number or with a fraction: `CDR(billsec,f)` has one. A clock that was set back makes them negative.
pub(super) fn number(text: &[u8]) -> Result<i64, MalformedReason> {
    let text = std::str::from_utf8(text).map_err(|_| MalformedReason::Number)?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let plain = |digits: &str| digits.len() <= 18 && digits.bytes().all(|digit| digit.is_ascii_digit());
    if !plain(fraction) || !plain(whole.strip_prefix('-').unwrap_or(whole)) {
        return Err(MalformedReason::Number);
    }
    whole.parse().map_err(|_| MalformedReason::Number)
}

fn number_of_record(text: &[u8]) -> Result<u64, MalformedReason> {
    u64::try_from(number(text)?).map_err(|_| MalformedReason::Number)
}

#[cfg(test)]
pub(crate) mod tests;
