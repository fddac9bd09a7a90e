//! A heat map that is a table: its figures are printed in it.

use maud::{Markup, html};

use crate::figures::Share;

/// Shares of a whole by row and column.
pub(crate) struct Heat<'a> {
    /// What it shows.
    pub(crate) caption: &'a str,
    /// What stands left of each row.
    pub(crate) rows: Vec<&'a str>,
    /// What stands above each column.
    pub(crate) columns: Vec<String>,
    /// Row by row.
    pub(crate) cells: Vec<Vec<Share>>,
}

impl Heat<'_> {
    /// The table. A cell says its share in percent and what that is of, and is darker the higher the share certainly is: a share
    /// of a few calls is no dark one.
    pub(crate) fn table(&self) -> Markup {
        html! {
            p.faint { (self.caption) }
            div.scroll tabindex="0" { table.heat aria-label=(self.caption) {
                thead { tr {
                    td {}
                    @for column in &self.columns { th scope="col" { (column) } }
                } }
                tbody {
                    @for (row, cells) in self.rows.iter().zip(&self.cells) {
                        tr {
                            th scope="row" { (row) }
                            @for cell in cells { (one(*cell)) }
                        }
                    }
                }
            } }
        }
    }
}

fn one(cell: Share) -> Markup {
    match cell.value() {
        None => html! { td {} },
        Some(share) => {
            let certain = cell.interval().map_or(0.0, |(from, _)| from);
            let level = (certain * 10.0).floor().clamp(0.0, 9.0) as u8;
            let words = format!("{} of {}", cell.part, cell.n);
            html! { td class={ "h" (level) } title=(words) { (format!("{:.0}%", share * 100.0)) small { (cell.n) } } }
        }
    }
}
