//! The socket pair between the supervisor and a role, as a stream of messages.

use std::{
    fs::File,
    io::{self, Read, Write},
    marker::PhantomData,
    os::{
        fd::{BorrowedFd, FromRawFd, OwnedFd, RawFd},
        unix::net::UnixStream as StdUnixStream,
    },
};

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use serde::{Serialize, de::DeserializeOwned};
use tokio::net::{
    UnixStream,
    unix::{OwnedReadHalf, OwnedWriteHalf},
};
use tokio_util::codec::{FramedRead, FramedWrite, LengthDelimitedCodec};

use super::{
    FromCollector, FromLink, FromSession, ToCollector, ToLink, ToSession,
    web::{FromWeb, ToWeb},
};

/// The longest message: a certificate request, a receipt and a status are far shorter.
pub const MAX_MESSAGE: usize = 4 << 20;

/// The collector's end.
pub type CollectorChannel = Channel<ToCollector, FromCollector>;
/// The link's end.
pub type LinkChannel = Channel<ToLink, FromLink>;

/// The end of a session's worker.
pub type SessionChannel = Channel<ToSession, FromSession>;

/// The end of the role that serves the owner's pages.
pub type WebChannel = Channel<ToWeb, FromWeb>;

/// One end of a socket pair: takes in `In`, sends `Out`.
#[derive(Debug)]
pub struct Channel<In, Out> {
    sender: Sender<Out>,
    receiver: Receiver<In>,
}

/// The half that sends.
#[derive(Debug)]
pub struct Sender<Out> {
    frames: FramedWrite<OwnedWriteHalf, LengthDelimitedCodec>,
    messages: PhantomData<fn(Out)>,
}

/// The half that takes in.
#[derive(Debug)]
pub struct Receiver<In> {
    frames: FramedRead<OwnedReadHalf, LengthDelimitedCodec>,
    messages: PhantomData<fn() -> In>,
}

/// A message did not pass.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    /// The socket failed, or the other end is gone.
    #[error("the channel to the other process broke")]
    Broken(#[from] io::Error),
    /// The other end sent what is no message: it runs another version of the program.
    #[error("the other process sent a message that this one does not know (is it of the same version?)")]
    Unknown(#[source] serde_json::Error),
    /// The message has no JSON form.
    #[error("a message could not be written as JSON")]
    Unwritable(#[source] serde_json::Error),
}

impl<In: DeserializeOwned, Out: Serialize> Channel<In, Out> {
    /// Takes a connected socket; needs a running tokio runtime.
    ///
    /// # Errors
    /// When the socket cannot be made non-blocking or be registered with the runtime.
    pub fn new(socket: StdUnixStream) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let (read, write) = UnixStream::from_std(socket)?.into_split();
        Ok(Self {
            sender: Sender { frames: FramedWrite::new(write, codec()), messages: PhantomData },
            receiver: Receiver { frames: FramedRead::new(read, codec()), messages: PhantomData },
        })
    }

    /// Sends one message; see [`Sender::send`].
    ///
    /// # Errors
    /// As [`Sender::send`].
    pub async fn send(&mut self, message: &Out) -> Result<(), ChannelError> {
        self.sender.send(message).await
    }

    /// Waits for one message; see [`Receiver::recv`].
    ///
    /// # Errors
    /// As [`Receiver::recv`].
    pub async fn recv(&mut self) -> Result<Option<In>, ChannelError> {
        self.receiver.recv().await
    }

    /// The two halves, for two tasks.
    pub fn split(self) -> (Sender<Out>, Receiver<In>) {
        (self.sender, self.receiver)
    }
}

impl<Out: Serialize> Sender<Out> {
    /// Sends one message and flushes it into the socket. Dropping the future may lose the message, and never
    /// cuts it in two.
    ///
    /// # Errors
    /// When the other end is gone.
    pub async fn send(&mut self, message: &Out) -> Result<(), ChannelError> {
        let body = serde_json::to_vec(message).map_err(ChannelError::Unwritable)?;
        Ok(self.frames.send(Bytes::from(body)).await?)
    }
}

impl<In: DeserializeOwned> Receiver<In> {
    /// Waits for one message; `None` when the other end closed. Dropping the future loses nothing, so it may stand
    /// in a `select!`.
    ///
    /// # Errors
    /// When the socket fails or holds what is no message.
    pub async fn recv(&mut self) -> Result<Option<In>, ChannelError> {
        match self.frames.next().await {
            None => Ok(None),
            Some(frame) => serde_json::from_slice(&frame?).map(Some).map_err(ChannelError::Unknown),
        }
    }
}

/// The socket that the supervisor left at that descriptor. To be called once for each.
///
/// # Errors
/// When there is none: the program was not started by the supervisor.
pub fn inherited(number: RawFd) -> io::Result<OwnedFd> {
    inherited_as(number, rustix::fs::FileType::Socket)
}

/// The file that the supervisor left open at that descriptor. To be called once for each.
///
/// # Errors
/// As [`inherited`].
pub fn inherited_file(number: RawFd) -> io::Result<File> {
    inherited_as(number, rustix::fs::FileType::RegularFile).map(File::from)
}

fn inherited_as(number: RawFd, kind: rustix::fs::FileType) -> io::Result<OwnedFd> {
    // SAFETY: the descriptor is only borrowed for this call; a bad number makes the call fail.
    let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
    let metadata = rustix::fs::fstat(borrowed)?;
    if rustix::fs::FileType::from_raw_mode(metadata.st_mode) != kind {
        return Err(io::Error::other(format!("descriptor {number} is not what it should be ({kind:?})")));
    }
    rustix::io::fcntl_setfd(borrowed, rustix::io::FdFlags::CLOEXEC)?;
    // SAFETY: the descriptor is open (fstat succeeded), and only this call, made once at start, takes it over.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Sends one message before any runtime runs.
///
/// # Errors
/// When the other end is gone.
pub fn send_blocking<Out: Serialize>(socket: &mut StdUnixStream, message: &Out) -> Result<(), ChannelError> {
    let body = serde_json::to_vec(message).map_err(ChannelError::Unwritable)?;
    let length = u32::try_from(body.len()).map_err(|_| io::Error::other("the message is too long"))?;
    let mut frame = Vec::with_capacity(4 + body.len());
    frame.extend_from_slice(&length.to_be_bytes());
    frame.extend_from_slice(&body);
    Ok(socket.write_all(&frame)?)
}

/// Waits for one message before any runtime runs, and reads not a byte more than it.
///
/// # Errors
/// When the other end is gone or sends what is no message.
pub fn recv_blocking<In: DeserializeOwned>(socket: &mut StdUnixStream) -> Result<In, ChannelError> {
    let mut length = [0; 4];
    socket.read_exact(&mut length)?;
    let length = u32::from_be_bytes(length) as usize;
    if length > MAX_MESSAGE {
        return Err(io::Error::other("the message is too long").into());
    }
    let mut body = vec![0; length];
    socket.read_exact(&mut body)?;
    serde_json::from_slice(&body).map_err(ChannelError::Unknown)
}

fn codec() -> LengthDelimitedCodec {
    LengthDelimitedCodec::builder().max_frame_length(MAX_MESSAGE).new_codec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn messages_pass_both_ways_and_the_end_is_seen() {
        let (ours, theirs) = StdUnixStream::pair().unwrap();
        let mut role: LinkChannel = Channel::new(theirs).unwrap();
        let supervisor: Channel<FromLink, ToLink> = Channel::new(ours).unwrap();
        let (mut sender, mut receiver) = supervisor.split();
        sender.send(&ToLink::Recorded { number: 7 }).await.unwrap();
        sender.send(&ToLink::Stop).await.unwrap();
        assert_eq!(role.recv().await.unwrap(), Some(ToLink::Recorded { number: 7 }));
        role.send(&FromLink::Applied { generation: 3 }).await.unwrap();
        assert_eq!(role.recv().await.unwrap(), Some(ToLink::Stop));
        assert_eq!(receiver.recv().await.unwrap(), Some(FromLink::Applied { generation: 3 }));
        drop((sender, receiver));
        assert_eq!(role.recv().await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_blocking_end_speaks_the_same_frames() {
        let (ours, mut theirs) = StdUnixStream::pair().unwrap();
        let mut supervisor: Channel<FromLink, ToLink> = Channel::new(ours).unwrap();
        supervisor.send(&ToLink::OutboxChanged).await.unwrap();
        supervisor.send(&ToLink::Stop).await.unwrap();
        let first: ToLink = recv_blocking(&mut theirs).unwrap();
        let second: ToLink = recv_blocking(&mut theirs).unwrap();
        assert_eq!((first, second), (ToLink::OutboxChanged, ToLink::Stop));
        send_blocking(&mut theirs, &FromLink::Applied { generation: 1 }).unwrap();
        assert_eq!(supervisor.recv().await.unwrap(), Some(FromLink::Applied { generation: 1 }));
    }

    #[tokio::test]
    async fn what_is_no_message_is_an_error() {
        let (ours, mut theirs) = StdUnixStream::pair().unwrap();
        let mut supervisor: Channel<FromLink, ToLink> = Channel::new(ours).unwrap();
        theirs.write_all(&[0, 0, 0, 3, b'{', b'}', b' ']).unwrap();
        assert!(matches!(supervisor.recv().await, Err(ChannelError::Unknown(_))));
        theirs.write_all(&[0xff; 8]).unwrap();
        assert!(matches!(supervisor.recv().await, Err(ChannelError::Broken(_))));
    }
}
