//! Which sources of call records a machine has: found in the phone system's own settings, looked at, compared, recommended.
//!
//! Nothing is connected to and no record is read but the first and the last of a file: what is found is said, and the owner
//! decides.

mod advice;
mod asterisk;
mod conf;
mod freepbx;
mod freeswitch;
mod kind;
mod look;
#[cfg(test)]
mod tests;
mod trunks;

use std::path::{Path, PathBuf};

use serde::Serialize;

pub use self::{
    advice::{Recommendation, recommend},
    kind::{PbxKind, kind},
    trunks::{NamedTrunk, trunks},
};
use crate::settings::{Pbx, Secret, Source};

/// A machine as it is looked at: all paths count from `root`.
#[derive(Clone, Debug)]
pub struct Machine {
    root: PathBuf,
    /// Seconds since 1970 in UTC.
    now: u64,
}

/// A source that the machine has, or could have.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Finding {
    /// What the settings would call it; absent where no settings can be proposed yet.
    pub name: String,
    /// What it is good for.
    pub rank: Rank,
    /// How it is.
    pub state: State,
    /// When something was written to it last: seconds since 1970 in UTC.
    pub last_written: Option<u64>,
    /// What there is to know, in words.
    pub words: Vec<String>,
    /// The setting of the phone system that would make it better, in words.
    pub advice: Option<String>,
    /// Whether the settings have it already.
    pub configured: bool,
    /// What the settings would say.
    #[serde(skip)]
    pub source: Option<Source>,
}

/// How much a source knows; the first is the best.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rank {
    /// Every call with all its legs.
    Best,
    /// Every call, with something missing.
    Good,
    /// Calls as they end, and what goes on now; nothing of what was before.
    Live,
    /// Queues, not calls.
    Queues,
    /// The same rows as another file, or nothing of use.
    Useless,
}

/// How a source is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Written of late.
    Fresh,
    /// Not written for long, although others were.
    Stale,
    /// There, and nothing in it yet.
    Empty,
    /// Not there, although the phone system is set to write it.
    Missing,
    /// There, and not readable for this user.
    Unreadable,
    /// A server: it has to be asked, which needs a user of ours.
    Server,
    /// The phone system is not set to write it.
    Off,
}

impl Machine {
    /// Looks at a machine whose root directory that is.
    pub fn new(root: impl Into<PathBuf>, now: u64) -> Self {
        Self { root: root.into(), now }
    }

    /// Where a path of the machine lies for us.
    fn at(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = path.as_ref();
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }

    fn exists(&self, path: impl AsRef<Path>) -> bool {
        self.at(path).exists()
    }
}

/// The secret of demarc's own user of the manager interface, where the owner has made one and it can be read.
pub fn manager_secret(machine: &Machine) -> Option<Secret> {
    asterisk::manager_secret(machine).map(Secret::new)
}

/// Everything that is found, the best first.
pub fn survey(machine: &Machine, pbx: &Pbx) -> Vec<Finding> {
    let mut found = asterisk::find(machine);
    found.extend(freepbx::find(machine));
    found.extend(freeswitch::find(machine));
    let newest = found.iter().filter_map(|finding| finding.last_written).max();
    for finding in &mut found {
        look::mark_stale(finding, newest, machine.now);
        finding.configured = finding
            .source
            .as_ref()
            .is_some_and(|source| pbx.source.iter().any(|configured| configured.name() == source.name()));
    }
    advice::mark_doubles(&mut found);
    found.sort_by_key(|finding| finding.rank);
    found
}
