//! Checks the whole ledger: the chain from its first entry to its last, and every receipt.

use std::{collections::HashMap, io, path::Path};

use demarc_proto::{Receipt, Report, ReportId};

use super::{
    entry::{About, Entry, LineHash, NotAnEntry},
    lines::snapshot,
};

/// What a whole ledger holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// Entries.
    pub entries: u64,
    /// Reports among them.
    pub reports: u64,
    /// Receipts for these, signed by the hub's key.
    pub receipts: u64,
    /// Receipts whose signature was not checked: the site is not enrolled, or was enrolled anew since.
    pub unchecked: u64,
    /// Bytes at the end that a power loss left of an entry; nothing of it left, and the next entry takes their place.
    pub torn: u64,
    /// The hash of the last entry: who keeps it elsewhere can show later that nothing before it was changed.
    pub head: Option<LineHash>,
}

/// Where the ledger breaks first.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the ledger breaks at entry {seq} (byte {offset}): {why}")]
pub struct Broken {
    /// The entry that should stand there, or does.
    pub seq: u64,
    /// Where its line begins.
    pub offset: u64,
    /// What is wrong.
    pub why: Fault,
}

/// What can be wrong with an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The line itself.
    #[error("{0}")]
    Line(#[from] NotAnEntry),
    /// A whole entry is not ended by a line feed.
    #[error("the byte after it was changed")]
    NotEnded,
    /// Entries are missing, or stand in another order.
    #[error("its number is not the next one")]
    Number,
    /// An entry before it was exchanged.
    #[error("it does not follow the entry before it")]
    Chain,
    /// Its bytes are no report, or another one.
    #[error("it is not the report that it says it is")]
    Report,
    /// A name was used for two reports.
    #[error("its report is in the ledger twice")]
    Twice,
    /// Its bytes are no receipt, or another one.
    #[error("it is not the receipt that it says it is")]
    Receipt,
    /// The hub confirmed something else.
    #[error("it confirms a report that is not in the ledger with these bytes")]
    NoSuchReport,
    /// Somebody else confirmed it.
    #[error("it was not signed by the hub's key")]
    Signature,
}

/// The ledger cannot be called whole.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// It cannot be read.
    #[error("cannot read the ledger: {0}")]
    Io(#[from] io::Error),
    /// It breaks.
    #[error(transparent)]
    Broken(#[from] Broken),
}

/// Checks the ledger at that path. Without the hub's receipt key (32 bytes) receipts are only compared with the reports.
///
/// Receipts from before an enrollment may be signed by another hub; those that today's key did not sign are then
/// counted as unchecked.
///
/// # Errors
/// The first place where it breaks, or that it cannot be read.
pub fn verify(path: &Path, receipt_key: Option<&[u8]>) -> Result<Verified, VerifyError> {
    let mut check = Check { key: receipt_key, ..Check::default() };
    let Some(mut lines) = snapshot(path)? else { return Ok(check.done) };
    while let Some(line) = lines.next_line()? {
        let (seq, offset) = (check.done.entries + 1, line.offset);
        let broken = |why: Fault| Broken { seq, offset, why };
        let result = match Entry::from_line(&line.bytes) {
            Ok(entry) => check.entry(&entry, offset).map_err(broken),
            Err(_) if super::ledger::is_torn(&line) && lines.at_end() => {
                check.done.torn = line.end() - line.offset;
                Ok(())
            }
            Err(_) if !line.ended => Err(broken(Fault::NotEnded)),
            Err(why) => Err(broken(why.into())),
        };
        if let Err(broken) = result {
            return Err(check.foreign.unwrap_or(broken).into());
        }
    }
    match check.foreign {
        Some(broken) => Err(broken.into()),
        None => Ok(check.done),
    }
}

/// What has to be remembered on the way: 48 bytes a report.
#[derive(Default)]
struct Check<'a> {
    key: Option<&'a [u8]>,
    done: Verified,
    /// The hash of the body of each report.
    reports: HashMap<ReportId, [u8; 32]>,
    /// The first receipt since the last enrollment that today's key did not sign, and how many there are.
    foreign: Option<Broken>,
    foreign_receipts: u64,
}

impl Check<'_> {
    fn entry(&mut self, entry: &Entry, offset: u64) -> Result<(), Fault> {
        if entry.seq != self.done.entries + 1 {
            return Err(Fault::Number);
        }
        if entry.prev != self.done.head.unwrap_or(LineHash::GENESIS) {
            return Err(Fault::Chain);
        }
        match entry.about {
            About::Report { report, window } => {
                let body = Report::from_body(&entry.bytes).map_err(|_| Fault::Report)?;
                if (body.id, body.window) != (report, window) {
                    return Err(Fault::Report);
                }
                if self.reports.insert(report, hash(&entry.bytes)).is_some() {
                    return Err(Fault::Twice);
                }
                self.done.reports += 1;
            }
            About::Receipt { report } => self.receipt(entry, report, offset)?,
            About::Enroll { .. } => {
                self.done.unchecked += self.foreign_receipts;
                (self.foreign, self.foreign_receipts) = (None, 0);
            }
            _ => {}
        }
        self.done.entries += 1;
        self.done.head = Some(entry.hash);
        Ok(())
    }

    fn receipt(&mut self, entry: &Entry, report: ReportId, offset: u64) -> Result<(), Fault> {
        let receipt: Receipt = serde_json::from_str(&entry.bytes).map_err(|_| Fault::Receipt)?;
        if receipt.report != report {
            return Err(Fault::Receipt);
        }
        let confirmed = self.reports.get(&report).map(|hash| data_encoding::HEXLOWER.encode(hash));
        if confirmed.as_ref() != Some(&receipt.sha256) {
            return Err(Fault::NoSuchReport);
        }
        match self.key.map(|key| receipt.verify(key)) {
            None => self.done.unchecked += 1,
            Some(Ok(())) => self.done.receipts += 1,
            Some(Err(_)) => {
                self.foreign_receipts += 1;
                self.foreign.get_or_insert(Broken { seq: entry.seq, offset, why: Fault::Signature });
            }
        }
        Ok(())
    }
}

fn hash(body: &str) -> [u8; 32] {
    use sha2::{Digest, Sha256};
    Sha256::digest(body.as_bytes()).into()
}
