//! Support sessions: what the hub is told of, whom it connects, and what it passes on.

use std::{
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::{Output, Stdio},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use demarc_proto::{
    ToAgent, ToHub,
    message::Noted,
    support::{GRANT_OPTION, Grant, GrantEnded, GrantId, GrantMessage},
};
use http::StatusCode;
use ssh_key::{HashAlg, LineEnding, PrivateKey, private::Ed25519Keypair};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    process::Child,
};

use crate::{
    agent::{Session, Tunnel, enroll, report, soon, upload},
    hub::{Hub, succeed, text},
};

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

pub fn host_key(seed: u8) -> PrivateKey {
    PrivateKey::from(Ed25519Keypair::from_seed(&[seed; 32]))
}

pub fn grant(number: u8, site: &str) -> Grant {
    Grant {
        id: GrantId::from_bits([number; 8]),
        site: site.parse().unwrap(),
        scope: "shell".parse().unwrap(),
        issued: now(),
        until: now() + 7200,
        ticket: Some("T-17".parse().unwrap()),
        engineer: Some("anna".parse().unwrap()),
        host_key: host_key(1).public_key().to_openssh().unwrap(),
    }
}

pub fn sign(grant: &Grant, by: &PrivateKey) -> GrantMessage {
    let body = grant.to_body();
    let signature = by.sign(GRANT_OPTION, HashAlg::Sha512, body.as_bytes()).unwrap();
    GrantMessage { grant: body, signature: signature.to_pem(LineEnding::LF).unwrap() }
}

fn announce(grant: &Grant) -> ToHub {
    ToHub::Grant(sign(grant, &host_key(1)))
}

async fn announced(tunnel: &mut Tunnel, grant: &Grant) {
    let noted = tunnel.ask(&announce(grant)).await;
    assert_eq!(noted, Some(ToAgent::Noted(Noted { grant: grant.id })));
}

/// A site with a live grant, number 1.
pub async fn site_with_grant(hub: &Hub, name: &str) -> Tunnel {
    let site = enroll(hub, name).await;
    let mut tunnel = Tunnel::open(hub, &site).await;
    announced(&mut tunnel, &grant(1, name)).await;
    tunnel
}

pub fn connect(hub: &Hub, arguments: &[&str]) -> Child {
    let mut command = tokio::process::Command::from(hub.command(&["connect"]));
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.kill_on_drop(true).spawn().unwrap()
}

/// What `connect` says when there is no session.
async fn refused(hub: &Hub, arguments: &[&str]) -> String {
    let Output { status, stdout, stderr } = soon(connect(hub, arguments).wait_with_output()).await.unwrap();
    assert_eq!((status.code(), text(&stdout)), (Some(1), String::new()));
    text(&stderr)
}

/// A session that was let in, seen from both ends.
pub async fn session(hub: &Hub, tunnel: &mut Tunnel) -> (Child, Session) {
    let command = connect(hub, &["site-one"]);
    let asked = soon(tunnel.asked.recv()).await.unwrap();
    (command, asked.accept())
}

fn grants(hub: &Hub, arguments: &[&str]) -> serde_json::Value {
    let text = succeed(hub.command(&["grants", "--json"]).args(arguments));
    serde_json::from_str::<serde_json::Value>(&text).unwrap()["grants"].take()
}

fn socket(hub: &Hub) -> PathBuf {
    hub.path().join("data/support.sock")
}

#[tokio::test]
async fn a_grant_is_noted_shown_and_forgotten() {
    let hub = Hub::start();
    assert!(succeed(&mut hub.command(&["grants"])).contains("No site that is connected has a live grant"));
    let site = enroll(&hub, "site-one").await;
    let mut tunnel = Tunnel::open(&hub, &site).await;
    let (one, two) = (grant(1, "site-one"), Grant { issued: now() + 1, ..grant(2, "site-one") });
    announced(&mut tunnel, &one).await;
    announced(&mut tunnel, &two).await;
    let shown = grants(&hub, &["site-one"]);
    assert_eq!(shown.as_array().unwrap().len(), 2);
    assert_eq!((&shown[0]["grant"], &shown[1]["grant"]), (&"0202020202020202".into(), &"0101010101010101".into()));
    assert_eq!(
        (&shown[0]["scope"], &shown[0]["ticket"], &shown[0]["engineer"]),
        (&"shell".into(), &"T-17".into(), &"anna".into())
    );
    let table = succeed(&mut hub.command(&["grants"]));
    let fingerprint = host_key(1).public_key().fingerprint(HashAlg::Sha256).to_string();
    for words in ["site-one", "0202020202020202", "T-17", &fingerprint] {
        assert!(table.contains(words), "{words} is not in {table}");
    }
    // What is exported is what was signed.
    let exported = succeed(&mut hub.command(&["grants", "--export", "0101010101010101"]));
    assert_eq!(serde_json::from_str::<GrantMessage>(&exported).unwrap(), sign(&one, &host_key(1)));
    let file = hub.path().join("grant");
    succeed(hub.command(&["grants", "--export", "0101010101010101", "--to"]).arg(&file));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), one.to_body());
    assert_eq!(std::fs::read_to_string(file.with_extension("sig")).unwrap(), sign(&one, &host_key(1)).signature);

    let ended = tunnel.ask(&ToHub::GrantEnded(GrantEnded { grant: two.id })).await;
    assert_eq!(ended, Some(ToAgent::Noted(Noted { grant: two.id })));
    assert_eq!(grants(&hub, &[]).as_array().unwrap().len(), 1);
    // An end of a grant that nobody knows is one that the hub knows now.
    assert!(matches!(tunnel.ask(&ToHub::GrantEnded(GrantEnded { grant: two.id })).await, Some(ToAgent::Noted(_))));
    // A new tunnel begins without any.
    let mut newer = Tunnel::open(&hub, &site).await;
    assert_eq!(grants(&hub, &["site-one"]).as_array().unwrap().len(), 0);
    let none = succeed(&mut hub.command(&["grants", "site-one"]));
    assert!(none.contains("site-one is connected and has no live grant"), "{none}");
    announced(&mut newer, &one).await;
    drop(tunnel);
    assert_eq!(grants(&hub, &["site-one"]).as_array().unwrap().len(), 1);
    newer.connection.abort();
    assert!(newer.connection.await.unwrap_err().is_cancelled());
    let begin = Instant::now();
    while hub.command(&["grants", "site-one"]).output().unwrap().status.success() {
        assert!(begin.elapsed() < Duration::from_secs(10));
    }
    assert!(refused(&hub, &["site-one"]).await.contains("site-one is not connected"));
}

#[tokio::test]
async fn a_grant_that_is_not_the_sites_own_ends_the_tunnel() {
    let hub = Hub::start();
    let site = enroll(&hub, "site-one").await;
    let good = grant(1, "site-one");
    let mut changed = sign(&good, &host_key(1));
    changed.grant = changed.grant.replace("shell", "files");
    let garbage = GrantMessage { grant: "{}".into(), signature: changed.signature.clone() };
    for message in [changed, sign(&good, &host_key(2)), sign(&grant(1, "site-two"), &host_key(1)), garbage] {
        let mut tunnel = Tunnel::open(&hub, &site).await;
        assert_eq!(tunnel.ask(&ToHub::Grant(message)).await, None);
        tunnel.closed().await;
    }
    hub.says("is not signed by its host key").await;
    assert!(!hub.log().contains("T-17"), "the log repeats what a site sent: {}", hub.log());
}

#[tokio::test]
async fn the_words_say_why_there_is_no_session() {
    let mut hub = Hub::start_with("[limits]\nsupport_streams_per_site = 2\nsupport_streams = 3\n");
    assert!(refused(&hub, &["site-one"]).await.contains("site-one is not connected"));
    let mut tunnel = Tunnel::open(&hub, &enroll(&hub, "site-one").await).await;
    let words = refused(&hub, &["site-one"]).await;
    assert!(words.contains("no live grant of site-one: ask the customer to run `demarc support allow`"), "{words}");
    announced(&mut tunnel, &grant(1, "site-one")).await;
    announced(&mut tunnel, &Grant { issued: now() + 1, ..grant(2, "site-one") }).await;
    for (status, words) in [
        (StatusCode::FORBIDDEN, "lets nobody in under this grant"),
        (StatusCode::TOO_MANY_REQUESTS, "has as many sessions as it takes"),
        (StatusCode::SERVICE_UNAVAILABLE, "cannot serve a session now"),
        (StatusCode::IM_A_TEAPOT, "answered 418"),
    ] {
        let command = connect(&hub, &["site-one"]);
        let asked = soon(tunnel.asked.recv()).await.unwrap();
        assert_eq!(asked.path, "/support/0202020202020202", "the newest");
        asked.refuse(status);
        let Output { status, stdout, stderr } = soon(command.wait_with_output()).await.unwrap();
        assert_eq!((status.code(), stdout.len()), (Some(1), 0));
        assert!(text(&stderr).contains(words), "{}", text(&stderr));
    }
    // One that is named is passed on, whether it is known here or not.
    for number in ["0101010101010101", "0909090909090909"] {
        let command = connect(&hub, &["site-one", "--grant", number]);
        let mut asked = soon(tunnel.asked.recv()).await.unwrap();
        assert_eq!(asked.path, format!("/support/{number}"));
        asked.respond.send_reset(h2::Reason::REFUSED_STREAM);
        let words = text(&soon(command.wait_with_output()).await.unwrap().stderr);
        assert!(words.contains("has to be upgraded"), "{words}");
    }
    let mut other = site_with_grant(&hub, "site-two").await;
    let _first = session(&hub, &mut tunnel).await;
    let second = session(&hub, &mut tunnel).await;
    assert!(refused(&hub, &["site-one"]).await.contains("has 2 sessions already"));
    let third = connect(&hub, &["site-two"]);
    let _third = (third, soon(other.asked.recv()).await.unwrap().accept());
    assert!(refused(&hub, &["site-two"]).await.contains("this hub has as many sessions as it may"));
    // One that ends makes room.
    let (mut command, _session) = second;
    command.kill().await.unwrap();
    hub.says("support session ended").await;
    let (_command, _session) = session(&hub, &mut tunnel).await;

    hub.signal(libc::SIGTERM);
    assert!(hub.wait().success());
    assert!(!socket(&hub).exists());
    let words = refused(&hub, &["site-one"]).await;
    assert!(words.contains("no hub runs here"), "{words}");
    let words = refused(&hub, &["site-one", "--socket", "/nonexistent/support.sock"]).await;
    assert!(words.contains("nobody answers at /nonexistent/support.sock"), "{words}");
}

#[tokio::test]
async fn many_who_ask_at_once_are_all_answered_and_few_get_in() {
    let hub = Hub::start();
    let mut tunnel = site_with_grant(&hub, "site-one").await;
    let asking = (0..500).map(|_| {
        let socket = socket(&hub);
        tokio::spawn(async move {
            let mut stream = tokio::net::UnixStream::connect(socket).await.unwrap();
            stream.write_all(b"{\"connect\":\"site-one\",\"grant\":null}\n").await.unwrap();
            let mut answer = vec![0; 512];
            let length = stream.read(&mut answer).await.unwrap();
            (text(&answer[..length]), stream)
        })
    });
    let asking: Vec<_> = asking.collect();
    let mut sessions = Vec::new();
    while let Ok(Some(asked)) = tokio::time::timeout(Duration::from_secs(1), tunnel.asked.recv()).await {
        sessions.push(asked.accept());
    }
    assert_eq!(sessions.len(), 4);
    let (mut opened, mut full) = (Vec::new(), 0);
    for asked in asking {
        let (answer, stream) = soon(asked).await.unwrap();
        match answer.as_str() {
            "{\"ok\":{\"grant\":\"0101010101010101\"}}\n" => opened.push(stream),
            words => {
                assert!(words.contains("has 4 sessions already"), "{words}");
                full += 1;
            }
        }
    }
    assert_eq!((opened.len(), full), (4, 496));
    // All this was nobody else's matter.
    let answer = tunnel.ask(&upload("site-one", &report(1, 12).to_body())).await;
    assert!(matches!(answer, Some(ToAgent::Receipt(_))), "{answer:?}");
}

#[tokio::test]
async fn the_socket_is_the_owners_and_a_stale_one_is_replaced() {
    let mut hub = Hub::start();
    assert_eq!(socket(&hub).metadata().unwrap().permissions().mode() & 0o777, 0o600);
    // Somebody else, who is not kept out by the directory alone.
    let mut stranger = hub.command(&["connect", "site-one", "--socket"]);
    stranger.arg(socket(&hub));
    if rustix::process::geteuid().is_root() {
        std::os::unix::process::CommandExt::uid(&mut stranger, 65_534);
    } else {
        std::fs::set_permissions(socket(&hub), std::fs::Permissions::from_mode(0o000)).unwrap();
    }
    let refused = stranger.output().unwrap();
    assert!(text(&refused.stderr).contains("you are not allowed to use"), "{}", text(&refused.stderr));
    hub.signal(libc::SIGKILL);
    hub.wait();
    assert!(socket(&hub).exists());
    let gone = hub.command(&["grants"]).output().unwrap();
    assert!(text(&gone.stderr).contains("no hub runs here"), "{}", text(&gone.stderr));
    hub.serve();
    succeed(&mut hub.command(&["grants"]));
    // A second hub on the same data does not take it away.
    let elsewhere = hub.path().join("second.toml");
    let settings = std::fs::read_to_string(hub.config()).unwrap();
    let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    std::fs::write(&elsewhere, settings.replace(&hub.address.to_string(), &other.to_string())).unwrap();
    let second = crate::hub::program().arg("--config").arg(elsewhere).arg("serve").output().unwrap();
    assert!(text(&second.stderr).contains("another hub that runs has it"), "{}", text(&second.stderr));
    succeed(&mut hub.command(&["grants"]));
    // Whoever does not ask properly gets no answer, and does no harm.
    for question in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[b'x'; 5000], b"{\"connect\":\"../..\"}\n", b""] {
        let mut stream = tokio::net::UnixStream::connect(socket(&hub)).await.unwrap();
        // It may have hung up before all of it was said.
        let _ = stream.write_all(question).await;
        let _ = stream.shutdown().await;
        let mut answer = Vec::new();
        let _ = soon(stream.read_to_end(&mut answer)).await;
        assert!(answer.is_empty());
    }
    succeed(&mut hub.command(&["grants"]));
}
