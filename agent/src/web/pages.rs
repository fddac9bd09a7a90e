//! The pages, and which path leads to which.

mod callers;
mod calls;
mod completeness;
pub(super) mod enter;
mod health;
mod metrics;
mod numbers;
mod overview;
mod period;
mod queues;
mod recordings;
mod report;
mod sent;
mod strip;
mod support;
mod switches;
pub(super) mod trouble;
mod trunks;

use std::sync::Arc;

use axum::{Router, extract::DefaultBodyLimit, middleware, routing::get};

use super::{app::App, assets, guard};

/// The longest form.
const MAX_FORM: usize = 16 << 10;

/// All pages.
pub(super) fn router(app: Arc<App>) -> Router {
    let inside = Router::new()
        .route("/", get(overview::show))
        .merge(calls::router())
        .merge(queues::router())
        .merge(health::router())
        .merge(recordings::router())
        .merge(report::router())
        .merge(callers::router())
        .merge(trunks::router())
        .merge(numbers::router())
        .merge(completeness::router())
        .merge(sent::router())
        .merge(switches::router())
        .merge(support::router())
        .route("/leave", axum::routing::post(enter::leave))
        .route_layer(middleware::from_fn_with_state(Arc::clone(&app), guard::logged_in));
    Router::new()
        .merge(inside)
        .merge(enter::router())
        .merge(metrics::router())
        .merge(assets::router())
        .fallback(trouble::nowhere)
        .layer(DefaultBodyLimit::max(MAX_FORM))
        .layer(middleware::from_fn_with_state(Arc::clone(&app), guard::same_origin))
        .with_state(app)
}
