//! A file as Asterisk writes it: rows once and in order, whatever becomes of the file.

use std::{fs, path::Path};

use rusqlite::Connection;
use tempfile::TempDir;

use super::*;
use crate::pbx::leg::Disposition;

const MAKE: &str =
    "CREATE TABLE cdr (AcctId INTEGER PRIMARY KEY, calldate, clid, channel, dstchannel, lastapp, lastdata,
                    duration, billsec, disposition, uniqueid, linkedid, sequence, src, dst)";

struct Bench {
    directory: TempDir,
    reader: Reader,
    watcher: Watcher,
}

impl Bench {
    fn new(mode: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("master.db");
        let bench = Self {
            reader: Reader { table: "cdr".to_owned(), columns: Columns::new(Zone::utc()), place: Place::default() },
            watcher: Watcher::new(path),
            directory,
        };
        bench.asterisk().execute_batch(&format!("PRAGMA journal_mode = {mode}; {MAKE};")).unwrap();
        bench
    }

    fn asterisk(&self) -> Connection {
        Connection::open(self.directory.path().join("master.db")).unwrap()
    }

    fn write(&self, connection: &Connection, from: u32, to: u32) {
        for number in from..to {
            connection
                .execute(
                    "INSERT INTO cdr (calldate, clid, channel, dstchannel, lastapp, lastdata, duration, billsec, disposition,
                     uniqueid, linkedid, sequence, src, dst) VALUES ('2026-11-22 01:00:41', '', 'PJSIP/1-0000000' || ?1,
                     'PJSIP/2-0000000' || ?1, 'Dial', '', '30', '20', 'ANSWERED', '1.' || ?1, '1.1', ?1, '1', '2')",
                    [number],
                )
                .unwrap();
        }
    }

    /// Everything that a look finds, by the number in it.
    fn look(&mut self) -> Vec<u64> {
        let mut found = Vec::new();
        loop {
            self.watcher.has_changed();
            let Ok(look) = self.reader.look(&mut self.watcher) else { panic!("the file cannot be read") };
            found.extend(look.entries.into_iter().map(|entry| entry.row.ok().unwrap().sequence.unwrap()));
            self.reader.place = look.place;
            if !look.more {
                return found;
            }
        }
    }

    fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(self.directory.path()).unwrap().map(|entry| entry.unwrap());
        let mut names: Vec<_> = entries.map(|entry| entry.file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

#[test]
fn rows_come_once_while_asterisk_writes_and_nothing_is_left_behind() {
    for mode in ["DELETE", "WAL"] {
        let mut bench = Bench::new(mode);
        let asterisk = bench.asterisk();
        bench.write(&asterisk, 0, 5);
        assert_eq!(bench.look(), [0, 1, 2, 3, 4], "{mode}");
        assert_eq!(bench.look(), [0; 0], "{mode}");
        bench.write(&asterisk, 5, 7);
        assert_eq!(bench.look(), [5, 6], "{mode}");
        drop(asterisk);
        assert_eq!(bench.files(), ["master.db"], "{mode}");
        let before = fs::read(bench.directory.path().join("master.db")).unwrap();
        let mut again = Reader { table: "cdr".to_owned(), columns: Columns::new(Zone::utc()), place: Place::default() };
        std::mem::swap(&mut bench.reader, &mut again);
        assert_eq!(bench.look().len(), 7, "{mode}");
        assert_eq!(bench.files(), ["master.db"], "{mode}: reading made a file");
        assert_eq!(fs::read(bench.directory.path().join("master.db")).unwrap(), before, "{mode}: reading wrote");
    }
}

#[test]
fn a_file_that_was_made_anew_is_read_from_its_beginning_and_a_pruned_one_is_not() {
    let mut bench = Bench::new("DELETE");
    bench.write(&bench.asterisk(), 0, 20);
    assert_eq!(bench.look().len(), 20);
    // The owner keeps the file small.
    bench.asterisk().execute_batch("DELETE FROM cdr WHERE AcctId <= 15").unwrap();
    bench.write(&bench.asterisk(), 20, 22);
    assert_eq!(bench.look(), [20, 21]);
    bench.asterisk().execute_batch("DELETE FROM cdr WHERE AcctId <= 21").unwrap();
    bench.write(&bench.asterisk(), 22, 24);
    assert_eq!(bench.look(), [22, 23]);
    // The last row goes, and its number comes again with another one.
    bench.asterisk().execute_batch("DELETE FROM cdr WHERE AcctId = 24").unwrap();
    bench.write(&bench.asterisk(), 30, 32);
    assert_eq!(bench.look(), [30, 31]);
    // Emptied, it counts from 1 again.
    bench.asterisk().execute_batch("DELETE FROM cdr").unwrap();
    assert_eq!(bench.look(), [0; 0]);
    bench.write(&bench.asterisk(), 40, 43);
    assert_eq!(bench.look(), [40, 41, 42]);
    // Another file.
    fs::remove_file(bench.directory.path().join("master.db")).unwrap();
    bench.asterisk().execute_batch(MAKE).unwrap();
    bench.write(&bench.asterisk(), 50, 55);
    assert_eq!(bench.look(), [50, 51, 52, 53, 54]);
}

#[test]
fn a_reader_does_not_keep_the_writer_waiting() {
    let mut bench = Bench::new("DELETE");
    let asterisk = bench.asterisk();
    asterisk.busy_timeout(Duration::ZERO).unwrap();
    bench.write(&asterisk, 0, 3);
    let look = bench.reader.look(&mut bench.watcher);
    // Between looks there is no lock at all.
    bench.write(&asterisk, 3, 4);
    assert!(look.is_ok());
    // A writer in the middle of a transaction keeps the reader out, in words.
    asterisk.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let Err(Closed::Fault(fault)) = bench.reader.look(&mut bench.watcher) else { panic!("read through a lock") };
    assert!(fault.0.contains("is being written"), "{fault}");
}

#[test]
fn what_is_wrong_is_said() {
    let mut bench = Bench::new("DELETE");
    bench.asterisk().execute_batch("ALTER TABLE cdr RENAME COLUMN disposition TO outcome").unwrap();
    let words = |bench: &mut Bench| match bench.reader.look(&mut bench.watcher) {
        Err(Closed::Fault(fault)) => fault.0,
        _ => panic!("nothing was wrong"),
    };
    assert!(words(&mut bench).contains("must hold columns start"));
    fs::write(
        bench.directory.path().join("master.db"),
        "no database, and longer than a header of a hundred bytes. ".repeat(9),
    )
    .unwrap();
    assert!(words(&mut bench).contains("is no SQLite file"));
    fs::remove_file(bench.directory.path().join("master.db")).unwrap();
    assert!(words(&mut bench).contains("is cdr_sqlite3_custom loaded"));
}

#[test]
fn texts_need_not_be_valid_and_numbers_may_be_texts() {
    let mut bench = Bench::new("DELETE");
    bench.write(&bench.asterisk(), 0, 1);
    bench
        .asterisk()
        .execute_batch("UPDATE cdr SET src = CAST(x'ff31' AS TEXT), duration = 31, sequence = '7'")
        .unwrap();
    let look = bench.reader.look(&mut bench.watcher).ok().unwrap();
    let record = look.entries[0].row.as_ref().ok().unwrap();
    assert_eq!(record.src, b"\xff1");
    assert_eq!((record.sequence, record.end - record.start, record.answer), (Some(7), 31, Some(record.start + 11)));
    assert_eq!(record.disposition, Disposition::Answered);
}

#[test]
fn a_real_file_is_understood_row_by_row() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/pbx/asterisk16/master.db");
    let mut watcher = Watcher::new(path);
    let mut reader = Reader { table: "cdr".to_owned(), columns: Columns::new(Zone::utc()), place: Place::default() };
    let look = reader.look(&mut watcher).ok().unwrap();
    assert_eq!((look.entries.len(), look.more), (499, false));
    assert!(look.entries.iter().all(|entry| entry.row.is_ok()));
}
