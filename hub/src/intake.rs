//! A connection that is read in big pieces while much comes, and that holds no memory while nothing does.
//!
//! TLS asks for 4 KiB at a time. That suits thousands of tunnels on which a message comes now and then; a support session
//! that moves a file would spend a good part of its time in system calls.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::io::poll_read_buf;

/// So much is read at a time while much comes.
const PIECE: usize = 64 * 1024;

/// The connection.
#[derive(Debug)]
pub struct Intake<S> {
    inner: S,
    /// What was read and not asked for yet.
    ahead: BytesMut,
    /// Whether the last read found all that was asked for: there may be more.
    is_busy: bool,
}

impl<S> Intake<S> {
    /// Reads from `inner`, and writes to it as if this were not here.
    pub fn new(inner: S) -> Self {
        Self { inner, ahead: BytesMut::new(), is_busy: false }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Intake<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.ahead.is_empty() {
            if !this.is_busy {
                let result = ready!(Pin::new(&mut this.inner).poll_read(cx, into));
                this.is_busy = into.remaining() == 0;
                return Poll::Ready(result);
            }
            this.ahead.reserve(PIECE);
            let read = poll_read_buf(Pin::new(&mut this.inner), cx, &mut this.ahead);
            if !matches!(read, Poll::Ready(Ok(1..))) {
                // That was all for now.
                (this.ahead, this.is_busy) = (BytesMut::new(), false);
                return read.map_ok(drop);
            }
        }
        let count = this.ahead.len().min(into.remaining());
        into.put_slice(&this.ahead[..count]);
        this.ahead.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Intake<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().inner).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().inner).poll_write_vectored(cx, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test]
    async fn every_byte_comes_in_order_and_nothing_is_held_in_silence() {
        let (near, mut far) = duplex(300_000);
        let mut intake = Intake::new(near);
        let sent: Vec<u8> = (0..250_000u32).map(|number| (number % 251) as u8).collect();
        let mut got = Vec::new();
        for part in [&sent[..10], &sent[10..200_000], &sent[200_000..]] {
            far.write_all(part).await.unwrap();
            let wanted = got.len() + part.len();
            while got.len() < wanted {
                let mut piece = [0; 4096];
                let count = intake.read(&mut piece).await.unwrap();
                got.extend_from_slice(&piece[..count]);
            }
            assert_eq!(got.len(), wanted);
            // Nothing more comes, and somebody asks.
            let mut piece = [0; 4096];
            assert!(futures_util::poll!(Box::pin(intake.read(&mut piece))).is_pending());
            assert_eq!((intake.ahead.capacity(), intake.is_busy), (0, false));
        }
        assert!(got == sent);
        far.write_all(b"last").await.unwrap();
        drop(far);
        let mut rest = Vec::new();
        intake.read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest, b"last");
    }
}
