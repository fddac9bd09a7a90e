//! Connections: how many, how long, and what each may send.

use std::{
    io,
    net::TcpListener as StdTcpListener,
    os::{fd::OwnedFd, unix::net::UnixListener as StdUnixListener},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::Context;
use axum::Router;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use rustls::ServerConfig;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, UnixListener},
    sync::Semaphore,
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;

use super::{app::App, pages};

/// Connections at a time.
const MOST_CONNECTIONS: usize = 64;
/// The head of a request must be there after this time.
const HEAD: Duration = Duration::from_secs(10);
/// A whole connection, with all its requests: whoever is slower begins anew.
const DEADLINE: Duration = Duration::from_secs(120);
/// The longest head, which is also the least that the library takes.
const MAX_HEAD: usize = 8 * 1024;
/// When nobody has asked for anything for so long, the process is not needed.
const IDLE: Duration = Duration::from_secs(600);
/// How often that is looked at.
const LOOK: Duration = Duration::from_secs(20);

/// A connection, encrypted or not.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// Takes connections; the future ends when nobody has come for a while.
///
/// # Errors
/// When the descriptor is no listening socket.
pub(super) fn serve(app: Arc<App>, descriptor: OwnedFd) -> io::Result<impl Future<Output = anyhow::Result<()>>> {
    let listener = Listener::of(descriptor, app.settings().address.is_some())?;
    let pages = pages::router(Arc::clone(&app));
    Ok(async move {
        let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
        let began = Instant::now();
        let last = Arc::new(AtomicU64::new(0));
        loop {
            tokio::select! {
                stream = listener.accept() => match stream {
                    Ok(stream) => {
                        last.store(began.elapsed().as_secs(), Ordering::Relaxed);
                        let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
                        let (app, pages, last) = (Arc::clone(&app), pages.clone(), Arc::clone(&last));
                        tokio::spawn(async move {
                            // What goes wrong here goes wrong at the other end: there is nobody to tell.
                            let _ = timeout(DEADLINE, converse(&app, pages, stream)).await;
                            last.store(began.elapsed().as_secs(), Ordering::Relaxed);
                            drop(place);
                        });
                    }
                    // Out of descriptors, most likely: let the others finish first.
                    Err(_) => sleep(Duration::from_millis(100)).await,
                },
                () = sleep(LOOK) => {
                    let rest = began.elapsed().saturating_sub(Duration::from_secs(last.load(Ordering::Relaxed)));
                    if rest >= IDLE && places.available_permits() == MOST_CONNECTIONS {
                        return Ok(());
                    }
                }
            }
        }
    })
}

impl Listener {
    fn of(descriptor: OwnedFd, is_tcp: bool) -> io::Result<Self> {
        if is_tcp {
            Ok(Self::Tcp(TcpListener::from_std(StdTcpListener::from(descriptor))?))
        } else {
            Ok(Self::Unix(UnixListener::from_std(StdUnixListener::from(descriptor))?))
        }
    }

    async fn accept(&self) -> io::Result<Box<dyn Stream>> {
        Ok(match self {
            Self::Tcp(listener) => {
                let stream = listener.accept().await?.0;
                stream.set_nodelay(true)?;
                Box::new(stream)
            }
            Self::Unix(listener) => Box::new(listener.accept().await?.0),
        })
    }
}

async fn converse(app: &App, pages: Router, stream: Box<dyn Stream>) -> anyhow::Result<()> {
    let stream: Box<dyn Stream> = match &app.settings().tls {
        Some((certificate, key)) => {
            let acceptor = TlsAcceptor::from(Arc::new(tls(certificate, key.expose())?));
            Box::new(timeout(HEAD, acceptor.accept(stream)).await??)
        }
        None => stream,
    };
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(Pin::new(Box::new(stream))), TowerToHyperService::new(pages));
    Ok(connection.await?)
}

/// The files are small, browsers are few, and a renewed certificate counts at once.
fn tls(certificate: &str, key: &str) -> anyhow::Result<ServerConfig> {
    let chain = CertificateDer::pem_slice_iter(certificate.as_bytes()).collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).context("web.key holds no private key")?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    Ok(config)
}
