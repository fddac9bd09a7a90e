//! The control stream: frames in, frames out, with bounds on size, time and memory.

use std::{future::poll_fn, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use demarc_proto::{
    ToAgent,
    frame::{self, MAX_TO_AGENT, MAX_TO_HUB},
};
use h2::{RecvStream, SendStream};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};
use tokio_util::codec::{Decoder, Encoder, LengthDelimitedCodec};

/// A frame must be whole this long after it began.
const FRAME: Duration = Duration::from_secs(60);
/// The site must take an answer within this time.
const SEND: Duration = Duration::from_secs(30);
/// The site must hear the end within this time.
const FAREWELL: Duration = Duration::from_secs(1);
/// A frame that grows beyond this takes room from what all connections share.
const SHORT: usize = 8 * 1024;

/// The control stream.
pub(super) struct Control {
    send: SendStream<Bytes>,
    receive: RecvStream,
    codec: LengthDelimitedCodec,
    /// What came of the next frame; empty, and without memory, between frames.
    buffer: BytesMut,
}

/// The control stream cannot go on.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    #[error("the stream ended")]
    Closed,
    #[error("it sent {0}")]
    Unexpected(&'static str),
    #[error("it sent a frame that is too long")]
    TooLong,
    #[error("it took too long over a frame")]
    Slow,
}

impl Control {
    pub(super) fn new(send: SendStream<Bytes>, receive: RecvStream) -> Self {
        Self { send, receive, codec: frame::codec(MAX_TO_HUB), buffer: BytesMut::new() }
    }

    /// The next frame's payload; `None` when the stream ended between two frames.
    pub(super) async fn next(&mut self, room: &Arc<Semaphore>) -> Result<Option<BytesMut>, Fault> {
        // Most tunnels wait here most of the time, so this future holds nothing that only a frame under way needs.
        if self.buffer.is_empty() && !self.receive_more().await? {
            return Ok(None);
        }
        let payload = match self.decode()? {
            Some(payload) => payload,
            None => Box::pin(timeout(FRAME, self.rest(room))).await.map_err(|_| Fault::Slow)??,
        };
        if self.buffer.is_empty() {
            self.buffer = BytesMut::new();
        }
        Ok(Some(payload))
    }

    /// The frame that has begun.
    async fn rest(&mut self, room: &Arc<Semaphore>) -> Result<BytesMut, Fault> {
        let mut taken: Option<OwnedSemaphorePermit> = None;
        loop {
            if self.buffer.len() > SHORT && taken.is_none() {
                let length = u32::try_from(MAX_TO_HUB).unwrap_or(u32::MAX);
                taken = room.clone().acquire_many_owned(length).await.ok();
            }
            if !self.receive_more().await? {
                return Err(Fault::Closed);
            }
            if let Some(payload) = self.decode()? {
                return Ok(payload);
            }
        }
    }

    /// Waits for bytes; false at the end of the stream.
    async fn receive_more(&mut self) -> Result<bool, Fault> {
        let Some(data) = self.receive.data().await else { return Ok(false) };
        let data = data.map_err(|_| Fault::Closed)?;
        self.receive.flow_control().release_capacity(data.len()).map_err(|_| Fault::Closed)?;
        self.buffer.extend_from_slice(&data);
        Ok(true)
    }

    fn decode(&mut self) -> Result<Option<BytesMut>, Fault> {
        self.codec.decode(&mut self.buffer).map_err(|_| Fault::TooLong)
    }

    /// Sends a message, and says how many bytes it was. Nothing is queued for a site that does not read.
    pub(super) async fn send(&mut self, message: &ToAgent) -> Result<u64, Fault> {
        let payload = frame::encode(message);
        let mut bytes = BytesMut::with_capacity(payload.len() + 4);
        frame::codec(MAX_TO_AGENT).encode(Bytes::from(payload), &mut bytes).map_err(|_| Fault::TooLong)?;
        let length = bytes.len();
        self.send.reserve_capacity(length);
        let room = async {
            while self.send.capacity() < length {
                match poll_fn(|context| self.send.poll_capacity(context)).await {
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => return Err(Fault::Closed),
                }
            }
            Ok(())
        };
        timeout(SEND, room).await.map_err(|_| Fault::Slow)??;
        self.send.send_data(bytes.freeze(), false).map_err(|_| Fault::Closed)?;
        Ok(length as u64)
    }

    /// Says that nothing more will come, and waits until the site has heard it: what was sent before would be lost
    /// with the stream otherwise.
    pub(super) async fn finish(mut self) {
        let said = self.send.send_data(Bytes::new(), true);
        let heard = async { while let Some(Ok(_)) = self.receive.data().await {} };
        if said.is_ok() {
            // Whoever does not answer has had time to hear it.
            timeout(FAREWELL, heard).await.ok();
        }
    }
}
