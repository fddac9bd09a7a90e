//! Every bundled file is counted as an independent reading counts it: imported whole, and followed line by line.

use std::{fs, time::Duration};

use demarc_tests::{
    cdr::{Caller, Layout, Random},
    data,
    oracle::{self, Oracle},
    site::{Setup, Site},
};
use serde_json::Value;

const LIMIT: Duration = Duration::from_secs(60);

/// Every file that can be read as `Master.csv`, with its bytes.
fn files() -> Vec<(String, Vec<u8>)> {
    let whole = data::MASTER_FILES.iter().chain(&data::ROTATED_FILES[1..2]);
    let mut files: Vec<_> = whole.map(|&name| (name.to_owned(), fs::read(data::file(name)).unwrap())).collect();
    files.extend(
        data::CUSTOM_FILES.iter().map(|&name| (format!("{name} in 21 columns"), data::custom_as_21(&data::file(name)))),
    );
    files
}

/// A site on which nothing is ever sent: these tests are about counting.
fn site() -> Site {
    Site::new(&Setup { upload: false, window: "1d".into(), ..Setup::default() })
}

fn expected(bytes: &[u8]) -> Oracle {
    let mut oracle = Oracle::new(&data::TRUNKS);
    oracle.read(bytes);
    oracle
}

fn assert_counted(name: &str, report: &Value, by: &str, oracle: &Oracle) {
    assert_eq!(oracle::printed(report, by), oracle.table(by), "{name} by {by}");
    let sums = ["calls", "legs", "malformed", "duplicates"].map(|key| report[key].as_u64().unwrap());
    assert_eq!(
        sums,
        [oracle.calls(), oracle.legs, oracle.malformed, oracle.duplicates],
        "{name}: calls legs malformed duplicates"
    );
}

#[test]
fn every_file_imported_is_counted_right() {
    for (name, bytes) in files() {
        let site = site();
        let path = site.path("old.csv");
        fs::write(&path, &bytes).unwrap();
        site.run(&["import", path.to_str().unwrap()]).ok();
        let oracle = expected(&bytes);
        assert!(oracle.calls() > 0, "{name}");
        for by in ["direction,outcome", "hour,direction", "day", "hour,direction,outcome"] {
            assert_counted(&name, &site.report(by), by, &oracle);
        }
    }
}

#[test]
fn every_file_followed_live_is_counted_right() {
    let seed = Random::fresh_seed();
    println!("seed {seed}");
    let mut random = Random::new(seed);
    for (name, bytes) in files() {
        let mut site = site();
        site.start();
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            // Cut anywhere, in the middle of a line too: half a line must wait for its other half.
            let take = (1 + random.below(20_000) as usize).min(rest.len());
            site.feed(&rest[..take]);
            rest = &rest[take..];
            std::thread::sleep(Duration::from_millis(random.below(25)));
        }
        let oracle = expected(&bytes);
        let by = "hour,direction,outcome";
        let report = site.wait_for_calls(oracle.calls(), by, LIMIT);
        assert_counted(&name, &report, by, &oracle);
        site.stop();
        assert_counted(&format!("{name} after the stop"), &site.report(by), by, &oracle);
    }
}

#[test]
fn rotated_files_imported_together_are_one_history() {
    let site = site();
    let mut oracle = Oracle::new(&data::TRUNKS);
    let mut arguments = vec!["import".to_owned()];
    for name in data::ROTATED_FILES {
        oracle.read(&fs::read(data::file(name)).unwrap());
        arguments.push(data::file(name).to_str().unwrap().to_owned());
    }
    site.run(&arguments.iter().map(String::as_str).collect::<Vec<_>>()).ok();
    let by = "direction,outcome";
    assert_counted("rotated files", &site.report(by), by, &oracle);
}

#[test]
fn what_was_read_before_adds_nothing() {
    let by = "direction,outcome";
    let bytes = fs::read(data::file("asterisk22/Master.uniqueid18.csv")).unwrap();
    let oracle = expected(&bytes);
    let mut site = site();
    site.start();
    site.feed(&bytes);
    site.wait_for_calls(oracle.calls(), by, LIMIT);
    // The file that is followed, and then one that was rotated away: imported beside the running agent.
    site.run(&["import", site.master().to_str().unwrap()]).ok();
    assert_counted("followed, then imported", &site.report(by), by, &oracle);
    let rotated = data::file("rotate/files/Master.csv.1");
    let mut both = expected(&bytes);
    both.read(&fs::read(&rotated).unwrap());
    for _ in 0..2 {
        site.run(&["import", rotated.to_str().unwrap()]).ok();
        assert_counted("imported twice", &site.report(by), by, &both);
    }
}

#[test]
fn a_file_of_other_columns_is_refused_row_by_row() {
    let site = site();
    let oracle = expected(&fs::read(data::file(data::CUSTOM_FILES[0])).unwrap());
    assert_eq!((oracle.calls(), oracle.malformed), (0, 499));
    site.run(&["import", data::file(data::CUSTOM_FILES[0]).to_str().unwrap()]);
    let report = site.report("direction");
    assert_eq!(report["calls"], 0);
    assert_eq!(report["malformed"], 499);
}

#[test]
fn the_layout_is_decided_row_by_row() {
    let seed = Random::fresh_seed();
    println!("seed {seed}");
    let (mut random, mut caller) = (Random::new(seed), Caller::new(seed));
    let mut bytes = Vec::new();
    for n in 0..400 {
        let layout = Layout::ALL[random.below(5) as usize];
        for mut row in caller.call(1_795_309_000 + n * 7) {
            match random.below(6) {
                0 => row.userfield = "two\nlines, and a \"quote\"".into(),
                1 => row.clid = "\"Jane \\\"JJ\\\" Doe\" <5551002>".into(),
                2 => row.lastdata = "a,b\"\",\r\n\"x\"".into(),
                _ => {}
            }
            let line = row.line(layout);
            // Latin-1 in a name is no UTF-8, and no reason to lose a call.
            let latin = random.below(4) == 0;
            bytes.extend(line.into_iter().map(|byte| if latin && byte == b'C' { 0xe9 } else { byte }));
        }
        if random.below(40) == 0 {
            bytes.extend_from_slice(b"\"half\",\"a\",\"row\"\n");
        }
    }
    // Half of it imported, half of it followed: the same figures.
    let oracle = expected(&bytes);
    assert!(oracle.malformed > 0);
    let by = "hour,direction,outcome";
    let imported = site();
    fs::write(imported.path("old.csv"), &bytes).unwrap();
    imported.run(&["import", imported.path("old.csv").to_str().unwrap()]).ok();
    assert_counted("imported", &imported.report(by), by, &oracle);
    let mut followed = site();
    followed.start();
    followed.feed(&bytes);
    assert_counted("followed", &followed.wait_for_calls(oracle.calls(), by, LIMIT), by, &oracle);
}

#[test]
fn the_hour_that_autumn_repeats_is_two_hours() {
    let zone = jiff::tz::TimeZone::get("Europe/Berlin").unwrap();
    // 2026-10-25 00:00 UTC is 02:00 summer time; one hour later the clocks on the wall show 02:00 again.
    let midnight: i64 = 1_792_886_400;
    let mut caller = Caller::new(1);
    let (mut bytes, mut oracle) = (Vec::new(), Oracle::new(&data::TRUNKS));
    for n in 0..90 {
        let row = caller.inbound_answered(midnight + 60 + n * 120, 5, 40);
        bytes.extend(row.line_in(Layout::New21, &zone));
        oracle.read(&row.line(Layout::New21));
    }
    let site = Site::new(&Setup { upload: false, timezone: "Europe/Berlin".into(), ..Setup::default() });
    fs::write(site.path("old.csv"), &bytes).unwrap();
    site.run(&["import", site.path("old.csv").to_str().unwrap()]).ok();
    let by = "hour,direction,outcome";
    assert_eq!(oracle.table(by).len(), 3, "midnight, one o'clock, two o'clock in UTC");
    assert_counted("autumn", &site.report(by), by, &oracle);
}

#[test]
fn trunk_queue_and_extension_are_told_locally() {
    let text = concat!(
        r#""","447","600","ext-queues","a","PJSIP/provider1-00000001","PJSIP/1001-00000002","Queue","600,t,,,12","2026-11-22 01:00:00","2026-11-22 01:00:04","2026-11-22 01:00:34",34,30,"ANSWERED","D","1.1","","","1.1",1"#,
        "\n",
        r#""","1003","9447","from-internal","b","PJSIP/1003-00000003","PJSIP/provider2-00000004","Dial","PJSIP/447@provider2,10","2026-11-22 01:00:00","2026-11-22 01:00:07","2026-11-22 01:00:20",20,13,"ANSWERED","D","1.2","","","1.2",2"#,
        "\n",
    );
    let site = site();
    fs::write(site.path("old.csv"), text).unwrap();
    site.run(&["import", site.path("old.csv").to_str().unwrap()]).ok();
    let values = |by: &str| -> Vec<(String, u64)> {
        let report = site.report(by);
        let rows = report["rows"].as_array().unwrap();
        rows.iter()
            .map(|row| (row[by].as_str().unwrap_or_default().to_owned(), row["calls"].as_u64().unwrap()))
            .collect()
    };
    let has = |by: &str, word: &str| values(by).iter().any(|(value, calls)| value.contains(word) && *calls == 1);
    assert!(has("trunk", "provider1") && has("trunk", "provider2"), "{:?}", values("trunk"));
    assert!(has("queue", "600"), "{:?}", values("queue"));
    assert!(has("extension", "1001") && has("extension", "1003"), "{:?}", values("extension"));
}
