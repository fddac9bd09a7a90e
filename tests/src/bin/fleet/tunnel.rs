//! One tunnel as an agent holds it: dialled, greeted, kept, and dialled again when it is lost.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use bytes::{Bytes, BytesMut};
use demarc_proto::{
    ToAgent, ToHub, frame,
    message::{Hello, Welcome},
};
use http::{Method, Response};
use rustls_pki_types::ServerName;
use tokio::{
    net::TcpStream,
    sync::{mpsc, watch},
};
use tokio_rustls::TlsConnector;
use tokio_util::codec::{Decoder, Encoder};

use crate::{identity::Identity, tls};

/// What happened to a tunnel.
pub(crate) enum Event {
    /// TCP reached the hub.
    Connected(Instant),
    /// The hub welcomed the agent with that number.
    Up(usize, Instant),
    /// An attempt failed, or a tunnel was lost without being cut.
    Failed(String),
}

/// Holds what every attempt of one agent needs.
pub(crate) struct Dialer {
    number: usize,
    hub: String,
    name: ServerName<'static>,
    connector: TlsConnector,
}

impl Dialer {
    /// For the agent with that number.
    pub(crate) fn new(number: usize, identity: &Identity) -> anyhow::Result<Self> {
        Ok(Self {
            number,
            hub: identity.hub.clone(),
            name: tls::server_name(&identity.hub)?,
            connector: TlsConnector::from(tls::tunnel(identity)?),
        })
    }

    /// Keeps the tunnel up for ever. A lost tunnel is dialled at once: the bench asks how fast the hub can take a
    /// whole fleet, so nothing is spread out here. A refused attempt waits a little, as long as others get through.
    pub(crate) async fn keep(self: Arc<Self>, events: mpsc::UnboundedSender<Event>, mut cut: watch::Receiver<()>) {
        let mut failures = 0_u32;
        loop {
            cut.mark_unchanged();
            if let Err(error) = self.hold(&events, &mut cut, &mut failures).await {
                failures += 1;
                let _ = events.send(Event::Failed(format!("{error:#}")));
                // Agents differ in their numbers, so this spreads them as a random wait would.
                let spread = (self.number as u64 * 7919) % 50;
                tokio::time::sleep(Duration::from_millis((25 + spread) * u64::from(failures.min(8)))).await;
            }
        }
    }

    /// One connection, from dialling to its end, whichever way it ends once the hub welcomed the agent.
    async fn hold(
        &self,
        events: &mpsc::UnboundedSender<Event>,
        cut: &mut watch::Receiver<()>,
        failures: &mut u32,
    ) -> anyhow::Result<()> {
        let stream = TcpStream::connect(&self.hub).await.context("connect")?;
        let _ = events.send(Event::Connected(Instant::now()));
        stream.set_nodelay(true)?;
        // No TIME_WAIT, so that waves of ten thousand do not run out of local ports.
        socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
        let stream = self.connector.connect(self.name.clone(), stream).await.context("TLS")?;
        let mut connection = h2::server::Builder::new()
            .max_concurrent_streams(4)
            .handshake::<_, Bytes>(stream)
            .await
            .context("HTTP/2 handshake")?;
        let (request, mut respond) = connection.accept().await.context("closed before the control stream")??;
        if request.method() != Method::POST || request.uri().path() != demarc_proto::CONTROL_PATH {
            bail!("the hub's first stream is not the control stream");
        }
        let mut from_hub = request.into_body();
        let mut to_hub = respond.send_response(Response::new(()), false)?;
        to_hub.send_data(hello()?, false)?;
        let mut frames = Frames { codec: frame::codec(frame::MAX_TO_AGENT), buffer: BytesMut::new() };
        loop {
            tokio::select! {
                next = connection.accept() => match next {
                    Some(Ok((_, mut respond))) => respond.send_reset(h2::Reason::REFUSED_STREAM),
                    Some(Err(_)) | None => return Ok(()),
                },
                chunk = from_hub.data() => {
                    let Some(Ok(chunk)) = chunk else { return Ok(()) };
                    from_hub.flow_control().release_capacity(chunk.len())?;
                    for message in frames.take(&chunk)? {
                        if let ToAgent::Welcome(Welcome { .. }) = message {
                            *failures = 0;
                            let _ = events.send(Event::Up(self.number, Instant::now()));
                        }
                    }
                },
                _ = cut.changed() => return Ok(()),
            }
        }
    }
}

fn hello() -> anyhow::Result<Bytes> {
    let hello = ToHub::Hello(Hello {
        protocol: demarc_proto::PROTOCOL,
        version: [0, 1, 0],
        schemas: vec![demarc_proto::SCHEMA],
    });
    let mut bytes = BytesMut::new();
    frame::codec(frame::MAX_TO_HUB).encode(Bytes::from(frame::encode(&hello)), &mut bytes)?;
    Ok(bytes.freeze())
}

/// Puts messages together from the pieces in which HTTP/2 delivers them.
struct Frames {
    codec: tokio_util::codec::LengthDelimitedCodec,
    buffer: BytesMut,
}

impl Frames {
    fn take(&mut self, chunk: &[u8]) -> anyhow::Result<Vec<ToAgent>> {
        self.buffer.extend_from_slice(chunk);
        let mut messages = Vec::new();
        while let Some(payload) = self.codec.decode(&mut self.buffer)? {
            messages.push(frame::decode(&payload)?);
        }
        Ok(messages)
    }
}
