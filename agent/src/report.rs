//! Builds the report of a window from its tally: the one place where outgoing figures are named, field by field.

use demarc_proto::{Report, ReportId, SCHEMA, report::Mechanism};

use crate::{gate::floor, tally::Tally};

/// The report of that window, with every group at the floor; `None` when the window holds fewer calls than the
/// floor, so that its calls have to ride along in the next one.
///
/// The result is a function of the counts alone and always passes [`Report::check`]. It may leave only through
/// [`crate::gate::clear`].
pub fn build(tally: &Tally, id: ReportId, floor: u32) -> Option<Report> {
    let floor = floor.max(1);
    let tables = floor::tables(tally, floor)?;
    Some(Report {
        schema: SCHEMA,
        id,
        window: tally.window,
        mechanism: Mechanism::KAnonymous,
        floor,
        volume: tables.volume,
        talk: tables.talk,
        wait: tables.wait,
        destination: tables.destination,
        quality: tables.quality,
        peak_concurrency: tally.peak_concurrency,
    })
}
