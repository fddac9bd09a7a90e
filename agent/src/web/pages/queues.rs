//! What happened in the queues.

use std::sync::Arc;

use axum::{
    Extension, Router,
    extract::{Query, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use maud::{Markup, html};

use super::{period, period::Asked, trouble};
use crate::{
    figures::{Period, Share},
    local_report::printable,
    queue_report::{FORMULA_VERSION, QueueReport, Ratio},
    store::{QueueFigures, SHORT},
    web::{
        app::App,
        guard::Visitor,
        layout,
        reader::NoFigures,
        words::{average, percent},
    },
};

pub(super) fn router() -> Router<Arc<App>> {
    Router::new().route("/queues", get(show)).route("/queues.json", get(export))
}

async fn read(app: &App, asked: &Asked) -> (Period, Option<String>, Result<QueueReport, NoFigures>) {
    let (period, trouble) = asked.period(&app.zone, 7);
    let (from, to) = period.quarters(&app.zone.rules);
    let zone = app.zone.clone();
    let report = app.reader.read(move |store| Ok(store.queue_report(Some(from), Some(to), zone)?)).await;
    (period, trouble, report)
}

async fn show(
    State(app): State<Arc<App>>,
    Extension(visitor): Extension<Visitor>,
    Query(asked): Query<Asked>,
) -> Response {
    let (period, trouble, report) = read(&app, &asked).await;
    let body = html! {
        @if let Some(trouble) = trouble { p.warn role="alert" { (trouble) } }
        (period::chooser("/queues", period, &app.zone, &[]))
        @match report {
            Ok(report) if report.queues.is_empty() => p {
                "No caller was in a queue in this period. Figures of queues come from a source of the type "
                code { "queue-log" } "; " code { "demarc sources" } " says whether this machine has one."
            },
            Ok(report) => (tables(&report)),
            Err(none) => p.warn { (none) },
        }
        p { a href={ "/queues.json?" (period::query(period)) } { "The same as JSON" } }
    };
    layout::page(&visitor, "/queues", "Queues", &body)
}

async fn export(State(app): State<Arc<App>>, Query(asked): Query<Asked>) -> Response {
    match read(&app, &asked).await {
        (_, Some(trouble), _) => trouble::page(StatusCode::BAD_REQUEST, &trouble),
        (_, None, Ok(report)) => {
            ([(header::CONTENT_TYPE, "application/json")], report.to_json() + "\n").into_response()
        }
        (_, None, Err(none)) => trouble::page(StatusCode::SERVICE_UNAVAILABLE, &none.to_string()),
    }
}

fn tables(report: &QueueReport) -> Markup {
    let level = share(report.total.service_level());
    let target = report.targets.iter().map(|target| format!("{target} s")).collect::<Vec<_>>().join(" or ");
    let total = (report.queues.len() > 1).then_some(("all queues", &report.total));
    let lines = || report.queues.iter().map(|(queue, figures)| (queue.expose(), figures)).chain(total);
    html! {
        p.lead { (percent(level)) " callers were answered within " (target) "; "
            (report.total.abandoned) " hung up, of them " (report.total.short) " within " (SHORT) " s." }
        div.scroll tabindex="0" role="group" aria-label="Table" { table {
            caption { "Callers, by what became of them" }
            thead { tr {
                th.text scope="col" { "queue" }
                @for name in ["offered", "again", "answered", "in time", "hung up", "at once", "timeout", "queue empty", "by key", "open"] {
                    th scope="col" { (name) }
                }
            } }
            tbody { @for (name, figures) in lines() { tr {
                th scope="row" { (printable(name)) }
                @for count in counts(figures) { td { (count) } }
            } } }
        } }
        div.scroll tabindex="0" role="group" aria-label="Table" { table {
            caption { "Shares and averages; in brackets by how many each was divided" }
            thead { tr {
                th.text scope="col" { "queue" }
                @for name in ["service level", "abandoned", "ASA", "AHT", "wait of the lost"] { th scope="col" { (name) } }
            } }
            tbody { @for (name, figures) in lines() { tr {
                th scope="row" { (printable(name)) }
                td { (percent(share(figures.service_level()))) }
                td { (percent(share(figures.abandonment()))) }
                td { (average(share(figures.answer_seconds()))) }
                td { (average(share(figures.handle_seconds()))) }
                td { (average(share(figures.lost_wait_seconds()))) }
            } } }
        } }
        p.faint {
            "Service level: answered within the target / (answered + hung up + timeout + queue empty \u{2212} at once). Abandoned: (hung up \u{2212} at once) / (offered \u{2212} at once). "
            "ASA: waiting time of the answered / answered. AHT: talking time / talks that are over; the log has no work after a call. "
            "Callers count when they came in. Formulas: version " (FORMULA_VERSION) "."
        }
    }
}

fn counts(figures: &QueueFigures) -> [i64; 10] {
    [
        figures.offered,
        figures.returned,
        figures.connected,
        figures.in_time,
        figures.abandoned,
        figures.short,
        figures.timed_out,
        figures.emptied,
        figures.keyed,
        figures.open(),
    ]
}

fn share(ratio: Ratio) -> Share {
    Share { part: ratio.part, n: ratio.n }
}
