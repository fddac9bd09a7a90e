//! Connections to the servers of the PBX on this machine, made for the collector, which can make none.
//!
//! The collector never gets an internet socket, not even a connected one: it could be disconnected, and then connected to
//! anywhere. It gets one end of a pair of unix sockets, and a task here passes bytes between the other end and the server.

use std::{
    io,
    net::SocketAddr,
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixStream as StdUnixStream,
    },
    time::Duration,
};

use tokio::{
    io::copy,
    net::{TcpStream, UnixStream},
    sync::mpsc,
    task::AbortHandle,
    time::timeout,
};

use crate::{
    ipc::{ToCollector, descriptors::Giver},
    settings::{Pbx, Source, loopback},
};

/// A server on this machine answers at once, or is stuck.
const DIAL: Duration = Duration::from_secs(5);
/// No more at a time than these. A source has one or two.
const MOST: usize = 32;

/// Those that are open or being made.
pub(super) struct Connections {
    /// By which descriptors get to the running collector.
    pub(super) giver: Option<Giver>,
    dialled: mpsc::Sender<Dialled>,
    open: Vec<Open>,
}

struct Open {
    address: String,
    task: AbortHandle,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What came of a request.
pub(super) struct Dialled {
    /// The collector that asked.
    pub(super) incarnation: u64,
    number: u64,
    outcome: Result<OwnedFd, String>,
}

impl Connections {
    /// None yet; what comes of requests is sent there.
    pub(super) fn new(dialled: mpsc::Sender<Dialled>) -> Self {
        Self { giver: None, dialled, open: Vec::new() }
    }

    /// The collector wants a connection. It is made if a source of these settings has that address.
    pub(super) fn dial(&mut self, incarnation: u64, number: u64, address: String, pbx: &Pbx) {
        self.open.retain(|open| !open.task.is_finished());
        let allowed = self.allowed(&address, pbx);
        let dialled = self.dialled.clone();
        let to = address.clone();
        let task = tokio::spawn(async move {
            let connected = match allowed {
                Ok(addresses) => connect(&to, &addresses).await,
                Err(refusal) => Err(refusal),
            };
            let paired = connected.and_then(|server| {
                let pair = pair().map_err(|error| format!("no sockets are left on this machine: {error}"));
                pair.map(|(near, far)| (server, near, far))
            });
            let (outcome, joined) = match paired {
                Ok((server, near, far)) => (Ok(far), Some((server, near))),
                Err(reason) => (Err(reason), None),
            };
            let sent = dialled.send(Dialled { incarnation, number, outcome }).await;
            if let (Ok(()), Some((server, near))) = (sent, joined) {
                join(server, near).await;
            }
        });
        self.open.push(Open { address, task: task.abort_handle() });
    }

    fn allowed(&self, address: &str, pbx: &Pbx) -> Result<Vec<SocketAddr>, String> {
        if !has(pbx, address) {
            return Err("the settings have no source with this address".to_owned());
        }
        if self.open.len() >= MOST {
            return Err(format!("there are {MOST} connections already"));
        }
        loopback::addresses(address).ok_or_else(|| format!("{address} is refused; {}", loopback::ALLOWED))
    }

    /// Passes a connection on; returns what to tell the collector.
    pub(super) fn hand_over(&self, dialled: Dialled) -> ToCollector {
        let Dialled { number, outcome, .. } = dialled;
        let given = outcome.and_then(|far| match &self.giver {
            Some(giver) => {
                giver.give(number, far.as_fd()).map_err(|error| format!("it could not be passed on: {error}"))
            }
            None => Err("it could not be passed on".to_owned()),
        });
        match given {
            Ok(()) => ToCollector::Connected { number },
            Err(reason) => ToCollector::NotConnected { number, reason },
        }
    }

    /// Closes those to addresses that no source of these settings has.
    pub(super) fn keep_to(&mut self, pbx: &Pbx) {
        self.open.retain(|open| has(pbx, &open.address));
    }

    /// Closes all: the collector is gone.
    pub(super) fn close(&mut self) {
        self.giver = None;
        self.open.clear();
    }
}

fn has(pbx: &Pbx, address: &str) -> bool {
    pbx.source.iter().filter_map(Source::server).any(|server| server == address)
}

async fn connect(address: &str, addresses: &[SocketAddr]) -> Result<TcpStream, String> {
    match timeout(DIAL, TcpStream::connect(addresses)).await {
        Ok(Ok(server)) => {
            // Requests are short, and each waits for its answer.
            let _ = server.set_nodelay(true);
            Ok(server)
        }
        Ok(Err(error)) => Err(format!("{address} cannot be reached: {error}")),
        Err(_) => Err(format!("{address} cannot be reached: no answer within {} s", DIAL.as_secs())),
    }
}

fn pair() -> io::Result<(UnixStream, OwnedFd)> {
    let (near, far) = StdUnixStream::pair()?;
    near.set_nonblocking(true)?;
    Ok((UnixStream::from_std(near)?, far.into()))
}

/// Passes bytes both ways. No protocol here ends one direction alone, so the end of either is the end.
async fn join(mut server: TcpStream, mut near: UnixStream) {
    let (mut from_server, mut to_server) = server.split();
    let (mut from_collector, mut to_collector) = near.split();
    tokio::select! {
        _ = copy(&mut from_server, &mut to_collector) => {}
        _ = copy(&mut from_collector, &mut to_server) => {}
    }
}

#[cfg(test)]
mod tests;
