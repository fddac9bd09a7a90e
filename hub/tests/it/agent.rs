//! A scripted agent: as little of one as the wire needs, so that it can misbehave at every point.

use std::{sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use demarc_proto::{
    ALPN_ENROLL, ALPN_TUNNEL, CONTROL_PATH, Cell, Report, ToAgent, ToHub, Window,
    bytes64::Bytes64,
    enroll::{EnrollReason, EnrollRefused, EnrollRequest, EnrollResponse, Enrolled},
    frame,
    message::{Hello, Renew, ReportMessage},
    report::{Destination, DestinationGroup, Mechanism, SecondsGroup, VolumeGroup},
    support::SUPPORT_PATH,
    token::EnrollmentToken,
};
use futures_util::{SinkExt, StreamExt};
use h2::{RecvStream, SendStream, server::SendResponse};
use http::{Request, Response, StatusCode};
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName};
use tokio::{net::TcpStream, sync::mpsc, task::JoinHandle, time::timeout};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_util::codec::Framed;

use crate::hub::Hub;

/// Nothing here takes long; whatever does has failed.
pub const PATIENCE: Duration = Duration::from_secs(10);

pub async fn soon<T>(future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.expect("this takes too long")
}

pub fn new_key() -> KeyPair {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap()
}

pub fn request_for(key: &KeyPair) -> Bytes64 {
    Bytes64(CertificateParams::default().serialize_request(key).unwrap().der().to_vec())
}

/// An enrolled site.
pub struct Site {
    pub key: KeyPair,
    pub chain: Vec<CertificateDer<'static>>,
    pub receipt_key: Vec<u8>,
}

pub fn ca_of(hub: &Hub) -> CertificateDer<'static> {
    use rustls_pki_types::pem::PemObject;
    CertificateDer::from_pem_file(hub.path().join("ca.pem")).unwrap()
}

pub async fn tls(hub: &Hub, alpn: &[u8], site: Option<&Site>) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(ca_of(hub)).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots);
    let mut config = match site {
        Some(site) => {
            let key = PrivatePkcs8KeyDer::from(site.key.serialize_der());
            builder.with_client_auth_cert(site.chain.clone(), key.into()).unwrap()
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![alpn.to_vec()];
    let socket = TcpStream::connect(hub.address).await?;
    let name = ServerName::from(hub.address.ip());
    soon(TlsConnector::from(Arc::new(config)).connect(name, socket)).await
}

/// Exchanges one enrollment request for an answer; `None` when the hub closes without one.
pub async fn exchange(hub: &Hub, request: &[u8]) -> Option<EnrollResponse> {
    let tls = tls(hub, ALPN_ENROLL, None).await.ok()?;
    // Whoever enrolls knows the authority by its fingerprint only, so the hub must show it.
    assert_eq!(tls.get_ref().1.peer_certificates().unwrap().last(), Some(&ca_of(hub)));
    let mut framed = Framed::new(tls, frame::codec(64 * 1024));
    framed.send(Bytes::copy_from_slice(request)).await.ok()?;
    let answer = soon(framed.next()).await?.ok()?;
    Some(frame::decode(&answer).unwrap())
}

pub async fn try_enroll(hub: &Hub, token: &EnrollmentToken, key: &KeyPair) -> Result<Enrolled, EnrollReason> {
    let request = EnrollRequest { site: token.site.clone(), secret: token.secret.clone(), request: request_for(key) };
    match exchange(hub, &frame::encode(&request)).await.expect("no answer") {
        EnrollResponse::Enrolled(enrolled) => Ok(enrolled),
        EnrollResponse::Refused(EnrollRefused { reason }) => Err(reason),
    }
}

pub async fn enroll(hub: &Hub, name: &str) -> Site {
    let key = new_key();
    let enrolled = try_enroll(hub, &hub.token(name), &key).await.unwrap();
    assert_eq!(enrolled.ca.0, ca_of(hub).as_ref());
    let chain = enrolled.chain.into_iter().map(|der| der.0.into()).collect();
    Site { key, chain, receipt_key: enrolled.receipt_key.0 }
}

/// A tunnel with an open control stream.
pub struct Tunnel {
    pub send: SendStream<Bytes>,
    pub receive: RecvStream,
    buffer: BytesMut,
    pub connection: JoinHandle<Result<(), h2::Error>>,
    /// Support streams that the hub opened.
    pub asked: mpsc::UnboundedReceiver<Asked>,
}

/// A support stream that the hub opened; no answer was given yet.
pub struct Asked {
    pub path: String,
    pub from_hub: RecvStream,
    pub respond: SendResponse<Bytes>,
}

impl Asked {
    pub fn refuse(mut self, status: StatusCode) {
        self.respond.send_response(Response::builder().status(status).body(()).unwrap(), true).unwrap();
    }

    pub fn accept(mut self) -> Session {
        let to_hub = self.respond.send_response(Response::new(()), false).unwrap();
        Session { from_hub: self.from_hub, to_hub }
    }
}

/// A support stream that was let in.
pub struct Session {
    pub from_hub: RecvStream,
    pub to_hub: SendStream<Bytes>,
}

impl Session {
    /// The next bytes; `None` at the end, an error when the hub gave the stream up.
    pub async fn hear(&mut self) -> Option<Result<Bytes, h2::Error>> {
        loop {
            let data = soon(self.from_hub.data()).await?;
            if let Ok(data) = &data {
                self.from_hub.flow_control().release_capacity(data.len()).unwrap();
            }
            // The end comes with a frame of its own, which may be empty.
            if !data.as_ref().is_ok_and(Bytes::is_empty) {
                return Some(data);
            }
        }
    }

    pub async fn say(&mut self, bytes: Bytes) {
        say(&mut self.to_hub, bytes).await;
    }
}

/// Sends as fast as the hub takes it.
pub async fn say(to_hub: &mut SendStream<Bytes>, mut bytes: Bytes) {
    while !bytes.is_empty() {
        to_hub.reserve_capacity(bytes.len());
        while to_hub.capacity() == 0 {
            soon(std::future::poll_fn(|context| to_hub.poll_capacity(context))).await.unwrap().unwrap();
        }
        let room = to_hub.capacity().min(bytes.len());
        to_hub.send_data(bytes.split_to(room), false).unwrap();
    }
}

impl Tunnel {
    /// Up to the open control stream; nothing is said on it yet.
    pub async fn silent(hub: &Hub, site: Option<&Site>) -> Option<Self> {
        let tls = tls(hub, ALPN_TUNNEL, site).await.ok()?;
        let mut builder = h2::server::Builder::new();
        // As the real one: room for the control stream, four sessions, and one more to be refused.
        builder.initial_window_size(64 * 1024).initial_connection_window_size(6 * 64 * 1024).max_concurrent_streams(6);
        let mut connection = soon(builder.handshake(tls)).await.ok()?;
        let (request, mut respond) = soon(connection.accept()).await?.ok()?;
        assert_eq!(request.uri().path(), CONTROL_PATH);
        assert_eq!(request.method(), http::Method::POST);
        let send = respond.send_response(http::Response::new(()), false).ok()?;
        let (asks, asked) = mpsc::unbounded_channel();
        let connection = tokio::spawn(async move {
            loop {
                let (request, respond): (Request<RecvStream>, _) = match connection.accept().await {
                    Some(Ok(stream)) => stream,
                    Some(Err(error)) => return Err(error),
                    None => return Ok(()),
                };
                assert_eq!(request.method(), http::Method::POST);
                let path = request.uri().path().to_owned();
                assert!(path.starts_with(SUPPORT_PATH), "the hub opened a stream for {path}");
                // A test that does not look does not answer either.
                let _ = asks.send(Asked { path, from_hub: request.into_body(), respond });
            }
        });
        Some(Self { send, receive: request.into_body(), buffer: BytesMut::new(), connection, asked })
    }

    /// With Hello and Welcome exchanged.
    pub async fn open(hub: &Hub, site: &Site) -> Self {
        let mut tunnel = Self::silent(hub, Some(site)).await.expect("no tunnel");
        tunnel.say(&hello());
        let ToAgent::Welcome(welcome) = tunnel.hear().await.expect("no answer") else { panic!("no Welcome") };
        assert_eq!(welcome.protocol, 1);
        tunnel
    }

    pub fn say(&mut self, message: &ToHub) {
        self.say_bytes(&frame::encode(message));
    }

    pub fn say_bytes(&mut self, payload: &[u8]) {
        let mut bytes = u32::try_from(payload.len()).unwrap().to_be_bytes().to_vec();
        bytes.extend_from_slice(payload);
        self.push(bytes);
    }

    /// Bytes as they are, framed or not.
    pub fn push(&mut self, bytes: Vec<u8>) {
        self.send.send_data(bytes.into(), false).unwrap();
    }

    /// The next message; `None` when the hub ended the stream.
    pub async fn hear(&mut self) -> Option<ToAgent> {
        loop {
            if self.buffer.len() >= 4 {
                let length = u32::from_be_bytes(self.buffer[..4].try_into().unwrap()) as usize;
                if self.buffer.len() >= 4 + length {
                    let frame = self.buffer.split_to(4 + length);
                    return Some(frame::decode(&frame[4..]).unwrap());
                }
            }
            let data = soon(self.receive.data()).await?.ok()?;
            self.receive.flow_control().release_capacity(data.len()).unwrap();
            self.buffer.extend_from_slice(&data);
        }
    }

    pub async fn ask(&mut self, message: &ToHub) -> Option<ToAgent> {
        self.say(message);
        self.hear().await
    }

    /// Waits until the hub has closed the connection.
    pub async fn closed(mut self) {
        while let Some(Ok(_)) = soon(self.receive.data()).await {}
        // How it says so matters to nobody: an error is an end too.
        let _ = soon(self.connection).await.unwrap();
    }
}

pub fn hello() -> ToHub {
    ToHub::Hello(Hello { protocol: 1, version: [0, 1, 0], schemas: vec![1] })
}

pub fn renew(key: &KeyPair) -> ToHub {
    ToHub::Renew(Renew { request: request_for(key) })
}

pub fn upload(site: &str, body: &str) -> ToHub {
    ToHub::Report(ReportMessage { site: site.parse().unwrap(), body: body.into() })
}

/// A good report: one minute, one group.
pub fn report(number: u8, calls: u32) -> Report {
    let seconds = || vec![SecondsGroup { from_seconds: 0, to_seconds: None, calls }];
    Report {
        schema: 1,
        id: demarc_proto::ReportId::from_bits([number; 16]),
        window: Window { start: 1_795_309_260 + 60 * u64::from(number), seconds: 60 },
        mechanism: Mechanism::KAnonymous,
        floor: 10,
        volume: vec![VolumeGroup { from_hour: 0, hours: 1, cells: Cell::all().collect(), calls }],
        talk: seconds(),
        wait: seconds(),
        destination: vec![DestinationGroup { classes: Destination::ALL.to_vec(), calls }],
        quality: vec![],
        peak_concurrency: 2,
    }
}
