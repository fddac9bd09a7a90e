//! An HTTP proxy of a company (RFC 9110, CONNECT) that lets nobody through without a password.

use std::{
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
};

use data_encoding::BASE64;

/// The proxy; it ends with the test.
pub struct HttpProxy {
    address: SocketAddr,
    /// First lines of the requests that came.
    asked: Arc<Mutex<Vec<String>>>,
}

impl HttpProxy {
    /// One that wants these credentials, `user:password`.
    pub fn start(credentials: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let wanted = format!("proxy-authorization: basic {}", BASE64.encode(credentials.as_bytes()).to_lowercase());
        std::thread::spawn({
            let asked = asked.clone();
            move || {
                for stream in listener.incoming().flatten() {
                    let (asked, wanted) = (asked.clone(), wanted.clone());
                    std::thread::spawn(move || serve(stream, &wanted, &asked));
                }
            }
        });
        Self { address, asked }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// First lines of the requests that came.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

/// A peer that goes away ends this without ado.
fn serve(stream: TcpStream, wanted: &str, asked: &Mutex<Vec<String>>) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|&count| count > 0)?;
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    asked.lock().unwrap().push(lines.first()?.clone());
    if !lines.iter().any(|line| line.to_lowercase() == wanted) {
        (&stream).write_all(b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n").ok()?;
        return None;
    }
    let target = lines[0].strip_prefix("CONNECT ")?.split(' ').next()?.to_owned();
    let hub = TcpStream::connect(target).ok()?;
    (&stream).write_all(b"HTTP/1.1 200 OK\r\n\r\n").ok()?;
    let (mut up, mut down) = (hub.try_clone().ok()?, stream.try_clone().ok()?);
    let back = std::thread::spawn(move || {
        let _ = std::io::copy(&mut &hub, &mut down);
        let _ = down.shutdown(std::net::Shutdown::Both);
    });
    let _ = std::io::copy(&mut reader, &mut up);
    let _ = up.shutdown(std::net::Shutdown::Both);
    back.join().ok()
}
