//! A writer, a rotator and a reader on a real file system; a model says what must have been delivered.

mod model;

use std::{
    fs::{self, File, OpenOptions},
    io::Write,
    os::unix::fs::symlink,
    path::PathBuf,
};

use tempfile::TempDir;

use super::*;
use crate::pbx::leg::MalformedReason;

/// A row that holds its number.
pub(super) fn line(number: u64) -> String {
    format!(
        "\"\",\"1001\",\"{number}\",\"ctx\",\"\"\"A\"\" <1>\",\"PJSIP/1001-0000000a\",\"\",\"Dial\",\"\",\"2026-11-22 \
         01:00:41\",,\"2026-11-22 01:00:42\",1,0,\"BUSY\",\"DOCUMENTATION\"\n"
    )
}

pub(super) struct Bench {
    pub(super) directory: TempDir,
    pub(super) path: PathBuf,
}

impl Bench {
    pub(super) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("Master.csv");
        Self { directory, path }
    }

    pub(super) fn beside(&self, ending: &str) -> PathBuf {
        PathBuf::from(format!("{}{ending}", self.path.display()))
    }

    fn append(&self, numbers: std::ops::Range<u64>) {
        self.append_to("", numbers);
    }

    fn append_to(&self, ending: &str, numbers: std::ops::Range<u64>) {
        let text: String = numbers.map(line).collect();
        let path = self.beside(ending);
        OpenOptions::new().append(true).create(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
    }

    fn rename(&self, from: &str, to: &str) {
        fs::rename(self.beside(from), self.beside(to)).unwrap();
    }

    fn copy_truncate(&self, to: &str) {
        fs::copy(&self.path, self.beside(to)).unwrap();
        File::options().write(true).open(&self.path).unwrap().set_len(0).unwrap();
    }

    fn tail(&self, position: Option<Position>) -> Tail {
        Tail::new(&self.path, Zone::utc(), position)
    }
}

/// Polls until there is nothing more; gives the numbers of the rows.
pub(super) fn drain(tail: &mut Tail) -> Vec<u64> {
    let mut numbers = Vec::new();
    while poll(tail, &mut numbers).unwrap().more {}
    numbers
}

pub(super) fn poll(tail: &mut Tail, numbers: &mut Vec<u64>) -> Result<Progress, TailError> {
    tail.poll(&mut |row| match row {
        Row::Leg(leg) => numbers.push(std::str::from_utf8(&leg.dst).unwrap().parse().unwrap()),
        Row::Repeat | Row::Queue(_) => panic!("no row is repeated, or of a queue log"),
        Row::Malformed { why, .. } => panic!("{why}"),
    })
}

fn numbers(range: std::ops::Range<u64>) -> Vec<u64> {
    range.collect()
}

#[test]
fn rows_come_as_they_are_written() {
    let bench = Bench::new();
    let mut tail = bench.tail(None);
    assert_eq!(drain(&mut tail), numbers(0..0));
    assert!(tail.trouble().unwrap().contains("does not exist"));
    bench.append(0..3);
    assert_eq!(drain(&mut tail), numbers(0..3));
    assert_eq!(tail.trouble(), None);
    assert_eq!(drain(&mut tail), numbers(0..0));
    bench.append(3..4);
    assert_eq!(drain(&mut tail), numbers(3..4));
}

#[test]
fn a_file_that_was_only_looked_at_is_found_again_wherever_it_was_rotated_to() {
    for copied in [false, true] {
        let bench = Bench::new();
        bench.append(0..3);
        let mut tail = bench.tail(None);
        tail.look().unwrap();
        let position = tail.position();
        drop(tail);
        if copied {
            bench.copy_truncate(".1");
        } else {
            bench.rename("", ".1");
        }
        bench.append(3..5);
        assert_eq!(drain(&mut bench.tail(Some(position))), numbers(0..5), "copied: {copied}");
    }
}

#[test]
fn a_row_in_the_making_waits() {
    let bench = Bench::new();
    let text = line(7);
    let mut tail = bench.tail(None);
    for piece in text.as_bytes() {
        assert_eq!(drain(&mut tail), numbers(0..0));
        OpenOptions::new().append(true).create(true).open(&bench.path).unwrap().write_all(&[*piece]).unwrap();
        tail = bench.tail(Some(tail.position()));
    }
    assert_eq!(drain(&mut tail), [7]);
}

#[test]
fn a_poll_keeps_to_its_rows() {
    let bench = Bench::new();
    bench.append(0..10);
    let mut tail = bench.tail(None).with_rows(4);
    let mut seen = Vec::new();
    assert!(poll(&mut tail, &mut seen).unwrap().more);
    assert_eq!(seen, numbers(0..4));
    let mut again = bench.tail(Some(tail.position()));
    assert_eq!(drain(&mut again), numbers(4..10));
}

#[test]
fn what_could_not_be_stored_is_delivered_again() {
    let bench = Bench::new();
    bench.append(0..2);
    let mut tail = bench.tail(None);
    drain(&mut tail);
    let stored = tail.position();
    bench.append(2..5);
    assert_eq!(drain(&mut tail), numbers(2..5));
    tail.go_back(Some(stored));
    assert_eq!(drain(&mut tail), numbers(2..5));
    tail.go_back(None);
    assert_eq!(drain(&mut tail), numbers(0..5));
}

#[test]
fn a_renamed_file_is_drained_before_the_next() {
    let bench = Bench::new();
    bench.append(0..3);
    let mut tail = bench.tail(None);
    assert_eq!(drain(&mut tail), numbers(0..3));
    bench.append(3..5);
    bench.rename("", ".1");
    // Nobody made a new file yet, and the writer had the old one open.
    bench.append_to(".1", 5..6);
    assert_eq!(drain(&mut tail), numbers(3..6));
    bench.append_to(".1", 6..7);
    bench.append(7..9);
    assert_eq!(drain(&mut tail), numbers(6..9));
    // FreeSWITCH goes on writing to the old file until it is told to stop.
    bench.append_to(".1", 9..11);
    assert_eq!(drain(&mut tail), numbers(9..11));
    // So it does while we are away.
    let position = tail.position();
    bench.append_to(".1", 11..12);
    bench.append(12..13);
    assert_eq!(drain(&mut bench.tail(Some(position))), numbers(11..13));
}

#[test]
fn rotations_while_nobody_looked_are_caught_up_with_in_order() {
    for restart in [false, true] {
        let bench = Bench::new();
        bench.append(0..3);
        let mut tail = bench.tail(None);
        assert_eq!(drain(&mut tail), numbers(0..3));
        bench.append(3..5);
        bench.rename("", ".1");
        bench.append(5..8);
        bench.rename(".1", ".2");
        bench.rename("", ".1");
        bench.append(8..9);
        bench.rename(".2", ".3");
        bench.rename(".1", ".2");
        bench.rename("", ".1");
        if restart {
            tail = bench.tail(Some(tail.position()));
        }
        assert_eq!(drain(&mut tail), numbers(3..9), "restart {restart}");
        bench.append(9..10);
        assert_eq!(drain(&mut tail), numbers(9..10));
    }
}

#[test]
fn what_was_copied_away_is_read_in_the_copy() {
    for restart in [false, true] {
        let bench = Bench::new();
        bench.append(0..3);
        let mut tail = bench.tail(None);
        assert_eq!(drain(&mut tail), numbers(0..3));
        bench.append(3..5);
        bench.copy_truncate(".1");
        // More than there was before.
        bench.append(5..20);
        if restart {
            tail = bench.tail(Some(tail.position()));
        }
        assert_eq!(drain(&mut tail), numbers(3..20), "restart {restart}");
        bench.rename(".1", ".2");
        bench.copy_truncate(".1");
        bench.append(20..21);
        assert_eq!(drain(&mut tail), numbers(20..21));
    }
}

#[test]
fn an_empty_file_that_was_filled_and_copied_away_is_read() {
    let bench = Bench::new();
    bench.append(0..3);
    let mut tail = bench.tail(None);
    drain(&mut tail);
    bench.copy_truncate(".1");
    assert_eq!(drain(&mut tail), numbers(0..0));
    bench.append(3..5);
    bench.rename(".1", ".2");
    bench.copy_truncate(".1");
    bench.append(5..6);
    assert_eq!(drain(&mut tail), numbers(3..6));
}

#[test]
fn a_file_replaced_by_another_is_read_from_its_beginning() {
    let bench = Bench::new();
    bench.append(0..10);
    let mut tail = bench.tail(None);
    drain(&mut tail);
    bench.append(10..12);
    bench.append_to(".new", 12..14);
    bench.rename(".new", "");
    // The old one is gone from the directory, but it was open.
    assert_eq!(drain(&mut tail), numbers(10..14));
    let mut again = bench.tail(Some(tail.position()));
    fs::remove_file(&bench.path).unwrap();
    bench.append(14..15);
    assert_eq!(drain(&mut again), numbers(14..15));
    assert!(again.trouble().unwrap().contains("were not counted"), "what was in it is not known");
}

#[test]
fn an_old_copy_in_its_place_is_not_counted_again() {
    let bench = Bench::new();
    bench.append(0..20);
    fs::copy(&bench.path, bench.beside(".save")).unwrap();
    let mut tail = bench.tail(None);
    bench.append(20..22);
    assert_eq!(drain(&mut tail), numbers(0..22));
    bench.rename(".save", "");
    assert_eq!(drain(&mut tail), numbers(0..0));
    bench.append(22..23);
    assert_eq!(drain(&mut tail), numbers(22..23));
}

#[test]
fn a_file_on_another_inode_is_still_the_same_file() {
    let bench = Bench::new();
    bench.append(0..20);
    let mut tail = bench.tail(None);
    drain(&mut tail);
    let position = tail.position();
    fs::copy(&bench.path, bench.beside(".new")).unwrap();
    bench.rename(".new", "");
    bench.append(20..21);
    assert_eq!(drain(&mut tail), numbers(20..21));
    assert_eq!(drain(&mut bench.tail(Some(position))), numbers(20..21));
}

#[test]
fn a_compressed_remainder_is_said() {
    let bench = Bench::new();
    bench.append(0..3);
    let mut tail = bench.tail(None);
    drain(&mut tail);
    let position = tail.position();
    bench.append(3..5);
    let modified = fs::metadata(&bench.path).unwrap().modified().unwrap() + std::time::Duration::from_secs(1);
    fs::remove_file(&bench.path).unwrap();
    fs::write(bench.beside(".1.gz"), b"packed").unwrap();
    File::options().write(true).open(bench.beside(".1.gz")).unwrap().set_modified(modified).unwrap();
    bench.append(5..6);
    // As long as it is open, nothing is lost; after a restart it is.
    assert_eq!(drain(&mut tail), numbers(3..6));
    let mut again = bench.tail(Some(position));
    assert_eq!(drain(&mut again), numbers(5..6));
    assert!(again.trouble().unwrap().contains("Master.csv.1.gz was compressed before"), "{:?}", again.trouble());
}

#[test]
fn a_row_that_was_never_finished_is_counted_as_torn_in_the_end() {
    let bench = Bench::new();
    fs::write(&bench.path, format!("{}\"half", line(0))).unwrap();
    let mut tail = bench.tail(None);
    assert_eq!(drain(&mut tail), [0]);
    for turn in 1..=2 {
        bench.rename("", &format!("-2026112{turn}"));
        bench.append(turn..turn + 1);
        assert_eq!(drain(&mut tail), [turn]);
    }
    bench.rename("", "-20261123");
    bench.append(3..4);
    let mut torn = 0;
    tail.poll(&mut |row| {
        torn += u64::from(matches!(row, Row::Malformed { why: MalformedReason::Torn, bytes: b"\"half" }))
    })
    .unwrap();
    assert_eq!(torn, 1);
}

#[test]
fn holes_left_by_a_truncation_under_a_writer_are_skipped() {
    let bench = Bench::new();
    bench.append(0..3);
    let mut tail = bench.tail(None);
    drain(&mut tail);
    let size = fs::metadata(&bench.path).unwrap().len();
    bench.copy_truncate(".1");
    // A writer without O_APPEND goes on where it was.
    File::options().write(true).open(&bench.path).unwrap().set_len(size).unwrap();
    bench.append(3..5);
    assert_eq!(drain(&mut tail), numbers(3..5));
}

#[test]
fn only_a_plain_file_with_one_name_is_read() {
    let bench = Bench::new();
    let secret = bench.directory.path().join("secret");
    fs::write(&secret, line(1)).unwrap();
    let refused = |bench: &Bench| bench.tail(None).poll(&mut |_| panic!("a row")).unwrap_err().to_string();

    symlink(&secret, &bench.path).unwrap();
    assert!(refused(&bench).contains("is a symbolic link"));
    fs::remove_file(&bench.path).unwrap();

    fs::hard_link(&secret, &bench.path).unwrap();
    assert!(refused(&bench).contains("has 2 names"));
    fs::remove_file(&bench.path).unwrap();

    fs::create_dir(&bench.path).unwrap();
    assert!(refused(&bench).contains("is a directory"));
    fs::remove_dir(&bench.path).unwrap();

    rustix::fs::mknodat(rustix::fs::CWD, &bench.path, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0).unwrap();
    assert!(refused(&bench).contains("is no plain file"));
}

#[test]
fn a_link_put_in_its_place_later_is_refused_after_the_last_rows() {
    let bench = Bench::new();
    bench.append(0..1);
    let mut tail = bench.tail(None);
    drain(&mut tail);
    bench.append(1..2);
    bench.rename("", ".1");
    symlink("/etc/hostname", &bench.path).unwrap();
    let mut seen = Vec::new();
    assert_eq!(poll(&mut tail, &mut seen).unwrap().rows, 1);
    assert!(matches!(poll(&mut tail, &mut seen), Err(TailError::NotAFile { .. })));
    fs::remove_file(&bench.path).unwrap();
    bench.append(2..3);
    assert_eq!(drain(&mut tail), [2]);
}

#[test]
fn a_file_out_of_reach_asks_for_a_new_start() {
    let error = TailError::from_io("/x", "opened", io::Error::from_raw_os_error(libc::EACCES));
    assert!(matches!(error, TailError::NotReachable { .. }));
}

/// What logrotate made of a real Asterisk's file: found again from every place in it, and read on in order.
#[test]
fn a_real_rotation_is_read_whole_from_any_place() {
    let source = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/data/pbx/rotate/files");
    let order = [".3", "-20261122-1795310451", ".2", ".1", ""];
    let bench = Bench::new();
    let mut sizes = Vec::new();
    for (turn, ending) in order.iter().enumerate() {
        let bytes = fs::read(source.join(format!("Master.csv{ending}"))).unwrap();
        sizes.push(bytes.iter().filter(|&&byte| byte == b'\n').count() as u64);
        // The dated one is given a number, as if one way of rotating had been kept to.
        let ending = if turn == 1 { ".25" } else { ending };
        let ending = match ending {
            ".3" => ".30",
            ".2" => ".20",
            other => other,
        };
        fs::write(bench.beside(ending), bytes).unwrap();
    }
    // Start on the oldest as if it were live, stop anywhere in it, come back when all others are there.
    let names = [".30", ".25", ".20", ".1", ""];
    let mut reference = Vec::new();
    for name in names {
        let bytes = fs::read(bench.beside(name)).unwrap();
        RowReader::new(Zone::utc()).read(&bytes, true, u64::MAX, &mut |row| reference.push(key(&row)));
    }
    for stop in (1..88).step_by(9) {
        let aside = bench.directory.path().join("aside");
        fs::create_dir(&aside).unwrap();
        for name in &names[1..] {
            fs::rename(bench.beside(name), aside.join(format!("x{name}"))).unwrap();
        }
        bench.rename(".30", "");
        let mut seen = Vec::new();
        let mut tail = bench.tail(None).with_rows(stop);
        tail.poll(&mut |row| seen.push(key(&row))).unwrap();
        let position = tail.position();
        bench.rename("", ".30");
        for name in &names[1..] {
            fs::rename(aside.join(format!("x{name}")), bench.beside(name)).unwrap();
        }
        fs::remove_dir(&aside).unwrap();
        let mut tail = bench.tail(Some(position));
        while tail.poll(&mut |row| seen.push(key(&row))).unwrap().more {}
        assert_eq!(seen, reference, "stopped after {stop} rows");
    }
}

fn key(row: &Row<'_>) -> (Vec<u8>, i64, Vec<u8>) {
    match row {
        Row::Leg(leg) => (leg.uniqueid.unwrap_or_default().to_vec(), leg.end, leg.channel.to_vec()),
        other => panic!("{other:?}"),
    }
}
