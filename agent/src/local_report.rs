//! The local call report: rollups grouped by what the owner asks for.

pub mod dimension;
mod json;
mod moment;
mod sheet;
mod table;
#[cfg(test)]
mod tests;

use jiff::tz::TimeZone;
use rustc_hash::FxHashMap;

use self::dimension::Calendar;
pub use self::{
    dimension::{Dimension, Value},
    moment::MomentError,
};
pub(crate) use self::{
    sheet::field,
    table::{STYLE, printable},
};
use crate::{
    call::Figures,
    store::{Peak, Store, StoreError},
};

/// What the owner asks for.
#[derive(Clone, Debug)]
pub struct Query {
    /// What rows tell apart, in that order.
    pub by: Vec<Dimension>,
    /// First quarter hour, counted from 1970 in UTC; from the beginning where absent.
    pub from: Option<i64>,
    /// First quarter hour that is left out; to the end where absent.
    pub to: Option<i64>,
    /// The zone of hours, days and weekdays.
    pub zone: ReportZone,
}

/// The zone of a report.
#[derive(Clone, Debug)]
pub struct ReportZone {
    /// Its rules.
    pub rules: TimeZone,
    /// Its name, for headings.
    pub name: String,
    /// Whether the owner asked for it: then times carry its offset, where else they end in `Z`.
    pub asked_for: bool,
}

/// The answer.
#[derive(Clone, Debug)]
pub struct LocalReport {
    /// What rows tell apart.
    pub by: Vec<Dimension>,
    /// The rows, in the order of their values.
    pub rows: Vec<ReportRow>,
    /// The sum of the rows.
    pub total: Figures,
    /// Rows of the call records that could not be understood, of all that the store has read.
    pub malformed: u64,
    /// Rows of the call records that were read twice, of all that the store has read.
    pub duplicates: u64,
    /// The most calls at a time in that period, where the phone system itself said so.
    pub peak: Option<Peak>,
    /// The zone of hours, days and weekdays.
    pub zone: ReportZone,
}

/// One row of a report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportRow {
    /// One a dimension.
    pub values: Vec<Value>,
    /// Calls, legs, talk and waiting time.
    pub figures: Figures,
}

impl ReportZone {
    /// The zone of that name.
    ///
    /// # Errors
    /// When there is none.
    pub fn named(name: &str) -> Result<Self, MomentError> {
        let rules = TimeZone::get(name).map_err(|_| MomentError::Zone { name: name.to_owned() })?;
        Ok(Self { rules, name: name.to_owned(), asked_for: true })
    }

    /// UTC.
    pub fn utc() -> Self {
        Self { rules: TimeZone::UTC, name: "UTC".to_owned(), asked_for: false }
    }

    /// The machine's own zone.
    pub fn local() -> Self {
        let rules = TimeZone::try_system().unwrap_or(TimeZone::UTC);
        let name = rules.iana_name().unwrap_or("the machine's own").to_owned();
        Self { rules, name, asked_for: false }
    }
}

impl Store {
    /// Answers a query.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn local_report(&self, query: &Query) -> Result<LocalReport, StoreError> {
        let mut calendar = Calendar::new(query.zone.rules.clone());
        let mut groups = FxHashMap::<Vec<i64>, Figures>::default();
        let mut key = Vec::with_capacity(query.by.len());
        let (from, to) = (query.from.unwrap_or(i64::MIN), query.to.unwrap_or(i64::MAX));
        self.rollups(from, to, |row| {
            key.clear();
            key.extend(query.by.iter().map(|dimension| dimension.code(&row, &mut calendar)));
            match groups.get_mut(key.as_slice()) {
                Some(figures) => figures.add(&row.figures),
                None => {
                    groups.insert(key.clone(), row.figures);
                }
            }
        })?;
        let (texts, counts) = (self.texts()?, self.counts()?);
        let mut total = Figures::default();
        let mut rows: Vec<_> = groups
            .into_iter()
            // What was counted in one place and amended to another.
            .filter(|(_, figures)| !figures.is_zero())
            .map(|(key, figures)| {
                total.add(&figures);
                let values = query.by.iter().zip(key).map(|(dimension, code)| dimension.value(code, &texts)).collect();
                ReportRow { values, figures }
            })
            .collect();
        rows.sort_unstable_by(|left, right| left.values.cmp(&right.values));
        Ok(LocalReport {
            by: query.by.clone(),
            rows,
            total,
            malformed: counts.malformed,
            duplicates: counts.duplicates,
            peak: self.peak_between(from, to)?,
            zone: query.zone.clone(),
        })
    }
}

impl LocalReport {
    /// The report of a store that is not there yet.
    pub fn empty(query: &Query) -> Self {
        Self {
            by: query.by.clone(),
            rows: Vec::new(),
            total: Figures::default(),
            malformed: 0,
            duplicates: 0,
            peak: None,
            zone: query.zone.clone(),
        }
    }
}
