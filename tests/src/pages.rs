//! The owner's pages as a client sees them that speaks HTTP by hand, well or badly.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::Arc,
    time::Duration,
};

use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use rustls_pki_types::CertificateDer;

use crate::site::Site;

/// How long an answer may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// What was answered.
#[derive(Debug)]
pub struct Answer {
    /// The status code; 0 where the connection was closed without an answer.
    pub status: u16,
    /// The lines of the head, without the status line.
    pub head: String,
    /// The body.
    pub body: String,
}

impl Answer {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.into_iter().find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

/// The pages of a site.
pub struct Pages {
    /// Where they are.
    pub address: SocketAddr,
    /// What a browser calls the place.
    pub host: String,
    /// The certificate by which it is known, where it speaks TLS.
    pub certificate: Option<CertificateDer<'static>>,
    /// The cookie of a browser that is logged in, once it is.
    pub cookie: Option<String>,
}

trait Stream: Read + Write {}
impl<S: Read + Write> Stream for S {}

impl Pages {
    /// The pages of a site that runs, with a browser that has logged in by a link.
    pub fn enter(site: &Site) -> Self {
        let (address, path) = link(site);
        let mut pages = Self::at(address);
        let answer = pages.get(&path);
        assert_eq!(answer.status, 303, "{answer:?}");
        let cookie = answer.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
        pages.cookie = Some(cookie);
        pages
    }

    /// The pages at an address, for a browser that is not logged in.
    pub fn at(address: SocketAddr) -> Self {
        Self { address, host: address.to_string(), certificate: None, cookie: None }
    }

    /// The header by which a browser says that one of these pages sent a request.
    pub fn origin(&self) -> String {
        let scheme = if self.certificate.is_some() { "https" } else { "http" };
        format!("Origin: {scheme}://{}\r\n", self.host)
    }

    /// Asks for a page.
    pub fn get(&self, path: &str) -> Answer {
        self.get_with(path, "")
    }

    /// Asks for a page with these headers.
    pub fn get_with(&self, path: &str, headers: &str) -> Answer {
        let (host, cookies) = (&self.host, self.cookies());
        self.say(&format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{cookies}{headers}Connection: close\r\n\r\n"))
    }

    /// Sends a form as one of our own pages would, with these further fields.
    pub fn post(&self, path: &str, from: &str, fields: &str) -> Answer {
        let token = self.token(from);
        self.send(path, &self.origin(), &format!("token={token}&{fields}"))
    }

    /// Sends a form with these headers.
    pub fn send(&self, path: &str, headers: &str, body: &str) -> Answer {
        self.say(&format!(
            "POST {path} HTTP/1.1\r\nHost: {}\r\n{}{headers}Content-Type: application/x-www-form-urlencoded\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
            self.host,
            self.cookies(),
            body.len()
        ))
    }

    /// The token in the forms of a page.
    pub fn token(&self, path: &str) -> String {
        let body = self.get(path).body;
        let rest = body.split("name=\"token\" value=\"").nth(1).unwrap_or_else(|| panic!("no form in {path}: {body}"));
        rest.split('"').next().unwrap().to_owned()
    }

    /// Sends these bytes and reads what comes until the connection is closed.
    pub fn say(&self, request: &str) -> Answer {
        let mut stream = self.connect();
        // Who is refused may be refused before all was read.
        let _ = stream.write_all(request.as_bytes());
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let (first, head) = head.split_once("\r\n").unwrap_or((head, ""));
        let status = first.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
        Answer { status, head: head.to_owned(), body: body.to_owned() }
    }

    fn connect(&self) -> Box<dyn Stream> {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let Some(certificate) = &self.certificate else { return Box::new(stream) };
        let mut roots = RootCertStore::empty();
        roots.add(certificate.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = config.with_root_certificates(roots).with_no_client_auth();
        let name = self.host.split(':').next().unwrap().to_owned().try_into().unwrap();
        Box::new(StreamOwned::new(ClientConnection::new(Arc::new(config), name).unwrap(), stream))
    }

    fn cookies(&self) -> String {
        self.cookie.as_ref().map(|cookie| format!("Cookie: {cookie}\r\n")).unwrap_or_default()
    }
}

/// The link that `demarc web` prints: address, and path with the key.
pub fn link(site: &Site) -> (SocketAddr, String) {
    let printed: serde_json::Value = serde_json::from_str(&site.run(&["web", "--json"]).ok()).unwrap();
    let url = printed["url"].as_str().unwrap().strip_prefix("http://").unwrap().to_owned();
    let (address, path) = url.split_once('/').unwrap();
    (address.parse().unwrap(), format!("/{path}"))
}
