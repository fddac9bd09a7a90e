//! What each back end holds, brought into one form.

use std::fs;

use rusqlite::{Connection, OpenFlags};

use crate::lab::Lab;

/// One way of keeping call records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackEnd {
    /// `cdr_csv`.
    Csv,
    /// `cdr_custom`.
    Custom,
    /// `cdr_sqlite3_custom`.
    Sqlite,
    /// `cdr_manager`.
    Manager,
    /// `cdr_adaptive_odbc`, into MariaDB.
    MariaDb,
}

impl BackEnd {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Csv, Self::Custom, Self::Sqlite, Self::Manager, Self::MariaDb];
}

/// A call record, as far as all of them tell it in the same way.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Row {
    /// The channel that began it.
    pub channel: String,
    /// The channel at the other end; may be empty.
    pub dstchannel: String,
    /// When it began, in seconds, up to whole quarters of an hour: the same in UTC and in every time zone.
    pub start: u32,
}

impl Row {
    /// Of a back end's own words.
    pub fn new(channel: &str, dstchannel: &str, start: &str) -> Self {
        Self { channel: channel.to_owned(), dstchannel: dstchannel.to_owned(), start: in_quarter(start) }
    }
}

/// `2026-11-22 01:31:07` is 67 seconds after a quarter.
fn in_quarter(moment: &str) -> u32 {
    let parts: Vec<u32> = moment.split([' ', ':']).skip(2).map(|part| part.parse().expect("a number")).collect();
    parts[0] % 15 * 60 + parts[1]
}

pub(super) fn read(lab: &Lab, back_end: BackEnd) -> Vec<Row> {
    let mut rows = match back_end {
        BackEnd::Csv => csv(&fs::read(lab.cdr_csv()).unwrap_or_default(), [5, 6, 9]),
        BackEnd::Custom => csv(&fs::read(lab.cdr_custom()).unwrap_or_default(), [4, 5, 8]),
        BackEnd::Sqlite => sqlite(lab),
        BackEnd::Manager => {
            let events = lab.heard().events("Cdr");
            let row = |event: &super::Message| {
                Row::new(event.get("Channel"), event.get("DestinationChannel"), event.get("StartTime"))
            };
            events.iter().map(row).collect()
        }
        BackEnd::MariaDb => {
            let cells = lab.mariadb().query("SELECT channel, dstchannel, calldate FROM asteriskcdrdb.cdr");
            cells.iter().map(|cells| Row::new(&cells[0], &cells[1], &cells[2])).collect()
        }
    };
    rows.sort_unstable();
    rows
}

fn csv(bytes: &[u8], places: [usize; 3]) -> Vec<Row> {
    let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(bytes);
    let records = reader.byte_records().map(Result::unwrap);
    let text = |field: &[u8]| String::from_utf8_lossy(field).into_owned();
    records
        .map(|record| {
            let [channel, dstchannel, start] = places.map(|place| text(&record[place]));
            Row::new(&channel, &dstchannel, &start)
        })
        .collect()
}

fn sqlite(lab: &Lab) -> Vec<Row> {
    let read_only = OpenFlags::SQLITE_OPEN_READ_ONLY;
    let database = Connection::open_with_flags(lab.sqlite(), read_only).unwrap();
    let mut statement = database.prepare("SELECT channel, dstchannel, calldate FROM cdr").unwrap();
    let row = |row: &rusqlite::Row<'_>| {
        let [channel, dstchannel, start] = [0, 1, 2].map(|place| row.get::<_, String>(place).unwrap());
        Ok(Row::new(&channel, &dstchannel, &start))
    };
    statement.query_map([], row).unwrap().map(Result::unwrap).collect()
}
