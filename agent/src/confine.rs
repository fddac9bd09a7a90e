//! What each process may do, enforced by the kernel: an allowlist of files (Landlock), a filter of system calls
//! (seccomp), and no privileges to gain.
//!
//! Ten kinds of process are confined, each by the grants of [`layout`]:
//!
//! * the **collector** reads call records and writes the store and the outbox; it cannot make an internet socket;
//! * the **link** reads the outbox and its own keys and connects to one port; it cannot open a call record;
//! * the **supervisor** may do what its children may, because a Landlock domain can only get narrower, plus start
//!   its own program; it connects to the servers that the sources name on this machine, and passes their bytes on;
//! * the role **web** serves the owner's pages: it takes connections at one socket that it is given, reads figures and the
//!   ledger, and can change neither;
//! * the **keeper** of recordings lists their trees and removes files there; it cannot open one, and has no socket but
//!   the one to whoever started it;
//! * the **messenger** starts the owner's program when an alert is raised; it and the program can write nowhere, and open
//!   neither recordings, nor call records, nor anything of ours;
//! * the **archivist** reads the phone system's configuration, and writes it encrypted; it has no socket but the one to whoever
//!   started it;
//! * a **command** (`demarc report` and its like) reads and writes the state directory and the files it was given;
//! * the worker of a support **session** gets what the scope of its grant needs, and nothing of ours;
//! * the **shell** that a session starts gets less than its worker, which it can neither signal nor look into ([`shell`]).
//!
//! Nothing is ever denied by name: what is not granted is closed, wherever recordings may lie. What a domain was
//! granted is fixed when it is entered. A setting that needs more than the running supervisor holds therefore waits
//! for a restart, and `demarc status` says so.
//!
//! Where the state directory lies inside the directory of the config file, or inside that of the call records, the
//! supervisor must read that directory, since editors and log rotation replace files by rename and a rule for a file
//! does not follow its name. The supervisor alone is then wider; collector and link are not. It says so as a gap when
//! that directory holds anything else.

pub mod canary;
pub mod known;
pub mod layout;
mod privileges;
pub mod probe;
pub mod prove;
mod rules;
pub mod shell;
mod syscalls;

use std::{io, path::PathBuf};

use demarc_proto::support::Scope;
use serde::{Deserialize, Serialize};

use crate::ipc::Confined;

pub use privileges::name_process;

/// The kinds of process that are confined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// `demarc run`.
    Supervisor,
    /// Reads call records.
    Collector,
    /// Speaks to the hub.
    Link,
    /// Serves the owner's pages.
    Web,
    /// Speaks SSH with a support engineer.
    Session,
    /// What a support engineer has a session start.
    Shell,
    /// Counts recordings, and removes old ones.
    Keeper,
    /// Starts the owner's program when an alert is raised.
    Messenger,
    /// Makes one backup of the phone system's configuration.
    Archivist,
    /// A short-lived command.
    Command,
}

impl Subject {
    /// As messages name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Supervisor => "supervisor",
            Self::Collector => "collector",
            Self::Link => "link",
            Self::Web => "web",
            Self::Session => "session",
            Self::Shell => "shell",
            Self::Keeper => "keeper",
            Self::Messenger => "messenger",
            Self::Archivist => "archivist",
            Self::Command => "command",
        }
    }
}

/// What may be done at and below a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Access {
    /// List directories, and not open a file.
    List,
    /// List directories and remove files, and not open one.
    Prune,
    /// Open files for reading, and list directories.
    Read,
    /// Read, write, make, truncate and remove files; no directories, no sockets, no links.
    Own,
    /// Read, write, make and remove files, directories, pipes and symbolic links.
    Scratch,
    /// Read a program and start it.
    Execute,
    /// Read files, list directories, and start programs.
    Programs,
    /// Read and write what is there, such as `/dev/null`.
    Device,
    /// Use terminals, and make them.
    Terminal,
    /// Remove files.
    Remove,
    /// Connect to the unix sockets that lie there.
    Connect,
    /// Make cgroups, have processes move in, limit and end them, and remove them.
    Cgroups,
    /// Remove empty directories.
    RemoveDirectories,
}

impl Access {
    /// Whether a file there can be opened for reading.
    pub fn reads(self) -> bool {
        match self {
            Self::List | Self::Prune | Self::Remove | Self::Connect | Self::Cgroups | Self::RemoveDirectories => false,
            Self::Read | Self::Own | Self::Scratch | Self::Execute | Self::Programs | Self::Device | Self::Terminal => {
                true
            }
        }
    }
}

/// One entry of an allowlist.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// A directory, with everything below it, or a file.
    pub path: PathBuf,
    /// What may be done there.
    pub access: Access,
}

impl Grant {
    /// An entry.
    pub fn new(path: impl Into<PathBuf>, access: Access) -> Self {
        Self { path: path.into(), access }
    }
}

/// Everything that one process may do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    /// Whose it is.
    pub subject: Subject,
    /// What was granted to support, for a session and its shell.
    pub scope: Option<Scope>,
    /// The Landlock version to use: what [`probe::landlock`] showed to work; absent where none does.
    pub landlock: Option<u32>,
    /// Whether to go on without Landlock, and with a canary that opens: `confinement = "best-effort"`.
    pub best_effort: bool,
    /// The allowlist.
    pub grants: Vec<Grant>,
    /// The TCP ports that may be connected to. Absent: connections are not limited by port.
    pub ports: Option<Vec<u16>>,
    /// Files that must not open; each is tried once the process is confined.
    pub forbidden: Vec<PathBuf>,
    /// What cannot be enforced here, in words.
    pub gaps: Vec<String>,
}

/// The process is not confined as it must be.
#[derive(Debug, thiserror::Error)]
pub enum ConfineError {
    /// The kernel has no Landlock, or one that does not work.
    #[error(
        "this kernel cannot confine the {subject} (Landlock is missing or does not work), so that it could open call \
         recordings; demarc does not run like that unless confinement = \"best-effort\" is set in the config file"
    )]
    NoLandlock {
        /// Who is not confined.
        subject: &'static str,
    },
    /// The rules could not be put in force.
    #[error("the file rules of the {subject} could not be put in force")]
    Rules {
        /// Whose rules.
        subject: &'static str,
        /// Why.
        #[source]
        source: landlock::RulesetError,
    },
    /// The filter of system calls could not be put in force.
    #[error("the system call filter of the {subject} could not be put in force")]
    Filter {
        /// Whose filter.
        subject: &'static str,
        /// Why.
        #[source]
        source: seccompiler::Error,
    },
    /// A privilege could not be given up.
    #[error("the {subject} could not give up its privileges")]
    Privileges {
        /// Whose privileges.
        subject: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Something opened that must stay shut.
    #[error(
        "the {subject} is not confined: {} could be opened ({count} of {tried} such files); demarc does not run like \
         that, see `demarc doctor`", first.display()
    )]
    Open {
        /// Who could open it.
        subject: &'static str,
        /// The first file that opened.
        first: PathBuf,
        /// How many opened.
        count: usize,
        /// How many were tried.
        tried: usize,
    },
}

/// Confines this process for good, then tries to open what must stay shut.
///
/// Call it while the process has one thread: the file rules bind the calling thread and those it starts later.
///
/// # Errors
/// When the kernel cannot enforce the profile and the profile does not say `best_effort`, or when something opens that
/// must stay shut.
pub fn enter(profile: &Profile) -> Result<Confined, ConfineError> {
    let subject = profile.subject.name();
    let mut gaps = profile.gaps.clone();
    privileges::harden().map_err(|source| ConfineError::Privileges { subject, source })?;
    match profile.landlock {
        Some(version) => {
            rules::enforce(profile, version).map_err(|source| ConfineError::Rules { subject, source })?;
            if version < 4 && profile.subject == Subject::Link {
                gaps.push("This kernel cannot limit the link to the hub's port (Landlock 4, Linux 6.7).".to_owned());
            }
        }
        None if profile.best_effort => gaps.push(format!(
            "This kernel cannot confine files (Landlock is missing or does not work): the {subject} could open call \
             recordings."
        )),
        None => return Err(ConfineError::NoLandlock { subject }),
    }
    privileges::drop_capabilities(profile.subject).map_err(|source| ConfineError::Privileges { subject, source })?;
    let seccomp = match syscalls::enforce(profile) {
        Ok(()) => true,
        Err(source) if profile.best_effort => {
            gaps.push(format!("System calls of the {subject} are not filtered: {source}."));
            false
        }
        Err(source) => return Err(ConfineError::Filter { subject, source }),
    };
    let tried = canary::try_all(&profile.forbidden);
    if let Some(first) = tried.opened.first() {
        let (count, tried) = (tried.opened.len(), tried.opened.len() + tried.refused);
        if !profile.best_effort {
            return Err(ConfineError::Open { subject, first: first.clone(), count, tried });
        }
        gaps.push(format!("The {subject} could open {count} of {tried} files that must stay shut."));
    }
    let refused = u32::try_from(tried.refused).unwrap_or(u32::MAX);
    Ok(Confined { landlock: profile.landlock, seccomp, gaps, refused })
}
