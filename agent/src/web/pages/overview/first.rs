//! What the overview begins with: what matters most at a place like this, as its calls show it, unless the address says.

use demarc_proto::Direction;
use jiff::civil::Date;
use maud::{Markup, html};

use crate::{
    chart::grouped,
    figures::{
        CallFigures, Period,
        words::{average, percent},
    },
    local_report::{ReportZone, printable},
    queue_report::QueueReport,
    store::{QueueShare, Store, StoreError},
    web::pages::{period, queues, trunks::with_interval},
};

/// A place with so many extensions looks at its trunks first.
const MANY_EXTENSIONS: usize = 100;
/// Queues that had callers in so many days are in use.
const QUEUES_LOOK_BACK: i32 = 7;

/// What stands first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum First {
    Calls,
    Queues,
    Trunks,
}

impl First {
    const ALL: [Self; 3] = [Self::Calls, Self::Queues, Self::Trunks];

    /// What an address asks for; nothing that is known where it says something else.
    pub(super) fn named(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|first| first.word() == word)
    }

    /// By what there is: callers in queues lately, then size.
    fn of(has_queues: bool, extensions: usize) -> Self {
        match (has_queues, extensions) {
            (true, _) => Self::Queues,
            (false, MANY_EXTENSIONS..) => Self::Trunks,
            (false, _) => Self::Calls,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Calls => "calls",
            Self::Queues => "queues",
            Self::Trunks => "trunks",
        }
    }
}

/// What stands first, and its figures.
pub(super) struct Beginning {
    first: First,
    day: Date,
    queues: QueueReport,
    shares: Vec<QueueShare>,
}

impl Beginning {
    /// Reads what the page of that day begins with; `asked` is what the address says.
    pub(super) fn read(
        store: &Store,
        day: Date,
        figures: &CallFigures,
        asked: Option<First>,
        zone: &ReportZone,
    ) -> Result<Self, StoreError> {
        let quarters = |days| Period::until(day, days).quarters(&zone.rules);
        let (from, to) = quarters(QUEUES_LOOK_BACK);
        let has_queues = store.queues(from, to)?.iter().any(|share| share.figures.offered > 0);
        let first = asked.unwrap_or_else(|| First::of(has_queues, figures.parties.extensions.len()));
        let (from, to) = quarters(1);
        let shares = if first == First::Queues { store.queues(from, to)? } else { Vec::new() };
        Ok(Self { first, day, queues: store.queue_report(Some(from), Some(to), zone.clone())?, shares })
    }

    /// What stands first, beside the sentence of the day.
    pub(super) fn markup(&self, figures: &CallFigures, zone: &ReportZone) -> Markup {
        match self.first {
            First::Calls => html! {},
            First::Queues => self.queues(zone),
            First::Trunks => trunks(figures),
        }
    }

    /// Links to the other ways to begin.
    pub(super) fn others(&self) -> Markup {
        html! {
            p.faint {
                "The page begins with " (self.first.word()) ", as suits what it shows. Begin with "
                @for (place, other) in First::ALL.into_iter().filter(|other| *other != self.first).enumerate() {
                    @if place > 0 { " or " }
                    a href={ "/?first=" (other.word()) } { (other.word()) }
                }
                "."
            }
        }
    }

    fn queues(&self, zone: &ReportZone) -> Markup {
        let total = &self.queues.total;
        let target = self.queues.targets.iter().map(|target| format!("{target} s")).collect::<Vec<_>>().join(" or ");
        let day = Period::until(self.day, 1);
        html! {
            h2 { "Callers in queues" }
            @if total.offered == 0 {
                p { "No caller was in a queue on this day." }
            } @else {
                p {
                    strong { (percent(total.service_level())) } " callers were answered within " (target) "; "
                    strong { (total.lost()) } " were lost. Average wait: " (average(total.answer_seconds())) "."
                }
                (queues::by_time(&queues::places(&self.shares, day, zone)))
            }
            p { a href={ "/queues?" (period::query(day)) } { "Queues in detail" } }
        }
    }
}

fn trunks(figures: &CallFigures) -> Markup {
    html! {
        h2 { "Trunks" }
        div.scroll tabindex="0" role="group" aria-label="Table" { table {
            caption { "Trunks in 13 weeks; in brackets the interval in which a share lies with 95\u{a0}% confidence (Wilson)" }
            thead { tr { th.text scope="col" { "trunk" } th scope="col" { "in" } th scope="col" { "out" } th scope="col" { "answered, of the outbound (ABR)" } } }
            tbody { @for (trunk, amounts) in &figures.parties.trunks { tr {
                th scope="row" { (printable(trunk.expose())) }
                td { (grouped(amounts.going(Direction::Inbound))) }
                td { (grouped(amounts.going(Direction::Outbound))) }
                td { (with_interval(amounts.answer_bid_ratio())) }
            } } }
        } }
        p { a href="/trunks" { "Trunks in detail" } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queues_come_first_then_size_tells() {
        assert_eq!(First::of(true, 500), First::Queues);
        assert_eq!(First::of(false, 99), First::Calls);
        assert_eq!(First::of(false, 100), First::Trunks);
    }
}
