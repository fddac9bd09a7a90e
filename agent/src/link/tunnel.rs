//! The tunnel: HTTP/2 with the roles reversed (we dialled, the hub opens streams), and on it one control stream.

use std::{future::poll_fn, task::Poll, time::Duration};

use bytes::{Bytes, BytesMut};
use demarc_proto::{
    CONTROL_PATH,
    frame::{self, MAX_TO_AGENT, MAX_TO_HUB},
    health::{HEALTH_HEADER, HEALTH_SCHEMA},
    support::{GrantId, SESSION_PIECE, SESSION_WINDOW, SUPPORT_PATH},
};
use h2::{
    Ping, PingPong, Reason, RecvStream, SendStream,
    server::{Builder, Connection, SendResponse},
};
use http::{Method, Request, Response, StatusCode};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Instant, sleep_until, timeout},
};
use tokio_util::codec::{Decoder, Encoder, LengthDelimitedCodec};

use super::{
    doors::Asked,
    error::{LinkError, Misbehaviour},
};

/// The control stream, the support sessions that there may be at a time, and room for one more to be refused in words.
const STREAMS: u32 = 6;
/// So many refused streams are an attack, not a mistake.
const MAX_REFUSED_STREAMS: u32 = 100;
/// So many pieces of the control stream in a row that complete no frame are an attack: a whole frame has fewer.
const MAX_FRUITLESS_CHUNKS: u32 = 8 * 1024;
/// Pings that may stay unanswered.
const MAX_MISSED_PINGS: u32 = 3;
/// How long the farewell to a hub that floods may take.
const FAREWELL: Duration = Duration::from_millis(200);

/// What the hub did.
#[derive(Debug)]
pub(crate) enum Event {
    /// The payload of a frame arrived.
    Frame(Bytes),
    /// The hub opened a support stream.
    Asked(Asked),
    /// It was time for a ping: a moment to look after other periodic things.
    Tick,
}

/// An open control stream. Dropping it resets the connection.
pub(crate) struct Tunnel<T> {
    hub: String,
    connection: Connection<T, Bytes>,
    incoming: RecvStream,
    outgoing: SendStream<Bytes>,
    codec: LengthDelimitedCodec,
    buffer: BytesMut,
    fruitless_chunks: u32,
    refused_streams: u32,
    pings: Pings,
    /// Whether the hub takes health reports of our schema.
    pub(crate) takes_health: bool,
}

impl<T: AsyncRead + AsyncWrite + Unpin> Tunnel<T> {
    /// Waits for the hub to open its control stream.
    pub(crate) async fn open(io: T, hub: &str, ping_every: Duration, within: Duration) -> Result<Self, LinkError> {
        let opening = Self::accept_control(io, hub, ping_every);
        let silent = |_| LinkError::SilentInHandshake { hub: hub.to_owned(), seconds: within.as_secs() };
        match timeout(within, opening).await.map_err(silent)? {
            Err(LinkError::Closed | LinkError::Lost { .. }) => Err(LinkError::TurnedAway { hub: hub.to_owned() }),
            opened => opened,
        }
    }

    async fn accept_control(io: T, hub: &str, ping_every: Duration) -> Result<Self, LinkError> {
        // Everything that a hub can make this side keep is small: it has only short messages to send.
        let handshake = Builder::new()
            .max_frame_size(SESSION_PIECE)
            .initial_window_size(SESSION_WINDOW)
            // Each stream has room of its own, so that a session that stalls holds up nobody else.
            .initial_connection_window_size(STREAMS * SESSION_WINDOW)
            .max_concurrent_streams(STREAMS)
            .max_concurrent_reset_streams(8)
            .max_local_error_reset_streams(Some(MAX_REFUSED_STREAMS as usize))
            .max_header_list_size(4 * 1024)
            .handshake(io)
            .await;
        let mut connection = handshake.map_err(|e| LinkError::from_http2(hub, &e))?;
        let pings = Pings::new(connection.ping_pong(), ping_every);
        let mut refused_streams = 0;
        loop {
            let (request, mut respond) = match connection.accept().await {
                Some(Ok(stream)) => stream,
                Some(Err(error)) => return Err(LinkError::from_http2(hub, &error)),
                None => return Err(LinkError::Closed),
            };
            if !is_control(&request) {
                refuse(&mut connection, &mut respond, &mut refused_streams).await?;
                continue;
            }
            let newest = request.headers().get(HEALTH_HEADER).and_then(|value| value.to_str().ok()?.parse().ok());
            let takes_health = newest.is_some_and(|newest: u32| newest >= HEALTH_SCHEMA);
            let outgoing =
                respond.send_response(accepted(), false).map_err(|error| LinkError::from_http2(hub, &error))?;
            return Ok(Self {
                hub: hub.to_owned(),
                connection,
                incoming: request.into_body(),
                outgoing,
                codec: frame::codec(MAX_TO_AGENT),
                buffer: BytesMut::new(),
                fruitless_chunks: 0,
                refused_streams,
                pings,
                takes_health,
            });
        }
    }

    /// Hands a frame to the connection. It leaves while [`Tunnel::next`] is waited for.
    pub(crate) fn send(&mut self, payload: Vec<u8>) -> Result<(), LinkError> {
        let mut bytes = BytesMut::new();
        frame::codec(MAX_TO_HUB)
            .encode(Bytes::from(payload), &mut bytes)
            .map_err(|_| LinkError::Lost { detail: "a message longer than any frame".to_owned() })?;
        self.outgoing.send_data(bytes.freeze(), false).map_err(|error| LinkError::from_http2(&self.hub, &error))
    }

    /// Waits for what the hub does next, and drives the connection meanwhile. May be dropped at any point and called
    /// again: everything half-done is kept in `self`.
    pub(crate) async fn next(&mut self) -> Result<Event, LinkError> {
        loop {
            if let Some(frame) = self.decode()? {
                return Ok(Event::Frame(frame));
            }
            tokio::select! {
                biased;
                stream = self.connection.accept() => match stream {
                    Some(Ok((request, mut respond))) => match asked_grant(&request) {
                        Some(grant) => {
                            return Ok(Event::Asked(Asked { grant, from_hub: request.into_body(), respond }));
                        }
                        None => refuse(&mut self.connection, &mut respond, &mut self.refused_streams).await?,
                    },
                    Some(Err(error)) => return Err(LinkError::from_http2(&self.hub, &error)),
                    None => return Err(LinkError::Closed),
                },
                chunk = self.incoming.data() => match chunk {
                    Some(Ok(chunk)) => self.take(&chunk)?,
                    Some(Err(error)) => return Err(LinkError::from_http2(&self.hub, &error)),
                    None if self.buffer.is_empty() => return Err(LinkError::Closed),
                    None => return Err(Misbehaviour::NotFrames.into()),
                },
                turn = self.pings.turn() => {
                    turn?;
                    return Ok(Event::Tick);
                }
            }
        }
    }

    /// Keeps a piece of the stream; only then may the hub send as much again.
    fn take(&mut self, chunk: &Bytes) -> Result<(), LinkError> {
        self.fruitless_chunks += 1;
        if self.fruitless_chunks > MAX_FRUITLESS_CHUNKS {
            return Err(Misbehaviour::NotFrames.into());
        }
        self.buffer.extend_from_slice(chunk);
        self.incoming.flow_control().release_capacity(chunk.len()).map_err(|e| LinkError::from_http2(&self.hub, &e))
    }

    fn decode(&mut self) -> Result<Option<Bytes>, LinkError> {
        let frame = self.codec.decode(&mut self.buffer).map_err(|_| Misbehaviour::Oversized)?;
        if frame.is_some() {
            self.fruitless_chunks = 0;
        }
        if self.buffer.is_empty() {
            // An idle tunnel keeps no room for what is over.
            self.buffer = BytesMut::new();
        }
        Ok(frame.map(BytesMut::freeze))
    }
}

fn is_control(request: &Request<RecvStream>) -> bool {
    request.method() == Method::POST && request.uri().path() == CONTROL_PATH
}

/// The grant that a support stream names.
fn asked_grant(request: &Request<RecvStream>) -> Option<GrantId> {
    let named = request.uri().path().strip_prefix(SUPPORT_PATH).filter(|_| request.method() == Method::POST)?;
    named.parse().ok()
}

fn accepted() -> Response<()> {
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::OK;
    response
}

/// Refuses a stream without reading a byte of it; a hub that goes on opening streams is left.
async fn refuse<T: AsyncRead + AsyncWrite + Unpin>(
    connection: &mut Connection<T, Bytes>,
    respond: &mut SendResponse<Bytes>,
    refused: &mut u32,
) -> Result<(), LinkError> {
    respond.send_reset(Reason::REFUSED_STREAM);
    *refused += 1;
    if *refused < MAX_REFUSED_STREAMS {
        return Ok(());
    }
    connection.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
    // Whether the farewell arrives does not matter.
    let _ = timeout(FAREWELL, poll_fn(|cx| connection.poll_closed(cx))).await;
    Err(Misbehaviour::StreamFlood.into())
}

/// Asks the hub at intervals whether it is there.
struct Pings {
    ping: Option<PingPong>,
    every: Duration,
    next: Instant,
    waiting: bool,
    missed: u32,
}

impl Pings {
    fn new(ping: Option<PingPong>, every: Duration) -> Self {
        Self { ping, every, next: Instant::now() + every, waiting: false, missed: 0 }
    }

    /// Ends when it was time for a ping; fails when too many stayed unanswered.
    async fn turn(&mut self) -> Result<(), LinkError> {
        let Some(ping) = self.ping.as_mut() else { return std::future::pending().await };
        let timer = sleep_until(self.next);
        let (waiting, missed) = (&mut self.waiting, &mut self.missed);
        let pong = poll_fn(|cx| {
            while *waiting && let Poll::Ready(answer) = ping.poll_pong(cx) {
                // A failure here is one of the connection, which says so itself, and better.
                if answer.is_err() {
                    return Poll::Pending;
                }
                (*waiting, *missed) = (false, 0);
            }
            Poll::<std::convert::Infallible>::Pending
        });
        tokio::select! {
            never = pong => match never {},
            () = timer => {}
        }
        self.next = Instant::now() + self.every;
        if self.waiting {
            self.missed += 1;
            if self.missed >= MAX_MISSED_PINGS {
                return Err(LinkError::Silent { missed: self.missed });
            }
        } else {
            self.waiting = ping.send_ping(Ping::opaque()).is_ok();
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "tunnel_tests.rs"]
mod tests;
