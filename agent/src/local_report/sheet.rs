//! The report as CSV, for spreadsheets.

use std::fmt::Write;

use super::LocalReport;

impl LocalReport {
    /// The report as CSV with a heading. Names come from the PBX, and a caller may have chosen them: one that a
    /// spreadsheet would take for a formula gets an apostrophe before it.
    pub fn to_csv(&self) -> String {
        let mut out = String::new();
        for dimension in &self.by {
            let _ = write!(out, "{},", dimension.word());
        }
        out.push_str("calls,talk_seconds,wait_seconds\n");
        for row in &self.rows {
            for value in &row.values {
                out.push_str(&field(&value.text(&self.zone).unwrap_or_default()));
                out.push(',');
            }
            let figures = row.figures;
            let _ = writeln!(out, "{},{},{}", figures.calls, figures.talk_seconds, figures.wait_seconds);
        }
        out
    }
}

/// A text as it stands in CSV.
pub(crate) fn field(text: &str) -> String {
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let text = if formula { format!("'{text}") } else { text.to_owned() };
    if text.contains([',', '"', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formulas_are_defused_and_separators_quoted() {
        for (text, written) in [
            ("1001", "1001"),
            ("=cmd|' /C calc'!A0", "'=cmd|' /C calc'!A0"),
            ("+1,2", "\"'+1,2\""),
            ("-1", "'-1"),
            ("@x", "'@x"),
            ("\tx", "'\tx"),
            ("a \"b\"", "\"a \"\"b\"\"\""),
            ("\rx", "\"'\rx\""),
        ] {
            assert_eq!(field(text), written);
        }
    }
}
