//! What an import promises: every row once, whoever read it before, and nothing for the vendor.

use std::fs;

use super::*;
use crate::{
    call::Figures,
    pbx::{Row, RowReader, tail::Tail},
    settings::Pbx,
    state::StateDir,
    store::{Gathered, Gatherer, Packer, Reporting, RollupRow},
};

const NOW: u64 = 1_795_400_000;

struct Fixture {
    directory: tempfile::TempDir,
    state: StateDir,
    rules: CallRules,
}

fn fixture() -> Fixture {
    let directory = tempfile::tempdir().unwrap();
    let state = StateDir::new(directory.path().join("state"));
    let rules = CallRules::new(&Pbx { trunks: vec!["provider1".into()], ..Pbx::default() });
    Fixture { directory, state, rules }
}

/// Row `n` of a file: an answered inbound call of its own, a minute after the one before.
fn row(n: u32) -> String {
    let (hour, minute) = (n / 60 % 24, n % 60);
    format!(
        "\"\",\"447700900001\",\"1001\",\"from-did\",\"\"\"A\"\" <447700900001>\",\"PJSIP/provider1-{n:08x}\",\
         \"PJSIP/1001-{n:08x}\",\"Dial\",\"PJSIP/1001,20\",\"2026-11-20 {hour:02}:{minute:02}:00\",\
         \"2026-11-20 {hour:02}:{minute:02}:05\",\"2026-11-20 {hour:02}:{minute:02}:35\",35,30,\"ANSWERED\",\
         \"DOCUMENTATION\",\"17951616{:02}.{n}\",\"\",\"\",\"17951616{:02}.{n}\",{n}\n",
        n % 60,
        n % 60
    )
}

fn rows(range: std::ops::Range<u32>) -> String {
    range.map(row).collect()
}

impl Fixture {
    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.directory.path().join(name);
        fs::write(&path, text).unwrap();
        path
    }

    fn store(&self) -> Store {
        Store::open(&self.state).unwrap()
    }

    fn import(&self, path: &Path) -> FileOutcome {
        let input = Input::open(path).unwrap();
        file(&mut self.store(), input, Zone::utc(), &self.rules, &|| NOW, &mut |_| {}).unwrap()
    }

    /// Follows a file as the daemon does, until nothing is left to be read.
    fn follow(&self, source: &Path) {
        let mut store = self.store();
        let mut tail = Tail::new(source, Zone::utc(), store.source_position(source).unwrap());
        loop {
            if let Some((_, marks)) = store.imports(None).unwrap() {
                tail.know(marks);
            }
            let mut batch = store.batch(&self.rules).unwrap();
            let progress = tail
                .poll(&mut |row| match row {
                    Row::Leg(leg) => batch.leg(&leg, 0),
                    Row::Repeat => batch.repeat(),
                    Row::Queue(_) => panic!("no row is of a queue log"),
                    Row::Malformed { bytes, why } => batch.malformed(bytes, why),
                })
                .unwrap();
            batch.position(source, &tail.position());
            batch.commit(NOW).unwrap();
            if !progress.more {
                break;
            }
        }
    }

    fn calls(&self) -> u64 {
        self.store().counts().unwrap().calls
    }
}

#[test]
fn rows_of_the_time_that_others_count_are_left_to_them() {
    let fixture = fixture();
    let path = fixture.write("Master.csv", &rows(0..100));
    // Row 60 begins at one o'clock and ends 35 seconds later.
    let before = "2026-11-20T01:00:00Z".parse::<jiff::Timestamp>().unwrap().as_second();
    let input = Input::open(&path).unwrap().before(before);
    let outcome = file(&mut fixture.store(), input, Zone::utc(), &fixture.rules, &|| NOW, &mut |_| {}).unwrap();
    assert_eq!((outcome.rows, outcome.calls, outcome.left), (60, 60, 40));
    assert_eq!(fixture.import(&path).rows, 0, "what was passed over is not read later by mistake");
}

#[test]
fn a_file_is_imported_once_and_what_was_appended_later() {
    let fixture = fixture();
    let path = fixture.write("old.csv", &rows(0..30));
    let first = fixture.import(&path);
    assert_eq!((first.rows, first.legs, first.calls, first.already_read), (30, 30, 30, false));
    let second = fixture.import(&path);
    assert_eq!((second.rows, second.calls, second.already_read), (0, 0, true));
    // Under another name it is the same file.
    let copy = fixture.write("copy.csv", &rows(0..30));
    assert!(fixture.import(&copy).already_read);
    fs::write(&path, rows(0..40)).unwrap();
    assert_eq!(fixture.import(&path).rows, 10);
    assert!(fixture.import(&copy).already_read, "an earlier copy of a file that was read further");
    assert_eq!(fixture.calls(), 40);
}

#[test]
fn a_short_file_that_grows_is_known_again() {
    let fixture = fixture();
    // Shorter than a fingerprint: the whole of it is one.
    let path = fixture.write("Master.csv", &rows(0..1));
    assert_eq!(fixture.import(&path).rows, 1);
    fs::write(&path, rows(0..2)).unwrap();
    assert_eq!(fixture.import(&path).rows, 1);
    fs::write(&path, rows(0..50)).unwrap();
    assert_eq!(fixture.import(&path).rows, 48);
    assert!(fixture.import(&path).already_read);
    assert_eq!(fixture.calls(), 50);
}

#[test]
fn what_the_daemon_has_read_is_not_imported_again() {
    let fixture = fixture();
    let source = fixture.write("Master.csv", &rows(0..20));
    fixture.follow(&source);
    assert_eq!(fixture.calls(), 20);
    // The daemon stands still; the import goes on behind it, and the daemon behind the import.
    fs::write(&source, rows(0..30)).unwrap();
    assert_eq!(fixture.import(&source).rows, 10);
    fs::write(&source, rows(0..35)).unwrap();
    fixture.follow(&source);
    assert_eq!(fixture.calls(), 35);
    // Rotated: a new file is followed, the old one has another name.
    let rotated = fixture.directory.path().join("Master.csv.1");
    fs::rename(&source, &rotated).unwrap();
    fs::write(&source, rows(50..60)).unwrap();
    fixture.follow(&source);
    assert_eq!(fixture.calls(), 45);
    assert!(fixture.import(&rotated).already_read);
    assert!(fixture.import(&source).already_read);
    assert_eq!(fixture.calls(), 45);
}

#[test]
fn what_was_imported_is_not_followed_again() {
    let fixture = fixture();
    let source = fixture.write("Master.csv", &rows(0..30));
    assert_eq!(fixture.import(&source).rows, 30);
    fs::write(&source, rows(0..33)).unwrap();
    fixture.follow(&source);
    assert_eq!(fixture.calls(), 33);
    // Two rotations while the daemon stands still, and somebody imports what it has not read.
    let rotated = |number| fixture.directory.path().join(format!("Master.csv.{number}"));
    fs::write(&source, rows(0..36)).unwrap();
    fs::rename(&source, rotated(2)).unwrap();
    fs::write(rotated(1), rows(50..60)).unwrap();
    fs::write(&source, rows(70..71)).unwrap();
    assert_eq!(fixture.import(&rotated(1)).rows, 10);
    assert_eq!(fixture.import(&source).rows, 1);
    fs::write(&source, rows(70..75)).unwrap();
    fixture.follow(&source);
    assert_eq!(fixture.calls(), 36 + 10 + 5);
    for path in [rotated(2), rotated(1), source] {
        assert!(fixture.import(&path).already_read, "{}", path.display());
    }
}

#[test]
fn two_who_read_the_same_file_for_the_first_time_do_not_both_count_it() {
    let fixture = fixture();
    let source = fixture.write("Master.csv", &rows(0..30));
    let mut store = fixture.store();
    assert_eq!(store.source_position(&source).unwrap(), None);
    store.imports(None).unwrap();
    assert_eq!(fixture.import(&source).rows, 30);
    let text = fs::read(&source).unwrap();
    let mut batch = store.batch(&fixture.rules).unwrap();
    let taken = RowReader::new(Zone::utc()).read(&text, true, u64::MAX, &mut |row| {
        if let Row::Leg(leg) = row {
            batch.leg(&leg, 0);
        }
    });
    let mut position = Position { offset: taken.bytes as u64, ..Position::default() };
    position.take_fingerprint(&text);
    batch.position(&source, &position);
    assert!(matches!(batch.commit(NOW), Err(StoreError::Moved { .. })));
    drop(store);
    fixture.follow(&source);
    assert_eq!(fixture.calls(), 30);
}

#[test]
fn imported_calls_never_enter_a_report() {
    let fixture = fixture();
    fixture.import(&fixture.write("old.csv", &rows(0..30)));
    let reporting = Reporting { length: demarc_proto::WindowLength::DAY, open_from: 0 };
    let settled = fixture.store().settle(NOW + 900, Duration::ZERO, Some(reporting)).unwrap();
    assert_eq!(settled, 0);
    assert_eq!(fixture.store().earliest_tally().unwrap(), None);
}

#[test]
fn few_calls_in_memory_make_no_other_figures() {
    let fixture = fixture();
    // Each call has a second leg some rows later.
    let legs: Vec<String> = (0..60).flat_map(|n| [Some(row(n)), n.checked_sub(8).map(row)]).flatten().collect();
    let text: Vec<String> = legs
        .iter()
        .enumerate()
        .map(|(n, row)| {
            let cut = row.trim_end().rfind(',').unwrap();
            format!("{},{n}\n", &row[..cut])
        })
        .collect();
    let figures = |room: usize, commit_every: usize| {
        let directory = tempfile::tempdir().unwrap();
        let mut store = Store::open(&StateDir::new(directory.path())).unwrap();
        let mut pending = store.import(room).unwrap();
        let mut gatherer = Gatherer::new(&fixture.rules, NOW);
        for (n, chunk) in text.iter().enumerate() {
            let mut stretch = Gathered::default();
            let mut take = |row: Row<'_>| gatherer.row(row, &mut stretch);
            RowReader::new(Zone::utc()).read(chunk.as_bytes(), true, u64::MAX, &mut take);
            gatherer.end(&mut stretch);
            pending.stretch(stretch);
            while let Some(mut ripe) = pending.ripe() {
                pending.closed(ripe.close(&mut Packer::default()));
            }
            if n % commit_every == 0 {
                store.commit(&mut pending, NOW).unwrap();
            }
        }
        store.commit(&mut pending, NOW).unwrap();
        let mut rows = std::collections::BTreeMap::<_, Figures>::new();
        let add = |row: RollupRow| {
            let place = (row.quarter, row.cell, row.trunk, row.queue, row.extension);
            rows.entry(place).or_default().add(&row.figures);
        };
        store.rollups(i64::MIN, i64::MAX, add).unwrap();
        rows.retain(|_, figures| !figures.is_zero());
        (rows, store.counts().unwrap().calls)
    };
    let whole = figures(100_000, usize::MAX);
    assert_eq!(whole.1, 60);
    for (room, commit_every) in [(100_000, 7), (20, usize::MAX), (20, 11), (1, 1)] {
        assert_eq!(figures(room, commit_every), whole, "room {room}, commit every {commit_every}");
    }
}

#[test]
fn what_cannot_be_imported_is_told_apart() {
    let fixture = fixture();
    let error = |path: &Path| Input::open(path).err().unwrap().to_string();
    assert!(error(fixture.directory.path()).contains("is a directory"));
    assert!(error(Path::new("/dev/null")).contains("no regular file"));
    assert!(error(Path::new("/nonexistent")).contains("cannot read /nonexistent"));
    let path = fixture.directory.path().join("Master.csv.2.gz");
    fs::write(&path, b"\x1f\x8b\x08\x00").unwrap();
    assert!(error(&path).contains("compressed"));
}

#[test]
fn files_of_account_codes_are_recognised() {
    let head = b"\"ACME\",\"442071230000\",";
    for (name, expected) in
        [("ACME.csv", true), ("ACME.csv.1", true), ("Master.csv", false), ("old.csv", false), ("ACM.csv", false)]
    {
        assert_eq!(is_of_an_account(&Path::new("/a").join(name), head), expected, "{name}");
    }
    assert!(!is_of_an_account(Path::new("Master.csv"), b"\"Master\",\"1\""));
}

#[test]
fn an_empty_file_is_no_trouble() {
    let fixture = fixture();
    let path = fixture.write("empty.csv", "");
    for _ in 0..2 {
        let outcome = fixture.import(&path);
        assert_eq!((outcome.rows, outcome.already_read), (0, false));
    }
}

#[test]
fn the_summary_is_what_scripts_expect() {
    let mut summary = Summary::default();
    summary.add(FileOutcome { rows: 3, legs: 2, malformed: 1, calls: 2, ..FileOutcome::new(Path::new("a.csv")) });
    assert_eq!(
        summary.to_json(),
        r#"{"files":[{"path":"a.csv","rows":3,"legs":2,"malformed":1,"duplicates":0,"left":0,"already_read":false}],"calls":2}"#
    );
}
