//! The report for paper.

use std::sync::Arc;

use axum::{
    Extension, Router,
    extract::{Query, State},
    response::Response,
    routing::get,
};
use maud::html;

use super::{period, period::Asked};
use crate::{
    figures::Period,
    printed::Printed,
    web::{app::App, guard::Visitor, layout},
};

pub(super) fn router() -> Router<Arc<App>> {
    Router::new().route("/report", get(show))
}

async fn show(
    State(app): State<Arc<App>>,
    Extension(visitor): Extension<Visitor>,
    Query(asked): Query<Asked>,
) -> Response {
    let (period, trouble) = match asked.is_empty() {
        true => (Period::last_week(period::today(&app.zone)), None),
        false => asked.period(&app.zone, 7),
    };
    let zone = app.zone.clone();
    let body = html! {
        @if let Some(trouble) = trouble { p.warn role="alert" { (trouble) } }
        (period::chooser("/report", period, &app.zone, &[]))
        @match app.reader.read(move |store| Printed::read(store, period, &zone)).await {
            Ok(printed) => (printed.body()),
            Err(none) => p.warn { (none) },
        }
        p.faint { "This sheet prints on one page. The same as a file: " code { "demarc report --html FILE --from " (period.first()) " --to " (period.after().first()) } }
    };
    layout::page(&visitor, "/report", "Report", &body)
}
