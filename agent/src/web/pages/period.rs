//! The period of a page: from its address, and the form that chooses another.

use jiff::civil::Date;
use maud::{Markup, html};
use serde::Deserialize;

use crate::{figures::Period, local_report::ReportZone, web::clock};

/// The period in an address: `?from=2026-11-01&to=2026-11-07`, both days included.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Asked {
    #[serde(default)]
    from: String,
    #[serde(default)]
    to: String,
}

impl Asked {
    /// Whether no period is asked for.
    pub(super) fn is_empty(&self) -> bool {
        self.from.is_empty() && self.to.is_empty()
    }

    /// The period, or as many days until today where none is asked for. A period that is not understood is said in words.
    pub(super) fn period(&self, zone: &ReportZone, days: i32) -> (Period, Option<String>) {
        let usual = Period::until(today(zone), days);
        if self.is_empty() {
            return (usual, None);
        }
        match Period::parse(&self.from, &self.to) {
            Ok(period) => (period, None),
            Err(error) => (usual, Some(format!("The period was not understood: {error}."))),
        }
    }
}

/// Today.
pub(super) fn today(zone: &ReportZone) -> Date {
    clock::wall(zone).date()
}

/// A period as part of an address.
pub(super) fn query(period: Period) -> String {
    format!("from={}&to={}", period.first(), period.last())
}

/// A period in words.
pub(super) fn words(period: Period) -> String {
    if period.days() == 1 { period.first().to_string() } else { format!("{} to {}", period.first(), period.last()) }
}

/// The form that chooses another period, and links to usual ones.
pub(super) fn chooser(path: &str, period: Period, zone: &ReportZone, keep: &[(&str, &str)]) -> Markup {
    let today = today(zone);
    let link = |days: i32| with(path, Period::until(today, days), keep);
    html! {
        form.row method="get" action=(path) {
            label { "First day" input type="date" name="from" value=(period.first()) required; }
            label { "Last day" input type="date" name="to" value=(period.last()) required; }
            @for (name, value) in keep { input type="hidden" name=(name) value=(value); }
            button { "Show" }
            a href=(with(path, period.before(), keep)) { "before" }
            a href=(with(path, period.after(), keep)) { "after" }
            a href=(link(1)) { "today" }
            a href=(link(7)) { "7 days" }
            a href=(link(28)) { "4 weeks" }
            a href=(link(91)) { "13 weeks" }
        }
        p.faint { "Days and hours are in " (zone.name) ". A call counts when it ended." }
    }
}

fn with(path: &str, period: Period, keep: &[(&str, &str)]) -> String {
    let mut address = format!("{path}?{}", query(period));
    for (name, value) in keep {
        address.push_str(&format!("&{name}={value}"));
    }
    address
}
