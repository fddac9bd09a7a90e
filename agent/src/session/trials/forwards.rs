//! The scope `forward=PORT`.

use std::time::{Duration, Instant};

use demarc_proto::support::Scope;
use russh::{Channel, ChannelMsg, client};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    time::timeout,
};

use super::super::testing::{Client, Heard, PATIENCE, Site, exec};

async fn listener() -> (TcpListener, Scope) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, format!("forward={port}").parse().unwrap())
}

async fn open(engineer: &client::Handle<Client>, host: &str, port: u32) -> Result<Channel<client::Msg>, russh::Error> {
    engineer.channel_open_direct_tcpip(host, port, "127.0.0.1", 40_000).await
}

fn port(scope: Scope) -> u32 {
    let Scope::Forward(port) = scope else { panic!("{scope}") };
    port.get().into()
}

#[tokio::test]
async fn bytes_pass_both_ways_and_each_half_ends_by_itself() {
    let (listener, scope) = listener().await;
    let (engineer, live) = Site::new(scope).enter().await;
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        stream.read_to_end(&mut request).await.unwrap();
        stream.write_all(format!("{} bytes", request.len()).as_bytes()).await.unwrap();
    });
    let channel = open(&engineer, "localhost", port(scope)).await.unwrap();
    channel.data(&vec![b'x'; 3_000_000][..]).await.unwrap();
    channel.eof().await.unwrap();
    assert_eq!(Heard::all(channel).await.text(), "3000000 bytes");
    server.await.unwrap();
    drop(engineer);
    let (report, site) = live.report().await;
    assert_eq!((report.forwards, report.bytes_in, report.bytes_out), (1, 3_000_000, 13));
    let marks = site.marks();
    assert!(marks.contains(&format!("forward 1 to 127.0.0.1:{}", port(scope))), "{marks}");
    assert!(marks.contains("3000000 bytes to the port, 13 bytes from it"), "{marks}");
}

#[tokio::test]
async fn any_other_port_host_or_command_is_refused() {
    let (_listener, scope) = listener().await;
    let (engineer, live) = Site::new(scope).enter().await;
    for (host, port) in [("127.0.0.1", port(scope) + 1), ("10.0.0.1", port(scope)), ("127.0.0.1", 22)] {
        assert!(open(&engineer, host, port).await.is_err());
    }
    let heard = exec(&engineer, "id").await;
    assert!(heard.words().contains("ssh -N") && heard.status == Some(1));
    drop(engineer);
    let (report, site) = live.report().await;
    assert_eq!((report.refused, report.forwards), (4, 0));
    assert!(site.marks().contains("refused: a forward to 127.0.0.1:22"));
}

#[tokio::test]
async fn a_port_where_nobody_listens_is_said_so() {
    let (listener, scope) = listener().await;
    drop(listener);
    let (engineer, live) = Site::new(scope).enter().await;
    assert!(open(&engineer, "127.0.0.1", port(scope)).await.is_err());
    drop(engineer);
    let (report, site) = live.report().await;
    assert_eq!((report.forwards, report.refused), (0, 0));
    assert!(site.marks().contains("forward 1 failed"));
}

/// Asks the second connection, and says how long the answer took.
async fn ask(channel: &mut Channel<client::Msg>) -> Duration {
    let began = Instant::now();
    timeout(PATIENCE, channel.data(&b"ping"[..])).await.unwrap().unwrap();
    loop {
        match timeout(PATIENCE, channel.wait()).await.unwrap().unwrap() {
            ChannelMsg::Data { data } if &data[..] == b"pong" => return began.elapsed(),
            _ => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_is_stuck_does_not_stop_another() {
    let (listener, scope) = listener().await;
    let (engineer, live) = Site::new(scope).enter().await;
    let server = tokio::spawn(async move {
        // The first never reads; the second answers.
        let (stuck, _) = listener.accept().await.unwrap();
        let (mut live, _) = listener.accept().await.unwrap();
        let mut request = [0; 4];
        while live.read_exact(&mut request).await.is_ok() {
            live.write_all(b"pong").await.unwrap();
        }
        drop(stuck);
    });
    let stuck = open(&engineer, "127.0.0.1", port(scope)).await.unwrap();
    let mut other = open(&engineer, "127.0.0.1", port(scope)).await.unwrap();
    let (_, stuck_in) = stuck.split();
    let flooding = tokio::spawn(async move {
        let piece = bytes::Bytes::from(vec![b'y'; 32 << 10]);
        while stuck_in.data_bytes(piece.clone()).await.is_ok() {}
    });
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(8) {
        let took = ask(&mut other).await;
        assert!(took < Duration::from_secs(2), "{took:?} after {:?}", began.elapsed());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    flooding.abort();
    drop((other, engineer));
    server.abort();
    let (report, site) = live.report().await;
    assert_eq!(report.forwards, 2);
    assert!(
        site.marks().contains("a channel was closed: what it leads to took nothing for too long"),
        "{}",
        site.marks()
    );
}
