//! A client of Asterisk's manager interface that remembers all it hears.

use std::{
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use crate::{lab::Credentials, wait};

/// One event or answer, as pairs of key and value in the order in which they came.
#[derive(Clone, Debug, Default)]
pub struct Message(pub Vec<(String, String)>);

impl Message {
    /// The first value of that key, or nothing at all.
    pub fn get(&self, key: &str) -> &str {
        self.0.iter().find(|(name, _)| name.eq_ignore_ascii_case(key)).map_or("", |(_, value)| value)
    }
}

/// A connection, logged in. It is closed when dropped.
#[derive(Debug)]
pub struct Manager {
    stream: TcpStream,
    heard: Arc<Mutex<Vec<Message>>>,
    actions: AtomicU64,
    reader: Option<JoinHandle<()>>,
}

impl Manager {
    /// Connects and logs in as one of the users of `manager.conf`.
    pub fn log_in(address: SocketAddr, as_user: Credentials) -> Self {
        let stream = wait::until(Duration::from_secs(60), "the manager interface", || TcpStream::connect(address).ok());
        let heard = Arc::default();
        let reader = {
            let (stream, heard) = (stream.try_clone().unwrap(), Arc::clone(&heard));
            std::thread::spawn(move || listen(stream, &heard))
        };
        let manager = Self { stream, heard, actions: AtomicU64::new(0), reader: Some(reader) };
        let answer = manager.act(&[("Action", "Login"), ("Username", as_user.user), ("Secret", as_user.secret)]);
        assert_eq!(answer.get("Response"), "Success", "{answer:?}");
        manager
    }

    /// Asks for something and returns the answer.
    pub fn act(&self, pairs: &[(&str, &str)]) -> Message {
        let id = self.actions.fetch_add(1, Ordering::Relaxed).to_string();
        let mut text: String = pairs.iter().map(|(key, value)| format!("{key}: {value}\r\n")).collect();
        text.push_str(&format!("ActionID: {id}\r\n\r\n"));
        (&self.stream).write_all(text.as_bytes()).unwrap();
        wait::until(Duration::from_secs(20), "an answer of the manager interface", || {
            let heard = self.heard.lock().unwrap();
            heard.iter().find(|message| !message.get("Response").is_empty() && message.get("ActionID") == id).cloned()
        })
    }

    /// All events of that name so far.
    pub fn events(&self, name: &str) -> Vec<Message> {
        self.heard.lock().unwrap().iter().filter(|message| message.get("Event") == name).cloned().collect()
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        // An error says that the other side was quicker.
        let _ = self.stream.shutdown(std::net::Shutdown::Both);
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

fn listen(stream: TcpStream, heard: &Mutex<Vec<Message>>) {
    let mut message = Message::default();
    // Values may hold bytes of any encoding.
    for line in BufReader::new(stream).split(b'\n') {
        let Ok(line) = line else { return };
        let line = String::from_utf8_lossy(&line);
        let line = line.trim_end_matches('\r');
        if line.is_empty() {
            heard.lock().unwrap().push(std::mem::take(&mut message));
        } else if let Some((key, value)) = line.split_once(':') {
            message.0.push((key.to_owned(), value.trim_start().to_owned()));
        }
    }
}
