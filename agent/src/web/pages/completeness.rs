//! What became of every row that was read.

use std::sync::Arc;

use axum::{Extension, Router, extract::State, response::Response, routing::get};
use maud::{Markup, html};

use crate::{
    chart::grouped,
    local_report::printable,
    store::{RowLedger, SourceLedger},
    web::{app::App, guard::Visitor, layout},
};

pub(super) fn router() -> Router<Arc<App>> {
    Router::new().route("/completeness", get(show))
}

async fn show(State(app): State<Arc<App>>, Extension(visitor): Extension<Visitor>) -> Response {
    let body = match app.reader.read(|store| Ok(store.row_ledger()?)).await {
        Ok(ledger) => html! { (verdict(&ledger)) (whole(&ledger)) (sources(&ledger)) },
        Err(none) => html! { p.warn { (none) } },
    };
    layout::page(&visitor, "/completeness", "Completeness", &body)
}

fn number(number: u64) -> String {
    grouped(i64::try_from(number).unwrap_or(i64::MAX))
}

fn verdict(ledger: &RowLedger) -> Markup {
    html! {
        @match ledger.missing() {
            0 => p.lead { "Every one of " strong { (number(ledger.rows)) } " rows is accounted for." },
            missing => p.warn role="alert" {
                "The rows do not add up: " (grouped(missing)) " of " (number(ledger.rows)) " are not accounted for. This is a fault of Demarc."
            },
        }
    }
}

fn whole(ledger: &RowLedger) -> Markup {
    let lines = [
        ("part of a call by itself", ledger.used(), "what calls, talk and wait are made of"),
        (
            "half of a Local channel",
            ledger.halves.min(ledger.legs),
            "the PBX's way to lead a call to itself: part of a call, too, and never a call of its own",
        ),
        ("repeat", ledger.repeats, "says no more than a row that was read before"),
        ("not understood", ledger.unclassified, "kept, the newest thousand: demarc status says why"),
    ];
    html! {
        div.scroll tabindex="0" role="group" aria-label="Table" { table {
            caption { "All rows, by what became of them" }
            thead { tr { th.text scope="col" { "row" } th scope="col" { "how many" } th.text scope="col" { "what that means" } } }
            tbody {
                @for (name, count, words) in lines {
                    tr { th scope="row" { (name) } td { (number(count)) } td.text { (words) } }
                }
                tr { th scope="row" { "all" } td { strong { (number(ledger.rows)) } } td.text { } }
            }
        } }
    }
}

fn sources(ledger: &RowLedger) -> Markup {
    let elsewhere = ledger.elsewhere();
    html! {
        div.scroll tabindex="0" role="group" aria-label="Table" { table {
            caption { "Rows by source: read = by its word + told by another + from before + waiting" }
            thead { tr {
                th.text scope="col" { "source" }
                @for name in ["read", "by its word", "told by another", "from before", "waiting", "repeats", "not understood"] {
                    th scope="col" { (name) }
                }
            } }
            tbody {
                @for source in &ledger.sources { (line(source)) }
                @if elsewhere > 0 {
                    tr {
                        th scope="row" { "imported files, and sources of earlier" }
                        td { (number(elsewhere)) } td { (number(elsewhere)) }
                        @for _ in 0..5 { td { "-" } }
                    }
                }
            }
        } }
        p.faint {
            "Where several sources tell of the same calls, a row counts once, by the word of one of them. Rows of a queue log are no rows "
            "of calls. Halves of Local channels are counted since this version came, in what live sources bring: those of imported files count \
             among the first."
        }
    }
}

fn line(source: &SourceLedger) -> Markup {
    let own = if source.is_of_queues() { "-".to_owned() } else { number(source.own()) };
    html! {
        tr {
            th scope="row" { (printable(&source.name)) }
            td { (number(source.read)) }
            td { (own) }
            @for count in [source.confirmed, source.left, source.waiting, source.repeats, source.unclassified] {
                td { (number(count)) }
            }
        }
    }
}
