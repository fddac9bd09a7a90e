//! Real queue logs against an independent reading, and ways that callers take through queues.

use std::{collections::BTreeMap, fs, path::PathBuf};

use super::*;
use crate::{call::CallRules, pbx::queue_log, settings::Pbx, state::StateDir};

struct Bench {
    _directory: tempfile::TempDir,
    store: Store,
}

fn bench() -> Bench {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(&StateDir::new(directory.path().join("state"))).unwrap();
    Bench { _directory: directory, store }
}

impl Bench {
    fn take<'a>(&mut self, lines: impl IntoIterator<Item = &'a str>, target: u64) {
        let rules = CallRules::new(&Pbx::default());
        let mut batch = self.store.batch(&rules).unwrap();
        for line in lines {
            batch.queue(&queue_log::read(line.as_bytes()).unwrap(), target);
        }
        batch.commit(1_795_400_000).unwrap();
    }

    fn total(&self) -> QueueFigures {
        let mut total = QueueFigures::default();
        for share in self.store.queues(i64::MIN, i64::MAX).unwrap() {
            total.add(&share.figures);
        }
        total
    }

    fn by_queue(&self) -> BTreeMap<String, QueueFigures> {
        let texts = self.store.texts().unwrap();
        let mut queues = BTreeMap::<String, QueueFigures>::new();
        for share in self.store.queues(i64::MIN, i64::MAX).unwrap() {
            let name = texts.queue(share.queue).unwrap().expose().to_owned();
            queues.entry(name).or_default().add(&share.figures);
        }
        queues
    }
}

fn log(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/data/pbx").join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The figures of one queue by the words of the log, line by line, and nothing remembered but who was there before.
fn counted(text: &str, queue: &str) -> QueueFigures {
    let mut figures = QueueFigures::default();
    let mut before = Vec::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split('|').collect();
        if words[2] != queue {
            continue;
        }
        let number = |place: usize| words[place].parse::<i64>().unwrap();
        match words[4] {
            "ENTERQUEUE" => {
                figures.offered += 1;
                figures.returned += i64::from(before.contains(&words[1]));
                before.push(words[1]);
            }
            "CONNECT" => {
                figures.connected += 1;
                figures.in_time += i64::from(number(5) <= 20);
                figures.hold_seconds += number(5);
            }
            "ABANDON" => {
                figures.abandoned += 1;
                figures.short += i64::from(number(7) < 5);
                figures.wait_seconds += number(7);
            }
            "EXITWITHTIMEOUT" => {
                figures.timed_out += 1;
                figures.wait_seconds += number(7);
            }
            "COMPLETECALLER" => {
                figures.handled += 1;
                figures.talk_seconds += number(6);
            }
            "QUEUESTART" | "CONFIGRELOAD" | "RINGNOANSWER" | "RINGCANCELED" => {}
            other => panic!("{other} is new"),
        }
    }
    figures
}

#[test]
fn real_logs_are_counted_as_an_independent_reading_counts_them() {
    for (name, offered) in [("asterisk16/queue_log", 36), ("asterisk22/queue_log", 45)] {
        let text = log(name);
        for portion in [1, 7, 1000] {
            let mut bench = bench();
            let lines: Vec<&str> = text.lines().collect();
            for lines in lines.chunks(portion) {
                bench.take(lines.iter().copied(), 20);
            }
            let expected = ["600", "601"].map(|queue| (queue.to_owned(), counted(&text, queue)));
            assert_eq!(bench.by_queue(), BTreeMap::from(expected), "{name} by {portion}");
            assert_eq!(bench.total().offered, offered);
        }
    }
}

#[test]
fn a_callers_figures_stand_where_the_caller_came_in() {
    let mut bench = bench();
    // In at 00:14:50, answered at 00:15:10, over at 00:50.
    bench.take(["1795306490|1.1|600|NONE|ENTERQUEUE||1|1", "1795306510|1.1|600|Bob|CONNECT|20|1.2|3"], 20);
    bench.take(["1795308600|1.1|600|Bob|BLINDTRANSFER|1002|ctx|20|2090|1"], 20);
    let shares = bench.store.queues(i64::MIN, i64::MAX).unwrap();
    assert_eq!(shares.len(), 1);
    let expected = QueueFigures {
        offered: 1,
        connected: 1,
        in_time: 1,
        hold_seconds: 20,
        handled: 1,
        transferred: 1,
        talk_seconds: 2090,
        ..QueueFigures::default()
    };
    assert_eq!((shares[0].quarter, shares[0].figures), (1_795_306_490 / 900, expected));
    assert_eq!(bench.store.queues(shares[0].quarter + 1, i64::MAX).unwrap(), []);
}

#[test]
fn a_log_that_begins_in_the_middle_tells_when_the_caller_came_in() {
    let mut bench = bench();
    bench.take(["1795308600|1.1|600|Bob|COMPLETEAGENT|20|2090|1"], 20);
    let shares = bench.store.queues(i64::MIN, i64::MAX).unwrap();
    assert_eq!(shares[0].quarter, 1_795_306_490 / 900);
}

#[test]
fn ways_out_of_a_queue_are_told_apart() {
    let mut bench = bench();
    bench.take(
        [
            "1000|1.1|600|NONE|ENTERQUEUE||1|1",
            "1004|1.1|600|NONE|ABANDON|1|1|4",
            "1010|1.2|600|NONE|ENTERQUEUE||1|1",
            "1015|1.2|600|NONE|ABANDON|1|1|5",
            "1020|1.3|600|NONE|ENTERQUEUE||1|1",
            "1050|1.3|600|NONE|EXITWITHTIMEOUT|1|1|30",
            "1051|1.3|600|NONE|ENTERQUEUE||1|1",
            "1061|1.3|600|NONE|EXITEMPTY|1|1|10",
            "1070|1.4|600|NONE|ENTERQUEUE||1|1",
            "1071|1.4|600|NONE|EXITWITHKEY|0|1|1|1",
            "1080|1.5|600|NONE|ENTERQUEUE||1|1",
            "1101|1.5|600|Bob|CONNECT|21|1.6|3",
            "1110|1.7|600|NONE|ENTERQUEUE||1|1",
        ],
        20,
    );
    let total = bench.total();
    let expected = QueueFigures {
        offered: 7,
        returned: 1,
        connected: 1,
        in_time: 0,
        abandoned: 2,
        short: 1,
        timed_out: 1,
        emptied: 1,
        keyed: 1,
        hold_seconds: 21,
        wait_seconds: 49,
        ..QueueFigures::default()
    };
    assert_eq!(total, expected);
    assert_eq!((total.lost(), total.open()), (4, 1));
}

#[test]
fn a_changed_target_changes_nothing_of_the_past() {
    let mut bench = bench();
    bench.take(["1000|1.1|600|NONE|ENTERQUEUE||1|1", "1030|1.1|600|Bob|CONNECT|30|1.2|3"], 20);
    bench.take(["1040|1.3|600|NONE|ENTERQUEUE||1|1", "1070|1.3|600|Bob|CONNECT|30|1.4|3"], 30);
    let shares = bench.store.queues(i64::MIN, i64::MAX).unwrap();
    let in_time: Vec<_> = shares.iter().map(|share| (share.target, share.figures.in_time)).collect();
    assert_eq!(in_time, [(20, 0), (30, 1)]);
}

#[test]
fn callers_are_forgotten_after_a_day() {
    let mut bench = bench();
    bench.take(["1000|1.1|600|NONE|ENTERQUEUE||1|1"], 20);
    bench.take([format!("{}|1.2|600|NONE|ENTERQUEUE||1|1", 1000 + 27 * 3600).as_str()], 20);
    let known: i64 = bench.store.connection.query_row("SELECT count(*) FROM caller", [], |row| row.get(0)).unwrap();
    assert_eq!(known, 1);
}

#[test]
fn a_queue_log_does_not_make_a_source_of_calls_a_late_comer() {
    let mut bench = bench();
    bench.store.enlist("queue-log /var/log/asterisk/queue_log", None, 1_795_400_000).unwrap();
    assert_eq!(bench.store.enlist("asterisk-csv /a", None, 1_795_400_000).unwrap().since, 0);
    assert!(bench.store.enlist("cdr-custom /b", None, 1_795_400_000).unwrap().since > 0);
}
