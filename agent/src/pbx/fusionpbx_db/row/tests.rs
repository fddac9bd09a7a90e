//! Rows of FusionPBX as calls.

use super::*;
use crate::{
    call::{Call, CallRules, Names, rules::Line},
    settings::Pbx,
};

const A: &str = "550e8400-e29b-41d4-a716-446655440000";
const B: &str = "550e8400-e29b-41d4-a716-446655440001";

/// A row of which these columns are filled.
fn row(cells: &[(&str, &str)]) -> Record {
    let place = |name: &str| WANTED.iter().position(|names| names.contains(&name)).unwrap();
    let mut all = vec![None; WANTED.len()];
    for (name, text) in [("xml_cdr_uuid", A), ("start_epoch", "1795310000"), ("end_epoch", "1795310060")] {
        all[place(name)] = Some(text);
    }
    for (name, text) in cells {
        all[place(name)] = Some(*text);
    }
    from_cells(&|column| all[column]).row.ok().unwrap()
}

/// Direction, outcome, how long somebody waited and talked.
fn call(legs: &[Record]) -> String {
    let line = |name: &str| Line { technology: GATEWAY.into(), device: name.into(), name: name.into() };
    let rules = CallRules::knowing(&Pbx::default(), &[line(OUTSIDE), line("provider1"), line(A)]);
    let mut names = Names::default();
    let mut calls = legs.iter().map(|leg| Call::of(&leg.leg(), &rules, &mut names));
    let mut whole = calls.next().unwrap();
    for call in calls {
        whole.merge(&call);
    }
    let (direction, outcome) = (whole.direction().as_str(), whole.outcome().as_str());
    format!("{direction} {outcome} {} {}", whole.wait_seconds(), whole.talk_seconds())
}

#[test]
fn calls_go_the_way_that_fusionpbx_says() {
    let answered =
        [("answer_epoch", "1795310010"), ("billsec", "50"), ("bridge_uuid", B), ("destination_number", "1001")];
    for (direction, way) in [("inbound", "inbound"), ("outbound", "outbound"), ("local", "internal")] {
        let cells = [&answered[..], &[("direction", direction)]].concat();
        assert_eq!(call(&[row(&cells)]), format!("{way} answered 10 50"));
    }
}

#[test]
fn outcomes_follow_from_cause_and_applications() {
    let inbound = ("direction", "inbound");
    for (cause, outcome) in [
        ("NO_ANSWER", "no_answer"),
        ("ORIGINATOR_CANCEL", "no_answer"),
        ("USER_BUSY", "busy"),
        ("CALL_REJECTED", "busy"),
        ("UNALLOCATED_NUMBER", "failed"),
        ("NORMAL_TEMPORARY_FAILURE", "failed"),
    ] {
        assert_eq!(call(&[row(&[inbound, ("hangup_cause", cause)])]), format!("inbound {outcome} 60 0"), "{cause}");
    }
    let answered = [inbound, ("answer_epoch", "1795310010"), ("hangup_cause", "NORMAL_CLEARING")];
    assert_eq!(call(&[row(&answered)]), "inbound system 60 50", "a menu");
    let voicemail = [&answered[..], &[("voicemail_message", "t"), ("bridge_uuid", B)]].concat();
    assert_eq!(call(&[row(&voicemail)]), "inbound voicemail 60 50");
}

#[test]
fn a_queue_answers_long_before_an_agent_does() {
    let waiting = [
        ("direction", "inbound"),
        ("answer_epoch", "1795310001"),
        ("cc_queue", "sales@example.com"),
        ("cc_side", "member"),
    ];
    assert_eq!(call(&[row(&waiting)]), "inbound abandoned 60 59");
    let taken = [&waiting[..], &[("cc_queue_answered_epoch", "1795310020"), ("cc_agent", "1004@example.com")]].concat();
    let record = row(&taken);
    assert_eq!((&record.dstchannel[..], &record.lastdata[..]), (&b"user/1004-00000000"[..], &b"sales"[..]));
    assert_eq!(call(&[record]), "inbound answered 20 40");
}

#[test]
fn both_legs_are_one_call_in_either_order() {
    let first = row(&[("direction", "inbound"), ("leg", "a"), ("answer_epoch", "1795310010"), ("bridge_uuid", B)]);
    let second = [
        ("xml_cdr_uuid", B),
        ("direction", "inbound"),
        ("leg", "b"),
        ("answer_epoch", "1795310010"),
        ("bridge_uuid", A),
    ];
    let second = row(&second);
    assert_eq!(second.linkedid.as_deref(), Some(A.as_bytes()));
    for legs in [[first.clone(), second.clone()], [second, first]] {
        assert_eq!(call(&legs), "inbound answered 10 50");
    }
}

#[test]
fn a_gateway_is_named_by_what_was_dialled() {
    let out = row(&[
        ("direction", "outbound"),
        ("last_arg", "{a=b}sofia/gateway/provider1/4915550001"),
        ("caller_id_number", "1001"),
    ]);
    assert_eq!(
        (&out.channel[..], &out.dstchannel[..]),
        (&b"user/1001-00000000"[..], &b"gateway/provider1-00000000"[..])
    );
    // FusionPBX names its gateways so.
    let dialled = format!("sofia/gateway/{A}/4915550001");
    assert_eq!(call(&[row(&[("direction", "outbound"), ("last_arg", &dialled)])]), "outbound failed 60 0");
}

#[test]
fn older_tables_have_fewer_columns_and_fractions_of_seconds() {
    let there = ["uuid", "start_epoch", "end_epoch", "direction", "hangup_cause", "json", "record_path"];
    let columns = Columns::find(&there).ok().unwrap();
    assert!(columns.list.starts_with("uuid, start_epoch, end_epoch, direction, hangup_cause, NULL"));
    assert!(!columns.list.contains("json") && !columns.list.contains("record"));
    assert_eq!(Columns::find(&["uuid", "start_epoch"]).err(), Some("end_epoch"));
    assert_eq!(
        (number("1795310000"), number("1795310000.25"), number("x")),
        (Some(1_795_310_000), Some(1_795_310_000), None)
    );
}
