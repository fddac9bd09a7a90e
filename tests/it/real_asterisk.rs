//! A real Asterisk places calls of every kind, and each is counted as what it was.

use std::{collections::BTreeMap, fs, time::Duration};

use demarc_tests::{
    asterisk::{Asterisk, KINDS},
    data,
    oracle::{self, Oracle},
    site::{Setup, Site},
    wait,
};

#[test]
fn calls_of_a_real_asterisk_are_counted_right() {
    let asterisk = Asterisk::start();
    let mut site = Site::new(&Setup { upload: false, ..Setup::default() });
    // The file does not exist before the first call: the agent waits for it.
    let text = site.read_config().replace(site.master().to_str().unwrap(), asterisk.master().to_str().unwrap());
    site.write_config(&text);
    site.start();

    let mut placed = BTreeMap::<(&str, &str), u64>::new();
    for (round, (kind, direction, outcome)) in KINDS.into_iter().enumerate() {
        let count = 1 + round as u32 % 3;
        asterisk.call(kind, count);
        *placed.entry((direction, outcome)).or_default() += u64::from(count);
    }
    let calls: u64 = placed.values().sum();
    let by = "direction,outcome";
    let report = site.wait_for_calls(calls, by, Duration::from_secs(60));

    // By what was done, and by what a second reading of the same file says.
    let counted = oracle::printed(&report, by);
    let counts: BTreeMap<(&str, &str), u64> =
        counted.iter().map(|(words, figures)| ((words[0].1.as_str(), words[1].1.as_str()), figures.calls)).collect();
    assert_eq!(counts, placed);
    wait::until_true(Duration::from_secs(30), "the last leg", || {
        let mut oracle = Oracle::new(&data::TRUNKS);
        oracle.read(&fs::read(asterisk.master()).unwrap());
        let report = site.report(by);
        oracle.legs == report["legs"].as_u64().unwrap() && oracle.table(by) == oracle::printed(&report, by)
    });
    // Every answered call talked as long as its caller stayed: two or three seconds, give or take one.
    let talk: i64 = counted.iter().filter(|(words, _)| words[1].1 == "answered").map(|(_, f)| f.talk_seconds).sum();
    let answered: u64 = counted.iter().filter(|(words, _)| words[1].1 == "answered").map(|(_, f)| f.calls).sum();
    assert!((answered as i64..=4 * answered as i64).contains(&talk), "{talk} seconds in {answered} calls");
}
