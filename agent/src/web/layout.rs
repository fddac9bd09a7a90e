//! What all pages have in common.

use axum::{
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use maud::{DOCTYPE, Markup, html};

use super::guard::Visitor;

/// The pages in the navigation: path, name.
const PAGES: &[(&str, &str)] = &[
    ("/", "Overview"),
    ("/calls", "Calls"),
    ("/report", "Report"),
    ("/queues", "Queues"),
    ("/callers", "Callers"),
    ("/trunks", "Trunks"),
    ("/numbers", "Numbers"),
    ("/completeness", "Completeness"),
    ("/sent", "What leaves"),
    ("/switches", "Switches"),
    ("/support", "Support"),
    ("/health", "Health"),
    ("/recordings", "Recordings"),
];

/// A page for a browser that is logged in.
pub(super) fn page(visitor: &Visitor, path: &str, title: &str, body: &Markup) -> Response {
    let navigation = html! {
        nav aria-label="Pages" {
            @for (target, name) in PAGES {
                a href=(target) aria-current=[(*target == path).then_some("page")] { (name) }
            }
        }
        form.leave method="post" action="/leave" {
            input type="hidden" name="token" value=(visitor.token());
            button.quiet { "Log out" }
        }
    };
    whole(StatusCode::OK, title, &navigation, body)
}

/// A page for everybody.
pub(super) fn bare(status: StatusCode, title: &str, body: &Markup) -> Response {
    whole(status, title, &html! {}, body)
}

fn whole(status: StatusCode, title: &str, navigation: &Markup, body: &Markup) -> Response {
    let markup = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " - Demarc" }
                link rel="stylesheet" href="/assets/style.css";
                link rel="icon" href="/assets/icon.svg" type="image/svg+xml";
            }
            body {
                a.skip href="#main" { "To the content" }
                header { a.name href="/" { "Demarc" } (navigation) }
                main #main { h1 { (title) } (body) }
                footer { "Demarc " (env!("CARGO_PKG_VERSION")) ". This page comes from this machine, and nothing on it goes anywhere else." }
            }
        }
    };
    (status, [(header::CONTENT_TYPE, "text/html; charset=utf-8")], markup.into_string()).into_response()
}

/// A field of a form that says which login it was made for.
pub(super) fn token(visitor: &Visitor) -> Markup {
    html! { input type="hidden" name="token" value=(visitor.token()); }
}
