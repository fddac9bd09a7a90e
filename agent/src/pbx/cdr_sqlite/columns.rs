//! The columns that an administrator chose for the table, found by their names, and what they mean.

use rusqlite::{Connection, Row, types::ValueRef};

use crate::pbx::{
    leg::{Disposition, MalformedReason},
    record::{Record, Unreadable},
    uniqueid,
    wall::DateCache,
    zone::{WallTimes, Zone},
    zone_check::ZoneCheck,
};

/// What is read, by the names that Asterisk's `CDR()` has, and by the one that FreePBX has for the start.
const WANTED: [&[&str]; 15] = [
    &["start", "calldate"],
    &["answer"],
    &["end"],
    &["duration"],
    &["billsec"],
    &["disposition"],
    &["channel"],
    &["dstchannel"],
    &["lastapp"],
    &["lastdata"],
    &["src"],
    &["dst"],
    &["uniqueid"],
    &["linkedid"],
    &["sequence"],
];
/// Those without which a row says nothing.
const NEEDED: [usize; 3] = [0, 3, 5];

/// A leg that lasted longer than this is a number that went wrong.
const LONGEST: i64 = 366 * 86_400;

/// Makes legs out of rows.
pub(super) struct Columns {
    zone: Zone,
    check: ZoneCheck,
    dates: DateCache,
}

/// The cells of a row, in the order of [`WANTED`].
pub(super) fn cells(row: &Row<'_>) -> rusqlite::Result<Vec<Vec<u8>>> {
    (1..=WANTED.len())
        .map(|column| {
            Ok(match row.get_ref(column)? {
                ValueRef::Null => Vec::new(),
                // Texts need not be valid.
                ValueRef::Text(bytes) | ValueRef::Blob(bytes) => bytes.to_vec(),
                ValueRef::Integer(number) => number.to_string().into_bytes(),
                ValueRef::Real(number) => number.to_string().into_bytes(),
            })
        })
        .collect()
}

/// A name as it stands in a question.
pub(super) fn name(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

impl Columns {
    pub(super) fn new(zone: Zone) -> Self {
        Self { zone, check: ZoneCheck::default(), dates: DateCache::default() }
    }

    /// What looks wrong with the zone, in words.
    pub(super) fn trouble(&self) -> Option<String> {
        self.check.trouble(&self.zone)
    }

    /// All columns for a question, with an empty text for those that are not there. Where a needed one is not there, the
    /// question names it, and SQLite says so.
    pub(super) fn find(&self, connection: &Connection, table: &str) -> rusqlite::Result<String> {
        let mut statement = connection.prepare("SELECT name FROM pragma_table_info(?1)")?;
        let there: Vec<String> = statement.query_map([table], |row| row.get(0))?.collect::<Result<_, _>>()?;
        let list: Vec<String> = WANTED
            .iter()
            .enumerate()
            .map(|(column, names)| {
                let found = there.iter().find(|other| names.iter().any(|name| name.eq_ignore_ascii_case(other)));
                match found {
                    Some(found) => name(found),
                    // Without quotes: in double ones SQLite takes an unknown name for a text.
                    None if NEEDED.contains(&column) => names[0].to_owned(),
                    None => "''".to_owned(),
                }
            })
            .collect();
        Ok(list.join(", "))
    }

    pub(super) fn make(&mut self, cells: &[Vec<u8>]) -> Result<Record, Unreadable> {
        self.record(cells).map_err(|why| Unreadable { bytes: cells.join(&b","[..]), why })
    }

    fn record(&mut self, cells: &[Vec<u8>]) -> Result<Record, MalformedReason> {
        let number = |column: usize| std::str::from_utf8(&cells[column]).ok()?.parse::<i64>().ok();
        let time = |dates: &mut DateCache, column: usize| dates.parse(cells[column].get(..19)?);
        let text = |column: usize| cells[column].clone();
        let id = |column: usize| Some(text(column)).filter(|id| !id.is_empty());

        let start = time(&mut self.dates, 0).ok_or(MalformedReason::Time)?;
        let length = |column| number(column).filter(|seconds| (0..=LONGEST).contains(seconds));
        let duration = length(3).ok_or(MalformedReason::Number)?;
        let billed = length(4).unwrap_or(0).min(duration);
        let disposition = Disposition::parse(&cells[5]).ok_or(MalformedReason::Disposition)?;
        let was_answered = disposition == Disposition::Answered || billed > 0;
        let answer = time(&mut self.dates, 1).or_else(|| was_answered.then_some(start + duration - billed));
        let end = time(&mut self.dates, 2);
        let (unique, linked) = (id(12), id(13));
        let created = || unique.as_deref().or(linked.as_deref()).and_then(uniqueid::created);

        let wall = WallTimes { start, answer, end: end.unwrap_or(start + duration), duration, billed };
        let times = self.zone.resolve(wall, created, || None);
        if self.check.wants()
            && let Some(created) = created()
        {
            self.check.note(start, times.start, created);
        }
        Ok(Record {
            channel: text(6),
            dstchannel: text(7),
            lastapp: text(8),
            lastdata: text(9),
            src: text(10),
            dst: text(11),
            sequence: number(14).and_then(|number| u64::try_from(number).ok()),
            uniqueid: unique,
            linkedid: linked,
            start: times.start,
            answer: times.answer,
            end: times.end,
            disposition,
        })
    }
}
