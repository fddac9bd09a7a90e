//! What the link and the collector say to each other, kept until it has arrived: either may die at any moment.

use std::{collections::VecDeque, fs, path::Path};

use demarc_proto::ReportId;

use crate::{
    gate::entry::About,
    ipc::{Record, ToCollector},
};

/// Entries kept for the collector; a link asks for one at a time, and reports are sent one at a time.
const MOST: usize = 1_000;

/// Messages of the link that the collector has not confirmed.
#[derive(Debug, Default)]
pub(super) struct Relay {
    records: VecDeque<Asked>,
    verdicts: VecDeque<(ReportId, ToCollector)>,
    last_number: u64,
}

/// An entry that was asked for.
#[derive(Debug)]
struct Asked {
    asker: Asker,
    /// As the collector knows it.
    number: u64,
    message: ToCollector,
}

/// Who asked for an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asker {
    /// That link, under that number.
    Link {
        /// Which link process.
        incarnation: u64,
        /// The number that it chose.
        number: u64,
    },
    /// The supervisor itself, under the number that the collector confirms.
    Supervisor,
}

impl Relay {
    /// The link asks for a ledger entry; returns what to tell the collector. The entry gets a number of our own, since
    /// a link that was started anew counts from the beginning again.
    pub(super) fn record(&mut self, incarnation: u64, record: Record) -> ToCollector {
        let (asker, number) = (Asker::Link { incarnation, number: record.number }, self.next_number());
        self.keep(asker, number, ToCollector::Record(Record { number, ..record }))
    }

    /// The supervisor itself wants a ledger entry; returns its number, and what to tell the collector.
    pub(super) fn own_entry(&mut self, about: About, payload: String) -> (u64, ToCollector) {
        let number = self.next_number();
        (number, self.keep(Asker::Supervisor, number, ToCollector::Enter { number, about, payload }))
    }

    fn next_number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }

    fn keep(&mut self, asker: Asker, number: u64, message: ToCollector) -> ToCollector {
        self.records.push_back(Asked { asker, number, message: message.clone() });
        self.records.truncate(MOST);
        message
    }

    /// The collector has made the entry; returns who asked for it.
    pub(super) fn recorded(&mut self, number: u64) -> Option<Asker> {
        let at = self.records.iter().position(|asked| asked.number == number)?;
        self.records.remove(at).map(|asked| asked.asker)
    }

    /// The hub decided about a report; returns what to tell the collector.
    pub(super) fn verdict(&mut self, report: ReportId, verdict: ToCollector) -> ToCollector {
        self.verdicts.push_back((report, verdict.clone()));
        self.verdicts.truncate(MOST);
        verdict
    }

    /// The link is gone, and nobody waits for its entries any more.
    pub(super) fn link_ended(&mut self, incarnation: u64) {
        let of_this_link = |asker| matches!(asker, Asker::Link { incarnation: theirs, .. } if theirs == incarnation);
        self.records.retain(|asked| !of_this_link(asked.asker));
    }

    /// The outbox changed: verdicts about reports that left it have arrived.
    pub(super) fn outbox_changed(&mut self, outbox: &Path) {
        if self.verdicts.is_empty() {
            return;
        }
        // What cannot be listed now is told again later; the collector takes a verdict twice.
        let Ok(entries) = fs::read_dir(outbox) else { return };
        let names: Vec<_> = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        self.verdicts.retain(|(report, _)| names.iter().any(|name| name.contains(&report.to_string())));
    }

    /// What a collector that was started anew must be told again.
    pub(super) fn unconfirmed(&self) -> Vec<ToCollector> {
        let records = self.records.iter().map(|asked| asked.message.clone());
        records.chain(self.verdicts.iter().map(|(_, verdict)| verdict.clone())).collect()
    }
}

#[cfg(test)]
mod tests {
    use demarc_proto::message::RefusedReason;

    use super::*;
    use crate::ipc::RecordKind;

    fn hello(number: u64) -> Record {
        Record { number, kind: RecordKind::Hello, payload: "{}".to_owned() }
    }

    #[test]
    fn an_answer_for_a_dead_link_never_reaches_the_next() {
        let mut relay = Relay::default();
        relay.record(1, hello(1));
        relay.link_ended(1);
        assert_eq!(relay.recorded(1), None);
        let ToCollector::Record(asked) = relay.record(2, hello(1)) else { panic!("not a record") };
        assert_eq!(asked.number, 2);
        assert_eq!(relay.unconfirmed(), [ToCollector::Record(asked)]);
        assert_eq!(relay.recorded(2), Some(Asker::Link { incarnation: 2, number: 1 }));
        assert!(relay.unconfirmed().is_empty());
    }

    #[test]
    fn a_verdict_is_told_again_until_the_report_left_the_outbox() {
        let outbox = tempfile::tempdir().unwrap();
        let report = ReportId::from_bits([7; 16]);
        let file = outbox.path().join(format!("1-{report}.json"));
        fs::write(&file, "").unwrap();
        let mut relay = Relay::default();
        let verdict = relay.verdict(report, ToCollector::Refused { report, reason: RefusedReason::Floor });
        relay.outbox_changed(outbox.path());
        assert_eq!(relay.unconfirmed(), [verdict]);
        fs::remove_file(file).unwrap();
        relay.outbox_changed(outbox.path());
        assert!(relay.unconfirmed().is_empty());
    }
}
