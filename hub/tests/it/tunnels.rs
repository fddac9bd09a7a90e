//! Tunnels: who may have one, who takes whose place, and what ends them.

use demarc_proto::{ToAgent, ToHub, frame, message::Hello};
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, Issuer, KeyPair, SanType};

use crate::{
    agent::{Site, Tunnel, ca_of, enroll, hello, new_key, renew, report, request_for, soon, upload},
    hub::Hub,
};

/// A certificate made outside the hub, for that key, from now - `ago` to now + `ahead` seconds.
fn forge(issuer: &Issuer<'_, KeyPair>, site: &str, key: &KeyPair, ago: u64, ahead: i64) -> Site {
    let now = std::time::SystemTime::now();
    let shift = |seconds: i64| {
        let distance = std::time::Duration::from_secs(seconds.unsigned_abs());
        if seconds < 0 { now - distance } else { now + distance }
    };
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, site);
    params.subject_alt_names = vec![SanType::DnsName(format!("{site}.site.demarc").try_into().unwrap())];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params.not_before = shift(-i64::try_from(ago).unwrap()).into();
    params.not_after = shift(ahead).into();
    let der = params.signed_by(key, issuer).unwrap().der().clone();
    let key = KeyPair::from_pem(&key.serialize_pem()).unwrap();
    Site { key, chain: vec![der], receipt_key: vec![] }
}

fn hub_issuer(hub: &Hub) -> Issuer<'static, KeyPair> {
    let key = KeyPair::from_pem(&std::fs::read_to_string(hub.path().join("ca-key.pem")).unwrap()).unwrap();
    Issuer::from_ca_cert_der(&ca_of(hub), key).unwrap()
}

#[tokio::test]
async fn only_a_certificate_of_this_hub_opens_a_tunnel() {
    let hub = Hub::start();
    let site = enroll(&hub, "site-one").await;
    assert!(Tunnel::silent(&hub, None).await.is_none(), "no certificate");

    let mut foreign = CertificateParams::default();
    foreign.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let foreign = Issuer::new(foreign, new_key());
    assert!(Tunnel::silent(&hub, Some(&forge(&foreign, "site-one", &site.key, 60, 60))).await.is_none(), "foreign");

    // Same name, same hub's signature, but a key that was never enrolled.
    let issuer = hub_issuer(&hub);
    assert!(Tunnel::silent(&hub, Some(&forge(&issuer, "site-one", &new_key(), 60, 60))).await.is_none(), "other key");
    assert!(Tunnel::silent(&hub, Some(&forge(&issuer, "site-two", &site.key, 60, 60))).await.is_none(), "other name");
    assert!(Tunnel::silent(&hub, Some(&forge(&issuer, "site-one", &site.key, 60, 60))).await.is_some());
}

#[tokio::test]
async fn the_newer_connection_takes_the_place_at_once() {
    let hub = Hub::start();
    let (one, two) = (enroll(&hub, "site-one").await, enroll(&hub, "site-two").await);
    let first = Tunnel::open(&hub, &one).await;
    let mut bystander = Tunnel::open(&hub, &two).await;
    let mut second = Tunnel::open(&hub, &one).await;
    first.closed().await;
    for (tunnel, name) in [(&mut second, "site-one"), (&mut bystander, "site-two")] {
        let answer = tunnel.ask(&upload(name, &report(1, 12).to_body())).await;
        assert!(matches!(answer, Some(ToAgent::Receipt(_))), "{answer:?}");
    }
}

#[tokio::test]
async fn an_ended_certificate_may_renew_and_nothing_else() {
    let hub = Hub::start();
    let site = enroll(&hub, "site-one").await;
    let ended = forge(&hub_issuer(&hub), "site-one", &site.key, 100_000, -50_000);

    let mut tunnel = Tunnel::open(&hub, &ended).await;
    assert_eq!(tunnel.ask(&upload("site-one", &report(1, 12).to_body())).await, None);
    tunnel.closed().await;
    assert_eq!(hub.reports("site-one"), 0);

    let mut tunnel = Tunnel::open(&hub, &ended).await;
    let Some(ToAgent::Certificate(fresh)) = tunnel.ask(&renew(&site.key)).await else { panic!("no certificate") };
    let chain = fresh.chain.into_iter().map(|der| der.0.into()).collect();
    let renewed = Site { key: site.key, chain, receipt_key: site.receipt_key };
    let mut tunnel = Tunnel::open(&hub, &renewed).await;
    let answer = tunnel.ask(&upload("site-one", &report(1, 12).to_body())).await;
    assert!(matches!(answer, Some(ToAgent::Receipt(_))));

    // Ended, and of somebody else at that: not even that.
    let thief = forge(&hub_issuer(&hub), "site-one", &new_key(), 100_000, -50_000);
    assert!(Tunnel::silent(&hub, Some(&thief)).await.is_none());
}

#[tokio::test]
async fn a_renewal_is_for_the_own_key_only() {
    let hub = Hub::start();
    let site = enroll(&hub, "site-one").await;
    let mut tunnel = Tunnel::open(&hub, &site).await;
    assert_eq!(tunnel.ask(&renew(&new_key())).await, None);
    tunnel.closed().await;
    let mut tunnel = Tunnel::open(&hub, &site).await;
    assert!(matches!(tunnel.ask(&renew(&site.key)).await, Some(ToAgent::Certificate(_))));
    let mut forged = request_for(&site.key);
    *forged.0.last_mut().unwrap() ^= 1;
    let forged = ToHub::Renew(demarc_proto::message::Renew { request: forged });
    assert_eq!(tunnel.ask(&forged).await, None);
}

#[tokio::test]
async fn whatever_is_no_message_ends_the_tunnel_and_only_that() {
    let hub = Hub::start();
    let site = enroll(&hub, "site-one").await;
    let other = enroll(&hub, "site-two").await;
    let mut bystander = Tunnel::open(&hub, &other).await;
    let long = u32::try_from(frame::MAX_TO_HUB + 1).unwrap().to_be_bytes().to_vec();
    let mut framed = b"\0\0\0\x07garbage".to_vec();
    framed.extend_from_slice(b"\0\0\0\x02{}");
    for garbage in
        [long, vec![0xff; 64], framed, b"\0\0\0\x2e{\"type\":\"Run\",\"command\":\"5551234567 cat shadow\"}".to_vec()]
    {
        let mut tunnel = Tunnel::open(&hub, &site).await;
        tunnel.push(garbage);
        assert_eq!(tunnel.hear().await, None);
        tunnel.closed().await;
    }
    let mut twice = Tunnel::open(&hub, &site).await;
    assert_eq!(twice.ask(&hello()).await, None);
    twice.closed().await;
    assert!(matches!(bystander.ask(&renew(&other.key)).await, Some(ToAgent::Certificate(_))));
    hub.says("closing a tunnel").await;
    assert!(!hub.log().contains("5551234567"), "the log repeats what a site sent: {}", hub.log());
}

#[tokio::test]
async fn the_first_word_is_hello() {
    let hub = Hub::start();
    let site = enroll(&hub, "site-one").await;
    let mut rude = Tunnel::silent(&hub, Some(&site)).await.unwrap();
    assert_eq!(rude.ask(&upload("site-one", &report(1, 12).to_body())).await, None);
    rude.closed().await;
    assert_eq!(hub.reports("site-one"), 0);
    // A later protocol is told which one is spoken here.
    let mut later = Tunnel::silent(&hub, Some(&site)).await.unwrap();
    let answer = later.ask(&ToHub::Hello(Hello { protocol: 2, version: [9, 0, 0], schemas: vec![1, 2] })).await;
    assert!(matches!(answer, Some(ToAgent::Welcome(welcome)) if welcome.protocol == 1));
    assert_eq!(later.hear().await, None);
}

#[tokio::test]
async fn a_site_that_sends_too_fast_waits_and_loses_nothing() {
    let hub = Hub::start_with("[limits]\nmessages_per_minute = 60\nmessage_burst = 5\n");
    let site = enroll(&hub, "site-one").await;
    let mut tunnel = Tunnel::open(&hub, &site).await;
    let begin = std::time::Instant::now();
    for number in 0..6 {
        tunnel.say(&upload("site-one", &report(number, 12).to_body()));
    }
    for _ in 0..6 {
        assert!(matches!(tunnel.hear().await, Some(ToAgent::Receipt(_))));
    }
    // Hello took none of the burst, the connection took one: two of the six had to wait a second each.
    assert!(begin.elapsed() > std::time::Duration::from_millis(1500), "{:?}", begin.elapsed());
    assert_eq!(hub.reports("site-one"), 6);
    // And whoever keeps coming is not even let in.
    drop(tunnel);
    assert!(soon(Tunnel::silent(&hub, Some(&site))).await.is_none());
}
