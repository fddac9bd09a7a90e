//! Who is let in.

use std::sync::Arc;

use demarc_proto::support::Scope;
use russh::keys::{Certificate, PrivateKeyWithHashAlg, ssh_key::certificate::CertType};

use super::super::testing::{ENGINEER, Made, Site, connect, exec, key};
use crate::support::End;

#[tokio::test]
async fn the_granted_engineer_is_let_in_and_told_to_the_supervisor() {
    let (engineer, mut live) = Site::new(Scope::Shell).enter().await;
    assert_eq!(live.let_in.recv().await.as_deref(), Some("anna"));
    assert_eq!(exec(&engineer, "exit 3").await.status, Some(3));
    drop(engineer);
    let (report, site) = live.report().await;
    assert_eq!((report.end, report.engineer.as_deref()), (End::Closed, Some("anna")));
    assert!(site.marks().contains("let in: anna (certificate 42, key SHA256:"), "{}", site.marks());
}

#[tokio::test]
async fn a_bare_key_a_password_and_nothing_at_all_are_refused() {
    let (stream, live) = Site::new(Scope::Shell).begin();
    let mut stranger = connect(stream).await;
    assert!(!stranger.authenticate_none("root").await.unwrap().success());
    assert!(!stranger.authenticate_password("root", "x").await.unwrap().success());
    let bare = PrivateKeyWithHashAlg::new(Arc::new(key(ENGINEER)), None);
    assert!(!stranger.authenticate_publickey("root", bare).await.unwrap().success());
    assert!(stranger.channel_open_session().await.is_err());
    drop(stranger);
    let (report, site) = live.report().await;
    assert_eq!((report.end, report.engineer, report.refused), (End::NotLetIn, None, 1));
    assert!(site.marks().contains("refused: a bare key (ssh-ed25519)"), "{}", site.marks());
}

#[tokio::test]
async fn a_wrong_certificate_is_refused_over_ssh_too() {
    let wrong: [fn(&mut Made); 3] = [
        |made| made.authority = key(9),
        |made| made.kind = CertType::Host,
        |made| made.principals.push("site-two".to_owned()),
    ];
    for spoil in wrong {
        let (stream, live) = Site::new(Scope::Shell).begin();
        let certificate: Certificate = {
            let mut made = Made::good(&live.site.settings.grant);
            spoil(&mut made);
            made.sign()
        };
        let mut stranger = connect(stream).await;
        let answer = stranger.authenticate_openssh_cert("root", Arc::new(key(ENGINEER)), certificate).await.unwrap();
        assert!(!answer.success());
        drop(stranger);
        let (report, site) = live.report().await;
        assert_eq!((report.end, report.refused), (End::NotLetIn, 1));
        assert!(site.marks().contains("refused: the certificate of anna (serial 42)"), "{}", site.marks());
    }
}

#[tokio::test]
async fn a_certificate_without_its_key_is_worth_nothing() {
    let (stream, live) = Site::new(Scope::Shell).begin();
    let certificate = Made::good(&live.site.settings.grant).sign();
    let mut thief = connect(stream).await;
    let answer = thief.authenticate_openssh_cert("root", Arc::new(key(9)), certificate).await;
    assert!(!answer.is_ok_and(|answer| answer.success()));
    drop(thief);
    assert_eq!(live.report().await.0.end, End::NotLetIn);
}
