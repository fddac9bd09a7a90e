//! What the supervisor and its roles say to each other, over a socket pair that each role inherits.
//!
//! The supervisor alone reads the config file. Each role is told only what it needs: the link never learns
//! where call records lie, the collector never learns where the hub is.

pub mod channel;

use std::{path::PathBuf, time::Duration};

use demarc_proto::{Receipt, ReportId, SiteId, message::RefusedReason};
use serde::{Deserialize, Serialize};

use crate::settings::{Pbx, Secret};
use crate::state::Site;

/// The descriptor at which a role finds its end of the socket pair.
pub const ROLE_FD: i32 = 3;

/// A role ends with this code when something opened that its confinement must keep shut: the supervisor does not
/// start it again.
pub const EXIT_NOT_CONFINED: u8 = 70;

/// A role ends with this code when it must read a file that came after its rules were made (a rotated log): the
/// supervisor starts it anew, with fresh rules.
pub const EXIT_FRESH_RULES: u8 = 75;

/// What the collector is told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ToCollector {
    /// The settings in force from now on; answered by [`FromCollector::Applied`].
    Settings(Box<CollectorSettings>),
    /// The link got a receipt and found it good: enter it in the ledger, clear the outbox.
    Receipt(Receipt),
    /// The hub refused a report for good: enter it in the ledger, clear the outbox.
    Refused {
        /// The report.
        report: ReportId,
        /// The hub's reason.
        reason: RefusedReason,
    },
    /// The link wants to send bytes that are no report: enter them in the ledger; answered by
    /// [`FromCollector::Recorded`].
    Record(Record),
    /// End in good order.
    Stop,
}

/// What the collector says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum FromCollector {
    /// Confined, self-test passed; what the confinement is.
    Ready(Confined),
    /// The settings of that generation are in force.
    Applied {
        /// [`CollectorSettings::generation`].
        generation: u64,
    },
    /// The outbox changed.
    OutboxChanged,
    /// The entry is durable.
    Recorded {
        /// [`Record::number`].
        number: u64,
    },
    /// What `demarc status` shows of the collector; sent whenever it changed, at most once a second.
    Status(Box<CollectorStatus>),
}

/// What the link is told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ToLink {
    /// The settings in force from now on; answered by [`FromLink::Applied`] when nothing that they forbid can
    /// leave any more.
    Settings(Box<LinkSettings>),
    /// Look into the outbox.
    OutboxChanged,
    /// The entry asked for with [`FromLink::Record`] is durable.
    Recorded {
        /// [`Record::number`].
        number: u64,
    },
    /// Close the connection and end.
    Stop,
}

/// What the link says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum FromLink {
    /// Confined, self-test passed; what the confinement is.
    Ready(Confined),
    /// The settings of that generation are in force.
    Applied {
        /// [`LinkSettings::generation`].
        generation: u64,
    },
    /// Wants to send these bytes; they must be in the ledger first.
    Record(Record),
    /// The hub stored a report; signature and hash were checked.
    Receipt(Receipt),
    /// The hub refused a report for good.
    Refused {
        /// The report.
        report: ReportId,
        /// The hub's reason.
        reason: RefusedReason,
    },
    /// What `demarc status` shows of the link; sent whenever it changed.
    Status(Box<LinkStatus>),
}

/// Bytes that are about to leave and are no report: the greeting, a certificate request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Chosen by the sender; comes back in the answer.
    pub number: u64,
    /// The message's name: `hello`, `renew`.
    pub kind: RecordKind,
    /// The exact payload of the frame.
    pub payload: String,
}

/// What kind of message leaves beside reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RecordKind {
    /// The greeting.
    Hello,
    /// A certificate request.
    Renew,
}

/// What the collector needs to know.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CollectorSettings {
    /// Grows with every change.
    pub generation: u64,
    /// The state directory.
    pub state_dir: PathBuf,
    /// The phone system.
    pub pbx: Pbx,
    /// How long a call must be without a new leg before it enters a report.
    pub quiet: Duration,
    /// Whether the owner lets reports leave: `stats.upload`, the environment and `DO_NOT_TRACK` taken together.
    pub upload: bool,
    /// Length of a report window in seconds.
    pub window_seconds: u32,
    /// k.
    pub floor: u32,
    /// How long after enrollment the first report waits.
    pub grace: Duration,
    /// The newest report schema that the owner has accepted.
    pub schema: u32,
    /// The site's name and the moment of its enrollment (seconds since 1970), once enrolled.
    pub enrolled: Option<(SiteId, u64)>,
}

/// What the link needs to know.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LinkSettings {
    /// Grows with every change.
    pub generation: u64,
    /// The state directory.
    pub state_dir: PathBuf,
    /// The enrollment.
    pub site: Site,
    /// Where to connect, `host:port`.
    pub hub: String,
    /// The HTTP proxy to go through.
    pub proxy: Option<Secret>,
    /// Whether the owner lets reports leave.
    pub upload: bool,
}

/// What confines a role, as `demarc status` and `demarc doctor` show it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confined {
    /// The Landlock version that a probe showed to work; absent where none does.
    pub landlock: Option<u32>,
    /// Whether a seccomp filter is on.
    pub seccomp: bool,
    /// What could not be enforced here, in words; empty when all is.
    pub gaps: Vec<String>,
    /// How many canaries and known recordings the role tried to open, and could not.
    pub refused: u32,
}

/// What `demarc status` shows of the collector.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CollectorStatus {
    /// One a source.
    pub sources: Vec<SourceStatus>,
    /// Calls in the store.
    pub calls: u64,
    /// Rows in quarantine, of those counted as malformed.
    pub quarantined: u64,
    /// Calls that wait in the open report window.
    pub waiting_calls: u64,
    /// Reports in the outbox.
    pub outbox: u64,
    /// When the open window closes: seconds since 1970 in UTC.
    pub window_closes: Option<u64>,
    /// What is wrong and what the owner can do, in words.
    pub troubles: Vec<String>,
}

/// What `demarc status` shows of a source.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SourceStatus {
    /// As in the config file.
    pub path: PathBuf,
    /// Rows read.
    pub rows: u64,
    /// Rows that could not be understood.
    pub malformed: u64,
    /// Rows that were read twice.
    pub duplicates: u64,
    /// When the newest row was read: seconds since 1970 in UTC.
    pub last_read: Option<u64>,
    /// What is wrong and what the owner can do, in words.
    pub trouble: Option<String>,
    /// Whether calls are grouped with certainty; else the setting that would mend it, in words.
    pub advice: Option<String>,
}

/// What `demarc status` shows of the link.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LinkStatus {
    /// Whether the hub has answered on the connection in use.
    pub connected: bool,
    /// Since when: seconds since 1970 in UTC.
    pub since: Option<u64>,
    /// Why not, and what the owner can do, in words.
    pub trouble: Option<String>,
    /// The hub's clock less ours, in seconds, as measured at the last greeting.
    pub clock_skew: Option<i64>,
    /// Reports that the hub gave a receipt for since the link started.
    pub delivered: u64,
    /// When the certificate ends: seconds since 1970 in UTC.
    pub certificate_ends: Option<u64>,
}
