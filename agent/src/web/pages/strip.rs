//! How everything is, in a few words each.

use maud::{Markup, html};

use crate::{
    control::Status,
    figures::words::{count, rough},
    pbx::ami::facts::RegistrationState,
    web::clock,
};

/// How everything is, in a few words each, and what is wrong.
pub(super) fn strip(status: &Status) -> Markup {
    html! {
        ul.strip aria-label="State" {
            (pbx(status))
            (freshness(status))
            li { strong { (if status.upload { "on" } else { "off" }) } span { "statistics for the vendor" } }
            li { strong { (tunnel(status)) } span { "tunnel" } }
            li { strong { (sessions(status)) } span { "support" } }
        }
        @for trouble in troubles(status) { p.warn { (trouble) } }
    }
}

fn pbx(status: &Status) -> Markup {
    let Some(pbx) = status.collected.as_ref().and_then(|collected| collected.pbx.as_ref()) else { return html! {} };
    let registered = pbx.registrations.iter().filter(|one| one.state == RegistrationState::Registered).count();
    html! {
        li { strong { (if pbx.connected { "up" } else { "does not answer" }) } span { "phone system" } }
        @if let Some(calls) = pbx.active_calls {
            li {
                strong { (calls) }
                span { "calls now" @if let Some(peak) = pbx.peak_today { ", at most " (peak.calls) " today" } }
            }
        }
        @if !pbx.registrations.is_empty() {
            li { strong { (registered) " of " (pbx.registrations.len()) } span { "trunks registered" } }
        }
    }
}

fn freshness(status: &Status) -> Markup {
    let newest =
        status.collected.iter().flat_map(|collected| &collected.sources).filter_map(|source| source.last_read).max();
    match newest {
        Some(moment) => {
            html! { li { strong { (rough(clock::since(moment))) " ago" } span { "newest call record" } } }
        }
        None => html! { li { strong { "none" } span { "call records" } } },
    }
}

fn tunnel(status: &Status) -> &'static str {
    match &status.linked {
        Some(link) if link.connected => "up",
        _ if status.link_absent.is_some() => "off",
        _ => "down",
    }
}

fn sessions(status: &Status) -> String {
    let support = &status.support;
    match (support.sessions.len() as i64, support.grants.len() as i64) {
        (0, 0) => "nobody may come in".to_owned(),
        (0, grants) => count(grants, "open grant"),
        (sessions, _) => format!("{} now", count(sessions, "session")),
    }
}

fn troubles(status: &Status) -> impl Iterator<Item = &str> {
    let collected = status.collected.iter();
    let of_sources =
        collected.clone().flat_map(|collected| &collected.sources).filter_map(|source| source.trouble.as_deref());
    let own = collected.flat_map(|collected| &collected.troubles).map(String::as_str);
    status
        .config_error
        .as_deref()
        .into_iter()
        .chain(of_sources)
        .chain(own)
        .chain(status.notices.iter().map(String::as_str))
}
