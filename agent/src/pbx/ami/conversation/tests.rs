//! Conversations with real answers, and with a manager interface that means harm.

use expect_test::expect;

use super::*;

const ACTIONS_16: &[u8] = include_bytes!("../../../../../tests/data/pbx/asterisk16/ami-actions.raw");
const ACTIONS_22: &[u8] = include_bytes!("../../../../../tests/data/pbx/asterisk22/ami-actions.raw");
const CDR: &[u8] = include_bytes!("../../../../../tests/data/pbx/asterisk16/ami-cdr.raw");

const BANNER: &[u8] = b"Asterisk Call Manager/11.0.0\r\n";

fn fresh(now: Instant) -> Conversation {
    let login = Login { user: "demarc".to_owned(), secret: Secret::new("s3cret"), nonce: 0x2a };
    Conversation::new(login, Zone::utc(), now)
}

fn answer(question: &str, lines: &str) -> Vec<u8> {
    format!("Response: Success\r\nActionID: demarc-000000000000002a-{question}\r\n{lines}\r\n").into_bytes()
}

fn up(now: Instant) -> Conversation {
    let mut conversation = fresh(now);
    conversation.take(BANNER, now).unwrap();
    conversation.take(&answer(CHALLENGE, "Challenge: 123456789\r\n"), now).unwrap();
    conversation.take(&answer(LOGIN, "Message: Authentication accepted\r\n"), now).unwrap();
    assert!(conversation.is_up());
    conversation
}

fn said(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).replace("\r\n", "\n")
}

/// What a recorded session answered to an action, under the name that we would have asked by.
fn recorded(file: &[u8], theirs: &str, ours: &str) -> Vec<u8> {
    let text = String::from_utf8_lossy(file);
    let with_id = format!("ActionID: {theirs}\r\n");
    let messages = text.split_inclusive("\r\n\r\n").filter(|message| message.contains(&with_id));
    let answers: String = messages.map(str::to_owned).collect();
    assert!(!answers.is_empty());
    let tail = answers.find("Response:").unwrap();
    answers[tail..].replace(&with_id, &format!("ActionID: demarc-000000000000002a-{ours}\r\n")).into_bytes()
}

#[test]
fn what_is_said_from_the_banner_on() {
    let now = Instant::now();
    let mut conversation = fresh(now);
    let mut heard = conversation.take(BANNER, now).unwrap().say;
    heard.extend(conversation.take(&answer(CHALLENGE, "Challenge: 123456789\r\n"), now).unwrap().say);
    heard.extend(conversation.take(&answer(LOGIN, "Message: Authentication accepted\r\n"), now).unwrap().say);
    expect![[r#"
        Action: Challenge
        ActionID: demarc-000000000000002a-challenge
        AuthType: MD5

        Action: Login
        ActionID: demarc-000000000000002a-login
        AuthType: MD5
        Username: demarc
        Key: d32b5714dd0e3ae70d4a845d5e524f3f
        Events: cdr

        Action: CoreSettings
        ActionID: demarc-000000000000002a-settings

        Action: CoreStatus
        ActionID: demarc-000000000000002a-status

        Action: PJSIPShowRegistrationsOutbound
        ActionID: demarc-000000000000002a-registrations

    "#]]
    .assert_eq(&said(&heard));
}

#[test]
fn real_answers_are_understood() {
    let now = Instant::now();
    for (file, version, up_since, reloaded) in [
        (ACTIONS_16, "16.28.0~dfsg-0+deb11u4", 1_795_308_951, 1_795_309_539),
        (ACTIONS_22, "22.10.1+dfsg+~cs6.17.60671434-1", 1_795_311_324, 1_795_311_324),
    ] {
        let mut conversation = up(now);
        conversation.take(&recorded(file, "act-2", SETTINGS), now).unwrap();
        conversation.take(&recorded(file, "act-1", STATUS), now).unwrap();
        conversation.take(&recorded(file, "act-9", REGISTRATIONS), now).unwrap();
        let facts = conversation.facts();
        assert_eq!(facts.version.as_deref(), Some(version));
        assert_eq!((facts.up_since, facts.reloaded), (Some(up_since), Some(reloaded)));
        assert_eq!((facts.active_calls, facts.registrations.len(), facts.dropped), (Some(10), 0, 0));
        assert!(facts.connected && conversation.troubles().is_empty());
    }
}

#[test]
fn a_whole_recorded_session_answers_nobodys_questions() {
    let now = Instant::now();
    let mut conversation = up(now);
    let before = conversation.facts().clone();
    let heard = conversation.take(ACTIONS_22, now).unwrap();
    assert!(heard.say.is_empty() && heard.rows.is_empty());
    assert_eq!(*conversation.facts(), before);
}

#[test]
fn records_come_in_the_middle_of_answers() {
    let now = Instant::now();
    let mut conversation = up(now);
    let list = "Event: OutboundRegistrationDetail\r\nActionID: demarc-000000000000002a-registrations\r\n\
                ObjectName: provider1\r\nStatus: Registered\r\n\r\n";
    let other = "Event: OutboundRegistrationDetail\r\nActionID: demarc-000000000000002a-registrations\r\n\
                 ObjectName: provider2\r\nStatus: Rejected\r\n\r\n";
    let complete =
        "Event: OutboundRegistrationDetailComplete\r\nActionID: demarc-000000000000002a-registrations\r\n\r\n";
    let forged = "Event: OutboundRegistrationDetail\r\nActionID: demarc-1-registrations\r\nObjectName: evil\r\n\r\n";
    let mut rows = 0;
    for piece in [list.as_bytes(), CDR, other.as_bytes(), forged.as_bytes(), complete.as_bytes()] {
        rows += conversation.take(piece, now).unwrap().rows.len();
    }
    assert_eq!(rows, 89);
    let shown: Vec<_> = conversation.facts().registrations.iter().map(|one| (one.name.0.as_str(), one.state)).collect();
    assert_eq!(shown, [("provider1", RegistrationState::Registered), ("provider2", RegistrationState::Rejected)]);
    assert_eq!(format!("{:?}", conversation.facts().registrations[0].name), "RegistrationName");
}

#[test]
fn a_session_cut_at_every_byte_is_the_same_session() {
    let now = Instant::now();
    let first: Vec<u8> = CDR[..2000].to_vec();
    let session = [
        BANNER.to_vec(),
        answer(CHALLENGE, "Challenge: 1\r\n"),
        answer(LOGIN, ""),
        answer(STATUS, "CoreCurrentCalls: 4\r\n"),
        first,
    ]
    .concat();
    let rows = |cut: usize| {
        let mut conversation = fresh(now);
        let mut rows = 0;
        for piece in [&session[..cut], &session[cut..]] {
            rows += conversation.take(piece, now).unwrap().rows.len();
        }
        assert_eq!(conversation.facts().active_calls, Some(4));
        rows
    };
    let whole = rows(0);
    assert!(whole >= 3);
    for cut in 0..=session.len() {
        assert_eq!(rows(cut), whole, "cut at {cut}");
    }
}

#[test]
fn troubles_are_said_in_words() {
    let now = Instant::now();
    let refused =
        b"Response: Error\r\nActionID: demarc-000000000000002a-login\r\nMessage: Authentication failed\r\n\r\n";
    let mut conversation = fresh(now);
    conversation.take(BANNER, now).unwrap();
    conversation.take(&answer(CHALLENGE, "Challenge: 1\r\n"), now).unwrap();
    let trouble = conversation.take(refused, now).unwrap_err();
    assert!(trouble.lasts());
    expect![[r#"Asterisk does not let "demarc" in: user and secret of this source must be those of the section [demarc] in manager.conf, whose deny and permit must let 127.0.0.1 in; then `asterisk -rx 'manager reload'`"#]]
        .assert_eq(&trouble.to_string());

    let mut conversation = fresh(now);
    conversation.take(BANNER, now).unwrap();
    let refused = b"Response: Error\r\nActionID: demarc-000000000000002a-challenge\r\n\r\n";
    assert_eq!(conversation.take(refused, now).unwrap_err(), Trouble::NoChallenge);

    for other in
        [&b"SSH-2.0-OpenSSH_9.2\r\n"[..], b"HTTP/1.1 400 Bad Request\r\n", b"Asterisk\r\n", b"\r\n", &[b'A'; 4096]]
    {
        assert_eq!(fresh(now).take(other, now).unwrap_err(), Trouble::NotAManager);
    }
    let endless: Vec<u8> = [&b"Asterisk Call Manager/"[..], &[b'1'; 4096]].concat();
    assert_eq!(fresh(now).take(&endless, now).unwrap_err(), Trouble::NotAManager);
}

#[test]
fn silence_is_noticed_at_every_stage() {
    let now = Instant::now();
    let mut conversation = fresh(now);
    assert!(conversation.due(now + ENTRY / 2).unwrap().is_empty());
    assert_eq!(conversation.next_due(), now + ENTRY);
    assert_eq!(conversation.due(now + ENTRY), Err(Trouble::Silent(10)));

    let mut conversation = up(now);
    // Events alone show nothing: an answer was asked for.
    conversation.take(CDR, now + PATIENCE / 2).unwrap();
    assert!(conversation.due(now + PATIENCE / 2).unwrap().is_empty());
    assert_eq!(conversation.due(now + PATIENCE), Err(Trouble::Silent(20)));

    let mut conversation = up(now);
    let mut moment = now;
    for _ in 0..100 {
        conversation.take(&answer(STATUS, "CoreCurrentCalls: 0\r\n"), moment).unwrap();
        moment += STATUS_EVERY;
        assert!(conversation.next_due() <= moment);
        assert!(said(&conversation.due(moment).unwrap()).starts_with("Action: CoreStatus\n"));
    }
}

#[test]
fn a_right_that_is_missing_is_named_and_the_rest_goes_on() {
    let now = Instant::now();
    let mut conversation = up(now);
    let denied = |question| {
        format!("Response: Error\r\nActionID: demarc-000000000000002a-{question}\r\nMessage: Permission denied\r\n\r\n")
    };
    for question in [SETTINGS, STATUS, REGISTRATIONS] {
        conversation.take(denied(question).as_bytes(), now).unwrap();
    }
    let troubles = conversation.troubles();
    assert_eq!(troubles.len(), 1);
    assert!(troubles[0].contains("write = reporting is missing in the section [demarc]"), "{}", troubles[0]);
    assert_eq!(conversation.take(CDR, now).unwrap().rows.len(), 89);
    assert_eq!(conversation.next_due(), now + STATUS_EVERY);
}

#[test]
fn calls_without_records_are_noticed() {
    let now = Instant::now();
    let status =
        |processed: u64| answer(STATUS, &format!("CoreCurrentCalls: 5\r\nCoreProcessedCalls: {processed}\r\n"));
    let mut conversation = up(now);
    conversation.take(&status(1000), now).unwrap();
    conversation.take(&status(1024), now).unwrap();
    assert!(conversation.troubles().is_empty());
    conversation.take(&status(1025), now).unwrap();
    let troubles = conversation.troubles();
    assert!(troubles[0].contains("read = cdr is missing in the section [demarc]"), "{}", troubles[0]);
    conversation.take(CDR, now).unwrap();
    assert!(conversation.troubles().is_empty());
}

#[test]
fn how_calls_sound_is_heard_where_asterisk_tells_it() {
    let now = Instant::now();
    let asks = |version: &str| {
        let mut conversation = up(now);
        let heard = conversation.take(&answer(SETTINGS, &format!("AsteriskVersion: {version}\r\n")), now).unwrap();
        String::from_utf8(heard.say).unwrap().contains("Action: Events")
    };
    assert!(asks("22.10.1+dfsg+~cs6.17") && asks("certified/22.8") && asks("23.0.0"));
    assert!(!asks("16.28.0~dfsg-0+deb11u4") && !asks("2.2.1") && !asks("unknown"));

    let mut conversation = up(now);
    let event = |name: &str, score: &str, linkedid: &str| {
        format!("Event: {name}\r\nUniqueid: 1.2\r\nLinkedid: {linkedid}\r\nMES: {score}\r\n\r\n")
    };
    let told = [
        event("RTCPSent", "88.1", "1795691389.2"),
        event("RTCPReceived", "80.5", "1795691389.2"),
        event("RTCPSent", "0.0", "1795691389.2"),
        event("RTCPSent", "nan", "1795691389.2"),
        event("RTCPSent", "101", "1795691389.2"),
        event("RTCPSent", "-3", "1795691389.2"),
        event("RTCPSent", "88.1", ""),
        event("Hangup", "88.1", "1795691389.2"),
    ];
    let samples = conversation.take(told.concat().as_bytes(), now).unwrap().samples;
    assert_eq!(samples.iter().map(|sample| sample.score).collect::<Vec<_>>(), [88.1, 80.5]);
    assert!(samples.iter().all(|sample| sample.call == CallKey::of_linkedid(b"1795691389.2")));
    assert_ne!(samples[0].stream, samples[1].stream);
}
