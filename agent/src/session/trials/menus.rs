//! The scope `diagnose`.

use demarc_proto::support::Scope;

use super::super::testing::{Heard, Site, exec, shell};

#[tokio::test]
async fn a_command_of_the_menu_is_recorded_and_answered() {
    let (engineer, live) = Site::new(Scope::Diagnose).enter().await;
    let heard = exec(&engineer, "help").await;
    assert_eq!(heard.status, Some(0));
    assert!(live.site.shown().contains(heard.text().trim()));
    assert_ne!(exec(&engineer, "cat /etc/passwd").await.status, Some(0));
    drop(engineer);
    let (report, site) = live.report().await;
    assert_eq!(report.commands, ["help", "cat /etc/passwd"]);
    assert!(site.marks().contains("command: cat /etc/passwd"));
}

#[tokio::test]
async fn the_prompt_edits_lines_and_leaves() {
    let (engineer, live) = Site::new(Scope::Diagnose).enter().await;
    let mut channel = shell(&engineer).await;
    let mut heard = Heard::default();
    heard.until(&mut channel, "demarc> ").await;
    channel.data(&b"helx\x7fp\r"[..]).await.unwrap();
    heard.until(&mut channel, "helx\u{8} \u{8}p\r\n").await;
    channel.data(&b"abc\x03"[..]).await.unwrap();
    heard.until(&mut channel, "^C\r\ndemarc> ").await;
    channel.data(&b"\x04"[..]).await.unwrap();
    assert_eq!(Heard::all(channel).await.status, Some(0));
    let plain = engineer.channel_open_session().await.unwrap();
    plain.request_shell(true).await.unwrap();
    plain.data(&b"help\nexit\n"[..]).await.unwrap();
    let heard = Heard::all(plain).await;
    assert!(heard.text().contains("demarc> ") && !heard.text().contains('\r'), "{}", heard.text());
    drop(engineer);
    let (report, _) = live.report().await;
    assert_eq!(report.commands, ["help", "help"]);
}
