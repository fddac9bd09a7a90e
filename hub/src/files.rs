//! Files that sites fetch over a connection of their own: HTTP/1.1, and the site asks.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Extension, Router,
    http::{StatusCode, header},
    response::IntoResponse,
};
use demarc_proto::{SiteId, UPDATES_PATH};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::server::TlsStream;
use tower_http::{services::ServeDir, set_header::SetResponseHeaderLayer};
use tracing::{debug, warn};

use crate::{backups, clock, hub::Hub, intake::Intake, metrics::Handshake, peer::PeerCertificate};

/// The head of a request must be there after this time.
const HEAD: Duration = Duration::from_secs(30);
/// A whole connection: a package over a slow line takes a while.
const DEADLINE: Duration = Duration::from_secs(1800);
/// The longest head, which is also the least that the library takes.
const MAX_HEAD: usize = 8 * 1024;

/// Who asks: the site whose key is at the other end.
#[derive(Clone, Debug)]
pub struct Asker(pub SiteId);

/// What can be asked for.
pub fn router(hub: &Arc<Hub>) -> Router {
    let router = backups::router(hub);
    let none = (StatusCode::SERVICE_UNAVAILABLE, "this hub offers no packages\n");
    match &hub.updates {
        // Nothing between the hub and the package manager may keep what is old.
        Some(directory) => router.nest_service(UPDATES_PATH, ServeDir::new(directory)).layer(
            SetResponseHeaderLayer::overriding(header::CACHE_CONTROL, header::HeaderValue::from_static("no-cache")),
        ),
        None => router.nest_service(UPDATES_PATH, axum::routing::any(move || async move { none.into_response() })),
    }
}

/// Serves a connection of a site whose key is the one that it enrolled with, and whose certificate is good.
pub async fn serve(hub: &Arc<Hub>, router: &Router, tls: TlsStream<Intake<TcpStream>>, address: SocketAddr) {
    let certificate = tls.get_ref().1.peer_certificates().and_then(|chain| PeerCertificate::read(chain.first()?));
    let Some(certificate) = certificate else {
        hub.metrics.handshake(Handshake::NoCertificate);
        return debug!(%address, "files were asked for without a site's certificate");
    };
    let site = certificate.site.clone();
    match hub.lookup.key_of(&site).await {
        Ok(Some(key)) if key == certificate.key_sha256 && !certificate.is_expired(clock::now()) => {}
        Ok(_) => {
            hub.metrics.handshake(Handshake::Revoked);
            return warn!(%site, %address, "refused files: the key is not the site's, or its certificate is over");
        }
        Err(error) => {
            hub.metrics.handshake(Handshake::Store);
            return debug!(%site, %error, "refused files: the site will come again");
        }
    }
    let Ok(_room) = hub.files_room.clone().try_acquire_owned() else {
        hub.metrics.handshake(Handshake::Limited);
        return debug!(%site, "refused files: too many are being fetched");
    };
    hub.metrics.handshake(Handshake::Files);
    let service = TowerToHyperService::new(router.clone().layer(Extension(Asker(site))));
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(tls), service);
    tokio::select! {
        _ = timeout(DEADLINE, connection) => {}
        () = hub.stop.cancelled() => {}
    }
}
