//! The scope `shell`.

use demarc_proto::support::Scope;
use russh::Sig;

use super::super::testing::{Heard, Site, exec, shell};
use crate::support::{End, cast};

#[tokio::test]
async fn what_is_shown_is_on_the_disk_before() {
    let (engineer, live) = Site::new(Scope::Shell).enter().await;
    let mut channel = shell(&engineer).await;
    let mut heard = Heard::default();
    channel.data(&b"echo out-$((40+2))\n"[..]).await.unwrap();
    heard.until(&mut channel, "out-42").await;
    // No waiting here: it was shown, so it is recorded.
    assert!(live.site.shown().contains("out-42"));
    let verified = cast::verify(&live.site.recording).unwrap();
    assert_eq!(verified.torn, 0);
    channel.data(&b"exit 7\n"[..]).await.unwrap();
    assert_eq!(Heard::all(channel).await.status, Some(7));
    drop(engineer);
    let (report, site) = live.report().await;
    assert_eq!((report.end, report.commands), (End::Closed, vec!["shell".to_owned()]));
    assert!(report.bytes_in > 20 && report.bytes_out > 6);
    let events = site.events();
    assert!(events.iter().any(|event| event.1 == "r" && event.2 == "100x30"));
    assert!(site.text("i").contains("echo out-"));
    assert!(site.marks().trim_end().ends_with("end: the engineer or the connection ended it"), "{}", site.marks());
    assert_eq!(cast::verify(&site.recording).unwrap().torn, 0);
}

#[tokio::test]
async fn what_is_typed_without_echo_is_not_recorded() {
    let (engineer, live) = Site::new(Scope::Shell).enter().await;
    let channel = engineer.channel_open_session().await.unwrap();
    channel.request_pty(false, "xterm", 80, 24, 0, 0, &[]).await.unwrap();
    let script = "stty -echo; echo Password:; read secret; stty echo; echo got $(printf $secret | wc -c)";
    channel.exec(true, script).await.unwrap();
    let (mut channel, mut heard) = (channel, Heard::default());
    heard.until(&mut channel, "Password:").await;
    channel.data(&b"hunter2\n"[..]).await.unwrap();
    heard.until(&mut channel, "got 7").await;
    drop((channel, engineer));
    let (_, site) = live.report().await;
    assert!(!std::fs::read_to_string(&site.recording).unwrap().contains("hunter2"));
    assert!(site.marks().contains("input hidden"), "{}", site.marks());
}

#[tokio::test]
async fn a_command_has_two_outputs_an_input_and_a_status() {
    let (engineer, live) = Site::new(Scope::Shell).enter().await;
    let heard = exec(&engineer, "echo out; echo err >&2; exit 5").await;
    assert_eq!((heard.text().as_str(), heard.words().as_str(), heard.status), ("out\n", "err\n", Some(5)));
    let channel = engineer.channel_open_session().await.unwrap();
    channel.exec(true, "wc -c").await.unwrap();
    channel.data(&vec![b'x'; 3_000_000][..]).await.unwrap();
    channel.eof().await.unwrap();
    assert_eq!(Heard::all(channel).await.text().trim(), "3000000");
    assert_eq!(exec(&engineer, "kill -TERM $$").await.signal.as_deref(), Some("TERM"));
    let heard = exec(&engineer, "head -c 5000000 /dev/zero").await;
    assert_eq!(heard.out.len(), 5_000_000);
    drop(engineer);
    let (report, site) = live.report().await;
    assert_eq!(report.commands.len(), 4);
    assert!(site.marks().contains("command: echo out; echo err >&2; exit 5"));
}

#[tokio::test]
async fn windows_change_and_signals_arrive() {
    let (engineer, live) = Site::new(Scope::Shell).enter().await;
    let mut channel = shell(&engineer).await;
    let mut heard = Heard::default();
    channel.data(&b"trap 'stty size; echo changed' WINCH; echo rea''dy\n"[..]).await.unwrap();
    heard.until(&mut channel, "ready").await;
    channel.window_change(133, 44, 0, 0).await.unwrap();
    heard.until(&mut channel, "44 133").await;
    channel.data(&b"trap - WINCH; sleep 100\n"[..]).await.unwrap();
    live.until_recorded(|events| events.iter().any(|event| event.1 == "o" && event.2.contains("sleep 100"))).await;
    channel.data(&b"\x03"[..]).await.unwrap();
    channel.data(&b"echo inter''rupted\n"[..]).await.unwrap();
    heard.until(&mut channel, "interrupted").await;
    drop(channel);
    let channel = engineer.channel_open_session().await.unwrap();
    channel.exec(true, "echo up; exec sleep 100").await.unwrap();
    let (mut channel, mut heard) = (channel, Heard::default());
    heard.until(&mut channel, "up").await;
    channel.signal(Sig::TERM).await.unwrap();
    assert_eq!(Heard::all(channel).await.signal.as_deref(), Some("TERM"));
    drop(engineer);
    let (_, site) = live.report().await;
    assert!(site.events().iter().any(|event| event.1 == "r" && event.2 == "133x44"));
}

#[tokio::test]
async fn what_a_shell_leaves_behind_is_ended_with_its_channel() {
    let (engineer, live) = Site::new(Scope::Shell).enter().await;
    let mark = live.site.directory.path().join("alive");
    let line = format!("(while :; do touch {}; sleep 0.05; done) >/dev/null 2>&1 & echo left", mark.display());
    assert_eq!(exec(&engineer, &line).await.text(), "left\n");
    let _ = std::fs::remove_file(&mark);
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    assert!(!mark.exists());
    drop(engineer);
    live.report().await;
}

#[tokio::test]
async fn what_runs_away_does_not_keep_a_channel_open() {
    let (engineer, live) = Site::new(Scope::Shell).enter().await;
    let began = std::time::Instant::now();
    assert_eq!(exec(&engineer, "setsid sleep 6 & echo left").await.text(), "left\n");
    assert!(began.elapsed() < std::time::Duration::from_secs(3), "{:?}", began.elapsed());
    drop(engineer);
    live.report().await;
}

#[tokio::test]
async fn the_environment_is_scrubbed() {
    let (engineer, live) = Site::new(Scope::Shell).enter().await;
    let channel = engineer.channel_open_session().await.unwrap();
    channel.set_env(true, "LD_PRELOAD", "/tmp/x.so").await.unwrap();
    channel.exec(true, "env").await.unwrap();
    let heard = Heard::all(channel).await;
    for line in heard.text().lines().filter_map(|line| line.split_once('=').map(|(name, _)| name)) {
        let known = [
            "PATH",
            "LANG",
            "USER",
            "LOGNAME",
            "HOME",
            "TMPDIR",
            "SHELL",
            "DEMARC_SESSION",
            "PWD",
            "SHLVL",
            "_",
            "OLDPWD",
        ];
        assert!(known.contains(&line), "{line}");
    }
    drop(engineer);
    live.report().await;
}

#[tokio::test]
async fn what_the_scope_does_not_have_is_refused_and_noted() {
    let (engineer, live) = Site::new(Scope::Shell).enter().await;
    let heard = exec(&engineer, "scp -t .").await;
    assert_eq!(heard.status, Some(1));
    assert!(heard.words().contains("--scope files"), "{}", heard.words());
    let channel = engineer.channel_open_session().await.unwrap();
    channel.request_subsystem(true, "sftp").await.unwrap();
    let heard = Heard::all(channel).await;
    assert!(heard.words().contains("--scope files"));
    assert!(engineer.channel_open_direct_tcpip("127.0.0.1", 80, "127.0.0.1", 1).await.is_err());
    assert!(engineer.channel_open_direct_streamlocal("/run/x").await.is_err());
    assert!(engineer.tcpip_forward("0.0.0.0", 8022).await.is_err());
    let channel = engineer.channel_open_session().await.unwrap();
    channel.agent_forward(true).await.unwrap();
    channel.request_x11(true, false, "MIT-MAGIC-COOKIE-1", "00", 0).await.unwrap();
    channel.exec(true, "echo alive").await.unwrap();
    let heard = Heard::all(channel).await;
    assert!(heard.refused && heard.text() == "alive\n");
    drop(engineer);
    let (report, site) = live.report().await;
    assert_eq!(report.refused, 7, "{}", site.marks());
}
