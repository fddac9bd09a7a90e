//! Who is listed as not called back, in whatever order rows come.

use std::borrow::Cow;

use proptest::prelude::*;

use super::*;
use crate::{
    pbx::Disposition,
    settings::Pbx,
    state::StateDir,
    store::{RowLedger, Standing, Via},
};

const NOW: i64 = 1_795_400_000;
const QUIET: Duration = Duration::from_secs(120);
const MONTH: Duration = Duration::from_secs(30 * 86_400);

struct Bench {
    _directory: tempfile::TempDir,
    store: Store,
    rules: CallRules,
}

fn bench(keep: Duration) -> Bench {
    let directory = tempfile::tempdir().unwrap();
    let mut store = Store::open(&StateDir::new(directory.path().join("state"))).unwrap();
    store.keep_missed(keep).unwrap();
    let rules = CallRules::new(&Pbx { trunks: vec!["provider1".into()], ..Pbx::default() });
    Bench { _directory: directory, store, rules }
}

/// A call from that number, which began then and which a person answered or not.
fn inbound<'a>(id: &'a str, number: &'a str, start: i64, answered: bool) -> Leg<'a> {
    Leg {
        uniqueid: Some(id.as_bytes()),
        linkedid: Some(id.as_bytes()),
        sequence: Some(1),
        channel: Cow::Borrowed(b"PJSIP/provider1-00000001"),
        dstchannel: Cow::Borrowed(b"PJSIP/1001-00000002"),
        lastapp: Cow::Borrowed(b"Dial"),
        lastdata: Cow::Borrowed(b""),
        src: Cow::Borrowed(number.as_bytes()),
        dst: Cow::Borrowed(b"+4930555000"),
        start,
        answer: answered.then_some(start + 8),
        end: start + 20,
        disposition: if answered { Disposition::Answered } else { Disposition::NoAnswer },
    }
}

fn outbound<'a>(id: &'a str, number: &'a str, start: i64, answered: bool) -> Leg<'a> {
    Leg {
        channel: Cow::Borrowed(b"PJSIP/1002-00000003"),
        dstchannel: Cow::Borrowed(b"PJSIP/provider1-00000004"),
        src: Cow::Borrowed(b"1002"),
        dst: Cow::Borrowed(number.as_bytes()),
        ..inbound(id, number, start, answered)
    }
}

impl Bench {
    fn put(&mut self, legs: &[Leg<'_>], now: i64) {
        let mut batch = self.store.batch(&self.rules).unwrap();
        legs.iter().for_each(|leg| batch.leg(leg, 0));
        batch.commit(now as u64).unwrap();
    }

    fn settle(&mut self, now: i64) {
        self.store.settle(now as u64, QUIET, None).unwrap();
    }

    fn missed(&self) -> Vec<MissedCall> {
        self.store.missed(i64::MIN).unwrap()
    }

    /// Numbers and when somebody talked with them.
    fn list(&self) -> Vec<(String, Option<i64>)> {
        self.missed().iter().map(|call| (call.number.expose().to_owned(), call.returned)).collect()
    }
}

#[test]
fn a_call_that_no_person_answers_is_listed_once_it_is_quiet() {
    let mut bench = bench(MONTH);
    bench.put(&[inbound("1795399000.1", "030123456", NOW - 600, false)], NOW);
    bench.settle(NOW + 60);
    assert_eq!(bench.list(), [], "a person may still answer");
    bench.settle(NOW + 121);
    assert_eq!(
        bench.missed(),
        [MissedCall {
            number: OutsideNumber::new("030123456"),
            dialled: OwnNumber::new("+4930555000"),
            began: NOW - 600,
            waited: 20,
            outcome: Outcome::NoAnswer,
            trunk: Some(Trunk::new("provider1")),
            queue: None,
            returned: None,
        }]
    );
}

#[test]
fn any_later_conversation_returns_a_call() {
    let mut bench = bench(MONTH);
    let start = NOW - 3600;
    bench.put(
        &[
            inbound("1.1", "030123456", start, false),
            outbound("1.2", "0049 30 123456", start + 60, false),
            inbound("1.3", "0401234567", start, false),
            inbound("1.4", "0401234567", start - 60, true),
            inbound("1.5", "anonymous", start, false),
            inbound("1.6", "anonymous", start + 60, true),
        ],
        NOW,
    );
    bench.settle(NOW + 121);
    let open = |number: &str| (number.to_owned(), None);
    assert_eq!(bench.list().iter().filter(|(_, returned)| returned.is_some()).count(), 0, "none was talked with since");
    assert!(bench.list().contains(&open("anonymous")));
    bench.put(
        &[outbound("1.7", "9004930123456", start + 120, true), inbound("1.8", "+49401234567", start + 300, true)],
        NOW + 200,
    );
    bench.settle(NOW + 400);
    let mut list = bench.list();
    list.sort();
    assert_eq!(
        list,
        [("030123456".to_owned(), Some(start + 128)), ("0401234567".to_owned(), Some(start + 308)), open("anonymous"),]
    );
}

#[test]
fn a_leg_that_comes_late_takes_its_call_from_the_list() {
    let mut bench = bench(MONTH);
    let start = NOW - 600;
    bench.put(&[inbound("1.1", "030123456", start, false)], NOW);
    bench.settle(NOW + 200);
    assert_eq!(bench.list().len(), 1);
    let mut late = inbound("1.1", "030123456", start + 15, true);
    late.sequence = Some(2);
    bench.put(&[late], NOW + 300);
    bench.settle(NOW + 500);
    assert_eq!(bench.list(), []);
}

#[test]
fn who_keeps_nothing_has_nothing_of_anybody_in_the_store() {
    let mut bench = bench(Duration::ZERO);
    bench.put(&[inbound("1.1", "030777777", NOW - 600, false)], NOW);
    bench.settle(NOW + 200);
    assert_eq!(bench.list(), []);
    bench.store.keep_missed(MONTH).unwrap();
    bench.put(&[inbound("1.2", "030888888", NOW - 600, false), inbound("1.3", "030999999", NOW - 600, true)], NOW);
    bench.settle(NOW + 200);
    assert_eq!(bench.list().len(), 1);
    bench.store.keep_missed(Duration::ZERO).unwrap();
    let left: i64 = bench
        .store
        .connection
        .query_row(
            "SELECT (SELECT count(*) FROM outside) + (SELECT count(*) FROM missed) + (SELECT count(*) FROM spoken)",
            [],
            |row| row.get(0),
        )
        .unwrap();
    assert_eq!(left, 0);
}

#[test]
fn callers_are_forgotten_after_their_time() {
    let mut bench = bench(MONTH);
    let month = MONTH.as_secs() as i64;
    bench.put(&[inbound("1.1", "1", NOW - month - 100, false), inbound("1.2", "2", NOW - month + 600, false)], NOW);
    bench.settle(NOW + 121);
    assert_eq!(bench.list(), [("2".to_owned(), None)], "an older one does not enter");
    bench.settle(NOW + 86_400);
    assert_eq!(bench.list(), []);
}

#[test]
fn what_a_hostile_caller_sends_is_cut_and_shown_without_harm() {
    let mut bench = bench(MONTH);
    let long = "9".repeat(200);
    let numbers = ["<script>alert(1)</script>", "=cmd|x", "1\r\nAction: x", "\u{202e}123", long.as_str()];
    for (place, number) in numbers.iter().enumerate() {
        bench.put(&[inbound(&format!("1.{place}"), number, NOW - 600, false)], NOW);
    }
    bench.settle(NOW + 200);
    assert_eq!(bench.list().len(), numbers.len());
    assert!(bench.missed().iter().all(|call| call.number.expose().len() <= MAX_BYTES));
    assert_eq!(format!("{:?}", bench.missed()[0].number), "OutsideNumber");
}

#[test]
fn a_row_of_a_witness_counts_when_its_word_does() {
    let mut bench = bench(MONTH);
    let feed = bench.store.enlist("witness", None, NOW as u64).unwrap().number;
    let via = Via { feed, since: 0, standing: Standing::Witness { patience: 60 }, now: NOW as u64 };
    let mut batch = bench.store.batch(&bench.rules).unwrap();
    batch.via(via);
    batch.leg(&inbound("1.1", "030123456", NOW - 600, false), 0);
    batch.stream(feed, String::new());
    batch.commit(NOW as u64).unwrap();
    bench.settle(NOW + 121);
    assert_eq!(bench.list(), [], "the call does not count yet");
    let ledger = bench.store.row_ledger().unwrap();
    let own =
        |ledger: &RowLedger| (ledger.rows, ledger.sources[0].read, ledger.sources[0].waiting, ledger.sources[0].own());
    assert_eq!((own(&ledger), ledger.missing(), ledger.elsewhere()), ((0, 1, 1, 0), 0, 0));
    bench.store.release(&bench.rules, NOW as u64 + 130).unwrap();
    bench.settle(NOW + 300);
    assert_eq!(bench.list().len(), 1);
    let ledger = bench.store.row_ledger().unwrap();
    assert_eq!((own(&ledger), ledger.missing(), ledger.elsewhere()), ((1, 1, 0, 1), 0, 0));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// However rows are dealt out to batches, and whenever calls become quiet, the list is that of the definition.
    #[test]
    fn the_order_of_rows_does_not_matter(
        calls in prop::collection::vec((0_i64..500, any::<bool>(), any::<bool>(), 0_usize..3), 1..12),
        order in any::<prop::sample::Index>(),
        batch in 1_usize..4,
    ) {
        let numbers = ["030111111", "+4930111111", "040222222"];
        let ids: Vec<String> = (0..calls.len()).map(|place| format!("1795399000.{place}")).collect();
        let mut legs: Vec<_> = calls.iter().zip(&ids).map(|(&(second, inward, answered, number), id)| {
            let make = if inward { inbound } else { outbound };
            make(id, numbers[number], NOW - 3600 + second, answered)
        }).collect();
        let begin = order.index(legs.len());
        legs.rotate_left(begin);
        let mut bench = bench(MONTH);
        let mut now = NOW;
        for part in legs.chunks(batch) {
            bench.put(part, now);
            now += 100;
            bench.settle(now);
        }
        bench.settle(now + 200);
        let is_same = |left: usize, right: usize| (left == 2) == (right == 2);
        let mut expected: Vec<_> = calls.iter().filter(|(_, inward, answered, _)| *inward && !answered).map(|&(second, _, _, number)| {
            let talks = calls.iter().filter(|(_, _, answered, other)| *answered && is_same(number, *other));
            let returned = talks.map(|(at, ..)| at + 8).filter(|at| *at >= second).min();
            (NOW - 3600 + second, numbers[number].to_owned(), returned.map(|at| NOW - 3600 + at))
        }).collect();
        let mut found: Vec<_> =
            bench.missed().iter().map(|call| (call.began, call.number.expose().to_owned(), call.returned)).collect();
        expected.sort();
        found.sort();
        prop_assert_eq!(found, expected);
    }
}
