//! Call recordings, by their names, sizes and ages: how many there are, how long they are kept, and what would go.

use std::sync::Arc;

use axum::{
    Extension, Form, Router,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Redirect, Response},
    routing::{get, post},
};
use maud::{Markup, html};
use serde::Deserialize;

use super::trouble;
use crate::figures::words::{count, rough};
use crate::{
    chart::{self, Bars, Series, grouped},
    control::{Answer, Request},
    ipc::web::{Question, Reply},
    recordings::{
        JobState, NO_TREES, Outcome, RecordingsStatus, TreeKind, TreeStatus, Work,
        files::{self, History, Listed},
        size,
    },
    state::StateDir,
    web::{app::App, clock, form::Sent, guard::Visitor, layout},
};

/// Names that a dry run lists on the page.
const MOST_NAMES: u64 = 200;
/// Days of the chart.
const MOST_DAYS: usize = 60;
const MEBIBYTE: u64 = 1 << 20;

pub(super) fn router() -> Router<Arc<App>> {
    Router::new()
        .route("/recordings", get(show))
        .route("/recordings/look", post(look))
        .route("/recordings/prune", post(prune))
        .route("/recordings/{job}", get(job))
}

async fn show(State(app): State<Arc<App>>, Extension(visitor): Extension<Visitor>) -> Response {
    let kept = &visitor.status.kept;
    let state = app.reader.state().clone();
    let history = tokio::task::spawn_blocking(move || files::read::<History>(&state.recordings_history())).await;
    let history = history.ok().and_then(Result::ok).unwrap_or_default();
    let body = html! {
        (proof(kept))
        @for trouble in kept.troubles.iter().chain(kept.trees.iter().flat_map(|tree| &tree.troubles)) { p.warn { (trouble) } }
        @if kept.trees.is_empty() { p { (NO_TREES) "." } } @else { (trees(&kept.trees)) }
        (growth(&history))
        (retention(&visitor, kept))
    };
    layout::page(&visitor, "/recordings", "Recordings", &body)
}

/// Whether it was shown that nobody here can open one.
fn proof(kept: &RecordingsStatus) -> Markup {
    let tried = kept.trees.iter().filter(|tree| tree.cannot_open == Some(true)).count();
    let opened = kept.trees.iter().any(|tree| tree.cannot_open == Some(false));
    html! {
        @if opened {
            p.warn role="alert" { "A recording could be opened: the confinement of this machine does not hold. " code { "demarc doctor" } " says why." }
        } @else if let Some(looked) = kept.looked {
            p.lead {
                "demarc knows recordings by their names, sizes and ages alone. " (moment(looked)) " the process that counts them tried to open one"
                @if tried > 1 { " in each of " (tried) " trees" } ", and the kernel refused."
            }
        } @else {
            p { "Nobody has looked yet." }
        }
    }
}

fn moment(seconds: u64) -> String {
    format!("{} ago", rough(clock::since(seconds)))
}

fn trees(trees: &[TreeStatus]) -> Markup {
    html! {
        div.scroll tabindex="0" role="group" aria-label="Table" { table {
            thead { tr {
                th.text scope="col" { "tree" } th scope="col" { "files" } th scope="col" { "size" } th.text scope="col" { "oldest" }
                th.text scope="col" { "newest" } th scope="col" { "a day" } th scope="col" { "free" } th.text scope="col" { "full in" } th scope="col" { "held" }
            } }
            tbody { @for tree in trees { tr {
                th scope="row" { (tree.path.display()) @if tree.kind == TreeKind::Voicemail { " (voicemail)" } }
                td { (grouped(number(tree.files))) }
                td { (size(tree.bytes)) }
                td.text { @if let Some(oldest) = tree.oldest { (moment(oldest)) } }
                td.text { @if let Some(newest) = tree.newest { (moment(newest)) } }
                td { (size(tree.bytes_per_day)) }
                td { (size(tree.free_bytes)) }
                td.text { @match tree.full_in_days { Some(days) => (count(number(days), "day")), None => "not foreseen" } }
                td { (grouped(number(tree.held))) }
            } } }
        } }
    }
}

/// How much there was, day by day.
fn growth(history: &History) -> Markup {
    let days = &history.days[history.days.len().saturating_sub(MOST_DAYS)..];
    let size_of = |day: &files::Day| day.trees.iter().map(|tree| tree.bytes).sum::<u64>();
    let (Some(first), Some(last)) = (days.first(), days.last()) else { return html! {} };
    let (then, now) = (size(size_of(first)), size(size_of(last)));
    let takeaway = match days.len() {
        1 => format!("All recordings together: {now} on {}.", last.day),
        _ => format!("All recordings together: {then} on {}, {now} on {}.", first.day, last.day),
    };
    let bars = Bars {
        label: "Size of all recordings by day, in mebibytes",
        heading: "day",
        places: days.iter().map(|day| short(&day.day)).collect(),
        series: vec![Series {
            name: "MiB",
            class: "answered",
            values: days.iter().map(|day| number(size_of(day) / MEBIBYTE)).collect(),
        }],
    };
    html! { h2 { "Growth" } (chart::figure(&takeaway, &bars.svg(), &bars.table())) }
}

/// A day as charts write it; what is no day stays as it is.
fn short(day: &str) -> String {
    day.parse::<jiff::civil::Date>().map_or_else(|_| day.to_owned(), |day| day.strftime("%d.%m.").to_string())
}

fn retention(visitor: &Visitor, kept: &RecordingsStatus) -> Markup {
    html! {
        h2 { "How long they are kept" }
        p {
            @match kept.retention {
                Some(seconds) => {
                    "Recordings that have not changed for " (rough(seconds)) " are removed once a day"
                    @if kept.voicemail { ", messages in mailboxes too" } "."
                },
                None => { "Nothing is removed: " code { "recordings.retention" } " is off." },
            }
            " Holds by extension or path (" code { "recordings.holds" } ") keep files whatever their age; what somebody is writing stays, and links are not followed."
        }
        @if let Some(last) = &kept.last_pruning {
            p { "The last time, " (moment(last.began)) ", " (count(number(last.files), "file")) " went (" (size(last.bytes)) "), and " (last.failed) " could not be removed." }
        }
        @if !kept.trees.is_empty() {
            form.row method="post" action="/recordings/look" {
                (layout::token(visitor))
                label { "Not changed for days" input name="days" type="number" min="1" max="36500" value=(kept.retention.map_or(90, |seconds| seconds / 86_400)); }
                button { "Show what would go" }
            }
            p.faint { "This looks and removes nothing." }
        }
    }
}

#[derive(Deserialize)]
struct Days {
    days: String,
}

impl Days {
    fn seconds(&self) -> Option<u64> {
        self.days.parse::<u64>().ok()?.checked_mul(86_400)
    }
}

async fn look(app: State<Arc<App>>, visitor: Extension<Visitor>, form: Form<Sent<Days>>) -> Response {
    begin(app, visitor, form, |older_than| Work::DryRun { older_than, names: MOST_NAMES }).await
}

async fn prune(app: State<Arc<App>>, visitor: Extension<Visitor>, form: Form<Sent<Days>>) -> Response {
    begin(app, visitor, form, |older_than| Work::Prune { older_than }).await
}

async fn begin(
    State(app): State<Arc<App>>,
    Extension(visitor): Extension<Visitor>,
    Form(form): Form<Sent<Days>>,
    work: fn(Option<u64>) -> Work,
) -> Response {
    let older_than = match form.by(&visitor) {
        Ok(days) => days.seconds(),
        Err(refused) => return *refused,
    };
    if older_than.is_none() {
        return trouble::page(StatusCode::BAD_REQUEST, "The number of days was not understood.");
    }
    let request = Request::Keep { work: work(older_than) };
    match app.desk.ask(Question::Control { session: visitor.session.clone(), request }).await {
        Some(Reply::Control(Answer::Keeping { job })) => Redirect::to(&format!("/recordings/{job}")).into_response(),
        Some(Reply::Control(Answer::Refused { reason })) => {
            trouble::page(StatusCode::CONFLICT, &format!("Nothing was done: {reason}."))
        }
        _ => trouble::page(StatusCode::SERVICE_UNAVAILABLE, "demarc does not answer; nothing may have been done."),
    }
}

async fn job(State(app): State<Arc<App>>, Extension(visitor): Extension<Visitor>, Path(job): Path<u64>) -> Response {
    let request = Request::Kept { job };
    let state = match app.desk.ask(Question::Control { session: visitor.session.clone(), request }).await {
        Some(Reply::Control(Answer::Kept(state))) => *state,
        Some(Reply::Control(Answer::Refused { reason })) => {
            return trouble::page(StatusCode::NOT_FOUND, &format!("{reason}."));
        }
        _ => return trouble::page(StatusCode::SERVICE_UNAVAILABLE, "demarc does not answer."),
    };
    let source = format!("/recordings/{job}");
    let body = match state {
        JobState::Waiting => waiting(&source, "Another job is done first."),
        JobState::Running(progress) => waiting(
            &source,
            &format!(
                "{} looked at, {} removed so far.",
                count(number(progress.looked_at), "file"),
                count(number(progress.removed.files), "file")
            ),
        ),
        JobState::Failed { reason } => html! { p.warn { "It could not be done: " (reason) "." } },
        JobState::Done(outcome) => {
            let place = app.reader.state().clone();
            let names = tokio::task::spawn_blocking(move || listed(&place)).await.unwrap_or_default();
            done(&visitor, &outcome, &names)
        }
    };
    layout::page(
        &visitor,
        "/recordings",
        "Recordings: what would go",
        &html! { (body) p { a href="/recordings" { "All recordings" } } },
    )
}

fn waiting(source: &str, words: &str) -> Markup {
    html! {
        p { (words) }
        p { a.button href=(source) { "Look again" } }
    }
}

fn done(visitor: &Visitor, outcome: &Outcome, names: &[Listed]) -> Markup {
    let days = outcome.older_than.map_or(0, |seconds| seconds / 86_400);
    html! {
        @for trouble in &outcome.troubles { p.warn { (trouble) } }
        @if outcome.removed.files > 0 || outcome.failed > 0 {
            p.lead { (count(number(outcome.removed.files), "file")) " went, " (size(outcome.removed.bytes)) ". " (outcome.failed) " could not be removed, " (outcome.changed) " changed meanwhile and stayed." }
        } @else {
            p.lead { (count(number(outcome.due.files), "file")) " (" (size(outcome.due.bytes)) ") have not changed for " (count(number(days), "day")) " and would go. "
                (count(number(outcome.kept_by_holds.files), "file")) " as old are held." }
            @if outcome.due.files > 0 {
                form.row method="post" action="/recordings/prune" {
                    (layout::token(visitor))
                    input type="hidden" name="days" value=(days);
                    button.stop { "Remove them for good" }
                    a.button.quiet href="/recordings" { "Leave them" }
                }
                p { "Removing cannot be taken back. Counting of calls and everything else goes on as before." }
            }
            @if !names.is_empty() {
                div.scroll tabindex="0" role="group" aria-label="Table" { table {
                    caption { "The first of them" }
                    thead { tr { th.text scope="col" { "file" } th scope="col" { "size" } th.text scope="col" { "changed" } } }
                    tbody { @for name in names { tr { td.text { (name.path) } td { (size(name.bytes)) } td.text { (moment(name.changed)) } } } }
                } }
            }
        }
    }
}

fn listed(state: &StateDir) -> Vec<Listed> {
    let text = std::fs::read_to_string(state.recordings_list()).unwrap_or_default();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).take(MOST_NAMES as usize).collect()
}

fn number(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
