//! One TCP connection, to whichever address of a name answers first.

use std::{fmt, io, net::SocketAddr, str::FromStr, time::Duration};

use socket2::{SockRef, TcpKeepalive};
use tokio::{
    net::{TcpSocket, TcpStream, lookup_host},
    task::JoinSet,
    time::{Instant, sleep_until, timeout},
};

use super::error::LinkError;
use crate::settings::load::{Endpoint, endpoint};

/// How long one address may take before the next is tried beside it (RFC 8305, section 5).
const STAGGER: Duration = Duration::from_millis(250);
/// A name with more addresses than this is not worth trying them all.
const MOST_ADDRESSES: usize = 10;
/// The port of a hub whose address names none.
const DEFAULT_PORT: u16 = 443;

impl FromStr for Endpoint {
    type Err = LinkError;

    fn from_str(text: &str) -> Result<Self, LinkError> {
        with_default_port(text, DEFAULT_PORT).ok_or_else(|| LinkError::Address(text.to_owned()))
    }
}

/// Reads `host`, `host:port`, `[v6]` or `[v6]:port`.
pub(crate) fn with_default_port(text: &str, port: u16) -> Option<Endpoint> {
    let text = text.trim();
    endpoint(text).or_else(|| endpoint(&format!("{text}:{port}")))
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

/// Connects to an endpoint; `role` is "the hub" or "the proxy", for the words of an error.
///
/// The name is looked up anew each time, since a vendor moves a hub by changing its DNS entry.
pub(crate) async fn connect(endpoint: &Endpoint, role: &str, within: Duration) -> Result<TcpStream, LinkError> {
    let peer = format!("{role} ({endpoint})");
    let started = Instant::now();
    let not_found = |detail: String| LinkError::NameNotFound { peer: peer.clone(), detail };
    let addresses = match timeout(within, lookup_host((endpoint.host.as_str(), endpoint.port))).await {
        Ok(Ok(found)) => interleave(found),
        Ok(Err(error)) => return Err(not_found(error.to_string())),
        Err(_) => return Err(not_found("the name server does not answer".to_owned())),
    };
    if addresses.is_empty() {
        return Err(not_found("the name has no address".to_owned()));
    }
    match timeout(within.saturating_sub(started.elapsed()), race(addresses)).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => Err(explain(&peer, within, &error)),
        Err(_) => Err(LinkError::NoAnswer { peer, seconds: within.as_secs() }),
    }
}

/// Orders addresses so that the families take turns, IPv6 first where there is one (RFC 8305, section 4).
fn interleave(found: impl Iterator<Item = SocketAddr>) -> Vec<SocketAddr> {
    let (six, four): (Vec<_>, Vec<_>) = found.partition(SocketAddr::is_ipv6);
    let (mut six, mut four) = (six.into_iter(), four.into_iter());
    let turns = std::iter::from_fn(|| match (six.next(), four.next()) {
        (None, None) => None,
        pair => Some([pair.0, pair.1]),
    });
    turns.flatten().flatten().take(MOST_ADDRESSES).collect()
}

/// Tries one address after the other, each beside those before it; the first that connects wins.
async fn race(addresses: Vec<SocketAddr>) -> io::Result<TcpStream> {
    let mut rest = addresses.into_iter();
    let mut attempts = JoinSet::new();
    let mut next_at = Instant::now();
    let mut worst: Option<io::Error> = None;
    loop {
        tokio::select! {
            () = sleep_until(next_at), if rest.len() > 0 => {
                if let Some(address) = rest.next() {
                    attempts.spawn(open(address));
                }
                next_at = Instant::now() + STAGGER;
            }
            Some(attempt) = attempts.join_next() => match attempt.unwrap_or_else(|e| Err(io::Error::other(e))) {
                Ok(stream) => return Ok(stream),
                Err(error) => {
                    next_at = Instant::now();
                    // A refusal says most: somebody is there.
                    if worst.as_ref().is_none_or(|worst| worst.kind() != io::ErrorKind::ConnectionRefused) {
                        worst = Some(error);
                    }
                }
            },
            else => return Err(worst.unwrap_or_else(|| io::ErrorKind::AddrNotAvailable.into())),
        }
    }
}

async fn open(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = if address.is_ipv6() { TcpSocket::new_v6()? } else { TcpSocket::new_v4()? };
    // Whatever ends this process, nothing that still waits in the kernel may leave afterwards: closing resets.
    socket.set_zero_linger()?;
    socket.set_nodelay(true)?;
    SockRef::from(&socket).set_tcp_keepalive(&TcpKeepalive::new().with_time(Duration::from_secs(60)))?;
    socket.connect(address).await
}

fn explain(peer: &str, within: Duration, error: &io::Error) -> LinkError {
    let peer = peer.to_owned();
    match error.kind() {
        io::ErrorKind::ConnectionRefused => LinkError::Refused { peer },
        io::ErrorKind::TimedOut => LinkError::NoAnswer { peer, seconds: within.as_secs() },
        io::ErrorKind::PermissionDenied => LinkError::NotAllowed { peer },
        kind => LinkError::Unreachable { peer, detail: kind.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WITHIN: Duration = Duration::from_secs(5);

    #[test]
    fn endpoints_go_both_ways() {
        for (text, host, port) in [
            ("hub.example:8443", "hub.example", 8443),
            ("hub.example", "hub.example", 443),
            ("127.0.0.1:1", "127.0.0.1", 1),
            ("[::1]:8443", "::1", 8443),
            ("[::1]", "::1", 443),
        ] {
            let endpoint: Endpoint = text.parse().unwrap();
            assert_eq!((endpoint.host.as_str(), endpoint.port), (host, port), "{text}");
            assert_eq!(endpoint.to_string().parse::<Endpoint>().unwrap(), endpoint);
        }
        for bad in ["", ":1", "a:", "a:0", "a:b", "a:70000", "::1:8443", "[::1", "[x]:1", "a b:1", "a\r\n:1", "a/b:1"] {
            assert!(bad.parse::<Endpoint>().is_err(), "{bad}");
        }
    }

    #[test]
    fn families_take_turns() {
        let found = ["1.1.1.1:1", "2.2.2.2:1", "3.3.3.3:1", "[::1]:1"].map(|text| text.parse().unwrap());
        let order: Vec<String> = interleave(found.into_iter()).iter().map(ToString::to_string).collect();
        assert_eq!(order, ["[::1]:1", "1.1.1.1:1", "2.2.2.2:1", "3.3.3.3:1"]);
    }

    #[tokio::test]
    async fn a_dead_address_does_not_hide_a_living_one_and_closing_resets() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let dead = SocketAddr::from(([127, 0, 0, 1], 1));
        let stream = race(vec![dead, listener.local_addr().unwrap()]).await.unwrap();
        assert_eq!(SockRef::from(&stream).linger().unwrap(), Some(Duration::ZERO));
        assert!(stream.nodelay().unwrap());
    }

    #[tokio::test]
    async fn failures_in_words() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let closed = Endpoint { host: "127.0.0.1".into(), port };
        let error = connect(&closed, "the hub", WITHIN).await.unwrap_err();
        assert!(matches!(error, LinkError::Refused { .. }), "{error}");
        let nowhere = Endpoint { host: "no-such-host.invalid".into(), port: 443 };
        let error = connect(&nowhere, "the hub", WITHIN).await.unwrap_err();
        assert!(matches!(error, LinkError::NameNotFound { .. }), "{error}");
        assert!(error.to_string().contains("no-such-host.invalid"));
    }
}
