//! Support sessions: who may come in, who is in, and what was done.

use std::sync::Arc;

use axum::{
    Extension, Form, Router,
    extract::{Path, State},
    http::{StatusCode, header},
    response::{IntoResponse, Redirect, Response},
    routing::{get, post},
};
use demarc_proto::support::{GrantId, Label, Scope};
use maud::{Markup, html};
use serde::Deserialize;

use super::trouble;
use crate::figures::words::rough;
use crate::{
    control::{Answer, Request, SupportStatus},
    ipc::web::{Question, Reply},
    settings::parse_duration,
    state::StateDir,
    support::{
        SessionId, cast,
        past::{self, Past},
        plain::plain,
    },
    web::{app::App, form::Sent, guard::Visitor, layout},
};

/// The most of a recording that a page shows, from its end.
const MOST_TEXT: usize = 200 << 10;

pub(super) fn router() -> Router<Arc<App>> {
    Router::new()
        .route("/support", get(show))
        .route("/support/allow", post(allow))
        .route("/support/end", post(end))
        .route("/support/{session}", get(session))
        .route("/support/{session}/text", get(text))
        .route("/support/{session}/cast", get(download))
}

async fn show(State(app): State<Arc<App>>, Extension(visitor): Extension<Visitor>) -> Response {
    let state = app.reader.state().clone();
    let past = tokio::task::spawn_blocking(move || past::sessions(&state)).await;
    let support = &visitor.status.support;
    let body = html! {
        (live(&visitor, support))
        (form(&visitor, support))
        h2 { "All sessions ever" }
        @match past.map_err(anyhow::Error::from).and_then(|past| past) {
            Ok(past) if past.is_empty() => p { "There never was a session." },
            Ok(past) => (sessions(&past, support)),
            Err(error) => p.warn { "The ledger cannot be read: " (format!("{error:#}")) },
        }
    };
    layout::page(&visitor, "/support", "Support", &body)
}

/// Grants that are live, and who is in.
fn live(visitor: &Visitor, support: &SupportStatus) -> Markup {
    html! {
        @if let Some(closed) = &support.closed {
            p { "Nobody can be let in: " (closed) "." }
        } @else if support.grants.is_empty() {
            p { "No grant is live: nobody can come in." }
        }
        @for live in &support.grants {
            section.card {
                h2 { "Grant " (live.grant.id) ": " (live.grant.scope) ", " (rough(live.seconds_left)) " left" }
                p {
                    @if let Some(ticket) = &live.grant.ticket { "Ticket " (ticket) ". " }
                    @if let Some(engineer) = &live.grant.engineer { "Expected: " (engineer) ". " }
                    "Sessions so far: " (live.sessions) ". " (if live.announced { "The hub knows of it." } else { "The hub does not know of it yet." })
                }
                @for session in support.sessions.iter().filter(|session| session.session.grant == live.grant.id) {
                    p.warn {
                        (session.engineer.as_deref().unwrap_or("Somebody")) " is in since " (rough(session.seconds)) ". "
                        a href={ "/support/" (session.session) } { "Watch" }
                    }
                }
                form method="post" action="/support/end" {
                    (layout::token(visitor))
                    input type="hidden" name="grant" value=(live.grant.id);
                    button.stop { "End it now" }
                }
            }
        }
    }
}

/// The door.
fn form(visitor: &Visitor, support: &SupportStatus) -> Markup {
    html! {
        @if support.closed.is_none() {
            h2 { "Let support in" }
            p { "Every session is recorded here before anybody sees it, ends with its time or when you end it, and cannot open a recording or a voicemail." }
            form.row method="post" action="/support/allow" {
                (layout::token(visitor))
                label { "For"
                    select name="lasts" { @for (value, name) in [("30m", "30 minutes"), ("1h", "1 hour"), ("2h", "2 hours"), ("4h", "4 hours"), ("24h", "24 hours")] {
                        option value=(value) { (name) }
                    } }
                }
                label { "Scope"
                    select name="scope" {
                        option value="diagnose" { "diagnose: a menu of read-only questions" }
                        option value="shell" { "shell: a shell that can change nothing here" }
                        option value="files" { "files: transfer to and from a scratch directory" }
                        option value="forward" { "forward: one port of this machine" }
                    }
                }
                label { "Port (of forward)" input name="port" type="number" min="1" max="65535" placeholder="443"; }
                label { "Ticket" input name="ticket" maxlength="64"; }
                label { "Engineer" input name="engineer" maxlength="64"; }
                button { "Allow" }
            }
        }
    }
}

fn sessions(past: &[Past], support: &SupportStatus) -> Markup {
    html! {
        div.scroll tabindex="0" role="group" aria-label="Table" { table {
            thead { tr { @for name in ["session", "began (UTC)", "scope", "engineer", "took", "commands", "bytes out / in", "ended"] { th.text scope="col" { (name) } } } }
            tbody { @for past in past.iter().rev() {
                @let report = past.report.as_ref();
                tr {
                    td.text { a href={ "/support/" (past.session) } { (past.session) } }
                    td.text.when { (past.began) }
                    td.text { @if let Some(scope) = past.scope { (scope) } }
                    td.text { (report.and_then(|report| report.engineer.as_deref()).unwrap_or("")) }
                    td { @if let Some(report) = report { (rough(report.seconds)) } }
                    td { @if let Some(report) = report { (report.commands.len()) } }
                    td { @if let Some(report) = report { (report.bytes_out) " / " (report.bytes_in) } }
                    td.text {
                        @match past.end {
                            Some(end) => (end.in_words()),
                            None if is_running(support, past.session) => "runs",
                            None => "its end is not in the ledger",
                        }
                    }
                }
            } }
        } }
    }
}

fn is_running(support: &SupportStatus, session: SessionId) -> bool {
    support.sessions.iter().any(|live| live.session == session)
}

#[derive(Deserialize)]
struct Allow {
    lasts: String,
    scope: String,
    #[serde(default)]
    port: String,
    #[serde(default)]
    ticket: String,
    #[serde(default)]
    engineer: String,
}

impl Allow {
    fn request(&self) -> Result<Request, String> {
        let scope = if self.scope == "forward" { format!("forward={}", self.port) } else { self.scope.clone() };
        let scope: Scope = scope
            .parse()
            .map_err(|_| "the scope was not understood; forward needs a port from 1 to 65535".to_owned())?;
        let lasts = parse_duration(&self.lasts).ok_or("the time was not understood")?;
        let label = |text: &str| -> Result<Option<Label>, String> {
            if text.trim().is_empty() {
                return Ok(None);
            }
            text.trim()
                .parse()
                .map(Some)
                .map_err(|error: demarc_proto::support::NotALabel| format!("{text:?}: {error}"))
        };
        Ok(Request::Allow {
            seconds: lasts.as_secs(),
            scope,
            ticket: label(&self.ticket)?,
            engineer: label(&self.engineer)?,
        })
    }
}

async fn allow(
    State(app): State<Arc<App>>,
    Extension(visitor): Extension<Visitor>,
    Form(form): Form<Sent<Allow>>,
) -> Response {
    let request = match form.by(&visitor).map(|allow| allow.request()) {
        Ok(Ok(request)) => request,
        Ok(Err(words)) => return trouble::page(StatusCode::BAD_REQUEST, &format!("Nobody was let in: {words}.")),
        Err(refused) => return *refused,
    };
    control(&app, &visitor, request, "Nobody was let in").await
}

#[derive(Deserialize)]
struct End {
    grant: String,
}

async fn end(
    State(app): State<Arc<App>>,
    Extension(visitor): Extension<Visitor>,
    Form(form): Form<Sent<End>>,
) -> Response {
    let grant: Option<GrantId> = match form.by(&visitor) {
        Ok(end) => end.grant.parse().ok(),
        Err(refused) => return *refused,
    };
    let Some(grant) = grant else { return trouble::page(StatusCode::BAD_REQUEST, "This is no grant.") };
    control(&app, &visitor, Request::End { grant: Some(grant) }, "It was not ended").await
}

/// Asks what the command would ask, and shows how things stand then.
async fn control(app: &App, visitor: &Visitor, request: Request, otherwise: &str) -> Response {
    match app.desk.ask(Question::Control { session: visitor.session.clone(), request }).await {
        Some(Reply::Control(Answer::Granted(_) | Answer::Ended { .. })) => Redirect::to("/support").into_response(),
        Some(Reply::Control(Answer::Refused { reason })) => {
            trouble::page(StatusCode::CONFLICT, &format!("{otherwise}: {reason}."))
        }
        _ => trouble::page(StatusCode::SERVICE_UNAVAILABLE, &format!("{otherwise}: demarc does not answer.")),
    }
}

async fn session(
    State(app): State<Arc<App>>,
    Extension(visitor): Extension<Visitor>,
    Path(session): Path<String>,
) -> Response {
    let Ok(session) = session.parse::<SessionId>() else { return trouble::nowhere().await };
    let state = app.reader.state().clone();
    let Ok(Some(recorded)) = tokio::task::spawn_blocking(move || recorded(&state, session)).await else {
        return trouble::page(StatusCode::NOT_FOUND, "There is no recording of such a session.");
    };
    let running = is_running(&visitor.status.support, session);
    let source = running.then(|| format!("/support/{session}/text"));
    let body = html! {
        p { @if running { "It runs; what the engineer sees follows below as it happens." } @else { "It is over. Below is what was shown, as text." } }
        pre tabindex="0" aria-label="What was shown" data-live=[source] data-kind="text" data-every="1000" { (recorded) }
        @if running {
            form method="post" action="/support/end" {
                (layout::token(&visitor))
                input type="hidden" name="grant" value=(session.grant);
                button.stop { "End it now" }
            }
            script src="/assets/live.js" defer {}
        }
        p { a href={ "/support/" (session) "/cast" } { "The recording as a file" } ": it plays in asciinema, and by " code { "demarc support replay " (session) } "." }
        p { a href="/support" { "All sessions" } }
    };
    layout::page(&visitor, "/support", &format!("Session {session}"), &body)
}

async fn text(State(app): State<Arc<App>>, Path(session): Path<String>) -> Response {
    let Ok(session) = session.parse::<SessionId>() else { return trouble::nowhere().await };
    let state = app.reader.state().clone();
    match tokio::task::spawn_blocking(move || recorded(&state, session)).await {
        Ok(Some(text)) => ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response(),
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn download(State(app): State<Arc<App>>, Path(session): Path<String>) -> Response {
    let Ok(session) = session.parse::<SessionId>() else { return trouble::nowhere().await };
    let path = cast::path(app.reader.state(), session);
    match tokio::fs::read(path).await {
        Ok(bytes) => {
            let name = format!("attachment; filename=\"{session}.cast\"");
            let headers =
                [(header::CONTENT_TYPE, "application/x-asciicast".to_owned()), (header::CONTENT_DISPOSITION, name)];
            (headers, bytes).into_response()
        }
        Err(_) => trouble::page(StatusCode::NOT_FOUND, "There is no recording of such a session."),
    }
}

/// What was shown and marked, without anything that a terminal would act on.
fn recorded(state: &StateDir, session: SessionId) -> Option<String> {
    let lines = std::fs::read_to_string(cast::path(state, session)).ok()?;
    let mut text = String::new();
    for line in lines.lines().skip(1) {
        let Ok(cast::Event(at, code, data)) = serde_json::from_str(line) else { continue };
        match code.as_str() {
            "o" => text.push_str(&plain(&data)),
            "m" => text.push_str(&format!("\n[{at:.1} s] {}\n", plain(&data))),
            _ => {}
        }
    }
    let from = text.len().saturating_sub(MOST_TEXT);
    let from = (from..text.len()).find(|place| text.is_char_boundary(*place)).unwrap_or(0);
    Some(text.split_off(from))
}
