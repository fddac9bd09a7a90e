//! Enrollments with a hub on loopback that is honest, forgetful or false.

use std::{fs, os::unix::fs::PermissionsExt, sync::Arc};

use demarc_proto::enroll::EnrollRefused;
use rcgen::CertificateSigningRequestParams;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::link::{identity::Identity, testing::Authority};

struct Hub {
    authority: Authority,
    listener: TcpListener,
    state: StateDir,
    _directory: tempfile::TempDir,
}

/// What the hub does with a request.
type Act = fn(&Authority, &EnrollRequest) -> Option<EnrollResponse>;

fn honest(authority: &Authority, request: &EnrollRequest) -> Option<EnrollResponse> {
    let csr = CertificateSigningRequestParams::from_der(&request.request.0.clone().into()).unwrap();
    let certificate = authority.certificate_for(request.site.as_str(), &csr.public_key, now() - 900, now() + 86_400);
    Some(EnrollResponse::Enrolled(Enrolled {
        chain: vec![Bytes64(certificate)],
        ca: Bytes64(authority.der()),
        receipt_key: Bytes64(vec![9; 32]),
    }))
}

impl Hub {
    async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self {
            authority: Authority::new("Demarc test CA"),
            listener: TcpListener::bind("127.0.0.1:0").await.unwrap(),
            state: StateDir::new(directory.path().join("state")),
            _directory: directory,
        }
    }

    fn token(&self) -> EnrollmentToken {
        EnrollmentToken {
            site: "site-one".parse().unwrap(),
            hub: self.listener.local_addr().unwrap().to_string(),
            ca_sha256: Bytes64(Sha256::digest(self.authority.der()).to_vec()),
            secret: Bytes64(vec![7; 32]),
            expires: now() + 60,
        }
    }

    /// Serves one enrollment.
    async fn serve(&self, act: Act) {
        let config = self.authority.server_config_for("127.0.0.1", now() - 60, now() + 600, ALPN_ENROLL, false);
        let (stream, _) = self.listener.accept().await.unwrap();
        let Ok(stream) = TlsAcceptor::from(Arc::new(config)).accept(stream).await else { return };
        let mut framed = Framed::new(stream, frame::codec(8 * 1024));
        let Some(Ok(payload)) = framed.next().await else { return };
        let request: EnrollRequest = frame::decode(&payload).unwrap();
        assert_eq!(request.secret.0, [7; 32]);
        if let Some(response) = act(&self.authority, &request) {
            framed.send(Bytes::from(frame::encode(&response))).await.unwrap();
            let _ = framed.next().await;
        }
    }

    /// Enrolls with a hub that acts so; returns what came of it, and what was entered in the ledger.
    async fn enroll(&self, token: &EnrollmentToken, again: bool, act: Act) -> (Result<Site, EnrollError>, Vec<String>) {
        let mut entered = vec![];
        let mut enter = |entry: &str| {
            entered.push(entry.to_owned());
            Ok(())
        };
        let options = EnrollOptions { again, ..EnrollOptions::default() };
        let result = tokio::select! {
            biased;
            result = enroll(token, &self.state, options, &mut enter) => result,
            () = async { self.serve(act).await; std::future::pending().await } => unreachable!(),
        };
        (result, entered)
    }

    async fn words(&self, token: &EnrollmentToken, act: Act) -> String {
        let (result, _) = self.enroll(token, true, act).await;
        let left: Vec<_> = fs::read_dir(self.state.link()).unwrap().collect();
        assert!(left.is_empty(), "nothing is left of a failed enrollment: {left:?}");
        assert!(!self.state.site_file().exists());
        result.unwrap_err().to_string()
    }
}

#[tokio::test]
async fn a_token_becomes_an_identity_once() {
    let hub = Hub::start().await;
    let (site, entered) = hub.enroll(&hub.token(), false, honest).await;
    let site = site.unwrap();
    let kept: Site = serde_json::from_slice(&fs::read(hub.state.site_file()).unwrap()).unwrap();
    assert_eq!(kept, site);
    assert_eq!((site.site.as_str(), &site.hub), ("site-one", &hub.token().hub));
    let first = Identity::load(&hub.state).unwrap();
    assert_eq!(first.facts().subject.as_deref(), Some("site-one"));
    for file in [identity::key_file(&hub.state), identity::chain_file(&hub.state), hub.state.site_file()] {
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600, "{file:?}");
        assert_eq!(fs::metadata(file.parent().unwrap()).unwrap().permissions().mode() & 0o777, 0o700, "{file:?}");
    }
    // The ledger has the request, and not the secret.
    let [entry] = &entered[..] else { panic!("{entered:?}") };
    let secret = data_encoding::BASE64.encode(&[7; 32]);
    assert!(entry.starts_with(r#"{"site":"site-one","secret_sha256":""#) && !entry.contains(&secret), "{entry}");
    assert!(entry.contains(&demarc_proto::receipt::body_hash(&[7; 32])), "{entry}");

    let (result, entered) = hub.enroll(&hub.token(), false, honest).await;
    assert!(matches!(result, Err(EnrollError::AlreadyEnrolled)) && entered.is_empty());
    hub.enroll(&hub.token(), true, honest).await.0.unwrap();
    assert_ne!(Identity::load(&hub.state).unwrap().public_key(), first.public_key());
}

#[tokio::test]
async fn what_is_wrong_with_a_token_in_words() {
    let hub = Hub::start().await;
    let token = hub.token();
    let words = hub.words(&token, |_, _| refusal(EnrollReason::UsedToken)).await;
    assert!(words.contains("was used before"), "{words}");
    let words = hub.words(&token, |_, _| refusal(EnrollReason::ExpiredToken)).await;
    assert!(words.contains("time is over, by the hub's clock"), "{words}");
    let words = hub.words(&token, |_, _| refusal(EnrollReason::UnknownToken)).await;
    assert!(words.contains("does not know this token"), "{words}");
    let words = hub.words(&token, |_, _| None).await;
    assert!(words.contains("hung up without an answer"), "{words}");

    let stranger = EnrollmentToken { ca_sha256: Bytes64(vec![1; 32]), ..token.clone() };
    let (result, entered) = hub.enroll(&stranger, false, honest).await;
    assert!(result.unwrap_err().to_string().contains("is not the hub that issued the token"));
    assert!(entered.is_empty(), "nothing was sent, so nothing is entered");
}

fn refusal(reason: EnrollReason) -> Option<EnrollResponse> {
    Some(EnrollResponse::Refused(EnrollRefused { reason }))
}

#[tokio::test]
async fn an_expired_token_and_a_full_ledger_send_nothing() {
    let hub = Hub::start().await;
    let expired = EnrollmentToken { expires: now() - 7300, ..hub.token() };
    let (result, _) = hub.enroll(&expired, false, honest).await;
    assert!(result.unwrap_err().to_string().contains("ended 2 hours ago"));

    let token = hub.token();
    let mut fail = |_: &str| anyhow::bail!("the disk is full");
    let result = tokio::select! {
        biased;
        result = enroll(&token, &hub.state, EnrollOptions::default(), &mut fail) => result,
        () = async { hub.serve(|_, _| panic!("nothing may arrive")).await; std::future::pending().await } => unreachable!(),
    };
    assert!(result.unwrap_err().to_string().contains("the disk is full"));
    assert!(!hub.state.site_file().exists());
}

#[tokio::test]
async fn a_false_answer_leaves_nothing_behind() {
    fn edited(authority: &Authority, request: &EnrollRequest, edit: fn(&mut Enrolled)) -> Option<EnrollResponse> {
        let Some(EnrollResponse::Enrolled(mut enrolled)) = honest(authority, request) else { unreachable!() };
        edit(&mut enrolled);
        Some(EnrollResponse::Enrolled(enrolled))
    }
    let hub = Hub::start().await;
    let token = hub.token();
    let words = hub.words(&token, |a, r| edited(a, r, |e| e.ca = Bytes64(Authority::new("x").der()))).await;
    assert!(words.contains("its authority is not the one"), "{words}");
    let words = hub.words(&token, |a, r| edited(a, r, |e| e.receipt_key.0.truncate(31))).await;
    assert!(words.contains("not an Ed25519 key"), "{words}");
    let words = hub.words(&token, |a, r| edited(a, r, |e| e.chain.clear())).await;
    assert!(words.contains("it cannot be read"), "{words}");
    let other_site =
        |a: &Authority, r: &EnrollRequest| honest(a, &EnrollRequest { site: "site-two".parse().unwrap(), ..r.clone() });
    let words = hub.words(&token, other_site).await;
    assert!(words.contains("it is for another site"), "{words}");
}
