//! How a session ends.

use std::{
    fs::File,
    time::{Duration, Instant},
};

use demarc_proto::support::Scope;
use russh::{ChannelOpenFailure, Limits};

use super::super::testing::{Heard, Site, connect, exec, shell};
use crate::{
    ipc::ToSession,
    support::{End, boot, cast},
};

#[tokio::test]
async fn a_session_ends_when_its_time_is_over() {
    let mut site = Site::new(Scope::Shell);
    site.settings.ends = u64::try_from(boot::now().as_millis()).unwrap() + 1500;
    let began = Instant::now();
    let (engineer, live) = site.enter().await;
    let mut channel = shell(&engineer).await;
    let mut heard = Heard::default();
    heard.until(&mut channel, "The time that the customer granted is over").await;
    let (report, site) = live.report().await;
    let took = began.elapsed();
    assert!((Duration::from_millis(1400)..Duration::from_millis(2100)).contains(&took), "{took:?}");
    assert_eq!(report.end, End::Expired);
    assert!(site.marks().trim_end().ends_with("end: the grant's time was over"), "{}", site.marks());
    assert_eq!(cast::verify(&site.recording).unwrap().torn, 0);
}

#[tokio::test]
async fn the_owner_ends_a_session_at_once_and_nothing_runs_on() {
    let (engineer, mut live) = Site::new(Scope::Shell).enter().await;
    let mark = live.site.directory.path().join("alive");
    let mut channel = shell(&engineer).await;
    let mut heard = Heard::default();
    let line = format!("while :; do touch {}; sleep 0.05; done & echo st''arted\n", mark.display());
    channel.data(line.as_bytes()).await.unwrap();
    heard.until(&mut channel, "started").await;
    let began = Instant::now();
    live.orders.as_mut().unwrap().send(&ToSession::End { end: End::Revoked }).await.unwrap();
    heard.until(&mut channel, "The customer ended this session.").await;
    let (report, site) = live.report().await;
    // What the owner is promised.
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    assert_eq!(report.end, End::Revoked);
    assert!(site.marks().trim_end().ends_with("end: the owner ended it"));
    let _ = std::fs::remove_file(&mark);
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!mark.exists());
}

#[tokio::test]
async fn a_supervisor_that_is_gone_ends_it() {
    let (_engineer, mut live) = Site::new(Scope::Shell).enter().await;
    drop(live.orders.take());
    assert_eq!(live.report().await.0.end, End::Stopped);
}

#[tokio::test]
async fn a_full_disk_ends_it_before_anything_is_shown() {
    let (near, live) = Site::new(Scope::Shell).begin_with(File::options().append(true).open("/dev/full").unwrap());
    drop(near);
    assert_eq!(live.outcome.await.unwrap().end, End::NotRecorded);
}

#[tokio::test]
async fn a_new_exchange_of_keys_disturbs_nothing() {
    let mut site = Site::new(Scope::Shell);
    site.limits = Limits::new(64 << 10, 64 << 10, Duration::from_millis(300));
    let (engineer, live) = site.enter().await;
    let heard = exec(&engineer, "head -c 2000000 /dev/zero").await;
    assert_eq!(heard.out.len(), 2_000_000);
    let channel = engineer.channel_open_session().await.unwrap();
    channel.exec(true, "wc -c").await.unwrap();
    channel.data(&vec![b'x'; 2_000_000][..]).await.unwrap();
    channel.eof().await.unwrap();
    assert_eq!(Heard::all(channel).await.text().trim(), "2000000");
    let heard = exec(&engineer, "for i in 1 2 3 4; do echo $i; sleep 0.35; done").await;
    assert_eq!(heard.text(), "1\n2\n3\n4\n");
    drop(engineer);
    assert_eq!(live.report().await.0.end, End::Closed);
}

#[tokio::test]
async fn a_thousand_channels_are_bounded_and_harm_nothing() {
    let (engineer, live) = Site::new(Scope::Shell).enter().await;
    let opening = (0..1000).map(|_| engineer.channel_open_session());
    let opened = futures_util::future::join_all(opening).await;
    let (good, bad): (Vec<_>, Vec<_>) = opened.into_iter().partition(Result::is_ok);
    assert_eq!((good.len(), bad.len()), (32, 968));
    let too_many = ChannelOpenFailure::ResourceShortage;
    assert!(bad.into_iter().all(|bad| matches!(bad, Err(russh::Error::ChannelOpenFailure(why)) if why == too_many)));
    for channel in &good {
        channel.as_ref().unwrap().close().await.unwrap();
    }
    drop(good);
    assert_eq!(exec(&engineer, "echo alive").await.text(), "alive\n");
    drop(engineer);
    let (report, site) = live.report().await;
    assert_eq!(report.refused, 968);
    assert!(site.marks().lines().count() < 520);
}

#[tokio::test]
async fn whoever_says_nothing_is_not_waited_for() {
    let (near, live) = Site::new(Scope::Shell).begin();
    drop(connect(near).await);
    assert_eq!(live.report().await.0.end, End::NotLetIn);
}
