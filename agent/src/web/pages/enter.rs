//! In and out.

use std::{
    sync::{Arc, LazyLock},
    time::Duration,
};

use axum::{
    Extension, Form, Router,
    extract::{Query, State},
    http::{HeaderMap, Method, StatusCode},
    response::{IntoResponse, Redirect, Response},
    routing::{get, post},
};
use maud::html;
use serde::Deserialize;
use tokio::{sync::Semaphore, time::sleep};

use super::trouble;
use crate::{
    ipc::web::{Question, Reply},
    settings::Secret,
    web::{
        app::App,
        form::Sent,
        guard::{self, Visitor},
        layout,
    },
};

/// Each try takes so long at least, and one is made after the other: guessing gets nowhere.
const PAUSE: Duration = Duration::from_secs(1);
pub(super) static TRIES: LazyLock<Semaphore> = LazyLock::new(|| Semaphore::new(1));
/// Tries that may wait; further ones are turned away.
static WAITING: LazyLock<Semaphore> = LazyLock::new(|| Semaphore::new(8));

pub(super) fn router() -> Router<Arc<App>> {
    Router::new().route("/enter", get(by_link)).route("/password", post(by_password))
}

#[derive(Deserialize)]
struct Link {
    #[serde(default)]
    key: String,
}

#[derive(Deserialize)]
struct Typed {
    password: Secret,
}

/// What a browser sees that is not logged in.
pub(in crate::web) fn invitation(app: &App) -> Response {
    page(app, StatusCode::UNAUTHORIZED, None)
}

fn page(app: &App, status: StatusCode, trouble: Option<&str>) -> Response {
    let has_password = app.settings().has_password;
    layout::bare(
        status,
        "Log in",
        &html! {
            @if let Some(trouble) = trouble { p.warn role="alert" { (trouble) } }
            p { "These pages are for the owner of this phone system. On the machine itself, as root or as the user that demarc runs as, type" }
            pre { "demarc web" }
            p { "and open the link that it prints. A link lets one browser in, once, within five minutes." }
            @if has_password {
                form.row method="post" action="/password" {
                    label { "Password" input type="password" name="password" required autocomplete="current-password"; }
                    button { "Log in" }
                }
            }
        },
    )
}

async fn by_link(State(app): State<Arc<App>>, method: Method, Query(link): Query<Link>) -> Response {
    // Who only looks at a link has not followed it.
    if method != Method::GET {
        return StatusCode::METHOD_NOT_ALLOWED.into_response();
    }
    match app.desk.ask(Question::Enter { key: Secret::new(link.key) }).await {
        Some(Reply::Entered { session }) => {
            guard::with_session(&app, Redirect::to("/").into_response(), Some(&session))
        }
        Some(_) => page(&app, StatusCode::FORBIDDEN, Some("This link was used already, or is too old.")),
        None => trouble::page(StatusCode::SERVICE_UNAVAILABLE, "demarc is busy or stopping; try again in a moment."),
    }
}

async fn by_password(State(app): State<Arc<App>>, Form(typed): Form<Typed>) -> Response {
    if !app.settings().has_password {
        return trouble::nowhere().await;
    }
    let Ok(_place) = WAITING.try_acquire() else {
        return page(&app, StatusCode::TOO_MANY_REQUESTS, Some("Too many tries at once; wait a moment."));
    };
    let _turn = TRIES.acquire().await;
    let (reply, ()) = tokio::join!(app.desk.ask(Question::Admit { password: typed.password }), sleep(PAUSE));
    match reply {
        Some(Reply::Entered { session }) => {
            guard::with_session(&app, Redirect::to("/").into_response(), Some(&session))
        }
        Some(_) => page(&app, StatusCode::FORBIDDEN, Some("This is not the password.")),
        None => trouble::page(StatusCode::SERVICE_UNAVAILABLE, "demarc is busy or stopping; try again in a moment."),
    }
}

#[derive(Deserialize)]
pub(super) struct Nothing {}

pub(super) async fn leave(
    State(app): State<Arc<App>>,
    Extension(visitor): Extension<Visitor>,
    _: HeaderMap,
    Form(form): Form<Sent<Nothing>>,
) -> Response {
    if let Err(refused) = form.by(&visitor) {
        return *refused;
    }
    app.desk.ask(Question::Leave { session: visitor.session }).await;
    guard::with_session(&app, Redirect::to("/").into_response(), None)
}
