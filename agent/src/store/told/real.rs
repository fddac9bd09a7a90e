//! Real records, told by several sources in any order, portions and repetitions, amount to what they are.

use std::collections::BTreeMap;

use proptest::{prelude::*, sample::Index};

use super::*;
use crate::{
    call::Figures,
    pbx::{
        Record, Row, Zone,
        columns::{ColumnReader, Mapping, tests::TWENTY},
        format::Format,
    },
    settings::Pbx,
    state::StateDir,
};

/// A day after the records were written.
const NOW: u64 = 1_795_400_000;
const PATIENCE: u64 = 60;

type Cells = BTreeMap<(i64, usize, Option<String>, Option<String>, Option<String>), (i64, i64, i64, i64)>;

/// One telling of one row: the source, and which row.
type Telling = (usize, usize);

fn records() -> Vec<Record> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/data/pbx/asterisk16/cdr_custom.csv");
    let mut reader = ColumnReader::new(Mapping::new(&TWENTY).unwrap(), Zone::utc());
    let mut records = Vec::new();
    reader.read(&std::fs::read(path).unwrap(), true, u64::MAX, &mut |row| match row {
        Row::Leg(leg) => records.push(Record {
            uniqueid: leg.uniqueid.map(<[u8]>::to_vec),
            linkedid: leg.linkedid.map(<[u8]>::to_vec),
            sequence: leg.sequence,
            channel: leg.channel.to_vec(),
            dstchannel: leg.dstchannel.to_vec(),
            lastapp: leg.lastapp.to_vec(),
            lastdata: leg.lastdata.to_vec(),
            src: leg.src.to_vec(),
            dst: leg.dst.to_vec(),
            start: leg.start,
            answer: leg.answer,
            end: leg.end,
            disposition: leg.disposition,
        }),
        other => panic!("{other:?}"),
    });
    assert_eq!(records.len(), 499);
    records
}

struct Bench {
    _directory: tempfile::TempDir,
    store: Store,
    rules: CallRules,
    feeds: Vec<i64>,
}

impl Bench {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut store = Store::open(&StateDir::new(directory.path().join("state"))).unwrap();
        let feeds = (0..3).map(|n| store.enlist(&n.to_string(), None, NOW).unwrap().number).collect();
        let trunks = ["provider1", "provider2"].map(String::from).to_vec();
        Self { _directory: directory, store, rules: CallRules::new(&Pbx { trunks, ..Pbx::default() }), feeds }
    }

    /// One portion, in one transaction. The second witness knows the second in which a row began by another zone.
    fn tell(&mut self, records: &[Record], source: usize, rows: impl Iterator<Item = usize>, now: u64) {
        let standing = if source == 0 { Standing::First } else { Standing::Witness { patience: PATIENCE } };
        // As if their history were read: what a source that joins later may say is another matter.
        let via = Via { feed: self.feeds[source], since: 0, standing, now };
        let mut batch = self.store.batch(&self.rules).unwrap();
        batch.via(via);
        rows.for_each(|row| batch.leg(&records[row].leg(), 0));
        batch.stream(self.feeds[source], String::new());
        batch.commit(now).unwrap();
    }

    fn cells(&self) -> Cells {
        let texts = self.store.texts().unwrap();
        let mut cells = Cells::new();
        let add = |row: crate::store::RollupRow| {
            let key = (
                row.quarter,
                row.cell.index(),
                texts.trunk(row.trunk).map(|name| name.expose().to_owned()),
                texts.queue(row.queue).map(|name| name.expose().to_owned()),
                texts.extension(row.extension).map(|name| name.expose().to_owned()),
            );
            let Figures { calls, legs, talk_seconds, wait_seconds } = row.figures;
            let sum = cells.entry(key).or_default();
            *sum = (sum.0 + calls, sum.1 + legs, sum.2 + talk_seconds, sum.3 + wait_seconds);
        };
        self.store.rollups(i64::MIN, i64::MAX, add).unwrap();
        cells.retain(|_, figures| *figures != (0, 0, 0, 0));
        cells
    }
}

/// The first source tells of the rows in order, as a file does, and misses some; the witnesses tell of all of them in any order.
fn tellings(rows: usize) -> impl Strategy<Value = Vec<Telling>> {
    let shuffled = || Just((0..rows).collect::<Vec<_>>()).prop_shuffle();
    let places = prop::collection::vec(any::<Index>(), 3 * rows);
    (prop::collection::vec(any::<bool>(), rows), shuffled(), shuffled(), places).prop_map(|(told, one, two, places)| {
        let first = told.into_iter().enumerate().filter_map(|(row, told)| told.then_some((0, row)));
        let mut queues = [
            first.collect::<Vec<_>>(),
            one.into_iter().map(|row| (1, row)).collect(),
            two.into_iter().map(|row| (2, row)).collect(),
        ];
        queues.iter_mut().for_each(|queue| queue.reverse());
        let mut order = Vec::new();
        for place in places {
            let left: Vec<_> = (0..3).filter(|&source| !queues[source].is_empty()).collect();
            if left.is_empty() {
                break;
            }
            order.extend(queues[left[place.index(left.len())]].pop());
        }
        order
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]
    #[test]
    fn any_order_and_any_portions_of_several_sources_amount_to_the_same(
        order in tellings(499),
        portions in prop::collection::vec((1..90_usize, 0..50_u64), 60),
    ) {
        let records = records();
        let mut plain = Bench::new();
        plain.tell(&records, 0, 0..records.len(), NOW);

        let mut several = Bench::new();
        let (mut now, mut rest) = (NOW, order.as_slice());
        for (size, pause) in portions.into_iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (portion, later) = rest.split_at(size.min(rest.len()));
            for source in 0..3 {
                let rows = portion.iter().filter(|telling| telling.0 == source).map(|telling| telling.1);
                several.tell(&records, source, rows, now);
            }
            now += pause;
            several.store.release(&several.rules, now).unwrap();
            rest = later;
        }
        several.store.release(&several.rules, now + PATIENCE).unwrap();
        prop_assert_eq!(several.cells(), plain.cells());
        let counts = several.store.counts().unwrap();
        prop_assert_eq!(counts.legs, plain.store.counts().unwrap().legs);
    }
}
