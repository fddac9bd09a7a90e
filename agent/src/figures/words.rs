//! Figures in words, the same on every page.

use super::Share;
use crate::chart::grouped;

/// The days of the week, from Monday on.
pub(crate) const WEEKDAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

/// A share in percent, with the number that it rests on.
pub(crate) fn percent(share: Share) -> String {
    match share.value() {
        Some(value) => format!("{:.1}\u{a0}% of {}", value * 100.0, grouped(share.n)),
        None => "none".to_owned(),
    }
}

/// An average of seconds, as minutes and seconds, with the number that it rests on.
pub(crate) fn average(share: Share) -> String {
    match share.value() {
        Some(value) => format!("{} ({})", minutes(value.round() as i64), grouped(share.n)),
        None => "none".to_owned(),
    }
}

/// Seconds as minutes and seconds, or hours, minutes and seconds.
pub(crate) fn minutes(seconds: i64) -> String {
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 { format!("{}:{minutes:02}:{seconds:02}", grouped(hours)) } else { format!("{minutes}:{seconds:02}") }
}

/// A length of time in its largest unit.
pub(crate) fn rough(seconds: u64) -> String {
    let (number, unit) = match seconds {
        0..60 => (seconds, "second"),
        60..3600 => (seconds / 60, "minute"),
        3600..172_800 => (seconds / 3600, "hour"),
        _ => (seconds / 86_400, "day"),
    };
    format!("{number} {unit}{}", if number == 1 { "" } else { "s" })
}

/// A number with its noun.
pub(crate) fn count(number: i64, noun: &str) -> String {
    format!("{} {noun}{}", grouped(number), if number == 1 { "" } else { "s" })
}

/// The change from one number to another.
pub(crate) fn change(before: i64, now: i64) -> String {
    if before <= 0 {
        return "-".to_owned();
    }
    let percent = (now - before) as f64 / before as f64 * 100.0;
    let sign = if percent < 0.0 { "\u{2212}" } else { "+" };
    format!("{sign}{:.0}\u{a0}%", percent.abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_read_as_people_say_them() {
        assert_eq!(percent(Share { part: 1, n: 3 }), "33.3\u{a0}% of 3");
        assert_eq!(percent(Share { part: 0, n: 0 }), "none");
        assert_eq!(average(Share { part: 185, n: 2 }), "1:33 (2)");
        assert_eq!(minutes(3_725), "1:02:05");
        assert_eq!((rough(1), rough(7_200), rough(400_000)), ("1 second".into(), "2 hours".into(), "4 days".into()));
        assert_eq!((count(1, "call"), count(0, "call")), ("1 call".into(), "0 calls".into()));
        assert_eq!(
            (change(10, 15), change(10, 9), change(0, 4)),
            ("+50\u{a0}%".into(), "\u{2212}10\u{a0}%".into(), "-".into())
        );
    }
}
