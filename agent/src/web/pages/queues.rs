//! What happened in the queues.

mod agents;

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Extension, Router,
    extract::{Query, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use jiff::Timestamp;
use maud::{Markup, html};

use super::{period, period::Asked, trouble};
use crate::figures::words::{average, percent};
use crate::{
    call::QUARTER,
    chart::{self, Bars, Series},
    figures::{AgentAdvice, Period, agents_needed},
    local_report::{ReportZone, printable},
    private::Queue,
    queue_report::{FORMULA_VERSION, QueueReport},
    store::{QueueFigures, QueueShare, SHORT},
    web::{app::App, guard::Visitor, layout, reader::NoFigures},
};

pub(super) fn router() -> Router<Arc<App>> {
    Router::new().route("/queues", get(show)).route("/queues.json", get(export))
}

/// The report of a period, and its figures by the time at which callers came in.
struct Read {
    period: Period,
    trouble: Option<String>,
    figures: Result<Figures, NoFigures>,
}

struct Figures {
    report: QueueReport,
    places: Vec<Place>,
    agents: BTreeMap<Queue, AgentAdvice>,
}

/// What became of the callers of a quarter hour of one day, or of an hour of all days.
pub(super) struct Place {
    name: String,
    figures: QueueFigures,
}

async fn read(app: &App, asked: &Asked) -> Read {
    let (period, trouble) = asked.period(&app.zone, 7);
    let (from, to) = period.quarters(&app.zone.rules);
    let zone = app.zone.clone();
    let figures = app.reader.read(move |store| {
        let places = places(&store.queues(from, to)?, period, &zone);
        let agents = agents_needed(store, period, &zone.rules)?;
        Ok(Figures { report: store.queue_report(Some(from), Some(to), zone)?, places, agents })
    });
    Read { period, trouble, figures: figures.await }
}

pub(super) fn places(shares: &[QueueShare], period: Period, zone: &ReportZone) -> Vec<Place> {
    let in_an_hour = if period.days() == 1 { 4 } else { 1 };
    let name = |place: usize| format!("{}:{:02}", place / in_an_hour, place % in_an_hour * 60 / in_an_hour);
    let mut places: Vec<Place> =
        (0..24 * in_an_hour).map(|place| Place { name: name(place), figures: QueueFigures::default() }).collect();
    for share in shares {
        let wall = zone.rules.to_datetime(Timestamp::from_second(share.quarter * QUARTER).unwrap_or_default());
        let minutes = usize::try_from(i32::from(wall.hour()) * 60 + i32::from(wall.minute())).unwrap_or(0);
        if let Some(place) = places.get_mut(minutes * in_an_hour / 60) {
            place.figures.add(&share.figures);
        }
    }
    places
}

async fn show(
    State(app): State<Arc<App>>,
    Extension(visitor): Extension<Visitor>,
    Query(asked): Query<Asked>,
) -> Response {
    let Read { period, trouble, figures } = read(&app, &asked).await;
    let body = html! {
        @if let Some(trouble) = trouble { p.warn role="alert" { (trouble) } }
        (period::chooser("/queues", period, &app.zone, &[]))
        @match figures {
            Ok(figures) if figures.report.queues.is_empty() => p {
                "No caller was in a queue in this period. Figures of queues come from a source of the type "
                code { "queue-log" } "; " code { "demarc sources" } " says whether this machine has one."
            },
            Ok(figures) => { (tables(&figures.report)) h2 { "By time" } (by_time(&figures.places)) (agents::needed(&figures.agents)) },
            Err(none) => p.warn { (none) },
        }
        p { a href={ "/queues.json?" (period::query(period)) } { "The same as JSON" } }
    };
    layout::page(&visitor, "/queues", "Queues", &body)
}

async fn export(State(app): State<Arc<App>>, Query(asked): Query<Asked>) -> Response {
    match read(&app, &asked).await {
        Read { trouble: Some(trouble), .. } => trouble::page(StatusCode::BAD_REQUEST, &trouble),
        Read { figures: Ok(figures), .. } => {
            ([(header::CONTENT_TYPE, "application/json")], figures.report.to_json() + "\n").into_response()
        }
        Read { figures: Err(none), .. } => trouble::page(StatusCode::SERVICE_UNAVAILABLE, &none.to_string()),
    }
}

/// What became of callers, by the time at which they came in.
pub(super) fn by_time(places: &[Place]) -> Markup {
    let part = |name, class, of: fn(&QueueFigures) -> i64| Series {
        name,
        class,
        values: places.iter().map(|place| of(&place.figures)).collect(),
    };
    let bars = Bars {
        label: "Callers by the time at which they came in, and what became of them",
        heading: "came in at",
        places: places.iter().map(|place| place.name.clone()).collect(),
        series: vec![
            part("answered in time", "answered", |figures| figures.in_time),
            part("answered later", "system", |figures| figures.connected - figures.in_time),
            part("hung up", "missed", |figures| figures.abandoned - figures.short),
            part("hung up at once", "voicemail", |figures| figures.short),
            part("timeout, queue empty or by key", "failed", |figures| {
                figures.timed_out + figures.emptied + figures.keyed
            }),
        ],
    };
    let worst = places.iter().max_by_key(|place| place.figures.lost());
    let takeaway = match worst {
        Some(place) if place.figures.lost() > 0 => format!(
            "Most callers were lost among those who came in from {}: {} of {}.",
            place.name,
            place.figures.lost(),
            place.figures.offered
        ),
        _ => "No caller was lost.".to_owned(),
    };
    chart::figure(&takeaway, &bars.svg(), &bars.table())
}

fn tables(report: &QueueReport) -> Markup {
    let level = report.total.service_level();
    let target = report.targets.iter().map(|target| format!("{target} s")).collect::<Vec<_>>().join(" or ");
    let total = (report.queues.len() > 1).then_some(("all queues", &report.total));
    let lines = || report.queues.iter().map(|(queue, figures)| (queue.expose(), figures)).chain(total);
    html! {
        p.lead { (percent(level)) " callers were answered within " (target) "; "
            (report.total.abandoned) " hung up, of them " (report.total.short) " within " (SHORT) " s." }
        div.scroll tabindex="0" role="group" aria-label="Table" { table {
            caption { "Callers, by what became of them" }
            thead { tr {
                th.text scope="col" { "queue" }
                @for name in ["offered", "again", "answered", "in time", "hung up", "at once", "timeout", "queue empty", "by key", "open"] {
                    th scope="col" { (name) }
                }
            } }
            tbody { @for (name, figures) in lines() { tr {
                th scope="row" { (printable(name)) }
                @for count in counts(figures) { td { (count) } }
            } } }
        } }
        div.scroll tabindex="0" role="group" aria-label="Table" { table {
            caption { "Shares and averages; in brackets by how many each was divided" }
            thead { tr {
                th.text scope="col" { "queue" }
                @for name in ["service level", "abandoned", "ASA", "AHT", "wait of the lost"] { th scope="col" { (name) } }
            } }
            tbody { @for (name, figures) in lines() { tr {
                th scope="row" { (printable(name)) }
                td { (percent(figures.service_level())) }
                td { (percent(figures.abandonment())) }
                td { (average(figures.answer_seconds())) }
                td { (average(figures.handle_seconds())) }
                td { (average(figures.lost_wait_seconds())) }
            } } }
        } }
        p.faint {
            "Service level: answered within the target / (answered + hung up + timeout + queue empty \u{2212} at once). Abandoned: (hung up \u{2212} at once) / (offered \u{2212} at once). "
            "ASA: waiting time of the answered / answered. AHT: talking time / talks that are over; the log has no work after a call. "
            "Callers count when they came in. Formulas: version " (FORMULA_VERSION) "."
        }
    }
}

fn counts(figures: &QueueFigures) -> [i64; 10] {
    [
        figures.offered,
        figures.returned,
        figures.connected,
        figures.in_time,
        figures.abandoned,
        figures.short,
        figures.timed_out,
        figures.emptied,
        figures.keyed,
        figures.open(),
    ]
}
