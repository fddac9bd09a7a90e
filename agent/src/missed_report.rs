//! The list of callers who reached no person: for people, for spreadsheets, for scripts.

use std::{collections::BTreeSet, fmt::Write, time::Duration};

use comfy_table::Table;
use demarc_proto::Outcome;
use serde::Serialize;

use crate::{
    local_report::{ReportZone, STYLE, field, printable},
    number::{Normal, Shown},
    store::{MissedCall, Store, StoreError},
};

/// The list.
#[derive(Clone, Debug)]
pub struct MissedReport {
    /// The calls, the newest first.
    pub calls: Vec<MissedCall>,
    /// How many were missed in all, returned ones among them.
    pub in_all: usize,
    /// For how long they are kept; none where the daemon never ran.
    pub kept: Option<Duration>,
    /// How numbers are shown.
    pub shown: Shown,
    /// The zone of its times.
    pub zone: ReportZone,
}

/// Which calls the list has.
#[derive(Clone, Debug)]
pub struct MissedQuery {
    /// Calls that began then or later: seconds since 1970 in UTC.
    pub from: Option<i64>,
    /// Calls that began before.
    pub to: Option<i64>,
    /// Whether calls are listed, too, which somebody has returned.
    pub returned: bool,
    /// How numbers are shown.
    pub shown: Shown,
    /// The zone of the list's times.
    pub zone: ReportZone,
}

impl Store {
    /// The list of callers who reached no person.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn missed_report(&self, query: MissedQuery) -> Result<MissedReport, StoreError> {
        let mut calls = self.missed(query.from.unwrap_or(i64::MIN))?;
        calls.retain(|call| query.to.is_none_or(|to| call.began < to));
        let in_all = calls.len();
        calls.retain(|call| query.returned || call.returned.is_none());
        Ok(MissedReport { calls, in_all, kept: self.missed_kept()?, shown: query.shown, zone: query.zone })
    }
}

/// Why no person answered, in words.
pub fn why(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Answered => "answered",
        Outcome::Voicemail => "voicemail",
        Outcome::System => "only a menu or an announcement",
        Outcome::Abandoned => "left the queue",
        Outcome::NoAnswer => "nobody answered",
        Outcome::Busy => "busy",
        Outcome::Failed => "failed",
    }
}

impl MissedReport {
    /// The list of a store that is not there yet.
    pub fn empty(query: MissedQuery) -> Self {
        Self { calls: Vec::new(), in_all: 0, kept: None, shown: query.shown, zone: query.zone }
    }

    /// How many callers showed a number and wait for a call back, one for all calls of the same number; and how many calls
    /// showed none.
    pub fn waiting(&self) -> (usize, usize) {
        let open = || self.calls.iter().filter(|call| call.returned.is_none()).map(|call| Normal::of(&call.number));
        let mut callers: Vec<Normal> = Vec::new();
        let mut seen = BTreeSet::new();
        for normal in open().flatten() {
            // Forms of one number share a key, so that few are compared.
            let is_first = seen.insert(normal.key().to_owned());
            if is_first || !callers.iter().any(|other| other.is_same(&normal)) {
                callers.push(normal);
            }
        }
        (callers.len(), open().filter(Option::is_none).count())
    }

    /// The caller's number.
    pub fn number(&self, call: &MissedCall) -> Option<String> {
        self.shown.text(&call.number)
    }

    /// What the list says when it is empty.
    pub fn nothing(&self) -> String {
        match self.kept {
            Some(Duration::ZERO) => {
                "Callers who reach no person are not kept on this machine: pbx.keep_missed is \"0s\".".to_owned()
            }
            None => "The daemon has not run yet: it lists callers who reach no person from its start on.".to_owned(),
            Some(kept) if self.in_all == 0 => {
                format!("Nobody called in vain; calls are kept for {} days.", kept.as_secs().div_ceil(86_400))
            }
            Some(_) => format!("Nobody waits for a call back: all {} missed calls were returned.", self.in_all),
        }
    }

    /// For people.
    pub fn to_table(&self) -> String {
        if self.calls.is_empty() {
            return self.nothing() + "\n";
        }
        let mut table = Table::new();
        table.load_style(STYLE);
        table.set_header(["called at", "number", "dialled", "by", "held on", "why", "talked with since"]);
        for call in &self.calls {
            let name =
                call.queue.as_ref().map(|queue| queue.expose()).or(call.trunk.as_ref().map(|trunk| trunk.expose()));
            table.add_row([
                self.zone.wall_clock(call.began),
                self.number(call).unwrap_or_else(|| "withheld".to_owned()),
                printable(call.dialled.expose()),
                printable(name.unwrap_or("-")),
                format!("{} s", call.waited),
                why(call.outcome).to_owned(),
                call.returned.map_or_else(|| "-".to_owned(), |at| self.zone.wall_clock(at)),
            ]);
        }
        let (callers, withheld) = self.waiting();
        format!(
            "Calls from outside that no person answered; times are in {}.\n{table}\n{} missed in all; callers not called back: \
             {callers}, calls without a number: {withheld}.\n",
            printable(&self.zone.name),
            self.in_all,
        )
    }

    /// For spreadsheets.
    pub fn to_csv(&self) -> String {
        let mut out = String::from("began,number,dialled,trunk,queue,waited_seconds,outcome,returned\n");
        for call in &self.calls {
            let texts = [
                self.zone.timestamp(call.began),
                self.number(call).unwrap_or_default(),
                printable(call.dialled.expose()),
                call.trunk.as_ref().map_or_else(String::new, |trunk| printable(trunk.expose())),
                call.queue.as_ref().map_or_else(String::new, |queue| printable(queue.expose())),
            ];
            texts.iter().for_each(|text| _ = write!(out, "{},", field(text)));
            let returned = call.returned.map(|at| self.zone.timestamp(at)).unwrap_or_default();
            let _ = writeln!(out, "{},{},{returned}", call.waited, call.outcome.as_str());
        }
        out
    }

    /// For scripts: one line.
    pub fn to_json(&self) -> String {
        let calls = self.calls.iter().map(|call| Line {
            began: self.zone.timestamp(call.began),
            number: self.number(call),
            dialled: printable(call.dialled.expose()),
            trunk: call.trunk.as_ref().map(|trunk| trunk.expose().to_owned()),
            queue: call.queue.as_ref().map(|queue| queue.expose().to_owned()),
            waited_seconds: call.waited,
            outcome: call.outcome.as_str(),
            returned: call.returned.map(|at| self.zone.timestamp(at)),
        });
        let sheet = Sheet {
            kept_seconds: self.kept.map(|kept| kept.as_secs()),
            masked: self.shown == Shown::Masked,
            missed: self.in_all,
            calls: calls.collect(),
        };
        // Texts and numbers can always be written.
        serde_json::to_string(&sheet).unwrap_or_default()
    }
}

#[derive(Serialize)]
struct Sheet {
    kept_seconds: Option<u64>,
    masked: bool,
    missed: usize,
    calls: Vec<Line>,
}

#[derive(Serialize)]
struct Line {
    began: String,
    number: Option<String>,
    dialled: String,
    trunk: Option<String>,
    queue: Option<String>,
    waited_seconds: i64,
    outcome: &'static str,
    returned: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::private::{OutsideNumber, OwnNumber, Trunk};

    fn call(number: &str, returned: Option<i64>) -> MissedCall {
        MissedCall {
            number: OutsideNumber::new(number),
            dialled: OwnNumber::new("5551000"),
            began: 1_795_400_000,
            waited: 12,
            outcome: Outcome::Abandoned,
            trunk: Some(Trunk::new("=provider1")),
            queue: None,
            returned,
        }
    }

    fn report(calls: Vec<MissedCall>, shown: Shown) -> MissedReport {
        let in_all = calls.len();
        MissedReport { calls, in_all, kept: Some(Duration::from_secs(86_400)), shown, zone: ReportZone::utc() }
    }

    #[test]
    fn numbers_are_whole_only_where_that_was_asked_for() {
        let calls = vec![call("+4930123456", None), call("", Some(1_795_400_060))];
        let masked = report(calls.clone(), Shown::Masked);
        for text in [masked.to_table(), masked.to_csv(), masked.to_json()] {
            assert!(text.contains("+493012****") && !text.contains("3456"), "{text}");
        }
        let whole = report(calls, Shown::Whole);
        assert_eq!(
            whole.to_csv(),
            "began,number,dialled,trunk,queue,waited_seconds,outcome,returned\n\
             2026-11-23T02:13:20Z,'+4930123456,5551000,'=provider1,,12,abandoned,\n\
             2026-11-23T02:13:20Z,,5551000,'=provider1,,12,abandoned,2026-11-23T02:14:20Z\n"
        );
        assert!(whole.to_json().contains("\"number\":\"+4930123456\"") && whole.to_json().contains("\"number\":null"));
    }

    #[test]
    fn a_caller_who_tried_twice_is_one() {
        let numbers = ["+4930123456", "030123456", "040123456", "anonymous", "anonymous"];
        let calls = numbers.iter().map(|number| call(number, None)).collect();
        assert_eq!(report(calls, Shown::Masked).waiting(), (2, 2));
    }

    #[test]
    fn a_hostile_number_neither_steers_nor_counts_as_a_formula() {
        let calls = vec![call("=cmd|' /C calc'!A0", None), call("1\r\n2\u{1b}[31m", None)];
        let report = report(calls, Shown::Whole);
        let csv = report.to_csv();
        assert!(csv.contains(",'=cmd|") && csv.lines().count() == 3, "{csv}");
        assert!(!report.to_table().contains('\u{1b}') && !report.to_json().contains("\\u001b"));
    }
}
