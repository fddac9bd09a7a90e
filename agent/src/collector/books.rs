//! Which report window is open, and what becomes of it when it closes: decisions only, no clock and no disk.

use demarc_proto::{ReportId, Window, WindowLength};
use serde::{Deserialize, Serialize};

use crate::gate::consent::{Verdict, Withheld};

/// Calls ride along from window to window at most this long; then they stay home.
pub const CARRY_SECONDS: u64 = 28 * 86_400;
/// Reports of a source that is seen for the first time reach back no further than this.
pub const BACKLOG_SECONDS: u64 = 28 * 86_400;

/// What a change of which discards the open window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Terms {
    /// Whether the owner lets reports leave.
    pub upload: bool,
    /// Length of a window in seconds.
    pub window_seconds: u32,
    /// k.
    pub floor: u32,
}

/// The state of reporting, kept in the store beside the figures that it is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Books {
    /// The terms under which the open window was begun.
    pub terms: Terms,
    /// Calls of a backlog that ended before this moment are not to be reported; 0 where none is excluded.
    pub since: u64,
    /// Start of the earliest window that is not closed.
    pub open_from: u64,
    /// The name that the next report will have, so that a preview can show its very bytes.
    pub next_id: ReportId,
    /// Since when calls have been riding along without being sent.
    pub carried_since: Option<u64>,
    /// A report that was made and is on its way through the gate to the outbox.
    pub pending: Option<Pending>,
}

/// A report on its way through the gate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pending {
    /// What [`demarc_proto::Report::to_body`] wrote.
    pub body: String,
}

/// What becomes of the open window now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closing {
    /// Nothing before that moment.
    Wait {
        /// Seconds since 1970 in UTC.
        until: u64,
    },
    /// It is empty: go on with the window that starts there.
    Skip {
        /// Start of the next window to be open.
        to: u64,
    },
    /// Its calls ride along in that window.
    Carry {
        /// The window.
        to: Window,
    },
    /// Its calls stay home for good; go on with the window that starts there.
    Forget {
        /// Start of the next window to be open.
        to: u64,
    },
    /// Its calls are for the gate; go on with the window that starts there.
    Report {
        /// Start of the next window to be open.
        to: u64,
    },
    /// The clock went back so far that waiting for the open window makes no sense: begin anew at present.
    Restart {
        /// Start of the window that is open from now on.
        to: u64,
    },
}

/// What the decision depends on beside the books.
#[derive(Clone, Copy, Debug)]
pub struct Situation<'a> {
    /// Seconds since 1970 in UTC.
    pub now: u64,
    /// How long after a window's end calls may still become quiet.
    pub lag: u64,
    /// What consent says.
    pub verdict: &'a Verdict,
    /// How many calls the open window counts.
    pub calls: u64,
    /// Whether the outbox takes another report.
    pub outbox_has_room: bool,
}

impl Books {
    /// Begins to keep books.
    pub fn new(terms: Terms, now: u64, since: u64, next_id: ReportId) -> Self {
        let mut books = Self { terms, since, open_from: 0, next_id, carried_since: None, pending: None };
        books.open_from = books.length().window_at(now).start;
        books
    }

    /// The length of a window.
    pub fn length(&self) -> WindowLength {
        WindowLength::from_seconds(self.terms.window_seconds).unwrap_or(WindowLength::DAY)
    }

    /// The open window.
    pub fn open_window(&self) -> Window {
        Window { start: self.open_from, seconds: self.length().seconds() }
    }

    /// What becomes of the open window in that situation.
    pub fn decide(&self, situation: Situation<'_>) -> Closing {
        let Situation { now, lag, verdict, calls, outbox_has_room } = situation;
        let window = self.open_window();
        let far = u64::from(window.seconds).saturating_mul(2).max(86_400);
        if window.start > now.saturating_add(far) {
            return Closing::Restart { to: self.length().window_at(now).start };
        }
        let closes = window.end().saturating_add(lag);
        if now < closes {
            return Closing::Wait { until: closes };
        }
        // The window that is open at the moment whose late calls we no longer wait for.
        let next = self.length().window_at(now - lag);
        if calls == 0 {
            return Closing::Skip { to: next.start };
        }
        let too_old = self.carried_since.is_some_and(|since| now.saturating_sub(since) > CARRY_SECONDS);
        let carry = if too_old { Closing::Forget { to: next.start } } else { Closing::Carry { to: next } };
        match verdict {
            Verdict::Withheld(Withheld::Grace { .. }) => carry,
            Verdict::Withheld(_) => Closing::Forget { to: next.start },
            Verdict::Open { .. } if calls < u64::from(self.terms.floor) || !outbox_has_room => carry,
            Verdict::Open { .. } => Closing::Report { to: next.start },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPEN: fn() -> Verdict = || Verdict::Open { site: "site-one".parse().expect("a site") };

    fn books() -> Books {
        let terms = Terms { upload: true, window_seconds: 60, floor: 10 };
        Books::new(terms, 1_000_000_030, 0, ReportId::from_bits([7; 16]))
    }

    fn decide(books: &Books, now: u64, verdict: Verdict, calls: u64) -> Closing {
        books.decide(Situation { now, lag: 12, verdict: &verdict, calls, outbox_has_room: true })
    }

    #[test]
    fn a_window_closes_when_its_last_calls_had_time_to_become_quiet() {
        let books = books();
        let window = books.open_window();
        assert_eq!(window, Window { start: 1_000_000_020, seconds: 60 });
        assert_eq!(decide(&books, window.end() + 11, OPEN(), 50), Closing::Wait { until: window.end() + 12 });
        assert_eq!(decide(&books, window.end() + 12, OPEN(), 50), Closing::Report { to: window.end() });
        assert_eq!(decide(&books, window.end() + 12 + 600, OPEN(), 50), Closing::Report { to: window.end() + 600 });
        assert_eq!(decide(&books, window.end() + 12, OPEN(), 0), Closing::Skip { to: window.end() });
    }

    #[test]
    fn few_calls_ride_along_for_four_weeks() {
        let mut books = books();
        let now = books.open_window().end() + 12;
        let next = Window { start: books.open_window().end(), seconds: 60 };
        assert_eq!(decide(&books, now, OPEN(), 9), Closing::Carry { to: next });
        books.carried_since = Some(now - CARRY_SECONDS - 1);
        assert_eq!(decide(&books, now, OPEN(), 9), Closing::Forget { to: next.start });
        assert_eq!(decide(&books, now, OPEN(), 10), Closing::Report { to: next.start });
    }

    #[test]
    fn what_consent_withholds_is_not_kept_for_later() {
        let books = books();
        let now = books.open_window().end() + 12;
        let to = books.open_window().end();
        assert_eq!(decide(&books, now, Verdict::Withheld(Withheld::NotEnrolled), 50), Closing::Forget { to });
        assert_eq!(decide(&books, now, Verdict::Withheld(Withheld::Off), 50), Closing::Forget { to });
        let grace = Verdict::Withheld(Withheld::Grace { until: now + 5 });
        assert_eq!(decide(&books, now, grace, 50), Closing::Carry { to: Window { start: to, seconds: 60 } });
    }

    #[test]
    fn a_clock_that_went_back_waits_and_one_that_went_far_back_begins_anew() {
        let books = books();
        let start = books.open_from;
        assert_eq!(decide(&books, start - 3600, OPEN(), 50), Closing::Wait { until: start + 72 });
        let long_ago = start - 90_000;
        assert_eq!(decide(&books, long_ago, OPEN(), 50), Closing::Restart { to: long_ago - long_ago % 60 });
    }
}
