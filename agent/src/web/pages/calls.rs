//! Calls of any period, compared with the period before, and their exports.

mod waits;

use std::sync::Arc;

use axum::{
    Extension, Router,
    extract::{Query, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use clap::ValueEnum;
use demarc_proto::{Direction, Outcome};
use maud::{Markup, html};
use serde::Deserialize;

use super::{period, period::Asked, trouble};
use crate::figures::words::{average, change, count, minutes, percent};
use crate::{
    chart::{self, Bars, grouped, outcomes as series},
    figures::{Amounts, CallFigures, Hour, Period, Waits},
    local_report::{self, Dimension},
    web::{app::App, guard::Visitor, layout},
};

/// Parties that a table on the page names; the export has all.
const MOST_PARTIES: usize = 20;

pub(super) fn router() -> Router<Arc<App>> {
    Router::new()
        .route("/calls", get(show))
        .route("/calls.csv", get(|app, query| export(app, query, true)))
        .route("/calls.json", get(|app, query| export(app, query, false)))
        .route("/calls/waits.csv", get(|app, query| waits_export(app, query, true)))
        .route("/calls/waits.json", get(|app, query| waits_export(app, query, false)))
}

async fn show(
    State(app): State<Arc<App>>,
    Extension(visitor): Extension<Visitor>,
    Query(asked): Query<Asked>,
) -> Response {
    let (period, trouble) = asked.period(&app.zone, 7);
    let rules = app.zone.rules.clone();
    let read = app.reader.read(move |store| {
        let (from, to) = period.quarters(&rules);
        let waits = Waits::read(store, from, to)?;
        Ok((CallFigures::read(store, period, &rules)?, CallFigures::read(store, period.before(), &rules)?, waits))
    });
    let chooser = period::chooser("/calls", period, &app.zone, &[]);
    let body = match read.await {
        Ok((figures, before, waits)) => html! {
            @if let Some(trouble) = trouble { p.warn role="alert" { (trouble) } }
            (chooser)
            (summary(&figures.total(), &before.total(), period))
            (volume(&figures, period))
            (outcomes(&figures.total(), &before.total()))
            (waits::waits(period, &waits, figures.total().going(Direction::Inbound)))
            (parties("Trunks", figures.parties.trunks.iter().map(|(name, amounts)| (name.expose(), amounts))))
            (parties("Queues", figures.parties.queues.iter().map(|(name, amounts)| (name.expose(), amounts))))
            (parties("Extensions", figures.parties.extensions.iter().map(|(name, amounts)| (name.expose(), amounts))))
            (exports(period))
        },
        Err(none) => html! { (chooser) p.warn { (none) } },
    };
    layout::page(&visitor, "/calls", "Calls", &body)
}

/// The figures of the period, each with the one before.
fn summary(now: &Amounts, before: &Amounts, period: Period) -> Markup {
    let lines = [
        ("calls", grouped(now.total()), change(before.total(), now.total())),
        (
            "came in",
            grouped(now.going(Direction::Inbound)),
            change(before.going(Direction::Inbound), now.going(Direction::Inbound)),
        ),
        ("answered by a person, of those", percent(now.answered_share()), percent(before.answered_share())),
        ("answered, of the outbound (ABR)", percent(now.answer_bid_ratio()), percent(before.answer_bid_ratio())),
        ("average call (ACD)", average(now.call_duration()), average(before.call_duration())),
        ("average wait for a person", average(now.answer_time()), average(before.answer_time())),
        ("talking time", minutes(now.talk_seconds()), change(before.talk_seconds(), now.talk_seconds())),
    ];
    html! {
        p.lead { (period::words(period)) ", beside " (period::words(period.before())) "." }
        ul.strip {
            @for (name, value, before) in lines {
                li { strong { (value) } span { (name) " (before: " (before) ")" } }
            }
        }
        p.faint { "In brackets and after \u{201c}of\u{201d} stands what a figure was divided by. Formulas: docs/reports.md." }
    }
}

fn volume(figures: &CallFigures, period: Period) -> Markup {
    let (heading, places, amounts): (_, Vec<String>, Vec<Amounts>) = if period.days() == 1 {
        let day = period.first();
        let hour = |hour| figures.hours.get(&Hour { day, hour }).cloned().unwrap_or_default();
        ("hour", (0..24).map(|hour| hour.to_string()).collect(), (0..24).map(hour).collect())
    } else {
        let name =
            |day: jiff::civil::Date| day.strftime(if period.days() <= 14 { "%a %d" } else { "%d.%m." }).to_string();
        ("day", period.each_day().map(name).collect(), period.each_day().map(|day| figures.day(day)).collect())
    };
    let most = amounts.iter().map(Amounts::total).enumerate().max_by_key(|(place, calls)| (*calls, usize::MAX - place));
    let takeaway = match most {
        Some((place, calls)) if calls > 0 => {
            format!("The busiest {heading} was {}: {}.", places[place], count(calls, "call"))
        }
        _ => "No call ended in this period.".to_owned(),
    };
    let bars = Bars { label: "Calls by time and outcome", heading, places, series: series(amounts.iter()) };
    html! { h2 { "How many, and how they ended" } (chart::figure(&takeaway, &bars.svg(), &bars.table())) }
}

fn outcomes(now: &Amounts, before: &Amounts) -> Markup {
    html! {
        h2 { "By direction and outcome" }
        div.scroll tabindex="0" role="group" aria-label="Table" { table {
            thead { tr {
                th.text scope="col" { "outcome" }
                @for direction in Direction::ALL { th scope="col" { (direction.as_str()) } }
                th scope="col" { "all" }
                th scope="col" { "change" }
            } }
            tbody {
                @for outcome in Outcome::ALL {
                    tr {
                        th scope="row" { (outcome.as_str().replace('_', " ")) }
                        @for direction in Direction::ALL { td { (grouped(now.of(direction, outcome))) } }
                        td { (grouped(now.ended(outcome))) }
                        td { (change(before.ended(outcome), now.ended(outcome))) }
                    }
                }
            }
        } }
    }
}

/// The parties with the most calls.
fn parties<'a>(heading: &str, all: impl Iterator<Item = (&'a str, &'a Amounts)>) -> Markup {
    let mut all: Vec<_> = all.collect();
    all.sort_by_key(|(name, amounts)| (-amounts.total(), *name));
    let left = all.len().saturating_sub(MOST_PARTIES);
    html! {
        @if !all.is_empty() {
            section {
                h2 { (heading) }
                div.scroll tabindex="0" role="group" aria-label="Table" { table {
                    thead { tr {
                        th.text scope="col" { "name" }
                        th scope="col" { "in" } th scope="col" { "by a person" }
                        th scope="col" { "out" } th scope="col" { "answered" }
                        th scope="col" { "ACD" }
                    } }
                    tbody {
                        @for (name, amounts) in all.iter().take(MOST_PARTIES) {
                            tr {
                                th scope="row" { (local_report::printable(name)) }
                                td { (grouped(amounts.going(Direction::Inbound))) }
                                td { (grouped(amounts.of(Direction::Inbound, Outcome::Answered))) }
                                td { (grouped(amounts.going(Direction::Outbound))) }
                                td { (grouped(amounts.of(Direction::Outbound, Outcome::Answered))) }
                                td { (average(amounts.call_duration())) }
                            }
                        }
                    }
                } }
                @if left > 0 { p.faint { (left) " more are in the export." } }
            }
        }
    }
}

fn exports(period: Period) -> Markup {
    html! {
        h2 { "Export" }
        form.row method="get" action="/calls.csv" {
            input type="hidden" name="from" value=(period.first());
            input type="hidden" name="to" value=(period.last());
            label { "Rows tell apart"
                select name="by" {
                    @for by in ["hour,direction,outcome", "day,direction,outcome", "weekday,hour", "trunk,direction,outcome", "queue,outcome", "extension,direction,outcome"] {
                        option value=(by) { (by.replace(',', ", ")) }
                    }
                }
            }
            button { "CSV" }
            button.quiet formaction="/calls.json" { "JSON" }
        }
        p.faint { "The same as " code { "demarc report" } " prints for this period." }
    }
}

#[derive(Deserialize)]
struct Wanted {
    #[serde(flatten)]
    asked: Asked,
    #[serde(default)]
    by: String,
}

/// What `demarc report --csv` or `--json` prints.
async fn export(State(app): State<Arc<App>>, Query(wanted): Query<Wanted>, as_csv: bool) -> Response {
    let by = if wanted.by.is_empty() { "direction,outcome" } else { &wanted.by };
    let by: Result<Vec<Dimension>, _> = by.split(',').map(|word| Dimension::from_str(word, false)).collect();
    let ((period, None), Ok(by)) = (wanted.asked.period(&app.zone, 7), by) else {
        return trouble::page(StatusCode::BAD_REQUEST, "The period or the dimensions were not understood.");
    };
    let (from, to) = period.quarters(&app.zone.rules);
    let zone = local_report::ReportZone { asked_for: true, ..app.zone.clone() };
    let query = local_report::Query { by, from: Some(from), to: Some(to), zone };
    match app.reader.read(move |store| Ok(store.local_report(&query)?)).await {
        Ok(report) if as_csv => sheet("calls", period, report.to_csv()),
        Ok(report) => ([(header::CONTENT_TYPE, "application/json")], report.to_json() + "\n").into_response(),
        Err(none) => trouble::page(StatusCode::SERVICE_UNAVAILABLE, &none.to_string()),
    }
}

/// What `demarc report --waits --csv` or `--json` prints.
async fn waits_export(State(app): State<Arc<App>>, Query(asked): Query<Asked>, as_csv: bool) -> Response {
    let (period, None) = asked.period(&app.zone, 7) else {
        return trouble::page(StatusCode::BAD_REQUEST, "The period was not understood.");
    };
    let (from, to) = period.quarters(&app.zone.rules);
    let zone = local_report::ReportZone { asked_for: true, ..app.zone.clone() };
    match app.reader.read(move |store| Ok(store.wait_report(Some(from), Some(to), zone)?)).await {
        Ok(report) if as_csv => sheet("waits", period, report.to_csv()),
        Ok(report) => ([(header::CONTENT_TYPE, "application/json")], report.to_json() + "\n").into_response(),
        Err(none) => trouble::page(StatusCode::SERVICE_UNAVAILABLE, &none.to_string()),
    }
}

/// A file for spreadsheets.
fn sheet(name: &str, period: Period, text: String) -> Response {
    let name = format!("attachment; filename=\"{name}-{}-{}.csv\"", period.first(), period.last());
    let headers = [(header::CONTENT_TYPE, "text/csv; charset=utf-8".to_owned()), (header::CONTENT_DISPOSITION, name)];
    (headers, text).into_response()
}
