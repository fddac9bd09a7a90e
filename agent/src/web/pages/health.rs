//! How the machine is and was.

use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use axum::{
    Extension, Router,
    extract::{Query, State},
    response::Response,
    routing::get,
};
use jiff::Timestamp;
use maud::{Markup, html};
use serde::Deserialize;

use crate::figures::words::rough;
use crate::{
    chart::{self, Curve, Stretch},
    control::Status,
    health::{self, Alert, report},
    local_report::ReportZone,
    store::{HealthFigures, HealthPoint},
    web::{app::App, guard::Visitor, layout},
};

/// Stretches of a chart.
const STRETCHES: u64 = 96;
const QUARTER: u64 = 900;
/// Alerts on the page.
const MOST_ALERTS: usize = 50;

pub(super) fn router() -> Router<Arc<App>> {
    Router::new().route("/health", get(show))
}

#[derive(Deserialize)]
struct Asked {
    #[serde(default)]
    days: String,
}

impl Asked {
    /// How far to look back, in days, and how long a stretch is.
    fn span(&self) -> (u64, u64) {
        let days = self.days.parse().unwrap_or(1_u64).clamp(1, 364);
        (days, (days * 86_400 / STRETCHES).next_multiple_of(QUARTER))
    }
}

async fn show(
    State(app): State<Arc<App>>,
    Extension(visitor): Extension<Visitor>,
    Query(asked): Query<Asked>,
) -> Response {
    let (days, step) = asked.span();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let from = now.saturating_sub(days * 86_400) / step * step;
    let read = app.reader.read(move |store| {
        let points = store.health(from, now, step)?;
        // Quarters are summed up when they are over: the minutes tell of a day that has just begun.
        let points = if points.is_empty() { store.health(from, now, 60)? } else { points };
        Ok((points, store.alerts()?))
    });
    let body = html! {
        (present(&visitor.status, &app.zone))
        @match read.await {
            Ok((points, alerts)) => {
                (alerts_of(&alerts, &app.zone))
                h2 { "The last " (if days == 1 { "24 hours".to_owned() } else { format!("{days} days") }) }
                p { @for (days, name) in [(1, "24 hours"), (7, "7 days"), (28, "4 weeks"), (91, "13 weeks"), (364, "a year")] { a href={ "/health?days=" (days) } { (name) } " " } }
                @if points.is_empty() { p { "Nothing was measured yet: the first figures come within a minute." } } @else { (charts(&points, days, &app.zone)) }
            },
            Err(none) => p.warn { (none) },
        }
        (told(&visitor.status, &app.zone))
    };
    layout::page(&visitor, "/health", "Health", &body)
}

/// How it is now, in the words of `demarc status`.
fn present(status: &Status, zone: &ReportZone) -> Markup {
    let measured = status.collected.as_ref().and_then(|collected| collected.health.as_ref());
    html! {
        @if let Some(measured) = measured {
            @let moment = |seconds: u64| zone.wall_clock(i64::try_from(seconds).unwrap_or(i64::MAX));
            ul { @for line in health::lines(measured, moment) { li { (line) } } }
        } @else {
            p { "Nothing was measured yet: the first figures come within a minute." }
        }
    }
}

/// What the vendor learns of it, or would.
fn told(status: &Status, zone: &ReportZone) -> Markup {
    let measured = status.collected.as_ref().and_then(|collected| collected.health.as_ref());
    let noted = status.linked.as_ref().and_then(|linked| linked.health_noted).filter(|_| status.health_upload);
    let moment = |seconds: u64| zone.wall_clock(i64::try_from(seconds).unwrap_or(i64::MAX));
    html! {
        h2 { "What the vendor gets of this" }
        p {
            @if status.health_upload { "Reports are on." } @else { "Nothing: reports are off." }
            @if let Some(at) = noted { " The last one was measured " (moment(at)) "." }
            " " a href="/switches" { "The switch" }
        }
        @if let Some(measured) = measured {
            @let payload = report::build(&measured.sample, &measured.alerts).to_payload();
            details {
                summary { "These " (payload.len()) " bytes " (if status.health_upload { "are" } else { "would be" }) " all of it" }
                pre tabindex="0" { (String::from_utf8_lossy(&payload)) }
            }
        }
    }
}

fn alerts_of(alerts: &[Alert], zone: &ReportZone) -> Markup {
    let moment = |seconds: u64| zone.wall_clock(i64::try_from(seconds).unwrap_or(i64::MAX));
    html! {
        h2 { "Alerts" }
        @if alerts.is_empty() {
            p.good { "There never was one." }
        } @else {
            div.scroll tabindex="0" role="group" aria-label="Table" { table {
                thead { tr { @for name in ["what", "since", "until", "for"] { th.text scope="col" { (name) } } } }
                tbody { @for alert in alerts.iter().take(MOST_ALERTS) { tr {
                    td.text { (alert.kind.as_str().replace('_', " ")) }
                    td.text { (moment(alert.since)) }
                    td.text { @match alert.until { Some(until) => (moment(until)), None => strong { "now" } } }
                    td.text { @if let Some(until) = alert.until { (rough(until.saturating_sub(alert.since))) } }
                } } }
            } }
        }
        p.faint { "When each is raised and over stands in docs/health.md." }
    }
}

/// One figure of the charts.
struct Line {
    title: &'static str,
    unit: &'static str,
    of: fn(&HealthFigures) -> Option<i64>,
}

const LINES: [Line; 6] = [
    Line { title: "Processors busy", unit: "%", of: |figures| figures.cpu.map(|cpu| (cpu + 5) / 10) },
    Line { title: "Memory in use", unit: "MiB", of: |figures| figures.memory_used },
    Line { title: "Free for demarc", unit: "GiB", of: |figures| figures.state_free.map(|free| free / 1024) },
    Line { title: "Free for recordings", unit: "GiB", of: |figures| figures.recordings_free.map(|free| free / 1024) },
    Line { title: "Temperature", unit: "°C", of: |figures| figures.celsius },
    Line {
        title: "Registrations that stand",
        unit: "registrations",
        of: |figures| figures.registrations.filter(|all| *all > 0).and(figures.registered),
    },
];

fn charts(points: &[HealthPoint], days: u64, zone: &ReportZone) -> Markup {
    let name = |at: u64| {
        let moment = Timestamp::from_second(i64::try_from(at).unwrap_or(0)).unwrap_or_default();
        let format = if days == 1 { "%H:%M" } else { "%d.%m." };
        moment.to_zoned(zone.rules.clone()).strftime(format).to_string()
    };
    html! {
        @for line in &LINES {
            @let stretches: Vec<Stretch> = points.iter().map(|point| Stretch {
                name: name(point.at),
                values: (line.of)(&point.low).zip((line.of)(&point.mean)).zip((line.of)(&point.high)).map(|((low, mean), high)| [low, mean, high]),
            }).collect();
            @if let Some([_, last, _]) = stretches.iter().rev().find_map(|stretch| stretch.values) {
                @let curve = Curve { label: line.title, unit: line.unit, stretches };
                (chart::figure(&format!("{}: {last} {} at last.", line.title, line.unit), &curve.svg(), &curve.table()))
            }
        }
    }
}
