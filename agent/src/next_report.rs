//! The open report window: what would leave if it closed now, and the figures behind it.

use std::{
    collections::BTreeMap,
    time::{SystemTime, UNIX_EPOCH},
};

use demarc_proto::{Cell, Report};

use crate::{
    collector::{books::Books, reporting},
    gate::{Consent, Verdict},
    report,
    store::Store,
    tally::Tally,
};

/// What is known of the open window.
pub struct NextReport {
    /// Which window is open; absent before anything was counted.
    pub books: Option<Books>,
    /// Its calls.
    pub tally: Option<Tally>,
    /// The report, if there are calls enough for one.
    pub report: Option<Report>,
    /// Why it would not leave now, in words; absent when it would.
    pub withheld: Option<String>,
}

impl NextReport {
    /// Reads the open window, and what the owner's word says of it.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn read(store: &Store, consent: &Consent) -> anyhow::Result<Self> {
        let books = reporting::load(store)?;
        let tally = books.as_ref().map(|books| store.tally(books.open_window())).transpose()?.flatten();
        let report = match (&books, &tally) {
            (Some(books), Some(tally)) => report::build(tally, books.next_id, books.terms.floor),
            _ => None,
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let withheld = match consent.verdict(now) {
            Verdict::Open { .. } => None,
            Verdict::Withheld(reason) => Some(reason.to_string()),
        };
        Ok(Self { books, tally, report, withheld })
    }

    /// How many calls the window counts.
    pub fn calls(&self) -> u64 {
        self.tally.as_ref().map_or(0, Tally::total)
    }

    /// Calls by direction and outcome, as they are: these stay here.
    pub fn by_cell(&self) -> BTreeMap<Cell, u64> {
        let mut cells = BTreeMap::new();
        for (key, calls) in self.tally.iter().flat_map(|tally| &tally.calls) {
            *cells.entry(key.cell).or_default() += u64::from(*calls);
        }
        cells
    }
}
