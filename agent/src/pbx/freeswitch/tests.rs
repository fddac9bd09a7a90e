//! Legs written by hand after the documentation of FreeSWITCH: there is no package of it to write them.

use expect_test::{Expect, expect};

use super::*;
use crate::{
    call::{Call, CallRules, Names},
    settings::Pbx,
};

const A: &str = "3da8bf84-c133-4959-9e24-e72875cb33a1";
const B: &str = "f52c26f1-b018-4963-bf6d-a3111d1a0320";

/// What a leg comes to, and how the call that it is alone would count.
fn shown(pairs: &[(&str, &str)], tells_of_bridges: bool) -> String {
    let mut variables = Variables::default();
    let common = [("start_epoch", "1795309040"), ("end_epoch", "1795309074"), ("hangup_cause", "NORMAL_CLEARING")];
    for (name, value) in pairs.iter().chain(&common) {
        variables.set(name, value.as_bytes());
    }
    let site = Site { outside: vec!["external".into()], tells_of_bridges };
    let record = match variables.record(&site, &mut Zone::utc(), &mut DateCache::default(), None) {
        Ok(record) => record,
        Err(why) => return why.to_string(),
    };
    let rules = CallRules::new(&Pbx { trunks: vec!["provider1".into(), "external".into()], ..Pbx::default() });
    let call = Call::of(&record.leg(), &rules, &mut Names::default());
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    format!(
        "{} -> {} {}({}) {:?} {:?}: {} {}, waited {}, talked {}",
        text(&record.channel),
        text(&record.dstchannel),
        text(&record.lastapp),
        text(&record.lastdata),
        record.disposition,
        record.linkedid.as_deref().map(|id| text(&id[..8])),
        call.direction().as_str(),
        call.outcome().as_str(),
        call.wait_seconds(),
        call.talk_seconds(),
    )
}

fn check(pairs: &[(&str, &str)], expected: Expect) {
    expected.assert_eq(&shown(pairs, true));
}

#[test]
fn a_caller_from_outside_reaches_a_person_after_a_menu() {
    check(
        &[
            ("uuid", A),
            ("direction", "inbound"),
            ("channel_name", "sofia/external/+447700900001@192.0.2.1"),
            ("sofia_profile_name", "external"),
            ("answer_epoch", "1795309042"),
            ("bridge_epoch", "1795309050"),
            ("bridge_uuid", B),
            ("bridge_channel", "sofia/internal/1001@198.51.100.7:5060"),
            ("last_app", "bridge"),
            ("last_arg", "user/1001@pbx.example.com"),
        ],
        expect![
            "sofia/external-3da8bf84 -> sofia/1001-f52c26f1 bridge(user/1001@pbx.example.com) Answered Some(\"3da8bf84\"): inbound answered, waited 10, talked 24"
        ],
    );
}

#[test]
fn a_call_to_the_outside_goes_out_by_its_gateway() {
    let a = [
        ("uuid", A),
        ("direction", "inbound"),
        ("channel_name", "sofia/internal/1001@pbx.example.com"),
        ("last_app", "bridge"),
        (
            "last_arg",
            "{absolute_codec_string='PCMA,PCMU'}[leg_timeout=20]sofia/gateway/provider1/0044,sofia/gateway/provider2/0044",
        ),
    ];
    // Nobody answered: the dial string tells where it should have gone.
    check(
        &[&a[..], &[("hangup_cause", "USER_BUSY"), ("answer_epoch", "0")]].concat(),
        expect![
            "sofia/1001-3da8bf84 -> sofia/provider1-00000000 bridge({absolute_codec_string='PCMA,PCMU'}[leg_timeout=20]sofia/gateway/provider1/0044,sofia/gateway/provider2/0044) Busy Some(\"3da8bf84\"): outbound busy, waited 34, talked 0"
        ],
    );
    check(
        &[
            ("uuid", B),
            ("direction", "outbound"),
            ("originator", A),
            ("channel_name", "sofia/external/0044"),
            ("sip_gateway_name", "provider1"),
            ("answer_epoch", "1795309044"),
        ],
        expect![" -> sofia/provider1-f52c26f1 () Answered Some(\"3da8bf84\"): outbound answered, waited 4, talked 30"],
    );
}

#[test]
fn applications_tell_what_became_of_a_caller() {
    let a = [("uuid", A), ("channel_name", "sofia/external/anonymous@192.0.2.1"), ("answer_epoch", "1795309042")];
    for (application, arguments, expected) in [
        ("voicemail", "default pbx.example.com 1001", "VoiceMail() Answered Some(\"3da8bf84\"): inbound voicemail"),
        (
            "voicemail",
            "check default pbx.example.com 1001",
            "VoiceMailMain() Answered Some(\"3da8bf84\"): inbound system",
        ),
        ("callcenter", "support@default", "Queue(support@default) Answered Some(\"3da8bf84\"): inbound abandoned"),
        ("fifo", "sales@pbx in", "Queue(sales@pbx) Answered Some(\"3da8bf84\"): inbound abandoned"),
        ("fifo", "sales@pbx out wait", "fifo(sales@pbx out wait) Answered Some(\"3da8bf84\"): inbound system"),
        ("ivr", "main", "ivr(main) Answered Some(\"3da8bf84\"): inbound system"),
        ("bridge", "user/1001@pbx", "bridge(user/1001@pbx) Answered Some(\"3da8bf84\"): inbound system"),
    ] {
        let row = shown(&[&a[..], &[("last_app", application), ("last_arg", arguments)]].concat(), true);
        assert!(row.contains(expected), "{row}");
    }
}

#[test]
fn an_agent_of_a_queue_belongs_to_the_callers_call() {
    let row = shown(
        &[
            ("uuid", B),
            ("cc_member_session_uuid", A),
            ("direction", "outbound"),
            ("channel_name", "sofia/internal/sip:1001@198.51.100.7:5060;transport=udp"),
            ("answer_epoch", "1795309044"),
        ],
        true,
    );
    assert!(row.starts_with(" -> sofia/1001-f52c26f1 () Answered Some(\"3da8bf84\")"), "{row}");
}

#[test]
fn what_a_template_cannot_tell_counts_as_answered() {
    let row =
        [("uuid", A), ("context", "public"), ("caller_id_number", "447700900001"), ("answer_epoch", "1795309042")];
    assert!(shown(&row, false).starts_with("sofia/public-3da8bf84 -> sofia/unknown-00000000"));
    assert!(shown(&row, true).contains("sofia/public-3da8bf84 ->  ()"));
}

#[test]
fn causes_are_dispositions() {
    for (cause, expected) in [
        ("ORIGINATOR_CANCEL", "Cancel"),
        ("NO_ANSWER", "NoAnswer"),
        ("CALL_REJECTED", "Busy"),
        ("NORMAL_CIRCUIT_CONGESTION", "Congestion"),
        ("UNALLOCATED_NUMBER", "Failed"),
        ("a cause", "disposition"),
        ("", "NoAnswer"),
    ] {
        // An empty cause says nothing, and the usual one follows.
        let row = shown(&[("uuid", A), ("channel_name", "sofia/internal/1001@x"), ("hangup_cause", cause)], true);
        assert!(row.contains(expected), "{cause}: {row}");
    }
}

#[test]
fn times_come_in_three_forms() {
    let leg = [("uuid", A), ("channel_name", "sofia/internal/1001@x"), ("last_app", "ivr")];
    for times in [
        [
            ("start_stamp", "2026-11-22 00:57:20"),
            ("answer_stamp", "2026-11-22 00:57:24"),
            ("end_stamp", "2026-11-22 00:57:54"),
        ],
        [("start_epoch", "1795309040"), ("answer_epoch", "1795309044"), ("duration", "34")],
        [
            ("start_uepoch", "1795309040999999"),
            ("answer_uepoch", "1795309044000001"),
            ("end_uepoch", "1795309074000001"),
        ],
    ] {
        let row = shown(&[&leg[..], &times].concat(), true);
        assert!(row.ends_with("waited 34, talked 30"), "{row}");
    }
    let row = shown(&[&leg[..], &[("answer_stamp", "1970-01-01 01:00:00")]].concat(), true);
    assert!(row.contains("NoAnswer"), "{row}");
}

#[test]
fn channels_are_named_for_what_is_theirs() {
    let site = Site { outside: vec!["external".into()], tells_of_bridges: true };
    for (name, expected) in [
        ("sofia/internal/1001@pbx.example.com", Some("sofia/1001-3da8bf84")),
        ("sofia/external/00447700900001@192.0.2.1", Some("sofia/external-3da8bf84")),
        ("sofia/gateway/my-trunk-beef/0044", Some("sofia/my-trunk-beef-3da8bf84")),
        ("verto.rtc/1002@pbx.example.com", Some("verto.rtc/1002-3da8bf84")),
        ("loopback/1001-a", Some("Local/1001-a-00000000;1")),
        ("error/user_busy", None),
        ("sofia/internal", None),
        ("", None),
    ] {
        let found = channel(name.as_bytes(), A.as_bytes(), &site);
        assert_eq!(found.as_deref(), expected.map(str::as_bytes), "{name}");
    }
}
