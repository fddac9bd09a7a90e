//! Starting, stopping, health and figures.

use std::time::{Duration, Instant};

use demarc_proto::ToAgent;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    agent::{Tunnel, enroll, report, soon, tls, upload},
    hub::{Hub, succeed},
};

pub async fn get(hub: &Hub, path: &str) -> String {
    let mut stream = tls(hub, b"http/1.1", None).await.unwrap();
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: hub\r\n\r\n").as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // A missing close_notify would be an error here.
    soon(stream.read_to_end(&mut answer)).await.unwrap();
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn health_and_figures_are_on_the_same_port() {
    let hub = Hub::start();
    let site = enroll(&hub, "site-one").await;
    let mut tunnel = Tunnel::open(&hub, &site).await;
    tunnel.ask(&upload("site-one", &report(1, 12).to_body())).await.unwrap();
    let health = get(&hub, "/healthz").await;
    assert!(health.starts_with("HTTP/1.1 200 ") && health.ends_with("\r\n\r\nok"), "{health}");
    let figures = get(&hub, "/metrics").await;
    for line in [
        "demarc_hub_tunnels 1",
        "demarc_hub_reports_total{result=\"stored\"} 1",
        "demarc_hub_enrollments_total{result=\"enrolled\"} 1",
        "demarc_hub_handshakes_total{result=\"tunnel\"} 1",
        "# EOF",
    ] {
        assert!(figures.contains(&format!("{line}\n")), "{line} is not in {figures}");
    }
    assert!(get(&hub, "/elsewhere").await.starts_with("HTTP/1.1 404 "));
}

#[tokio::test]
async fn a_stop_answers_what_it_received() {
    let mut hub = Hub::start();
    let site = enroll(&hub, "site-one").await;
    let mut idle = Tunnel::open(&hub, &enroll(&hub, "site-two").await).await;
    // One that has not even said hello holds nothing up.
    let _silent = Tunnel::silent(&hub, Some(&enroll(&hub, "site-three").await)).await.unwrap();
    let mut busy = Tunnel::open(&hub, &site).await;
    let mut sent = 0;
    for number in 0..20 {
        busy.say(&upload("site-one", &report(number, 12).to_body()));
        sent += 1;
    }
    // The first is answered, so the others are on their way through.
    assert!(matches!(busy.hear().await, Some(ToAgent::Receipt(_))));
    let begin = Instant::now();
    hub.signal(libc::SIGTERM);
    let mut receipts = 1;
    while let Some(answer) = busy.hear().await {
        assert!(matches!(answer, ToAgent::Receipt(_)));
        receipts += 1;
    }
    assert_eq!(idle.hear().await, None);
    // The idle one hears GOAWAY without an error, unless its own farewell meets a connection that is closed by then. A
    // hub that was torn away would be the end of a file, which is another error.
    if let Err(error) = soon(idle.connection).await.unwrap() {
        assert_eq!(error.get_io().map(std::io::Error::kind), Some(std::io::ErrorKind::BrokenPipe), "{error:?}");
    }
    hub.says("why=Stopped").await;
    assert!(hub.wait().success());
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
    assert!(TcpStream::connect(hub.address).await.is_err());
    // Every receipt stands for a stored report; what was stored without one is sent again and found.
    hub.serve();
    assert!(hub.reports("site-one") >= receipts);
    let mut tunnel = Tunnel::open(&hub, &site).await;
    for number in 0..sent {
        let answer = tunnel.ask(&upload("site-one", &report(number, 12).to_body())).await;
        assert!(matches!(answer, Some(ToAgent::Receipt(_))));
    }
    assert_eq!(hub.reports("site-one"), usize::from(sent));
}

#[tokio::test]
async fn sites_tells_who_is_connected() {
    let mut hub = Hub::start();
    let site = enroll(&hub, "site-one").await;
    hub.token("site-two");
    let sites = |hub: &Hub| {
        let text = succeed(&mut hub.command(&["sites", "--json"]));
        let all: serde_json::Value = serde_json::from_str(&text).unwrap();
        all["sites"].as_array().unwrap().clone()
    };
    let tunnel = Tunnel::open(&hub, &site).await;
    let begin = Instant::now();
    // That it came and which version it said may be written one after the other.
    while sites(&hub)[0]["version"] != "0.1.0" {
        assert!(begin.elapsed() < Duration::from_secs(5));
    }
    let both = sites(&hub);
    assert_eq!((&both[0]["site"], &both[0]["connected"]), (&"site-one".into(), &true.into()));
    assert_eq!((&both[1]["site"], &both[1]["enrolled"]), (&"site-two".into(), &serde_json::Value::Null));
    tunnel.connection.abort();
    assert!(tunnel.connection.await.unwrap_err().is_cancelled());
    while sites(&hub)[0]["connected"] != false {
        assert!(begin.elapsed() < Duration::from_secs(10));
    }
    // What is known at the stop is written at the stop.
    let _tunnel = Tunnel::open(&hub, &site).await;
    hub.signal(libc::SIGINT);
    assert!(hub.wait().success());
    assert_eq!(sites(&hub)[0]["connected"], false);
    assert!(sites(&hub)[0]["last_seen"].is_string());
    let table = succeed(&mut hub.command(&["sites"]));
    assert!(table.lines().next().unwrap().contains("certificate ends"), "{table}");
    assert_eq!(table.lines().count(), 3, "{table}");
}

#[tokio::test]
async fn those_who_sit_in_the_door_do_not_shut_it() {
    let hub = Hub::start_with("[limits]\nhandshakes = 4\n");
    let mut sitters = Vec::new();
    for _ in 0..4 {
        sitters.push(TcpStream::connect(hub.address).await.unwrap());
    }
    let begin = Instant::now();
    assert!(get(&hub, "/healthz").await.ends_with("ok"));
    assert!(begin.elapsed() < Duration::from_secs(9), "{:?}", begin.elapsed());
}
