//! The scope `files`.

use demarc_proto::support::Scope;
use russh_sftp::{
    client::{RawSftpSession, SftpSession},
    protocol::{FileAttributes, OpenFlags, StatusCode},
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::super::testing::{Client, Heard, Site, exec};

async fn subsystem(engineer: &russh::client::Handle<Client>) -> russh::ChannelStream<russh::client::Msg> {
    let channel = engineer.channel_open_session().await.unwrap();
    channel.request_subsystem(true, "sftp").await.unwrap();
    channel.into_stream()
}

#[tokio::test]
async fn files_go_in_and_out_and_stand_in_the_receipt() {
    let (engineer, live) = Site::new(Scope::Files).enter().await;
    let sftp = SftpSession::new(subsystem(&engineer).await).await.unwrap();
    assert_eq!(sftp.canonicalize(".").await.unwrap(), "/");
    let content: Vec<u8> = (0..300_000_u32).flat_map(u32::to_le_bytes).collect();
    let mut file = sftp.create("patch.bin").await.unwrap();
    file.write_all(&content).await.unwrap();
    file.shutdown().await.unwrap();
    drop(file);
    assert_eq!(std::fs::read(live.site.settings.scratch.join("patch.bin")).unwrap(), content);
    let mut back = Vec::new();
    sftp.open("/patch.bin").await.unwrap().read_to_end(&mut back).await.unwrap();
    assert!(back == content);
    sftp.create_dir("logs").await.unwrap();
    sftp.rename("patch.bin", "logs/patch").await.unwrap();
    let names: Vec<String> = sftp.read_dir("logs").await.unwrap().map(|entry| entry.file_name()).collect();
    assert_eq!(names, ["patch"]);
    sftp.remove_file("logs/patch").await.unwrap();
    sftp.remove_dir("logs").await.unwrap();
    sftp.close().await.unwrap();
    drop((sftp, engineer));
    let (report, site) = live.report().await;
    assert_eq!(report.files[0], "put /patch.bin (1200000 bytes)");
    assert!(report.files[1].starts_with("get /patch.bin (1200000 bytes"), "{:?}", report.files);
    let marks = site.marks();
    for mark in
        ["put /patch.bin begins", "rename /patch.bin to /logs/patch", "remove /logs/patch", "make directory /logs"]
    {
        assert!(marks.contains(mark), "{mark} in {marks}");
    }
    assert!(report.bytes_in > 1_200_000 && report.bytes_out > 1_200_000);
}

#[tokio::test]
async fn no_way_leads_out_and_each_try_is_noted() {
    let site = Site::new(Scope::Files);
    let secret = site.directory.path().join("secret");
    std::fs::write(&secret, "secret").unwrap();
    std::os::unix::fs::symlink(&secret, site.settings.scratch.join("door")).unwrap();
    let (engineer, live) = site.enter().await;
    let sftp = RawSftpSession::new(subsystem(&engineer).await);
    sftp.init().await.unwrap();
    let attributes = FileAttributes::default;
    for out in ["../secret", "/../secret", "a/../../secret", "door"] {
        assert!(sftp.open(out, OpenFlags::READ, attributes()).await.is_err(), "{out}");
        assert!(sftp.open(out, OpenFlags::WRITE | OpenFlags::CREATE, attributes()).await.is_err(), "{out}");
    }
    assert!(sftp.open(secret.to_str().unwrap(), OpenFlags::READ, attributes()).await.is_err());
    assert!(sftp.symlink("/link", "/etc/passwd").await.is_err());
    assert!(sftp.readlink("door").await.is_err());
    assert!(sftp.opendir("..").await.is_err());
    assert!(sftp.rename("door", "../out").await.is_err());
    assert!(sftp.realpath("/../..").await.is_err());
    assert!(sftp.read("17", 0, 10).await.is_err());
    let far = sftp.open("far", OpenFlags::WRITE | OpenFlags::CREATE, attributes()).await.unwrap();
    let refused = sftp.write(far.handle.as_str(), u64::MAX, b"x".to_vec()).await;
    assert!(
        matches!(refused, Err(russh_sftp::client::error::Error::Status(status)) if status.status_code == StatusCode::Failure)
    );
    drop(sftp);
    let heard = exec(&engineer, "id").await;
    assert!(heard.words().contains("file transfer only") && heard.status == Some(1));
    let channel = engineer.channel_open_session().await.unwrap();
    channel.request_subsystem(true, "netconf").await.unwrap();
    assert!(Heard::all(channel).await.words().contains("no subsystem netconf"));
    drop(engineer);
    let (report, site) = live.report().await;
    let marks = site.marks();
    assert!(marks.contains("refused: a way out of the scratch directory: ../secret"), "{marks}");
    assert!(marks.contains("refused: a link between"), "{marks}");
    assert!(report.refused >= 12, "{}", report.refused);
    assert_eq!(std::fs::read_to_string(secret).unwrap(), "secret");
}
