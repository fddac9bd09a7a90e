//! An agent that a test steers word by word: it enrolls, dials, and says whatever it is told to.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Context, bail};
use bytes::{Bytes, BytesMut};
use demarc_proto::{
    ALPN_ENROLL, ALPN_FILES, ALPN_TUNNEL, SiteId, ToAgent, ToHub,
    bytes64::Bytes64,
    enroll::{EnrollRequest, EnrollResponse},
    frame::{self, MAX_TO_AGENT},
    message::Hello,
    token::EnrollmentToken,
};
use futures_util::{SinkExt, StreamExt};
use h2::{RecvStream, SendStream};
use rcgen::{CertificateParams, KeyPair};
use rustls::{ClientConfig, RootCertStore, client::Resumption, crypto::aws_lc_rs};
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    runtime::Runtime,
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_util::codec::{Decoder, Framed};

use crate::{authority::Identity, hostile_hub::frame_of, hub::Hub};

/// How long the hub may take for anything.
const LIMIT: Duration = Duration::from_secs(20);

/// The agent.
pub struct HostileAgent {
    runtime: Runtime,
    hub: SocketAddr,
    authority: CertificateDer<'static>,
}

/// A control stream that the hub opened, for saying anything.
pub struct Control {
    send: SendStream<Bytes>,
    receive: RecvStream,
    buffer: BytesMut,
}

impl HostileAgent {
    /// One that dials that hub; it reads the authority from the hub's own directory.
    pub fn new(hub: &Hub) -> Self {
        let pem = crate::hub::files_below(&hub.home())
            .into_iter()
            .filter_map(|file| std::fs::read_to_string(file).ok())
            .find(|text| text.contains("BEGIN CERTIFICATE") && !text.contains("PRIVATE"));
        let pem = pem.expect("the hub's directory holds its authority's certificate");
        let authority = rustls_pki_types::pem::PemObject::from_pem_slice(pem.as_bytes()).unwrap();
        Self {
            runtime: tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap(),
            hub: hub.address(),
            authority,
        }
    }

    /// A fresh key with a request for its certificate.
    pub fn request() -> (KeyPair, Vec<u8>) {
        let key = KeyPair::generate().unwrap();
        let request = CertificateParams::default().serialize_request(&key).unwrap().der().to_vec();
        (key, request)
    }

    /// Enrolls with a token as an honest agent does.
    pub fn enroll(&self, token: &str) -> anyhow::Result<Identity> {
        let token: EnrollmentToken = token.parse()?;
        let (key, request) = Self::request();
        let wish = EnrollRequest { site: token.site, secret: token.secret, request: Bytes64(request) };
        match self.ask_to_enroll(&frame::encode(&wish))? {
            EnrollResponse::Enrolled(enrolled) => Ok(Identity {
                chain: enrolled.chain.into_iter().map(|der| der.0.into()).collect(),
                key: PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
            }),
            EnrollResponse::Refused(refused) => bail!("{:?}", refused.reason),
        }
    }

    /// Sends any bytes as an enrollment request.
    pub fn ask_to_enroll(&self, payload: &[u8]) -> anyhow::Result<EnrollResponse> {
        self.runtime.block_on(async {
            let tls = self.dial(ALPN_ENROLL, None).await?;
            let mut framed = Framed::new(tls, frame::codec(MAX_TO_AGENT));
            framed.send(Bytes::copy_from_slice(payload)).await?;
            let answer = timeout(LIMIT, framed.next()).await?.context("the hub closed")??;
            Ok(frame::decode(&answer)?)
        })
    }

    /// Dials a tunnel and waits for the hub to open the control stream.
    pub fn tunnel(&self, identity: Option<&Identity>) -> anyhow::Result<Control> {
        self.runtime.block_on(async {
            let tls = self.dial(ALPN_TUNNEL, identity).await?;
            let mut connection = timeout(LIMIT, h2::server::handshake(tls)).await??;
            let (request, mut respond) = timeout(LIMIT, connection.accept()).await?.context("the hub closed")??;
            let send = respond.send_response(http::Response::new(()), false)?;
            tokio::spawn(async move { while connection.accept().await.is_some() {} });
            Ok(Control { send, receive: request.into_body(), buffer: BytesMut::new() })
        })
    }

    /// Sends any bytes as a request for files, and hands back everything that the hub answers until it closes.
    pub fn files(&self, identity: Option<&Identity>, request: &[u8]) -> anyhow::Result<Vec<u8>> {
        self.runtime.block_on(async {
            let mut tls = self.dial(ALPN_FILES, identity).await?;
            // A hub that has heard enough may close before it has read everything.
            let _ = tls.write_all(request).await;
            let mut answer = Vec::new();
            let _ = timeout(LIMIT, tls.read_to_end(&mut answer)).await?;
            Ok(answer)
        })
    }

    /// Dials a tunnel, says hello, and waits for the Welcome.
    pub fn welcomed(&self, identity: &Identity) -> anyhow::Result<Control> {
        let mut control = self.tunnel(Some(identity))?;
        self.say(&mut control, &ToHub::Hello(Hello { protocol: 1, version: [0, 1, 0], schemas: vec![1] }))?;
        match self.next(&mut control)? {
            Some(ToAgent::Welcome(_)) => Ok(control),
            other => bail!("instead of Welcome: {other:?}"),
        }
    }

    /// Says a message.
    pub fn say(&self, control: &mut Control, message: &ToHub) -> anyhow::Result<()> {
        self.say_bytes(control, &frame_of(&frame::encode(message)))
    }

    /// Says any bytes.
    pub fn say_bytes(&self, control: &mut Control, bytes: &[u8]) -> anyhow::Result<()> {
        let _runtime = self.runtime.enter();
        Ok(control.send.send_data(Bytes::copy_from_slice(bytes), false)?)
    }

    /// What the hub says next; `None` when it closed.
    pub fn next(&self, control: &mut Control) -> anyhow::Result<Option<ToAgent>> {
        self.runtime.block_on(async {
            let mut codec = frame::codec(MAX_TO_AGENT);
            loop {
                if let Some(payload) = codec.decode(&mut control.buffer)? {
                    return Ok(Some(frame::decode(&payload)?));
                }
                match timeout(LIMIT, control.receive.data()).await.context("the hub says nothing")? {
                    Some(Ok(data)) => {
                        control.receive.flow_control().release_capacity(data.len())?;
                        control.buffer.extend_from_slice(&data);
                    }
                    Some(Err(_)) | None => return Ok(None),
                }
            }
        })
    }

    async fn dial(&self, alpn: &[u8], identity: Option<&Identity>) -> anyhow::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.clone())?;
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_root_certificates(roots);
        let mut config = match identity {
            Some(identity) => config.with_client_auth_cert(identity.chain.clone(), identity.key.clone_key())?,
            None => config.with_no_client_auth(),
        };
        config.alpn_protocols = vec![alpn.to_vec()];
        config.resumption = Resumption::disabled();
        let stream = TcpStream::connect(self.hub).await?;
        let name = ServerName::from(self.hub.ip());
        Ok(timeout(LIMIT, TlsConnector::from(Arc::new(config)).connect(name, stream)).await??)
    }
}

/// The site that a token is for.
pub fn site_of(token: &str) -> SiteId {
    token.parse::<EnrollmentToken>().unwrap().site
}
