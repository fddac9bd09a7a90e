//! However rows of several sources come, what counts is their union.

use std::{borrow::Cow, collections::BTreeMap};

use proptest::prelude::*;

use super::*;
use crate::{
    pbx::{Disposition, Leg},
    settings::Pbx,
    state::StateDir,
};

const NOW: u64 = 1_795_400_000;
const PATIENCE: u64 = 60;

struct Bench {
    _directory: tempfile::TempDir,
    store: Store,
    rules: CallRules,
    feeds: Vec<i64>,
}

fn bench(sources: usize) -> Bench {
    let directory = tempfile::tempdir().unwrap();
    let mut store = Store::open(&StateDir::new(directory.path().join("state"))).unwrap();
    let feeds = (0..sources).map(|n| store.enlist(&format!("source {n}"), None, NOW).unwrap().number).collect();
    Bench { _directory: directory, store, rules: CallRules::new(&Pbx::default()), feeds }
}

/// The row of that number; a source other than the first neither knows its sequence nor its linkedid, and its clock is ahead.
fn leg<'a>(channel: &'a str, id: &'a str, source: usize, row: u8) -> Leg<'a> {
    let start = NOW as i64 - 600 + i64::from(row) + 3600 * source as i64;
    Leg {
        uniqueid: Some(id.as_bytes()),
        linkedid: (source == 0).then_some(id.as_bytes()),
        sequence: None,
        channel: Cow::Borrowed(channel.as_bytes()),
        dstchannel: Cow::Borrowed(b""),
        lastapp: Cow::Borrowed(b""),
        lastdata: Cow::Borrowed(b""),
        src: Cow::Borrowed(b""),
        dst: Cow::Borrowed(b""),
        start,
        answer: None,
        end: start + 5,
        disposition: Disposition::NoAnswer,
    }
}

impl Bench {
    fn tell(&mut self, source: usize, rows: &[u8], now: u64) {
        let standing = if source == 0 { Standing::First } else { Standing::Witness { patience: PATIENCE } };
        let via = Via { feed: self.feeds[source], since: 0, standing, now };
        let mut batch = self.store.batch(&self.rules).unwrap();
        batch.via(via);
        for &row in rows {
            let (channel, id) = (format!("PJSIP/1-{row:08x}"), format!("1795399400.{row}"));
            batch.leg(&leg(&channel, &id, source, row), 0);
        }
        batch.stream(self.feeds[source], "somewhere".to_owned());
        batch.commit(now).unwrap();
    }

    fn release(&mut self, now: u64) -> Option<u64> {
        self.store.release(&self.rules, now).unwrap()
    }

    fn legs(&self) -> u64 {
        self.store.counts().unwrap().legs
    }
}

#[test]
fn a_witness_is_heard_when_the_first_source_is_silent() {
    let mut bench = bench(2);
    bench.tell(1, &[1, 2], NOW);
    assert_eq!(bench.legs(), 0);
    bench.tell(0, &[1], NOW + 10);
    assert_eq!(bench.legs(), 1);
    assert_eq!(bench.release(NOW + 59), Some(NOW + 60));
    assert_eq!(bench.legs(), 1);
    assert_eq!(bench.release(NOW + 60), None);
    assert_eq!(bench.legs(), 2);
    // The first source finds its tongue: nothing counts twice.
    bench.tell(0, &[2, 3], NOW + 100);
    assert_eq!(bench.legs(), 3);
    let feeds = bench.store.feeds().unwrap();
    let verdicts: Vec<_> = feeds.iter().map(|feed| (feed.rows, feed.confirmed, feed.rescued)).collect();
    assert_eq!(verdicts, [(3, 1, 0), (2, 1, 1)]);
    assert_eq!(bench.store.feed_position(bench.feeds[1]).unwrap().as_deref(), Some("somewhere"));
}

#[test]
fn a_source_that_comes_later_has_no_say_about_what_was_before() {
    let mut bench = bench(1);
    bench.tell(0, &[1], NOW);
    let late = bench.store.enlist("another", None, NOW).unwrap();
    assert_eq!(late.since, NOW as i64 - LOOK_BACK);
    assert_eq!(bench.store.enlist("another", None, NOW + 9_999).unwrap(), late);
    let mut batch = bench.store.batch(&bench.rules).unwrap();
    batch.via(Via { feed: late.number, since: late.since, standing: Standing::First, now: NOW });
    let old = Leg { start: late.since - 100, end: late.since - 1, ..leg("PJSIP/2-00000009", "1795390000.1", 0, 9) };
    batch.leg(&old, 0);
    batch.commit(NOW).unwrap();
    assert_eq!(bench.legs(), 1);
    assert_eq!(bench.store.feeds().unwrap()[1].left, 1);
}

#[test]
fn history_of_the_first_source_counts_and_leaves_no_trace() {
    let mut bench = bench(2);
    let mut batch = bench.store.batch(&bench.rules).unwrap();
    batch.via(Via { feed: bench.feeds[0], since: 0, standing: Standing::First, now: NOW });
    let old = Leg { start: 1_700_000_000, end: 1_700_000_060, ..leg("PJSIP/2-00000009", "1700000000.1", 0, 9) };
    batch.leg(&old, 0);
    batch.commit(NOW).unwrap();
    assert_eq!(bench.legs(), 1);
    let sightings: i64 =
        bench.store.connection.query_row("SELECT count(*) FROM sighting", [], |row| row.get(0)).unwrap();
    assert_eq!(sightings, 0);
}

#[test]
fn what_was_delivered_is_handed_back_until_it_is_forgotten() {
    let mut bench = bench(1);
    let feed = bench.feeds[0];
    let mut batch = bench.store.batch(&bench.rules).unwrap();
    batch.delivered(feed, u64::MAX, 10);
    batch.delivered(feed, 7, 20);
    batch.stream(feed, String::new());
    batch.commit(NOW).unwrap();
    assert_eq!(bench.store.delivered(feed).unwrap().len(), 2);
    let mut batch = bench.store.batch(&bench.rules).unwrap();
    batch.forget_delivered(feed, 20);
    batch.stream(feed, String::new());
    batch.commit(NOW).unwrap();
    assert_eq!(bench.store.delivered(feed).unwrap(), [(7, 20)]);
}

#[test]
fn what_waits_when_reports_are_discarded_enters_none_later() {
    let mut bench = bench(2);
    bench.tell(1, &[1], NOW);
    bench.store.discard_reporting().unwrap();
    bench.tell(1, &[2], NOW);
    bench.release(NOW + PATIENCE);
    assert_eq!(bench.legs(), 2);
    let reporting = crate::store::Reporting { length: "1d".parse().unwrap(), open_from: 0 };
    let quiet = std::time::Duration::from_secs(10);
    assert_eq!(bench.store.settle(NOW + PATIENCE + 10, quiet, Some(reporting)).unwrap(), 1);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
    /// Three sources tell of a few rows (some of them alike), each missing some, in any order and any portions, while rows are
    /// released at any time.
    #[test]
    fn the_union_counts(tellings in prop::collection::vec((0..3_usize, prop::collection::vec(0..6_u8, 1..4), 0..40_u64), 1..25)) {
        let mut bench = bench(3);
        let mut told = BTreeMap::<(u8, usize), u64>::new();
        let mut now = NOW;
        for (source, rows, pause) in &tellings {
            bench.tell(*source, rows, now);
            for row in rows {
                *told.entry((*row, *source)).or_default() += 1;
            }
            now += pause;
            bench.release(now);
        }
        bench.release(now + PATIENCE);
        let times = |row: u8, source: usize| told.get(&(row, source)).copied().unwrap_or(0);
        let union: u64 = (0..6_u8).map(|row| (0..3_usize).map(|source| times(row, source)).max().unwrap_or(0)).sum();
        prop_assert_eq!(bench.legs(), union);
    }
}
