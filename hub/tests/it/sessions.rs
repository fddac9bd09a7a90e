//! Sessions through the hub: every byte, both ways, and no longer than both ends want.

use std::{
    process::Output,
    time::{Duration, Instant},
};

use bytes::Bytes;
use demarc_proto::ToAgent;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{
    agent::{Session, report, say, soon, upload},
    hub::{Hub, text},
    lifecycle::get,
    support::{connect, session, site_with_grant},
};

#[tokio::test]
async fn bytes_pass_both_ways_and_either_half_may_end_first() {
    let hub = Hub::start();
    let mut tunnel = site_with_grant(&hub, "site-one").await;
    let (mut command, mut session) = session(&hub, &mut tunnel).await;
    let (mut input, mut output) = (command.stdin.take().unwrap(), command.stdout.take().unwrap());
    session.say(Bytes::from_static(b"SSH-2.0-site\r\n")).await;
    let mut heard = [0; 14];
    soon(output.read_exact(&mut heard)).await.unwrap();
    assert_eq!(&heard, b"SSH-2.0-site\r\n");
    input.write_all(b"SSH-2.0-desk\r\n").await.unwrap();
    assert_eq!(session.hear().await.unwrap().unwrap(), "SSH-2.0-desk\r\n");
    // The engineer's half ends; the site still answers, and then ends its own.
    drop(input);
    let end = session.hear().await;
    assert!(end.is_none(), "{end:?} {}", hub.log());
    session.say(Bytes::from_static(b"last words")).await;
    session.to_hub.send_data(Bytes::new(), true).unwrap();
    let mut rest = Vec::new();
    soon(output.read_to_end(&mut rest)).await.unwrap();
    assert_eq!(rest, b"last words");
    assert!(soon(command.wait()).await.unwrap().success());
    hub.says("why=Finished").await;

    // The site's half ends first: the command ends, whatever its input still could say.
    let (mut command, mut session) = self::session(&hub, &mut tunnel).await;
    session.say(Bytes::from_static(b"bye")).await;
    session.to_hub.send_data(Bytes::new(), true).unwrap();
    let mut rest = Vec::new();
    soon(command.stdout.take().unwrap().read_to_end(&mut rest)).await.unwrap();
    assert_eq!(rest, b"bye");
    assert!(soon(command.wait()).await.unwrap().success());
    assert!(session.hear().await.is_none_or(|heard| heard.is_err()));
    let begin = Instant::now();
    let mut figures = get(&hub, "/metrics").await;
    while !figures.contains("demarc_hub_support_streams 0\n") && begin.elapsed() < Duration::from_secs(10) {
        figures = get(&hub, "/metrics").await;
    }
    for line in [
        "demarc_hub_support_streams 0",
        "demarc_hub_support_requests_total{result=\"opened\"} 2",
        "demarc_hub_support_bytes_in_total 27",
        "demarc_hub_support_bytes_out_total 14",
    ] {
        assert!(figures.contains(&format!("{line}\n")), "{line} is not in {figures}");
    }
}

#[tokio::test]
async fn eight_megabytes_pass_each_way_at_once() {
    let hub = Hub::start();
    let mut tunnel = site_with_grant(&hub, "site-one").await;
    let (mut command, session) = session(&hub, &mut tunnel).await;
    let (mut input, mut output) = (command.stdin.take().unwrap(), command.stdout.take().unwrap());
    let bytes: Vec<u8> = (0..8 * 1024 * 1024_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let (outward, expected) = (bytes.clone(), bytes.clone());
    let writing = tokio::spawn(async move { input.write_all(&outward).await.map(|()| input) });
    let reading = tokio::spawn(async move {
        let mut all = vec![0; 8 * 1024 * 1024];
        output.read_exact(&mut all).await.map(|_| all)
    });
    let Session { mut from_hub, to_hub } = session;
    let hearing = tokio::spawn(async move {
        let mut all = Vec::new();
        while let Some(data) = from_hub.data().await {
            let data = data.unwrap();
            from_hub.flow_control().release_capacity(data.len()).unwrap();
            all.extend_from_slice(&data);
        }
        all
    });
    let mut to_hub = to_hub;
    say(&mut to_hub, Bytes::from(bytes)).await;
    assert!(soon(reading).await.unwrap().unwrap() == expected);
    drop(soon(writing).await.unwrap().unwrap());
    assert!(soon(hearing).await.unwrap() == expected);
}

#[tokio::test]
async fn a_session_that_stalls_holds_up_nobody() {
    let hub = Hub::start();
    let mut tunnel = site_with_grant(&hub, "site-one").await;
    let mut stalled = Vec::new();
    for _ in 0..3 {
        let (mut command, mut session) = session(&hub, &mut tunnel).await;
        // Nobody reads what the site says, nor what the engineer says.
        let mut input = command.stdin.take().unwrap();
        tokio::spawn(async move { input.write_all(&vec![b'x'; 8 << 20]).await });
        let saying = tokio::spawn(async move {
            session.to_hub.reserve_capacity(8 << 20);
            loop {
                let room = session.to_hub.capacity();
                if room > 0 {
                    session.to_hub.send_data(vec![b'y'; room].into(), false).unwrap();
                }
                if std::future::poll_fn(|context| session.to_hub.poll_capacity(context)).await.is_none() {
                    return session;
                }
            }
        });
        stalled.push((command, saying));
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(stalled.iter().all(|(_, saying)| !saying.is_finished()));
    // The control stream goes on, with a report longer than what is left of a window, and so does another session.
    let answer = tunnel.ask(&upload("site-one", &report(1, 12).to_body())).await;
    assert!(matches!(answer, Some(ToAgent::Receipt(_))), "{answer:?}");
    let (mut command, mut session) = session(&hub, &mut tunnel).await;
    command.stdin.take().unwrap().write_all(b"hello").await.unwrap();
    assert_eq!(session.hear().await.unwrap().unwrap(), "hello");
}

#[tokio::test]
async fn a_session_ends_with_its_tunnel_and_with_the_hub() {
    let mut hub = Hub::start();
    let mut tunnel = site_with_grant(&hub, "site-one").await;
    let (command, session) = session(&hub, &mut tunnel).await;
    hub.says("INFO support session site=site-one").await;
    // The site's machine is gone, in the middle of a session.
    tunnel.connection.abort();
    drop((tunnel, session));
    soon(command.wait_with_output()).await.unwrap();
    hub.says("why=SiteGone").await;

    // The site gives the stream up.
    let mut tunnel = site_with_grant(&hub, "site-two").await;
    let command = connect(&hub, &["site-two"]);
    let mut session = soon(tunnel.asked.recv()).await.unwrap().accept();
    session.to_hub.send_reset(h2::Reason::CANCEL);
    soon(command.wait_with_output()).await.unwrap();

    // The engineer is gone without a word, and the site hears it.
    let mut command = connect(&hub, &["site-two"]);
    let mut session = soon(tunnel.asked.recv()).await.unwrap().accept();
    command.kill().await.unwrap();
    while session.hear().await.is_some_and(|heard| heard.is_ok()) {}
    session.to_hub.reserve_capacity(1);
    // A site that goes on as if nothing had happened is cut off.
    soon(std::future::poll_fn(|context| session.to_hub.poll_reset(context))).await.unwrap();

    // Nor does the site keep a stream whose engineer did not wait for the answer.
    let mut command = connect(&hub, &["site-two"]);
    let mut asked = soon(tunnel.asked.recv()).await.unwrap();
    command.kill().await.unwrap();
    soon(std::future::poll_fn(|context| asked.respond.poll_reset(context))).await.unwrap();

    let command = connect(&hub, &["site-two"]);
    let mut session = soon(tunnel.asked.recv()).await.unwrap().accept();
    let begin = Instant::now();
    hub.signal(libc::SIGTERM);
    assert!(session.hear().await.is_none_or(|heard| heard.is_err()));
    soon(command.wait_with_output()).await.unwrap();
    assert!(hub.wait().success());
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
}

#[tokio::test]
async fn the_connection_itself_can_be_handed_over() {
    use std::io::{Read, Write};

    use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

    let hub = Hub::start();
    let mut tunnel = site_with_grant(&hub, "site-one").await;
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    let mut command = tokio::process::Command::from(hub.command(&["connect", "--fdpass", "site-one"]));
    let mut command = command.stdout(std::os::fd::OwnedFd::from(theirs)).spawn().unwrap();
    let mut session = soon(tunnel.asked.recv()).await.unwrap().accept();
    assert!(soon(command.wait()).await.unwrap().success());
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut rights = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    recvmsg(&ours, &mut [std::io::IoSliceMut::new(&mut byte)], &mut rights, RecvFlags::empty()).unwrap();
    let Some(RecvAncillaryMessage::ScmRights(mut descriptors)) = rights.drain().next() else { panic!("no descriptor") };
    let mut stream = std::os::unix::net::UnixStream::from(descriptors.next().unwrap());
    session.say(Bytes::from_static(b"hello")).await;
    let mut heard = [0; 5];
    tokio::task::spawn_blocking(move || {
        stream.read_exact(&mut heard).unwrap();
        stream.write_all(b"and bye").unwrap();
        assert_eq!(&heard, b"hello");
    })
    .await
    .unwrap();
    assert_eq!(session.hear().await.unwrap().unwrap(), "and bye");
    assert!(session.hear().await.is_none());

    // A terminal or a file cannot take it.
    let command = connect(&hub, &["--fdpass", "site-one"]);
    let _session = soon(tunnel.asked.recv()).await.unwrap().accept();
    let Output { status, stderr, .. } = soon(command.wait_with_output()).await.unwrap();
    assert_eq!(status.code(), Some(1));
    assert!(text(&stderr).contains("ProxyUseFdpass yes"), "{}", text(&stderr));
}
