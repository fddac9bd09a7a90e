//! One entry of the ledger, and the line that it is on disk.
//!
//! A line is compact JSON with these keys in this order:
//!
//! ```json
//! {"seq":7,"time":"2026-11-22T09:00:00Z","kind":"report","about":{…},"prev":"…","bytes":"…","hash":"…"}
//! ```
//!
//! `hash` is the SHA-256, in hexadecimal, of everything on the line before `,"hash":`. `prev` is the `hash` of the
//! line before, and 64 zeros on the first line, so that each hash covers the whole history up to it. `bytes` is
//! what left, as a JSON string. Everybody can check this without us; for line 7:
//!
//! ```sh
//! sed -n 7p ledger.jsonl | head -c -76 | sha256sum      # is its "hash": 76 bytes are ,"hash":"<64 digits>"} and the line feed
//! sed -n 6p ledger.jsonl | jq -r .hash                  # is its "prev"
//! sed -n 7p ledger.jsonl | jq -j .bytes                 # what left, byte for byte
//! ```
//!
//! The chain shows that nothing was changed, taken out or put in between. Who may write the file could still
//! compute the whole chain anew; what he cannot make is the hub's signed receipt for a report.

use std::fmt;

use data_encoding::HEXLOWER;
use demarc_proto::{
    HealthReport, Receipt, Report, ReportId, SiteId, Window,
    backup::BackupName,
    message::RefusedReason,
    support::{GrantId, Scope},
};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{
    ipc::RecordKind,
    support::{End, SessionId},
};

/// No line of the ledger is longer. A report's body is a fifth of it; JSON escapes at most double that.
pub const MAX_LINE: usize = 1024 * 1024;

/// An entry that is about to be made. Each constructor names one thing that can be in the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    pub(super) about: About,
    pub(super) bytes: String,
}

impl Draft {
    /// A report that is about to leave; only the gate enters these.
    pub(super) fn report(report: &Report, body: &str) -> Self {
        Self { about: About::Report { report: report.id, window: report.window }, bytes: body.to_owned() }
    }

    /// A health report that is about to leave, with the exact payload of its frame; only the gate enters these.
    pub(super) fn health(report: &HealthReport, payload: &str) -> Self {
        Self { about: About::Health { at: report.at }, bytes: payload.to_owned() }
    }

    /// The hub's signed word that it stored a report.
    pub fn receipt(receipt: &Receipt) -> Self {
        let bytes = serde_json::to_string(receipt).expect("a receipt is made of texts and integers");
        Self { about: About::Receipt { report: receipt.report }, bytes }
    }

    /// The hub's word that it will never store a report.
    pub fn refused(report: ReportId, reason: RefusedReason) -> Self {
        Self { about: About::Refused { report, reason }, bytes: String::new() }
    }

    /// A cleared report that was taken back unsent.
    pub fn withdrawn(report: ReportId) -> Self {
        Self { about: About::Withdrawn { report }, bytes: String::new() }
    }

    /// A message that is about to leave and is no report; `payload` is the exact payload of its frame.
    pub fn message(kind: RecordKind, payload: &str) -> Self {
        let about = match kind {
            RecordKind::Hello => About::Hello {},
            RecordKind::Renew => About::Renew {},
            RecordKind::Fetch => About::Fetch {},
        };
        Self { about, bytes: payload.to_owned() }
    }

    /// Whether each of its kind is entered, even with the same bytes as the one before.
    pub(crate) fn is_told_each_time(&self) -> bool {
        self.about == About::Fetch {}
    }

    /// What happened, or is about to happen, about support; `payload` is the exact payload of the frame that leaves, if one
    /// does.
    pub fn support(about: About, payload: &str) -> Self {
        Self { about, bytes: payload.to_owned() }
    }

    /// An enrollment request that is about to leave; `payload` is what leaves, with the secret replaced by its SHA-256.
    pub fn enroll(site: SiteId, payload: &str) -> Self {
        Self { about: About::Enroll { site }, bytes: payload.to_owned() }
    }

    /// A switch that was turned.
    pub fn consent(switch: Switch, from: bool, to: bool, by: By) -> Self {
        Self { about: About::Consent { switch, from, to, by }, bytes: String::new() }
    }
}

/// What an entry is about: closed words and names of reports only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "about", rename_all = "snake_case")]
pub enum About {
    /// A report left, or was about to.
    Report {
        /// The report.
        report: ReportId,
        /// The window it is about.
        window: Window,
    },
    /// The hub stored a report.
    Receipt {
        /// The report.
        report: ReportId,
    },
    /// The hub refused a report for good.
    Refused {
        /// The report.
        report: ReportId,
        /// The hub's reason.
        reason: RefusedReason,
    },
    /// A cleared report was taken back before the hub had confirmed it.
    Withdrawn {
        /// The report.
        report: ReportId,
    },
    /// The greeting.
    Hello {},
    /// A certificate request.
    Renew {},
    /// An enrollment request.
    Enroll {
        /// The site's name in the token.
        site: SiteId,
    },
    /// A switch was turned.
    Consent {
        /// Which.
        switch: Switch,
        /// On before.
        from: bool,
        /// On now.
        to: bool,
        /// By what.
        by: By,
    },
    /// The owner granted support a session.
    Grant {
        /// The grant.
        grant: GrantId,
        /// What for.
        scope: Scope,
        /// Until when: seconds since 1970 in UTC.
        until: u64,
    },
    /// A grant is over.
    GrantEnded {
        /// The grant.
        grant: GrantId,
        /// Why.
        end: End,
    },
    /// A session began, or was about to.
    SessionBegan {
        /// The session.
        session: SessionId,
    },
    /// A session is over.
    Session {
        /// The session.
        session: SessionId,
        /// Why.
        end: End,
        /// The last hash of its recording.
        head: LineHash,
    },
    /// A report of the machine's health left, or was about to.
    Health {
        /// When it was measured: seconds since 1970 in UTC.
        at: u64,
    },
    /// A request of this machine's package manager for a file of the vendor's repository.
    Fetch {},
    /// Something about encrypted backups was asked of the hub, or was about to be.
    Backup {
        /// What.
        step: BackupStep,
        /// Of which backup.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<BackupName>,
    },
}

/// What is asked of the hub about backups.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BackupStep {
    /// To keep one.
    Keep,
    /// Which it keeps.
    List,
    /// To give one back.
    Fetch,
    /// To remove one.
    Remove,
}

impl About {
    /// What kind of entry it is.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Report { .. } => Kind::Report,
            Self::Receipt { .. } => Kind::Receipt,
            Self::Refused { .. } => Kind::Refused,
            Self::Withdrawn { .. } => Kind::Withdrawn,
            Self::Hello {} => Kind::Hello,
            Self::Renew {} => Kind::Renew,
            Self::Enroll { .. } => Kind::Enroll,
            Self::Consent { .. } => Kind::Consent,
            Self::Grant { .. } => Kind::Grant,
            Self::GrantEnded { .. } => Kind::GrantEnded,
            Self::SessionBegan { .. } => Kind::SessionBegan,
            Self::Session { .. } => Kind::Session,
            Self::Health { .. } => Kind::Health,
            Self::Fetch {} => Kind::Fetch,
            Self::Backup { .. } => Kind::Backup,
        }
    }

    /// The report that it is about, if it is about one.
    pub fn report(&self) -> Option<ReportId> {
        match *self {
            Self::Report { report, .. }
            | Self::Receipt { report }
            | Self::Refused { report, .. }
            | Self::Withdrawn { report } => Some(report),
            _ => None,
        }
    }
}

/// The kinds of entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A report left, or was about to.
    Report,
    /// The hub stored a report.
    Receipt,
    /// The hub refused a report for good.
    Refused,
    /// A cleared report was taken back.
    Withdrawn,
    /// The greeting.
    Hello,
    /// A certificate request.
    Renew,
    /// An enrollment request.
    Enroll,
    /// A switch was turned.
    Consent,
    /// The owner granted support a session.
    Grant,
    /// A grant is over.
    GrantEnded,
    /// A session began.
    SessionBegan,
    /// A session is over.
    Session,
    /// A report of the machine's health left, or was about to.
    Health,
    /// A request of this machine's package manager for a file of the vendor's repository.
    Fetch,
    /// Something about encrypted backups was asked of the hub.
    Backup,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 15] = [
        Self::Report,
        Self::Receipt,
        Self::Refused,
        Self::Withdrawn,
        Self::Hello,
        Self::Renew,
        Self::Enroll,
        Self::Consent,
        Self::Grant,
        Self::GrantEnded,
        Self::SessionBegan,
        Self::Session,
        Self::Health,
        Self::Fetch,
        Self::Backup,
    ];

    /// The word on the line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Report => "report",
            Self::Receipt => "receipt",
            Self::Refused => "refused",
            Self::Withdrawn => "withdrawn",
            Self::Hello => "hello",
            Self::Renew => "renew",
            Self::Enroll => "enroll",
            Self::Consent => "consent",
            Self::Grant => "grant",
            Self::GrantEnded => "grant_ended",
            Self::SessionBegan => "session_began",
            Self::Session => "session",
            Self::Health => "health",
            Self::Fetch => "fetch",
            Self::Backup => "backup",
        }
    }
}

impl From<RecordKind> for Kind {
    fn from(kind: RecordKind) -> Self {
        match kind {
            RecordKind::Hello => Self::Hello,
            RecordKind::Renew => Self::Renew,
            RecordKind::Fetch => Self::Fetch,
        }
    }
}

/// The switches whose turning is entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Switch {
    /// `stats.upload`, with everything that overrides it.
    Upload,
    /// `tunnel.enabled`.
    Tunnel,
    /// `health.upload`, with everything that overrides it.
    Health,
}

/// What turned a switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// A command of `demarc`.
    Command,
    /// The owner's pages.
    Page,
    /// The settings, in the file or in the environment.
    Settings,
}

/// SHA-256 of a line up to its hash.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct LineHash([u8; 32]);

impl LineHash {
    /// What stands before the first entry.
    pub const GENESIS: Self = Self([0; 32]);

    fn of(text: &[u8]) -> Self {
        Self(Sha256::digest(text).into())
    }
}

impl From<[u8; 32]> for LineHash {
    fn from(hash: [u8; 32]) -> Self {
        Self(hash)
    }
}

impl TryFrom<String> for LineHash {
    type Error = NotAnEntry;

    fn try_from(text: String) -> Result<Self, NotAnEntry> {
        let bytes = HEXLOWER.decode(text.as_bytes()).map_err(|_| NotAnEntry::Form)?;
        bytes.try_into().map(Self).map_err(|_| NotAnEntry::Form)
    }
}

impl From<LineHash> for String {
    fn from(hash: LineHash) -> Self {
        HEXLOWER.encode(&hash.0)
    }
}

impl fmt::Display for LineHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for LineHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// An entry of the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Counted from 1, without gaps.
    pub seq: u64,
    /// The clock at that moment, in RFC 3339. It informs; the order of the entries does not depend on it.
    pub time: String,
    /// What it is about.
    pub about: About,
    /// The hash of the entry before.
    pub prev: LineHash,
    /// What left, or came as proof.
    pub bytes: String,
    /// The hash of this entry.
    pub hash: LineHash,
}

/// Why a line is not an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAnEntry {
    /// Not written as entries are.
    #[error("it is not written as entries of the ledger are")]
    Form,
    /// Something on it was changed.
    #[error("its hash does not fit its text")]
    Hash,
}

#[derive(Serialize, Deserialize)]
struct Line<'a> {
    seq: u64,
    time: String,
    #[serde(flatten)]
    about: About,
    prev: LineHash,
    bytes: std::borrow::Cow<'a, str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hash: Option<LineHash>,
}

const BEFORE_HASH: &[u8] = b",\"hash\":\"";
const AFTER_HASH: &[u8] = b"\"}";
const HASH_TAIL: usize = BEFORE_HASH.len() + 64 + AFTER_HASH.len();

impl Entry {
    /// What kind of entry it is.
    pub fn kind(&self) -> Kind {
        self.about.kind()
    }

    /// The entry that a draft becomes, and its line without the line feed.
    pub(super) fn seal(draft: Draft, seq: u64, now: u64, prev: LineHash) -> (Self, String) {
        let line = Line { seq, time: utc(now), about: draft.about, prev, bytes: draft.bytes.into(), hash: None };
        let mut text = serde_json::to_string(&line).expect("entries are made of texts, integers and closed words");
        text.pop();
        let hash = LineHash::of(text.as_bytes());
        text.push_str(&format!(",\"hash\":\"{hash}\"}}"));
        let entry = Self { seq, time: line.time, about: line.about, prev, bytes: line.bytes.into_owned(), hash };
        (entry, text)
    }

    /// Reads a line (without its line feed) back, and checks its hash.
    ///
    /// # Errors
    /// When it is none, or was changed.
    pub fn from_line(line: &[u8]) -> Result<Self, NotAnEntry> {
        let split = line.len().checked_sub(HASH_TAIL).ok_or(NotAnEntry::Form)?;
        let (text, tail) = line.split_at(split);
        let digits =
            tail.strip_prefix(BEFORE_HASH).and_then(|rest| rest.strip_suffix(AFTER_HASH)).ok_or(NotAnEntry::Form)?;
        let mut stated = [0; 32];
        match HEXLOWER.decode_mut(digits, &mut stated) {
            Ok(32) => {}
            _ => return Err(NotAnEntry::Form),
        }
        let hash = LineHash::of(text);
        if hash != LineHash(stated) {
            return Err(NotAnEntry::Hash);
        }
        let line: Line<'_> = serde_json::from_slice(line).map_err(|_| NotAnEntry::Form)?;
        Ok(Self { seq: line.seq, time: line.time, about: line.about, prev: line.prev, bytes: line.bytes.into(), hash })
    }
}

/// A moment (seconds since 1970) as people and programs read it: RFC 3339 in UTC.
pub(crate) fn utc(moment: u64) -> String {
    // jiff reaches to the year 9999; a clock beyond that is shown as standing there.
    let moment = i64::try_from(moment).ok().and_then(|second| jiff::Timestamp::from_second(second).ok());
    moment.unwrap_or(jiff::Timestamp::MAX).strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn the_line_is_as_the_page_says() {
        let draft = Draft::consent(Switch::Upload, true, false, By::Command);
        let (entry, line) = Entry::seal(draft, 1, 1_795_338_000, LineHash::GENESIS);
        expect![[r#"{"seq":1,"time":"2026-11-22T09:00:00Z","kind":"consent","about":{"switch":"upload","from":true,"to":false,"by":"command"},"prev":"0000000000000000000000000000000000000000000000000000000000000000","bytes":"","hash":"c80b74a84a3258345d0fba03e1849a398d322789ca0cb146fb8f709aa2d65fd0"}"#]]
        .assert_eq(&line);
        assert_eq!(Entry::from_line(line.as_bytes()).unwrap(), entry);
    }

    #[test]
    fn every_kind_goes_both_ways_under_its_own_word() {
        let report = ReportId::from_bits([7; 16]);
        let grant = "0123456789abcdef".parse().unwrap();
        let session = SessionId { grant, number: 1 };
        let drafts = [
            Draft { about: About::Report { report, window: Window { start: 0, seconds: 60 } }, bytes: "{} ".into() },
            Draft { about: About::Receipt { report }, bytes: "\"é\n\u{1}".into() },
            Draft::refused(report, RefusedReason::Floor),
            Draft::withdrawn(report),
            Draft::message(RecordKind::Hello, "{}"),
            Draft::message(RecordKind::Renew, "{}"),
            Draft::enroll("site-one".parse().unwrap(), "{}"),
            Draft::consent(Switch::Tunnel, false, true, By::Settings),
            Draft::support(About::Grant { grant, scope: "forward=443".parse().unwrap(), until: 60 }, "{}"),
            Draft::support(About::GrantEnded { grant, end: End::Revoked }, "{}"),
            Draft::support(About::SessionBegan { session }, "{}"),
            Draft::support(About::Session { session, end: End::Closed, head: LineHash::GENESIS }, "{}"),
            Draft { about: About::Health { at: 60 }, bytes: "{}".into() },
            Draft::message(RecordKind::Fetch, "GET /updates/x HTTP/1.1\r\n\r\n"),
            Draft::support(About::Backup { step: BackupStep::List, name: None }, "{}"),
        ];
        for (draft, kind) in drafts.into_iter().zip(Kind::ALL) {
            let (entry, line) = Entry::seal(draft, 3, 0, LineHash::GENESIS);
            assert_eq!(entry.kind(), kind);
            assert!(line.contains(&format!("\"kind\":\"{}\",\"about\":{{", kind.as_str())), "{line}");
            assert_eq!(Entry::from_line(line.as_bytes()).unwrap(), entry);
        }
    }

    #[test]
    fn any_clock_has_a_text() {
        assert_eq!(utc(0), "1970-01-01T00:00:00Z");
        assert_eq!(utc(u64::MAX), "9999-12-30T22:00:00Z");
    }
}
