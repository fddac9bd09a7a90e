//! The local report on queues: each figure by one formula, with the number of callers that it rests on.

use std::collections::BTreeMap;

use comfy_table::{CellAlignment, Table};
use serde::Serialize;

use crate::{
    figures::Share,
    local_report::{ReportZone, STYLE, printable},
    private::Queue,
    store::{QueueFigures, SHORT, Store, StoreError},
};

/// The version of the formulas: a figure that is reckoned otherwise gets another one.
pub const FORMULA_VERSION: u32 = 1;

/// The report.
#[derive(Clone, Debug)]
pub struct QueueReport {
    /// The first quarter hour in which callers came in, counted from 1970 in UTC; from the beginning where absent.
    pub from: Option<i64>,
    /// The first that is left out; to the end where absent.
    pub to: Option<i64>,
    /// The zone of the two.
    pub zone: ReportZone,
    /// The targets that were set in that time, in seconds.
    pub targets: Vec<i64>,
    /// Each queue, by name.
    pub queues: BTreeMap<Queue, QueueFigures>,
    /// Their sum.
    pub total: QueueFigures,
}

impl QueueFigures {
    /// Answered in time, of those who were answered or lost without having hung up at once.
    pub fn service_level(&self) -> Share {
        Share { part: self.in_time, n: self.connected + self.lost() - self.short }
    }

    /// Hung up, but not at once, of those who came in and did not hang up at once.
    pub fn abandonment(&self) -> Share {
        Share { part: self.abandoned - self.short, n: self.offered - self.short }
    }

    /// The average time after which callers were answered (ASA).
    pub fn answer_seconds(&self) -> Share {
        Share { part: self.hold_seconds, n: self.connected }
    }

    /// The average talk of an agent (AHT without work after the call, which no queue log has).
    pub fn handle_seconds(&self) -> Share {
        Share { part: self.talk_seconds, n: self.handled }
    }

    /// The average time that the lost had waited.
    pub fn lost_wait_seconds(&self) -> Share {
        Share { part: self.wait_seconds, n: self.lost() }
    }
}

impl Store {
    /// The report on queues, of callers who came in in a half-open range of quarter hours.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn queue_report(
        &self,
        from: Option<i64>,
        to: Option<i64>,
        zone: ReportZone,
    ) -> Result<QueueReport, StoreError> {
        let mut report = QueueReport::empty(from, to, zone);
        let texts = self.texts()?;
        for share in self.queues(from.unwrap_or(i64::MIN), to.unwrap_or(i64::MAX))? {
            let queue = texts.queue(share.queue).unwrap_or_else(|| Queue::new("-"));
            report.queues.entry(queue).or_default().add(&share.figures);
            report.total.add(&share.figures);
            report.targets.push(share.target);
        }
        report.targets.sort_unstable();
        report.targets.dedup();
        Ok(report)
    }
}

impl QueueReport {
    /// The report of a store that is not there yet.
    pub fn empty(from: Option<i64>, to: Option<i64>, zone: ReportZone) -> Self {
        Self { from, to, zone, targets: Vec::new(), queues: BTreeMap::new(), total: QueueFigures::default() }
    }

    /// For people.
    pub fn to_table(&self) -> String {
        if self.queues.is_empty() {
            return "No callers in queues in that time. Figures of queues come from a source of the type \"queue-log\": \
                    `demarc status` shows each source.\n"
                .to_owned();
        }
        let total = (self.queues.len() > 1).then_some(("all", &self.total));
        let lines = || self.queues.iter().map(|(queue, figures)| (queue.expose(), figures)).chain(total);
        let counts = table(
            &["queue", "offered", "again", "answered", "abandoned", "short", "timeout", "empty", "key", "open"],
            lines().map(|(name, figures)| {
                let counts = [
                    figures.offered,
                    figures.returned,
                    figures.connected,
                    figures.abandoned,
                    figures.short,
                    figures.timed_out,
                    figures.emptied,
                    figures.keyed,
                    figures.open(),
                ];
                (name, counts.map(|count| count.to_string()).to_vec())
            }),
        );
        let ratios = table(
            &["queue", "in time", "abandoned", "ASA", "AHT", "transferred"],
            lines().map(|(name, figures)| {
                let ratios = vec![
                    percent(figures.service_level()),
                    percent(figures.abandonment()),
                    seconds(figures.answer_seconds()),
                    seconds(figures.handle_seconds()),
                    percent(Share { part: figures.transferred, n: figures.handled }),
                ];
                (name, ratios)
            }),
        );
        let target = self.targets.iter().map(|target| format!("{target} s")).collect::<Vec<_>>().join(" or ");
        format!(
            "Queues, {}; callers count when they came in; times are in {}.\n{counts}\n{ratios}\n\
             In time: answered within {target} / (answered + abandoned + timeout + empty - short).\n\
             Abandoned: (abandoned - short) / (offered - short); short is under {SHORT} s.\n\
             ASA: waiting time of the answered / answered. AHT: talking time / talks that are over; the log has no work after \
             a call.\nIn brackets is by how many a figure was divided. Formulas: version {FORMULA_VERSION}.\n",
            self.period(),
            printable(&self.zone.name),
        )
    }

    /// For scripts: one line.
    pub fn to_json(&self) -> String {
        let moment = |quarter: Option<i64>| quarter.map(|quarter| self.zone.timestamp(quarter * crate::call::QUARTER));
        let queues = self.queues.iter().map(|(queue, figures)| Line::new(Some(queue.expose()), figures)).collect();
        let document = Document {
            formula: FORMULA_VERSION,
            from: moment(self.from),
            to: moment(self.to),
            timezone: &self.zone.name,
            target_seconds: &self.targets,
            short_seconds: SHORT,
            queues,
            total: Line::new(None, &self.total),
        };
        serde_json::to_string(&document).expect("texts and numbers always have a JSON form")
    }

    fn period(&self) -> String {
        let moment = |quarter: i64| self.zone.wall_clock(quarter * crate::call::QUARTER);
        match (self.from, self.to) {
            (None, None) => "everything".to_owned(),
            (Some(from), None) => format!("from {}", moment(from)),
            (None, Some(to)) => format!("before {}", moment(to)),
            (Some(from), Some(to)) => format!("{} to {}", moment(from), moment(to)),
        }
    }
}

/// A table of queues: names to the left, figures to the right.
fn table<'a>(heading: &[&str], lines: impl Iterator<Item = (&'a str, Vec<String>)>) -> Table {
    let mut table = Table::new();
    table.load_style(STYLE);
    table.set_header(heading);
    for (name, figures) in lines {
        table.add_row([printable(name)].into_iter().chain(figures));
    }
    for column in 1..heading.len() {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

fn percent(share: Share) -> String {
    share.value().map_or_else(|| "-".to_owned(), |value| format!("{:.1} % ({})", value * 100.0, share.n))
}

fn seconds(share: Share) -> String {
    share.value().map_or_else(|| "-".to_owned(), |value| format!("{value:.1} s ({})", share.n))
}

#[derive(Serialize)]
struct Document<'a> {
    formula: u32,
    from: Option<String>,
    to: Option<String>,
    timezone: &'a str,
    target_seconds: &'a [i64],
    short_seconds: i64,
    queues: Vec<Line<'a>>,
    total: Line<'a>,
}

#[derive(Serialize)]
struct Line<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    queue: Option<&'a str>,
    offered: i64,
    returned: i64,
    connected: i64,
    connected_in_time: i64,
    abandoned: i64,
    abandoned_short: i64,
    timed_out: i64,
    left_empty: i64,
    left_with_key: i64,
    open: i64,
    handled: i64,
    transferred: i64,
    hold_seconds: i64,
    talk_seconds: i64,
    lost_wait_seconds: i64,
    service_level: Quotient,
    abandonment: Quotient,
    asa_seconds: Quotient,
    aht_seconds: Quotient,
    average_lost_wait_seconds: Quotient,
}

#[derive(Serialize)]
struct Quotient {
    value: Option<f64>,
    n: i64,
}

impl From<Share> for Quotient {
    fn from(share: Share) -> Self {
        Self { value: share.value(), n: share.n }
    }
}

impl<'a> Line<'a> {
    fn new(queue: Option<&'a str>, figures: &QueueFigures) -> Self {
        Self {
            queue,
            offered: figures.offered,
            returned: figures.returned,
            connected: figures.connected,
            connected_in_time: figures.in_time,
            abandoned: figures.abandoned,
            abandoned_short: figures.short,
            timed_out: figures.timed_out,
            left_empty: figures.emptied,
            left_with_key: figures.keyed,
            open: figures.open(),
            handled: figures.handled,
            transferred: figures.transferred,
            hold_seconds: figures.hold_seconds,
            talk_seconds: figures.talk_seconds,
            lost_wait_seconds: figures.wait_seconds,
            service_level: figures.service_level().into(),
            abandonment: figures.abandonment().into(),
            asa_seconds: figures.answer_seconds().into(),
            aht_seconds: figures.handle_seconds().into(),
            average_lost_wait_seconds: figures.lost_wait_seconds().into(),
        }
    }
}

#[cfg(test)]
mod tests;
