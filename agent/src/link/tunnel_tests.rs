//! Hubs that behave badly on an open tunnel, over a pipe in memory.

use demarc_proto::frame::MAX_TO_AGENT;
use h2::client::SendRequest;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use super::*;
use crate::link::testing::opening_bytes;

const HUB: &str = "hub.example:443";
const LONG: Duration = Duration::from_secs(60);
const WITHIN: Duration = Duration::from_secs(5);

/// The hub's side of an open tunnel.
struct Hub {
    requests: SendRequest<Bytes>,
    control: SendStream<Bytes>,
    answers: RecvStream,
}

fn post(path: &str) -> Request<()> {
    Request::post(format!("https://site-one.site.demarc{path}")).body(()).unwrap()
}

/// Opens a tunnel with a hub that is honest so far.
async fn tunnel(ping_every: Duration) -> (Tunnel<DuplexStream>, Hub) {
    let (ours, theirs) = duplex(64 * 1024);
    let hub = async {
        let (requests, connection) = h2::client::handshake(theirs).await.unwrap();
        tokio::spawn(connection);
        let mut requests = requests.ready().await.unwrap();
        let (response, control) = requests.send_request(post(CONTROL_PATH), false).unwrap();
        (requests, control, response)
    };
    let (tunnel, (requests, control, response)) = tokio::join!(Tunnel::open(ours, HUB, ping_every, WITHIN), hub);
    let mut tunnel = tunnel.unwrap();
    let answers = tokio::select! {
        response = response => response.unwrap().into_body(),
        event = tunnel.next() => panic!("{event:?}"),
    };
    (tunnel, Hub { requests, control, answers })
}

fn framed(payload: &[u8]) -> Bytes {
    let mut bytes = (payload.len() as u32).to_be_bytes().to_vec();
    bytes.extend_from_slice(payload);
    bytes.into()
}

async fn next_error(tunnel: &mut Tunnel<DuplexStream>) -> LinkError {
    timeout(WITHIN, tunnel.next()).await.expect("the tunnel notices in time").unwrap_err()
}

fn misbehaviour(error: LinkError) -> Misbehaviour {
    match error {
        LinkError::Misbehaved { what } => what,
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn frames_pass_both_ways_however_they_are_cut() {
    let (mut tunnel, mut hub) = tunnel(LONG).await;
    for byte in framed(b"first").iter().chain(framed(b"second").iter()) {
        hub.control.send_data(Bytes::copy_from_slice(&[*byte]), false).unwrap();
    }
    for expected in [&b"first"[..], b"second"] {
        let Event::Frame(frame) = tunnel.next().await.unwrap() else { panic!() };
        assert_eq!(frame, expected);
    }
    // Larger than the hub's whole window: what does not fit leaves while the tunnel is waited on.
    let large = vec![b'x'; 200 * 1024];
    tunnel.send(large.clone()).unwrap();
    let mut received = BytesMut::new();
    while received.len() < large.len() + 4 {
        tokio::select! {
            event = tunnel.next() => panic!("{event:?}"),
            data = hub.answers.data() => {
                let data = data.unwrap().unwrap();
                hub.answers.flow_control().release_capacity(data.len()).unwrap();
                received.extend_from_slice(&data);
            }
        }
    }
    assert_eq!(received.freeze(), framed(&large));
    assert!(tunnel.send(vec![0; MAX_TO_HUB + 1]).is_err());
}

#[tokio::test]
async fn a_frame_longer_than_any_message_ends_the_tunnel_before_it_is_read() {
    let (mut tunnel, mut hub) = tunnel(LONG).await;
    hub.control.send_data(Bytes::copy_from_slice(&(MAX_TO_AGENT as u32 + 1).to_be_bytes()), false).unwrap();
    assert_eq!(misbehaviour(next_error(&mut tunnel).await), Misbehaviour::Oversized);
}

#[tokio::test]
async fn a_hub_cannot_make_us_keep_more_than_one_frame() {
    let (mut tunnel, mut hub) = tunnel(LONG).await;
    // Never whole, in the smallest pieces that there are.
    hub.control.send_data(Bytes::copy_from_slice(&(MAX_TO_AGENT as u32).to_be_bytes()), false).unwrap();
    let drip = async {
        loop {
            hub.control.send_data(Bytes::from_static(b"x"), false).unwrap();
            tokio::task::yield_now().await;
        }
    };
    let error = tokio::select! { error = next_error(&mut tunnel) => error, () = drip => unreachable!() };
    assert!(matches!(misbehaviour(error), Misbehaviour::NotFrames | Misbehaviour::Http2));
    assert!(tunnel.buffer.capacity() <= 2 * MAX_TO_AGENT);
}

#[tokio::test]
async fn other_streams_are_refused_and_a_flood_ends_the_tunnel() {
    let (mut tunnel, hub) = tunnel(LONG).await;
    let mut requests = hub.requests;
    let flood = async {
        for opened in 0.. {
            let path = if opened % 2 == 0 { CONTROL_PATH } else { "/shell" };
            let Ok(ready) = requests.ready().await else { return opened };
            requests = ready;
            let Ok((response, mut body)) = requests.send_request(post(path), false) else { return opened };
            let _ = body.send_data(Bytes::from_static(b"unread"), false);
            match response.await {
                Err(error) if error.reason() == Some(Reason::REFUSED_STREAM) => {}
                Err(error) => {
                    assert!(error.reason() == Some(Reason::ENHANCE_YOUR_CALM) || error.is_io(), "{error}");
                    return opened;
                }
                Ok(_) => panic!("the stream was taken"),
            }
        }
        unreachable!()
    };
    let (error, opened) = tokio::join!(next_error(&mut tunnel), flood);
    assert_eq!(misbehaviour(error), Misbehaviour::StreamFlood);
    assert!(opened <= MAX_REFUSED_STREAMS, "{opened}");
}

#[tokio::test]
async fn what_is_no_control_stream_opens_nothing() {
    let (ours, theirs) = duplex(64 * 1024);
    let opening =
        tokio::spawn(async move { Tunnel::open(ours, HUB, LONG, Duration::from_millis(300)).await.map(drop) });
    let (requests, connection) = h2::client::handshake(theirs).await.unwrap();
    tokio::spawn(connection);
    let mut requests = requests.ready().await.unwrap();
    let get = Request::get(format!("https://x{CONTROL_PATH}")).body(()).unwrap();
    let (response, _) = requests.send_request(get, true).unwrap();
    assert_eq!(response.await.unwrap_err().reason(), Some(Reason::REFUSED_STREAM));
    assert!(matches!(opening.await.unwrap(), Err(LinkError::SilentInHandshake { .. })));
}

#[tokio::test]
async fn garbage_and_silence_instead_of_http2() {
    for garbage in [&b"SSH-2.0-OpenSSH_9.2\r\n and some more so that the preface is there in full"[..], &[0xff; 100]] {
        let (ours, mut theirs) = duplex(1024);
        theirs.write_all(garbage).await.unwrap();
        let error = Tunnel::open(ours, HUB, LONG, WITHIN).await.map(drop).unwrap_err();
        assert_eq!(misbehaviour(error), Misbehaviour::Http2);
    }
    let (ours, theirs) = duplex(1024);
    drop(theirs);
    let error = Tunnel::open(ours, HUB, LONG, WITHIN).await.map(drop).unwrap_err();
    assert!(matches!(error, LinkError::TurnedAway { .. }), "{error}");
    let (ours, _theirs) = duplex(1024);
    let error = Tunnel::open(ours, HUB, LONG, Duration::from_millis(30)).await.map(drop).unwrap_err();
    assert!(matches!(error, LinkError::SilentInHandshake { .. }), "{error}");
}

#[tokio::test]
async fn a_hub_that_closes_is_noticed() {
    let (mut tunnel, mut hub) = tunnel(LONG).await;
    hub.control.send_data(Bytes::new(), true).unwrap();
    assert!(matches!(next_error(&mut tunnel).await, LinkError::Closed));
    let (mut tunnel, mut hub) = self::tunnel(LONG).await;
    hub.control.send_data(Bytes::from_static(&[0, 0]), true).unwrap();
    assert_eq!(misbehaviour(next_error(&mut tunnel).await), Misbehaviour::NotFrames);
    let (mut tunnel, mut hub) = self::tunnel(LONG).await;
    hub.control.send_reset(Reason::CANCEL);
    assert!(matches!(next_error(&mut tunnel).await, LinkError::Closed));
}

#[tokio::test]
async fn an_answered_ping_keeps_the_tunnel_and_three_missed_ones_end_it() {
    let (mut open, _hub) = tunnel(Duration::from_millis(20)).await;
    for _ in 0..10 {
        assert!(matches!(open.next().await.unwrap(), Event::Tick));
        assert_eq!(open.pings.missed, 0);
    }
    // A hub that reads everything and says nothing any more, as one behind a dead router does.
    let (ours, mut theirs) = duplex(64 * 1024);
    let opening = tokio::spawn(async move { Tunnel::open(ours, HUB, Duration::from_millis(20), WITHIN).await });
    theirs.write_all(&opening_bytes()).await.unwrap();
    let mut silent = opening.await.unwrap().unwrap();
    let started = Instant::now();
    let mut sink = [0; 4096];
    let end = loop {
        tokio::select! {
            event = silent.next() => if let Err(error) = event { break error },
            read = theirs.read(&mut sink) => assert!(read.unwrap() > 0),
        }
    };
    assert!(matches!(end, LinkError::Silent { missed: 3 }), "{end}");
    // One to send it, three to miss it.
    assert!(started.elapsed() >= Duration::from_millis(80), "{:?}", started.elapsed());
}
