//! The first page: the day in a sentence, its hours, and how it compares.

mod first;

use std::sync::Arc;

use axum::{
    Extension,
    extract::{Query, State},
    response::Response,
};
use demarc_proto::{Direction, Outcome};
use jiff::{ToSpan, civil::Date};
use maud::{Markup, html};
use serde::Deserialize;

use self::first::{Beginning, First};
use super::period;
use crate::figures::words::{WEEKDAYS, count, percent};
use crate::{
    chart::{self, Bars, Heat, Point, Trend},
    figures::{Amounts, CallFigures, Hour, NightAbroad, Period},
    local_report::ReportZone,
    web::{app::App, clock, guard::Visitor, layout},
};

/// The days that the page looks back on: 13 weeks.
const LOOKS_BACK: i32 = 91;
/// The days of the week that make what is usual.
const USUAL_WEEKS: i32 = 4;

#[derive(Deserialize)]
pub(super) struct Asked {
    #[serde(default)]
    first: String,
}

pub(super) async fn show(
    State(app): State<Arc<App>>,
    Extension(visitor): Extension<Visitor>,
    Query(asked): Query<Asked>,
) -> Response {
    let zone = app.zone.clone();
    let read = app.reader.read(move |store| {
        let today = period::today(&zone);
        let newest = store.newest_quarter()?.map(|quarter| day_of(quarter, &zone));
        let day = newest.map_or(today, |newest| newest.min(today));
        let figures = CallFigures::read(store, Period::until(day, LOOKS_BACK), &zone.rules)?;
        let night = NightAbroad::read(store, clock::now(), &zone.rules)?;
        let beginning = Beginning::read(store, day, &figures, First::named(&asked.first), &zone)?;
        Ok((day, today, figures, night, beginning))
    });
    let body = match read.await {
        Ok((day, today, figures, night, beginning)) => html! {
            (super::strip::strip(&visitor.status))
            @if let Some(night) = night.filter(NightAbroad::is_unusual) { (abroad(&night)) }
            (the_day(day, day == today, &figures, &app.zone))
            (beginning.markup(&figures, &app.zone))
            (hours(day, &figures))
            (missed(&figures))
            (weeks(day, &figures))
            (beginning.others())
        },
        Err(none) => html! {
            (super::strip::strip(&visitor.status))
            p.warn { (none) }
            p { "Figures come from the call records of the phone system: " code { "demarc sources" } " looks which there are on this machine." }
        },
    };
    layout::page(&visitor, "/", "Overview", &body)
}

/// More calls abroad in a night than is usual.
fn abroad(night: &NightAbroad) -> Markup {
    let days = Period::until(night.evening.saturating_add(1.day()), 2);
    html! {
        p.warn { (night.in_words()) ". " a href={ "/calls?" (period::query(days)) } { "The calls of these days" } "." }
    }
}

fn day_of(quarter: i64, zone: &ReportZone) -> Date {
    let moment = jiff::Timestamp::from_second(quarter * crate::call::QUARTER).unwrap_or_default();
    zone.rules.to_datetime(moment).date()
}

/// What came in, and what is usual on this day of the week by this time.
fn the_day(day: Date, is_today: bool, figures: &CallFigures, zone: &ReportZone) -> Markup {
    let amounts = figures.day(day);
    let hour = if is_today { clock::wall(zone).hour() } else { 23 };
    let usual = Usual::of(day, hour, figures);
    let name = if is_today { "Today".to_owned() } else { format!("On {day}, the last day with calls,") };
    html! {
        p.lead {
            (name) " " (count(amounts.going(Direction::Inbound), "call")) " came in: a person answered "
            strong { (amounts.of(Direction::Inbound, Outcome::Answered)) } ", "
            (amounts.of(Direction::Inbound, Outcome::Voicemail)) " reached voicemail, "
            (amounts.of(Direction::Inbound, Outcome::System)) " only a menu or an announcement, and "
            strong { (lost(&amounts)) } " got nobody. "
            (count(amounts.going(Direction::Outbound), "call")) " went out."
            @if let Some(usual) = usual {
                " Usual by this hour on a " (usual.weekday) ": " (usual.inbound) " in, " (usual.answered) " answered."
            }
        }
        p { a href={ "/calls?" (period::query(Period::until(day, 1))) } { "This day in detail" } }
    }
}

/// Inbound calls that neither a person nor a machine took.
fn lost(amounts: &Amounts) -> i64 {
    let outcomes = [Outcome::Abandoned, Outcome::NoAnswer, Outcome::Busy, Outcome::Failed];
    outcomes.into_iter().map(|outcome| amounts.of(Direction::Inbound, outcome)).sum()
}

/// The mean of the same day of the week in the weeks before, up to the same hour.
struct Usual {
    weekday: String,
    inbound: i64,
    answered: i64,
}

impl Usual {
    fn of(day: Date, hour: i8, figures: &CallFigures) -> Option<Self> {
        let days: Vec<Date> = (1..=USUAL_WEEKS).map(|week| day.saturating_sub((7 * week).days())).collect();
        let sum = figures.sum(|at| days.contains(&at.day) && at.hour <= hour);
        let known = days.iter().filter(|day| !figures.day(**day).is_empty()).count() as i64;
        if known < i64::from(USUAL_WEEKS) / 2 {
            return None;
        }
        Some(Self {
            weekday: day.strftime("%A").to_string(),
            inbound: (sum.going(Direction::Inbound) + known / 2) / known,
            answered: (sum.of(Direction::Inbound, Outcome::Answered) + known / 2) / known,
        })
    }
}

fn hours(day: Date, figures: &CallFigures) -> Markup {
    let hours: Vec<Amounts> =
        (0..24).map(|hour| figures.hours.get(&Hour { day, hour }).cloned().unwrap_or_default()).collect();
    let busiest = (0..24).max_by_key(|hour| (hours[*hour].total(), 24 - *hour)).unwrap_or(0);
    let takeaway = match hours[busiest].total() {
        0 => "No call ended on this day.".to_owned(),
        calls => format!("Most calls ended between {busiest}:00 and {}:00: {calls}.", busiest + 1),
    };
    let places = (0..24).map(|hour| hour.to_string()).collect();
    let bars = Bars {
        label: "Calls by hour of the day and outcome",
        heading: "hour",
        places,
        series: chart::outcomes(hours.iter()),
    };
    html! { h2 { "By hour" } (chart::figure(&takeaway, &bars.svg(), &bars.table())) }
}

/// When callers got no person, by day of the week and hour.
fn missed(figures: &CallFigures) -> Markup {
    let cells = figures.missed_by_week();
    let worst = (0..7)
        .flat_map(|weekday| (0..24).map(move |hour| (weekday, hour)))
        .filter(|(weekday, hour)| cells[*weekday][*hour].part > 0)
        .max_by_key(|(weekday, hour)| cells[*weekday][*hour].part);
    let takeaway = match worst {
        Some((weekday, hour)) => format!(
            "Most calls that no person answered came on {} between {hour}:00 and {}:00: {} of {} in 13 weeks.",
            WEEKDAYS[weekday],
            hour + 1,
            cells[weekday][hour].part,
            cells[weekday][hour].n,
        ),
        None => "Every call that came in was answered by a person.".to_owned(),
    };
    let heat = Heat {
        caption: "Share of inbound calls that no person answered, and below it the number of inbound calls, by day of the week and hour. The darker, the larger the share certainly is (lower end of its 95 % interval).",
        rows: WEEKDAYS.to_vec(),
        columns: (0..24).map(|hour| hour.to_string()).collect(),
        cells,
    };
    html! { h2 { "When callers get no person" } figure { figcaption { (takeaway) } (heat.table()) } }
}

/// The answered share of the last 13 weeks.
fn weeks(day: Date, figures: &CallFigures) -> Markup {
    let points: Vec<Point> = (0..LOOKS_BACK / 7)
        .rev()
        .map(|week| {
            let last = day.saturating_sub((7 * week).days());
            let first = last.saturating_sub(6.days());
            let share = figures.sum(|hour| (first..=last).contains(&hour.day)).answered_share();
            Point { name: last.strftime("%d.%m.").to_string(), share }
        })
        .collect();
    let whole = figures.total().answered_share();
    let takeaway = match points.last().map(|point| point.share) {
        Some(last) if last.n > 0 => {
            format!(
                "A person answered {} inbound calls in the last week, {} in 13 weeks.",
                percent(last),
                percent(whole)
            )
        }
        _ => "No call came in in the last week.".to_owned(),
    };
    let trend = Trend {
        label: "Share of inbound calls that a person answered, by week, with the interval in which it lies with 95 % confidence",
        heading: "week until",
        points,
    };
    html! { h2 { "Answered by a person" } (chart::figure(&takeaway, &trend.svg(), &trend.table())) }
}
