//! Real call records, counted by the store and by a plain reading that shares no code with it; and in any order.

#![allow(clippy::unwrap_used, reason = "a test ends where something fails")]

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet, HashMap},
    fs,
    path::PathBuf,
};

use demarc::{
    call::{CallRules, Figures},
    import::{self, Input},
    local_report::{Dimension, Query, ReportZone, Value},
    pbx::{Leg, Row, RowReader, Zone},
    settings::Pbx,
    state::StateDir,
    store::{RollupRow, Store},
};
use proptest::prelude::*;

const TRUNKS: [&str; 3] = ["provider1", "provider2", "peer"];
const NOW: u64 = 1_795_400_000;

/// Every file with 16 or 18 columns.
const FILES: [&str; 14] = [
    "asterisk16/Master.default16.csv",
    "asterisk16/Master.uniqueid18.csv",
    "asterisk16/ACME.default16.csv",
    "asterisk16/ACME.uniqueid18.csv",
    "asterisk22/Master.default16.csv",
    "asterisk22/Master.uniqueid18.csv",
    "asterisk22/ACME.default16.csv",
    "asterisk22-options/Master.batch.csv",
    "asterisk22-options/Master.stock-defaults.csv",
    "rotate/files/ACME.csv",
    "rotate/files/Master.csv",
    "rotate/files/Master.csv.1",
    "rotate/files/Master.csv.2",
    "rotate/files/Master.csv.3",
];

fn data(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/data/pbx").join(name)
}

/// The bytes of every file; those with columns of an administrator's own choice in the 21 of `newcdrcolumns`.
fn files() -> Vec<(String, Vec<u8>)> {
    let plain = FILES.iter().map(|&name| (name.to_owned(), fs::read(data(name)).unwrap()));
    let custom =
        ["asterisk16/cdr_custom.csv", "asterisk22/cdr_custom.csv"].map(|name| (format!("{name} in 21"), as_21(name)));
    plain.chain(custom).collect()
}

fn as_21(name: &str) -> Vec<u8> {
    // Account code first, caller id fifth, an empty peer account before linkedid and sequence.
    const ORDER: [usize; 21] = [15, 1, 2, 3, 0, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 16, 17, 99, 18, 19];
    let mut writer = csv::WriterBuilder::new().has_headers(false).from_writer(Vec::new());
    for record in records(&fs::read(data(name)).unwrap()) {
        writer.write_record(ORDER.map(|place| record.get(place).map_or(b"".as_slice(), |field| field))).unwrap();
    }
    writer.into_inner().unwrap()
}

fn records(bytes: &[u8]) -> Vec<Vec<Vec<u8>>> {
    let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(bytes);
    reader.byte_records().map(|record| record.unwrap().iter().map(<[u8]>::to_vec).collect()).collect()
}

/// Direction and outcome, then calls, legs, talk and wait.
type Reading = BTreeMap<(String, String), [i64; 4]>;

/// The same figures by a reading as plain as can be.
fn plainly(bytes: &[u8]) -> Reading {
    let mut calls: HashMap<String, Vec<HashMap<&str, String>>> = HashMap::new();
    let mut seen = BTreeSet::new();
    let mut twice = None;
    for (number, record) in records(bytes).into_iter().enumerate() {
        // Asterisk writes each row of the account code "Master" twice into Master.csv.
        if record[0] == b"Master" && twice.take() == Some(record.clone()) {
            continue;
        }
        twice = Some(record.clone()).filter(|record| record[0] == b"Master");
        let field =
            |place: usize| record.get(place).map_or(String::new(), |bytes| String::from_utf8_lossy(bytes).into_owned());
        let id = if record.len() >= 18 { field(16) } else { String::new() };
        let linked = if record.len() == 21 { field(19) } else { String::new() };
        if record.len() == 21 && !seen.insert((id.clone(), field(20))) {
            continue;
        }
        let call = [linked, id.clone(), format!("row {number}")].into_iter().find(|name| !name.is_empty()).unwrap();
        let names = ["channel", "dstchannel", "lastapp", "start", "answer", "end", "disposition"];
        let leg = names.into_iter().zip([5, 6, 7, 9, 10, 11, 14].map(field)).chain([("id", id)]).collect();
        calls.entry(call).or_default().push(leg);
    }
    let mut reading = Reading::new();
    for (name, legs) in calls {
        let start = legs.iter().map(|leg| second(&leg["start"])).min().unwrap();
        let end = legs.iter().map(|leg| second(&leg["end"])).max().unwrap();
        let answered: Vec<_> = legs.iter().filter(|leg| leg["disposition"] == "ANSWERED").collect();
        let person =
            |leg: &&&HashMap<&str, String>| !leg["dstchannel"].is_empty() && !leg["dstchannel"].starts_with("Local/");
        let picked_up = answered.iter().filter(person).map(|leg| second(&leg["answer"])).min();
        let talked: BTreeSet<i64> = answered
            .iter()
            .filter(|leg| !leg["answer"].is_empty())
            .flat_map(|leg| second(&leg["answer"])..second(&leg["end"]))
            .collect();
        let any = |key: &str, words: &[&str]| legs.iter().any(|leg| words.contains(&leg[key].as_str()));
        let outcome = if picked_up.is_some() {
            "answered"
        } else if answered.iter().any(|leg| leg["lastapp"] == "VoiceMail") {
            "voicemail"
        } else if any("lastapp", &["Queue"]) {
            "abandoned"
        } else if !answered.is_empty() {
            "system"
        } else if any("disposition", &["NO ANSWER", "CANCEL"]) {
            "no_answer"
        } else if any("disposition", &["BUSY"]) {
            "busy"
        } else {
            "failed"
        };
        let earliest = legs.iter().min_by_key(|leg| second(&leg["start"])).unwrap();
        let first = legs.iter().find(|leg| leg["id"] == name).unwrap_or(earliest);
        let went_out = legs.iter().any(|leg| on_trunk(&leg["dstchannel"]));
        let direction = match (on_trunk(&first["channel"]), went_out) {
            (true, _) => "inbound",
            (_, true) => "outbound",
            _ => "internal",
        };
        let figures = reading.entry((direction.to_owned(), outcome.to_owned())).or_default();
        let waited = picked_up.unwrap_or(end) - start;
        for (sum, amount) in figures.iter_mut().zip([1, legs.len() as i64, talked.len() as i64, waited]) {
            *sum += amount;
        }
    }
    reading
}

fn second(text: &str) -> i64 {
    let time: jiff::civil::DateTime = text.parse().unwrap();
    time.in_tz("UTC").unwrap().timestamp().as_second()
}

fn on_trunk(channel: &str) -> bool {
    TRUNKS.iter().any(|trunk| {
        channel.strip_prefix("PJSIP/").and_then(|rest| rest.strip_prefix(trunk)).is_some_and(|counter| {
            counter.len() == 9
                && counter.starts_with('-')
                && counter[1..].bytes().all(|digit| digit.is_ascii_hexdigit())
        })
    })
}

fn rules() -> CallRules {
    CallRules::new(&Pbx { trunks: TRUNKS.map(String::from).to_vec(), ..Pbx::default() })
}

struct Counted {
    _directory: tempfile::TempDir,
    store: Store,
}

fn empty() -> Counted {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(&StateDir::new(directory.path())).unwrap();
    Counted { _directory: directory, store }
}

impl Counted {
    fn reading(&self) -> Reading {
        let by = vec![Dimension::Direction, Dimension::Outcome];
        let query = Query { by, from: None, to: None, zone: ReportZone::utc() };
        let report = self.store.local_report(&query).unwrap();
        let word = |value: &Value| match value {
            Value::Direction(direction) => direction.as_str().to_owned(),
            Value::Outcome(outcome) => outcome.as_str().to_owned(),
            other => panic!("{other:?} was not asked for"),
        };
        let rows = report.rows.iter().map(|row| {
            let Figures { calls, legs, talk_seconds, wait_seconds } = row.figures;
            ((word(&row.values[0]), word(&row.values[1])), [calls, legs, talk_seconds, wait_seconds])
        });
        rows.collect()
    }

    fn rollups(&self) -> Vec<(RollupRow, [Option<String>; 3])> {
        let texts = self.store.texts().unwrap();
        let mut rows = Vec::new();
        self.store
            .rollups(i64::MIN, i64::MAX, |mut row| {
                let names = [
                    texts.trunk(row.trunk).map(|name| name.expose().to_owned()),
                    texts.queue(row.queue).map(|name| name.expose().to_owned()),
                    texts.extension(row.extension).map(|name| name.expose().to_owned()),
                ];
                // Which number a text has depends on when it came.
                (row.trunk, row.queue, row.extension) = (0, 0, 0);
                rows.push((row, names));
            })
            .unwrap();
        rows.sort_by(|left, right| {
            (left.0.quarter, left.0.cell, &left.1).cmp(&(right.0.quarter, right.0.cell, &right.1))
        });
        rows
    }
}

#[test]
fn every_file_is_counted_as_a_plain_reading_counts_it() {
    for (name, bytes) in files() {
        let mut counted = empty();
        let path = counted._directory.path().join("old.csv");
        fs::write(&path, &bytes).unwrap();
        let outcome =
            import::file(&mut counted.store, Input::open(&path).unwrap(), Zone::utc(), &rules(), &|| NOW, &mut |_| {})
                .unwrap();
        assert_eq!((outcome.malformed, outcome.rows as usize), (0, records(&bytes).len()), "{name}");
        let expected = plainly(&bytes);
        assert!(!expected.is_empty(), "{name}");
        assert_eq!(counted.reading(), expected, "{name}");
    }
}

/// Everything that the files hold, as legs that live as long as the test.
fn all_legs() -> Vec<Leg<'static>> {
    let mut legs = Vec::new();
    for (_, bytes) in files() {
        let bytes: &'static [u8] = bytes.leak();
        RowReader::new(Zone::utc()).read(bytes, true, u64::MAX, &mut |row| {
            let Row::Leg(leg) = row else { return };
            let lasting = |id: Option<&[u8]>| id.map(|id| &*id.to_vec().leak());
            let owned = |text: &Cow<'_, [u8]>| Cow::Owned(text.to_vec());
            legs.push(Leg {
                uniqueid: lasting(leg.uniqueid),
                linkedid: lasting(leg.linkedid),
                sequence: leg.sequence,
                channel: owned(&leg.channel),
                dstchannel: owned(&leg.dstchannel),
                lastapp: owned(&leg.lastapp),
                lastdata: owned(&leg.lastdata),
                src: owned(&leg.src),
                dst: owned(&leg.dst),
                start: leg.start,
                answer: leg.answer,
                end: leg.end,
                disposition: leg.disposition,
            });
        });
    }
    legs
}

fn count(legs: &[&Leg<'_>], batch_size: usize) -> Counted {
    let (mut counted, rules) = (empty(), rules());
    for chunk in legs.chunks(batch_size) {
        let mut batch = counted.store.batch(&rules).unwrap();
        chunk.iter().for_each(|leg| batch.leg(leg, 0));
        batch.commit(NOW).unwrap();
    }
    counted
}

#[test]
fn any_order_and_any_batches_give_the_same_rollups() {
    let legs = all_legs();
    assert!(legs.len() > 2000);
    let straight = count(&legs.iter().collect::<Vec<_>>(), usize::MAX).rollups();
    let config = ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() };
    let order = Just((0..legs.len()).collect::<Vec<_>>()).prop_shuffle();
    proptest!(config, |(order in order, batch_size in 1_usize..400)| {
        let shuffled: Vec<_> = order.iter().map(|&place| &legs[place]).collect();
        let counted = count(&shuffled, batch_size.max(40));
        prop_assert_eq!(counted.rollups(), straight.clone());

        prop_assert_eq!(counted.store.counts().unwrap().legs, straight.iter().map(|(row, _)| row.figures.legs as u64).sum::<u64>());
    });
}

/// Calls from outside without a person, by a reading as plain as can be: start, the caller, what was dialled, and when somebody first
/// talked with that caller after that.
fn missed_plainly(bytes: &[u8]) -> BTreeSet<(i64, String, String, Option<i64>)> {
    let mut calls: BTreeMap<String, Vec<Vec<String>>> = BTreeMap::new();
    for record in records(bytes) {
        let record: Vec<_> = record.iter().map(|bytes| String::from_utf8_lossy(bytes).into_owned()).collect();
        calls.entry(record[19].clone()).or_default().push(record);
    }
    // When somebody talked, and the last nine digits of with whom.
    let (mut talks, mut open) = (Vec::new(), Vec::new());
    let end_of = |number: &str| number[number.len().saturating_sub(9)..].to_owned();
    for (name, legs) in &calls {
        let start = legs.iter().map(|leg| second(&leg[9])).min().unwrap();
        let earliest = legs.iter().min_by_key(|leg| second(&leg[9])).unwrap();
        let first = legs.iter().find(|leg| leg[16] == *name).unwrap_or(earliest);
        let by_person =
            |leg: &&Vec<String>| leg[14] == "ANSWERED" && !leg[6].is_empty() && !leg[6].starts_with("Local/");
        let picked_up = legs.iter().filter(by_person).map(|leg| second(&leg[10])).min();
        let out = legs.iter().filter(|leg| on_trunk(&leg[6]) && !on_trunk(&leg[5]));
        let out = out.min_by_key(|leg| (leg[16] != *name, second(&leg[9]), leg[20].parse::<u64>().unwrap()));
        let number = if on_trunk(&first[5]) { Some(&first[1]) } else { out.map(|leg| &leg[2]) };
        let Some(number) = number else { continue };
        match picked_up {
            Some(at) => talks.push((at, end_of(number))),
            None if on_trunk(&first[5]) => open.push((start, number.clone(), first[2].clone())),
            None => {}
        }
    }
    let returned = |start: i64, number: &str| {
        let is_known = number != "anonymous";
        let later = talks.iter().filter(|(at, other)| is_known && *at >= start && *other == end_of(number));
        later.map(|(at, _)| *at).min()
    };
    open.into_iter()
        .map(|(start, number, dialled)| {
            let returned = returned(start, &number);
            (start, number, dialled, returned)
        })
        .collect()
}

#[test]
fn callers_without_a_person_are_those_of_a_plain_reading_and_every_row_is_accounted_for() {
    for name in ["asterisk16/cdr_custom.csv", "asterisk22/cdr_custom.csv"] {
        let bytes: &'static [u8] = as_21(name).leak();
        let expected = missed_plainly(bytes);
        assert!(expected.len() > 5, "{name}: {}", expected.len());
        for portion in [1, 7, 1000] {
            let (mut counted, rules) = (empty(), rules());
            counted.store.keep_missed(std::time::Duration::from_secs(30 * 86_400)).unwrap();
            let mut rows = Vec::new();
            RowReader::new(Zone::utc()).read(bytes, true, u64::MAX, &mut |row| {
                if let Row::Leg(leg) = row {
                    rows.push((leg.uniqueid.map(<[u8]>::to_vec), leg.linkedid.map(<[u8]>::to_vec), leg.sequence));
                    let mut batch = counted.store.batch(&rules).unwrap();
                    batch.leg(&leg, 0);
                    batch.commit(NOW).unwrap();
                    if rows.len() % portion == 0 {
                        counted.store.settle(NOW, std::time::Duration::ZERO, None).unwrap();
                    }
                }
            });
            counted.store.settle(NOW, std::time::Duration::ZERO, None).unwrap();
            let found: BTreeSet<_> = counted
                .store
                .missed(i64::MIN)
                .unwrap()
                .into_iter()
                .map(|call| {
                    (call.began, call.number.expose().to_owned(), call.dialled.expose().to_owned(), call.returned)
                })
                .collect();
            assert_eq!(found, expected, "{name} in portions of {portion}");
            let ledger = counted.store.row_ledger().unwrap();
            assert_eq!((ledger.rows as usize, ledger.missing()), (rows.len(), 0));
            let halves = records(bytes).iter().filter(|record| record[5].starts_with(b"Local/")).count() as u64;
            assert_eq!((ledger.halves, ledger.used()), (halves, ledger.legs - halves));
        }
    }
}
