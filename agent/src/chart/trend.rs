//! Shares over time, each with the interval in which the true one likely lies.

use maud::{Markup, html};

use crate::figures::Share;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 200.0;
const LEFT: f64 = 44.0;
const BOTTOM: f64 = 24.0;
const TOP: f64 = 8.0;

/// Shares over time.
pub(crate) struct Trend<'a> {
    /// What it shows, for who cannot see it.
    pub(crate) label: &'a str,
    /// What the table calls the places.
    pub(crate) heading: &'a str,
    pub(crate) points: Vec<Point>,
}

/// One share.
pub(crate) struct Point {
    pub(crate) name: String,
    pub(crate) share: Share,
}

impl Trend<'_> {
    /// The picture.
    pub(crate) fn svg(&self) -> Markup {
        let down = |share: f64| TOP + (HEIGHT - TOP - BOTTOM) * (1.0 - share);
        let pitch = (WIDTH - LEFT) / self.points.len().max(1) as f64;
        let across = |place: usize| LEFT + pitch * (place as f64 + 0.5);
        let known: Vec<(usize, f64)> =
            (self.points.iter().enumerate()).filter_map(|(place, point)| Some((place, point.share.value()?))).collect();
        let line: Vec<String> =
            known.iter().map(|(place, share)| format!("{:.1},{:.1}", across(*place), down(*share))).collect();
        html! {
            svg.chart role="img" aria-label=(self.label) viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } {
                @for percent in [0, 25, 50, 75, 100] {
                    @let y = format!("{:.1}", down(f64::from(percent) / 100.0));
                    line.grid x1=(LEFT) x2=(WIDTH) y1=(y) y2=(y) {}
                    text.axis x=(LEFT - 6.0) y=(y) dy="0.32em" text-anchor="end" { (percent) " %" }
                }
                polyline.trend points=(line.join(" ")) {}
                @for (place, point) in self.points.iter().enumerate() {
                    @let x = format!("{:.1}", across(place));
                    @if let (Some(share), Some((from, to))) = (point.share.value(), point.share.interval()) {
                        g {
                            title { (point.name) ": " (words(point.share)) }
                            line.interval x1=(x) x2=(x) y1=(format!("{:.1}", down(to))) y2=(format!("{:.1}", down(from))) {}
                            circle.dot cx=(x) cy=(format!("{:.1}", down(share))) r="3.5" {}
                        }
                    }
                    text.axis x=(x) y=(HEIGHT - 6.0) text-anchor="middle" { (point.name) }
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
                    th scope="col" { "share" }
                    th scope="col" { "likely between" }
                    th scope="col" { "of" }
                } }
                tbody {
                    @for point in &self.points {
                        tr {
                            th scope="row" { (point.name) }
                            td { (point.share.value().map_or_else(|| "-".to_owned(), percent)) }
                            td { @if let Some((from, to)) = point.share.interval() { (percent(from)) " and " (percent(to)) } }
                            td { (point.share.n) }
                        }
                    }
                }
            }
        }
    }
}

fn words(share: Share) -> String {
    format!("{} ({} of {})", share.value().map_or_else(|| "-".to_owned(), percent), share.part, share.n)
}

fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}
