//! The one port: accepts connections, finds out who comes and what for, and hands them on.

mod pending;

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use demarc_proto::{ALPN_ENROLL, ALPN_FILES, ALPN_TUNNEL};
use rustls::{ServerConfig, server::Acceptor};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpSocket, TcpStream},
    time::{interval, sleep, timeout},
};
use tokio_rustls::{LazyConfigAcceptor, server::TlsStream};
use tracing::{debug, error, warn};

use self::pending::{Pending, Slot};
use crate::{
    clock, config::Config, enroll, files, http, hub::Hub, intake::Intake, metrics::Handshake, presence, tls,
    tls::ServerCertificate, tunnel,
};

/// TLS must be agreed on within this time.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// When all slots are taken, whoever did not even begin with TLS makes room after this time: an honest site speaks
/// right away.
const SILENCE: Duration = Duration::from_secs(3);
/// Whoever began is given more: the network may be slow, and so may this machine be when a fleet comes back.
const PATIENCE: Duration = Duration::from_secs(6);
/// Everything under way must end within this time after the word to stop.
pub const GRACE: Duration = Duration::from_secs(10);
/// How often the server looks at the age of its own certificate.
const CERTIFICATE_CHECK: Duration = Duration::from_secs(3600);
/// How long to wait when the machine has no descriptors or memory for another connection.
const EXHAUSTED: Duration = Duration::from_millis(250);
/// Connections that the kernel keeps for us until we accept them: a fleet that reconnects comes in waves.
const BACKLOG: u32 = 4096;

/// The listening server.
pub struct Server {
    listener: TcpListener,
    tls: Arc<ServerConfig>,
    certificate: Arc<ServerCertificate>,
    names: Vec<String>,
    pending: Arc<Pending>,
    hub: Arc<Hub>,
}

impl Server {
    /// Begins to listen.
    ///
    /// # Errors
    /// When the address is taken, or TLS cannot be set up.
    pub fn bind(config: &Config, hub: Arc<Hub>, certificate: ServerCertificate) -> anyhow::Result<Self> {
        let certificate = Arc::new(certificate);
        let tls = tls::server_config(&hub.authority, certificate.clone())?;
        let listener =
            listen(config.listen).map_err(|error| anyhow::anyhow!("cannot listen on {}: {error}", config.listen))?;
        Ok(Self {
            listener,
            tls: Arc::new(tls),
            certificate,
            names: config.server_names(),
            pending: Arc::new(Pending::new(config.limits.handshakes.get().into())),
            hub,
        })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// When the kernel does not say.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until the hub is told to stop, and then until everything under way has ended or [`GRACE`] is over.
    pub async fn run(self) {
        let hub = self.hub.clone();
        hub.tasks.spawn(presence::write_while_running(hub.clone()));
        hub.tasks.spawn(renew_certificate(hub.clone(), self.certificate.clone(), self.names.clone()));
        self.accept().await;
        hub.tasks.close();
        if timeout(GRACE, hub.tasks.wait()).await.is_err() {
            warn!(left = hub.tasks.len(), "some connections did not end in time");
        }
        presence::write_last(&hub).await;
    }

    /// Accepts until the word to stop; the listener is closed when this returns.
    async fn accept(self) {
        let pages = http::pages(self.hub.clone());
        let files = files::router(&self.hub);
        let stop = self.hub.stop.clone();
        while let Some(room) = stop.run_until_cancelled(self.pending.room()).await {
            let Some(accepted) = stop.run_until_cancelled(self.listener.accept()).await else { break };
            match accepted {
                Ok((socket, address)) => {
                    let visitor = Visitor {
                        hub: self.hub.clone(),
                        tls: self.tls.clone(),
                        pages: pages.clone(),
                        files: files.clone(),
                        address,
                    };
                    // Seated here: were it left to the task, a full house of guests whose tasks did not run yet would
                    // look as if nobody could be sent away.
                    let slot = self.pending.seat(room, SILENCE);
                    // The future is as large as its largest branch; the box frees it before the tunnel goes on.
                    self.hub.tasks.spawn(Box::pin(visitor.receive(socket, slot)));
                }
                Err(error) => match error.raw_os_error() {
                    Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM) => {
                        error!(%error, "cannot accept connections; trying again (raise the limit on open files?)");
                        sleep(EXHAUSTED).await;
                    }
                    // The other side gave up before we came to it.
                    _ => debug!(%error, "a connection ended before it began"),
                },
            }
        }
    }
}

/// One connection whose purpose is not known yet.
struct Visitor {
    hub: Arc<Hub>,
    tls: Arc<ServerConfig>,
    pages: axum::Router,
    files: axum::Router,
    address: SocketAddr,
}

impl Visitor {
    async fn receive(self, socket: TcpStream, mut slot: Slot) {
        // The time begins when this task runs, not when the connection came: a busy machine is not the guest's fault.
        slot.extend(SILENCE);
        let evicted = slot.evicted();
        tokio::select! {
            biased;
            () = self.greet(socket, slot) => {}
            () = evicted.cancelled() => {
                self.hub.metrics.handshake(Handshake::Timeout);
                debug!(address = %self.address, "made room for others: this connection did not say what it wants");
            }
        }
    }

    async fn greet(&self, socket: TcpStream, mut slot: Slot) {
        let (hub, address) = (&self.hub, self.address);
        let mut tls = match timeout(HANDSHAKE, self.agree(socket, &mut slot)).await {
            Ok(Ok(tls)) => tls,
            Ok(Err(error)) => {
                hub.metrics.handshake(Handshake::Failed);
                debug!(%address, %error, "TLS failed");
                return;
            }
            Err(_) => {
                hub.metrics.handshake(Handshake::Timeout);
                debug!(%address, "TLS took too long");
                return;
            }
        };
        match tls.get_ref().1.alpn_protocol() {
            Some(ALPN_TUNNEL) => {
                slot.settle();
                tunnel::admit(hub, tls, address).await;
            }
            Some(ALPN_ENROLL) => {
                hub.metrics.handshake(Handshake::Enroll);
                enroll::serve(hub, &mut tls, address).await;
                tls.shutdown().await.ok();
            }
            Some(ALPN_FILES) => {
                slot.settle();
                files::serve(hub, &self.files, tls, address).await;
            }
            _ => {
                hub.metrics.handshake(Handshake::Http);
                http::serve(&self.pages, tls, address, hub).await;
            }
        }
    }

    /// Agrees on TLS.
    async fn agree(&self, socket: TcpStream, slot: &mut Slot) -> io::Result<TlsStream<Intake<TcpStream>>> {
        // Small messages that somebody waits for: there is nothing to collect.
        socket.set_nodelay(true)?;
        let begun = LazyConfigAcceptor::new(Acceptor::default(), Intake::new(socket)).await?;
        slot.extend(PATIENCE);
        let tls = begun.into_stream(self.tls.clone()).await?;
        slot.extend(PATIENCE);
        Ok(tls)
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // A hub that was restarted takes its port back at once, though old connections linger in the kernel.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

async fn renew_certificate(hub: Arc<Hub>, certificate: Arc<ServerCertificate>, names: Vec<String>) {
    let mut ticks = interval(CERTIFICATE_CHECK);
    while hub.stop.run_until_cancelled(ticks.tick()).await.is_some() {
        match certificate.renew_if_due(&hub.authority, &names, clock::now()) {
            Ok(()) => {}
            Err(error) => error!(%error, "cannot renew the server's certificate; trying again in an hour"),
        }
    }
}
