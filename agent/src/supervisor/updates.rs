//! The door for this machine's package manager: the supervisor takes connections, and reads nothing of them. Where there is a
//! tunnel the link gets them; where there is none they hear at once that there is nothing now.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    os::fd::AsFd,
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use super::Supervisor;
use crate::{
    control::{Offer, Wait},
    ipc::ToLink,
    settings::updates::Updates as Settings,
};

/// Numbers from here on are of fetches; those of sessions count from one.
const FIRST: u64 = 1 << 63;
/// "Try again later": what a package manager passes over, and keeps the lists that it has.
const LATER: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\nContent-Length: 33\r\n\
    Connection: close\r\n\r\nthe tunnel to the vendor is down\n";
/// How long somebody who is sent away is listened to, so that he hears the answer.
const FAREWELL: Duration = Duration::from_secs(2);
/// So much of what he says is read meanwhile.
const MOST_SAID: u64 = 64 * 1024;

/// The door.
pub(super) struct Updates {
    listener: Result<tokio::net::TcpListener, String>,
    address: Option<SocketAddr>,
    handed_over: u64,
}

/// Binds the door, where the settings want one: a confined process cannot.
///
/// # Errors
/// Why there is none, in words.
pub(super) fn bind(settings: &Settings) -> Result<TcpListener, String> {
    if !settings.via_tunnel {
        return Err("off: updates.via_tunnel is false".to_owned());
    }
    let bound = TcpListener::bind(settings.listen).and_then(|listener| {
        listener.set_nonblocking(true)?;
        Ok(listener)
    });
    bound.map_err(|error| format!("no packages at {} (updates.listen): {error}", settings.listen))
}

impl Updates {
    /// Takes over the door. To be called in the runtime.
    pub(super) fn new(bound: Result<TcpListener, String>) -> Self {
        let address = bound.as_ref().ok().and_then(|listener| listener.local_addr().ok());
        let listener = bound.and_then(|listener| {
            tokio::net::TcpListener::from_std(listener).map_err(|error| format!("no packages: {error}"))
        });
        Self { listener, address, handed_over: 0 }
    }

    /// Whether there is a door.
    pub(super) fn is_bound(&self) -> bool {
        self.listener.is_ok()
    }

    /// The next connection.
    pub(super) async fn accept(&self) -> io::Result<TcpStream> {
        match &self.listener {
            Ok(listener) => listener.accept().await.map(|(stream, _)| stream),
            Err(_) => std::future::pending().await,
        }
    }
}

impl Supervisor {
    /// Somebody is at the door.
    pub(super) fn fetch(&mut self, stream: TcpStream) {
        let is_wanted = self.loaded.settings.updates.via_tunnel && self.ending.is_none();
        let is_connected = self.linked.as_ref().is_some_and(|link| link.connected);
        if is_wanted && is_connected && self.pass_to_link(&stream) {
            return;
        }
        tokio::spawn(send_away(stream));
    }

    fn pass_to_link(&mut self, stream: &TcpStream) -> bool {
        let Some(giver) = &self.sessions.giver else { return false };
        let number = FIRST + self.updates.handed_over;
        if giver.give(number, stream.as_fd()).is_err() {
            return false;
        }
        self.updates.handed_over += 1;
        self.link.tell(ToLink::Fetch { number });
        true
    }

    /// What `demarc status` shows of it.
    pub(super) fn offer(&self) -> Offer {
        let settings = &self.loaded.settings.updates;
        let why_not = match (&self.updates.listener, settings.via_tunnel) {
            (_, false) => Some("off: updates.via_tunnel is false".to_owned()),
            (Ok(_), true) if !self.linked.as_ref().is_some_and(|link| link.connected) => {
                Some("nothing while there is no tunnel".to_owned())
            }
            (Ok(_), true) => None,
            (Err(_), true) if self.updates_wait().is_some() => {
                Some("switched on since demarc was started: restart demarc".to_owned())
            }
            (Err(why), true) => Some(why.clone()),
        };
        Offer { address: self.updates.address.filter(|_| settings.via_tunnel), why_not }
    }

    /// A door that was not wanted yet when demarc was started.
    pub(super) fn updates_wait(&self) -> Option<Wait> {
        let was_off = self.updates.listener.as_ref().is_err_and(|why| why.starts_with("off"));
        let words =
            "updates.via_tunnel was switched on since demarc was started: restart demarc to have packages offered.";
        (was_off && self.loaded.settings.updates.via_tunnel).then(|| Wait::new("updates", words))
    }
}

/// Says that there is nothing now, and waits a moment until that was heard: closing on somebody who still speaks would take
/// the answer back.
async fn send_away(mut stream: TcpStream) {
    let saying = async {
        stream.write_all(LATER).await?;
        stream.shutdown().await?;
        tokio::io::copy(&mut (&mut stream).take(MOST_SAID), &mut tokio::io::sink()).await
    };
    let _ = timeout(FAREWELL, saying).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_is_as_long_as_it_says() {
        let text = std::str::from_utf8(LATER).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())), "{}", body.len());
        assert!(bind(&Settings::default()).unwrap_err().starts_with("off"));
    }
}
