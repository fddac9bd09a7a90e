//! The report as JSON: the contract that scripts use.

use serde::{Serialize, Serializer, ser::SerializeMap};

use crate::gate::entry::utc;

use super::{LocalReport, ReportRow, ReportZone, dimension::Dimension};

#[derive(Serialize)]
struct Document<'a> {
    rows: Vec<Line<'a>>,
    calls: i64,
    legs: i64,
    malformed: u64,
    duplicates: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    peak: Option<MostAtOnce>,
}

/// The most calls at a time.
#[derive(Serialize)]
struct MostAtOnce {
    calls: u64,
    /// RFC 3339 in UTC.
    at: String,
}

/// One row: its dimensions in the order in which they were asked for, then its figures.
struct Line<'a> {
    by: &'a [Dimension],
    row: &'a ReportRow,
    zone: &'a ReportZone,
}

impl Serialize for Line<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.by.len() + 3))?;
        for (dimension, value) in self.by.iter().zip(&self.row.values) {
            map.serialize_entry(dimension.word(), &value.text(self.zone))?;
        }
        map.serialize_entry("calls", &self.row.figures.calls)?;
        map.serialize_entry("talk_seconds", &self.row.figures.talk_seconds)?;
        map.serialize_entry("wait_seconds", &self.row.figures.wait_seconds)?;
        map.end()
    }
}

impl LocalReport {
    /// The report as one line of JSON.
    pub fn to_json(&self) -> String {
        let rows = self.rows.iter().map(|row| Line { by: &self.by, row, zone: &self.zone }).collect();
        let document = Document {
            rows,
            calls: self.total.calls,
            legs: self.total.legs,
            malformed: self.malformed,
            duplicates: self.duplicates,
            peak: self.peak.map(|peak| MostAtOnce { calls: peak.calls, at: utc(peak.at) }),
        };
        serde_json::to_string(&document).expect("texts and numbers always have a JSON form")
    }
}
