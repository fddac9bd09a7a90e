//! What the supervisor and its roles say to each other, over a socket pair that each role inherits.
//!
//! The supervisor alone reads the config file. Each role is told only what it needs: the link never learns
//! where call records lie, the collector never learns where the hub is.

pub mod channel;
pub mod descriptors;
pub mod web;

use std::{path::PathBuf, time::Duration};

use demarc_proto::{
    Receipt, ReportId, SiteId,
    message::RefusedReason,
    support::{Grant, GrantId},
};
use serde::{Deserialize, Serialize};

use crate::{
    backup::{Errand, Said},
    confine::Profile,
    gate::{ClearedHealth, entry::About},
    health::{Alert, HealthStatus},
    pbx::ami::facts::Registration,
    settings::{Pbx, Secret, health::Health},
    state::Site,
    store::Peak,
    support::{End, SessionId, SessionReport},
};

/// The descriptor at which a role finds its end of the socket pair.
pub const ROLE_FD: i32 = 3;

/// The descriptor at which the link gets one end of a session's socket pair, each with a datagram that holds the number
/// of [`ToLink::SessionOpen`] (eight bytes, big-endian); and at which a session's worker finds the other end.
pub const SESSION_FD: i32 = 4;

/// The descriptor at which the collector gets its connections to the servers of the PBX, each with a datagram that holds
/// the number of [`ToCollector::Connected`].
pub const CONNECTION_FD: i32 = 4;

/// The descriptor at which the role that serves the owner's pages finds its listening socket.
pub const WEB_FD: i32 = 4;

/// The descriptor to which a session's worker writes its recording.
pub const RECORDING_FD: i32 = 5;

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
    /// The supervisor's own: enter what happened, or is about to happen, about support; answered by
    /// [`FromCollector::Recorded`].
    Enter {
        /// Comes back in the answer.
        number: u64,
        /// What it is about.
        about: About,
        /// The exact payload of the frame that leaves, if one does; of a session, the receipt for the owner.
        payload: String,
    },
    /// The hub's clock less ours in seconds, as the link measured it.
    ClockOffset(i64),
    /// Whether there is a connection to a hub that takes health reports.
    HubTakesHealth(bool),
    /// The connection asked for with [`FromCollector::Connect`] is there: its descriptor has come over [`CONNECTION_FD`].
    Connected {
        /// As in [`FromCollector::Connect`].
        number: u64,
    },
    /// There is no such connection.
    NotConnected {
        /// As in [`FromCollector::Connect`].
        number: u64,
        /// Why, in words.
        reason: String,
    },
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
    /// An alert was raised, or is over.
    Alert(Alert),
    /// How the machine is, for the hub: it leaves at once or never.
    Health(ClearedHealth),
    /// The entry is durable.
    Recorded {
        /// [`Record::number`].
        number: u64,
    },
    /// Wants a connection to the server of a source, which must be in the settings and on this machine; answered by
    /// [`ToCollector::Connected`] or [`ToCollector::NotConnected`].
    Connect {
        /// Chosen by the collector.
        number: u64,
        /// The address, as the settings have it.
        address: String,
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
    /// How the machine is, for the hub.
    Health(ClearedHealth),
    /// The entry asked for with [`FromLink::Record`] is durable.
    Recorded {
        /// [`Record::number`].
        number: u64,
    },
    /// Tell the hub of a grant, or of its end; the ledger has it already. Told again, it is the same.
    Announce {
        /// The grant.
        grant: GrantId,
        /// The exact payload of the frame.
        payload: String,
        /// Whether it is over.
        over: bool,
    },
    /// A session may begin: its descriptor has come, with this number, over [`SESSION_FD`].
    SessionOpen {
        /// As in [`FromLink::SessionAsked`].
        number: u64,
    },
    /// This machine's package manager asks for something: its connection has come, with this number, over [`SESSION_FD`].
    Fetch {
        /// Chosen by the supervisor; never one of a session's.
        number: u64,
    },
    /// A session may not begin, or is over.
    SessionRefused {
        /// As in [`FromLink::SessionAsked`].
        number: u64,
        /// Why.
        reason: SessionRefusal,
    },
    /// Carry a backup, or ask about them; the ledger has it already. Answered by [`FromLink::Backup`].
    Backup(Errand),
    /// Close the connection and end.
    Stop,
}

/// Why a session may not begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SessionRefusal {
    /// The owner granted nothing of that name, or it is over.
    NoGrant,
    /// Too many sessions are open.
    TooMany,
    /// Something failed on this machine; the owner's log says what.
    Failed,
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
    /// The hub knows of a grant, or of its end.
    Announced {
        /// The grant.
        grant: GrantId,
    },
    /// The hub asks for a session. Nothing was read of it.
    SessionAsked {
        /// Chosen by the link.
        number: u64,
        /// The grant that the hub named.
        grant: GrantId,
    },
    /// News of an errand.
    Backup(Said),
    /// What `demarc status` shows of the link; sent whenever it changed.
    Status(Box<LinkStatus>),
}

/// What the worker of a session is told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ToSession {
    /// Everything that it needs; the first message, once it is confined.
    Begin(Box<SessionSettings>),
    /// End now, and say so in the recording.
    End {
        /// Why.
        end: End,
    },
}

/// What the worker of a session says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum FromSession {
    /// Confined, self-test passed; what the confinement is.
    Ready(Confined),
    /// An engineer was let in.
    LetIn {
        /// The key id in the certificate.
        engineer: String,
    },
    /// It is over, and the recording is complete.
    Ended(Box<SessionReport>),
}

/// What the worker of a session needs to know.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SessionSettings {
    /// The session.
    pub session: SessionId,
    /// What the owner granted.
    pub grant: Grant,
    /// When the grant ends on the boot clock, in milliseconds.
    pub ends: u64,
    /// The site's SSH host key, as an OpenSSH file has it.
    pub host_key: Secret,
    /// The certificate by which the engineer knows it, where there is one.
    pub host_certificate: Option<String>,
    /// Public keys of the authorities that may certify an engineer.
    pub authorities: Vec<String>,
    /// What confines the worker: it stands in the recording.
    pub confined: Confined,
    /// Which cgroup the session has, in words, if it has one: it stands in the recording, too.
    pub cgroup: Option<String>,
    /// What confines the shell, and each command, in the scope `shell`: see [`crate::confine::shell::prepare`].
    pub programs: Option<Profile>,
    /// The one directory where the session may write.
    pub scratch: PathBuf,
    /// The shell.
    pub shell: PathBuf,
    /// Asterisk's program.
    pub asterisk: PathBuf,
    /// Its config file, where it is not the one that the program finds.
    pub asterisk_conf: Option<PathBuf>,
    /// Log files that may be shown with numbers masked.
    pub logs: Vec<PathBuf>,
    /// Where the hub is, `host:port`: what `trace-route` looks for.
    pub hub: String,
}

/// Bytes that are about to leave and are no report: the greeting, a certificate request. A link can have nothing else
/// entered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Chosen by the sender; comes back in the answer.
    pub number: u64,
    /// What it is.
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
    /// The head of a request for a file of the vendor's package repository.
    Fetch,
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
    /// When the owner is told that something is wrong; and whether the vendor learns how the machine is: `health.upload`, the
    /// environment and `DO_NOT_TRACK` taken together.
    pub health: Health,
    /// Trees of recordings beside the known ones: how much room is left there.
    pub recordings: Vec<PathBuf>,
    /// Files with thousandths of a degree.
    pub sensors: Vec<PathBuf>,
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
    /// Whether the owner lets reports of the machine's health leave.
    pub health: bool,
    /// Whether the owner lets this machine's package manager reach the vendor's packages.
    pub updates: bool,
    /// Whether the owner lets encrypted backups leave.
    pub backup: bool,
}

#[cfg(test)]
impl LinkSettings {
    /// Those of a site that is enrolled nowhere, and lets nothing leave.
    pub(crate) fn of_a_test() -> Self {
        use demarc_proto::bytes64::Bytes64;
        let hub = "127.0.0.1:1".to_owned();
        let site = "site-one".parse().expect("a name of a site");
        let (ca, receipt_key) = (Bytes64(vec![1]), Bytes64(vec![2; 32]));
        Self {
            generation: 1,
            state_dir: "/nowhere".into(),
            site: Site { site, hub: hub.clone(), ca, receipt_key, enrolled: 1 },
            hub,
            proxy: None,
            upload: false,
            health: false,
            updates: false,
            backup: false,
        }
    }
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
    /// How the PBX is, where it can be asked: a source of the type `ami`.
    pub pbx: Option<PbxStatus>,
    /// How the machine is.
    pub health: Option<HealthStatus>,
    /// What is wrong and what the owner can do, in words.
    pub troubles: Vec<String>,
}

/// What `demarc status` shows of the PBX. It is for the owner's own screen: nothing of it enters a report.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PbxStatus {
    /// Whether it can be asked now; if not, the rest is what it said last.
    pub connected: bool,
    /// Its version.
    pub version: Option<String>,
    /// When it was started: seconds since 1970 in UTC.
    pub up_since: Option<u64>,
    /// When its configuration was loaded last, likewise.
    pub reloaded: Option<u64>,
    /// Calls that are up.
    pub active_calls: Option<u64>,
    /// The most calls at a time since midnight.
    pub peak_today: Option<Peak>,
    /// Its registrations with providers.
    pub registrations: Vec<Registration>,
    /// Call records that it told of and that were lost, since the store could not take them.
    pub lost: u64,
    /// Lines and messages that were dropped for their length.
    pub dropped: u64,
}

/// What `demarc status` shows of a source.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SourceStatus {
    /// Its kind, and where it lies: [`crate::settings::Source::name`].
    pub name: String,
    /// Whether it is a witness: the first source in the config file counts, and this one is heard where that missed a row.
    pub witness: bool,
    /// Rows read.
    pub rows: u64,
    /// Rows that could not be understood.
    pub malformed: u64,
    /// Rows that were read twice.
    pub duplicates: u64,
    /// Rows that another source had told of.
    pub confirmed: u64,
    /// Rows that count by this witness's word, since nobody else told of them.
    pub rescued: u64,
    /// Rows that ended before the source had a say.
    pub left: u64,
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
    /// Whether the hub on the connection in use takes health reports.
    pub takes_health: bool,
    /// When the health report was measured that the hub took last: seconds since 1970 in UTC.
    pub health_noted: Option<u64>,
}
