//! The only way out: consent, then the privacy floor, then the ledger; what passed is [`Cleared`], and the outbox
//! takes nothing else.

pub mod cleared;
pub mod consent;
pub mod entry;
pub mod floor;
pub mod ledger;
pub mod lines;
pub mod verify;
mod words;

#[cfg(test)]
mod ledger_trials;
#[cfg(test)]
mod model;

use demarc_proto::{
    HealthReport, Report, ReportFault, ReportId,
    health::{HEALTH_SCHEMA, HealthFault, MAX_HEALTH},
    report::MAX_BODY,
};

pub use cleared::{Cleared, ClearedHealth};
pub use consent::{Consent, Verdict, Withheld};
pub use ledger::{Ledger, LedgerError};

/// No report with a lower floor passes, whatever the settings say: a group of one is a person.
pub const LEAST_FLOOR: u32 = 2;

/// Why a report may not leave, named by what the caller does next.
#[derive(Debug, thiserror::Error)]
pub enum GateError {
    /// Keep the calls at home; whether they may leave later, the reason says.
    #[error("the report stays here: {0}")]
    Withhold(Withheld),
    /// Throw the report away: the same figures will never pass.
    #[error("the report breaks the privacy rules and is discarded: {0}")]
    Discard(#[from] ReportFault),
    /// Throw the health report away, likewise.
    #[error("the health report breaks its rules and is discarded: {0}")]
    DiscardHealth(#[from] HealthFault),
    /// Build the report again under a new name: this one stands in the ledger with other bytes.
    #[error("report {0} is in the ledger already, with other bytes; it needs a new name")]
    Rename(ReportId),
    /// Try again later with the same report: nothing was entered, nothing may leave.
    #[error("nothing can leave while the ledger cannot be written: {0}")]
    TryLater(#[from] LedgerError),
}

/// Lets a report pass if the owner's consent and the privacy rules allow it, and enters its exact bytes in the
/// ledger before it returns.
///
/// A report that stands in the ledger with the same bytes passes again without a second entry, so that a caller
/// that died between this step and the next can simply repeat both.
///
/// # Errors
/// See [`GateError`]; in every case nothing may leave, and the ledger is as it was.
pub fn clear(consent: &Consent, now: u64, report: Report, ledger: &mut Ledger) -> Result<Cleared, GateError> {
    if let Verdict::Withheld(reason) = consent.verdict(now) {
        return Err(GateError::Withhold(reason));
    }
    report.check(LEAST_FLOOR)?;
    let body = report.to_body();
    if body.len() > MAX_BODY {
        return Err(GateError::Discard(ReportFault::TooLong));
    }
    match ledger.enter_report(now, &report, &body)? {
        ledger::Entered::Now | ledger::Entered::Before => Ok(Cleared::seal(&report, body)),
        ledger::Entered::OtherBytes => Err(GateError::Rename(report.id)),
    }
}

/// Lets a report of the machine's health pass if the owner's consent allows it and it keeps the rules, and enters its exact
/// bytes in the ledger before it returns.
///
/// # Errors
/// See [`GateError`]; in every case nothing may leave, and the ledger is as it was.
pub fn clear_health(
    consent: &Consent,
    now: u64,
    report: &HealthReport,
    ledger: &mut Ledger,
) -> Result<ClearedHealth, GateError> {
    if let Verdict::Withheld(reason) = consent.verdict_on(HEALTH_SCHEMA, now) {
        return Err(GateError::Withhold(reason));
    }
    report.check()?;
    let payload = String::from_utf8(report.to_payload()).map_err(|_| HealthFault::NotCanonical)?;
    if payload.len() > MAX_HEALTH {
        return Err(HealthFault::TooLong.into());
    }
    ledger.append(now, entry::Draft::health(report, &payload))?;
    Ok(ClearedHealth::seal(payload))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use demarc_proto::{
        Cell, Window,
        report::{Destination, Quality},
    };

    use super::*;
    use crate::{
        gate::entry::Kind,
        state::StateDir,
        tally::{Tally, TallyKey},
    };

    fn open_consent() -> Consent {
        let site = "site-one".parse().unwrap();
        Consent { upload: true, enrolled: Some((site, 100)), grace: Duration::ZERO, accepted_schema: 1 }
    }

    fn report(id: u8, calls: u32) -> Report {
        let key = TallyKey {
            hour: 0,
            cell: Cell::from_index(0).unwrap(),
            talk: 1,
            wait: 1,
            destination: Destination::NotOutbound,
            quality: Quality::Unknown,
        };
        let window = Window { start: 86_400, seconds: 86_400 };
        let tally = Tally { window, calls: [(key, calls)].into(), peak_concurrency: 1 };
        crate::report::build(&tally, ReportId::from_bits([id; 16]), 10).unwrap()
    }

    fn kinds(ledger: &Ledger) -> Vec<Kind> {
        ledger.entries().unwrap().map(|placed| placed.unwrap().entry.kind()).collect()
    }

    #[test]
    fn what_passes_is_in_the_ledger_byte_for_byte() {
        let dir = tempfile::tempdir().unwrap();
        let mut ledger = Ledger::open(&StateDir::new(dir.path())).unwrap();
        let report = report(1, 12);
        let cleared = clear(&open_consent(), 200, report.clone(), &mut ledger).unwrap();
        assert_eq!(cleared.body(), report.to_body());
        let entry = ledger.last(Kind::Report).unwrap().unwrap();
        assert_eq!(entry.bytes, report.to_body());
    }

    #[test]
    fn a_retry_makes_no_second_entry_even_by_another_process_after_a_crash() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::new(dir.path());
        let mut first = Ledger::open(&state).unwrap();
        let mut second = Ledger::open(&state).unwrap();
        clear(&open_consent(), 200, report(1, 12), &mut first).unwrap();
        clear(&open_consent(), 300, report(1, 12), &mut first).unwrap();
        clear(&open_consent(), 300, report(1, 12), &mut second).unwrap();
        clear(&open_consent(), 300, report(1, 12), &mut Ledger::open(&state).unwrap()).unwrap();
        assert_eq!(kinds(&first), [Kind::Report]);
        let other = clear(&open_consent(), 300, report(1, 13), &mut second);
        assert!(matches!(other, Err(GateError::Rename(id)) if id == ReportId::from_bits([1; 16])));
        assert_eq!(kinds(&first), [Kind::Report]);
    }

    #[test]
    fn a_health_report_passes_by_its_own_consent_and_stands_in_the_ledger() {
        let dir = tempfile::tempdir().unwrap();
        let mut ledger = Ledger::open(&StateDir::new(dir.path())).unwrap();
        let mut report = crate::health::report::build(&crate::health::Sample { at: 9, ..Default::default() }, &[]);
        let off = Consent { upload: false, ..open_consent() };
        let early = Consent { accepted_schema: 0, ..open_consent() };
        for closed in [off, early, Consent { enrolled: None, ..open_consent() }] {
            let withheld = clear_health(&closed, 200, &report, &mut ledger);
            assert!(matches!(withheld, Err(GateError::Withhold(_))), "{withheld:?}");
        }
        let cleared = clear_health(&open_consent(), 200, &report, &mut ledger).unwrap();
        let entry = ledger.last(Kind::Health).unwrap().unwrap();
        assert_eq!(entry.bytes, cleared.payload());
        assert_eq!(HealthReport::from_payload(cleared.payload().as_bytes()), Ok(report.clone()));
        report.registered = 1;
        assert!(matches!(clear_health(&open_consent(), 200, &report, &mut ledger), Err(GateError::DiscardHealth(_))));
        assert_eq!(kinds(&ledger), [Kind::Health]);
    }

    #[test]
    fn nothing_is_entered_that_may_not_leave() {
        let dir = tempfile::tempdir().unwrap();
        let mut ledger = Ledger::open(&StateDir::new(dir.path())).unwrap();
        let off = Consent { upload: false, ..open_consent() };
        assert!(matches!(clear(&off, 200, report(1, 12), &mut ledger), Err(GateError::Withhold(Withheld::Off))));
        let mut low = report(1, 12);
        low.floor = 1;
        assert!(matches!(clear(&open_consent(), 200, low, &mut ledger), Err(GateError::Discard(_))));
        let mut small = report(1, 12);
        small.volume[0].calls = 9;
        assert!(matches!(clear(&open_consent(), 200, small, &mut ledger), Err(GateError::Discard(_))));
        assert_eq!(kinds(&ledger), []);
    }
}
