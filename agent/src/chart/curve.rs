//! A figure over time, with the least and the most of each stretch.

use maud::{Markup, html};

use super::scale::{grouped, steps};

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 150.0;
const LEFT: f64 = 44.0;
const BOTTOM: f64 = 22.0;
const TOP: f64 = 8.0;
/// Labels below, at most.
const MOST_LABELS: usize = 8;

/// A figure over time.
pub(crate) struct Curve<'a> {
    /// What it shows, for who cannot see it.
    pub(crate) label: &'a str,
    /// What the table calls the figure, with its unit.
    pub(crate) unit: &'a str,
    /// The stretches, in order.
    pub(crate) stretches: Vec<Stretch>,
}

/// One stretch of time; none where nothing was measured.
pub(crate) struct Stretch {
    pub(crate) name: String,
    /// The least, the mean and the most.
    pub(crate) values: Option<[i64; 3]>,
}

impl Curve<'_> {
    /// The picture.
    pub(crate) fn svg(&self) -> Markup {
        let most = self.stretches.iter().filter_map(|stretch| stretch.values).map(|values| values[2]).max();
        let steps = steps(most.unwrap_or(0));
        let top = steps.last().copied().unwrap_or(1).max(1) as f64;
        let down = |value: i64| format!("{:.1}", TOP + (HEIGHT - TOP - BOTTOM) * (1.0 - value.max(0) as f64 / top));
        let pitch = (WIDTH - LEFT) / self.stretches.len().max(1) as f64;
        let across = |place: usize| format!("{:.1}", LEFT + pitch * (place as f64 + 0.5));
        let every = self.stretches.len().div_ceil(MOST_LABELS).max(1);
        html! {
            svg.chart role="img" aria-label=(self.label) viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } {
                @for step in &steps {
                    @let y = down(*step);
                    line.grid x1=(LEFT) x2=(WIDTH) y1=(y) y2=(y) {}
                    text.axis x=(LEFT - 6.0) y=(y) dy="0.32em" text-anchor="end" { (grouped(*step)) }
                }
                @for (place, stretch) in self.stretches.iter().enumerate() {
                    @if let Some([low, _, high]) = stretch.values {
                        line.interval x1=(across(place)) x2=(across(place)) y1=(down(high)) y2=(down(low)) {}
                    }
                    @if place % every == 0 {
                        text.axis x=(across(place)) y=(HEIGHT - 6.0) text-anchor="middle" { (stretch.name) }
                    }
                }
                // A gap in what was measured is a gap in the line.
                @for run in self.runs() {
                    @let points: Vec<String> = run.iter().map(|(place, value)| format!("{},{}", across(*place), down(*value))).collect();
                    polyline.trend points=(points.join(" ")) {}
                }
            }
        }
    }

    /// The figures.
    pub(crate) fn table(&self) -> Markup {
        html! {
            table {
                thead { tr {
                    th scope="col" { "from" } th scope="col" { "least" } th scope="col" { (self.unit) ", mean" } th scope="col" { "most" }
                } }
                tbody { @for stretch in &self.stretches { @if let Some(values) = stretch.values { tr {
                    th scope="row" { (stretch.name) }
                    @for value in values { td { (grouped(value)) } }
                } } } }
            }
        }
    }

    fn runs(&self) -> Vec<Vec<(usize, i64)>> {
        let mut runs = vec![Vec::new()];
        for (place, stretch) in self.stretches.iter().enumerate() {
            match (stretch.values, runs.last_mut()) {
                (Some([_, mean, _]), Some(run)) => run.push((place, mean)),
                _ => runs.push(Vec::new()),
            }
        }
        runs.retain(|run| !run.is_empty());
        runs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_measured_is_a_gap() {
        let stretch = |value: Option<i64>| Stretch { name: "t".to_owned(), values: value.map(|value| [value; 3]) };
        let stretches = [Some(1), Some(2), None, None, Some(3)].map(stretch).into();
        let curve = Curve { label: "a figure", unit: "%", stretches };
        assert_eq!(curve.runs(), [vec![(0, 1), (1, 2)], vec![(4, 3)]]);
        assert_eq!(curve.svg().into_string().matches("<polyline").count(), 2);
        assert_eq!(curve.table().into_string().matches("<th scope=\"row\">").count(), 3);
    }
}
