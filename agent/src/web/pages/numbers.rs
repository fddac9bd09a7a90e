//! Numbers of the customer's that nobody dials any more.

use std::sync::Arc;

use axum::{Extension, Router, extract::State, response::Response, routing::get};
use maud::{Markup, html};

use crate::figures::words::{count, rough};
use crate::{
    local_report::printable,
    own_number_report::{DEAD_AFTER_DAYS, OwnNumberReport},
    private::OwnNumber,
    web::{app::App, clock, guard::Visitor, layout},
};

/// Numbers that a table on the page has.
const MOST_NUMBERS: usize = 200;

pub(super) fn router() -> Router<Arc<App>> {
    Router::new().route("/numbers", get(show))
}

async fn show(State(app): State<Arc<App>>, Extension(visitor): Extension<Visitor>) -> Response {
    let now = clock::now().as_second();
    let body = match app.reader.read(move |store| Ok(store.own_number_report(now)?)).await {
        Ok(report) => numbers(&app, &report),
        Err(none) => html! { p.warn { (none) } },
    };
    layout::page(&visitor, "/numbers", "Numbers", &body)
}

fn numbers(app: &App, report: &OwnNumberReport) -> Markup {
    let clock = |moment| app.zone.wall_clock(moment);
    let table = |heading: &str, numbers: &[(OwnNumber, i64)]| {
        html! {
            @if !numbers.is_empty() {
                h2 { (heading) }
                div.scroll tabindex="0" role="group" aria-label="Table" { table {
                    thead { tr { th.text scope="col" { "number" } th.text scope="col" { "last call" } th scope="col" { "ago" } } }
                    tbody { @for (number, last) in numbers.iter().take(MOST_NUMBERS) { tr {
                        th scope="row" { (printable(number.expose())) }
                        td.text { (clock(*last)) }
                        td { (rough(report.at.saturating_sub(*last).unsigned_abs())) }
                    } } }
                } }
                @if numbers.len() > MOST_NUMBERS { p.faint { (numbers.len() - MOST_NUMBERS) " more are not shown." } }
            }
        }
    };
    html! {
        p.lead {
            @if report.is_old_enough() {
                strong { (count(report.dead.len() as i64, "number")) } " of " (report.dead.len() + report.alive.len())
                " had no call for " (DEAD_AFTER_DAYS) " days."
            } @else {
                "Calls are not yet known for " (DEAD_AFTER_DAYS) " days"
                @if let Some(since) = report.since { " (since " (clock(since)) ")" }
                ": no number can be called dead."
            }
        }
        @if let Some(unknown) = report.unknown {
            p.warn {
                "The records do not tell of all calls which number was dialled (last at " (clock(unknown)) "): a number may be used that "
                "looks dead here."
            }
        }
        (table("Not dialled any more", &report.dead))
        (table("In use", &report.alive))
        p.faint {
            "A number is what the first leg of a call from outside has as dialled, if that is 6 to 15 digits. Where the phone system leads "
            "a call to a ring group before the record is written, the number is not in the records. Times are in " (app.zone.name) "."
        }
    }
}
