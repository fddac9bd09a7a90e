//! The owner's pages as a client sees them that speaks HTTP by hand, well or badly.

use std::{
    io::{self, Read, Write},
    net::TcpStream,
    sync::Arc,
    time::Duration,
};

use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use rustls_pki_types::CertificateDer;

use crate::{
    http::{self, Answer},
    site::Site,
};

/// How long an answer may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Every page of the navigation.
pub const PAGES: [&str; 13] = [
    "/",
    "/calls",
    "/report",
    "/queues",
    "/callers",
    "/trunks",
    "/numbers",
    "/completeness",
    "/sent",
    "/switches",
    "/support",
    "/health",
    "/recordings",
];

/// The pages of a site, for one browser.
#[derive(Clone)]
pub struct Pages {
    /// `127.0.0.1:PORT`.
    pub address: String,
    /// What the browser calls the place.
    pub host: String,
    /// The certificate by which it is known, where it speaks TLS.
    pub certificate: Option<CertificateDer<'static>>,
    /// The cookie as the browser sends it back, once it is logged in.
    pub cookie: Option<String>,
}

/// The link that `demarc web` prints.
pub fn link(site: &Site) -> String {
    site.run(&["web", "--json"]).json()["url"].as_str().unwrap().to_owned()
}

/// Parts a link into the address and the rest.
pub fn part(url: &str) -> (String, String) {
    let (address, path) = url.split_once("://").unwrap().1.split_once('/').unwrap();
    (address.to_owned(), format!("/{path}"))
}

trait Stream: Read + Write {}
impl<S: Read + Write> Stream for S {}

impl Pages {
    /// The pages of a site that runs, with a browser that has logged in by a link.
    pub fn enter(site: &Site) -> Self {
        let (address, path) = part(&link(site));
        let mut pages = Self::at(&address);
        let answer = pages.get(&path);
        assert_eq!(answer.status, 303, "{answer:?}");
        pages.cookie = Some(answer.cookie().expect("the link lets in"));
        pages
    }

    /// The pages at an address, for a browser that is not logged in.
    pub fn at(address: &str) -> Self {
        Self { address: address.to_owned(), host: address.to_owned(), certificate: None, cookie: None }
    }

    /// The header by which a browser says that one of these pages sent a request.
    pub fn origin(&self) -> String {
        let scheme = if self.certificate.is_some() { "https" } else { "http" };
        format!("Origin: {scheme}://{}\r\n", self.host)
    }

    /// Loads a page.
    pub fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, "", "")
    }

    /// Sends a form as one of the pages does, with the token of this login.
    pub fn post(&self, path: &str, fields: &str) -> Answer {
        self.ask("POST", path, &self.origin(), &format!("token={}&{fields}", self.token()))
    }

    /// Sends a request with these further header lines, each with its end.
    pub fn ask(&self, method: &str, path: &str, lines: &str, body: &str) -> Answer {
        let request = self.request(method, path, lines, body);
        self.send(&request).unwrap_or_else(|error| panic!("{method} {path}: {error}"))
    }

    /// The same, as bytes that are not sent yet.
    pub fn request(&self, method: &str, path: &str, lines: &str, body: &str) -> String {
        let cookie = self.cookie.as_ref().map(|cookie| format!("Cookie: {cookie}\r\n")).unwrap_or_default();
        let length = match body {
            "" => String::new(),
            body => format!("Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n", body.len()),
        };
        format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\n{cookie}Connection: close\r\n{lines}{length}\r\n{body}",
            self.host
        )
    }

    /// Sends these bytes on a connection of their own, and reads one answer.
    ///
    /// # Errors
    /// When the connection ends without a whole answer.
    pub fn send(&self, request: &str) -> io::Result<Answer> {
        let mut stream = self.connect()?;
        // Who is refused may be refused before all was read.
        let _ = stream.write_all(request.as_bytes());
        http::receive(&mut stream, request.starts_with("HEAD "))
    }

    /// What the forms of this login carry.
    pub fn token(&self) -> String {
        let page = self.get("/").body;
        let (_, rest) =
            page.split_once("name=\"token\" value=\"").expect("a page of somebody who is logged in has a form");
        rest.split('"').next().unwrap().to_owned()
    }

    fn connect(&self) -> io::Result<Box<dyn Stream>> {
        let stream = TcpStream::connect(&self.address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let Some(certificate) = &self.certificate else { return Ok(Box::new(stream)) };
        let mut roots = RootCertStore::empty();
        roots.add(certificate.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = config.with_root_certificates(roots).with_no_client_auth();
        let name = self.host.split(':').next().unwrap().to_owned().try_into().unwrap();
        Ok(Box::new(StreamOwned::new(ClientConnection::new(Arc::new(config), name).unwrap(), stream)))
    }
}
