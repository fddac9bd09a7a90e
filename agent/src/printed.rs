//! The report for paper: a period on one sheet, beside the one before. The page and `demarc report --html` are the same.

use demarc_proto::{Direction, Outcome};
use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::{
    chart::{self, Bars, Heat, grouped},
    figures::{
        Amounts, CallFigures, Period,
        words::{WEEKDAYS, average, change, count, minutes, percent},
    },
    local_report::{ReportZone, printable},
    queue_report::{FORMULA_VERSION, QueueReport},
    store::Store,
};

/// Queues and trunks on the sheet; the pages have all.
const MOST_PARTIES: usize = 6;
const STYLE: &str = include_str!("web/assets/style.css");

/// Everything on the sheet.
pub(crate) struct Printed {
    period: Period,
    zone: ReportZone,
    now: CallFigures,
    before: CallFigures,
    queues: QueueReport,
}

impl Printed {
    /// Reads the figures.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(crate) fn read(store: &Store, period: Period, zone: &ReportZone) -> anyhow::Result<Self> {
        let (from, to) = period.quarters(&zone.rules);
        Ok(Self {
            period,
            zone: zone.clone(),
            now: CallFigures::read(store, period, &zone.rules)?,
            before: CallFigures::read(store, period.before(), &zone.rules)?,
            queues: store.queue_report(Some(from), Some(to), zone.clone())?,
        })
    }

    /// The sheet as a part of a page.
    pub(crate) fn body(&self) -> Markup {
        let (now, before) = (self.now.total(), self.before.total());
        html! {
            div.printed {
                p.lead {
                    (self.period.first()) " to " (self.period.last()) " (" (self.zone.name) "): "
                    (count(now.going(Direction::Inbound), "call")) " came in, a person answered " (percent(now.answered_share()))
                    "; before, " (percent(before.answered_share())) "."
                }
                (summary(&now, &before))
                (self.days())
                (self.missed())
                div.columns { (outcomes(&now, &before)) (self.trunks()) (self.queues()) }
                p.faint {
                    "Beside each figure stands that of the " (self.period.days()) " days before. After \u{201c}of\u{201d} and in brackets stands what a figure was divided by. "
                    "A call counts when it ended. Formulas: version " (FORMULA_VERSION) ", docs/reports.md. Nothing of this left the machine."
                }
            }
        }
    }

    /// The sheet as a file of its own: nothing is loaded from anywhere.
    pub(crate) fn file(&self) -> String {
        let title = format!("Calls {} to {}", self.period.first(), self.period.last());
        let markup = html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    title { (title) }
                    style { (PreEscaped(STYLE)) }
                }
                body { main { h1 { (title) } (self.body()) } }
            }
        };
        markup.into_string()
    }

    fn days(&self) -> Markup {
        let amounts: Vec<Amounts> = self.period.each_day().map(|day| self.now.day(day)).collect();
        let bars = Bars {
            label: "Calls by day and outcome",
            heading: "day",
            places: self.period.each_day().map(|day| day.strftime("%a %d.%m.").to_string()).collect(),
            series: chart::outcomes(amounts.iter()),
        };
        let busiest = self.period.each_day().zip(&amounts).max_by_key(|(_, amounts)| amounts.total());
        let takeaway = match busiest {
            Some((day, amounts)) if amounts.total() > 0 => {
                format!("The busiest day was {}: {}.", day.strftime("%A, %d.%m."), count(amounts.total(), "call"))
            }
            _ => "No call ended in this period.".to_owned(),
        };
        chart::figure(&takeaway, &bars.svg(), &bars.table())
    }

    /// When callers got no person.
    fn missed(&self) -> Markup {
        let heat = Heat {
            caption: "Share of inbound calls that no person answered, and below it the number of inbound calls, by day of the week and hour.",
            rows: WEEKDAYS.to_vec(),
            columns: (0..24).map(|hour| hour.to_string()).collect(),
            cells: self.now.missed_by_week(),
        };
        html! { figure { figcaption { "When callers got no person" } (heat.table()) } }
    }

    fn trunks(&self) -> Markup {
        let mut trunks: Vec<_> = self.now.parties.trunks.iter().collect();
        trunks.sort_by_key(|(_, amounts)| -amounts.total());
        html! {
            @if !trunks.is_empty() {
                div.scroll tabindex="0" role="group" aria-label="Table" { table {
                    caption { "Trunks" }
                    thead { tr { th.text scope="col" { "name" } th scope="col" { "in" } th scope="col" { "out" } th scope="col" { "ABR" } } }
                    tbody { @for (trunk, amounts) in trunks.iter().take(MOST_PARTIES) { tr {
                        th scope="row" { (printable(trunk.expose())) }
                        td { (grouped(amounts.going(Direction::Inbound))) }
                        td { (grouped(amounts.going(Direction::Outbound))) }
                        td { (percent(amounts.answer_bid_ratio())) }
                    } } }
                } }
            }
        }
    }

    fn queues(&self) -> Markup {
        html! {
            @if !self.queues.queues.is_empty() {
                div.scroll tabindex="0" role="group" aria-label="Table" { table {
                    caption { "Queues" }
                    thead { tr { th.text scope="col" { "name" } th scope="col" { "offered" } th scope="col" { "service level" } th scope="col" { "abandoned" } } }
                    tbody { @for (queue, figures) in self.queues.queues.iter().take(MOST_PARTIES) {
                        tr {
                            th scope="row" { (printable(queue.expose())) }
                            td { (grouped(figures.offered)) }
                            td { (percent(figures.service_level())) }
                            td { (percent(figures.abandonment())) }
                        }
                    } }
                } }
            }
        }
    }
}

fn summary(now: &Amounts, before: &Amounts) -> Markup {
    let lines = [
        ("calls", grouped(now.total()), change(before.total(), now.total())),
        ("out", grouped(now.going(Direction::Outbound)), grouped(before.going(Direction::Outbound))),
        ("outbound answered (ABR)", percent(now.answer_bid_ratio()), percent(before.answer_bid_ratio())),
        ("average call (ACD)", average(now.call_duration()), average(before.call_duration())),
        ("average wait for a person", average(now.answer_time()), average(before.answer_time())),
        ("talking time", minutes(now.talk_seconds()), minutes(before.talk_seconds())),
    ];
    html! {
        ul.strip { @for (name, value, before) in lines { li { strong { (value) } span { (name) " (" (before) ")" } } } }
    }
}

fn outcomes(now: &Amounts, before: &Amounts) -> Markup {
    html! {
        div.scroll tabindex="0" role="group" aria-label="Table" { table {
            caption { "By direction and outcome" }
            thead { tr {
                th.text scope="col" { "outcome" }
                @for direction in Direction::ALL { th scope="col" { (direction.as_str()) } }
                th scope="col" { "change" }
            } }
            tbody { @for outcome in Outcome::ALL { tr {
                th scope="row" { (outcome.as_str().replace('_', " ")) }
                @for direction in Direction::ALL { td { (grouped(now.of(direction, outcome))) } }
                td { (change(before.ended(outcome), now.ended(outcome))) }
            } } }
        } }
    }
}
