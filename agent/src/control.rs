//! The control socket: one line of JSON asks the running daemon, one line answers.
//!
//! Only the user that the daemon runs as, and root, may ask. The requests cannot read private data: they ask how things
//! are, make the daemon read its config file again, and let the vendor's support in or out.

pub mod client;
pub mod server;

use std::{
    fs::File,
    io,
    net::SocketAddr,
    os::fd::AsRawFd,
    path::{Path, PathBuf},
};

use demarc_proto::support::{Grant, GrantId, Label, Scope};
use serde::{Deserialize, Serialize};

use crate::{
    backup::{self, BackupStatus},
    ipc::{CollectorStatus, Confined, LinkStatus},
    recordings::{JobState, RecordingsStatus, Work},
    support::SessionId,
};

/// The longest line that the daemon takes.
pub const MAX_REQUEST: u64 = 4 << 10;
/// The longest path that fits into the address of a unix socket.
const LONGEST_ADDRESS: usize = 107;

/// What can be asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// How are things?
    Status,
    /// Read the config file and the enrollment now; answered once every role has what follows from it.
    Reload,
    /// Let support in.
    Allow {
        /// For so many seconds.
        seconds: u64,
        /// What for.
        scope: Scope,
        /// The vendor's ticket.
        ticket: Option<Label>,
        /// Who is expected.
        engineer: Option<Label>,
    },
    /// Which grants are live, and which sessions run?
    Support,
    /// Make a link that lets one browser in to the pages.
    WebLink,
    /// End this grant, and its sessions; without a name, every one. Answered once they are over.
    End {
        /// The grant.
        grant: Option<GrantId>,
    },
    /// How are recordings?
    Recordings,
    /// Have recordings counted, or old ones listed or removed; answered at once.
    Keep {
        /// What to do.
        work: Work,
    },
    /// Something about backups; what takes longer is answered with the number of a job.
    Backup {
        /// What.
        order: backup::Order,
    },
    /// How far is that job?
    Kept {
        /// The number from [`Answer::Keeping`].
        job: u64,
    },
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum Answer {
    /// To [`Request::Status`].
    Status(Box<Status>),
    /// To [`Request::Reload`].
    Reloaded(Reloaded),
    /// To [`Request::Allow`].
    Granted(Box<LiveGrant>),
    /// To [`Request::Support`].
    Support(Box<SupportStatus>),
    /// To [`Request::WebLink`].
    WebLink {
        /// The link.
        url: String,
        /// How long it lets in.
        seconds: u64,
    },
    /// To [`Request::End`].
    Ended {
        /// The grants that were ended.
        grants: Vec<GrantId>,
        /// The sessions that were ended with them.
        sessions: Vec<SessionId>,
    },
    /// To [`Request::Recordings`].
    Recordings(Box<RecordingsStatus>),
    /// To [`Request::Keep`]: it will be done.
    Keeping {
        /// Its number.
        job: u64,
    },
    /// To [`Request::Kept`].
    Kept(Box<JobState>),
    /// To [`Request::Backup`].
    Backup(backup::Told),
    /// The request was not understood, or cannot be answered now.
    Refused {
        /// Why.
        reason: String,
    },
}

/// What came of a reload.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reloaded {
    /// Why the file was not taken; the last good settings stay.
    pub error: Option<String>,
    /// Whether reports may leave from now on.
    pub upload: bool,
    /// What decided that.
    pub upload_decided_by: String,
    /// Whether reports of the machine's health may leave.
    pub health_upload: bool,
    /// What decided that.
    pub health_upload_decided_by: String,
    /// Why there is no link, if there is none.
    pub link_absent: Option<String>,
    /// What could not be applied yet, in words.
    pub notices: Vec<String>,
    /// What of that waits for a restart.
    #[serde(default)]
    pub waits: Vec<Wait>,
}

/// Something of the settings that needs what the running daemon does not hold: a confinement only gets narrower, so it waits
/// for a restart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wait {
    /// The section of the settings that it is in, such as `backup`.
    pub section: String,
    /// What waits, in words.
    pub words: String,
}

impl Wait {
    /// Something in that section waits.
    pub fn new(section: &str, words: impl Into<String>) -> Self {
        Self { section: section.to_owned(), words: words.into() }
    }
}

/// How support stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SupportStatus {
    /// Why support cannot be let in, if it cannot, in words.
    pub closed: Option<String>,
    /// The site's SSH host key, on one line.
    pub host_key: Option<String>,
    /// Why an engineer cannot know this site by its certificate, if so, in words.
    pub host_certificate: Option<String>,
    /// Which cgroup each session gets, in words, if it gets one.
    pub cgroup: Option<String>,
    /// Why sessions get none, in words.
    pub no_cgroup: Option<String>,
    /// The live grants.
    pub grants: Vec<LiveGrant>,
    /// The sessions that run.
    pub sessions: Vec<LiveSession>,
}

/// A grant that is live.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LiveGrant {
    /// What was granted.
    pub grant: Grant,
    /// How long it still lasts, in seconds.
    pub seconds_left: u64,
    /// How many sessions it has had.
    pub sessions: u32,
    /// Whether the hub has confirmed that it knows.
    pub announced: bool,
}

/// A session that runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LiveSession {
    /// Its name.
    pub session: SessionId,
    /// The key id in the engineer's certificate, once he is in.
    pub engineer: Option<String>,
    /// How long it has run, in seconds.
    pub seconds: u64,
    /// The process that speaks SSH.
    pub pid: Option<u32>,
    /// What confines it, once it is ready.
    pub confined: Option<Confined>,
}

/// The vendor's packages, offered to this machine's own package manager.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// Where, if anywhere.
    pub address: Option<SocketAddr>,
    /// Why there is nothing there now, in words.
    pub why_not: Option<String>,
}

/// How the daemon is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The program's version.
    pub version: String,
    /// When the daemon was started: seconds since 1970 in UTC.
    pub started: u64,
    /// The config file in use.
    pub config: PathBuf,
    /// Why the newest state of the config file is not in use.
    pub config_error: Option<String>,
    /// What is allowed and likely not meant, and what waits for a restart.
    pub notices: Vec<String>,
    /// What of that waits for a restart.
    #[serde(default)]
    pub waits: Vec<Wait>,
    /// Whether reports may leave.
    pub upload: bool,
    /// What decided that.
    pub upload_decided_by: String,
    /// Whether reports of the machine's health may leave.
    pub health_upload: bool,
    /// What decided that.
    pub health_upload_decided_by: String,
    /// Until when the first report waits after the enrollment: seconds since 1970 in UTC.
    pub grace_until: Option<u64>,
    /// The vendor's name for this site, once enrolled.
    pub site: Option<String>,
    /// Where the link connects.
    pub hub: Option<String>,
    /// Why the link is not running, if it is not meant to.
    pub link_absent: Option<String>,
    /// Recording trees found at start, of which one file each was tried.
    pub recordings: usize,
    /// The supervisor itself.
    pub supervisor: RoleStatus,
    /// The collector.
    pub collector: RoleStatus,
    /// The link.
    pub link: RoleStatus,
    /// What the collector says of itself.
    pub collected: Option<CollectorStatus>,
    /// What the link says of itself.
    pub linked: Option<LinkStatus>,
    /// Who of the vendor's support may come in, and who is in.
    pub support: SupportStatus,
    /// The owner's pages.
    #[serde(default)]
    pub web: WebStatus,
    /// How many recordings there are, and how long they are kept.
    pub kept: RecordingsStatus,
    /// The vendor's packages, for this machine's package manager.
    #[serde(default)]
    pub updates: Offer,
    /// How backups of the configuration stand.
    #[serde(default)]
    pub backup: BackupStatus,
}

/// How the owner's pages stand.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebStatus {
    /// Where browsers find them: an address, or `unix:` and a path.
    pub listen: Option<String>,
    /// Why there are none, in words.
    pub closed: Option<String>,
    /// How many browsers are logged in.
    pub browsers: usize,
    /// The process that serves them; it runs while somebody looks.
    pub role: RoleStatus,
}

/// How one process is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoleStatus {
    /// Its number in the system while it runs.
    pub pid: Option<u32>,
    /// What confines it, once it is ready.
    pub confined: Option<Confined>,
    /// How often it had to be started again.
    pub restarts: u64,
    /// How it ended the last time, in words.
    pub last_end: Option<String>,
}

/// A path by which the socket can be bound and connected to, however long its own is: the address of a unix socket
/// has no room for more than 107 bytes, so a longer one goes by way of an open directory.
struct Address {
    path: PathBuf,
    /// Keeps the directory open for as long as the path is used.
    _directory: Option<File>,
}

impl Address {
    fn of(socket: &Path) -> io::Result<Self> {
        if socket.as_os_str().len() <= LONGEST_ADDRESS {
            return Ok(Self { path: socket.to_owned(), _directory: None });
        }
        let (Some(directory), Some(name)) = (socket.parent(), socket.file_name()) else {
            return Err(io::Error::from(io::ErrorKind::InvalidFilename));
        };
        use std::os::unix::fs::OpenOptionsExt;
        let directory = File::options().read(true).custom_flags(libc::O_PATH | libc::O_DIRECTORY).open(directory)?;
        let path = PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd())).join(name);
        Ok(Self { path, _directory: Some(directory) })
    }
}
