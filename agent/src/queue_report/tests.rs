//! The report as it is printed.

use expect_test::expect;

use super::*;

fn report() -> QueueReport {
    let sales = QueueFigures {
        offered: 100,
        returned: 4,
        connected: 80,
        in_time: 72,
        abandoned: 12,
        short: 2,
        timed_out: 3,
        emptied: 1,
        keyed: 2,
        handled: 79,
        transferred: 8,
        hold_seconds: 960,
        talk_seconds: 14_220,
        wait_seconds: 640,
    };
    let mut total = sales;
    total.add(&QueueFigures { offered: 1, ..QueueFigures::default() });
    QueueReport {
        from: Some(1_795_305_600 / 900),
        to: Some(1_795_392_000 / 900),
        zone: ReportZone::utc(),
        targets: vec![20],
        queues: BTreeMap::from([
            (Queue::new("600"), sales),
            (Queue::new("\u{1b}601"), QueueFigures { offered: 1, ..QueueFigures::default() }),
        ]),
        total,
    }
}

#[test]
fn figures_come_with_what_they_rest_on() {
    let sales = report().queues[&Queue::new("600")];
    // Answered in time of 80 answered and 16 lost, without 2 who hung up at once.
    assert_eq!(sales.service_level(), Share { part: 72, n: 94 });
    assert_eq!(sales.abandonment(), Share { part: 10, n: 98 });
    assert_eq!(sales.answer_seconds(), Share { part: 960, n: 80 });
    assert_eq!(sales.handle_seconds(), Share { part: 14_220, n: 79 });
    assert_eq!(sales.lost_wait_seconds(), Share { part: 640, n: 16 });
    assert_eq!(Share { part: 0, n: 0 }.value(), None);
}

#[test]
fn people_get_a_table() {
    expect![[r#"
        Queues, 2026-11-22 00:00 to 2026-11-23 00:00; callers count when they came in; times are in UTC.
        ───────────────────────────────────────────────────────────────────────────────────────
         queue   offered   again   answered   abandoned   short   timeout   empty   key   open 
        ───────────────────────────────────────────────────────────────────────────────────────
         �601          1       0          0           0       0         0       0     0      1 
         600         100       4         80          12       2         3       1     2      2 
         all         101       4         80          12       2         3       1     2      3 
        ───────────────────────────────────────────────────────────────────────────────────────
        ──────────────────────────────────────────────────────────────────────────────
         queue       in time     abandoned           ASA            AHT   transferred 
        ──────────────────────────────────────────────────────────────────────────────
         �601              -     0.0 % (1)             -              -             - 
         600     76.6 % (94)   10.2 % (98)   12.0 s (80)   180.0 s (79)   10.1 % (79) 
         all     76.6 % (94)   10.1 % (99)   12.0 s (80)   180.0 s (79)   10.1 % (79) 
        ──────────────────────────────────────────────────────────────────────────────
        In time: answered within 20 s / (answered + abandoned + timeout + empty - short).
        Abandoned: (abandoned - short) / (offered - short); short is under 5 s.
        ASA: waiting time of the answered / answered. AHT: talking time / talks that are over; the log has no work after a call.
        In brackets is by how many a figure was divided. Formulas: version 1.
    "#]].assert_eq(&report().to_table());
    let nothing = QueueReport::empty(None, None, ReportZone::utc()).to_table();
    assert!(nothing.starts_with("No callers in queues in that time."), "{nothing}");
}

#[test]
fn scripts_get_json() {
    expect![[r#"{"formula":1,"from":"2026-11-22T00:00:00Z","to":"2026-11-23T00:00:00Z","timezone":"UTC","target_seconds":[20],"short_seconds":5,"queues":[{"queue":"\u001b601","offered":1,"returned":0,"connected":0,"connected_in_time":0,"abandoned":0,"abandoned_short":0,"timed_out":0,"left_empty":0,"left_with_key":0,"open":1,"handled":0,"transferred":0,"hold_seconds":0,"talk_seconds":0,"lost_wait_seconds":0,"service_level":{"value":null,"n":0},"abandonment":{"value":0.0,"n":1},"asa_seconds":{"value":null,"n":0},"aht_seconds":{"value":null,"n":0},"average_lost_wait_seconds":{"value":null,"n":0}},{"queue":"600","offered":100,"returned":4,"connected":80,"connected_in_time":72,"abandoned":12,"abandoned_short":2,"timed_out":3,"left_empty":1,"left_with_key":2,"open":2,"handled":79,"transferred":8,"hold_seconds":960,"talk_seconds":14220,"lost_wait_seconds":640,"service_level":{"value":0.7659574468085106,"n":94},"abandonment":{"value":0.10204081632653061,"n":98},"asa_seconds":{"value":12.0,"n":80},"aht_seconds":{"value":180.0,"n":79},"average_lost_wait_seconds":{"value":40.0,"n":16}}],"total":{"offered":101,"returned":4,"connected":80,"connected_in_time":72,"abandoned":12,"abandoned_short":2,"timed_out":3,"left_empty":1,"left_with_key":2,"open":3,"handled":79,"transferred":8,"hold_seconds":960,"talk_seconds":14220,"lost_wait_seconds":640,"service_level":{"value":0.7659574468085106,"n":94},"abandonment":{"value":0.10101010101010101,"n":99},"asa_seconds":{"value":12.0,"n":80},"aht_seconds":{"value":180.0,"n":79},"average_lost_wait_seconds":{"value":40.0,"n":16}}}"#]].assert_eq(&report().to_json());
}
