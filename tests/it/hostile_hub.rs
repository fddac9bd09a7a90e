//! A hub that turned hostile gets what the site's settings send it anyway, and nothing else; the agent stays up.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use demarc_proto::{Receipt, Report, ToAgent, bytes64::Bytes64, message::Certificate};
use demarc_tests::{
    authority::{Authority, Validity},
    flood,
    hostile_hub::{Answer, Face, Heard, HostileHub, Manner, frame_of, framed},
    process,
    site::{LIMIT, Setup, Site},
    traffic::{Traffic, wait_for_room_in_the_minute},
    wait,
};

const ONE_WINDOW: Duration = Duration::from_secs(120);
/// No role may ever hold more.
const MEMORY: u64 = 64 * 1024 * 1024;

/// A site that was enrolled while its hub was still honest.
fn enrolled() -> (HostileHub, Site) {
    let hub = HostileHub::start();
    let site = Site::new(&Setup::default());
    site.enroll(&hub.token("site-one")).ok();
    hub.forget();
    (hub, site)
}

/// Everything is up, small, and answering.
fn assert_well(name: &str, site: &mut Site) {
    assert!(site.daemon().is_up(), "{name}: {}", site.log());
    site.status();
    for role in ["collector", "link"] {
        let pid = wait::until(LIMIT, &format!("{name}: the {role}"), || site.role(role));
        let resident = process::resident(pid).unwrap_or(0);
        assert!(resident < MEMORY, "{name}: the {role} holds {resident} bytes");
    }
    let log = site.log();
    assert!(!log.contains("panicked"), "{name}: {log}");
    assert!(log.len() < 200_000, "{name}: a hub cannot fill the log: {} bytes", log.len());
}

#[test]
fn a_false_hub_is_named_and_told_nothing() {
    let faces = [
        (Face::OtherAuthority, ["authority", "certificate"]),
        (Face::OtherName, ["name", "certificate"]),
        (Face::Expired, ["expired", "ended"]),
        (Face::NotYet, ["clock", "not yet"]),
        (Face::PlainHttp, ["TLS", "proxy"]),
        (Face::Mute, ["did not answer", "said nothing"]),
    ];
    std::thread::scope(|scope| {
        for (face, words) in faces {
            scope.spawn(move || {
                let (hub, mut site) = enrolled();
                hub.behave(Manner { face, ..Manner::honest() });
                site.start();
                let trouble = wait::until(LIMIT, &format!("{face:?} to be named"), || site.link_trouble());
                let told = words.iter().any(|word| trouble.to_lowercase().contains(&word.to_lowercase()));
                assert!(told, "{face:?}: {trouble}");
                assert_eq!(hub.count(|heard| matches!(heard, Heard::Frame(_))), 0, "{face:?} was told something");
                assert_well(&format!("{face:?}"), &mut site);
                // Back to honest: the agent comes back by itself.
                hub.behave(Manner::honest());
                wait::until_true(ONE_WINDOW, &format!("{face:?}: the tunnel"), || site.is_connected());
            });
        }
    });
}

#[test]
fn what_comes_over_the_wire_cannot_bring_the_agent_down() {
    let junk = |bytes: Vec<u8>| Manner { hello: Answer::Bytes(bytes), ..Manner::honest() };
    let raw = |bytes: Vec<u8>| Manner { raw: Some(bytes), ..Manner::honest() };
    let huge = serde_json::to_vec(&serde_json::json!({"type": "Run", "command": "x".repeat(60_000)})).unwrap();
    let foreign = Authority::new().site("site-two", Validity::Now).chain[0].to_vec();
    let certificate = ToAgent::Certificate(Certificate { chain: vec![Bytes64(foreign)] });
    let manners: Vec<(&str, Manner)> = vec![
        ("a frame of four gigabytes", junk(vec![0xff; 64])),
        ("a frame one byte too long", junk([&65_537u32.to_be_bytes()[..], &[b' '; 65_537]].concat())),
        ("garbage in a frame", junk(frame_of(b"\x00\xff{{{{"))),
        ("deeply nested garbage", junk(frame_of("[".repeat(60_000).as_bytes()))),
        ("an unknown message", junk(frame_of(br#"{"type":"Run","command":"id"}"#))),
        ("a long unknown message", junk(frame_of(&huge))),
        ("a message with one key more", junk(frame_of(br#"{"type":"Welcome","protocol":1,"time":1,"upload":true}"#))),
        ("a hundred thousand empty frames", junk(vec![0; 400_000])),
        ("a certificate that nobody asked for", junk(framed(&certificate))),
        ("half a frame, and silence", junk(vec![0, 0, 1, 0, b'{'])),
        ("silence", Manner { hello: Answer::Silence, ..Manner::honest() }),
        ("a reset", Manner { hello: Answer::Reset, ..Manner::honest() }),
        ("twenty thousand streams", raw(flood::streams(20_000))),
        ("rapid resets", raw(flood::rapid_resets(50_000))),
        ("pings", raw(flood::pings(200_000))),
        ("settings", raw(flood::settings(200_000))),
        ("headers without end", raw(flood::endless_headers(10_000))),
        ("no HTTP/2 at all", raw(vec![b'A'; 100_000])),
    ];
    // A few at a time: each is a whole agent.
    for group in manners.chunks(6) {
        std::thread::scope(|scope| {
            for (name, manner) in group {
                scope.spawn(move || {
                    let (hub, mut site) = enrolled();
                    hub.behave(manner.clone());
                    site.start();
                    wait::until_true(LIMIT, &format!("{name}: a tunnel"), || hub.count(|h| *h == Heard::Tunnel) > 0);
                    wait::throughout(Duration::from_secs(4), name, || site.daemon().is_up());
                    assert_well(name, &mut site);
                    // Greetings, and nothing else, were said.
                    let greeting = site.ledger_entries("hello");
                    for heard in hub.heard() {
                        if let Heard::Frame(payload) = heard {
                            let known = greeting.iter().any(|e| e["bytes"].as_str().unwrap().as_bytes() == payload);
                            assert!(known, "{name}: {}", String::from_utf8_lossy(&payload));
                        }
                    }
                    let made = hub.count(|heard| *heard == Heard::Connection);
                    assert!(made <= 8, "{name}: {made} connections in four seconds");
                    site.run(&["stats", "off"]).ok();
                    site.stop();
                });
            }
        });
    }
}

/// How a hub cheats about receipts, and what the agent may believe of it.
struct Cheat {
    name: &'static str,
    report: Answer,
}

fn forging(forge: impl Fn(&Receipt, &Authority) -> Vec<ToAgent> + Send + Sync + 'static) -> Answer {
    Answer::Forged(Arc::new(forge))
}

#[test]
fn only_an_honest_receipt_is_believed_and_a_retry_sends_the_same_bytes() {
    let kept: Mutex<Option<Receipt>> = Mutex::default();
    let cheats = [
        Cheat {
            name: "signed by another key",
            report: forging(|receipt, other| {
                let (site, report) = (receipt.site.clone(), receipt.report);
                vec![ToAgent::Receipt(Receipt::sign(other.receipt_key(), site, report, b"", receipt.received))]
            }),
        },
        Cheat {
            name: "for another report",
            report: forging(|receipt, _| {
                let report = "00112233445566778899aabbccddeeff".parse().unwrap();
                vec![ToAgent::Receipt(Receipt { report, ..receipt.clone() })]
            }),
        },
        Cheat {
            name: "for other bytes",
            report: forging(|receipt, _| vec![ToAgent::Receipt(Receipt { sha256: "0".repeat(64), ..receipt.clone() })]),
        },
        Cheat {
            name: "for another site",
            report: forging(|receipt, _| {
                vec![ToAgent::Receipt(Receipt { site: "site-two".parse().unwrap(), ..receipt.clone() })]
            }),
        },
        Cheat {
            name: "an old one again",
            report: forging(move |receipt, _| {
                let mut kept = kept.lock().unwrap();
                vec![ToAgent::Receipt(kept.get_or_insert_with(|| receipt.clone()).clone())]
            }),
        },
        Cheat { name: "none", report: Answer::Silence },
        Cheat { name: "a reset", report: Answer::Reset },
    ];
    std::thread::scope(|scope| {
        for cheat in &cheats {
            scope.spawn(move || cheated(cheat));
        }
    });
}

fn cheated(cheat: &Cheat) {
    let name = cheat.name;
    let (hub, mut site) = enrolled();
    hub.behave(Manner { report: cheat.report.clone(), ..Manner::honest() });
    site.start();
    site.wait_for_tunnel();
    let mut traffic = Traffic::new(5);
    let replays = name == "an old one again";
    // The first receipt of the one that replays is a good one: two reports are needed to cheat.
    for _ in 0..if replays { 2 } else { 1 } {
        let before = hub.bodies().len();
        wait_for_room_in_the_minute(15);
        traffic.forget();
        traffic.feed(&site, 15);
        wait::until_true(ONE_WINDOW, &format!("{name}: the report"), || hub.bodies().len() > before);
    }
    let report = Report::from_body(hub.bodies().last().unwrap()).unwrap();
    traffic.oracle.assert_reported(&report);
    wait::throughout(Duration::from_secs(3), name, || site.daemon().is_up());
    let honest = usize::from(replays);
    assert_eq!(site.ledger_entries("receipt").len(), honest, "{name}: no false receipt in the ledger");
    assert_eq!(site.outbox().len(), 1, "{name}: the report is kept");
    assert_well(name, &mut site);

    // Honest again, after a restart: the same bytes, once more, and then it is over.
    site.kill();
    hub.behave(Manner::honest());
    site.start();
    wait::until_true(ONE_WINDOW, &format!("{name}: the receipt"), || {
        site.ledger_entries("receipt").len() == honest + 1
    });
    wait::until_true(LIMIT, &format!("{name}: an empty outbox"), || site.outbox().is_empty());
    let mut bodies = hub.bodies();
    bodies.dedup();
    assert_eq!(bodies.len(), honest + 1, "{name}: a retry sends identical bytes");
    let ledger = site.ledger_entries("report");
    assert_eq!(ledger.len(), honest + 1, "{name}: and makes no second entry");
    assert_eq!(ledger.last().unwrap()["bytes"].as_str(), bodies.last().map(String::as_str));
    site.run(&["sent", "verify"]).ok();
}

#[test]
fn a_token_of_another_authority_does_not_enroll() {
    let hub = HostileHub::start();
    let site = Site::new(&Setup::default());
    let wrong = hub.token_with("site-one", &[9; 32], wait::now() + 3600);
    let told = site.enroll(&wrong).fails_with(1);
    assert!(told.contains("fingerprint") || told.contains("authority"), "{told}");
    assert_eq!(hub.count(|heard| matches!(heard, Heard::Frame(_))), 0, "the secret was not told");
    let over = hub.token_with("site-one", &hub.authority().fingerprint(), wait::now() - 60);
    let told = site.enroll(&over).fails_with(1);
    assert!(told.contains("expired"), "{told}");
    assert_eq!(hub.count(|heard| *heard == Heard::Connection), 1, "an expired token is not even tried");
    site.enroll("demarc1.broken").fails_with(1);
}
