//! The report as a table, for people.

use comfy_table::{CellAlignment, LineStyle, Table, TableStyle};

use super::{Dimension, LocalReport, Value};

/// Lines around the rows, none between them.
pub(crate) const STYLE: TableStyle = {
    let line = LineStyle::none().fill('─').junction('─');
    TableStyle::new().top_border(line).header_separator(line).bottom_border(line)
};

impl LocalReport {
    /// The report as a table with totals and a heading that says in which zone its times are.
    pub fn to_table(&self) -> String {
        if self.rows.is_empty() {
            return self.nothing();
        }
        let mut table = Table::new();
        table.load_style(STYLE);
        let words = self.by.iter().map(|dimension| dimension.word());
        table.set_header(words.chain(["calls", "talk", "wait"]));
        for row in &self.rows {
            let values = row.values.iter().map(|value| printable(&self.shown(value)));
            let figures = row.figures;
            let amounts = [figures.calls.to_string(), clock(figures.talk_seconds), clock(figures.wait_seconds)];
            table.add_row(values.chain(amounts));
        }
        for column in self.by.len()..self.by.len() + 3 {
            if let Some(column) = table.column_mut(column) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        let total = self.total;
        let peak = self.peak.map(|peak| {
            let at = self.zone.wall_clock(i64::try_from(peak.at).unwrap_or(i64::MAX));
            format!("Most calls at a time, as the phone system said: {} at {at}.\n", peak.calls)
        });
        let text = format!(
            "{}\n{table}\n{} calls, {} legs, talk {}, wait {}; rows not understood: {}, read twice: {}\n",
            self.heading(),
            total.calls,
            total.legs,
            clock(total.talk_seconds),
            clock(total.wait_seconds),
            self.malformed,
            self.duplicates,
        );
        text + &peak.unwrap_or_default()
    }

    fn heading(&self) -> String {
        let times = [Dimension::Hour, Dimension::Day, Dimension::Weekday];
        if self.by.iter().any(|dimension| times.contains(dimension)) {
            format!("Calls by the time at which they ended; times are in {}.", printable(&self.zone.name))
        } else {
            format!("Calls; times are in {}.", printable(&self.zone.name))
        }
    }

    fn nothing(&self) -> String {
        if self.malformed > 0 {
            return format!(
                "No calls in that time. {} rows of the call records were not understood: `demarc status` says more.\n",
                self.malformed
            );
        }
        "No calls in that time. Either none were read yet (`demarc status` shows each source, `demarc import FILE` \
         reads old call records), or --from and --to leave them out.\n"
            .to_owned()
    }

    fn shown(&self, value: &Value) -> String {
        match value {
            Value::Hour(second) => self.zone.wall_clock(*second),
            value => value.text(&self.zone).unwrap_or_else(|| "-".to_owned()),
        }
    }
}

/// Texts come from the PBX, and a caller may have chosen them: none may steer the terminal.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() || is_invisible(c) { '\u{fffd}' } else { c }).collect()
}

/// Marks that turn the direction of writing, or show nothing at all.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// Seconds as h:mm:ss.
fn clock(seconds: i64) -> String {
    format!("{}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_texts_as_people_read_them() {
        assert_eq!((clock(0), clock(3661), clock(360_000)), ("0:00:00".into(), "1:01:01".into(), "100:00:00".into()));
        assert_eq!(printable("a\u{1b}[31mb\u{202e}c"), "a\u{fffd}[31mb\u{fffd}c");
    }
}
