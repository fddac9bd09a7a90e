//! An authority, a hub and a supervisor for the tests of the link.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use aws_lc_rs::signature::Ed25519KeyPair;
use bytes::{Bytes, BytesMut};
use demarc_proto::{
    ALPN_TUNNEL, CONTROL_PATH, Cell, PROTOCOL, Receipt, Report, ReportId, SCHEMA, ToAgent, ToHub, Window,
    frame::{self, MAX_TO_HUB},
    message::{ReportMessage, Welcome},
    report::{Destination, DestinationGroup, Mechanism, SecondsGroup, VolumeGroup},
};
use h2::{RecvStream, SendStream, client::SendRequest};
use http::Request;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    PublicKeyData,
};
use rustls::{
    RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivatePkcs8KeyDer},
    server::WebPkiClientVerifier,
};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_util::codec::Decoder;

use super::certificate::provider;

pub(crate) use super::now;

/// A certificate authority.
pub(crate) struct Authority {
    der: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name = named(name);
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let der = parameters.self_signed(&key).unwrap().der().clone();
        Self { der, issuer: Issuer::new(parameters, key) }
    }

    pub(crate) fn der(&self) -> Vec<u8> {
        self.der.to_vec()
    }

    pub(crate) fn site_certificate(&self, site: &str, key: &KeyPair, from: u64, until: u64) -> Vec<u8> {
        self.certificate_for(site, key, from, until)
    }

    pub(crate) fn certificate_for(&self, site: &str, key: &impl PublicKeyData, from: u64, until: u64) -> Vec<u8> {
        self.issue(CertificateParams::default(), site, ExtendedKeyUsagePurpose::ClientAuth, key, from, until)
    }

    pub(crate) fn server_certificate(&self, name: &str, key: &KeyPair, from: u64, until: u64) -> Vec<u8> {
        let parameters = CertificateParams::new([name.to_owned()]).unwrap();
        self.issue(parameters, "hub", ExtendedKeyUsagePurpose::ServerAuth, key, from, until)
    }

    fn issue(
        &self,
        mut parameters: CertificateParams,
        name: &str,
        usage: ExtendedKeyUsagePurpose,
        key: &impl PublicKeyData,
        from: u64,
        until: u64,
    ) -> Vec<u8> {
        parameters.distinguished_name = named(name);
        parameters.extended_key_usages = vec![usage];
        parameters.not_before = moment(from).into();
        parameters.not_after = moment(until).into();
        parameters.signed_by(key, &self.issuer).unwrap().der().to_vec()
    }

    /// A hub's side of TLS with a certificate for 127.0.0.1, which sends the authority along.
    pub(crate) fn server_config(&self, alpn: &[u8]) -> ServerConfig {
        self.server_config_for("127.0.0.1", now() - 900, now() + 86_400, alpn, true)
    }

    pub(crate) fn server_config_for(
        &self,
        name: &str,
        from: u64,
        until: u64,
        alpn: &[u8],
        mutual: bool,
    ) -> ServerConfig {
        let key = KeyPair::generate().unwrap();
        let chain = vec![self.server_certificate(name, &key, from, until).into(), self.der.clone()];
        let builder =
            ServerConfig::builder_with_provider(provider()).with_protocol_versions(&[&rustls::version::TLS13]);
        let mut roots = RootCertStore::empty();
        roots.add(self.der.clone()).unwrap();
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider());
        let builder = match mutual {
            true => builder.unwrap().with_client_cert_verifier(verifier.build().unwrap()),
            false => builder.unwrap().with_no_client_auth(),
        };
        let key = PrivatePkcs8KeyDer::from(key.serialize_der());
        let mut config = builder.with_single_cert(chain, key.into()).unwrap();
        config.alpn_protocols = vec![alpn.to_vec()];
        config
    }
}

fn named(name: &str) -> DistinguishedName {
    let mut full = DistinguishedName::new();
    full.push(DnType::CommonName, name);
    full
}

fn moment(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

/// The body of a report that passes every check.
pub(crate) fn report_body(id: ReportId, start: u64) -> String {
    let seconds = vec![SecondsGroup { from_seconds: 0, to_seconds: None, calls: 12 }];
    let report = Report {
        schema: SCHEMA,
        id,
        window: Window { start, seconds: 60 },
        mechanism: Mechanism::KAnonymous,
        floor: 10,
        volume: vec![VolumeGroup { from_hour: 0, hours: 1, cells: Cell::all().collect(), calls: 12 }],
        talk: seconds.clone(),
        wait: seconds,
        destination: vec![DestinationGroup { classes: Destination::ALL.to_vec(), calls: 12 }],
        quality: vec![],
        peak_concurrency: 2,
    };
    report.check(10).unwrap();
    report.to_body()
}

/// A hub on loopback that does what a test tells it.
pub(crate) struct Hub {
    pub(crate) authority: Authority,
    pub(crate) receipt_key: Ed25519KeyPair,
    listener: TcpListener,
    /// Whether sites must show a certificate; a test with an expired one lets them in without.
    pub(crate) mutual: bool,
}

impl Hub {
    pub(crate) async fn start() -> Self {
        Self {
            authority: Authority::new("Demarc test CA"),
            receipt_key: Ed25519KeyPair::generate().unwrap(),
            listener: TcpListener::bind("127.0.0.1:0").await.unwrap(),
            mutual: true,
        }
    }

    pub(crate) fn address(&self) -> String {
        self.listener.local_addr().unwrap().to_string()
    }

    /// A bare TCP connection.
    pub(crate) async fn accept_tcp(&self) -> TcpStream {
        self.listener.accept().await.unwrap().0
    }

    /// A connection up to TLS.
    pub(crate) async fn accept_tls(&self) -> TlsStream<TcpStream> {
        let config =
            self.authority.server_config_for("127.0.0.1", now() - 900, now() + 86_400, ALPN_TUNNEL, self.mutual);
        TlsAcceptor::from(Arc::new(config)).accept(self.accept_tcp().await).await.unwrap()
    }

    /// A connection up to the open control stream.
    pub(crate) async fn accept(&self) -> Line {
        let stream = self.accept_tls().await;
        let (requests, connection) = h2::client::handshake(stream).await.unwrap();
        let driver = tokio::spawn(async move { drop(connection.await) });
        let mut requests = requests.ready().await.unwrap();
        let request = Request::post(format!("https://site{CONTROL_PATH}")).body(()).unwrap();
        let (response, outgoing) = requests.send_request(request, false).unwrap();
        let incoming = response.await.unwrap().into_body();
        Line { requests, outgoing, incoming, buffer: BytesMut::new(), driver }
    }

    /// A connection that is greeted.
    pub(crate) async fn greet(&self) -> Line {
        let mut line = self.accept().await;
        let hello = line.hear().await;
        assert!(matches!(hello, Some(ToHub::Hello(_))), "{hello:?}");
        line.say(&welcome(0));
        line
    }

    /// The receipt for a report.
    pub(crate) fn receipt(&self, report: &ReportMessage) -> Receipt {
        let id = Report::from_body(&report.body).unwrap().id;
        Receipt::sign(&self.receipt_key, report.site.clone(), id, report.body.as_bytes(), now())
    }
}

/// The greeting of a hub whose clock is so many seconds ahead.
pub(crate) fn welcome(ahead: u64) -> ToAgent {
    ToAgent::Welcome(Welcome { protocol: PROTOCOL, time: now() + ahead })
}

/// What a hub writes to open a control stream, byte by byte (RFC 9113): for hubs that go on in ways that no library
/// would.
pub(crate) fn opening_bytes() -> Vec<u8> {
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend_from_slice(&[0, 0, 0, 4, 0, 0, 0, 0, 0]); // SETTINGS, empty
    // HEADERS on stream 1, END_HEADERS: POST, https, path and authority as literals.
    let mut headers = vec![0x83, 0x87, 0x04, u8::try_from(CONTROL_PATH.len()).unwrap()];
    headers.extend_from_slice(CONTROL_PATH.as_bytes());
    headers.extend_from_slice(&[0x01, 1, b'x']);
    bytes.extend_from_slice(&[0, 0, u8::try_from(headers.len()).unwrap(), 1, 4, 0, 0, 0, 1]);
    bytes.extend_from_slice(&headers);
    bytes
}

/// The hub's end of a control stream.
pub(crate) struct Line {
    // Dropped, it would end the connection.
    #[allow(dead_code)]
    requests: SendRequest<Bytes>,
    outgoing: SendStream<Bytes>,
    incoming: RecvStream,
    buffer: BytesMut,
    driver: JoinHandle<()>,
}

impl Line {
    pub(crate) fn say(&mut self, message: &ToAgent) {
        self.say_payload(&frame::encode(message));
    }

    pub(crate) fn say_payload(&mut self, payload: &[u8]) {
        let mut bytes = u32::try_from(payload.len()).unwrap().to_be_bytes().to_vec();
        bytes.extend_from_slice(payload);
        self.say_bytes(bytes);
    }

    pub(crate) fn say_bytes(&mut self, bytes: Vec<u8>) {
        // The site may be gone by now.
        let _ = self.outgoing.send_data(bytes.into(), false);
    }

    /// The next message of the site; none when the connection is over.
    pub(crate) async fn hear(&mut self) -> Option<ToHub> {
        let mut codec = frame::codec(MAX_TO_HUB);
        loop {
            if let Some(payload) = codec.decode(&mut self.buffer).unwrap() {
                return Some(frame::decode(&payload).unwrap());
            }
            let data = self.incoming.data().await?.ok()?;
            self.incoming.flow_control().release_capacity(data.len()).unwrap();
            self.buffer.extend_from_slice(&data);
        }
    }

    pub(crate) async fn hear_report(&mut self) -> ReportMessage {
        match self.hear().await {
            Some(ToHub::Report(report)) => report,
            other => panic!("{other:?}"),
        }
    }

    /// Waits until the site has closed.
    pub(crate) async fn closed(mut self) {
        let unexpected = self.hear().await;
        assert!(unexpected.is_none(), "{unexpected:?}");
    }

    /// Cuts the connection.
    pub(crate) fn cut(self) {
        self.driver.abort();
    }
}
