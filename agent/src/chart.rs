//! Charts as SVG and tables, drawn on this side: they work without a program in the browser, print, and can be read aloud.
//!
//! Every chart has a sentence above that says what to take away, and a real table behind.

mod bars;
mod curve;
mod heat;
mod outcomes;
mod scale;
mod trend;

use maud::{Markup, html};

pub(crate) use self::{
    bars::{Bars, Series},
    curve::{Curve, Stretch},
    heat::Heat,
    outcomes::outcomes,
    scale::grouped,
    trend::{Point, Trend},
};

/// A chart with its sentence above and its table behind.
pub(crate) fn figure(takeaway: &str, chart: &Markup, table: &Markup) -> Markup {
    html! {
        figure {
            figcaption { (takeaway) }
            div.scroll tabindex="0" role="group" aria-label="Chart" { (chart) }
            details { summary { "The figures as a table" } div.scroll tabindex="0" role="group" aria-label="Table" { (table) } }
        }
    }
}
