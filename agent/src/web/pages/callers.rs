//! Callers who reached no person, and who of them was called back.

use std::sync::Arc;

use axum::{
    Extension, Form, Router,
    extract::{Query, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use maud::{Markup, html};
use serde::Deserialize;

use super::trouble;
use crate::figures::words::{count, minutes, rough};
use crate::{
    local_report::printable,
    missed_report::{MissedQuery, MissedReport, why},
    number::Shown,
    store::MissedCall,
    web::{app::App, form::Sent, guard::Visitor, layout, reader::NoFigures},
};

/// Calls that the page lists; the export has all.
const MOST_CALLS: usize = 200;

pub(super) fn router() -> Router<Arc<App>> {
    Router::new().route("/callers", get(show).post(show_whole)).route("/callers.csv", get(export).post(export_whole))
}

#[derive(Default, Deserialize)]
struct Wanted {
    /// `all` lists those, too, with whom somebody has talked since.
    #[serde(default)]
    show: String,
}

impl Wanted {
    fn all(&self) -> bool {
        self.show == "all"
    }
}

async fn read(app: &App, wanted: &Wanted, shown: Shown) -> Result<MissedReport, NoFigures> {
    let query = MissedQuery { from: None, to: None, returned: wanted.all(), shown, zone: app.zone.clone() };
    app.reader.read(move |store| Ok(store.missed_report(query)?)).await
}

async fn show(
    State(app): State<Arc<App>>,
    Extension(visitor): Extension<Visitor>,
    Query(wanted): Query<Wanted>,
) -> Response {
    page(&app, &visitor, &wanted, Shown::Masked).await
}

async fn show_whole(
    State(app): State<Arc<App>>,
    Extension(visitor): Extension<Visitor>,
    Form(form): Form<Sent<Wanted>>,
) -> Response {
    match form.by(&visitor) {
        Ok(wanted) => page(&app, &visitor, &wanted, Shown::Whole).await,
        Err(refusal) => *refusal,
    }
}

async fn page(app: &App, visitor: &Visitor, wanted: &Wanted, shown: Shown) -> Response {
    let body = match read(app, wanted, shown).await {
        Ok(report) => html! {
            (lead(&report))
            (chooser(visitor, wanted, shown))
            @if report.calls.is_empty() { p { (report.nothing()) } } @else { (list(&report)) }
            (explanation(&report))
        },
        Err(none) => html! { p.warn { (none) } },
    };
    layout::page(visitor, "/callers", "Callers not called back", &body)
}

fn lead(report: &MissedReport) -> Markup {
    let (callers, withheld) = report.waiting();
    html! {
        @if report.in_all > 0 {
            p.lead {
                strong { (count(callers as i64, "caller")) } " reached no person and nobody has talked with them since"
                @if withheld > 0 { "; " (count(withheld as i64, "call")) " showed no number" }
                ". " (count(report.in_all as i64, "call")) " were missed in all."
            }
        }
    }
}

fn chooser(visitor: &Visitor, wanted: &Wanted, shown: Shown) -> Markup {
    let show = if wanted.all() { "all" } else { "open" };
    let current = |is: bool| is.then_some("true");
    html! {
        p {
            a href="/callers" aria-current=[current(!wanted.all())] { "not called back" } " "
            a href="/callers?show=all" aria-current=[current(wanted.all())] { "all missed calls" }
        }
        form.row method="post" action="/callers" {
            (layout::token(visitor))
            input type="hidden" name="show" value=(show);
            @if shown == Shown::Masked { button { "Show whole numbers" } }
            button.quiet formaction="/callers.csv" { "Export with whole numbers" }
            a href={ "/callers.csv?show=" (show) } { "Export (CSV)" }
        }
    }
}

fn list(report: &MissedReport) -> Markup {
    let left = report.calls.len().saturating_sub(MOST_CALLS);
    html! {
        div.scroll tabindex="0" role="group" aria-label="Table" { table {
            thead { tr {
                th.text scope="col" { "called at" } th.text scope="col" { "number" } th.text scope="col" { "dialled" }
                th.text scope="col" { "queue or trunk" } th scope="col" { "held on" } th.text scope="col" { "why" }
                th.text scope="col" { "talked with since" }
            } }
            tbody { @for call in report.calls.iter().take(MOST_CALLS) { (line(report, call)) } }
        } }
        @if left > 0 { p.faint { (left) " more are in the export." } }
    }
}

fn line(report: &MissedReport, call: &MissedCall) -> Markup {
    let queue = call.queue.as_ref().map(|queue| queue.expose());
    let name = queue.or_else(|| call.trunk.as_ref().map(|trunk| trunk.expose())).unwrap_or("-");
    html! { tr {
        td.text { (report.zone.wall_clock(call.began)) }
        th scope="row" { (report.number(call).unwrap_or_else(|| "withheld".to_owned())) }
        td.text { (printable(call.dialled.expose())) }
        td.text { (printable(name)) }
        td { (minutes(call.waited)) }
        td.text { (why(call.outcome)) }
        td.text {
            @match call.returned {
                Some(at) => { (report.zone.wall_clock(at)) ", after " (rough(at.abs_diff(call.began))) }
                None => "-",
            }
        }
    } }
}

fn explanation(report: &MissedReport) -> Markup {
    html! {
        p.faint {
            "A call counts as missed when it has been quiet for a while and no person answered. Any later conversation with that "
            "number returns it, whoever called whom: numbers are the same if their last nine digits are. Times are in "
            (report.zone.name) "."
            @if let Some(kept) = report.kept { " Kept for " (rough(kept.as_secs())) " (" code { "pbx.keep_missed" } "), on this machine only." }
        }
    }
}

async fn export(State(app): State<Arc<App>>, Query(wanted): Query<Wanted>) -> Response {
    sheet(&app, &wanted, Shown::Masked).await
}

async fn export_whole(
    State(app): State<Arc<App>>,
    Extension(visitor): Extension<Visitor>,
    Form(form): Form<Sent<Wanted>>,
) -> Response {
    match form.by(&visitor) {
        Ok(wanted) => sheet(&app, &wanted, Shown::Whole).await,
        Err(refusal) => *refusal,
    }
}

async fn sheet(app: &App, wanted: &Wanted, shown: Shown) -> Response {
    match read(app, wanted, shown).await {
        Ok(report) => {
            let headers = [
                (header::CONTENT_TYPE, "text/csv; charset=utf-8"),
                (header::CONTENT_DISPOSITION, "attachment; filename=\"missed-calls.csv\""),
            ];
            (headers, report.to_csv()).into_response()
        }
        Err(none) => trouble::page(StatusCode::SERVICE_UNAVAILABLE, &none.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use demarc_proto::Outcome;

    use super::*;
    use crate::{
        local_report::ReportZone,
        private::{OutsideNumber, OwnNumber, Queue},
    };

    #[test]
    fn what_callers_send_is_text_and_nothing_else() {
        let hostile = "<script>alert(1)</script>\r\nX: \u{202e}\"'";
        let call = MissedCall {
            number: OutsideNumber::new(hostile),
            dialled: OwnNumber::new(hostile),
            began: 1_795_400_000,
            waited: 12,
            outcome: Outcome::Abandoned,
            trunk: None,
            queue: Some(Queue::new(hostile)),
            returned: None,
        };
        let zone = ReportZone::utc();
        let kept = Some(Duration::from_secs(86_400));
        let report = MissedReport { calls: vec![call], in_all: 1, kept, shown: Shown::Whole, zone };
        let page = html! { (lead(&report)) (list(&report)) (explanation(&report)) }.into_string();
        assert!(page.contains("&lt;script&gt;"), "{page}");
        assert!(!page.contains("<script") && !page.contains(['\r', '\n', '\u{202e}']), "{page}");
    }
}
