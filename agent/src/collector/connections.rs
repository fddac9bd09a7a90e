//! The connections that sources have asked for and that the supervisor has not answered yet.

use std::{collections::BTreeMap, os::unix::net::UnixStream as StdUnixStream};

use tokio::{
    net::UnixStream,
    sync::{mpsc, oneshot},
};

use crate::{
    ipc::{FromCollector, descriptors::Taker},
    pbx::connector::{Asked, Connector},
};

/// All of them, and the connector by which sources ask.
pub struct Connections {
    connector: Connector,
    requests: mpsc::Receiver<Asked>,
    taker: Option<Taker>,
    waiting: BTreeMap<u64, oneshot::Sender<Result<UnixStream, String>>>,
    last: u64,
}

impl Connections {
    /// Nobody has asked. Without a `taker` nobody gets a connection.
    pub fn new(taker: Option<Taker>) -> Self {
        let (connector, requests) = Connector::new();
        Self { connector, requests, taker, waiting: BTreeMap::new(), last: 0 }
    }

    /// By which sources ask.
    pub fn connector(&self) -> Connector {
        self.connector.clone()
    }

    /// The next request.
    pub async fn next(&mut self) -> Asked {
        match self.requests.recv().await {
            Some(asked) => asked,
            // We hold a connector ourselves.
            None => std::future::pending().await,
        }
    }

    /// What to ask the supervisor.
    pub fn ask(&mut self, asked: Asked) -> FromCollector {
        self.waiting.retain(|_, answer| !answer.is_closed());
        self.last += 1;
        self.waiting.insert(self.last, asked.answer);
        FromCollector::Connect { number: self.last, address: asked.address }
    }

    /// The supervisor has made a connection.
    pub fn made(&mut self, number: u64) {
        let descriptor = self.taker.as_ref().and_then(|taker| taker.take(number));
        let stream = descriptor.map(StdUnixStream::from).and_then(|stream| {
            stream.set_nonblocking(true).ok()?;
            UnixStream::from_std(stream).ok()
        });
        self.answer(number, stream.ok_or_else(|| "the connection did not arrive".to_owned()));
    }

    /// It has not.
    pub fn failed(&mut self, number: u64, reason: String) {
        self.answer(number, Err(reason));
    }

    fn answer(&mut self, number: u64, connected: Result<UnixStream, String>) {
        if let Some(answer) = self.waiting.remove(&number) {
            // Whoever asked may have given up; the connection is then closed.
            let _ = answer.send(connected);
        }
    }
}
