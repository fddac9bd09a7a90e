//! Report windows in motion: settles calls, closes windows, and takes reports through the gate to the outbox.
//!
//! Every step can be cut short by a crash and is repeated at the next start without effect: closing a window and making its
//! report is one transaction in the store; the gate knows a report that it has cleared; the outbox knows a file it has.

use std::{collections::BTreeMap, time::Duration};

use aws_lc_rs::rand;
use demarc_proto::{HealthReport, Receipt, Report, ReportId, WindowLength, message::RefusedReason};

use crate::{
    collector::books::{BACKLOG_SECONDS, Books, Closing, Pending, Situation, Terms},
    gate::{
        self, ClearedHealth, Consent, GateError, Ledger, LedgerError,
        entry::{About, By, Draft, Kind, Switch},
    },
    ipc::CollectorSettings,
    outbox::Outbox,
    report,
    store::{Reporting as Settling, Store},
};

/// The key of the store's small table under which [`Books`] are kept.
const BOOKS: &str = "reporting";
/// Beside the quiet time: how long after a window's end its last calls may still be on their way to us.
const LAG: u64 = 2;

/// Report windows in motion.
pub struct Reporting {
    ledger: Ledger,
    outbox: Outbox,
    books: Books,
    consent: Consent,
    health_consent: Consent,
    /// How the switches stand in the ledger, once that was looked up.
    entered: BTreeMap<Switch, bool>,
    quiet: Duration,
    outbox_changed: bool,
}

impl Reporting {
    /// Goes on with the books in the store, or begins them, under the settings in force.
    ///
    /// `fresh_store` says that an earlier store was lost: what it had reported already must not be reported again.
    ///
    /// # Errors
    /// When store, ledger or outbox cannot be read or written.
    pub fn open(
        store: &mut Store,
        ledger: Ledger,
        outbox: Outbox,
        settings: &CollectorSettings,
        fresh_store: bool,
        now: u64,
    ) -> anyhow::Result<Self> {
        let consent = Consent::from(settings);
        let terms = terms_of(settings, &consent);
        let books = match load(store)? {
            Some(books) => books,
            None => Books::new(terms, now, if fresh_store { now } else { 0 }, random_id()?),
        };
        let health_consent = Consent::of_health(settings);
        let (quiet, entered) = (settings.quiet, BTreeMap::new());
        let mut reporting =
            Self { ledger, outbox, books, consent, health_consent, entered, quiet, outbox_changed: true };
        reporting.save(store)?;
        reporting.adopt(store, settings, now)?;
        Ok(reporting)
    }

    /// Takes over changed settings. When this returns, nothing that they forbid can reach the outbox any more, and what
    /// waited there against them is withdrawn.
    ///
    /// # Errors
    /// When the change cannot be made durable. The caller must not say that it is in force.
    pub fn adopt(&mut self, store: &mut Store, settings: &CollectorSettings, now: u64) -> anyhow::Result<()> {
        self.consent = Consent::from(settings);
        self.health_consent = Consent::of_health(settings);
        self.quiet = settings.quiet;
        let terms = terms_of(settings, &self.consent);
        if !terms.upload {
            self.withdraw(now)?;
        }
        self.note_switch(Switch::Upload, terms.upload, !terms.upload, now)?;
        self.note_switch(Switch::Health, self.health_consent.upload, false, now)?;
        if terms != self.books.terms {
            store.discard_reporting()?;
            // A report that is still pending has not left, and belongs to what is discarded here.
            self.books = Books::new(terms, now, now, random_id()?);
            self.save(store)?;
        }
        Ok(())
    }

    /// Enters the switch in the ledger where it stands otherwise there; `untold` is how it counts if it does not stand there.
    fn note_switch(&mut self, switch: Switch, on: bool, untold: bool, now: u64) -> Result<(), LedgerError> {
        let before = match self.entered.get(&switch) {
            Some(before) => *before,
            None => self.entered_last(switch)?.unwrap_or(untold),
        };
        if before != on {
            self.ledger.append(now, Draft::consent(switch, before, on, By::Settings))?;
        }
        self.entered.insert(switch, on);
        Ok(())
    }

    /// How the switch stands in the ledger.
    fn entered_last(&mut self, switch: Switch) -> Result<Option<bool>, LedgerError> {
        let turned = |about| match about {
            About::Consent { switch: turned, to, .. } if turned == switch => Some(to),
            _ => None,
        };
        match self.ledger.last(Kind::Consent)?.map(|entry| turned(entry.about)) {
            // Another switch was turned last: this one stands further up.
            Some(None) => Ok(self.ledger.entries()?.flatten().filter_map(|placed| turned(placed.entry.about)).last()),
            last => Ok(last.flatten()),
        }
    }

    /// Takes back what waits in the outbox, and says so in the ledger.
    fn withdraw(&mut self, now: u64) -> anyhow::Result<()> {
        self.outbox.purge()?;
        self.outbox_changed = true;
        // Asked of the ledger, not of the outbox: a crash between the two lines must not hide a withdrawal.
        for report in self.ledger.unsettled() {
            self.ledger.settle(now, Draft::withdrawn(report))?;
        }
        Ok(())
    }

    /// What the store needs to know to settle calls; `None` where no call is to be reported.
    fn settling(&self) -> Option<Settling> {
        self.books.terms.upload.then(|| Settling { length: self.books.length(), open_from: self.books.open_from })
    }

    /// Calls of a backlog that ended before this moment are not to be reported: nobody waited for more than the last four
    /// weeks of what lay there before the daemon came.
    pub fn reportable_from(&self, now: u64) -> u64 {
        self.books.since.max(now.saturating_sub(BACKLOG_SECONDS))
    }

    /// Does what is due, and says until when nothing will be.
    ///
    /// # Errors
    /// When store, ledger or outbox fail; what was not done is done at the next call.
    pub fn tick(&mut self, store: &mut Store, now: u64) -> anyhow::Result<u64> {
        store.settle(now, self.quiet, self.settling())?;
        if !self.books.terms.upload {
            return Ok(u64::MAX);
        }
        self.send_pending(store, now)?;
        loop {
            let window = self.books.open_window();
            let tally = store.tally(window)?;
            let verdict = self.consent.verdict(now);
            let closing = self.books.decide(Situation {
                now,
                lag: self.quiet.as_secs() + LAG,
                verdict: &verdict,
                calls: tally.as_ref().map_or(0, |tally| tally.total()),
                outbox_has_room: self.outbox.has_room()?,
            });
            let mut books = self.books.clone();
            match (closing, tally) {
                (Closing::Wait { until }, _) => return Ok(until),
                (Closing::Skip { to }, _) => {
                    books.open_from = to;
                    books.carried_since = None;
                    store.close_window(window, None, BOOKS, &encode(&books)?)?;
                }
                (Closing::Forget { to }, _) => {
                    books.open_from = to;
                    books.carried_since = None;
                    store.close_window(window, None, BOOKS, &encode(&books)?)?;
                }
                (Closing::Carry { to }, _) => {
                    books.open_from = to.start;
                    books.carried_since.get_or_insert(now);
                    store.close_window(window, Some(to), BOOKS, &encode(&books)?)?;
                }
                (Closing::Restart { to }, _) => {
                    books.open_from = to;
                    let to = books.open_window();
                    store.close_window(window, Some(to), BOOKS, &encode(&books)?)?;
                }
                (Closing::Report { to }, tally) => {
                    let report = tally.and_then(|tally| report::build(&tally, books.next_id, books.terms.floor));
                    books.pending = report.map(|report| Pending { body: report.to_body() });
                    books.open_from = to;
                    books.carried_since = None;
                    books.next_id = random_id()?;
                    store.close_window(window, None, BOOKS, &encode(&books)?)?;
                }
            }
            self.books = books;
            self.send_pending(store, now)?;
        }
    }

    /// Takes a report that was made through the gate and into the outbox.
    fn send_pending(&mut self, store: &mut Store, now: u64) -> anyhow::Result<()> {
        let Some(pending) = &self.books.pending else { return Ok(()) };
        let report = Report::from_body(&pending.body)?;
        match gate::clear(&self.consent, now, report, &mut self.ledger) {
            Ok(cleared) => {
                self.outbox.put(&cleared)?;
                self.outbox_changed = true;
            }
            Err(error @ GateError::TryLater(_)) => return Err(error.into()),
            // The figures stay at home; the local report has them.
            Err(error) => tracing::warn!("a report was not sent: {error}"),
        }
        self.books.pending = None;
        self.save(store)
    }

    /// Takes a report of the machine's health through the gate.
    ///
    /// # Errors
    /// See [`gate::clear_health`].
    pub fn clear_health(&mut self, report: &HealthReport, now: u64) -> Result<ClearedHealth, GateError> {
        gate::clear_health(&self.health_consent, now, report, &mut self.ledger)
    }

    /// The hub stored a report: enters the receipt in the ledger and clears the outbox.
    ///
    /// # Errors
    /// When the ledger or the outbox cannot be written; the hub repeats the receipt when the report is sent again.
    pub fn receipt(&mut self, receipt: &Receipt, now: u64) -> anyhow::Result<()> {
        self.ledger.settle(now, Draft::receipt(receipt))?;
        self.outbox_changed |= self.outbox.remove(receipt.report)?;
        Ok(())
    }

    /// The hub refused a report for good: says so in the ledger and clears the outbox.
    ///
    /// # Errors
    /// When the ledger or the outbox cannot be written.
    pub fn refused(&mut self, report: ReportId, reason: RefusedReason, now: u64) -> anyhow::Result<()> {
        self.ledger.settle(now, Draft::refused(report, reason))?;
        self.outbox_changed |= self.outbox.remove(report)?;
        Ok(())
    }

    /// Enters what is about to happen, and is no report, in the ledger.
    ///
    /// # Errors
    /// When the ledger cannot be written; it must not happen then.
    pub fn enter(&mut self, draft: Draft, now: u64) -> Result<(), LedgerError> {
        if draft.is_told_each_time() {
            return self.ledger.append(now, draft).map(drop);
        }
        self.ledger.append_if_new(now, draft)
    }

    /// How many calls wait in the open window, how many reports in the outbox, and when the window ends.
    ///
    /// # Errors
    /// When store or outbox cannot be read.
    pub fn waiting(&self, store: &Store) -> anyhow::Result<(u64, u64, Option<u64>)> {
        let window = self.books.open_window();
        let calls = store.tally(window)?.map_or(0, |tally| tally.total());
        let closes = self.books.terms.upload.then(|| window.end() + self.quiet.as_secs() + LAG);
        Ok((calls, self.outbox.list()?.len() as u64, closes))
    }

    /// Whether the outbox changed since this was last asked.
    pub fn take_outbox_changed(&mut self) -> bool {
        std::mem::take(&mut self.outbox_changed)
    }

    fn save(&self, store: &mut Store) -> anyhow::Result<()> {
        Ok(store.set(BOOKS, &encode(&self.books)?)?)
    }
}

/// The books in the store, if any were begun.
///
/// # Errors
/// When the store cannot be read, or the books cannot be understood.
pub fn load(store: &Store) -> anyhow::Result<Option<Books>> {
    Ok(store.setting(BOOKS)?.map(|text| serde_json::from_str(&text)).transpose()?)
}

fn encode(books: &Books) -> anyhow::Result<String> {
    Ok(serde_json::to_string(books)?)
}

/// A schema that the owner has not accepted counts like an upload that is off.
fn terms_of(settings: &CollectorSettings, consent: &Consent) -> Terms {
    let length = WindowLength::from_seconds(settings.window_seconds).unwrap_or(WindowLength::DAY);
    let upload = consent.upload && consent.accepted_schema >= demarc_proto::SCHEMA;
    Terms { upload, window_seconds: length.seconds(), floor: settings.floor }
}

fn random_id() -> anyhow::Result<ReportId> {
    let mut bits = [0; 16];
    rand::fill(&mut bits).map_err(|_| anyhow::anyhow!("the system's random numbers are not to be had"))?;
    Ok(ReportId::from_bits(bits))
}
