//! Style, picture and the one small program of the pages. They are part of the program, so that nothing is loaded from
//! elsewhere.

use axum::{
    Router,
    http::header,
    response::{IntoResponse, Response},
    routing::get,
};

/// The files, by name.
pub(super) fn router<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new()
        .route("/assets/style.css", get(|| file("text/css; charset=utf-8", include_str!("assets/style.css"))))
        .route("/assets/live.js", get(|| file("text/javascript; charset=utf-8", include_str!("assets/live.js"))))
        .route("/assets/icon.svg", get(|| file("image/svg+xml", include_str!("assets/icon.svg"))))
}

async fn file(kind: &'static str, content: &'static str) -> Response {
    ([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "max-age=300")], content).into_response()
}
