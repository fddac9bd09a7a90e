//! How long callers from outside waited.

use maud::{Markup, html};

use crate::{
    chart::{self, Bars, Series, grouped},
    figures::{Period, WAITS, Waits, group_name, words::percent},
    wait_report::WaitReport,
    web::pages::period,
};

/// The waiting times of a period in which so many calls came in.
pub(super) fn waits(period: Period, waits: &Waits, inbound: i64) -> Markup {
    let bars = Bars {
        label: "Calls from outside by how long the caller waited, and whether a person answered",
        heading: "waited",
        places: (0..WAITS).map(group_name).collect(),
        series: vec![
            Series { name: "a person answered", class: "answered", values: waits.answered.to_vec() },
            Series { name: "no person answered", class: "missed", values: waits.unanswered.to_vec() },
        ],
    };
    html! {
        h2 { "How long callers waited" }
        (chart::figure(&takeaway(waits), &bars.svg(), &table(waits)))
        p.faint {
            "From the beginning of a call until a person answered, or until its end; menus and announcements are part of it. "
            @if let Some(unknown) = WaitReport::unknown_in_words(inbound, waits) { (unknown) ". " }
            "The same as " a href={ "/calls/waits.csv?" (period::query(period)) } { "CSV" } " or "
            a href={ "/calls/waits.json?" (period::query(period)) } { "JSON" } "."
        }
    }
}

fn takeaway(waits: &Waits) -> String {
    let answered: i64 = waits.answered.iter().sum();
    let within = |share| match waits.answered_within(share) {
        Some(seconds) => format!("in under {seconds} s"),
        None => group_name(WAITS - 1).replace(" and more", " or later"),
    };
    match answered {
        0 => "No person answered a call from outside in this period.".to_owned(),
        1..10 => format!("A person answered {} from outside.", crate::figures::words::count(answered, "call")),
        _ => format!(
            "Of {} callers whom a person answered, half had an answer {}, nine of ten {}.",
            grouped(answered),
            within(0.5),
            within(0.9)
        ),
    }
}

fn table(waits: &Waits) -> Markup {
    html! {
        table {
            thead { tr {
                @for name in ["waited", "a person answered", "of those until then", "no person answered"] { th scope="col" { (name) } }
            } }
            tbody { @for group in 0..WAITS { tr {
                th scope="row" { (group_name(group)) }
                td { (grouped(waits.answered[group])) }
                td { (percent(waits.answered_until(group))) }
                td { (grouped(waits.unanswered[group])) }
            } } }
        }
    }
}
