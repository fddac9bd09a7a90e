//! What calls amount to, from legs as real PBXs write them, and that the order of legs never matters.

use std::borrow::Cow;

use proptest::prelude::*;

use super::*;
use crate::{pbx::leg::Disposition, settings::Pbx};

/// A leg that nothing happened in.
fn leg<'a>() -> Leg<'a> {
    Leg {
        uniqueid: Some(b"1795309040.1"),
        linkedid: Some(b"1795309040.1"),
        sequence: None,
        channel: Cow::Borrowed(b"PJSIP/1001-00000001"),
        dstchannel: Cow::Borrowed(b""),
        lastapp: Cow::Borrowed(b"Dial"),
        lastdata: Cow::Borrowed(b""),
        src: Cow::Borrowed(b"1001"),
        dst: Cow::Borrowed(b"1002"),
        start: 1000,
        answer: None,
        end: 1010,
        disposition: Disposition::NoAnswer,
    }
}

/// A leg from one channel to another, answered at the third moment if the fourth says so.
fn dial<'a>(from: &'a str, to: &'a str, start: i64, answer: Option<i64>, end: i64) -> Leg<'a> {
    let disposition = if answer.is_some() { Disposition::Answered } else { Disposition::NoAnswer };
    let (channel, dstchannel) = (Cow::Borrowed(from.as_bytes()), Cow::Borrowed(to.as_bytes()));
    Leg { channel, dstchannel, start, answer, end, disposition, ..leg() }
}

fn app<'a>(mut leg: Leg<'a>, name: &'a str, data: &'a str) -> Leg<'a> {
    (leg.lastapp, leg.lastdata) = (Cow::Borrowed(name.as_bytes()), Cow::Borrowed(data.as_bytes()));
    leg
}

fn rules() -> CallRules {
    CallRules::new(&Pbx {
        trunks: vec!["provider1".into(), "PJSIP/provider2".into()],
        outside_line: "9".into(),
        ..Pbx::default()
    })
}

fn call(legs: &[Leg<'_>]) -> (Call, Names) {
    let (rules, mut names) = (rules(), Names::default());
    let mut parts = legs.iter().map(|leg| Call::of(leg, &rules, &mut names)).collect::<Vec<_>>().into_iter();
    let mut call = parts.next().expect("a call has a leg");
    parts.for_each(|part| assert_eq!(call.merge(&part), 0));
    (call, names)
}

fn words(legs: &[Leg<'_>]) -> String {
    let (call, names) = call(legs);
    let place = call.share().place;
    let text = |id| names.text(id).unwrap_or("-");
    format!(
        "{} {} {:?} wait {} talk {} trunk {} queue {} extension {}",
        call.direction().as_str(),
        call.outcome().as_str(),
        call.destination(),
        call.wait_seconds(),
        call.talk_seconds(),
        text(place.trunk),
        text(place.queue),
        text(place.extension),
    )
}

#[test]
fn a_ring_group_is_one_call() {
    let legs = [
        dial("PJSIP/provider1-00000001", "PJSIP/1001-00000002", 1000, None, 1005),
        dial("PJSIP/provider1-00000001", "PJSIP/1002-00000003", 1000, Some(1005), 1065),
        dial("PJSIP/provider1-00000001", "PJSIP/1003-00000004", 1000, None, 1005),
    ];
    let expected = "inbound answered NotOutbound wait 5 talk 60 trunk provider1 queue - extension 1002";
    assert_eq!(words(&legs), expected);
}

#[test]
fn a_failed_trunk_and_the_next_one() {
    let mut legs = [
        dial("PJSIP/1003-0000002a", "PJSIP/provider1-0000002b", 1000, None, 1001),
        dial("PJSIP/1003-0000002a", "PJSIP/provider2-0000002c", 1001, Some(1004), 1034),
    ];
    legs[0].disposition = Disposition::Congestion;
    legs.iter_mut().for_each(|leg| leg.dst = Cow::Borrowed(b"900491234567"));
    let expected = "outbound answered International wait 4 talk 30 trunk PJSIP/provider2 queue - extension 1003";
    assert_eq!(words(&legs), expected);
    // With neither answered, the last one tried counts.
    legs[1].disposition = Disposition::Failed;
    legs[1].answer = None;
    let expected = "outbound failed International wait 34 talk 0 trunk PJSIP/provider2 queue - extension 1003";
    assert_eq!(words(&legs), expected);
}

#[test]
fn queues_through_local_channels() {
    let queue = app(
        dial("PJSIP/provider1-00000001", "Local/1002@from-queue-00000005;1", 1000, Some(1000), 1100),
        "Queue",
        "600,t,,,12",
    );
    let mut member = dial("Local/1002@from-queue-00000005;2", "PJSIP/1002-00000009", 1010, Some(1020), 1100);
    member.uniqueid = Some(b"1795309050.7");
    let expected = "inbound answered NotOutbound wait 20 talk 100 trunk provider1 queue 600 extension 1002";
    assert_eq!(words(&[queue.clone(), member.clone()]), expected);
    assert_eq!(words(&[member, queue.clone()]), expected);
    // The Local half does not make an answer.
    let expected = "inbound abandoned NotOutbound wait 100 talk 100 trunk provider1 queue 600 extension -";
    assert_eq!(words(&[queue]), expected);
}

#[test]
fn outcomes_in_their_order() {
    let inside = || dial("PJSIP/1001-00000001", "", 1000, Some(1000), 1008);
    let mut busy = dial("PJSIP/1001-00000001", "PJSIP/1002-00000002", 1000, None, 1001);
    busy.disposition = Disposition::Busy;
    let mut failed = busy.clone();
    failed.disposition = Disposition::Failed;
    let no_answer = dial("PJSIP/1001-00000001", "PJSIP/1002-00000002", 1000, None, 1001);
    let outcome = |legs: &[Leg<'_>]| call(legs).0.outcome();
    assert_eq!(
        outcome(&[app(inside(), "voicemail", "1001@default,u"), app(inside(), "Queue", "5")]),
        Outcome::Voicemail
    );
    assert_eq!(outcome(&[app(inside(), "VoiceMailMain", "")]), Outcome::System);
    assert_eq!(outcome(&[app(inside(), "QUEUE", "5"), busy.clone()]), Outcome::Abandoned);
    assert_eq!(outcome(&[app(no_answer.clone(), "VoiceMail", "1001")]), Outcome::NoAnswer);
    assert_eq!(outcome(&[app(inside(), "Playback", "hello"), no_answer.clone()]), Outcome::System);
    assert_eq!(outcome(&[busy.clone(), no_answer]), Outcome::NoAnswer);
    assert_eq!(outcome(&[failed.clone(), busy]), Outcome::Busy);
    assert_eq!(outcome(&[failed]), Outcome::Failed);
}

#[test]
fn a_call_forwarded_outside_is_inbound() {
    let legs = [
        dial("PJSIP/provider1-000001d0", "PJSIP/1001-000001d1", 1000, None, 1010),
        dial("PJSIP/provider1-000001d0", "PJSIP/provider1-000001d2", 1010, Some(1015), 1075),
    ];
    assert!(call(&legs).0.is_forwarded());
    let expected = "inbound answered NotOutbound wait 15 talk 60 trunk provider1 queue - extension 1001";
    assert_eq!(words(&legs), expected);
}

#[test]
fn the_first_leg_is_the_one_that_the_call_is_named_for() {
    // The later row begins earlier, but its channel did not begin the call.
    let first = dial("PJSIP/provider1-00000001", "PJSIP/1001-00000002", 1000, Some(1001), 1002);
    let mut other = dial("PJSIP/1009-00000003", "PJSIP/1001-00000002", 999, Some(1001), 1002);
    other.uniqueid = Some(b"1795309039.9");
    assert_eq!(call(&[first.clone(), other.clone()]).0.direction(), Direction::Inbound);
    assert_eq!(call(&[other.clone(), first.clone()]).0.direction(), Direction::Inbound);
    // Without that row, the earliest.
    let mut late = first;
    late.uniqueid = Some(b"1795309041.9");
    assert_eq!(call(&[late, other]).0.direction(), Direction::Internal);
}

#[test]
fn a_row_read_twice_is_one_leg_and_a_repeated_line_without_sequence_is_two() {
    let numbered = Leg { sequence: Some(7), ..leg() };
    let (rules, mut names) = (rules(), Names::default());
    let mut call = Call::of(&numbered, &rules, &mut names);
    assert_eq!(call.merge(&Call::of(&numbered, &rules, &mut names)), 1);
    assert_eq!(call.legs(), 1);
    assert_eq!(call.merge(&Call::of(&leg(), &rules, &mut names)), 0);
    assert_eq!(call.merge(&Call::of(&leg(), &rules, &mut names)), 0);
    assert_eq!(call.legs(), 3);
}

#[test]
fn an_answer_without_its_moment_still_is_one() {
    let mut odd = dial("PJSIP/1001-00000001", "PJSIP/1002-00000002", 1000, Some(1001), 1010);
    odd.answer = None;
    assert_eq!(words(&[odd]), "internal answered NotOutbound wait 10 talk 0 trunk - queue - extension 1001");
}

#[test]
fn names_need_not_be_text() {
    let mut names = Names::default();
    let id = names.note(b"caf\xe9");
    assert_eq!(names.text(id), Some("caf\u{fffd}"));
    assert_eq!(names.note(b""), NameId::NONE);
    assert_eq!(format!("{names:?}"), "Names");
}

fn any_leg() -> impl Strategy<Value = Leg<'static>> {
    const CHANNELS: [&str; 6] = [
        "",
        "PJSIP/1001-00000001",
        "PJSIP/1002-00000002",
        "PJSIP/provider1-00000003",
        "PJSIP/provider2-00000004",
        "Local/1001@from-queue-00000005;1",
    ];
    const IDS: [&str; 3] = ["1795309040.1", "1795309040.2", "1795309041.3"];
    (
        (
            prop::sample::select(&CHANNELS[1..]).prop_map(str::to_owned),
            prop::sample::select(&CHANNELS[..]).prop_map(str::to_owned),
        ),
        prop::sample::select(&["Dial", "Queue", "VoiceMail", "Playback"][..]),
        prop::sample::select(&IDS[..]),
        prop::option::of(0_u64..6),
        (0_i64..8, 0_i64..8, 0_i64..8),
        0_usize..6,
        prop::sample::select(&["1002", "900441", "9123"][..]),
    )
        .prop_map(|((from, to), lastapp, id, sequence, (start, ring, talk), disposition, dst)| {
            let disposition = [
                Disposition::Answered,
                Disposition::NoAnswer,
                Disposition::Busy,
                Disposition::Failed,
                Disposition::Congestion,
                Disposition::Cancel,
            ][disposition];
            Leg {
                uniqueid: Some(id.as_bytes()),
                sequence,
                channel: Cow::Owned(from.into_bytes()),
                dstchannel: Cow::Owned(to.into_bytes()),
                lastapp: Cow::Borrowed(lastapp.as_bytes()),
                lastdata: Cow::Borrowed(if start % 2 == 0 { b"600,t" } else { b"700" }),
                dst: Cow::Borrowed(dst.as_bytes()),
                start: start * 400,
                answer: (disposition == Disposition::Answered).then_some(start * 400 + ring),
                end: start * 400 + ring + talk,
                disposition,
                ..leg()
            }
        })
}

fn merged(parts: &[Call]) -> Call {
    let mut parts = parts.iter();
    let mut call = parts.next().expect("a part").clone();
    parts.for_each(|part| {
        call.merge(part);
    });
    call
}

proptest! {
    #[test]
    fn order_and_grouping_of_legs_never_matter(
        (legs, shuffled, cut) in prop::collection::vec(any_leg(), 1..9)
            .prop_flat_map(|legs| (Just(legs.clone()), Just(legs).prop_shuffle(), 1_usize..9))
    ) {
        let (rules, mut names) = (rules(), Names::default());
        let mut parts = |legs: &[Leg<'_>]| legs.iter().map(|leg| Call::of(leg, &rules, &mut names)).collect::<Vec<_>>();
        let (straight, shuffled) = (parts(&legs), parts(&shuffled));
        let call = merged(&straight);
        let groups: Vec<_> = shuffled.chunks(cut).map(merged).collect();
        prop_assert_eq!(&merged(&groups), &call);
        // Reading everything again adds only rows that have no name.
        let mut again = call.clone();
        let repeated = again.merge(&call);
        prop_assert_eq!(repeated + u64::from(call.nameless_rows), call.legs());
        let mut figures = again.share().figures;
        figures.legs = call.share().figures.legs;
        prop_assert_eq!(Share { figures, ..again.share() }, call.share());
    }

    #[test]
    fn what_one_leg_adds_needs_no_call(leg in any_leg(), has_id in any::<bool>(), has_answer in any::<bool>()) {
        let (rules, mut names, mut parties) = (rules(), Names::default(), Parties::default());
        let leg = Leg {
            uniqueid: leg.uniqueid.filter(|_| has_id),
            answer: if has_answer { Some(leg.end - 1) } else { leg.answer },
            ..leg
        };
        let ids = Ids::of(&leg);
        let slip = Slip::of(&leg, ids, &rules, &mut names, |channel, names| Party::of(channel, &rules, names));
        prop_assert_eq!(slip.share(), slip.call().share());
        prop_assert_eq!(slip.call(), Call::of(&leg, &rules, &mut names));
        // So do parties of late.
        for _ in 0..2 {
            let party = |channel: &[u8], names: &mut Names| parties.of(channel, &rules, names);
            prop_assert_eq!(&Slip::of(&leg, ids, &rules, &mut names, party), &slip);
        }
    }

    #[test]
    fn bytes_give_the_call_back(legs in prop::collection::vec(any_leg(), 1..9)) {
        let (rules, mut names) = (rules(), Names::default());
        let parts: Vec<_> = legs.iter().map(|leg| Call::of(leg, &rules, &mut names)).collect();
        let call = merged(&parts);
        let bytes = call.to_bytes();
        prop_assert_eq!(Call::from_bytes(&bytes), Ok(call));
        for cut in 0..bytes.len() {
            prop_assert!(Call::from_bytes(&bytes[..cut]).is_err());
        }
    }

    #[test]
    fn foreign_bytes_are_refused_without_harm(mut bytes in prop::collection::vec(any::<u8>(), 0..120)) {
        if let Some(first) = bytes.first_mut() {
            *first = 1;
        }
        if let Ok(call) = Call::from_bytes(&bytes) {
            call.share();
        }
    }
}
