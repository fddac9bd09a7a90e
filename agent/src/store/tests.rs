//! What the store promises: whole batches or nothing, every leg once, and windows that are never corrected.

use std::{borrow::Cow, collections::BTreeMap, fs, os::unix::fs::PermissionsExt};

use demarc_proto::{Direction, Outcome, Window, WindowLength};

use super::*;
use crate::{
    call::Figures,
    pbx::{Disposition, position::fingerprint},
    settings::Pbx,
    state::StateDir,
};

const NOW: u64 = 1_795_400_000;

struct Fixture {
    _directory: tempfile::TempDir,
    state: StateDir,
    store: Store,
    rules: CallRules,
}

fn fixture() -> Fixture {
    let directory = tempfile::tempdir().unwrap();
    let state = StateDir::new(directory.path().join("state"));
    let store = Store::open(&state).unwrap();
    let rules = CallRules::new(&Pbx { trunks: vec!["provider1".into()], ..Pbx::default() });
    Fixture { _directory: directory, state, store, rules }
}

/// An answered inbound leg of that call, 60 seconds long with 10 seconds of ringing.
fn leg(id: &str, sequence: Option<u64>, start: i64) -> Leg<'_> {
    Leg {
        uniqueid: Some(id.as_bytes()),
        linkedid: Some(id.as_bytes()),
        sequence,
        channel: Cow::Borrowed(b"PJSIP/provider1-00000001"),
        dstchannel: Cow::Borrowed(b"PJSIP/1001-00000002"),
        lastapp: Cow::Borrowed(b"Dial"),
        lastdata: Cow::Borrowed(b""),
        src: Cow::Borrowed(b""),
        dst: Cow::Borrowed(b""),
        start,
        answer: Some(start + 10),
        end: start + 60,
        disposition: Disposition::Answered,
    }
}

fn position(inode: u64, offset: u64, head: &[u8]) -> Position {
    Position { inode, offset, prefix_len: head.len() as u32, prefix_hash: fingerprint(head), ..Position::default() }
}

impl Fixture {
    fn put(&mut self, legs: &[Leg<'_>]) -> Committed {
        let mut batch = self.store.batch(&self.rules).unwrap();
        legs.iter().for_each(|leg| batch.leg(leg, 0));
        batch.commit(NOW).unwrap()
    }

    fn rollups(&self) -> Vec<RollupRow> {
        let mut rows = Vec::new();
        self.store.rollups(i64::MIN, i64::MAX, |row| rows.push(row)).unwrap();
        rows
    }

    /// Calls by quarter hour, direction and outcome, and waiting time, which must add up to the calls of the other rollups.
    fn kinds(&self) -> Vec<(i64, Outcome, usize, i64)> {
        let mut sums = BTreeMap::<_, i64>::new();
        let mut kinds = BTreeMap::<_, i64>::new();
        let mut note = |row: KindRow| {
            *sums.entry((row.quarter, row.cell.index())).or_default() += row.calls;
            *kinds.entry((row.quarter, row.cell.index(), row.kind.wait())).or_default() += row.calls;
        };
        self.store.kinds(i64::MIN, i64::MAX, &mut note).unwrap();
        for row in self.rollups() {
            *sums.entry((row.quarter, row.cell.index())).or_default() -= row.figures.calls;
        }
        assert!(sums.values().all(|rest| *rest == 0), "{sums:?}");
        let outcome = |cell| demarc_proto::Cell::from_index(cell).unwrap().outcome;
        let kinds = kinds.into_iter().filter(|(_, calls)| *calls != 0);
        kinds.map(|((quarter, cell, wait), calls)| (quarter, outcome(cell), wait, calls)).collect()
    }

    fn settle(&mut self, now: u64, length: &str, open_from: u64) -> u64 {
        let reporting = Reporting { length: length.parse().unwrap(), open_from };
        self.store.settle(now, Duration::from_secs(120), Some(reporting)).unwrap()
    }
}

#[test]
fn files_are_for_their_owner_alone() {
    let fixture = fixture();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&fixture.state.collector()), 0o700);
    assert_eq!(mode(&fixture.state.store()), 0o600);
    assert_eq!(mode(&fixture.state.collector().join("calls.db-wal")), 0o600);
}

#[test]
fn a_late_leg_amends_its_call() {
    let mut fixture = fixture();
    let start = 1_795_309_000;
    let mut ring = leg("1795309000.1", None, start);
    (ring.disposition, ring.answer) = (Disposition::NoAnswer, None);
    fixture.put(&[ring]);
    let rows = fixture.rollups();
    assert_eq!((rows.len(), rows[0].cell.outcome, rows[0].figures.wait_seconds), (1, Outcome::NoAnswer, 60));
    // It ends in a later quarter hour: the old cell is gone.
    fixture.put(&[leg("1795309000.1", None, start + 1000)]);
    let rows = fixture.rollups();
    assert_eq!(rows.len(), 1);
    assert_eq!((rows[0].cell.direction, rows[0].cell.outcome), (Direction::Inbound, Outcome::Answered));
    assert_eq!(rows[0].quarter, (start + 1060) / 900);
    assert_eq!(rows[0].figures, Figures { calls: 1, legs: 2, talk_seconds: 50, wait_seconds: 1010 });
    let texts = fixture.store.texts().unwrap();
    assert_eq!(texts.trunk(rows[0].trunk).unwrap().expose(), "provider1");
    assert_eq!(texts.extension(rows[0].extension).unwrap().expose(), "1001");
    assert_eq!(rows[0].queue, 0);
}

#[test]
fn a_late_leg_amends_how_long_its_caller_waited() {
    let mut fixture = fixture();
    let start = 1_795_309_000;
    let mut ring = leg("1795309000.1", None, start);
    (ring.disposition, ring.answer) = (Disposition::NoAnswer, None);
    fixture.put(&[ring.clone(), leg("1795309000.2", Some(1), start)]);
    let quarter = (start + 60) / 900;
    assert_eq!(
        fixture.kinds(),
        [(quarter, Outcome::Answered, 2, 1), (quarter, Outcome::NoAnswer, 5, 1)],
        "10 and 60 seconds"
    );
    // The same rows again change nothing, a later leg everything.
    fixture.put(&[leg("1795309000.2", Some(1), start)]);
    fixture.put(&[leg("1795309000.1", None, start + 15)]);
    assert_eq!(fixture.kinds(), [(quarter, Outcome::Answered, 2, 1), (quarter, Outcome::Answered, 3, 1)]);
    // What an import brings is packed, and adds up with the rest.
    let mut pending = fixture.store.import(0).unwrap();
    let mut gatherer = Gatherer::new(&fixture.rules, NOW);
    let mut stretch = Gathered::default();
    for (id, wait) in [("1795000000.1", 3), ("1795000000.2", 3), ("1795000000.3", 300)] {
        let row = Leg { answer: Some(1_795_000_000 + wait), end: 1_795_000_400, ..leg(id, Some(9), 1_795_000_000) };
        gatherer.row(crate::pbx::Row::Leg(row), &mut stretch);
    }
    gatherer.end(&mut stretch);
    pending.stretch(stretch);
    fixture.store.commit(&mut pending, NOW).unwrap();
    let old = 1_795_000_400 / 900;
    assert_eq!(fixture.kinds()[..2], [(old, Outcome::Answered, 0, 2), (old, Outcome::Answered, 6, 1)]);
}

#[test]
fn a_store_of_before_knows_the_waits_of_calls_that_can_be_amended() {
    let mut fixture = fixture();
    let start = 1_795_309_000;
    let mut ring = leg("1795309000.1", None, start);
    (ring.disposition, ring.answer) = (Disposition::NoAnswer, None);
    fixture.put(&[ring, leg("1795309000.2", None, start)]);
    let before = fixture.kinds();
    fixture.store.connection.execute_batch("DROP TABLE kind; DROP TABLE kind_day; PRAGMA user_version = 6;").unwrap();
    fixture.store = Store::open(&fixture.state).unwrap();
    assert_eq!(fixture.kinds(), before);
    fixture.put(&[leg("1795309000.1", None, start)]);
    assert_eq!(fixture.kinds(), [((start + 60) / 900, Outcome::Answered, 2, 2)]);
}

#[test]
fn a_row_read_twice_counts_once_even_a_batch_later() {
    let mut fixture = fixture();
    let row = || leg("1795309000.1", Some(7), 1_795_309_000);
    assert_eq!(fixture.put(&[row(), row()]).duplicates, 1);
    let again = fixture.put(&[row()]);
    assert_eq!((again.duplicates, again.legs, again.calls), (1, 0, 0));
    let counts = fixture.store.counts().unwrap();
    assert_eq!((counts.calls, counts.legs, counts.rows, counts.duplicates), (1, 1, 3, 2));
    // Without a sequence it is another leg.
    assert_eq!(fixture.put(&[leg("1795309000.1", None, 1_795_309_000)]).legs, 1);
}

#[test]
fn rows_without_an_id_are_calls_of_their_own() {
    let mut fixture = fixture();
    let row = Leg { uniqueid: None, linkedid: None, ..leg("", None, 1_795_309_000) };
    fixture.put(&[row.clone(), row.clone()]);
    fixture.put(&[row]);
    assert_eq!(fixture.store.counts().unwrap().calls, 3);
    assert_eq!(fixture.settle(NOW + 120, "1d", 0), 3);
    assert_eq!(fixture.store.counts().unwrap().unsettled, 0);
}

#[test]
fn what_is_not_committed_is_not_there() {
    let mut fixture = fixture();
    let mut batch = fixture.store.batch(&fixture.rules).unwrap();
    batch.leg(&leg("1795309000.1", None, 1_795_309_000), 0);
    batch.position(Path::new("/a/Master.csv"), &position(1, 100, b"head"));
    drop(batch);
    assert_eq!(fixture.store.counts().unwrap(), Counts::default());
    assert_eq!(fixture.store.source_position(Path::new("/a/Master.csv")).unwrap(), None);
}

#[test]
fn a_source_that_somebody_else_read_on_in_is_refused() {
    let mut fixture = fixture();
    let source = Path::new("/a/Master.csv");
    let mut other = Store::open(&fixture.state).unwrap();
    let commit = |store: &mut Store, offset| {
        let mut batch = store.batch(&fixture.rules).unwrap();
        batch.leg(&leg("1795309000.1", None, 1_795_309_000), 0);
        batch.position(source, &position(1, offset, b"head"));
        batch.commit(NOW)
    };
    assert_eq!(fixture.store.source_position(source).unwrap(), None);
    assert_eq!(other.source_position(source).unwrap(), None);
    commit(&mut other, 100).unwrap();
    assert!(matches!(commit(&mut fixture.store, 100), Err(StoreError::Moved { .. })));
    assert_eq!(fixture.store.counts().unwrap().rows, 1);
    assert_eq!(fixture.store.source_position(source).unwrap().unwrap().offset, 100);
    commit(&mut fixture.store, 200).unwrap();
    commit(&mut fixture.store, 300).unwrap();
    let counts = fixture.store.counts().unwrap();
    assert_eq!((counts.sources[0].rows, counts.sources[0].unlinked), (3, 0));
    assert_eq!(counts.sources[0].last_read, Some(NOW));
}

#[test]
fn a_rotated_file_stays_known_by_its_beginning() {
    let mut fixture = fixture();
    let source = Path::new("/a/Master.csv");
    for position in [position(1, 500, b"first file"), position(2, 40, b"second file"), position(2, 20, b"third file")] {
        let mut batch = fixture.store.batch(&fixture.rules).unwrap();
        batch.position(source, &position);
        batch.commit(NOW).unwrap();
    }
    let known =
        |head: &[u8]| fixture.store.known(head).unwrap().map(|known| (known.position.offset, known.source().is_some()));
    assert_eq!(known(b"first file, and more"), Some((500, false)));
    assert_eq!(known(b"second file, and more"), Some((40, false)));
    assert_eq!(known(b"third file"), Some((20, true)));
    assert_eq!(known(b"fourth file"), None);
}

#[test]
fn a_batch_begun_in_ignorance_of_an_import_is_refused() {
    let mut fixture = fixture();
    let source = Path::new("/a/Master.csv");
    assert!(fixture.store.imports(None).unwrap().unwrap().1.is_empty());
    let mut pending = fixture.store.import(100).unwrap();
    let imported = position(9, 10, b"some rows,");
    pending.position(Origin::File { known: None, head: b"some rows, and".to_vec() }, &imported);
    fixture.store.commit(&mut pending, NOW).unwrap();
    let commit = |store: &mut Store| {
        let mut batch = store.batch(&fixture.rules).unwrap();
        batch.position(source, &position(9, 14, b"some rows, and"));
        batch.commit(NOW)
    };
    assert!(matches!(commit(&mut fixture.store), Err(StoreError::Moved { .. })));
    let (version, marks) = fixture.store.imports(Some(0)).unwrap().unwrap();
    assert_eq!(marks, [imported.mark()]);
    commit(&mut fixture.store).unwrap();
    assert_eq!(fixture.store.imports(Some(version)).unwrap(), None);
}

#[test]
fn calls_enter_the_window_of_their_end_once_quiet() {
    let mut fixture = fixture();
    let day = WindowLength::DAY.window_at(NOW);
    let start = day.start as i64;
    fixture.put(&[leg("1.1", None, start + 3600), leg("2.1", None, start + 3630), leg("3.1", None, start + 9000)]);
    assert_eq!(fixture.settle(NOW + 119, "1d", day.start), 0);
    assert_eq!(fixture.settle(NOW + 120, "1d", day.start), 3);
    assert_eq!(fixture.settle(NOW + 500, "1d", day.start), 0);
    let tally = fixture.store.tally(day).unwrap().unwrap();
    assert_eq!((tally.total(), tally.peak_concurrency), (3, 2));
    let hours: Vec<_> = tally.calls.iter().map(|(key, calls)| (key.hour, key.talk, key.wait, *calls)).collect();
    assert_eq!(hours, [(1, 2, 2, 2), (2, 2, 2, 1)]);
    // A leg that comes now changes the local figures only.
    fixture.put(&[leg("1.1", None, start + 3700)]);
    assert_eq!(fixture.settle(NOW + 900, "1d", day.start), 0);
    assert_eq!(fixture.store.tally(day).unwrap().unwrap(), tally);
    assert_eq!(fixture.store.counts().unwrap().legs, 4);
}

#[test]
fn late_and_future_calls_go_to_an_open_window() {
    let mut fixture = fixture();
    let length = WindowLength::from_seconds(3600).unwrap();
    let open = length.window_at(NOW - 3600);
    let present = length.window_at(NOW);
    fixture.put(&[leg("1.1", None, open.start as i64 - 90_000), leg("2.1", None, NOW as i64 + 90_000)]);
    assert_eq!(fixture.settle(NOW + 120, "1h", open.start), 2);
    assert_eq!(fixture.store.earliest_tally().unwrap(), Some(open));
    assert_eq!(fixture.store.tally(open).unwrap().unwrap().total(), 1);
    assert_eq!(fixture.store.tally(present).unwrap().unwrap().total(), 1);
}

#[test]
fn what_may_not_be_reported_is_not() {
    let mut fixture = fixture();
    let end = NOW - 1000;
    let mut batch = fixture.store.batch(&fixture.rules).unwrap();
    batch.leg(&leg("1.1", None, end as i64 - 60), end + 1);
    batch.leg(&leg("2.1", None, end as i64 - 60), end);
    batch.leg(&leg("3.1", None, end as i64 - 60), u64::MAX);
    batch.commit(NOW).unwrap();
    assert_eq!(fixture.settle(NOW + 120, "1d", 0), 1);
    // Consent withdrawn: what is tallied goes, what waits never enters, and the local figures stay.
    fixture.put(&[leg("4.1", None, end as i64)]);
    fixture.store.discard_reporting().unwrap();
    assert_eq!(fixture.settle(NOW + 900, "1d", 0), 0);
    assert_eq!(fixture.store.earliest_tally().unwrap(), None);
    // Without reporting, calls are marked as they become quiet.
    fixture.put(&[leg("5.1", None, end as i64)]);
    assert_eq!(fixture.store.settle(NOW + 900, Duration::from_secs(120), None).unwrap(), 0);
    assert_eq!(fixture.settle(NOW + 900, "1d", 0), 0);
    assert_eq!(fixture.store.counts().unwrap().calls, 5);
}

#[test]
fn a_clock_set_back_does_not_hold_calls_up() {
    let mut fixture = fixture();
    fixture.put(&[leg("1.1", None, NOW as i64 - 90_000)]);
    let back = NOW - 86_400;
    assert_eq!(fixture.settle(back, "1d", 0), 0);
    assert_eq!(fixture.settle(back + 120, "1d", 0), 1);
}

#[test]
fn calls_ride_along_in_the_first_hour_of_another_window() {
    let mut fixture = fixture();
    let (from, to) = (WindowLength::DAY.window_at(NOW - 86_400), WindowLength::DAY.window_at(NOW));
    let start = from.start as i64;
    fixture.put(&[leg("1.1", None, start + 3600), leg("2.1", None, start + 9000), leg("3.1", None, to.start as i64)]);
    assert_eq!(fixture.settle(NOW + 120, "1d", from.start), 3);
    fixture.store.close_window(from, Some(to), "books", "carried").unwrap();
    assert_eq!(fixture.store.tally(from).unwrap(), None);
    let tally = fixture.store.tally(to).unwrap().unwrap();
    assert_eq!(tally.calls.iter().map(|(key, calls)| (key.hour, *calls)).collect::<Vec<_>>(), [(0, 3)]);
    assert_eq!(fixture.store.setting("books").unwrap().as_deref(), Some("carried"));
    fixture.store.close_window(to, None, "books", "closed").unwrap();
    assert_eq!(fixture.store.earliest_tally().unwrap(), None);
    let edges: i64 = fixture.store.connection.query_row("SELECT count(*) FROM edge", [], |row| row.get(0)).unwrap();
    assert_eq!(edges, 0);
    assert_eq!(fixture.store.tally(Window { start: 0, seconds: 60 }).unwrap(), None);
}

#[test]
fn the_quarantine_is_bounded() {
    let mut fixture = fixture();
    for _ in 0..3 {
        let mut batch = fixture.store.batch(&fixture.rules).unwrap();
        (0..600).for_each(|_| batch.malformed(&[b'x'; 10_000], MalformedReason::Columns));
        batch.repeat();
        batch.commit(NOW).unwrap();
    }
    let counts = fixture.store.counts().unwrap();
    assert_eq!((counts.rows, counts.malformed, counts.duplicates, counts.quarantined), (1803, 1800, 3, 1000));
    let newest = &fixture.store.quarantine(1).unwrap()[0];
    assert_eq!((newest.why.as_str(), newest.bytes.len()), ("columns", 4096));
}

#[test]
fn a_damaged_store_is_said_and_set_aside_whole() {
    let Fixture { _directory, state, store, .. } = fixture();
    drop(store);
    let path = state.store();
    let mut bytes = fs::read(&path).unwrap();
    bytes[4096..12_288].fill(0xa5);
    fs::write(&path, &bytes).unwrap();
    let error = Store::open(&state).err().unwrap();
    assert!(error.is_corrupt(), "{error}");
    let aside = Store::set_aside(&state, NOW).unwrap();
    assert_eq!(fs::read(&aside).unwrap(), bytes);
    assert!(aside.to_str().unwrap().ends_with(&format!("calls.db.corrupt-{NOW}")));
    Store::open(&state).unwrap();
    fs::write(&path, b"this never was a database, but it is long enough to be taken for one").unwrap();
    assert!(Store::open(&state).err().unwrap().is_corrupt());
    assert_ne!(Store::set_aside(&state, NOW).unwrap(), aside);
}

#[test]
fn a_full_disk_loses_nothing() {
    let mut fixture = fixture();
    fixture.put(&[leg("1.1", Some(1), 1_795_309_000)]);
    let source = Path::new("/a/Master.csv");
    let ids: Vec<_> = (0..2000).map(|n| format!("1795309000.{n}")).collect();
    let many = |store: &mut Store| {
        let mut batch = store.batch(&fixture.rules).unwrap();
        ids.iter().for_each(|id| batch.leg(&leg(id, Some(2), 1_795_309_000), 0));
        batch.position(source, &position(1, 100, b"head"));
        batch.commit(NOW)
    };
    let limit = |store: &Store, pages: i64| {
        store.connection.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |_| Ok(())).unwrap();
    };
    limit(&fixture.store, 30);
    let error = many(&mut fixture.store).err().unwrap();
    assert!(matches!(error, StoreError::Full { .. }), "{error}");
    assert_eq!(fixture.store.counts().unwrap().calls, 1);
    assert_eq!(fixture.store.source_position(source).unwrap(), None);
    limit(&fixture.store, 1_000_000);
    assert_eq!(many(&mut fixture.store).unwrap().calls, 2000);
    assert_eq!(fixture.store.source_position(source).unwrap().unwrap().offset, 100);
}

#[test]
fn several_processes_may_begin_the_same_store_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let state = StateDir::new(directory.path().join("state"));
    let rules = CallRules::default();
    std::thread::scope(|scope| {
        for n in 0..4 {
            let (state, rules) = (&state, &rules);
            scope.spawn(move || {
                let mut store = Store::open(state).unwrap();
                for m in 0..20 {
                    let mut batch = store.batch(rules).unwrap();
                    batch.leg(&leg("1795309000.1", Some(m * 10 + n), 1_795_309_000), 0);
                    batch.commit(NOW).unwrap();
                }
            });
        }
    });
    let counts = Store::open(&state).unwrap().counts().unwrap();
    assert_eq!((counts.calls, counts.legs, counts.duplicates), (1, 80, 0));
}

#[test]
fn a_store_of_a_later_version_is_left_alone() {
    let fixture = fixture();
    fixture.store.connection.pragma_update(None, "user_version", 99).unwrap();
    let error = Store::open(&fixture.state).err().unwrap();
    assert!(matches!(error, StoreError::TooNew { found: 99, .. }), "{error}");
}

#[test]
fn commands_do_not_make_a_store() {
    let directory = tempfile::tempdir().unwrap();
    let state = StateDir::new(directory.path());
    assert!(Store::open_existing(&state).unwrap().is_none());
    assert!(!state.collector().exists());
}

#[test]
fn old_calls_are_forgotten_and_waiting_ones_are_not() {
    let mut fixture = fixture();
    fixture.put(&[leg("1.1", Some(1), NOW as i64 - 100), leg("2.1", Some(2), NOW as i64 - 100)]);
    assert_eq!(fixture.settle(NOW + 120, "1d", 0), 2);
    let calls = |fixture: &Fixture| -> i64 {
        fixture.store.connection.query_row("SELECT count(*) FROM call", [], |row| row.get(0)).unwrap()
    };
    fixture.settle(NOW + 26 * 3600, "1d", 0);
    assert_eq!(calls(&fixture), 2);
    fixture.settle(NOW + 26 * 3600 + 301, "1d", 0);
    assert_eq!(calls(&fixture), 0);
}
