//! The table of `demarc recordings`, and how sizes, ages and days are shown.

use std::fmt::Write;

use comfy_table::{CellAlignment, Table, presets};
use jiff::{Timestamp, tz::TimeZone};

use super::count;
use crate::recordings::{By, RecordingsStatus, TreeStatus, files::Pruning};

/// Everything about recordings.
pub(super) fn screen(status: &RecordingsStatus) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["tree", "files", "size", "oldest", "newest", "a day", "free", "full in", "held", "shut"]);
    for tree in &status.trees {
        table.add_row(row(tree));
    }
    for column in [1, 2, 5, 6, 7, 8] {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let mut text = format!("{}\n\n", table.trim_fmt());
    for line in remarks(status) {
        // Writing into a string cannot fail.
        let _ = writeln!(text, "{line}");
    }
    text
}

fn row(tree: &TreeStatus) -> [String; 10] {
    let when = |moment: Option<u64>| moment.map(day).unwrap_or_default();
    [
        tree.path.display().to_string(),
        tree.files.to_string(),
        size(tree.bytes),
        when(tree.oldest),
        when(tree.newest),
        size(tree.bytes_per_day),
        size(tree.free_bytes),
        tree.full_in_days.map_or_else(|| "never".to_owned(), |days| count(days, "day")),
        tree.held.to_string(),
        match tree.cannot_open {
            Some(true) => "yes".to_owned(),
            Some(false) => "NO".to_owned(),
            None => String::new(),
        },
    ]
}

/// What is to be said beside the figures.
pub(in crate::cli) fn remarks(status: &RecordingsStatus) -> Vec<String> {
    let mut lines = Vec::new();
    lines.push(match (status.retention, status.voicemail) {
        (None, _) => "Kept until somebody removes them: recordings.retention is \"off\".".to_owned(),
        (Some(time), true) => format!("Kept for {}, voicemail too.", age(time)),
        (Some(time), false) => format!("Kept for {}; voicemail is left to the PBX.", age(time)),
    });
    lines.extend(status.last_pruning.as_ref().map(last));
    if let Some(next) = status.next_pruning {
        lines.push(format!("Old recordings are removed next: {}.", moment(next)));
    }
    for tree in &status.trees {
        if tree.cannot_open == Some(false) {
            lines.push(format!("{}: A RECORDING COULD BE OPENED; see `demarc doctor`.", tree.path.display()));
        }
        lines.extend(tree.troubles.iter().map(|trouble| format!("{}: {trouble}", tree.path.display())));
    }
    lines.extend(status.troubles.iter().cloned());
    lines
}

fn last(pruning: &Pruning) -> String {
    let by = match pruning.by {
        By::Retention => "by retention",
        By::Command => "by command",
    };
    let mut text = format!(
        "Removed last, {by}: {}, {}, older than {}, {}",
        count(pruning.files, "file"),
        size(pruning.bytes),
        age(pruning.older_than),
        moment(pruning.began)
    );
    if pruning.ended.is_none() {
        text.push_str("; it was cut short or still goes on");
    }
    if pruning.failed > 0 {
        let _ = write!(text, "; {} could not be removed", count(pruning.failed, "file"));
    }
    text + "."
}

/// A size as people say it.
pub(in crate::cli) fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["B", "kB", "MB", "GB", "TB", "PB"];
    let (mut unit, mut divisor) = (0, 1_u64);
    while bytes / divisor >= 1_000 && unit + 1 < UNITS.len() {
        (unit, divisor) = (unit + 1, divisor * 1_000);
    }
    let tenths = u128::from(bytes) * 10 / u128::from(divisor);
    if unit == 0 { format!("{bytes} B") } else { format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit]) }
}

/// How long, in days where it is whole days.
pub(super) fn age(seconds: u64) -> String {
    match (seconds / 86_400, seconds % 86_400) {
        (days, 0) => count(days, "day"),
        _ => count(seconds / 3600, "hour"),
    }
}

/// The day of a moment, in the machine's zone.
pub(super) fn day(seconds: u64) -> String {
    show(seconds, "%Y-%m-%d")
}

fn moment(seconds: u64) -> String {
    show(seconds, "%Y-%m-%d %H:%M %Z")
}

fn show(seconds: u64, format: &str) -> String {
    let moment = i64::try_from(seconds).ok().and_then(|seconds| Timestamp::from_second(seconds).ok());
    match moment {
        Some(moment) => moment.to_zoned(TimeZone::system()).strftime(format).to_string(),
        None => "at an impossible time".to_owned(),
    }
}

/// A name that does nothing to a terminal: who leaves recordings chooses their names.
pub(super) fn plain(name: &str) -> String {
    name.chars().map(|one| if one.is_control() { '\u{fffd}' } else { one }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_ages_are_spoken() {
        let shown = [0, 999, 1_000, 1_999, 2_500_000, 12_345_678_901, 999_999_999_999].map(size);
        assert_eq!(shown, ["0 B", "999 B", "1.0 kB", "1.9 kB", "2.5 MB", "12.3 GB", "999.9 GB"]);
        assert_eq!(size(u64::MAX), "18446.7 PB");
        assert_eq!([86_400, 90 * 86_400, 129_600].map(age), ["1 day", "90 days", "36 hours"]);
        assert_eq!(plain("a\x1b[2J\n.wav"), "a\u{fffd}[2J\u{fffd}.wav");
    }

    #[test]
    fn a_recording_that_opens_is_not_overlooked() {
        let tree = TreeStatus { path: "/m".into(), cannot_open: Some(false), ..TreeStatus::default() };
        let status = RecordingsStatus { trees: vec![tree], ..RecordingsStatus::default() };
        assert!(screen(&status).contains("A RECORDING COULD BE OPENED"));
    }
}
