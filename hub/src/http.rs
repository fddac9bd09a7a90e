//! HTTP on the same port: `/healthz` for everybody, `/metrics` for this machine alone.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Extension, Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::timeout,
};

use crate::{clock, hub::Hub, presence::NODE};

/// The head of a request must be there after this time.
const HEAD: Duration = Duration::from_secs(10);
/// A whole connection.
const DEADLINE: Duration = Duration::from_secs(30);
/// The database has this long to answer before the hub counts as ill.
const PATIENCE: Duration = Duration::from_secs(3);
/// The longest head, which is also the least that the library takes.
const MAX_HEAD: usize = 8 * 1024;

/// Who asks.
#[derive(Clone, Copy)]
struct Peer(SocketAddr);

/// The pages. The portal will add its own here.
pub fn pages(hub: Arc<Hub>) -> Router {
    Router::new().route("/healthz", get(health)).route("/metrics", get(metrics)).with_state(hub)
}

/// Serves one request on a stream.
pub async fn serve<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    pages: &Router,
    stream: S,
    address: SocketAddr,
    hub: &Hub,
) {
    let service = TowerToHyperService::new(pages.clone().layer(Extension(Peer(address))));
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(MAX_HEAD)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    // What goes wrong here goes wrong at the other end: there is nobody to tell. A stop does not wait for strangers.
    tokio::select! {
        _ = timeout(DEADLINE, connection) => {}
        () = stopped_for_a_while(hub) => {}
    }
}

/// A request under way at the stop has a moment to get its answer.
async fn stopped_for_a_while(hub: &Hub) {
    hub.stop.cancelled().await;
    tokio::time::sleep(Duration::from_secs(1)).await;
}

async fn health(State(hub): State<Arc<Hub>>) -> Response {
    if hub.stop.is_cancelled() {
        return (StatusCode::SERVICE_UNAVAILABLE, "stopping\n").into_response();
    }
    let ill = |words: &'static str| (StatusCode::SERVICE_UNAVAILABLE, words).into_response();
    match timeout(PATIENCE, hub.store.is_beating(NODE, clock::now())).await {
        Ok(Ok(true)) => "ok".into_response(),
        Ok(Ok(false)) => ill("the database takes nothing in\n"),
        Ok(Err(_)) | Err(_) => ill("the database does not answer\n"),
    }
}

async fn metrics(State(hub): State<Arc<Hub>>, Extension(Peer(address)): Extension<Peer>) -> Response {
    if !address.ip().to_canonical().is_loopback() {
        return (StatusCode::FORBIDDEN, "figures are for this machine alone\n").into_response();
    }
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], hub.metrics.text()).into_response()
}
