//! Support streams: the hub opens one, the supervisor decides, and then bytes pass that the link cannot read.

use std::{collections::BTreeMap, future::poll_fn, io, os::fd::OwnedFd};

use bytes::{BufMut, Bytes, BytesMut};
use demarc_proto::support::{GrantId, SESSION_PIECE};
use h2::{Reason, RecvStream, SendStream, server::SendResponse};
use http::{Response, StatusCode};
use tokio::{
    io::AsyncWriteExt,
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
};

use crate::ipc::{SessionRefusal, descriptors::Taker};

/// What is read from a session at a time: what makes one frame, where the hub gives room for it.
const CHUNK: usize = SESSION_PIECE as usize;
/// A buffer with less room than this is replaced.
const SCANT: usize = 16 * 1024;

/// A stream that the hub opened for a session. Nothing was read of it.
#[derive(Debug)]
pub(crate) struct Asked {
    /// The grant that the hub named.
    pub(crate) grant: GrantId,
    pub(crate) from_hub: RecvStream,
    pub(crate) respond: SendResponse<Bytes>,
}

impl Asked {
    fn refuse(mut self, status: StatusCode) {
        let mut response = Response::new(());
        *response.status_mut() = status;
        // A hub that is gone needs no answer.
        let _ = self.respond.send_response(response, true);
    }
}

/// The streams that wait for the supervisor's word. Those that it let in live in tasks of their own.
pub(crate) struct Doors {
    taker: Option<Taker>,
    waiting: BTreeMap<u64, Asked>,
    last: u64,
}

impl Doors {
    /// Nobody waits. Without a `taker`, nobody is ever let in.
    pub(crate) fn new(taker: Option<Taker>) -> Self {
        Self { taker, waiting: BTreeMap::new(), last: 0 }
    }

    /// Somebody asks; returns the number by which to ask the supervisor.
    pub(crate) fn knock(&mut self, asked: Asked) -> u64 {
        self.last += 1;
        self.waiting.insert(self.last, asked);
        self.last
    }

    /// The supervisor lets the stream with that number in.
    pub(crate) fn open(&mut self, number: u64) {
        let descriptor = self.taker.as_ref().and_then(|taker| taker.take(number));
        // Whoever asked may be gone by now; the session then sees its end as the descriptor closes.
        let Some(asked) = self.waiting.remove(&number) else { return };
        let stream = descriptor.map(std::os::unix::net::UnixStream::from).and_then(|stream| {
            stream.set_nonblocking(true).ok()?;
            UnixStream::from_std(stream).ok()
        });
        let Some(stream) = stream else { return asked.refuse(StatusCode::SERVICE_UNAVAILABLE) };
        let Asked { from_hub, mut respond, .. } = asked;
        let Ok(to_hub) = respond.send_response(Response::new(()), false) else { return };
        let (from_session, to_session) = stream.into_split();
        tokio::spawn(async move {
            let inward = tokio::spawn(inward(from_hub, to_session));
            outward(from_session, to_hub).await;
            // The session is over, whatever the hub still has to say.
            inward.abort();
        });
    }

    /// A connection that the supervisor hands over under that number.
    pub(crate) fn take(&self, number: u64) -> Option<OwnedFd> {
        self.taker.as_ref()?.take(number)
    }

    /// The supervisor does not let it in.
    pub(crate) fn refuse(&mut self, number: u64, reason: SessionRefusal) {
        let Some(asked) = self.waiting.remove(&number) else { return };
        asked.refuse(match reason {
            SessionRefusal::NoGrant => StatusCode::FORBIDDEN,
            SessionRefusal::TooMany => StatusCode::TOO_MANY_REQUESTS,
            SessionRefusal::Failed => StatusCode::SERVICE_UNAVAILABLE,
        });
    }

    /// The connection is gone, and with it whoever waited.
    pub(crate) fn forget(&mut self) {
        self.waiting.clear();
    }
}

/// From the hub to the session. The hub may send as much again as the session took.
async fn inward(mut from_hub: RecvStream, mut to_session: OwnedWriteHalf) {
    while let Some(Ok(chunk)) = from_hub.data().await {
        if to_session.write_all(&chunk).await.is_err() {
            return;
        }
        if from_hub.flow_control().release_capacity(chunk.len()).is_err() {
            return;
        }
    }
    // The end of the hub's half is passed on; the session may still have something to say.
    let _ = to_session.shutdown().await;
}

/// From the session to the hub. No more is read than the hub has room for.
async fn outward(from_session: OwnedReadHalf, mut to_hub: SendStream<Bytes>) {
    let mut buffer = BytesMut::new();
    loop {
        to_hub.reserve_capacity(CHUNK);
        let room = match to_hub.capacity() {
            0 => match poll_fn(|cx| to_hub.poll_capacity(cx)).await {
                Some(Ok(room)) => room,
                Some(Err(_)) | None => return,
            },
            room => room,
        };
        let read = tokio::select! {
            read = read(&from_session, &mut buffer, room.min(CHUNK)) => read,
            // The hub has given the stream up while the session had nothing to say.
            _ = poll_fn(|cx| to_hub.poll_reset(cx)) => return,
        };
        match read {
            Ok(0) => {
                let _ = to_hub.send_data(Bytes::new(), true);
                return;
            }
            Ok(_) => {
                if to_hub.send_data(buffer.split().freeze(), false).is_err() {
                    return;
                }
            }
            Err(_) => return to_hub.send_reset(Reason::INTERNAL_ERROR),
        }
    }
}

/// Reads at most `most` bytes; 0 at the end. A session that says nothing holds no memory here.
async fn read(from_session: &OwnedReadHalf, buffer: &mut BytesMut, most: usize) -> io::Result<usize> {
    loop {
        from_session.readable().await?;
        if buffer.capacity() < SCANT {
            buffer.reserve(CHUNK);
        }
        match from_session.try_read_buf(&mut (&mut *buffer).limit(most)) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => *buffer = BytesMut::new(),
            read => return read,
        }
    }
}
