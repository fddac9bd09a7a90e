//! How many agents the busiest hour of each queue needs.

use std::collections::BTreeMap;

use maud::{Markup, html};

use crate::{
    figures::words::minutes,
    figures::{AgentAdvice, LEVEL},
    local_report::printable,
    private::Queue,
};

/// A table of the queues with enough callers; nothing where there are none.
pub(super) fn needed(agents: &BTreeMap<Queue, AgentAdvice>) -> Markup {
    html! {
        @if !agents.is_empty() {
            h2 { "Agents needed" }
            div.scroll tabindex="0" role="group" aria-label="Table" { table {
                caption { "In the busiest hour of the day, so that " (LEVEL * 100.0) "\u{a0}% are answered in time" }
                thead { tr {
                    th.text scope="col" { "queue" }
                    @for name in ["hour", "callers an hour", "days", "AHT", "load in erlangs", "agents", "in time with them"] {
                        th scope="col" { (name) }
                    }
                } }
                tbody { @for (queue, advice) in agents { tr {
                    th scope="row" { (printable(queue.expose())) }
                    td { (advice.hour) ":00" }
                    td { (format!("{:.1}", advice.callers)) }
                    td { (advice.days) }
                    td { (minutes(advice.demand.handling.round() as i64)) }
                    td { (format!("{:.2}", advice.demand.load)) }
                    td { strong { (advice.agents) } }
                    td { (format!("{:.0}\u{a0}%", advice.demand.in_time(advice.agents) * 100.0)) }
                } } }
            } }
            p.faint {
                "Erlang C: 1 \u{2212} C e^(\u{2212}(N \u{2212} A) T / AHT). It takes it that nobody hangs up, and that agents have no work after a "
                "call. Queues with callers on fewer than five days, or fewer than 30 talks, are left out."
            }
        }
    }
}
