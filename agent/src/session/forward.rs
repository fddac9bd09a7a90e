//! A channel that is connected to one port of the machine's own loopback address.

use std::{
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    num::NonZeroU16,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use bytes::BytesMut;
use tokio::{
    io::AsyncWriteExt,
    net::{TcpStream, tcp::OwnedReadHalf},
    time::timeout,
};

use super::{channel::Served, queue::Lane};

/// How much is read from the port at a time: three packets of SSH, which then leave together.
const PIECE: usize = 96 << 10;
/// A buffer with less room than this is replaced.
const SCANT: usize = 16 << 10;
/// How long a port of this machine has to take a connection.
const CONNECT: Duration = Duration::from_secs(5);

/// Whether a forward to that host and port is what the owner granted.
pub(super) fn is_granted(granted: NonZeroU16, host: &str, port: u32) -> Option<SocketAddr> {
    if port != u32::from(granted.get()) {
        return None;
    }
    match host {
        "127.0.0.1" | "localhost" => Some((Ipv4Addr::LOCALHOST, granted.get()).into()),
        "::1" | "[::1]" => Some((Ipv6Addr::LOCALHOST, granted.get()).into()),
        _ => None,
    }
}

/// Connects to a port of this machine. `localhost` is tried at its IPv6 address too.
///
/// # Errors
/// When nothing listens there.
pub(super) async fn connect(address: SocketAddr, host: &str) -> std::io::Result<TcpStream> {
    let connected = timeout(CONNECT, TcpStream::connect(address)).await?;
    match connected {
        Err(_) if host == "localhost" => {
            timeout(CONNECT, TcpStream::connect((Ipv6Addr::LOCALHOST, address.port()))).await?
        }
        connected => connected,
    }
}

/// Passes bytes both ways until both ends have said that nothing more follows, or either is gone.
pub(super) async fn serve(served: Served, port: TcpStream, number: u64) {
    let context = &served.context;
    let began = Instant::now();
    let (came, went) = (AtomicU64::new(0), AtomicU64::new(0));
    let (from, mut to) = port.into_split();
    let towards_port = async {
        while let Some((_, bytes)) = served.input.take().await {
            to.write_all(&bytes).await.map_err(drop)?;
            came.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        }
        // Only this half is over: the answer may still be on its way.
        to.shutdown().await.map_err(drop)
    };
    let towards_engineer = async {
        let mut buffer = BytesMut::new();
        while read(&from, &mut buffer).await.map_err(drop)? > 0 {
            let piece = buffer.split().freeze();
            let count = piece.len() as u64;
            served.send(Lane::Main, piece).await.map_err(drop)?;
            went.fetch_add(count, Ordering::Relaxed);
        }
        served.write.eof().await.map_err(drop)
    };
    tokio::select! {
        _ = async { tokio::try_join!(towards_port, towards_engineer) } => {}
        () = served.closed.cancelled() => {}
    }
    let seconds = began.elapsed().as_secs_f64();
    let (came, went) = (came.into_inner(), went.into_inner());
    context
        .recorder
        .mark(&format!("forward {number} closed after {seconds:.1} s: {came} bytes to the port, {went} bytes from it"));
    // Closing twice does no harm.
    let _ = served.write.close().await;
}

/// Reads what is there; 0 at the end. A port that says nothing holds no memory.
async fn read(from: &OwnedReadHalf, buffer: &mut BytesMut) -> std::io::Result<usize> {
    loop {
        from.readable().await?;
        if buffer.capacity() < SCANT {
            buffer.reserve(PIECE);
        }
        match from.try_read_buf(buffer) {
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => *buffer = BytesMut::new(),
            read => return read,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_granted_port_of_this_machine() {
        let granted = NonZeroU16::new(443).unwrap();
        for host in ["127.0.0.1", "localhost", "::1"] {
            assert!(is_granted(granted, host, 443).is_some_and(|address| address.ip().is_loopback()), "{host}");
        }
        for (host, port) in [
            ("127.0.0.1", 444),
            ("127.0.0.1", 65_536 + 443),
            ("127.0.0.2", 443),
            ("0.0.0.0", 443),
            ("10.0.0.1", 443),
            ("LOCALHOST", 443),
            ("localhost.", 443),
            ("", 443),
            ("::ffff:127.0.0.1", 443),
        ] {
            assert!(is_granted(granted, host, port).is_none(), "{host}:{port}");
        }
    }
}
