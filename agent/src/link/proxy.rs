//! The way through a proxy: HTTP CONNECT (RFC 9110, section 9.3.6), or SOCKS 5 (RFC 1928, RFC 1929).

use std::{io, net::IpAddr, time::Duration};

use data_encoding::BASE64;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use super::{
    dial::{self, with_default_port},
    error::LinkError,
};
use crate::settings::{Secret, load::Endpoint};

/// The header of an answer to CONNECT may not be longer.
const MAX_HEADER: usize = 8 * 1024;

/// A proxy, as its address names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxy {
    kind: Kind,
    endpoint: Endpoint,
    login: Option<Login>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Http,
    Socks5,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Login {
    user: Secret,
    password: Secret,
}

/// What can go wrong with a proxy. Neither its user nor its password stands in any message.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// The setting is not an address.
    #[error("the proxy's address (tunnel.proxy or HTTPS_PROXY) cannot be read: write http://[user:password@]host:port")]
    Address,
    /// The setting names a protocol that is not spoken here.
    #[error(
        "proxies are spoken to by http:// or socks5:// only; the address of the proxy (tunnel.proxy or HTTPS_PROXY) begins otherwise"
    )]
    Scheme,
    /// It wants a login.
    #[error("the proxy {0} wants a user and a password: put them into tunnel.proxy (http://user:password@host:port)")]
    LoginWanted(String),
    /// It does not take the login.
    #[error("the proxy {0} does not accept the user and password in tunnel.proxy (or HTTPS_PROXY)")]
    LoginRefused(String),
    /// It does not let us through.
    #[error(
        "the proxy {proxy} does not allow a connection to {hub} ({detail}): ask its administrator for an exception"
    )]
    Forbidden {
        /// The proxy's address.
        proxy: String,
        /// The hub's address.
        hub: String,
        /// Its own reason, as a number.
        detail: String,
    },
    /// It cannot get there either.
    #[error("the proxy {proxy} cannot reach {hub} ({detail})")]
    Upstream {
        /// The proxy's address.
        proxy: String,
        /// The hub's address.
        hub: String,
        /// Its own reason, as a number or a word.
        detail: String,
    },
    /// Whatever answers there is no proxy.
    #[error("{0} does not answer like a proxy: check tunnel.proxy (or HTTPS_PROXY)")]
    NotAProxy(String),
    /// It does not answer in time.
    #[error("the proxy {proxy} did not answer within {seconds} s")]
    Silent {
        /// The proxy's address.
        proxy: String,
        /// How long was waited.
        seconds: u64,
    },
    /// It hangs up.
    #[error("the proxy {0} closed the connection instead of answering")]
    HungUp(String),
}

/// Which proxy counts for a hub: the setting where there is one (an empty one means none), else `HTTPS_PROXY` or
/// `https_proxy`, unless `NO_PROXY` names the hub. `environment` looks a variable up.
pub fn choose(setting: Option<&Secret>, hub: &str, environment: impl Fn(&str) -> Option<String>) -> Option<Secret> {
    if let Some(setting) = setting {
        return Some(setting).filter(|setting| !setting.expose().trim().is_empty()).cloned();
    }
    let either = |upper: &str, lower: &str| environment(upper).or_else(|| environment(lower));
    let proxy = either("HTTPS_PROXY", "https_proxy").filter(|proxy| !proxy.trim().is_empty())?;
    let exceptions = either("NO_PROXY", "no_proxy").unwrap_or_default();
    let hub: Endpoint = hub.parse().ok()?;
    if exceptions.split(',').any(|exception| excepts(exception.trim(), &hub)) {
        return None;
    }
    // Other programs take `proxy:3128` from the environment, so it is often written like that.
    let scheme = if proxy.contains("://") { "" } else { "http://" };
    Some(Secret::new(format!("{scheme}{}", proxy.trim())))
}

/// Whether one item of `NO_PROXY` names the hub: `*`, an address, a network such as `10.0.0.0/8`, a name, or a
/// domain with everything below it, each with or without a port.
fn excepts(item: &str, hub: &Endpoint) -> bool {
    if item.is_empty() || item == "*" {
        return item == "*";
    }
    if let (Some((network, bits)), Ok(address)) = (item.split_once('/'), hub.host.parse::<IpAddr>()) {
        return network.parse().is_ok_and(|network| bits.parse().is_ok_and(|bits| in_network(address, network, bits)));
    }
    let (name, port) = match item.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((name, port)) => (name, port.strip_prefix(':')),
            None => return false,
        },
        None if item.parse::<IpAddr>().is_ok() => (item, None),
        None => match item.split_once(':') {
            Some((name, port)) => (name, Some(port)),
            None => (item, None),
        },
    };
    if port.is_some_and(|port| port.parse() != Ok(hub.port)) {
        return false;
    }
    let name = name.trim_start_matches('*').trim_start_matches('.');
    let (name, host) = (name.to_ascii_lowercase(), hub.host.to_ascii_lowercase());
    host == name || (!name.is_empty() && host.strip_suffix(&name).is_some_and(|rest| rest.ends_with('.')))
}

fn in_network(address: IpAddr, network: IpAddr, bits: u32) -> bool {
    let same = |a: u128, b: u128, width: u32| bits <= width && (a ^ b).checked_shr(width - bits).unwrap_or(0) == 0;
    match (address, network) {
        (IpAddr::V4(a), IpAddr::V4(b)) => same(u128::from(a.to_bits()), u128::from(b.to_bits()), 32),
        (IpAddr::V6(a), IpAddr::V6(b)) => same(a.to_bits(), b.to_bits(), 128),
        _ => false,
    }
}

impl Proxy {
    /// Reads `http://[user[:password]@]host[:port][/]`, or the same with `socks5://` (which is `socks5h://` too: the proxy
    /// always looks the name up).
    ///
    /// # Errors
    /// When the text is not such an address, or names another protocol.
    pub fn parse(address: &Secret) -> Result<Self, ProxyError> {
        let text = address.expose().trim();
        let (kind, rest) = match text.split_once("://") {
            None => return Err(ProxyError::Address),
            Some((scheme, rest)) => match scheme.to_ascii_lowercase().as_str() {
                "http" => (Kind::Http, rest),
                "socks5" | "socks5h" => (Kind::Socks5, rest),
                _ => return Err(ProxyError::Scheme),
            },
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (login, place) = match rest.rsplit_once('@') {
            None => (None, rest),
            Some((login, place)) => {
                let (user, password) = login.split_once(':').unwrap_or((login, ""));
                let user = percent_decoded(user).filter(|user| !user.contains(':')).ok_or(ProxyError::Address)?;
                let password = percent_decoded(password).ok_or(ProxyError::Address)?;
                (Some(Login { user: Secret::new(user), password: Secret::new(password) }), place)
            }
        };
        let port = if kind == Kind::Http { 80 } else { 1080 };
        let endpoint = with_default_port(place, port).ok_or(ProxyError::Address)?;
        Ok(Self { kind, endpoint, login })
    }

    /// Where the proxy itself listens: the only place that the link then connects to.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Connects to the proxy and has it connect to the hub; the stream that comes back leads to the hub.
    pub(crate) async fn connect(&self, hub: &Endpoint, within: Duration) -> Result<TcpStream, LinkError> {
        let mut stream = dial::connect(&self.endpoint, "the proxy", within).await?;
        let asking = async {
            match self.kind {
                Kind::Http => self.ask_http(&mut stream, hub).await,
                Kind::Socks5 => self.ask_socks(&mut stream, hub).await,
            }
        };
        match timeout(within, asking).await {
            Ok(Ok(())) => Ok(stream),
            Ok(Err(error)) => Err(error.into()),
            Err(_) => Err(ProxyError::Silent { proxy: self.name(), seconds: within.as_secs() }.into()),
        }
    }

    fn name(&self) -> String {
        self.endpoint.to_string()
    }

    fn hung_up(&self, _: io::Error) -> ProxyError {
        ProxyError::HungUp(self.name())
    }

    async fn ask_http(&self, stream: &mut TcpStream, hub: &Endpoint) -> Result<(), ProxyError> {
        let mut request = format!("CONNECT {hub} HTTP/1.1\r\nHost: {hub}\r\n");
        if let Some(Login { user, password }) = &self.login {
            let pair = BASE64.encode(format!("{}:{}", user.expose(), password.expose()).as_bytes());
            request.push_str(&format!("Proxy-Authorization: Basic {pair}\r\n"));
        }
        request.push_str("\r\n");
        stream.write_all(request.as_bytes()).await.map_err(|e| self.hung_up(e))?;
        let mut header = Vec::with_capacity(512);
        while !header.ends_with(b"\r\n\r\n") {
            if header.len() >= MAX_HEADER {
                return Err(ProxyError::NotAProxy(self.name()));
            }
            // One byte at a time: whatever follows the header belongs to TLS.
            match stream.read_u8().await {
                Ok(byte) => header.push(byte),
                Err(_) if header.is_empty() => return Err(ProxyError::HungUp(self.name())),
                Err(_) => return Err(ProxyError::NotAProxy(self.name())),
            }
            let shown = header.len().min(7);
            if header[..shown] != b"HTTP/1."[..shown] {
                return Err(ProxyError::NotAProxy(self.name()));
            }
        }
        let status = status_of(&header).ok_or_else(|| ProxyError::NotAProxy(self.name()))?;
        let (proxy, hub, detail) = (self.name(), hub.to_string(), format!("HTTP {status}"));
        match status {
            200..300 => Ok(()),
            407 if self.login.is_some() => Err(ProxyError::LoginRefused(proxy)),
            407 => Err(ProxyError::LoginWanted(proxy)),
            500.. => Err(ProxyError::Upstream { proxy, hub, detail }),
            _ => Err(ProxyError::Forbidden { proxy, hub, detail }),
        }
    }

    async fn ask_socks(&self, stream: &mut TcpStream, hub: &Endpoint) -> Result<(), ProxyError> {
        let name = self.name();
        let hung_up = |e| self.hung_up(e);
        let greeting: &[u8] = if self.login.is_some() { &[5, 2, 0, 2] } else { &[5, 1, 0] };
        stream.write_all(greeting).await.map_err(hung_up)?;
        let mut answer = [0; 2];
        stream.read_exact(&mut answer).await.map_err(hung_up)?;
        match (answer, &self.login) {
            ([5, 0], _) => {}
            ([5, 2], Some(Login { user, password })) => {
                let mut login = vec![1];
                for part in [user, password] {
                    let part = part.expose().as_bytes();
                    login.push(u8::try_from(part.len()).map_err(|_| ProxyError::Address)?);
                    login.extend_from_slice(part);
                }
                stream.write_all(&login).await.map_err(hung_up)?;
                stream.read_exact(&mut answer).await.map_err(hung_up)?;
                if answer[1] != 0 {
                    return Err(ProxyError::LoginRefused(name));
                }
            }
            ([5, 0xff], Some(_)) => return Err(ProxyError::LoginRefused(name)),
            ([5, 0xff], None) => return Err(ProxyError::LoginWanted(name)),
            _ => return Err(ProxyError::NotAProxy(name)),
        }
        stream.write_all(&socks_request(hub).ok_or(ProxyError::Address)?).await.map_err(hung_up)?;
        let mut head = [0; 4];
        stream.read_exact(&mut head).await.map_err(hung_up)?;
        let (proxy, hub, detail) = (name.clone(), hub.to_string(), format!("SOCKS reply {}", head[1]));
        match (head[0], head[1]) {
            (5, 0) => {}
            (5, 2) => return Err(ProxyError::Forbidden { proxy, hub, detail }),
            (5, _) => return Err(ProxyError::Upstream { proxy, hub, detail }),
            _ => return Err(ProxyError::NotAProxy(name)),
        }
        // The address that the proxy bound is of no use here; it must only be read to its end.
        let length = match head[3] {
            1 => 4,
            3 => usize::from(stream.read_u8().await.map_err(hung_up)?),
            4 => 16,
            _ => return Err(ProxyError::NotAProxy(name)),
        };
        stream.read_exact(&mut [0; 257][..length + 2]).await.map_err(hung_up)?;
        Ok(())
    }
}

/// The request to connect; a name is left to the proxy to look up.
fn socks_request(hub: &Endpoint) -> Option<Vec<u8>> {
    let mut request = vec![5, 1, 0];
    match hub.host.parse() {
        Ok(IpAddr::V4(address)) => {
            request.push(1);
            request.extend_from_slice(&address.octets());
        }
        Ok(IpAddr::V6(address)) => {
            request.push(4);
            request.extend_from_slice(&address.octets());
        }
        Err(_) => {
            request.push(3);
            request.push(u8::try_from(hub.host.len()).ok()?);
            request.extend_from_slice(hub.host.as_bytes());
        }
    }
    request.extend_from_slice(&hub.port.to_be_bytes());
    Some(request)
}

fn status_of(header: &[u8]) -> Option<u16> {
    let line = header.split(|&b| b == b'\r').next()?;
    let line = std::str::from_utf8(line).ok()?;
    let status = line.strip_prefix("HTTP/1.")?.split(' ').nth(1)?;
    status.parse().ok().filter(|status| (100..600).contains(status))
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let mut digit = || char::from(bytes.next()?).to_digit(16);
            let value = digit()? * 16 + digit()?;
            decoded.push(u8::try_from(value).ok()?);
        } else {
            decoded.push(byte);
        }
    }
    String::from_utf8(decoded).ok().filter(|text| !text.contains(['\r', '\n', '\0']))
}

#[cfg(test)]
#[path = "proxy_tests.rs"]
mod tests;
