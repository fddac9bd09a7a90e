//! A report in words, a line for each thing that it says.

use demarc_proto::{Cell, Direction, Outcome, Report, report::SecondsGroup};

/// What the report says.
pub fn lines(report: &Report) -> Vec<String> {
    let mut lines = Vec::new();
    for group in &report.volume {
        let (from, to) = (hour(group.from_hour), hour(group.from_hour + group.hours));
        lines.push(format!("{from} to {to}  {:>5} calls  {}", group.calls, kinds(&group.cells)));
    }
    lines.push(format!("talk time       {}", seconds(&report.talk)));
    lines.push(format!("waiting time    {}", seconds(&report.wait)));
    let classes = report.destination.iter().map(|group| {
        let names = group.classes.iter().map(word).collect::<Vec<_>>().join(" or ");
        format!("{} {names}", group.calls)
    });
    lines.push(format!("destination     {}", classes.collect::<Vec<_>>().join(", ")));
    if !report.quality.is_empty() {
        let bands = report.quality.iter().map(|group| {
            let names = group.bands.iter().map(word).collect::<Vec<_>>().join(" or ");
            format!("{} {names}", group.calls)
        });
        lines.push(format!("sound           {}", bands.collect::<Vec<_>>().join(", ")));
    }
    lines.push(format!("at most {} calls at the same time", report.peak_concurrency));
    lines
}

/// The hour of the window's day, or of one of its days.
fn hour(hour: u16) -> String {
    match hour {
        0..=24 => format!("{hour:02}:00"),
        _ => format!("day {} {:02}:00", hour / 24 + 1, hour % 24),
    }
}

/// Directions and outcomes, as few words as say it: a direction with all its outcomes is named alone.
fn kinds(cells: &[Cell]) -> String {
    if cells.len() == Cell::COUNT {
        return "of any direction and outcome".to_owned();
    }
    let (whole, parts): (Vec<_>, Vec<_>) =
        Cell::by_direction(cells).into_iter().partition(|(_, outcomes)| outcomes.is_empty());
    let whole = whole.iter().map(|(direction, _)| direction.as_str()).collect::<Vec<_>>().join(" or ");
    let part = |(direction, outcomes): &(Direction, Vec<Outcome>)| {
        let outcomes: Vec<&str> = outcomes.iter().map(|outcome| outcome.as_str()).collect();
        format!("{}: {}", direction.as_str(), outcomes.join(" or "))
    };
    [whole].into_iter().filter(|whole| !whole.is_empty()).chain(parts.iter().map(part)).collect::<Vec<_>>().join("; ")
}

fn seconds(groups: &[SecondsGroup]) -> String {
    let group = |group: &SecondsGroup| match (group.from_seconds, group.to_seconds) {
        (0, Some(to)) => format!("{} under {to} s", group.calls),
        (from, Some(to)) => format!("{} from {from} to {to} s", group.calls),
        (0, None) => format!("{} of any length", group.calls),
        (from, None) => format!("{} from {from} s on", group.calls),
    };
    groups.iter().map(group).collect::<Vec<_>>().join(", ")
}

/// The word that the report itself has for it.
fn word<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_value(value)
        .ok()
        .and_then(|value| value.as_str().map(|word| word.replace('_', " ")))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use demarc_proto::{
        ReportId, SCHEMA, Window,
        report::{Destination, DestinationGroup, Mechanism, VolumeGroup},
    };
    use expect_test::expect;

    use super::*;

    #[test]
    fn a_report_reads_like_a_note() {
        let all: Vec<Cell> = Cell::all().collect();
        let some = |directions: &[Direction]| {
            all.iter().copied().filter(|cell| directions.contains(&cell.direction)).collect()
        };
        let answered = Cell { direction: Direction::Inbound, outcome: Outcome::Answered };
        let report = Report {
            schema: SCHEMA,
            id: ReportId::from_bits([0; 16]),
            window: Window { start: 0, seconds: 86_400 },
            mechanism: Mechanism::KAnonymous,
            floor: 10,
            volume: vec![
                VolumeGroup { from_hour: 0, hours: 9, cells: all.clone(), calls: 14 },
                VolumeGroup { from_hour: 9, hours: 1, cells: vec![answered], calls: 11 },
                VolumeGroup {
                    from_hour: 10,
                    hours: 14,
                    cells: some(&[Direction::Outbound, Direction::Internal]),
                    calls: 120,
                },
            ],
            talk: vec![
                SecondsGroup { from_seconds: 0, to_seconds: Some(10), calls: 42 },
                SecondsGroup { from_seconds: 10, to_seconds: None, calls: 103 },
            ],
            wait: vec![SecondsGroup { from_seconds: 0, to_seconds: None, calls: 145 }],
            destination: vec![DestinationGroup {
                classes: vec![Destination::National, Destination::International],
                calls: 24,
            }],
            quality: Vec::new(),
            peak_concurrency: 4,
        };
        expect![[r#"
            00:00 to 09:00     14 calls  of any direction and outcome
            09:00 to 10:00     11 calls  inbound: answered
            10:00 to 24:00    120 calls  outbound or internal
            talk time       42 under 10 s, 103 from 10 s on
            waiting time    145 of any length
            destination     24 national or international
            at most 4 calls at the same time"#]]
        .assert_eq(&lines(&report).join("\n"));
    }
}
