//! A hub that does what a test tells it: well-behaved, silent, forging, flooding, or no hub at all.

mod manner;
mod tls;

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use demarc_proto::{
    ALPN_ENROLL, ALPN_TUNNEL, CONTROL_PATH, PROTOCOL, Receipt, Report, SiteId, ToAgent, ToHub,
    bytes64::Bytes64,
    enroll::{EnrollRequest, EnrollResponse, Enrolled},
    frame::{self, MAX_TO_HUB},
    health::HealthNoted,
    message::{Certificate, Noted, ReportMessage, Welcome},
    support::{Grant, SUPPORT_PATH},
    token::EnrollmentToken,
};
use futures_util::{SinkExt, StreamExt};
use h2::{
    RecvStream, SendStream,
    client::{ResponseFuture, SendRequest},
};
use http::Request;
use socket2::SockRef;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    runtime::Runtime,
};
use tokio_rustls::server::TlsStream;
use tokio_util::codec::{Decoder, Framed};

pub use self::manner::{Answer, Face, Forge, Manner};
use crate::{
    authority::{Authority, Validity},
    wait,
};

/// What the hub noticed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// Somebody connected.
    Connection,
    /// TLS came about, for a tunnel.
    Tunnel,
    /// The exact payload of a frame.
    Frame(Vec<u8>),
    /// The agent answered a request in the way of HTTP, with this status.
    Status(u16),
    /// The connection ended.
    End,
}

/// The hub; ends when dropped.
pub struct HostileHub {
    address: SocketAddr,
    shared: Arc<Shared>,
    runtime: Option<Runtime>,
}

struct Shared {
    authority: Authority,
    other: Authority,
    manner: Mutex<Manner>,
    heard: Mutex<Vec<Heard>>,
    /// How streams are opened on the newest tunnel.
    streams: Mutex<Option<SendRequest<Bytes>>>,
}

impl HostileHub {
    /// Starts it, honest for now.
    pub fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let shared = Arc::new(Shared {
            authority: Authority::new(),
            other: Authority::new(),
            manner: Mutex::new(Manner::honest()),
            heard: Mutex::default(),
            streams: Mutex::default(),
        });
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        runtime.spawn({
            let shared = shared.clone();
            async move {
                while let Ok((stream, _)) = listener.accept().await {
                    let shared = shared.clone();
                    tokio::spawn(async move {
                        shared.note(Heard::Connection);
                        shared.receive(stream).await;
                        shared.note(Heard::End);
                    });
                }
            }
        });
        Self { address, shared, runtime: Some(runtime) }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its authority.
    pub fn authority(&self) -> &Authority {
        &self.shared.authority
    }

    /// An enrollment token for it.
    pub fn token(&self, site: &str) -> String {
        self.token_with(site, &self.shared.authority.fingerprint(), wait::now() + 3600)
    }

    /// A token with a fingerprint and an end of one's choice.
    pub fn token_with(&self, site: &str, fingerprint: &[u8], expires: u64) -> String {
        EnrollmentToken {
            site: site.parse().unwrap(),
            hub: self.address.to_string(),
            ca_sha256: Bytes64(fingerprint.to_vec()),
            secret: Bytes64(vec![7; 32]),
            expires,
        }
        .to_string()
    }

    /// Opens support streams for a grant, all at once, says these bytes on each, and listens for a while.
    pub fn ask(&self, grant: &str, count: usize, say: &[u8], listen: Duration) -> Vec<Asked> {
        let streams = self.shared.streams.lock().unwrap().clone().expect("a tunnel");
        let asks = (0..count).map(|_| ask(streams.clone(), grant.to_owned(), say.to_vec(), listen));
        self.runtime.as_ref().unwrap().block_on(futures_util::future::join_all(asks))
    }

    /// Relays whoever connects to the address that this returns to a support stream, unread, and keeps what went to the
    /// site.
    pub fn relay(&self, grant: &str) -> (SocketAddr, Arc<Mutex<Vec<u8>>>) {
        let streams = self.shared.streams.lock().unwrap().clone().expect("a tunnel");
        let runtime = self.runtime.as_ref().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let kept = Arc::new(Mutex::new(Vec::new()));
        let (grant, keep) = (grant.to_owned(), kept.clone());
        runtime.spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(relay(socket, streams.clone(), grant.clone(), keep.clone()));
            }
        });
        (address, kept)
    }

    /// Behaves like this from the next connection on.
    pub fn behave(&self, manner: Manner) {
        *self.shared.manner.lock().unwrap() = manner;
    }

    /// Everything noticed so far.
    pub fn heard(&self) -> Vec<Heard> {
        self.shared.heard.lock().unwrap().clone()
    }

    /// Forgets what was noticed.
    pub fn forget(&self) {
        self.shared.heard.lock().unwrap().clear();
    }

    /// The bodies of the reports that came, in order, repeats included.
    pub fn bodies(&self) -> Vec<String> {
        let frames = self.heard().into_iter().filter_map(|heard| match heard {
            Heard::Frame(payload) => frame::decode::<ToHub>(&payload).ok(),
            _ => None,
        });
        frames
            .filter_map(|message| match message {
                ToHub::Report(ReportMessage { body, .. }) => Some(body),
                _ => None,
            })
            .collect()
    }

    /// How often something was noticed.
    pub fn count(&self, what: impl Fn(&Heard) -> bool) -> usize {
        self.shared.heard.lock().unwrap().iter().filter(|heard| what(heard)).count()
    }
}

impl Drop for HostileHub {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Shared {
    fn note(&self, heard: Heard) {
        self.heard.lock().unwrap().push(heard);
    }

    async fn receive(&self, mut stream: TcpStream) {
        let manner = self.manner.lock().unwrap().clone();
        let identity = match manner.face {
            Face::Mute => return self.drain(&mut stream).await,
            Face::PlainHttp => {
                let _ =
                    stream.write_all(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await;
                return self.drain(&mut stream).await;
            }
            Face::Own => self.authority.server("127.0.0.1", Validity::Now),
            Face::OtherAuthority => self.other.server("127.0.0.1", Validity::Now),
            Face::OtherName => self.authority.server("192.0.2.1", Validity::Now),
            Face::Expired => self.authority.server("127.0.0.1", Validity::Expired),
            Face::NotYet => self.authority.server("127.0.0.1", Validity::NotYet),
        };
        let Ok(tls) = tls::acceptor(identity).accept(stream).await else { return };
        match tls.get_ref().1.alpn_protocol() {
            Some(alpn) if alpn == ALPN_ENROLL => self.enroll(tls).await,
            Some(alpn) if alpn == ALPN_TUNNEL => {
                self.note(Heard::Tunnel);
                match &manner.raw {
                    Some(bytes) => self.shout(tls, bytes).await,
                    None => self.tunnel(tls, &manner).await,
                }
            }
            _ => {}
        }
    }

    async fn drain(&self, stream: &mut TcpStream) {
        let mut buffer = [0; 4096];
        while stream.read(&mut buffer).await.is_ok_and(|count| count > 0) {}
    }

    /// Writes bytes of its own making and reads whatever comes, until the agent has enough.
    async fn shout(&self, tls: TlsStream<TcpStream>, bytes: &[u8]) {
        let (mut read, mut write) = tokio::io::split(tls);
        let reading = async {
            let mut buffer = vec![0; 65_536];
            while read.read(&mut buffer).await.is_ok_and(|count| count > 0) {}
        };
        let writing = async {
            if write.write_all(bytes).await.is_ok() {
                let _ = write.flush().await;
            }
            std::future::pending::<()>().await;
        };
        tokio::select! { () = reading => {}, () = writing => {} }
    }

    async fn enroll(&self, tls: TlsStream<TcpStream>) {
        let mut framed = Framed::new(tls, frame::codec(MAX_TO_HUB));
        let Some(Ok(payload)) = framed.next().await else { return };
        self.note(Heard::Frame(payload.to_vec()));
        let Ok(request) = frame::decode::<EnrollRequest>(&payload) else { return };
        let own = self.authority.answer(request.site.as_str(), &request.request.0);
        let answer = EnrollResponse::Enrolled(Enrolled {
            chain: vec![Bytes64(own.to_vec())],
            ca: Bytes64(self.authority.certificate().to_vec()),
            receipt_key: Bytes64(receipt_key(&self.authority)),
        });
        let _ = framed.send(Bytes::from(frame::encode(&answer))).await;
        // The agent closes when it has read it.
        let _ = framed.next().await;
    }

    async fn tunnel(&self, tls: TlsStream<TcpStream>, manner: &Manner) {
        let site = tls::site_of(&tls);
        let socket = socket2::Socket::from(
            std::os::fd::AsFd::as_fd(tls.get_ref().0).try_clone_to_owned().expect("descriptors are left"),
        );
        let Ok((streams, connection)) = h2::client::handshake(tls).await else { return };
        let mut connection = std::pin::pin!(connection);
        *self.streams.lock().unwrap() = Some(streams.clone());
        let talk = async {
            let mut streams = streams.ready().await.ok()?;
            let request = Request::post(format!("https://agent{CONTROL_PATH}")).body(()).ok()?;
            let (response, send) = streams.send_request(request, false).ok()?;
            let response = response.await.ok()?;
            self.note(Heard::Status(response.status().as_u16()));
            self.converse(send, response.into_body(), manner, site, &socket).await
        };
        tokio::select! { _ = &mut connection => {}, _ = talk => {} }
        // Whatever is still to be written gets out, unless the connection was reset.
        let _ = tokio::time::timeout(Duration::from_millis(200), connection).await;
    }

    async fn converse(
        &self,
        mut send: SendStream<Bytes>,
        mut receive: RecvStream,
        manner: &Manner,
        site: Option<SiteId>,
        socket: &socket2::Socket,
    ) -> Option<()> {
        let mut codec = frame::codec(MAX_TO_HUB);
        let mut buffer = BytesMut::new();
        loop {
            while let Some(payload) = codec.decode(&mut buffer).ok()? {
                self.note(Heard::Frame(payload.to_vec()));
                let Ok(message) = frame::decode::<ToHub>(&payload) else { continue };
                let (answer, proper) = match &message {
                    ToHub::Hello(_) => {
                        (&manner.hello, ToAgent::Welcome(Welcome { protocol: PROTOCOL, time: wait::now() }))
                    }
                    ToHub::Report(report) => (&manner.report, self.receipt(report)?),
                    ToHub::Renew(renew) => {
                        let own = self.authority.answer(site.as_ref()?.as_str(), &renew.request.0);
                        let chain = vec![Bytes64(own.to_vec())];
                        (&Answer::Proper, ToAgent::Certificate(Certificate { chain }))
                    }
                    ToHub::Grant(message) => {
                        let grant = Grant::from_body(&message.grant).ok()?.id;
                        (&Answer::Proper, ToAgent::Noted(Noted { grant }))
                    }
                    ToHub::Health(report) => (&Answer::Proper, ToAgent::HealthNoted(HealthNoted { at: report.at })),
                    ToHub::GrantEnded(ended) => (&Answer::Proper, ToAgent::Noted(Noted { grant: ended.grant })),
                };
                match answer {
                    Answer::Proper => say(&mut send, &framed(&proper))?,
                    Answer::Silence => {}
                    Answer::Bytes(bytes) => say(&mut send, bytes)?,
                    Answer::Reset => {
                        // The kernel drops what waits and tells the peer at once.
                        let _ = SockRef::from(socket).set_linger(Some(Duration::ZERO));
                        return None;
                    }
                    Answer::Forged(forge) => {
                        let ToAgent::Receipt(receipt) = &proper else { continue };
                        for message in forge(receipt, &self.other) {
                            say(&mut send, &framed(&message))?;
                        }
                    }
                }
            }
            let data = receive.data().await?.ok()?;
            receive.flow_control().release_capacity(data.len()).ok()?;
            buffer.extend_from_slice(&data);
        }
    }

    fn receipt(&self, message: &ReportMessage) -> Option<ToAgent> {
        let report = Report::from_body(&message.body).ok()?;
        Some(ToAgent::Receipt(Receipt::sign(
            self.authority.receipt_key(),
            message.site.clone(),
            report.id,
            message.body.as_bytes(),
            wait::now(),
        )))
    }
}

fn support(streams: &mut SendRequest<Bytes>, grant: &str) -> Option<(ResponseFuture, SendStream<Bytes>)> {
    let request = Request::post(format!("https://agent{SUPPORT_PATH}{grant}")).body(()).ok()?;
    streams.send_request(request, false).ok()
}

async fn ask(streams: SendRequest<Bytes>, grant: String, say: Vec<u8>, listen: Duration) -> Asked {
    let mut asked = Asked::default();
    let conversation = async {
        let mut streams = streams.ready().await.ok()?;
        let (response, mut send) = support(&mut streams, &grant)?;
        let response = response.await.ok()?;
        asked.status = Some(response.status().as_u16());
        let _ = send.send_data(Bytes::from(say), false);
        let mut body = response.into_body();
        while let Some(Ok(data)) = body.data().await {
            asked.heard.extend_from_slice(&data);
            let _ = body.flow_control().release_capacity(data.len());
        }
        Some(())
    };
    let _ = tokio::time::timeout(listen, conversation).await;
    asked
}

async fn relay(socket: TcpStream, streams: SendRequest<Bytes>, grant: String, keep: Arc<Mutex<Vec<u8>>>) -> Option<()> {
    let mut streams = streams.ready().await.ok()?;
    let (response, mut send) = support(&mut streams, &grant)?;
    let mut body = response.await.ok()?.into_body();
    let (mut read, mut write) = socket.into_split();
    let up = async {
        let mut buffer = vec![0; 16 * 1024];
        while let Ok(count @ 1..) = read.read(&mut buffer).await {
            keep.lock().unwrap().extend_from_slice(&buffer[..count]);
            if send.send_data(Bytes::copy_from_slice(&buffer[..count]), false).is_err() {
                break;
            }
        }
        let _ = send.send_data(Bytes::new(), true);
        std::future::pending::<()>().await;
    };
    let down = async {
        while let Some(Ok(data)) = body.data().await {
            let _ = body.flow_control().release_capacity(data.len());
            if write.write_all(&data).await.is_err() {
                break;
            }
        }
    };
    tokio::select! { () = up => {}, () = down => {} }
    Some(())
}

/// What came of a support stream.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// The site's answer; absent where the stream was reset.
    pub status: Option<u16>,
    /// What the site said then.
    pub heard: Vec<u8>,
}

/// The frame of a message.
pub fn framed(message: &ToAgent) -> Vec<u8> {
    frame_of(&frame::encode(message))
}

/// A payload with its length before it.
pub fn frame_of(payload: &[u8]) -> Vec<u8> {
    let mut bytes = u32::try_from(payload.len()).unwrap().to_be_bytes().to_vec();
    bytes.extend_from_slice(payload);
    bytes
}

fn say(send: &mut SendStream<Bytes>, bytes: &[u8]) -> Option<()> {
    send.send_data(Bytes::copy_from_slice(bytes), false).ok()
}

fn receipt_key(authority: &Authority) -> Vec<u8> {
    use ::aws_lc_rs::signature::KeyPair as _;
    authority.receipt_key().public_key().as_ref().to_vec()
}
