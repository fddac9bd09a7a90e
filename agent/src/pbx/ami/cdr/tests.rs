//! Call records as Asterisk 16 and 22 sent them, and as somebody would like to have sent them.

use std::collections::BTreeMap;

use super::*;
use crate::{
    call::Identity,
    pbx::{Row, RowReader, ami::message::tests::split},
};

const UNDER_LOAD: &[u8] = include_bytes!("../../../../../tests/data/pbx/asterisk16/ami-cdr.raw");
const TRANSFERS_16: &[u8] = include_bytes!("../../../../../tests/data/pbx/asterisk16/ami-transfers.raw");
const TRANSFERS_22: &[u8] = include_bytes!("../../../../../tests/data/pbx/asterisk22/ami-transfers.raw");
const MASTER_16: [&[u8]; 2] = [
    include_bytes!("../../../../../tests/data/pbx/asterisk16/Master.default16.csv"),
    include_bytes!("../../../../../tests/data/pbx/asterisk16/Master.uniqueid18.csv"),
];
const MASTER_22: [&[u8]; 2] = [
    include_bytes!("../../../../../tests/data/pbx/asterisk22/Master.default16.csv"),
    include_bytes!("../../../../../tests/data/pbx/asterisk22/Master.uniqueid18.csv"),
];

fn records(bytes: &[u8]) -> Vec<Record> {
    let mut reader = CdrReader::new(Zone::utc());
    let events = split(bytes).into_iter().filter(|message| message.get("Event") == Some(b"Cdr"));
    events.map(|event| reader.read(&event).row.unwrap_or_else(|unreadable| panic!("{}", unreadable.why))).collect()
}

/// What a file tells, by identity: times and outcome of each row.
fn told_by_file(files: [&[u8]; 2]) -> BTreeMap<Identity, Vec<(i64, i64, Disposition)>> {
    let mut told: BTreeMap<Identity, Vec<_>> = BTreeMap::new();
    for file in files {
        let mut note = |row: Row<'_>| {
            if let Row::Leg(leg) = row {
                told.entry(Identity::of(&leg)).or_default().push((leg.start, leg.end, leg.disposition));
            }
        };
        RowReader::new(Zone::utc()).read(file, true, u64::MAX, &mut note);
    }
    told
}

#[test]
fn every_record_is_a_row_that_the_file_has_too() {
    for (events, files, count) in
        [(UNDER_LOAD, MASTER_16, 89), (TRANSFERS_16, MASTER_16, 12), (TRANSFERS_22, MASTER_22, 12)]
    {
        let records = records(events);
        assert_eq!(records.len(), count);
        let mut told = told_by_file(files);
        for record in records {
            let rows = told.get_mut(&Identity::of(&record.leg())).expect("the file has no such row");
            let same = rows.iter().position(|row| *row == (record.start, record.end, record.disposition));
            rows.swap_remove(same.expect("the file tells another end of it"));
            assert!(record.linkedid.is_some() && record.sequence.is_some() && record.uniqueid.is_some());
        }
    }
}

#[test]
fn times_are_the_wall_clock_of_the_zone() {
    let mut reader = CdrReader::new(Zone::load(Some("America/New_York")).unwrap());
    let event = event(&[]);
    let record = reader.read(&event).row.ok().unwrap();
    assert_eq!((record.start, record.answer, record.end), (1_795_327_699, Some(1_795_327_700), 1_795_327_702));
    // The hour that autumn repeats: the id tells which of the two is meant.
    for (id, start) in [("1793511000.1", 1_793_511_000), ("1793514600.1", 1_793_514_600)] {
        let times = [("StartTime", "2026-11-01 01:30:00"), ("AnswerTime", ""), ("EndTime", "2026-11-01 01:30:09")];
        let event = changed(&[times[0], times[1], times[2], ("Duration", "9"), ("UniqueID", id)]);
        let record = reader.read(&event).row.ok().unwrap();
        assert_eq!((record.start, record.answer, record.end), (start, None, start + 9));
    }
}

#[test]
fn forged_lines_are_not_believed() {
    let mut reader = CdrReader::new(Zone::utc());
    let mut why = |event: Message| reader.read(&event).row.err().map(|unreadable| unreadable.why);
    assert_eq!(why(event(&[])), None);
    // A text of the caller's that makes lines, before the real ones and behind them.
    for field in ["Source", "CallerID", "LastData", "UserField"] {
        for forged in
            ["Channel: PJSIP/other-00000001", "Disposition: BUSY", "UniqueID: 1.1", "LinkedID: 1.1\r\nLinkedID: 2.2"]
        {
            let event = event(&[(field, &format!("x\r\n{forged}"))]);
            assert_eq!(why(event), Some(MalformedReason::Columns), "{forged} in {field}");
        }
        // What is no line of ours does no harm.
        assert_eq!(why(event(&[(field, "x\r\nNonsense: 1\r\ny\nAccountCode: z")])), None);
    }
    // A text that ends the event and begins one of its own leaves one row, or none that counts.
    let split_in_two = "x\r\n\r\nEvent: Cdr\r\nAccountCode: \r\nSource: 1";
    let bytes = text(&[("Source", split_in_two)], &[]);
    let rows: Vec<bool> = split(&bytes).iter().map(|message| why(message.clone()).is_none()).collect();
    assert_eq!(rows, [false, true]);
    let behind = text(&[("UserField", "x\r\n\r\nEvent: Cdr\r\nChannel: a\r\nStartTime: 2026-11-22 01:08:19")], &[]);
    let rows: Vec<bool> = split(&behind).iter().map(|message| why(message.clone()).is_none()).collect();
    assert_eq!(rows, [true, false]);
}

#[test]
fn what_is_no_record_is_kept_and_named() {
    let mut reader = CdrReader::new(Zone::utc());
    let mut why = |field, value| reader.read(&changed(&[(field, value)])).row.err().map(|unreadable| unreadable.why);
    assert_eq!(why("StartTime", ""), Some(MalformedReason::Time));
    assert_eq!(why("EndTime", "yesterday"), Some(MalformedReason::Time));
    assert_eq!(why("Duration", "long"), Some(MalformedReason::Number));
    assert_eq!(why("Sequence", "-1"), Some(MalformedReason::Number));
    assert_eq!(why("Disposition", "UNKNOWN"), Some(MalformedReason::Disposition));
    let short = split(b"Event: Cdr\r\nChannel: PJSIP/1-00000001\r\n\r\n").remove(0);
    let unreadable = reader.read(&short).row.unwrap_err();
    assert_eq!((unreadable.why, &unreadable.bytes[..]), (MalformedReason::Columns, short.bytes()));
}

#[test]
fn unmapped_columns_are_absent() {
    let bytes = text(&[], &["LinkedID", "Sequence"]);
    let record = CdrReader::new(Zone::utc()).read(&split(&bytes)[0]).row.ok().unwrap();
    assert_eq!((record.linkedid, record.sequence), (None, None));
}

/// The first event of Asterisk 22's transfers.
const REAL: &[(&str, &str)] = &[
    ("Event", "Cdr"),
    ("Privilege", "cdr,all"),
    ("AccountCode", ""),
    ("Source", "447700902001"),
    ("Destination", "1002"),
    ("DestinationContext", "from-internal"),
    ("CallerID", "\"Xfer\" <447700902001>"),
    ("Channel", "PJSIP/provider1-00000269"),
    ("DestinationChannel", "PJSIP/1001-0000026a"),
    ("LastApplication", "Dial"),
    ("LastData", "PJSIP/1001,2,Tt"),
    ("StartTime", "2026-11-22 01:08:19"),
    ("AnswerTime", "2026-11-22 01:08:20"),
    ("EndTime", "2026-11-22 01:08:22"),
    ("Duration", "2"),
    ("BillableSeconds", "2"),
    ("Disposition", "ANSWERED"),
    ("AMAFlags", "DOCUMENTATION"),
    ("UniqueID", "1795309699.1931"),
    ("UserField", ""),
    ("LinkedID", "1795309699.1931"),
    ("Sequence", "927"),
];

/// That event with some values put behind what stands there.
fn event(added: &[(&str, &str)]) -> Message {
    split(&text(added, &[])).remove(0)
}

/// That event with some values replaced.
fn changed(values: &[(&str, &str)]) -> Message {
    let line = |(key, value): &(&str, &str)| {
        let value = values.iter().find(|(changed, _)| changed == key).map_or(*value, |(_, value)| *value);
        format!("{key}: {value}\r\n")
    };
    let text: String = REAL.iter().map(line).collect();
    split(format!("{text}\r\n").as_bytes()).remove(0)
}

fn text(added: &[(&str, &str)], without: &[&str]) -> Vec<u8> {
    let line = |(key, value): &(&str, &str)| {
        let more = added.iter().find(|(field, _)| field == key).map_or("", |(_, more)| *more);
        format!("{key}: {value}{more}\r\n")
    };
    let text: String = REAL.iter().filter(|(key, _)| !without.contains(key)).map(line).collect();
    format!("{text}\r\n").into_bytes()
}
