//! Stacked bars.

use maud::{Markup, html};

use super::scale::{grouped, steps};

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 220.0;
const LEFT: f64 = 44.0;
const BOTTOM: f64 = 24.0;
const TOP: f64 = 8.0;
/// A bar that is wider looks like a wall.
const WIDEST: f64 = 72.0;
/// Labels below the bars, at most.
const MOST_LABELS: usize = 16;

/// Stacked bars: one a place, one part a series.
pub(crate) struct Bars<'a> {
    /// What it shows, for who cannot see it.
    pub(crate) label: &'a str,
    /// What the table calls the places.
    pub(crate) heading: &'a str,
    /// What stands below each bar.
    pub(crate) places: Vec<String>,
    /// From the bottom up.
    pub(crate) series: Vec<Series>,
}

/// One part of every bar.
pub(crate) struct Series {
    pub(crate) name: &'static str,
    /// The class that gives it its colour and, for who sees none, its hatching.
    pub(crate) class: &'static str,
    /// One a place.
    pub(crate) values: Vec<i64>,
}

impl Bars<'_> {
    /// The picture, with its legend.
    pub(crate) fn svg(&self) -> Markup {
        let totals: Vec<i64> = (0..self.places.len()).map(|place| self.total(place)).collect();
        let steps = steps(totals.iter().copied().max().unwrap_or(0));
        let top = steps.last().copied().unwrap_or(1).max(1) as f64;
        let down = |value: f64| TOP + (HEIGHT - TOP - BOTTOM) * (1.0 - value / top);
        let pitch = (WIDTH - LEFT) / self.places.len().max(1) as f64;
        let bar = (pitch * 0.78).clamp(1.0, WIDEST);
        let every = self.places.len().div_ceil(MOST_LABELS).max(1);
        html! {
            svg.chart role="img" aria-label=(self.label) viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } {
                @for step in &steps {
                    @let y = format!("{:.1}", down(*step as f64));
                    line.grid x1=(LEFT) x2=(WIDTH) y1=(y) y2=(y) {}
                    text.axis x=(LEFT - 6.0) y=(y) dy="0.32em" text-anchor="end" { (grouped(*step)) }
                }
                @for (place, name) in self.places.iter().enumerate() {
                    @let x = LEFT + pitch * place as f64 + (pitch - bar) / 2.0;
                    g {
                        title { (name) ": " (self.words(place)) }
                        @for (class, from, to) in self.parts(place) {
                            rect class=(class) x=(format!("{x:.1}")) width=(format!("{bar:.1}"))
                                y=(format!("{:.1}", down(to))) height=(format!("{:.1}", down(from) - down(to))) {}
                        }
                    }
                    @if place % every == 0 {
                        text.axis x=(format!("{:.1}", x + bar / 2.0)) y=(HEIGHT - 6.0) text-anchor="middle" { (name) }
                    }
                }
            }
            ul.legend aria-label="What the parts are" {
                @for series in &self.series {
                    li { svg.key width="14" height="14" aria-hidden="true" { rect class=(series.class) width="14" height="14" {} } (series.name) }
                }
            }
        }
    }

    /// The figures.
    pub(crate) fn table(&self) -> Markup {
        html! {
            table {
                thead { tr {
                    th scope="col" { (self.heading) }
                    @for series in &self.series { th scope="col" { (series.name) } }
                    th scope="col" { "all" }
                } }
                tbody {
                    @for (place, name) in self.places.iter().enumerate() {
                        tr {
                            th scope="row" { (name) }
                            @for series in &self.series { td { (grouped(series.values[place])) } }
                            td { (grouped(self.total(place))) }
                        }
                    }
                }
            }
        }
    }

    fn total(&self, place: usize) -> i64 {
        self.series.iter().map(|series| series.values[place]).sum()
    }

    /// The parts of a bar: class, from, to.
    fn parts(&self, place: usize) -> Vec<(&'static str, f64, f64)> {
        let mut from = 0;
        let mut parts = Vec::new();
        for series in &self.series {
            let to = from + series.values[place].max(0);
            if to > from {
                parts.push((series.class, from as f64, to as f64));
            }
            from = to;
        }
        parts
    }

    fn words(&self, place: usize) -> String {
        let parts = self.series.iter().filter(|series| series.values[place] != 0);
        let parts: Vec<String> =
            parts.map(|series| format!("{} {}", grouped(series.values[place]), series.name)).collect();
        if parts.is_empty() { "none".to_owned() } else { parts.join(", ") }
    }
}
