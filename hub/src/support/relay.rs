//! A session's bytes, from the command's socket to the site's stream and back, unread.
//!
//! Nothing is taken from one side before the other has room for it, so that what is in flight is what HTTP/2's windows
//! allow, and a side that stalls holds up nobody but the other.

use std::{
    future::poll_fn,
    io,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use bytes::{BufMut, Bytes, BytesMut};
use demarc_proto::support::SESSION_PIECE;
use h2::{Reason, RecvStream, SendStream};
use tokio::{
    io::Interest,
    net::UnixStream,
    sync::Notify,
    time::{sleep, timeout},
};

use super::reach::Stream;
use crate::hub::Hub;

/// So much is read at a time: what makes one frame, where the site gives room for it.
const CHUNK: usize = SESSION_PIECE as usize;
/// A buffer with less room than this is replaced.
const SCANT: usize = 4 * 1024;
/// How often to look whether a command that says nothing any more is still there to listen.
const WATCH: Duration = Duration::from_secs(1);

/// A site whose engineer left has this long to end the session in order.
const LINGER: Duration = Duration::from_secs(2);

/// What a session moved.
#[derive(Debug, Default)]
pub(super) struct Traffic {
    to_site: AtomicU64,
    from_site: AtomicU64,
}

impl Traffic {
    pub(super) fn sent(&self) -> u64 {
        self.to_site.load(Ordering::Relaxed)
    }

    pub(super) fn received(&self) -> u64 {
        self.from_site.load(Ordering::Relaxed)
    }
}

/// How a session's relay ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Over {
    /// Both sides said all they had to say.
    Finished,
    /// The command is gone.
    CommandGone,
    /// The site gave the stream up, or its tunnel ended.
    SiteGone,
    /// The hub stops.
    Stopped,
}

/// Passes bytes on until it is over. `early` was received together with the question.
pub(super) async fn relay(hub: &Hub, command: &UnixStream, early: BytesMut, stream: Stream, traffic: &Traffic) -> Over {
    let Stream { mut to_site, mut from_site, places: _places, .. } = stream;
    let silent = Notify::new();
    let passing = async {
        let outward = async {
            outward(hub, command, early, &mut to_site, traffic).await?;
            silent.notify_one();
            Ok(())
        };
        tokio::try_join!(outward, inward(hub, &mut from_site, command, traffic))
    };
    let over = tokio::select! {
        passed = passing => match passed {
            Ok(((), ())) => Over::Finished,
            Err(over) => over,
        },
        () = left(command, &silent) => Over::CommandGone,
        () = hub.stop.cancelled() => Over::Stopped,
    };
    if over == Over::CommandGone {
        // What it said last is still under way, and a reset would overtake it.
        to_site.send_data(Bytes::new(), true).ok();
        hub.stop.run_until_cancelled(timeout(LINGER, until_end(&mut from_site))).await;
    }
    if over != Over::Finished {
        to_site.send_reset(Reason::CANCEL);
    }
    over
}

/// From the command to the site.
async fn outward(
    hub: &Hub,
    command: &UnixStream,
    mut buffer: BytesMut,
    to_site: &mut SendStream<Bytes>,
    traffic: &Traffic,
) -> Result<(), Over> {
    loop {
        // When the site does not want any more, it may still have something to say.
        let Some(room) = room(to_site).await else { return Ok(()) };
        if buffer.is_empty() {
            if buffer.capacity() < SCANT {
                buffer.reserve(CHUNK);
            }
            let read = tokio::select! {
                read = read(command, &mut buffer, room) => read.map_err(|_| Over::CommandGone)?,
                _ = poll_fn(|context| to_site.poll_reset(context)) => return Ok(()),
            };
            if read == 0 {
                to_site.send_data(Bytes::new(), true).ok();
                return Ok(());
            }
        }
        let chunk = buffer.split_to(buffer.len().min(room)).freeze();
        let length = chunk.len() as u64;
        if to_site.send_data(chunk, false).is_err() {
            return Ok(());
        }
        traffic.to_site.fetch_add(length, Ordering::Relaxed);
        hub.metrics.support_bytes_out.inc_by(length);
    }
}

/// Waits until the site takes something, and says how much. `None` when it takes nothing any more.
async fn room(to_site: &mut SendStream<Bytes>) -> Option<usize> {
    to_site.reserve_capacity(CHUNK);
    loop {
        match to_site.capacity() {
            0 => poll_fn(|context| to_site.poll_capacity(context)).await?.ok()?,
            room => return Some(room.min(CHUNK)),
        };
    }
}

/// Reads at most `most` bytes; 0 at the end.
async fn read(command: &UnixStream, buffer: &mut BytesMut, most: usize) -> io::Result<usize> {
    loop {
        command.readable().await?;
        match command.try_read_buf(&mut (&mut *buffer).limit(most)) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            read => return read,
        }
    }
}

/// From the site to the command. The site may send as much again as the command took.
async fn inward(hub: &Hub, from_site: &mut RecvStream, command: &UnixStream, traffic: &Traffic) -> Result<(), Over> {
    while let Some(chunk) = from_site.data().await {
        let chunk = chunk.map_err(|_| Over::SiteGone)?;
        write_all(command, &chunk).await.map_err(|_| Over::CommandGone)?;
        from_site.flow_control().release_capacity(chunk.len()).map_err(|_| Over::SiteGone)?;
        traffic.from_site.fetch_add(chunk.len() as u64, Ordering::Relaxed);
        hub.metrics.support_bytes_in.inc_by(chunk.len() as u64);
    }
    // The end is passed on; the command may still have something to say, if the site wants to hear it.
    rustix::net::shutdown(command, rustix::net::Shutdown::Write).map_err(|_| Over::CommandGone)
}

/// Waits for the end. What comes before it is nobody's any more, and no more of it is asked for.
async fn until_end(from_site: &mut RecvStream) {
    while let Some(Ok(_)) = from_site.data().await {}
}

pub(super) async fn write_all(command: &UnixStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        command.writable().await?;
        match command.try_write(bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Ends when a command that says nothing any more does not listen either. A site that is silent too would never tell.
async fn left(command: &UnixStream, silent: &Notify) {
    silent.notified().await;
    loop {
        match command.ready(Interest::WRITABLE).await {
            Ok(ready) if !ready.is_write_closed() => sleep(WATCH).await,
            _ => return,
        }
    }
}
