//! Who is let in, and who is not.

use demarc_proto::{
    bytes64::Bytes64,
    enroll::{EnrollReason, EnrollRefused, EnrollRequest, EnrollResponse},
    frame,
};
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P384_SHA384, PKCS_ED25519};

use crate::{
    agent::{Tunnel, enroll, exchange, new_key, request_for, try_enroll},
    hub::{Hub, succeed},
};

#[tokio::test]
async fn a_token_lets_one_key_in_once() {
    let hub = Hub::start();
    let token = hub.token("site-one");
    let thief = token.clone();
    assert!(try_enroll(&hub, &token, &new_key()).await.is_ok());
    // Stolen, and used a second time.
    assert_eq!(try_enroll(&hub, &thief, &new_key()).await.unwrap_err(), EnrollReason::UsedToken);
    hub.says("used before").await;
}

#[tokio::test]
async fn tokens_that_are_not_good_are_told_apart() {
    let hub = Hub::start();
    let mut unknown = hub.token("site-one");
    unknown.secret = Bytes64(vec![7; 32]);
    assert_eq!(try_enroll(&hub, &unknown, &new_key()).await.unwrap_err(), EnrollReason::UnknownToken);

    let mut other_site = hub.token("site-one");
    other_site.site = "site-two".parse().unwrap();
    assert_eq!(try_enroll(&hub, &other_site, &new_key()).await.unwrap_err(), EnrollReason::UnknownToken);

    let expired = succeed(&mut hub.command(&["token", "site-one", "--valid", "1s"])).parse().unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(2100)).await;
    assert_eq!(try_enroll(&hub, &expired, &new_key()).await.unwrap_err(), EnrollReason::ExpiredToken);
}

#[tokio::test]
async fn a_bad_request_does_not_use_the_token_up() {
    let hub = Hub::start();
    let token = hub.token("site-one");
    let mut forged = request_for(&new_key());
    *forged.0.last_mut().unwrap() ^= 1;
    let other_curve = request_for(&KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap());
    for request in [forged, other_curve, Bytes64(b"garbage".to_vec())] {
        let request = EnrollRequest { site: token.site.clone(), secret: token.secret.clone(), request };
        let Some(EnrollResponse::Refused(EnrollRefused { reason })) = exchange(&hub, &frame::encode(&request)).await
        else {
            panic!("not refused");
        };
        assert_eq!(reason, EnrollReason::BadRequest);
    }
    assert!(try_enroll(&hub, &token, &KeyPair::generate_for(&PKCS_ED25519).unwrap()).await.is_ok());
}

#[tokio::test]
async fn a_site_cannot_choose_its_name_or_rights() {
    let hub = Hub::start();
    let token = hub.token("site-one");
    let key = new_key();
    let mut wishes = CertificateParams::new(vec!["site-two.site.demarc".into()]).unwrap();
    wishes.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let request = EnrollRequest {
        site: token.site.clone(),
        secret: token.secret.clone(),
        request: Bytes64(wishes.serialize_request(&key).unwrap().der().to_vec()),
    };
    let Some(EnrollResponse::Enrolled(enrolled)) = exchange(&hub, &frame::encode(&request)).await else {
        panic!("not enrolled");
    };
    let (_, certificate) = x509_parser::parse_x509_certificate(&enrolled.chain[0].0).unwrap();
    assert!(!certificate.is_ca());
    assert_eq!(certificate.subject().to_string(), "CN=site-one");
    let names = certificate.subject_alternative_name().unwrap().unwrap();
    assert_eq!(format!("{:?}", names.value.general_names), "[DNSName(\"site-one.site.demarc\")]");
    assert!(certificate.extended_key_usage().unwrap().unwrap().value.client_auth);
    let validity = certificate.validity();
    assert_eq!(validity.not_after.timestamp() - validity.not_before.timestamp(), 90 * 86_400 + 15 * 60);
}

#[tokio::test]
async fn garbage_gets_no_answer_and_then_no_attention() {
    let hub = Hub::start_with("[limits]\nfailed_enrollments_per_minute = 3\n");
    let token = hub.token("site-one");
    for garbage in [&b"garbage"[..], b"{}", &vec![b' '; 60_000]] {
        assert!(exchange(&hub, garbage).await.is_none());
    }
    // Even a good token has to wait now, which is why the limit counts failures only.
    let request = EnrollRequest { site: token.site, secret: token.secret, request: request_for(&new_key()) };
    assert!(exchange(&hub, &frame::encode(&request)).await.is_none());
}

#[tokio::test]
async fn enrolling_again_shuts_the_earlier_key_out() {
    let hub = Hub::start();
    let before = enroll(&hub, "site-one").await;
    let live = Tunnel::open(&hub, &before).await;
    let after = enroll(&hub, "site-one").await;
    // Both the tunnel that is up and every later one.
    live.closed().await;
    assert!(Tunnel::silent(&hub, Some(&before)).await.is_none());
    hub.says("the key that the site had before is shut out").await;
    hub.says("its key is not, or no longer, the site's").await;
    Tunnel::open(&hub, &after).await;
}
