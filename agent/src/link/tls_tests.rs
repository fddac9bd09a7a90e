//! Each way in which a handshake can fail, played by a server on loopback, and the words for it.

use std::net::SocketAddr;

use demarc_proto::ALPN_TUNNEL;
use rcgen::KeyPair;
use rustls::{ServerConfig, pki_types::PrivatePkcs8KeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::{
    link::{
        identity::{new_key, stage_key, store_chain},
        testing::{Authority, now},
    },
    staged::private_directory,
    state::StateDir,
};

const WITHIN: Duration = Duration::from_secs(5);
const NAME: &str = "Demarc test CA";

fn identity(authority: &Authority) -> Identity {
    let directory = tempfile::tempdir().unwrap();
    let state = StateDir::new(directory.path());
    private_directory(&state.link()).unwrap();
    let key = new_key().unwrap();
    stage_key(&state, &key).unwrap().commit().unwrap();
    store_chain(&state, &[authority.site_certificate("site-one", &key, now() - 60, now() + 600).into()]).unwrap();
    Identity::load(&state).unwrap()
}

async fn listen() -> (TcpListener, Endpoint, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address.to_string().parse().unwrap(), address)
}

/// Shakes hands with a server of that configuration; on success reads until the server has looked at our certificate.
async fn shake(server: ServerConfig, trust: Trust, identity: Option<&Identity>) -> Result<(), LinkError> {
    let (listener, hub, address) = listen().await;
    let server = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        if let Ok(mut stream) = TlsAcceptor::from(Arc::new(server)).accept(stream).await {
            let _ = stream.write_all(b"x").await;
            let _ = stream.read(&mut [0]).await;
        }
    });
    let stream = TcpStream::connect(address).await.unwrap();
    let shaken = handshake(stream, &hub, trust, identity, ALPN_TUNNEL, WITHIN).await;
    let result = match shaken {
        Ok(mut stream) => {
            let version = stream.get_ref().1.protocol_version();
            assert_eq!(version, Some(rustls::ProtocolVersion::TLSv1_3));
            stream.read_u8().await.map(drop).map_err(|error| LinkError::in_handshake(&hub.to_string(), &error))
        }
        Err(error) => Err(error),
    };
    server.abort();
    result
}

fn ours(authority: &Authority) -> Trust {
    Trust::Authority(authority.der())
}

#[tokio::test]
async fn a_good_hub_is_believed_and_the_exchange_is_post_quantum() {
    let authority = Authority::new(NAME);
    let identity = identity(&authority);
    shake(authority.server_config(ALPN_TUNNEL), ours(&authority), Some(&identity)).await.unwrap();
    let fingerprint = Trust::Fingerprint(Sha256::digest(authority.der()).to_vec());
    shake(authority.server_config(ALPN_TUNNEL), fingerprint, Some(&identity)).await.unwrap();
    let first = provider().kx_groups[0].name();
    assert_eq!(first, rustls::NamedGroup::X25519MLKEM768);
}

#[tokio::test]
async fn another_authority_is_named() {
    let (authority, inspector) = (Authority::new(NAME), Authority::new("Corp\u{1b}[31m TLS Inspection CA"));
    let identity = identity(&authority);
    let error = shake(inspector.server_config(ALPN_TUNNEL), ours(&authority), Some(&identity)).await.unwrap_err();
    let words = error.to_string();
    assert!(matches!(error, LinkError::Intercepted { .. }), "{words}");
    assert!(
        words.contains("is being intercepted: the certificate presented was issued by \"Corp[31m TLS Inspection CA\""),
        "{words}"
    );

    let imitation = Authority::new(NAME);
    let error = shake(imitation.server_config(ALPN_TUNNEL), ours(&authority), Some(&identity)).await.unwrap_err();
    assert!(matches!(error, LinkError::OtherAuthority { .. }), "{error}");

    let fingerprint = Trust::Fingerprint(Sha256::digest(authority.der()).to_vec());
    let error = shake(inspector.server_config(ALPN_TUNNEL), fingerprint, None).await.unwrap_err();
    assert!(error.to_string().contains("is not the hub that issued the token"), "{error}");
}

#[tokio::test]
async fn an_authority_sent_along_does_not_vouch_for_another_ones_certificate() {
    let (authority, stranger) = (Authority::new(NAME), Authority::new("Stranger"));
    let key = KeyPair::generate().unwrap();
    // The stranger's certificate with our authority beside it, as a thief of public certificates would send it.
    let chain =
        vec![stranger.server_certificate("127.0.0.1", &key, now() - 60, now() + 600).into(), authority.der().into()];
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, PrivatePkcs8KeyDer::from(key.serialize_der()).into())
        .unwrap();
    config.alpn_protocols = vec![ALPN_TUNNEL.to_vec()];
    let fingerprint = Trust::Fingerprint(Sha256::digest(authority.der()).to_vec());
    let error = shake(config, fingerprint, None).await.unwrap_err();
    assert!(matches!(error, LinkError::Intercepted { .. }), "{error}");
}

#[tokio::test]
async fn clocks_and_names_in_words() {
    let authority = Authority::new(NAME);
    let identity = identity(&authority);
    let now = now();
    let said = |name: &'static str, from, until| {
        let config = authority.server_config_for(name, from, until, ALPN_TUNNEL, true);
        let shaking = shake(config, ours(&authority), Some(&identity));
        async move { shaking.await.unwrap_err().to_string() }
    };
    let words = said("127.0.0.1", now + 7200 + 60, now + 86_400).await;
    assert!(words.contains("clock is at least 2 hours behind"), "{words}");
    let words = said("127.0.0.1", now - 86_400 * 90, now - 86_400 * 3 - 60).await;
    assert!(words.contains("ended 3 days ago"), "{words}");
    let words = said("hub.example", now - 60, now + 600).await;
    assert!(words.contains("is for another name (hub.example)"), "{words}");
}

#[tokio::test]
async fn who_is_no_hub_is_told_so() {
    let authority = Authority::new(NAME);
    let identity = identity(&authority);
    let error = shake(authority.server_config(b"h2"), ours(&authority), Some(&identity)).await.unwrap_err();
    assert!(error.to_string().contains("is not a demarc hub: it does not know our protocol"), "{error}");
    let mut silent_about_alpn = authority.server_config(b"x");
    silent_about_alpn.alpn_protocols.clear();
    let error = shake(silent_about_alpn, ours(&authority), Some(&identity)).await.unwrap_err();
    assert!(matches!(error, LinkError::NotAHub { .. }), "{error}");
}

#[tokio::test]
async fn a_hub_that_refuses_our_certificate() {
    let (authority, other) = (Authority::new(NAME), Authority::new(NAME));
    let stranger = identity(&other);
    let error = shake(authority.server_config(ALPN_TUNNEL), ours(&authority), Some(&stranger)).await.unwrap_err();
    assert!(matches!(error, LinkError::CertificateRefused { .. }), "{error}");
    let error = shake(authority.server_config(ALPN_TUNNEL), ours(&authority), None).await.unwrap_err();
    assert!(error.to_string().contains("none arrived"), "{error}");
}

/// Shakes hands with a server that speaks no TLS.
async fn meet(answer: &'static [u8], within: Duration) -> LinkError {
    let (listener, hub, address) = listen().await;
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = stream.read(&mut [0; 4096]).await;
        let _ = stream.write_all(answer).await;
        if answer.is_empty() {
            std::future::pending::<()>().await;
        }
        if answer == b"reset" {
            stream.set_zero_linger().unwrap();
        }
    });
    let stream = TcpStream::connect(address).await.unwrap();
    let trust = Trust::Authority(Authority::new(NAME).der());
    let error = handshake(stream, &hub, trust, None, ALPN_TUNNEL, within).await.unwrap_err();
    server.abort();
    error
}

#[tokio::test]
async fn servers_without_tls() {
    let error = meet(b"HTTP/1.1 400 Bad Request\r\n\r\n", WITHIN).await;
    assert!(error.to_string().contains("it does not speak TLS"), "{error}");
    // An alert: fatal, protocol version.
    let error = meet(&[0x15, 3, 3, 0, 2, 2, 70], WITHIN).await;
    assert!(error.to_string().contains("it does not speak TLS 1.3"), "{error}");
    let error = meet(&[0x16, 3, 3], WITHIN).await;
    assert!(matches!(error, LinkError::CutInHandshake { .. }), "{error}");
    let error = meet(b"", Duration::from_millis(50)).await;
    assert!(matches!(error, LinkError::SilentInHandshake { .. }), "{error}");
}
