//! The laboratory itself is sound: all back ends of a real Asterisk hold the same rows, and these say what was played.

use std::{fs, time::Duration};

use demarc_tests::{
    data,
    lab::{BackEnd, Kind, Lab, Load, Options, Row, Table, Truth, Version},
    oracle::Oracle,
    wait,
};

#[test]
fn every_back_end_of_asterisk_16_holds_what_was_played() {
    every_back_end_holds_what_was_played(Version::Asterisk16);
}

#[test]
fn every_back_end_of_asterisk_22_holds_what_was_played() {
    every_back_end_holds_what_was_played(Version::Asterisk22);
}

fn every_back_end_holds_what_was_played(version: Version) {
    let lab = Lab::start(version, Options::default());
    lab.play_all(&Kind::ALL, 2);

    let truth = lab.truth();
    assert_eq!(truth.len(), 2 * Kind::ALL.iter().map(|kind| kind.truths().len()).sum::<usize>());
    let rows: usize = truth.iter().map(|call| call.rows).sum();
    wait::until_true(Duration::from_secs(20), "the records", || lab.rows(BackEnd::Custom).len() >= rows);
    assert_eq!(read_again(&lab), truth);

    let all = lab.rows(BackEnd::Custom);
    for back_end in [BackEnd::Csv, BackEnd::Sqlite, BackEnd::Manager] {
        wait::until_true(Duration::from_secs(10), "the other records", || lab.rows(back_end).len() >= rows);
        assert_eq!(lab.rows(back_end), all, "{back_end:?}");
    }
    // The database takes no text that is not UTF-8: those rows and no others are missing there.
    let refused = not_utf8(&lab);
    let names = if version == Version::Asterisk16 { 4 } else { 2 };
    assert_eq!(refused.len(), names, "{refused:?}");
    wait::until_true(Duration::from_secs(10), "the database's records", || {
        lab.rows(BackEnd::MariaDb).len() + names >= rows
    });
    let mut taken = lab.rows(BackEnd::MariaDb);
    taken.extend(refused);
    taken.sort_unstable();
    assert_eq!(taken, all);
    assert!(fs::read_to_string(lab.queue_log()).unwrap().contains("|ABANDON|"));
}

/// Not every PBX is set up as one would wish.
#[test]
fn an_asterisk_and_a_freepbx_of_old_write_what_these_write() {
    let stock = Options { general: "", csv: "accountlogs=yes", mappings: false, table: Table::Old, zone: None };
    let lab = Lab::start(Version::Asterisk16, stock);
    lab.play(Kind::Internal, 1);
    wait_for_one_row_everywhere(&lab);
    let event = &lab.heard().events("Cdr")[0];
    assert_eq!((event.get("Linkedid"), event.get("UniqueID").is_empty()), ("", false));
    let mut master = csv::ReaderBuilder::new().has_headers(false).from_path(lab.cdr_csv()).unwrap();
    assert_eq!(master.records().next().unwrap().unwrap().len(), 16);
    let columns = lab.mariadb().query("SHOW COLUMNS FROM asteriskcdrdb.cdr");
    assert!(columns.iter().all(|column| column[0] != "linkedid"), "{columns:?}");
    let trunks = lab.mariadb().query("SELECT tech, channelid FROM asterisk.trunks WHERE disabled = 'off'");
    assert_eq!(trunks, lab.trunks().map(|name| vec!["pjsip".to_owned(), name.to_owned()]));
}

#[test]
fn a_pbx_writes_the_time_of_its_zone() {
    std::thread::scope(|scope| {
        for zone in ["America/New_York", "Asia/Kolkata", "Australia/Lord_Howe"] {
            scope.spawn(|| a_pbx_writes_the_time_of(zone));
        }
    });
}

fn a_pbx_writes_the_time_of(zone: &'static str) {
    let lab =
        Lab::start(Version::Asterisk22, Options { csv: "loguniqueid=yes", zone: Some(zone), ..Options::default() });
    lab.play(Kind::Internal, 1);
    wait_for_one_row_everywhere(&lab);
    // Seconds since 1970 stand in the id; the wall time stands beside it.
    let row = lab.mariadb().query("SELECT SUBSTRING_INDEX(uniqueid, '.', 1), calldate, NOW() FROM asteriskcdrdb.cdr");
    let began = jiff::Timestamp::from_second(row[0][0].parse().unwrap()).unwrap();
    let offset = jiff::tz::TimeZone::get(zone).unwrap().to_offset(began).seconds();
    for wall in [&row[0][1], &row[0][2]] {
        let read_as_utc: jiff::Timestamp = format!("{}Z", wall.replace(' ', "T")).parse().unwrap();
        let later = read_as_utc.as_second() - i64::from(offset) - began.as_second();
        assert!((0..60).contains(&later), "{zone}: {row:?}");
    }
    let master = fs::read_to_string(lab.cdr_csv()).unwrap();
    assert!(master.contains(&row[0][1]), "{zone}: {master}");
}

#[test]
fn a_load_is_what_was_asked_for() {
    let lab = Lab::start(Version::Asterisk22, Options::default());
    let running = lab.load(Load { calls_per_second: 5, seconds: 4, bridged: 10, speech: true });
    assert!(lab.bridged() >= 10);
    // Every end of them hears the other one.
    wait::until_true(Duration::from_secs(20), "speech", || {
        let table = lab.console("pjsip show channelstats");
        let received = table.lines().filter(|line| line.contains("1005-") || line.contains("provider1-"));
        let received: Vec<u32> = received.filter_map(|line| line.split_whitespace().nth(4)?.parse().ok()).collect();
        received.iter().filter(|&&packets| packets > 0).count() >= 20
    });
    let loaded = running.wait();
    assert_eq!(loaded.calls, 20);
    assert!(loaded.took >= Duration::from_secs(4), "{loaded:?}");
    assert!(loaded.asterisk_seconds > 0.0, "{loaded:?}");
    wait::until_true(Duration::from_secs(20), "their records", || lab.rows(BackEnd::Custom).len() == 30);
}

fn wait_for_one_row_everywhere(lab: &Lab) {
    for back_end in BackEnd::ALL {
        wait::until_true(Duration::from_secs(20), &format!("a row in {back_end:?}"), || lab.rows(back_end).len() == 1);
    }
}

/// What an independent reading of one back end says.
fn read_again(lab: &Lab) -> Vec<Truth> {
    let mut oracle = Oracle::new(&lab.trunks());
    oracle.read(&data::custom_as_21(&lab.cdr_custom()));
    let mut calls: Vec<Truth> = oracle
        .each()
        .into_iter()
        .map(|call| Truth { direction: call.direction, outcome: call.outcome, rows: call.legs })
        .collect();
    calls.sort_unstable();
    calls
}

/// The rows whose caller id is no valid UTF-8.
fn not_utf8(lab: &Lab) -> Vec<Row> {
    let mut reader = csv::ReaderBuilder::new().has_headers(false).from_path(lab.cdr_custom()).unwrap();
    let records = reader.byte_records().map(Result::unwrap);
    let odd = records.filter(|record| str::from_utf8(&record[0]).is_err());
    let text = |field: &[u8]| String::from_utf8(field.to_vec()).unwrap();
    odd.map(|record| Row::new(&text(&record[4]), &text(&record[5]), &text(&record[8]))).collect()
}
