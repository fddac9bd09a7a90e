//! The whole link against a supervisor and a hub that the test plays.

use std::{fs, os::unix::net::UnixStream};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use demarc_proto::{
    Receipt, SiteId, ToAgent,
    bytes64::Bytes64,
    frame::MAX_TO_AGENT,
    message::{Certificate, Refused, RefusedReason},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    task::JoinHandle,
};

use super::{
    identity::{new_key, stage_key, store_chain},
    testing::{Hub, Line, opening_bytes, report_body, welcome},
    *,
};
use crate::{ipc::channel::Channel, staged::private_directory, state::Site};

/// More than any step takes on a busy machine.
const WITHIN: Duration = Duration::from_secs(10);
const START: u64 = 1_795_309_260;

/// Waits long enough that a slow machine does not look like a silent peer.
const PATIENT: Patience = Patience {
    connect: WITHIN,
    handshake: WITHIN,
    welcome: WITHIN,
    answer: WITHIN,
    ledger: WITHIN,
    ping_every: WITHIN,
    renew_every: WITHIN,
    settle: WITHIN,
};

/// A link under test, with its surroundings.
struct Bench {
    hub: Hub,
    supervisor: Channel<FromLink, ToLink>,
    link: JoinHandle<()>,
    settings: LinkSettings,
    state: StateDir,
    _directory: tempfile::TempDir,
}

impl Bench {
    /// An enrolled site whose certificate is good from and until so many seconds from now.
    async fn with(patience: Patience, from: i64, until: i64) -> Self {
        let mut hub = Hub::start().await;
        hub.mutual = until > 0;
        let directory = tempfile::tempdir().unwrap();
        let state = StateDir::new(directory.path());
        for path in [state.link(), state.outbox()] {
            private_directory(&path).unwrap();
        }
        let key = new_key().unwrap();
        let (from, until) = (now().saturating_add_signed(from), now().saturating_add_signed(until));
        stage_key(&state, &key).unwrap().commit().unwrap();
        store_chain(&state, &[hub.authority.site_certificate("site-one", &key, from, until).into()]).unwrap();
        let site = Site {
            site: "site-one".parse().unwrap(),
            hub: hub.address(),
            ca: Bytes64(hub.authority.der()),
            receipt_key: Bytes64(hub.receipt_key.public_key().as_ref().to_vec()),
            enrolled: 1,
        };
        let settings = LinkSettings {
            state_dir: directory.path().to_owned(),
            hub: site.hub.clone(),
            site,
            upload: true,
            health: true,
            ..LinkSettings::of_a_test()
        };
        let (ours, theirs) = UnixStream::pair().unwrap();
        let link = tokio::spawn(run_with(Channel::new(theirs).unwrap(), None, patience));
        let mut bench =
            Self { hub, supervisor: Channel::new(ours).unwrap(), link, settings, state, _directory: directory };
        bench.apply(|_| {}).await;
        bench
    }

    async fn start(patience: Patience) -> Self {
        let mut bench = Self::with(patience, -900, 86_400 * 90).await;
        bench.enter_hello().await;
        bench
    }

    async fn tell(&mut self, message: ToLink) {
        self.supervisor.send(&message).await.unwrap();
    }

    async fn told(&mut self) -> FromLink {
        timeout(WITHIN, self.supervisor.recv()).await.expect("the link says something").unwrap().unwrap()
    }

    /// The next message of that kind; others are passed over.
    async fn told_of<T>(&mut self, pick: impl Fn(FromLink) -> Option<T>) -> T {
        loop {
            if let Some(picked) = pick(self.told().await) {
                return picked;
            }
        }
    }

    /// Changes the settings and waits until they are in force.
    async fn apply(&mut self, change: impl FnOnce(&mut LinkSettings)) {
        change(&mut self.settings);
        self.settings.generation += 1;
        let wanted = self.settings.generation;
        self.tell(ToLink::Settings(Box::new(self.settings.clone()))).await;
        self.told_of(|m| matches!(m, FromLink::Applied { generation } if generation == wanted).then_some(())).await;
    }

    /// Plays the ledger for the next entry.
    async fn enter(&mut self) -> Record {
        let record = self.told_of(|m| if let FromLink::Record(record) = m { Some(record) } else { None }).await;
        self.tell(ToLink::Recorded { number: record.number }).await;
        record
    }

    async fn enter_hello(&mut self) {
        let record = self.enter().await;
        assert_eq!(record.kind, RecordKind::Hello);
        assert!(record.payload.starts_with(r#"{"type":"Hello","protocol":1,"#), "{}", record.payload);
    }

    fn put(&self, number: u8) -> (ReportId, String) {
        let (id, start) = (ReportId::from_bits([number; 16]), START + 60 * u64::from(number));
        let body = report_body(id, start);
        fs::write(self.state.outbox().join(format!("{start}-{id}.json")), &body).unwrap();
        (id, body)
    }

    /// The words of the next status that has any.
    async fn trouble(&mut self) -> String {
        self.told_of(|m| if let FromLink::Status(status) = m { status.trouble } else { None }).await
    }

    async fn receipt(&mut self) -> ReportId {
        self.told_of(|m| if let FromLink::Receipt(receipt) = m { Some(receipt.report) } else { None }).await
    }

    async fn greet(&self) -> Line {
        timeout(WITHIN, self.hub.greet()).await.expect("the link connects")
    }

    /// Nothing connects for a while.
    async fn quiet(&self) {
        assert!(timeout(Duration::from_millis(100), self.hub.accept_tcp()).await.is_err());
    }
}

#[tokio::test]
async fn reports_leave_one_at_a_time_oldest_first_and_once() {
    let mut bench = Bench::start(PATIENT).await;
    let (second, second_body) = bench.put(2);
    let (first, first_body) = bench.put(1);
    let mut line = bench.greet().await;
    let report = line.hear_report().await;
    assert_eq!((report.site.as_str(), &report.body), ("site-one", &first_body));
    // The second does not follow before the first is answered.
    assert!(timeout(Duration::from_millis(100), line.hear()).await.is_err());
    line.say(&ToAgent::Receipt(bench.hub.receipt(&report)));
    assert_eq!(bench.receipt().await, first);
    let report = line.hear_report().await;
    assert_eq!(report.body, second_body);
    line.say(&ToAgent::Refused(Refused { report: Some(second), reason: RefusedReason::Floor }));
    bench.told_of(|m| (m == FromLink::Refused { report: second, reason: RefusedReason::Floor }).then_some(())).await;
    // The files are still there, and are not sent again; a new one is.
    bench.tell(ToLink::OutboxChanged).await;
    assert!(timeout(Duration::from_millis(100), line.hear()).await.is_err());
    let (third, third_body) = bench.put(3);
    bench.tell(ToLink::OutboxChanged).await;
    let report = line.hear_report().await;
    assert_eq!(report.body, third_body);
    line.say(&ToAgent::Receipt(bench.hub.receipt(&report)));
    assert_eq!(bench.receipt().await, third);
}

#[tokio::test]
async fn an_unanswered_report_is_sent_again_with_the_same_bytes() {
    let mut bench = Bench::start(Patience { answer: Duration::from_millis(100), ..PATIENT }).await;
    let (id, body) = bench.put(1);
    let mut line = bench.greet().await;
    assert_eq!(line.hear_report().await.body, body);
    assert!(bench.trouble().await.contains("did not answer a report"));
    line.closed().await;
    let mut line = bench.greet().await;
    let report = line.hear_report().await;
    assert_eq!(report.body, body);
    line.say(&ToAgent::Receipt(bench.hub.receipt(&report)));
    assert_eq!(bench.receipt().await, id);
    line.cut();
    let mut line = bench.greet().await;
    assert!(timeout(Duration::from_millis(100), line.hear()).await.is_err());
}

#[tokio::test]
async fn an_answer_that_was_lost_on_this_side_is_asked_for_again() {
    let settle = Duration::from_millis(300);
    let mut bench = Bench::start(Patience { ping_every: Duration::from_millis(20), settle, ..PATIENT }).await;
    let (id, body) = bench.put(1);
    let mut line = bench.greet().await;
    for _ in 0..2 {
        let report = line.hear_report().await;
        assert_eq!(report.body, body);
        line.say(&ToAgent::Receipt(bench.hub.receipt(&report)));
        assert_eq!(bench.receipt().await, id);
    }
    fs::remove_dir_all(bench.state.outbox()).unwrap();
    assert!(timeout(settle * 2, line.hear()).await.is_err());
}

#[tokio::test]
async fn off_is_off_even_in_the_middle_of_a_report() {
    let mut bench = Bench::start(PATIENT).await;
    bench.put(1);
    let mut line = bench.greet().await;
    line.hear_report().await;
    bench.apply(|settings| settings.upload = false).await;
    // The connection is gone by the time that the settings are confirmed.
    timeout(Duration::from_millis(500), line.closed()).await.unwrap();
    let mut line = bench.greet().await;
    bench.tell(ToLink::OutboxChanged).await;
    assert!(timeout(Duration::from_millis(100), line.hear()).await.is_err());
    // On again: the same connection, and what waits leaves.
    bench.apply(|settings| settings.upload = true).await;
    line.hear_report().await;
}

#[tokio::test]
async fn off_while_idle_sends_nothing() {
    let mut bench = Bench::start(PATIENT).await;
    let mut line = bench.greet().await;
    bench.told_of(|m| matches!(m, FromLink::Status(status) if status.connected).then_some(())).await;
    bench.apply(|settings| settings.upload = false).await;
    bench.put(1);
    bench.tell(ToLink::OutboxChanged).await;
    assert!(timeout(Duration::from_millis(100), line.hear()).await.is_err());
}

#[tokio::test]
async fn a_hostile_hub_gets_nothing_and_is_left() {
    type Act = fn(&Bench, &mut Line, &demarc_proto::message::ReportMessage);
    let cases: [(&str, Act); 9] = [
        ("longer than any message", |_, line, _| line.say_bytes((MAX_TO_AGENT as u32 + 1).to_be_bytes().to_vec())),
        ("not a message", |_, line, _| line.say_payload(br#"{"type":"Run","command":"id"}"#)),
        ("not a message", |_, line, _| line.say_bytes(vec![0; 4])),
        ("longer than any message", |_, line, _| line.say_bytes(vec![0xff; 64])),
        ("second greeting", |_, line, _| (0..3).for_each(|_| line.say(&welcome(0)))),
        ("did not sign", |_, line, report| {
            let key = Ed25519KeyPair::generate().unwrap();
            let id = demarc_proto::Report::from_body(&report.body).unwrap().id;
            line.say(&ToAgent::Receipt(Receipt::sign(&key, report.site.clone(), id, report.body.as_bytes(), 1)));
        }),
        ("not under way", |bench, line, report| {
            let receipt = bench.hub.receipt(report);
            line.say(&ToAgent::Receipt(receipt.clone()));
            line.say(&ToAgent::Receipt(receipt));
        }),
        ("other bytes", |bench, line, report| {
            let id = demarc_proto::Report::from_body(&report.body).unwrap().id;
            let other: SiteId = "site-two".parse().unwrap();
            let key = &bench.hub.receipt_key;
            line.say(&ToAgent::Receipt(Receipt::sign(key, other, id, report.body.as_bytes(), 1)));
        }),
        ("not asked for", |_, line, _| line.say(&ToAgent::Certificate(Certificate { chain: vec![] }))),
    ];
    for (words, act) in cases {
        let mut bench = Bench::start(PATIENT).await;
        bench.put(1);
        let mut line = bench.greet().await;
        let report = line.hear_report().await;
        act(&bench, &mut line, &report);
        let trouble = bench.trouble().await;
        assert!(trouble.contains("broke the protocol") && trouble.contains(words), "{words}: {trouble}");
        line.closed().await;
    }
}

/// A hub that keeps the link busy with cheap frames for as long as it listens.
async fn flood(mut stream: impl AsyncRead + AsyncWrite + Unpin, frame: &[u8]) {
    let _ = stream.write_all(&opening_bytes()).await;
    let many = frame.repeat(4096 / frame.len());
    let (mut read, mut write) = tokio::io::split(stream);
    let mut sink = vec![0; 64 * 1024];
    let reading = async { while read.read(&mut sink).await.is_ok_and(|count| count > 0) {} };
    let writing = async { while write.write_all(&many).await.is_ok() {} };
    tokio::join!(reading, writing);
}

#[tokio::test]
async fn a_flood_of_frames_does_not_drown_the_supervisor() {
    const PING: &[u8] = &[0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];
    const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
    const WINDOW: &[u8] = &[0, 0, 4, 8, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    const EMPTY_DATA: &[u8] = &[0, 0, 0, 0, 0, 0, 0, 0, 1];
    for frame in [PING, SETTINGS, WINDOW, EMPTY_DATA] {
        let mut bench = Bench::start(PATIENT).await;
        let stream = bench.hub.accept_tls().await;
        let flooding = tokio::spawn(flood(stream, frame));
        tokio::time::sleep(Duration::from_millis(100)).await;
        bench.apply(|settings| settings.upload = false).await;
        bench.tell(ToLink::Stop).await;
        // A link that was drowned would not end at all.
        timeout(Duration::from_secs(10), bench.link).await.expect("the link ends").unwrap();
        flooding.abort();
    }
}

#[tokio::test]
async fn a_hub_that_says_nothing_is_left() {
    let mut bench = Bench::start(Patience { welcome: Duration::from_millis(50), ..PATIENT }).await;
    bench.put(1);
    let mut line = bench.hub.accept().await;
    line.hear().await.unwrap();
    assert!(bench.trouble().await.contains("did not answer the greeting"));
    line.closed().await;

    let mut bench = Bench::start(Patience { handshake: Duration::from_millis(50), ..PATIENT }).await;
    let _mute = bench.hub.accept_tcp().await;
    assert!(bench.trouble().await.contains("did not answer for"));
}

#[tokio::test]
async fn a_cut_connection_comes_back() {
    let mut bench = Bench::start(PATIENT).await;
    bench.greet().await.cut();
    let words = bench.trouble().await;
    assert!(words.contains("connecting again"), "{words}");
    let _line = bench.greet().await;
    let status = bench.told_of(|m| match m {
        FromLink::Status(status) if status.connected => Some(status),
        _ => None,
    });
    let status = status.await;
    assert!(status.trouble.is_none() && status.since.is_some() && status.certificate_ends.is_some(), "{status:?}");
}

#[tokio::test]
async fn skew_is_said_in_words() {
    let mut bench = Bench::start(PATIENT).await;
    let mut line = bench.hub.accept().await;
    line.hear().await.unwrap();
    line.say(&welcome(3 * 3600 + 60));
    let words = bench.trouble().await;
    assert!(words.contains("clock is 3 hours behind the hub's"), "{words}");
}

#[tokio::test]
async fn nothing_leaves_before_the_ledger_has_it() {
    let patience = Patience { ledger: Duration::from_millis(50), ..PATIENT };
    let mut bench = Bench::with(patience, -900, 86_400).await;
    bench.quiet().await;
    assert!(bench.trouble().await.contains("the ledger did not confirm"));
    bench.enter_hello().await;
    let _line = bench.greet().await;
}

/// Answers a request for a certificate, once the ledger has it.
async fn renew(bench: &mut Bench, line: &mut Line) {
    let record = bench.enter().await;
    assert_eq!(record.kind, RecordKind::Renew);
    let Some(message @ ToHub::Renew(_)) = line.hear().await else { panic!("no request") };
    assert_eq!(record.payload.as_bytes(), encode(&message));
    let ToHub::Renew(renew) = message else { unreachable!() };
    let request = rcgen::CertificateSigningRequestParams::from_der(&renew.request.0.into()).unwrap();
    let fresh = bench.hub.authority.certificate_for("site-one", &request.public_key, now() - 900, now() + 86_400 * 90);
    line.say(&ToAgent::Certificate(Certificate { chain: vec![Bytes64(fresh)] }));
}

#[tokio::test]
async fn a_certificate_is_renewed_at_two_thirds_and_reports_go_on() {
    let mut bench = Bench::with(PATIENT, -86_400 * 70, 86_400 * 20).await;
    bench.enter_hello().await;
    let (id, _) = bench.put(1);
    let mut line = bench.greet().await;
    let report = line.hear_report().await;
    renew(&mut bench, &mut line).await;
    line.say(&ToAgent::Receipt(bench.hub.receipt(&report)));
    assert_eq!(bench.receipt().await, id);
    let identity = Identity::load(&bench.state).unwrap();
    assert!(identity.facts().until > now() + 86_400 * 89);
    bench.tell(ToLink::OutboxChanged).await;
    assert!(timeout(Duration::from_millis(50), line.hear()).await.is_err(), "one request is enough");
}

#[tokio::test]
async fn an_expired_certificate_is_renewed_before_anything_else() {
    let mut bench = Bench::with(PATIENT, -86_400 * 90, -60).await;
    bench.enter_hello().await;
    bench.put(1);
    let mut line = bench.greet().await;
    renew(&mut bench, &mut line).await;
    line.closed().await;
    bench.hub.mutual = true;
    let mut line = bench.greet().await;
    line.hear_report().await;
}

#[tokio::test]
async fn a_certificate_that_does_not_fit_is_not_kept() {
    let mut bench = Bench::with(PATIENT, -86_400 * 70, 86_400 * 20).await;
    bench.enter_hello().await;
    let before = fs::read(identity::chain_file(&bench.state)).unwrap();
    let mut line = bench.greet().await;
    bench.enter().await;
    assert!(matches!(line.hear().await, Some(ToHub::Renew(_))));
    let other = bench.hub.authority.site_certificate("site-one", &new_key().unwrap(), now() - 900, now() + 86_400);
    line.say(&ToAgent::Certificate(Certificate { chain: vec![Bytes64(other)] }));
    let words = bench.trouble().await;
    assert!(words.contains("it is for another key"), "{words}");
    assert_eq!(fs::read(identity::chain_file(&bench.state)).unwrap(), before);
}

#[tokio::test]
async fn another_hub_in_the_settings_is_gone_to_at_once() {
    let mut bench = Bench::start(PATIENT).await;
    let line = bench.greet().await;
    let elsewhere = std::mem::replace(&mut bench.hub, Hub::start().await);
    // The same authority at another address.
    let (old, new) = (elsewhere.address(), bench.hub.address());
    bench.hub.authority = elsewhere.authority;
    bench.apply(|settings| settings.hub = new).await;
    line.closed().await;
    bench.greet().await;
    assert_ne!(bench.settings.hub, old);
}

#[tokio::test]
async fn the_end_is_at_once_at_any_point() {
    for closes in [false, true] {
        for stage in 0..3 {
            let mut bench = Bench::start(PATIENT).await;
            let mut kept = (None, None);
            match stage {
                0 => {}
                1 => kept.0 = Some(bench.hub.accept_tcp().await),
                _ => kept.1 = Some(bench.greet().await),
            }
            let (ours, _theirs) = UnixStream::pair().unwrap();
            if closes {
                bench.supervisor = Channel::new(ours).unwrap();
            } else {
                bench.tell(ToLink::Stop).await;
            }
            timeout(Duration::from_secs(1), bench.link).await.expect("the link ends").unwrap();
            if let Some(line) = kept.1 {
                line.closed().await;
            }
        }
    }
}
