//! Reports as they are printed, from a store with a few calls.

use std::borrow::Cow;

use expect_test::expect;

use super::*;
use crate::{
    call::CallRules,
    pbx::{Disposition, Leg, MalformedReason},
    settings::Pbx,
    state::StateDir,
};

/// 2026-11-22T09:00:00Z, a Sunday.
const NINE: i64 = 1_795_338_000;

fn leg<'a>(from: &'a str, to: &'a str, start: i64, answer: Option<i64>, end: i64) -> Leg<'a> {
    Leg {
        uniqueid: None,
        linkedid: None,
        sequence: None,
        channel: Cow::Borrowed(from.as_bytes()),
        dstchannel: Cow::Borrowed(to.as_bytes()),
        lastapp: Cow::Borrowed(if to.is_empty() { b"Queue" } else { b"Dial" }),
        lastdata: Cow::Borrowed(b"=600,t"),
        src: Cow::Borrowed(b""),
        dst: Cow::Borrowed(b""),
        start,
        answer,
        end,
        disposition: if answer.is_some() { Disposition::Answered } else { Disposition::NoAnswer },
    }
}

fn store() -> (tempfile::TempDir, Store) {
    let directory = tempfile::tempdir().unwrap();
    let mut store = Store::open(&StateDir::new(directory.path())).unwrap();
    let rules = CallRules::new(&Pbx { trunks: vec!["provider1".into()], ..Pbx::default() });
    let mut batch = store.batch(&rules).unwrap();
    batch.leg(&leg("PJSIP/provider1-00000001", "PJSIP/1001-00000002", NINE, Some(NINE + 8), NINE + 68), 0);
    batch.leg(&leg("PJSIP/provider1-00000003", "PJSIP/1002-00000004", NINE + 900, Some(NINE + 905), NINE + 965), 0);
    batch.leg(&leg("PJSIP/provider1-00000005", "", NINE + 7200, Some(NINE + 7200), NINE + 7230), 0);
    batch.leg(&leg("PJSIP/1001-00000006", "PJSIP/\x1b[1m-00000007", NINE + 54_000, None, NINE + 54_020), 0);
    batch.malformed(b"nonsense", MalformedReason::Columns);
    batch.repeat();
    batch.commit(0).unwrap();
    (directory, store)
}

fn query(by: &[Dimension], zone: ReportZone) -> Query {
    Query { by: by.to_vec(), from: None, to: None, zone }
}

fn report(by: &[Dimension], zone: ReportZone) -> LocalReport {
    store().1.local_report(&query(by, zone)).unwrap()
}

#[test]
fn json_is_the_contract() {
    use Dimension::*;
    expect![[r#"{"rows":[{"hour":"2026-11-22T09:00:00Z","direction":"inbound","outcome":"answered","calls":2,"talk_seconds":120,"wait_seconds":13},{"hour":"2026-11-22T11:00:00Z","direction":"inbound","outcome":"abandoned","calls":1,"talk_seconds":30,"wait_seconds":30},{"hour":"2026-11-23T00:00:00Z","direction":"internal","outcome":"no_answer","calls":1,"talk_seconds":0,"wait_seconds":20}],"calls":4,"legs":4,"malformed":1,"duplicates":1}"#]]
    .assert_eq(&report(&[Hour, Direction, Outcome], ReportZone::utc()).to_json());
    expect![[r#"{"rows":[{"day":"2026-11-22","trunk":"provider1","queue":null,"extension":"1001","calls":1,"talk_seconds":60,"wait_seconds":8},{"day":"2026-11-22","trunk":"provider1","queue":null,"extension":"1002","calls":1,"talk_seconds":60,"wait_seconds":5},{"day":"2026-11-22","trunk":"provider1","queue":"=600","extension":null,"calls":1,"talk_seconds":30,"wait_seconds":30},{"day":"2026-11-23","trunk":null,"queue":null,"extension":"1001","calls":1,"talk_seconds":0,"wait_seconds":20}],"calls":4,"legs":4,"malformed":1,"duplicates":1}"#]]
    .assert_eq(&report(&[Day, Trunk, Queue, Extension], ReportZone::utc()).to_json());
}

#[test]
fn hours_are_those_of_the_zone() {
    use Dimension::*;
    // Half an hour, and three quarters, off the full hour.
    for (zone, hours) in [
        ("UTC", ["2026-11-22T09:00:00+00:00", "2026-11-22T11:00:00+00:00", "2026-11-23T00:00:00+00:00"].as_slice()),
        ("Asia/Kolkata", &["2026-11-22T14:00:00+05:30", "2026-11-22T16:00:00+05:30", "2026-11-23T05:00:00+05:30"]),
        (
            "Asia/Kathmandu",
            &[
                "2026-11-22T14:00:00+05:45",
                "2026-11-22T15:00:00+05:45",
                "2026-11-22T16:00:00+05:45",
                "2026-11-23T05:00:00+05:45",
            ],
        ),
    ] {
        let report = report(&[Hour], ReportZone::named(zone).unwrap());
        let found: Vec<_> = report.rows.iter().map(|row| row.values[0].text(&report.zone).unwrap()).collect();
        assert_eq!(found, hours, "{zone}");
    }
    let report = report(&[Weekday], ReportZone::named("America/New_York").unwrap());
    assert_eq!(report.rows.len(), 1, "in New York all of it is Sunday");
    assert!(report.to_json().starts_with(r#"{"rows":[{"weekday":"sunday","calls":4"#));
}

#[test]
fn sheets_are_safe_to_open() {
    expect![[r#"
        queue,calls,talk_seconds,wait_seconds
        ,3,120,33
        '=600,1,30,30
    "#]]
    .assert_eq(&report(&[Dimension::Queue], ReportZone::utc()).to_csv());
}

#[test]
fn tables_name_their_zone_and_have_sums() {
    let text = report(&[Dimension::Weekday, Dimension::Direction, Dimension::Outcome], ReportZone::utc()).to_table();
    expect![[r#"
        Calls by the time at which they ended; times are in UTC.
        ─────────────────────────────────────────────────────────────
         weekday   direction   outcome     calls      talk      wait 
        ─────────────────────────────────────────────────────────────
         monday    internal    no_answer       1   0:00:00   0:00:20 
         sunday    inbound     answered        2   0:02:00   0:00:13 
         sunday    inbound     abandoned       1   0:00:30   0:00:30 
        ─────────────────────────────────────────────────────────────
        4 calls, 4 legs, talk 0:02:30, wait 0:01:03; rows not understood: 1, read twice: 1
    "#]]
    .assert_eq(&text);
}

#[test]
fn ranges_are_half_open_and_begin_at_quarter_hours() {
    let (_directory, store) = store();
    let zone = ReportZone::named("Europe/Berlin").unwrap();
    let quarter = |text| zone.quarter("--from", text);
    assert_eq!(quarter("2026-11-22T09:00:00Z").unwrap(), NINE / 900);
    assert_eq!(quarter("2026-11-22T10:00:00+01:00").unwrap(), NINE / 900);
    assert_eq!(quarter("2026-11-22T10:00").unwrap(), NINE / 900);
    assert_eq!(quarter("2026-11-22").unwrap(), (NINE - 36_000) / 900);
    assert!(quarter("2026-11-22T10:05").unwrap_err().to_string().contains("quarter hour"));
    assert!(quarter("yesterday").unwrap_err().to_string().contains("--from \"yesterday\" is no moment"));
    assert!(ReportZone::named("Mars/Olympus").is_err());
    let mut query = query(&[Dimension::Direction], ReportZone::utc());
    (query.from, query.to) = (Some(NINE / 900 + 1), Some(NINE / 900 + 8));
    let report = store.local_report(&query).unwrap();
    assert_eq!((report.total.calls, report.total.legs, report.malformed), (1, 1, 1));
}

#[test]
fn nothing_is_said_in_words() {
    let empty = LocalReport::empty(&query(&[Dimension::Direction], ReportZone::utc()));
    assert!(empty.to_table().contains("demarc import"));
    assert_eq!(empty.to_json(), r#"{"rows":[],"calls":0,"legs":0,"malformed":0,"duplicates":0}"#);
    assert_eq!(empty.to_csv(), "direction,calls,talk_seconds,wait_seconds\n");
}
