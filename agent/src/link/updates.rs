//! The vendor's package repository, as this machine's own package manager sees it. Nothing here installs anything, or asks for
//! anything by itself.
//!
//! A package manager takes "not found" for a repository that is broken, and then breaks off the update of the whole machine;
//! "try again later" it passes over, and keeps the lists that it has. So whatever is wrong, the answer is 503.
//!
//! Who is served is polled where the link waits for the supervisor, so that dropping it is all that it takes to cut it off, and
//! what is confirmed after that is true.

use std::{collections::BTreeMap, convert::Infallible, os::fd::OwnedFd, pin::Pin, sync::Arc, time::Duration};

use demarc_proto::UPDATES_PATH;
use futures_util::{StreamExt, stream::FuturesUnordered};
use http::{HeaderName, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Empty, Full, combinators::UnsyncBoxBody};
use hyper::{
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::TcpStream,
    sync::{mpsc, oneshot},
    time::timeout,
};

use super::{Patience, files, now};
use crate::{ipc::LinkSettings, settings::load::Endpoint};

/// Connections of package managers at a time.
const MOST: usize = 8;
/// Requests that wait for the ledger.
const MOST_WISHES: usize = 8;
/// The longest path of a file in a repository.
const MOST_PATH: usize = 1024;
/// The longest list of a repository's files that is read here.
const MOST_RELEASE: usize = 4 * 1024 * 1024;
/// The head of a request must be there after this time.
const HEAD: Duration = Duration::from_secs(30);
/// The longest head, which is also the least that the library takes.
const MAX_HEAD: usize = 8 * 1024;

/// What the hub hears of the request beside the path. Who asks, and with what, it does not learn.
const PASSED_UP: [HeaderName; 2] = [header::RANGE, header::IF_RANGE];
/// What the package manager hears of the answer beside the file.
const PASSED_DOWN: [HeaderName; 5] =
    [header::CONTENT_LENGTH, header::CONTENT_RANGE, header::CONTENT_TYPE, header::LAST_MODIFIED, header::ACCEPT_RANGES];

type Body = UnsyncBoxBody<Bytes, hyper::Error>;

/// The head of a request, which must be in the ledger before it leaves.
pub(crate) struct Wish {
    head: String,
    granted: oneshot::Sender<()>,
}

impl Wish {
    /// The exact bytes.
    pub(crate) fn head(&self) -> &str {
        &self.head
    }
}

/// The package managers that are being served.
pub(crate) struct Updates {
    served: FuturesUnordered<Pin<Box<dyn Future<Output = ()> + Send>>>,
    ask: mpsc::Sender<Wish>,
    wishes: mpsc::Receiver<Wish>,
    /// By the number of their entry.
    being_recorded: BTreeMap<u64, Wish>,
}

impl Default for Updates {
    fn default() -> Self {
        let (ask, wishes) = mpsc::channel(MOST_WISHES);
        Self { served: FuturesUnordered::new(), ask, wishes, being_recorded: BTreeMap::new() }
    }
}

impl Updates {
    /// Serves a connection from here on.
    pub(crate) fn serve(&mut self, connection: OwnedFd, settings: &LinkSettings, patience: Patience) {
        let stream = std::net::TcpStream::from(connection);
        let stream = stream.set_nonblocking(true).and_then(|()| TcpStream::from_std(stream));
        let Ok(stream) = stream else { return };
        let is_open = settings.updates && self.served.len() < MOST;
        let counter = Counter { settings: settings.clone(), patience, ask: self.ask.clone(), is_open };
        self.served.push(Box::pin(counter.serve(stream)));
    }

    /// The owner does not want this any more, or the hub is another one: when this returns, every connection of it is closed.
    pub(crate) fn stop(&mut self) {
        self.served.clear();
        self.being_recorded.clear();
        while self.wishes.try_recv().is_ok() {}
    }

    /// Serves, until there is a request that must be entered in the ledger. Nothing is lost when this is not waited for to the
    /// end.
    pub(crate) async fn next_wish(&mut self) -> Wish {
        loop {
            tokio::select! {
                // We hold a sender ourselves, so that there is always one.
                Some(wish) = self.wishes.recv() => return wish,
                Some(()) = self.served.next() => {}
            }
        }
    }

    /// Serves and enters nothing, while there is no tunnel: who asks hears so once the patience for the ledger is over.
    pub(crate) async fn without_tunnel(&mut self) -> Infallible {
        loop {
            match self.served.next().await {
                Some(()) => {}
                None => return std::future::pending().await,
            }
        }
    }

    /// The request is on its way into the ledger, under that number.
    pub(crate) fn being_recorded(&mut self, number: u64, wish: Wish) {
        self.being_recorded.retain(|_, wish| !wish.granted.is_closed());
        self.being_recorded.insert(number, wish);
    }

    /// The entry is durable; says whether it was one of ours.
    pub(crate) fn recorded(&mut self, number: u64) -> bool {
        match self.being_recorded.remove(&number) {
            Some(wish) => {
                // Who asked may be gone.
                let _ = wish.granted.send(());
                true
            }
            None => false,
        }
    }
}

/// Where one package manager is served.
struct Counter {
    settings: LinkSettings,
    patience: Patience,
    ask: mpsc::Sender<Wish>,
    /// Whether anything is given out at all.
    is_open: bool,
}

impl Counter {
    async fn serve(self, stream: TcpStream) {
        let counter = Arc::new(self);
        let service = service_fn(move |request| {
            let counter = Arc::clone(&counter);
            async move { Ok::<_, Infallible>(counter.answer(&request).await.unwrap_or_else(sorry)) }
        });
        // What goes wrong with the connection goes wrong at the other end, and there it is said.
        let _ = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD)
            .max_buf_size(MAX_HEAD)
            .serve_connection(TokioIo::new(stream), service)
            .await;
    }

    async fn answer(&self, asked: &Request<Incoming>) -> Result<Response<Body>, &'static str> {
        if !self.is_open {
            return Err("updates through the tunnel are off, or too many are under way");
        }
        let path = path_of(asked)?;
        let request = self.request(asked, path)?;
        let (granted, entered) = oneshot::channel();
        let wish = Wish { head: files::head(&request), granted };
        self.ask.try_send(wish).map_err(|_| "too many requests wait for the ledger")?;
        match timeout(self.patience.ledger, entered).await {
            Ok(Ok(())) => {}
            _ => return Err("there is no tunnel, or the ledger cannot take the request"),
        }
        let answer = files::ask(&self.settings, self.patience, request).await.map_err(|error| {
            tracing::warn!("a package could not be fetched: {error}");
            "the hub cannot be reached"
        })?;
        if !matches!(answer.response.status(), StatusCode::OK | StatusCode::PARTIAL_CONTENT) {
            return Err("the hub has no such file, or no packages at all");
        }
        let mut response = Response::builder().status(answer.response.status());
        for name in PASSED_DOWN {
            if let Some(value) = answer.response.headers().get(&name) {
                response = response.header(name, value);
            }
        }
        let body: Body = if is_release(path) && asked.method() == Method::GET {
            let release = answer.whole(MOST_RELEASE).await.ok_or("the list of the repository was cut short")?;
            if valid_until(&release).is_some_and(|until| until < now()) {
                return Err("the list of the repository is out of date, and a package manager would stop at it");
            }
            Full::new(release).map_err(|never| match never {}).boxed_unsync()
        } else {
            answer.into_body().boxed_unsync()
        };
        response.body(body).map_err(|_| "the hub's answer makes no sense")
    }

    /// What the hub is asked.
    fn request(&self, asked: &Request<Incoming>, path: &str) -> Result<Request<Empty<Bytes>>, &'static str> {
        let host = self.settings.hub.parse::<Endpoint>().map_err(|_| "the hub's address makes no sense")?.host;
        let mut request = Request::builder().method(asked.method()).uri(format!("{UPDATES_PATH}{path}"));
        request = request.header(header::HOST, host);
        for name in PASSED_UP.into_iter().filter(|_| !is_release(path)) {
            let value = asked.headers().get(&name).filter(|value| is_plain_range(value.as_bytes()));
            if let Some(value) = value {
                request = request.header(name, value);
            }
        }
        request.body(Empty::new()).map_err(|_| "the request makes no sense")
    }
}

/// Not now.
fn sorry(why: &'static str) -> Response<Body> {
    let body = Full::new(Bytes::from(format!("{why}\n"))).map_err(|never| match never {}).boxed_unsync();
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    response
}

/// The path that is asked for, if it can be one of a repository and nothing else is in the request.
fn path_of(asked: &Request<Incoming>) -> Result<&str, &'static str> {
    if !matches!(*asked.method(), Method::GET | Method::HEAD) {
        return Err("a repository is read, and nothing else");
    }
    let host = asked.headers().get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    if !matches!(name, "127.0.0.1" | "localhost" | "[::1]") {
        return Err("this is a repository for this machine, under no other name");
    }
    let path = asked.uri().path();
    if asked.uri().query().is_some() || !is_repository_path(path) {
        return Err("this is no path of a repository");
    }
    Ok(path)
}

fn is_repository_path(path: &str) -> bool {
    let is_usual = |byte: u8| byte.is_ascii_alphanumeric() || b"/._~+:@%=,-^".contains(&byte);
    path.len() <= MOST_PATH
        && path.starts_with('/')
        && path.bytes().all(is_usual)
        && !path.split('/').any(|part| part == "..")
}

/// A range, or a date: what package managers ask with, and not a place for other words.
fn is_plain_range(value: &[u8]) -> bool {
    value.len() <= 64 && value.iter().all(|byte| byte.is_ascii_alphanumeric() || b"=-, :\"/".contains(byte))
}

/// The signed list of what a repository holds (Debian's repository format).
fn is_release(path: &str) -> bool {
    path.ends_with("/InRelease") || path.ends_with("/Release")
}

/// Until when the list may be used, in seconds since 1970, if it says so: `Valid-Until: Thu, 26 Nov 2026 10:00:00 UTC`, or
/// with the offset of RFC 2822.
fn valid_until(release: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(release).ok()?;
    let value = text.lines().find_map(|line| line.strip_prefix("Valid-Until:"))?.trim();
    let moment = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(value.replace("UTC", "+0000")).ok()?;
    u64::try_from(moment.as_second()).ok()
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    /// Who is served was cut off before anything else ran.
    #[tokio::test]
    async fn off_closes_every_connection_before_it_returns() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        client.set_nonblocking(true).unwrap();
        let mut updates = Updates::default();
        let settings = LinkSettings { updates: true, ..LinkSettings::of_a_test() };
        updates.serve(listener.accept().unwrap().0.into(), &settings, Patience::default());
        client.write_all(b"GET /dists/stable/InRelease HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        // It is served as far as the ledger, and the connection is open.
        let wish = timeout(Duration::from_secs(10), updates.next_wish()).await.unwrap();
        assert!(wish.head().starts_with("GET /updates/dists/stable/InRelease HTTP/1.1\r\n"));
        updates.being_recorded(1, wish);
        assert_eq!(client.read(&mut [0]).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
        updates.stop();
        let closed = client.read(&mut [0]);
        assert!(matches!(&closed, Ok(0)) || closed.is_err_and(|error| error.kind() != std::io::ErrorKind::WouldBlock));
        assert!(!updates.recorded(1), "and nothing that was on its way into the ledger goes on");
    }

    #[test]
    fn only_paths_of_a_repository_pass() {
        for good in
            ["/dists/stable/InRelease", "/pool/main/d/demarc_0.2.0~rc1+b1_amd64.deb", "/by-hash/SHA256/00ff", "/"]
        {
            assert!(is_repository_path(good), "{good}");
        }
        for bad in [
            "",
            "dists",
            "/../etc/shadow",
            "/a/../b",
            "/a b",
            "/a?b",
            "/\u{e9}",
            "/a\r\nx: y",
            &format!("/{}", "a".repeat(1100)),
        ] {
            assert!(!is_repository_path(bad), "{bad}");
        }
        assert!(is_plain_range(b"bytes=100-") && is_plain_range(b"Thu, 26 Nov 2026 10:00:00 GMT"));
        assert!(!is_plain_range(b"number=+4930123456; x") && !is_plain_range(&[b'1'; 65]));
    }

    #[test]
    fn a_list_says_until_when_it_is_good() {
        let list = b"Origin: Vendor\nDate: Thu, 26 Nov 2026 10:00:00 UTC\nValid-Until: Thu, 26 Nov 2026 11:00:00 UTC\n";
        assert_eq!(valid_until(list), Some(1_795_690_800));
        let other = b"Valid-Until: Thu, 26 Nov 2026 11:00:00 +0000\n";
        assert_eq!(valid_until(other), Some(1_795_690_800));
        assert_eq!(valid_until(b"Origin: Vendor\n"), None);
        assert_eq!(valid_until(b"Valid-Until: some day\n"), None);
    }
}
