//! The switches: what each does, and what stops working when it is turned.

use std::sync::Arc;

use axum::{
    Extension, Form, Router,
    extract::{Query, State},
    http::StatusCode,
    response::{IntoResponse, Redirect, Response},
    routing::get,
};
use maud::{Markup, html};
use serde::Deserialize;

use super::trouble;
use crate::{
    control::{Answer, Status},
    ipc::web::{Question, Reply},
    settings::edit::Switch,
    web::{app::App, form::Sent, guard::Visitor, layout},
};

pub(super) fn router() -> Router<Arc<App>> {
    Router::new().route("/switches", get(show).post(turn)).route("/switches/turn", get(confirm))
}

/// What a page says of a switch.
struct Words {
    switch: Switch,
    title: &'static str,
    what: &'static str,
    /// What stops, and what goes on, when it is switched off.
    off: [&'static str; 2],
    /// What begins when it is switched on.
    on: &'static str,
}

const SWITCHES: [Words; 3] = [
    Words {
        switch: Switch::Upload,
        title: "Statistics for the vendor",
        what: "Once a window, the vendor gets counts of calls in groups: never a number, a name or a single call.",
        off: [
            "From this moment no further byte of statistics leaves. Reports that wait here are taken back. The vendor learns nothing of the switch itself.",
            "Counting, these pages, the command demarc report, the ledger, support by your grant and everything else go on.",
        ],
        on: "When the open window closes, its report goes to the vendor. Calls from before this moment are in none. The page \u{201c}What leaves\u{201d} shows the next report, byte for byte, before it leaves.",
    },
    Words {
        switch: Switch::Health,
        title: "Health reports for the vendor",
        what: "Every few minutes, the vendor learns how this machine is: load, memory, free disk space, whether the phone system answers, and which alerts are raised. Whole numbers and fixed words, and nothing about a call.",
        off: [
            "From this moment no further byte of health reports leaves. The vendor learns nothing of the switch itself, and does not see a full disk before you do.",
            "Measuring, alerts, the page of health and everything else go on.",
        ],
        on: "The first report leaves within a minute while the tunnel is up; each is entered in the ledger first. The page \u{201c}Health\u{201d} shows what it says, byte for byte.",
    },
    Words {
        switch: Switch::Tunnel,
        title: "The tunnel to the vendor",
        what: "One outbound encrypted connection: for reports, receipts, and support sessions that you allow.",
        off: [
            "The connection is cut at once, with every support session in it. Nobody of the vendor's can come in, and nothing leaves.",
            "Counting, these pages and the ledger go on. Reports wait on this machine until the tunnel is on again.",
        ],
        on: "demarc connects to the hub and keeps the connection. Reports that wait are sent if statistics are on.",
    },
];

fn is_on(status: &Status, switch: Switch) -> bool {
    match switch {
        Switch::Upload => status.upload,
        Switch::Health => status.health_upload,
        Switch::Tunnel => !status.link_absent.as_ref().is_some_and(|why| why.starts_with("switched off")),
    }
}

async fn show(Extension(visitor): Extension<Visitor>) -> Response {
    let status = &visitor.status;
    let body = html! {
        p { "Each switch is a line in " code { (status.config.display()) } "; turning one here changes that line and keeps your comments." }
        @for words in &SWITCHES {
            @let on = is_on(status, words.switch);
            section.card {
                h2 { (words.title) ": " (if on { "on" } else { "off" }) }
                p { (words.what) }
                p.faint { code { (words.switch.key()) } @if let Some(why) = decided(status, words.switch) { ". " (why) } }
                a.button href={ "/switches/turn?switch=" (name(words.switch)) "&on=" (!on) } { "Switch " (if on { "off" } else { "on" }) "\u{2026}" }
            }
        }
        section.card {
            h2 { "Support sessions" }
            p { "Nobody comes in without a grant of yours, each time. " a href="/support" { "Grants and sessions" } }
        }
    };
    layout::page(&visitor, "/switches", "Switches", &body)
}

/// What else decides a switch.
fn decided(status: &Status, switch: Switch) -> Option<String> {
    match switch {
        Switch::Upload => Some(format!("Decided by {}.", status.upload_decided_by)),
        Switch::Health => Some(format!("Decided by {}.", status.health_upload_decided_by)),
        Switch::Tunnel => status.link_absent.as_ref().map(|why| format!("No connection: {why}.")),
    }
}

fn name(switch: Switch) -> String {
    serde_json::to_value(switch).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

#[derive(Deserialize)]
struct Turn {
    switch: Switch,
    on: String,
}

impl Turn {
    fn on(&self) -> bool {
        self.on == "true"
    }

    fn words(&self) -> &'static Words {
        SWITCHES.iter().find(|words| words.switch == self.switch).unwrap_or(&SWITCHES[0])
    }
}

async fn confirm(Extension(visitor): Extension<Visitor>, Query(turn): Query<Turn>) -> Response {
    let words = turn.words();
    let title = format!("{}: switch {}?", words.title, if turn.on() { "on" } else { "off" });
    let body = html! {
        (consequences(words, turn.on()))
        form.row method="post" action="/switches" {
            (layout::token(&visitor))
            input type="hidden" name="switch" value=(name(turn.switch));
            input type="hidden" name="on" value=(turn.on());
            button.stop[!turn.on()] { "Switch " (if turn.on() { "on" } else { "off" }) }
            a.button.quiet href="/switches" { "Leave it" }
        }
    };
    layout::page(&visitor, "/switches", &title, &body)
}

fn consequences(words: &Words, on: bool) -> Markup {
    html! {
        @if on {
            p { (words.on) }
        } @else {
            h2 { "What stops" } p { (words.off[0]) }
            h2 { "What goes on" } p { (words.off[1]) }
        }
    }
}

async fn turn(
    State(app): State<Arc<App>>,
    Extension(visitor): Extension<Visitor>,
    Form(form): Form<Sent<Turn>>,
) -> Response {
    let turn = match form.by(&visitor) {
        Ok(turn) => turn,
        Err(refused) => return *refused,
    };
    let question = Question::Turn { session: visitor.session.clone(), switch: turn.switch, on: turn.on() };
    let trouble = match app.desk.ask(question).await {
        Some(Reply::Control(Answer::Reloaded(reloaded))) => match reloaded.error {
            None => return Redirect::to("/switches").into_response(),
            Some(error) => format!("The config file was changed, but demarc does not take it: {error}."),
        },
        Some(Reply::Unchanged { reason }) => format!("Nothing was changed: {reason}."),
        Some(Reply::Control(Answer::Refused { reason })) => format!("demarc refuses: {reason}."),
        _ => "demarc does not answer; look at the switch again before you rely on it.".to_owned(),
    };
    trouble::page(StatusCode::SERVICE_UNAVAILABLE, &trouble)
}
