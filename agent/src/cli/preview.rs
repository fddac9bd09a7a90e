//! `demarc stats preview` and `demarc stats show`: what would be sent, and the figures behind it. Needs no daemon.

use std::{
    collections::BTreeMap,
    io::{self, Write},
};

use comfy_table::{CellAlignment, Table, presets};
use demarc_proto::{Cell, Report};
use serde::Serialize;

use crate::{
    collector::books::Books,
    gate::Consent,
    next_report::NextReport,
    settings::Settings,
    state::{Site, StateDir},
    store::Store,
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

fn open(settings: &Settings, upload: bool) -> anyhow::Result<NextReport> {
    let state = StateDir::new(&settings.state_dir);
    let consent = Consent {
        upload,
        enrolled: Site::load(&state)?.map(|site| (site.site, site.enrolled)),
        grace: settings.stats.grace,
        accepted_schema: settings.stats.schema,
    };
    NextReport::read(&Store::open(&state)?, &consent)
}

fn print_json(open: &NextReport) -> anyhow::Result<()> {
    let word = |cell: &Cell| format!("{}.{}", cell.direction.as_str(), cell.outcome.as_str());
    let figures = Figures {
        window: open.books.as_ref().map(Books::open_window),
        calls: open.calls(),
        withheld: open.withheld.clone(),
        report: open.report.as_ref(),
        local: open.by_cell().iter().map(|(cell, calls)| (word(cell), *calls)).collect(),
    };
    writeln!(io::stdout(), "{}", serde_json::to_string(&figures)?)?;
    Ok(())
}

/// Prints the next report's exact bytes on standard output, and what is to be said of them on standard error.
///
/// # Errors
/// When the store cannot be read.
pub fn preview(settings: &Settings, upload: bool, json: bool) -> anyhow::Result<()> {
    let open = open(settings, upload)?;
    if json {
        return print_json(&open);
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
    let open = open(settings, upload)?;
    if json {
        return print_json(&open);
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
