//! A table that is read by an overlapping window: each row once, whenever it becomes visible.

use std::collections::BTreeMap;

use proptest::prelude::*;
use tokio::sync::mpsc;

use super::*;
use crate::pbx::{
    leg::Disposition,
    stream::{Portion, Said},
};

/// A row of the imagined table: when it began, how long it lasted, and when it became visible.
#[derive(Clone, Debug)]
struct Line {
    id: u64,
    at: i64,
    duration: i64,
    visible: i64,
}

/// A table at a moment.
struct Imagined<'a> {
    lines: &'a [Line],
    now: i64,
    /// It fails when so many questions were asked.
    patience: u32,
}

impl Imagined<'_> {
    fn visible(&mut self) -> Result<impl Iterator<Item = &Line>, Fault> {
        self.patience = self.patience.checked_sub(1).ok_or_else(|| Fault("gone".to_owned()))?;
        let now = self.now;
        Ok(self.lines.iter().filter(move |line| line.visible <= now))
    }
}

impl Table for Imagined<'_> {
    fn clock(&self, moment: i64) -> i64 {
        moment
    }

    async fn time_behind(&mut self, from: i64, skip: u32) -> Result<Option<i64>, Fault> {
        let mut times: Vec<i64> = self.visible()?.map(|line| line.at).filter(|at| *at >= from).collect();
        times.sort_unstable();
        Ok(times.get(skip as usize).copied())
    }

    async fn time_before(&mut self, until: i64) -> Result<Option<i64>, Fault> {
        Ok(self.visible()?.map(|line| line.at).filter(|at| *at <= until).max())
    }

    async fn counts(&mut self, from: i64) -> Result<Vec<(i64, u64)>, Fault> {
        let mut counts = BTreeMap::new();
        for line in self.visible()?.filter(|line| line.at >= from) {
            *counts.entry(whole(line.at)).or_default() += 1;
        }
        Ok(counts.into_iter().collect())
    }

    async fn rows(&mut self, from: i64, until: i64) -> Result<Vec<Found>, Fault> {
        let mut lines: Vec<_> = self.visible()?.filter(|line| (from..until).contains(&line.at)).cloned().collect();
        lines.sort_by_key(|line| line.at);
        Ok(lines.iter().map(found).collect())
    }
}

fn found(line: &Line) -> Found {
    let record = Record {
        uniqueid: None,
        linkedid: None,
        sequence: None,
        channel: line.id.to_string().into_bytes(),
        dstchannel: Vec::new(),
        lastapp: Vec::new(),
        lastdata: Vec::new(),
        src: Vec::new(),
        dst: Vec::new(),
        start: line.at,
        answer: None,
        end: line.at + line.duration,
        disposition: Disposition::Answered,
    };
    // Rows of the same id are alike in everything.
    Found { at: line.at, duration: line.duration, key: line.id.wrapping_mul(0x1234_5678_9abc_def1), row: Ok(record) }
}

/// What the store would hold.
#[derive(Default)]
struct Stored {
    rows: BTreeMap<u64, u32>,
    position: Option<String>,
    names: BTreeMap<u64, i64>,
}

impl Stored {
    fn take(&mut self, rows: Rows) {
        for entry in rows.entries {
            let record = entry.row.ok().unwrap();
            *self.rows.entry(String::from_utf8(record.channel).unwrap().parse().unwrap()).or_default() += 1;
            self.names.extend(entry.name);
        }
        self.position = Some(rows.position);
        self.names.retain(|_, at| *at >= rows.forget_before);
    }

    fn reader(&self) -> TableReader {
        TableReader::new(self.position.as_deref(), self.names.clone().into_iter().collect(), 0)
    }
}

/// One look; the store takes `room` portions and refuses those behind them.
fn look(reader: &mut TableReader, table: &mut Imagined<'_>, stored: &mut Stored, room: u32) -> bool {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (sender, mut receiver) = mpsc::channel::<(usize, Said)>(4);
    let outlet = Outlet::new(0, sender);
    let now = table.now;
    runtime.block_on(async {
        let store = async {
            let mut left = room;
            while let Some((_, said)) = receiver.recv().await {
                let Said::Portion(Portion { rows, stored: answer }) = said else { continue };
                if let Some(less) = left.checked_sub(1) {
                    left = less;
                    stored.take(rows);
                    let _ = answer.send(());
                }
            }
        };
        let reading = async move {
            let outlet = outlet;
            reader.look(table, &outlet, now).await.is_ok()
        };
        tokio::join!(reading, store).0
    })
}

const NOW: i64 = 1_795_300_000;

fn line() -> impl Strategy<Value = Line> {
    let duration = prop_oneof![8 => 0..600_i64, 2 => 600..20_000_i64, 1 => 20_000..80_000_i64];
    // Two days of history, and a day that goes by while the table is read.
    (0..40_u64, NOW - 2 * DAY..NOW + DAY, duration, 0..40_i64).prop_map(|(id, at, duration, delay)| Line {
        id,
        at,
        duration,
        visible: at + duration + delay,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 200 } else { 2000 }))]

    #[test]
    fn every_row_is_delivered_once_whenever_it_shows_and_whatever_fails(
        mut lines in prop::collection::vec(line(), 0..120),
        looks in prop::collection::vec((1..4000_i64, 0..12_u32, 0..6_u32, any::<bool>()), 1..60),
    ) {
        // Alike in everything is alike in time too: the id says it all.
        let first: BTreeMap<u64, Line> = lines.iter().rev().map(|line| (line.id, line.clone())).collect();
        for line in &mut lines {
            let (same, delay) = (&first[&line.id], line.visible - line.at - line.duration);
            *line = Line { visible: same.at + same.duration + delay, ..same.clone() };
        }
        let mut stored = Stored::default();
        let mut reader = stored.reader();
        let mut now = NOW;
        for (later, patience, room, kill) in looks {
            now += later;
            let done = look(&mut reader, &mut Imagined { lines: &lines, now, patience }, &mut stored, room);
            if kill || !done {
                reader = stored.reader();
            }
        }
        now += 2 * DAY;
        let mut table = Imagined { lines: &lines, now, patience: u32::MAX };
        prop_assert!(look(&mut reader, &mut table, &mut stored, u32::MAX));
        prop_assert!(look(&mut reader, &mut table, &mut stored, u32::MAX));

        let mut expected = BTreeMap::<u64, u32>::new();
        for line in &lines {
            *expected.entry(line.id).or_default() += 1;
        }
        prop_assert_eq!(&stored.rows, &expected);
    }
}

#[test]
fn a_row_from_the_future_does_not_move_the_window() {
    let future = Line { id: 1, at: NOW + 400 * DAY, duration: 3, visible: NOW - 5 };
    let mut lines = vec![future, Line { id: 2, at: NOW - 100, duration: 3, visible: NOW - 97 }];
    let mut stored = Stored::default();
    let mut reader = stored.reader();
    assert!(look(&mut reader, &mut Imagined { lines: &lines, now: NOW, patience: 99 }, &mut stored, 99));
    lines.push(Line { id: 3, at: NOW - 200, duration: 300, visible: NOW + 100 });
    assert!(look(&mut reader, &mut Imagined { lines: &lines, now: NOW + 100, patience: 99 }, &mut stored, 99));
    assert_eq!(stored.rows, BTreeMap::from([(1, 1), (2, 1), (3, 1)]));
}

#[test]
fn history_comes_in_slices_however_many_rows_share_a_second() {
    let crowd = (0..u64::from(SLICE) * 2 + 7).map(|id| Line { id, at: NOW - 30 * DAY, duration: 1, visible: NOW - 9 });
    let spread =
        (0..9000).map(|id| Line { id: 100_000 + id, at: NOW - 20 * DAY + id as i64, duration: 1, visible: NOW - 9 });
    let lines: Vec<Line> =
        crowd.chain(spread).chain([Line { id: 7_000_000, at: NOW, duration: 0, visible: NOW }]).collect();
    let mut stored = Stored::default();
    // The store takes one portion a life.
    let mut lives = 0;
    while !look(&mut stored.reader(), &mut Imagined { lines: &lines, now: NOW, patience: 999 }, &mut stored, 1) {
        lives += 1;
        assert!(lives < 20);
    }
    assert_eq!(stored.rows.len(), lines.len());
    assert!(stored.rows.values().all(|times| *times == 1));
    assert!(lives > 3, "{lives}");
    assert_eq!(stored.names.len(), 1, "only rows of the window are remembered");
}
