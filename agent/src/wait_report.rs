//! The local report on waiting times: calls from outside by how long the caller waited.

use std::fmt::Write;

use comfy_table::{CellAlignment, Table};
use demarc_proto::{Direction, report::WAIT_BOUNDS};
use serde::Serialize;

use crate::{
    call::QUARTER,
    figures::{WAITS, Waits, group_name, words::percent},
    local_report::{ReportZone, STYLE, printable},
    queue_report::FORMULA_VERSION,
    store::{Store, StoreError},
};

/// The report.
#[derive(Clone, Debug)]
pub struct WaitReport {
    /// The first quarter hour in which calls ended, counted from 1970 in UTC; from the beginning where absent.
    pub from: Option<i64>,
    /// The first that is left out; to the end where absent.
    pub to: Option<i64>,
    /// The zone of the two.
    pub zone: ReportZone,
    /// Calls from outside, whether or not their waiting time is known.
    pub calls: i64,
    /// Those whose waiting time is known.
    pub waits: Waits,
}

impl Store {
    /// The report on waiting times, of calls that ended in a half-open range of quarter hours.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn wait_report(&self, from: Option<i64>, to: Option<i64>, zone: ReportZone) -> Result<WaitReport, StoreError> {
        let (first, end) = (from.unwrap_or(i64::MIN), to.unwrap_or(i64::MAX));
        let mut calls = 0;
        self.rollups(first, end, |row| {
            calls += if row.cell.direction == Direction::Inbound { row.figures.calls } else { 0 };
        })?;
        Ok(WaitReport { from, to, zone, calls, waits: Waits::read(self, first, end)? })
    }
}

impl WaitReport {
    /// The report of a store that is not there yet.
    pub fn empty(from: Option<i64>, to: Option<i64>, zone: ReportZone) -> Self {
        Self { from, to, zone, calls: 0, waits: Waits::default() }
    }

    /// Calls that were counted before waiting times were, in words; nothing where there are none.
    pub(crate) fn unknown_in_words(calls: i64, waits: &Waits) -> Option<String> {
        let unknown = calls - waits.total();
        (unknown > 0).then(|| format!("{unknown} of {calls} calls were counted before waiting times were"))
    }

    /// For people.
    pub fn to_table(&self) -> String {
        let mut table = Table::new();
        table.load_style(STYLE);
        table.set_header(["waited", "a person answered", "until then", "no person answered"]);
        for group in 0..WAITS {
            table.add_row([
                group_name(group),
                self.waits.answered[group].to_string(),
                percent(self.waits.answered_until(group)),
                self.waits.unanswered[group].to_string(),
            ]);
        }
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        let unknown = Self::unknown_in_words(self.calls, &self.waits).map_or_else(String::new, |words| words + ".\n");
        format!(
            "Calls from outside by how long the caller waited for a person, or until the end; times are in {}.\n{table}\n{unknown}",
            printable(&self.zone.name)
        )
    }

    /// For spreadsheets. The last group has no end.
    pub fn to_csv(&self) -> String {
        let mut out = String::from("from_seconds,to_seconds,answered,unanswered\n");
        for line in self.lines() {
            let to = line.to_seconds.map_or_else(String::new, |to| to.to_string());
            let _ = writeln!(out, "{},{to},{},{}", line.from_seconds, line.answered, line.unanswered);
        }
        out
    }

    /// For scripts: one line.
    pub fn to_json(&self) -> String {
        let moment = |quarter: Option<i64>| quarter.map(|quarter| self.zone.timestamp(quarter.saturating_mul(QUARTER)));
        let document = Document {
            formula: FORMULA_VERSION,
            from: moment(self.from),
            to: moment(self.to),
            timezone: &self.zone.name,
            calls: self.calls,
            waits: self.lines().collect(),
        };
        // Texts and numbers can always be written.
        serde_json::to_string(&document).unwrap_or_default()
    }

    fn lines(&self) -> impl Iterator<Item = Line> {
        (0..WAITS).map(|group| Line {
            from_seconds: WAIT_BOUNDS[group],
            to_seconds: WAIT_BOUNDS.get(group + 1).copied(),
            answered: self.waits.answered[group],
            unanswered: self.waits.unanswered[group],
        })
    }
}

#[derive(Serialize)]
struct Document<'a> {
    formula: u32,
    from: Option<String>,
    to: Option<String>,
    timezone: &'a str,
    calls: i64,
    waits: Vec<Line>,
}

#[derive(Serialize)]
struct Line {
    from_seconds: u32,
    to_seconds: Option<u32>,
    answered: i64,
    unanswered: i64,
}
