//! A hostile agent against the real hub: it gets nothing in that is not its own, safe, and well-formed.

use demarc_proto::{
    Report, ReportId, ToAgent, ToHub,
    bytes64::Bytes64,
    enroll::{EnrollReason, EnrollRequest, EnrollResponse},
    frame,
    message::{Hello, RefusedReason, ReportMessage},
    report::{DestinationGroup, Mechanism, SecondsGroup, VolumeGroup},
};
use demarc_tests::{
    authority::{Authority, Validity},
    hostile_agent::{HostileAgent, site_of},
    hostile_hub::frame_of,
    hub::Hub,
    process, wait,
};

/// A report that keeps every rule.
fn report(id: u8) -> Report {
    let all = |calls| SecondsGroup { from_seconds: 0, to_seconds: None, calls };
    Report {
        schema: 1,
        id: ReportId::from_bits([id; 16]),
        window: demarc_proto::WindowLength::DAY.window_at(wait::now() - 86_400),
        mechanism: Mechanism::KAnonymous,
        floor: 10,
        volume: vec![VolumeGroup { from_hour: 0, hours: 24, cells: demarc_proto::Cell::all().collect(), calls: 12 }],
        talk: vec![all(12)],
        wait: vec![all(12)],
        destination: vec![DestinationGroup { classes: demarc_proto::report::Destination::ALL.to_vec(), calls: 12 }],
        quality: vec![],
        peak_concurrency: 2,
    }
}

fn message(site: &str, body: String) -> ToHub {
    ToHub::Report(ReportMessage { site: site.parse().unwrap(), body })
}

#[test]
fn a_token_lets_one_site_in_once() {
    let hub = Hub::start();
    let agent = HostileAgent::new(&hub);
    let token = hub.token("site-one");
    agent.enroll(&token).unwrap();
    assert_eq!(agent.enroll(&token).err().unwrap().to_string(), "UsedToken");

    // Nobody guesses a secret, and a token lets in no other site than its own.
    let fresh = hub.token("site-two").parse::<demarc_proto::token::EnrollmentToken>().unwrap();
    let refused = |site: &str, secret: Bytes64, request: Vec<u8>| {
        let wish = EnrollRequest { site: site.parse().unwrap(), secret, request: Bytes64(request) };
        match agent.ask_to_enroll(&frame::encode(&wish)).unwrap() {
            EnrollResponse::Refused(refused) => refused.reason,
            EnrollResponse::Enrolled(_) => panic!("{site} was let in"),
        }
    };
    let request = || HostileAgent::request().1;
    assert_eq!(refused("site-two", Bytes64(vec![1; 32]), request()), EnrollReason::UnknownToken);
    assert_eq!(refused("site-one", fresh.secret.clone(), request()), EnrollReason::UnknownToken);
    assert_eq!(refused("site-two", fresh.secret.clone(), b"no request".to_vec()), EnrollReason::BadRequest);
    for garbage in [&b"{}"[..], b"", b"\xff\xfe", &[b'['; 4000]] {
        assert!(agent.ask_to_enroll(garbage).is_err());
    }
    // The true token is still good for its site.
    let wish = EnrollRequest { site: fresh.site, secret: fresh.secret, request: Bytes64(request()) };
    assert!(matches!(agent.ask_to_enroll(&frame::encode(&wish)).unwrap(), EnrollResponse::Enrolled(_)));
}

#[test]
fn only_the_own_site_only_safe_reports_each_once() {
    let mut hub = Hub::start();
    let agent = HostileAgent::new(&hub);
    let identity = agent.enroll(&hub.token("site-one")).unwrap();
    agent.enroll(&hub.token("site-two")).unwrap();
    let mut control = agent.welcomed(&identity).unwrap();
    let mut ask = |message: &ToHub| {
        agent.say(&mut control, message).unwrap();
        agent.next(&mut control).unwrap().expect("an answer")
    };
    let mut refused = |message: &ToHub| match ask(message) {
        ToAgent::Refused(refused) => refused.reason,
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(&message("site-two", report(1).to_body())), RefusedReason::OtherSite);
    let mut low = report(2);
    low.talk[0].calls = 9;
    assert_eq!(refused(&message("site-one", low.to_body())), RefusedReason::Floor);
    let mut floor = report(3);
    floor.floor = 1;
    assert_eq!(refused(&message("site-one", floor.to_body())), RefusedReason::Floor);
    let mut schema = report(4);
    schema.schema = 2;
    assert_eq!(refused(&message("site-one", schema.to_body())), RefusedReason::Schema);
    for smuggling in [
        report(5).to_body().replacen("\"floor\":10", "\"floor\":10,\"note\":\"5551234\"", 1),
        report(5).to_body().replacen(' ', "\t", 1),
        report(5).to_body().trim_end().to_owned(),
        "5551234".to_owned(),
        String::new(),
    ] {
        assert_eq!(refused(&message("site-one", smuggling)), RefusedReason::Schema);
    }
    assert!(hub.bodies("site-one").is_empty() && hub.bodies("site-two").is_empty());

    // A good one gets a receipt; again, the same receipt and still one report; changed, a refusal.
    let good = report(6).to_body();
    let ToAgent::Receipt(first) = ask(&message("site-one", good.clone())) else { panic!("no receipt") };
    let ToAgent::Receipt(second) = ask(&message("site-one", good.clone())) else { panic!("no receipt") };
    assert_eq!(first.sha256, second.sha256);
    assert!(first.covers(good.as_bytes()));
    let mut changed = report(6);
    changed.peak_concurrency = 3;
    assert!(
        matches!(ask(&message("site-one", changed.to_body())), ToAgent::Refused(r) if r.reason == RefusedReason::Conflict)
    );
    assert_eq!(hub.bodies("site-one"), [good]);
    assert!(hub.daemon().is_up());
}

#[test]
fn strangers_and_garbage_are_shown_the_door() {
    let mut hub = Hub::start();
    let agent = HostileAgent::new(&hub);
    let token = hub.token("site-one");
    let site = site_of(&token);
    let identity = agent.enroll(&token).unwrap();

    let stranger = Authority::new();
    assert!(agent.tunnel(None).is_err(), "no certificate");
    assert!(agent.tunnel(Some(&stranger.site(site.as_str(), Validity::Now))).is_err(), "a forged certificate");
    assert!(agent.tunnel(Some(&stranger.site(site.as_str(), Validity::Expired))).is_err());

    let hello = ToHub::Hello(Hello { protocol: 1, version: [0, 1, 0], schemas: vec![1] });
    let openings: Vec<(&str, Vec<u8>)> = vec![
        ("a frame that is too long", vec![0xff; 32]),
        ("garbage", frame_of(b"garbage")),
        ("a hub's own message", frame_of(br#"{"type":"Welcome","protocol":1,"time":1}"#)),
        ("a report before the hello", frame_of(&frame::encode(&message("site-one", report(9).to_body())))),
        ("an unknown key", frame_of(br#"{"type":"Hello","protocol":1,"version":[0,1,0],"schemas":[1],"host":"pbx"}"#)),
    ];
    for (name, bytes) in openings {
        let mut control = agent.tunnel(Some(&identity)).unwrap();
        agent.say_bytes(&mut control, &bytes).unwrap();
        assert!(!matches!(agent.next(&mut control), Ok(Some(_))), "{name} got an answer");
    }
    // The same after a proper greeting, and a second greeting.
    for bytes in [frame_of(b"garbage"), frame_of(&frame::encode(&hello)), vec![0xff; 32]] {
        let mut control = agent.welcomed(&identity).unwrap();
        agent.say_bytes(&mut control, &bytes).unwrap();
        assert!(!matches!(agent.next(&mut control), Ok(Some(_))));
    }
    assert!(hub.daemon().is_up());
    assert!(hub.bodies("site-one").is_empty());
    let resident = process::resident(hub.daemon().pid()).unwrap();
    assert!(resident < 128 * 1024 * 1024, "{resident} bytes");
    // And an honest connection is still welcome.
    agent.welcomed(&identity).unwrap();
}

#[test]
fn a_newer_connection_takes_the_place_of_the_old_one() {
    let hub = Hub::start();
    let agent = HostileAgent::new(&hub);
    let identity = agent.enroll(&hub.token("site-one")).unwrap();
    let mut old = agent.welcomed(&identity).unwrap();
    let mut new = agent.welcomed(&identity).unwrap();
    assert!(!matches!(agent.next(&mut old), Ok(Some(_))), "the old connection was ended");
    agent.say(&mut new, &message("site-one", report(1).to_body())).unwrap();
    assert!(matches!(agent.next(&mut new), Ok(Some(ToAgent::Receipt(_)))));
}
