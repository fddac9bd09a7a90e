//! Pages that say what is wrong.

use axum::{http::StatusCode, response::Response};
use maud::html;

use crate::web::layout;

/// A page with one sentence.
pub(in crate::web) fn page(status: StatusCode, words: &str) -> Response {
    let title = status.canonical_reason().unwrap_or("Trouble");
    layout::bare(status, title, &html! { p { (words) } p { a href="/" { "Overview" } } })
}

/// No such page.
pub(super) async fn nowhere() -> Response {
    page(StatusCode::NOT_FOUND, "There is no such page.")
}
