//! Trunks: what they carried, how many lines they need, and what changed.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Extension, Router,
    extract::{Query, State},
    response::Response,
    routing::get,
};
use demarc_proto::Direction;
use maud::{Markup, html};

use super::{period, period::Asked};
use crate::figures::words::{average, percent};
use crate::{
    chart::grouped,
    control::Status,
    figures::{Change, LEAST_DAYS, Share, TrunkFigures, changes_at, trunk_figures},
    local_report::{ReportZone, printable},
    private::Trunk,
    web::{app::App, clock, guard::Visitor, layout},
};

pub(super) fn router() -> Router<Arc<App>> {
    Router::new().route("/trunks", get(show))
}

async fn show(
    State(app): State<Arc<App>>,
    Extension(visitor): Extension<Visitor>,
    Query(asked): Query<Asked>,
) -> Response {
    let (period, trouble) = asked.period(&app.zone, 91);
    let rules = app.zone.rules.clone();
    let moments = moments(&visitor.status);
    let read = app.reader.read(move |store| {
        let now = clock::now().as_second();
        let changes = moments.into_iter().map(|(what, moment)| Ok((what, moment, changes_at(store, moment, now)?)));
        Ok((trunk_figures(store, period, &rules)?, changes.collect::<anyhow::Result<Vec<_>>>()?))
    });
    let body = html! {
        @if let Some(trouble) = trouble { p.warn role="alert" { (trouble) } }
        (period::chooser("/trunks", period, &app.zone, &[]))
        @match read.await {
            Ok((trunks, _)) if trunks.is_empty() => p { "No call went over a trunk in this period." },
            Ok((trunks, changes)) => {
                (carried(&trunks))
                (lines(&trunks))
                @for (what, moment, changes) in &changes { (changed(what, *moment, changes, &app.zone)) }
            },
            Err(none) => p.warn { (none) },
        }
    };
    layout::page(&visitor, "/trunks", "Trunks", &body)
}

/// When the phone system changed last, as it says itself.
fn moments(status: &Status) -> Vec<(&'static str, i64)> {
    let Some(pbx) = status.collected.as_ref().and_then(|collected| collected.pbx.as_ref()) else { return Vec::new() };
    let second = |moment: u64| i64::try_from(moment).ok();
    let start = pbx.up_since.and_then(second).map(|moment| ("start", moment));
    let reload = pbx.reloaded.and_then(second).filter(|moment| start.is_none_or(|(_, start)| *moment > start + 60));
    start.into_iter().chain(reload.map(|moment| ("reload", moment))).collect()
}

/// A share with the interval in which it lies with 95 % confidence.
pub(super) fn with_interval(share: Share) -> String {
    match share.interval() {
        Some((from, to)) => {
            format!("{} ({:.0} to {:.0}\u{a0}%)", percent(share), from * 100.0, to * 100.0)
        }
        None => percent(share),
    }
}

fn carried(trunks: &BTreeMap<Trunk, TrunkFigures>) -> Markup {
    html! {
        div.scroll tabindex="0" role="group" aria-label="Table" { table {
            caption { "What each trunk carried; in brackets the interval in which a share lies with 95\u{a0}% confidence (Wilson)" }
            thead { tr {
                th.text scope="col" { "trunk" }
                @for name in ["calls in", "calls out (bids)", "answered, of the bids (ABR)", "average call (ACD)"] { th scope="col" { (name) } }
            } }
            tbody { @for (trunk, figures) in trunks { tr {
                th scope="row" { (printable(trunk.expose())) }
                td { (grouped(figures.calls.going(Direction::Inbound))) }
                td { (grouped(figures.calls.going(Direction::Outbound))) }
                td { (with_interval(figures.calls.answer_bid_ratio())) }
                td { (average(figures.calls.call_duration())) }
            } } }
        } }
    }
}

fn lines(trunks: &BTreeMap<Trunk, TrunkFigures>) -> Markup {
    html! {
        h2 { "Lines needed" }
        div.scroll tabindex="0" role="group" aria-label="Table" { table {
            caption { "So that 1\u{a0}% of calls find all lines busy in the mean busy hour, and 7\u{a0}% on the five busiest days, at most" }
            thead { tr {
                th.text scope="col" { "trunk" }
                @for name in ["lines", "mean busy hour, erlangs", "five busiest days, erlangs", "days"] { th scope="col" { (name) } }
            } }
            tbody { @for (trunk, figures) in trunks { tr {
                th scope="row" { (printable(trunk.expose())) }
                @match figures.advice() {
                    Some(advice) => {
                        td { strong { (advice.lines) } }
                        td { (format!("{:.2}", advice.mean)) }
                        td { (format!("{:.2}", advice.peak)) }
                        td { (advice.days) }
                    },
                    None => td.text colspan="4" { "fewer than " (LEAST_DAYS) " days with calls: no advice" },
                }
            } } }
        } }
        p.faint {
            "Erlang B. The load is an upper estimate: a call counts in the hour in which it ended, with its waiting and talking time, so that "
            "music and menus before a talk count twice. A trunk that was full hides calls which never came."
        }
    }
}

fn changed(what: &str, moment: i64, changes: &BTreeMap<Trunk, Change>, zone: &ReportZone) -> Markup {
    html! {
        h2 { "What changed with the " (what) " of the phone system, " (zone.wall_clock(moment)) }
        @if changes.is_empty() {
            p { "Too few outbound calls before or after it to compare: 30 on each side, on one trunk." }
        } @else {
            div.scroll tabindex="0" role="group" aria-label="Table" { table {
                caption { "Answered, of the outbound calls (ABR), for as long before as after, seven days at most" }
                thead { tr {
                    th.text scope="col" { "trunk" }
                    @for name in ["before", "after", "chance alone would differ as much"] { th scope="col" { (name) } }
                    th.text scope="col" { "so" }
                } }
                tbody { @for (trunk, change) in changes { tr {
                    th scope="row" { (printable(trunk.expose())) }
                    td { (with_interval(change.before)) }
                    td { (with_interval(change.after)) }
                    td { (format!("{:.2}\u{a0}%", change.chance * 100.0)) }
                    td.text {
                        @match (change.is_real(), change.after.value() < change.before.value()) {
                            (true, true) => strong { "fewer are answered" },
                            (true, false) => "more are answered",
                            (false, _) => "nothing that chance does not explain",
                        }
                    }
                } } }
            } }
        }
    }
}
