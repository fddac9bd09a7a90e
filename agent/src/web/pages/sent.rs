//! What leaves: the next report beside a reading of it, and everything that ever left.

use std::{collections::HashSet, sync::Arc};

use axum::{
    Extension, Router,
    extract::{Path, Query, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use demarc_proto::{Cell, Direction, Outcome, Report};
use maud::{Markup, html};
use serde::Deserialize;

use super::trouble;
use crate::figures::words::count;
use crate::{
    gate::{
        entry::{About, Entry, Kind},
        verify::{VerifyError, verify},
    },
    next_report::NextReport,
    state::{Site, StateDir},
    web::{app::App, guard::Visitor, layout, ledger::Backward},
};

/// Entries on one page.
const ON_A_PAGE: usize = 50;

pub(super) fn router() -> Router<Arc<App>> {
    Router::new()
        .route("/sent", get(show))
        .route("/sent/verify", get(check))
        .route("/sent/{seq}", get(entry))
        .route("/sent/{seq}/bytes", get(bytes))
}

#[derive(Deserialize)]
struct Asked {
    before: Option<u64>,
}

async fn show(
    State(app): State<Arc<App>>,
    Extension(visitor): Extension<Visitor>,
    Query(asked): Query<Asked>,
) -> Response {
    let consent = app.settings().consent.clone();
    let next = app.reader.read(move |store| NextReport::read(store, &consent)).await;
    let state = app.reader.state().clone();
    let listed = tokio::task::spawn_blocking(move || Listed::read(&state, asked.before)).await;
    let body = html! {
        @if asked.before.is_none() {
            @match &next {
                Ok(next) => (next_report(next)),
                Err(none) => p.warn { (none) },
            }
        }
        h2 { "Everything that left" }
        @match listed.map_err(anyhow::Error::from).and_then(|listed| listed) {
            Ok(listed) => (ledger(&listed)),
            Err(error) => p.warn { "The ledger cannot be read: " (format!("{error:#}")) },
        }
    };
    layout::page(&visitor, "/sent", "What leaves", &body)
}

fn next_report(next: &NextReport) -> Markup {
    html! {
        h2 { "The next report" }
        @match (&next.books, &next.report) {
            (None, _) => p { "Nothing is counted yet." },
            (Some(books), None) => p {
                "As it stands nothing would be sent: the open window counts " (count(next.calls() as i64, "call"))
                ", and every group needs at least " (books.terms.floor) "."
            },
            (Some(_), Some(report)) => (reading(next, report)),
        }
        @if let Some(reason) = &next.withheld { p { strong { "It would not leave: " (reason) "." } } }
    }
}

/// The report in plain words, what the floor dropped, and the exact bytes.
fn reading(next: &NextReport, report: &Report) -> Markup {
    let body = report.to_body();
    html! {
        p.lead {
            "If the window closed now, " (body.len()) " bytes would be for the vendor. They count "
            (count(next.calls() as i64, "call")) ", in groups of at least " (report.floor) ". No number, no name and no time of a single call is in them."
        }
        div.columns {
            section {
                h3 { "What the vendor would read" }
                ul {
                    @for group in &report.volume {
                        li { "Hours " (group.from_hour) " to " (group.from_hour + group.hours) ": " strong { (group.calls) } " calls, " (cells(&group.cells)) }
                    }
                    @for group in &report.talk { li { (group.calls) " calls talked " (bounds(group.from_seconds, group.to_seconds)) } }
                    @for group in &report.wait { li { (group.calls) " calls waited " (bounds(group.from_seconds, group.to_seconds)) } }
                    @for group in &report.destination { li { (group.calls) " calls to: " (names(&group.classes)) } }
                    @for group in &report.quality { li { (group.calls) " calls with quality: " (names(&group.bands)) } }
                    li { "at most " (report.peak_concurrency) " calls at the same time" }
                }
            }
            section {
                h3 { "What stays here" }
                p { "These are the figures before the floor. Hours, directions and outcomes with fewer than " (report.floor) " calls were joined to others." }
                div.scroll tabindex="0" role="group" aria-label="Table" { table {
                    thead { tr {
                        th.text scope="col" { "direction and outcome" }
                        th scope="col" { "calls here" }
                        th scope="col" { "a group of its own in the report" }
                    } }
                    tbody { @for (cell, calls) in next.by_cell() { tr {
                        th scope="row" { (word(&cell)) }
                        td { (calls) }
                        td { (if stands_alone(report, cell) { "yes" } else { "no" }) }
                    } } }
                } }
            }
        }
        details { summary { "The exact bytes" } pre tabindex="0" { (body.trim_end()) } p.faint { "and " (body.len() - body.trim_end().len()) " spaces, so that its length tells little" } }
    }
}

/// Whether some group of the report is about that cell alone.
fn stands_alone(report: &Report, cell: Cell) -> bool {
    report.volume.iter().any(|group| group.cells == [cell])
}

fn word(cell: &Cell) -> String {
    format!("{} {}", cell.direction.as_str(), cell.outcome.as_str().replace('_', " "))
}

fn cells(cells: &[Cell]) -> String {
    if cells.len() == Cell::COUNT {
        return "of any direction and outcome".to_owned();
    }
    // A whole direction is said in one word.
    let whole =
        |direction: &Direction| cells.iter().filter(|cell| cell.direction == *direction).count() == Outcome::ALL.len();
    let directions: Vec<Direction> = Direction::ALL.into_iter().filter(whole).collect();
    let mut words: Vec<String> =
        directions.iter().map(|direction| format!("any {} call", direction.as_str())).collect();
    words.extend(cells.iter().filter(|cell| !directions.contains(&cell.direction)).map(word));
    words.join(", ")
}

fn bounds(from: u32, to: Option<u32>) -> String {
    match to {
        Some(to) => format!("{from} to {to} s"),
        None => format!("{from} s or longer"),
    }
}

fn names(all: &[impl serde::Serialize]) -> String {
    let word = |one| serde_json::to_value(one).ok().and_then(|value| Some(value.as_str()?.replace('_', " ")));
    all.iter().filter_map(word).collect::<Vec<_>>().join(", ")
}

/// One page of the ledger, the newest first.
struct Listed {
    entries: Vec<Entry>,
    confirmed: HashSet<demarc_proto::ReportId>,
    unreadable: Option<String>,
}

impl Listed {
    fn read(state: &StateDir, before: Option<u64>) -> anyhow::Result<Self> {
        let mut listed = Self { entries: Vec::new(), confirmed: HashSet::new(), unreadable: None };
        let before = before.unwrap_or(u64::MAX);
        let mut ledger = Backward::open(&state.ledger())?;
        while listed.entries.len() < ON_A_PAGE
            && let Some(line) = ledger.line()?
        {
            // Of later entries only receipts matter: they may be for reports on this page.
            if line.seq().is_some_and(|seq| seq >= before) && !line.may_be_receipt() {
                continue;
            }
            let entry = match line.entry() {
                Some(Ok(entry)) => entry,
                None => continue,
                Some(Err(why)) => {
                    listed.unreadable =
                        Some(format!("A line is no entry of the ledger: {why}. Those before it are not shown."));
                    break;
                }
            };
            if let (Kind::Receipt, Some(report)) = (entry.kind(), entry.about.report()) {
                listed.confirmed.insert(report);
            }
            if entry.seq < before {
                listed.entries.push(entry);
            }
        }
        Ok(listed)
    }

    fn receipt(&self, entry: &Entry) -> &'static str {
        match entry.about {
            About::Report { report, .. } if self.confirmed.contains(&report) => "yes",
            About::Report { .. } => "not yet",
            _ => "",
        }
    }
}

fn ledger(listed: &Listed) -> Markup {
    html! {
        p { "Nothing leaves that does not stand here first, byte for byte; each entry holds the hash of the one before. "
            a href="/sent/verify" { "Check the whole chain" } ", or type " code { "demarc sent verify" } "." }
        @if let Some(unreadable) = &listed.unreadable { p.warn { (unreadable) } }
        @if listed.entries.is_empty() {
            p { "Nothing has left: the ledger has no entries." }
        } @else {
            div.scroll tabindex="0" role="group" aria-label="Table" { table {
                thead { tr {
                    th scope="col" { "number" } th.text scope="col" { "time (UTC)" } th.text scope="col" { "kind" }
                    th scope="col" { "bytes" } th.text scope="col" { "about" } th.text scope="col" { "receipt" }
                } }
                tbody { @for entry in &listed.entries { tr {
                    td { a href={ "/sent/" (entry.seq) } { (entry.seq) } }
                    td.text.when { (entry.time) }
                    td.text { (entry.kind().as_str().replace('_', " ")) }
                    td { (entry.bytes.len()) }
                    td.text.long { (entry.about.in_words()) }
                    td.text { (listed.receipt(entry)) }
                } } }
            } }
            @if let Some(oldest) = listed.entries.last().filter(|entry| entry.seq > 1) {
                p { a href={ "/sent?before=" (oldest.seq) } { "Earlier entries" } }
            }
        }
    }
}

async fn find(app: &App, seq: u64) -> Result<Entry, Box<Response>> {
    let state = app.reader.state().clone();
    let found = tokio::task::spawn_blocking(move || {
        let mut ledger = Backward::open(&state.ledger())?;
        while let Some(line) = ledger.line()? {
            if line.seq() == Some(seq) {
                return Ok(line.entry().and_then(Result::ok));
            }
        }
        Ok::<_, std::io::Error>(None)
    });
    match found.await {
        Ok(Ok(Some(entry))) => Ok(entry),
        Ok(Ok(None)) => {
            Err(Box::new(trouble::page(StatusCode::NOT_FOUND, "The ledger has no entry with that number.")))
        }
        _ => Err(Box::new(trouble::page(StatusCode::SERVICE_UNAVAILABLE, "The ledger cannot be read."))),
    }
}

async fn entry(State(app): State<Arc<App>>, Extension(visitor): Extension<Visitor>, Path(seq): Path<u64>) -> Response {
    let entry = match find(&app, seq).await {
        Ok(entry) => entry,
        Err(none) => return *none,
    };
    let body = html! {
        dl {
            dt { "time (UTC)" } dd { (entry.time) }
            dt { "kind" } dd { (entry.kind().as_str().replace('_', " ")) }
            dt { "about" } dd { (entry.about.in_words()) }
            dt { "hash of the entry before" } dd { code { (entry.prev) } }
            dt { "hash of this entry" } dd { code { (entry.hash) } }
        }
        @if entry.bytes.is_empty() {
            p { "Nothing left: the entry says that something happened here." }
        } @else {
            h2 { "What left, " (entry.bytes.len()) " bytes" }
            pre tabindex="0" { (entry.bytes.trim_end()) }
            p { a href={ "/sent/" (entry.seq) "/bytes" } { "The exact bytes as a file" } }
        }
        p { a href="/sent" { "All entries" } }
    };
    layout::page(&visitor, "/sent", &format!("Entry {seq} of the ledger"), &body)
}

async fn bytes(State(app): State<Arc<App>>, Path(seq): Path<u64>) -> Response {
    match find(&app, seq).await {
        Ok(entry) => {
            let name = format!("attachment; filename=\"demarc-{seq}.json\"");
            let headers =
                [(header::CONTENT_TYPE, "application/octet-stream".to_owned()), (header::CONTENT_DISPOSITION, name)];
            (headers, entry.bytes).into_response()
        }
        Err(none) => *none,
    }
}

async fn check(State(app): State<Arc<App>>, Extension(visitor): Extension<Visitor>) -> Response {
    let state = app.reader.state().clone();
    let checked = tokio::task::spawn_blocking(move || {
        let site = Site::load(&state).ok().flatten();
        let key = site.as_ref().map(|site| site.receipt_key.0.clone());
        (verify(&state.ledger(), key.as_deref()), key.is_some())
    });
    let body = match checked.await {
        Ok((Ok(verified), enrolled)) => html! { p.lead.good { (verified.in_words(enrolled)) } },
        Ok((Err(VerifyError::Broken(broken)), _)) => html! { p.warn { "The ledger is broken: " (broken) "." } },
        _ => html! { p.warn { "The ledger cannot be read." } },
    };
    layout::page(&visitor, "/sent", "The ledger, checked", &html! { (body) p { a href="/sent" { "All entries" } } })
}
