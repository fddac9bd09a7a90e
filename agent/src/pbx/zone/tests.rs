//! Both changes of the clock in zones that differ in kind; what decides the repeated hour.

use jiff::{Timestamp, civil::DateTime};

use super::*;

fn wall(text: &str) -> i64 {
    text.parse::<DateTime>().unwrap().to_zoned(TimeZone::UTC).unwrap().timestamp().as_second()
}

fn utc(text: &str) -> i64 {
    text.parse::<Timestamp>().unwrap().as_second()
}

fn zone(name: &str) -> Zone {
    Zone::load(Some(name)).unwrap()
}

fn at(start: i64, seconds: i64) -> WallTimes {
    WallTimes { start, answer: None, end: start + seconds, duration: seconds, billed: 0 }
}

#[test]
fn far_from_a_change_there_is_one_answer() {
    for (name, local, moment) in [
        ("America/New_York", "2026-07-01T12:00:00", "2026-07-01T16:00:00Z"),
        ("America/New_York", "2026-01-01T12:00:00", "2026-01-01T17:00:00Z"),
        ("Asia/Kolkata", "2026-07-01T12:00:00", "2026-07-01T06:30:00Z"),
        ("Australia/Lord_Howe", "2026-07-01T12:00:00", "2026-07-01T01:30:00Z"),
        ("Australia/Lord_Howe", "2026-01-01T12:00:00", "2026-01-01T01:00:00Z"),
        ("UTC", "2026-01-01T12:00:00", "2026-01-01T12:00:00Z"),
    ] {
        let times = zone(name).resolve(at(wall(local), 60), || None, || None);
        assert_eq!(times, Times { start: utc(moment), answer: None, end: utc(moment) + 60 }, "{name}");
    }
}

/// Rows each ten minutes through a change of the clock, told by their uniqueids, then by their order alone.
#[test]
fn every_row_around_a_change_is_put_right() {
    for (name, change) in [
        ("America/New_York", "2026-11-01T06:00:00Z"),
        ("America/New_York", "2026-03-08T07:00:00Z"),
        ("Australia/Lord_Howe", "2026-04-04T15:00:00Z"),
        ("Australia/Lord_Howe", "2026-10-03T15:30:00Z"),
        ("Asia/Kolkata", "2026-11-01T06:00:00Z"),
        ("Europe/Berlin", "2026-10-25T01:00:00Z"),
    ] {
        let mut zone = zone(name);
        let change = utc(change);
        for told in [true, false] {
            let mut last_end = None;
            for step in -30..30 {
                let start = change + step * 600 + 7;
                let (answer, end) = (start + 200, start + 900);
                let local = |moment| moment + zone.offset_at(moment);
                let written = WallTimes {
                    start: local(start),
                    answer: Some(local(answer)),
                    end: local(end),
                    duration: 900,
                    billed: 700,
                };
                let times = zone.resolve(written, || told.then_some(start - 1), || last_end);
                assert_eq!(times, Times { start, answer: Some(answer), end }, "{name} step {step} told {told}");
                last_end = Some(times.end);
            }
        }
    }
}

#[test]
fn the_duration_tells_a_call_that_lasted_through_the_change() {
    let mut zone = zone("America/New_York");
    let long = WallTimes {
        start: wall("2026-11-01T01:50:00"),
        answer: Some(wall("2026-11-01T01:55:00")),
        end: wall("2026-11-01T01:20:00"),
        duration: 1801,
        billed: 1500,
    };
    let expected = Times {
        start: utc("2026-11-01T05:50:00Z"),
        answer: Some(utc("2026-11-01T05:55:00Z")),
        end: utc("2026-11-01T06:20:00Z"),
    };
    assert_eq!(zone.resolve(long, || None, || None), expected);
}

#[test]
fn the_uniqueid_decides_against_the_order() {
    let mut zone = zone("America/New_York");
    let call = at(wall("2026-11-01T01:30:00"), 60);
    let (first, second) = (utc("2026-11-01T05:30:00Z"), utc("2026-11-01T06:30:00Z"));
    assert_eq!(zone.resolve(call, || Some(first), || Some(second)).start, first);
    assert_eq!(zone.resolve(call, || Some(second), || Some(first)).start, second);
    assert_eq!(zone.resolve(call, || None, || Some(second)).start, second);
    assert_eq!(zone.resolve(call, || None, || None).start, first);
}

#[test]
fn a_time_that_spring_skips_goes_on_from_before() {
    let mut zone = zone("America/New_York");
    assert_eq!(zone.resolve(at(wall("2026-03-08T02:30:00"), 60), || None, || None).start, utc("2026-03-08T07:30:00Z"));
}

#[test]
fn a_clock_set_back_leaves_no_negative_call() {
    let call = WallTimes { start: 1000, answer: Some(900), end: 400, duration: -600, billed: 0 };
    assert_eq!(Zone::utc().resolve(call, || None, || None), Times { start: 1000, answer: Some(1000), end: 1000 });
}

#[test]
fn a_wrong_name_is_refused_in_words() {
    let error = Zone::load(Some("Europe/Berlln")).unwrap_err().to_string();
    assert!(error.starts_with("timezone = \"Europe/Berlln\" is no time zone"), "{error}");
}

#[test]
fn the_machines_zone_is_read_from_its_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("localtime");
    let missing = Zone::local(&path).unwrap();
    assert_eq!(missing.offset_at(0), 0);
    std::fs::write(&path, b"no zone").unwrap();
    assert!(matches!(Zone::local(&path), Err(ZoneError::Damaged { .. })));
}

proptest::proptest! {
    /// The quick way must never differ from the rules themselves.
    #[test]
    fn the_quick_way_is_the_right_way(moments in proptest::collection::vec(0..4_000_000_000_i64, 1..20), pick in 0..5_usize) {
        let name = ["America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "Africa/Casablanca", "Europe/Dublin"][pick];
        let mut zone = zone(name);
        for moment in moments {
            let local = moment + zone.offset_at(moment);
            let written = WallTimes { start: local, answer: None, end: local, duration: 0, billed: 0 };
            proptest::prop_assert_eq!(zone.resolve(written, || Some(moment), || None).start, moment);
        }
    }

    /// Nor must the quickest: wall times of any kind, most of them near a change of the clock, through zones that looked up others before.
    #[test]
    fn the_quickest_way_is_the_right_way(
        calls in proptest::collection::vec((-9_000..9_000_i64, -100..2_000_i64, -100..2_000_i64, proptest::bool::ANY), 1..30),
        pick in 0..4_usize,
    ) {
        let (name, change) = [
            ("America/New_York", "2026-11-01T02:00:00"),
            ("America/New_York", "2026-03-08T02:00:00"),
            ("Australia/Lord_Howe", "2026-04-05T02:00:00"),
            ("Asia/Kolkata", "2026-04-05T02:00:00"),
        ][pick];
        let mut zone = zone(name);
        for (from, ring, length, is_answered) in calls {
            let start = wall(change) + from;
            let (answer, end) = (is_answered.then_some(start + ring), start + length);
            let written = WallTimes { start, answer, end, duration: length, billed: 0 };
            let quick = zone.resolve_plain(start, answer, end);
            let times = zone.resolve(written, || None, || None);
            proptest::prop_assert!(quick.is_none_or(|quick| quick == times), "{quick:?} {times:?}");
        }
    }
}
