//! `demarc stats preview` and `demarc stats show`: what would be sent, and the figures behind it. Needs no daemon.

use std::{
    collections::BTreeMap,
    io::{self, Write},
    time::{SystemTime, UNIX_EPOCH},
};

use comfy_table::{CellAlignment, Table, presets};
use demarc_proto::{Cell, Report};
use serde::Serialize;

use crate::{
    collector::{books::Books, reporting},
    gate::{Consent, Verdict},
    report,
    settings::Settings,
    state::{Site, StateDir},
    store::Store,
    tally::Tally,
};

/// What `--json` prints for both commands.
#[derive(Debug, Serialize)]
struct Figures<'a> {
    /// The open window: first second since 1970 in UTC, length in seconds.
    window: Option<demarc_proto::Window>,
    /// Calls that it counts so far.
    calls: u64,
    /// Why the report would not be sent now; absent when it would.
    withheld: Option<String>,
    /// The report; absent with fewer calls than the floor.
    report: Option<&'a Report>,
    /// Calls by direction and outcome as they are: these stay here.
    local: BTreeMap<String, u64>,
}

/// What is known of the open window.
struct Open {
    books: Option<Books>,
    tally: Option<Tally>,
    report: Option<Report>,
    withheld: Option<String>,
}

impl Open {
    fn read(settings: &Settings, upload: bool) -> anyhow::Result<Self> {
        let state = StateDir::new(&settings.state_dir);
        let store = Store::open(&state)?;
        let books = reporting::load(&store)?;
        let site = Site::load(&state)?;
        let consent = Consent {
            upload,
            enrolled: site.map(|site| (site.site, site.enrolled)),
            grace: settings.stats.grace,
            accepted_schema: settings.stats.schema,
        };
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

    fn calls(&self) -> u64 {
        self.tally.as_ref().map_or(0, Tally::total)
    }

    /// Calls by direction and outcome, as they are.
    fn by_cell(&self) -> BTreeMap<Cell, u64> {
        let mut cells = BTreeMap::new();
        for (key, calls) in self.tally.iter().flat_map(|tally| &tally.calls) {
            *cells.entry(key.cell).or_default() += u64::from(*calls);
        }
        cells
    }

    fn print_json(&self) -> anyhow::Result<()> {
        let word = |cell: &Cell| format!("{}.{}", cell.direction.as_str(), cell.outcome.as_str());
        let figures = Figures {
            window: self.books.as_ref().map(Books::open_window),
            calls: self.calls(),
            withheld: self.withheld.clone(),
            report: self.report.as_ref(),
            local: self.by_cell().iter().map(|(cell, calls)| (word(cell), *calls)).collect(),
        };
        writeln!(io::stdout(), "{}", serde_json::to_string(&figures)?)?;
        Ok(())
    }
}

/// Prints the next report's exact bytes on standard output, and what is to be said of them on standard error.
///
/// # Errors
/// When the store cannot be read.
pub fn preview(settings: &Settings, upload: bool, json: bool) -> anyhow::Result<()> {
    let open = Open::read(settings, upload)?;
    if json {
        return open.print_json();
    }
    let mut words = io::stderr();
    match (&open.books, &open.report) {
        (None, _) => writeln!(words, "Nothing is counted yet: start `demarc run`.")?,
        (Some(books), None) => writeln!(
            words,
            "As it stands nothing would be sent: the open window counts {} calls, and every group needs at least {}.",
            open.calls(),
            books.terms.floor
        )?,
        (Some(_), Some(report)) => {
            let body = report.to_body();
            writeln!(words, "If the window closed now, these {} bytes would be for the vendor:", body.len())?;
            io::stdout().write_all(body.as_bytes())?;
            io::stdout().flush()?;
            writeln!(words)?;
        }
    }
    if let Some(reason) = &open.withheld {
        writeln!(words, "They would not leave: {reason}.")?;
    }
    Ok(())
}

/// Prints the figures of the open window before the floor: these stay here.
///
/// # Errors
/// When the store cannot be read.
pub fn show(settings: &Settings, upload: bool, json: bool) -> anyhow::Result<()> {
    let open = Open::read(settings, upload)?;
    if json {
        return open.print_json();
    }
    let mut out = io::stdout();
    let Some(books) = &open.books else {
        writeln!(out, "Nothing is counted yet: start `demarc run`.")?;
        return Ok(());
    };
    let window = books.open_window();
    let start = jiff::Timestamp::from_second(i64::try_from(window.start)?)?;
    writeln!(out, "Open window: {} from {start}, {} calls so far", books.length(), open.calls())?;
    if open.calls() == 0 {
        return Ok(());
    }
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED).set_header(["direction", "outcome", "calls (stay here)"]);
    for (cell, calls) in open.by_cell() {
        table.add_row([cell.direction.as_str().to_owned(), cell.outcome.as_str().to_owned(), calls.to_string()]);
    }
    if let Some(column) = table.column_mut(2) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    writeln!(out, "{table}")?;
    match &open.report {
        Some(report) => {
            writeln!(out, "What a report would say of them, in groups of at least {}:", report.floor)?;
            let mut table = Table::new();
            table.load_style(presets::UTF8_FULL_CONDENSED).set_header(["hours", "directions and outcomes", "calls"]);
            for group in &report.volume {
                let words: Vec<String> = group
                    .cells
                    .iter()
                    .map(|cell| format!("{}.{}", cell.direction.as_str(), cell.outcome.as_str()))
                    .collect();
                let words = if words.len() == Cell::COUNT { "all".to_owned() } else { words.join(", ") };
                let hours = format!("{}-{}", group.from_hour, group.from_hour + group.hours);
                table.add_row([hours, words, group.calls.to_string()]);
            }
            writeln!(out, "{table}")?;
        }
        None => writeln!(out, "A report would say nothing of them: every group needs at least {}.", books.terms.floor)?,
    }
    Ok(())
}
