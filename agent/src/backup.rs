//! Backups of the phone system's configuration: encrypted on the spot to a key that only the customer holds, and kept at the
//! hub as bytes that nobody there can read.
//!
//! The archivist, a role of its own, reads and encrypts; the link carries what it made, and can read nothing of it. The secret
//! key is never on this machine, unless its owner puts it there to restore.

pub mod age;
pub mod archive;
pub mod archivist;
pub mod places;
pub mod request;
pub mod restore;

use std::{
    fs,
    path::{Path, PathBuf},
};

use demarc_proto::backup::{BackupName, KeptBackup};
use serde::{Deserialize, Serialize};

use crate::{setup::access, state::StateDir};

pub use archive::Packed;

/// What the owner can have done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "order", rename_all = "snake_case")]
pub enum Order {
    /// Make a backup now, and have the hub keep it.
    Now,
    /// Ask the hub which backups of this site it keeps.
    List,
    /// Fetch one from the hub.
    Fetch {
        /// Which.
        name: BackupName,
    },
    /// How far is that job?
    Look {
        /// Its number.
        job: u64,
    },
}

/// How a job stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum JobState {
    /// It waits for others.
    Waiting,
    /// Files are read and encrypted.
    Packing {
        /// Files so far.
        files: u64,
        /// Their bytes.
        bytes: u64,
    },
    /// Bytes are on their way to the hub, or from it.
    Carrying {
        /// So many.
        bytes: u64,
    },
    /// It is done.
    Done(Box<Outcome>),
    /// It could not be done.
    Failed {
        /// Why, in words.
        reason: String,
    },
}

/// What came of a job.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// The backup that was made.
    pub packed: Option<Packed>,
    /// Whether the hub keeps it; if it does not, why, in words.
    pub at_hub: Option<Result<(), String>>,
    /// What the hub keeps.
    pub listed: Option<Vec<KeptBackup>>,
    /// Where what was fetched lies.
    pub fetched: Option<PathBuf>,
}

/// What the daemon answers about backups.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "told", rename_all = "snake_case")]
pub enum Told {
    /// It will be done, under that number.
    Job {
        /// The number.
        job: u64,
    },
    /// How a job stands.
    State(JobState),
}

/// How backups stand, for `demarc status`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupStatus {
    /// Whether they are on.
    pub enabled: bool,
    /// What they cover.
    pub paths: Vec<PathBuf>,
    /// The newest on this machine.
    pub last: Option<BackupName>,
    /// The newest that the hub keeps, as far as this machine knows.
    pub at_hub: Option<BackupName>,
    /// When the next is made: seconds since 1970 in UTC.
    pub next: Option<u64>,
    /// What is wrong, in words.
    pub troubles: Vec<String>,
}

/// What the link is to carry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Errand {
    /// Comes back with what came of it.
    pub number: u64,
    /// What to do.
    pub act: Act,
}

/// What can be asked of the hub about backups.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Act {
    /// Keep this one.
    Keep {
        /// Which.
        name: BackupName,
        /// Its length.
        bytes: u64,
        /// Its SHA-256, in hexadecimal.
        sha256: String,
    },
    /// Which are there?
    List,
    /// Give this one.
    Fetch {
        /// Which.
        name: BackupName,
    },
    /// Remove this one.
    Remove {
        /// Which.
        name: BackupName,
    },
}

impl Act {
    /// Whether it is a consequence of `backup.enabled`, and ends with that. What the owner asks for by hand sends nothing of
    /// the phone system's.
    pub fn needs_consent(&self) -> bool {
        matches!(self, Self::Keep { .. } | Self::Remove { .. })
    }
}

/// What the link says of an errand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    /// [`Errand::number`].
    pub number: u64,
    /// What.
    pub news: News,
}

/// News of an errand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum News {
    /// So many bytes are through.
    Progress(u64),
    /// It is done; of a list, what is on it.
    Done(Vec<KeptBackup>),
    /// It is not done, and why, in words.
    Failed(String),
}

/// What to do about a path of which something is closed to demarc's user, in words.
pub fn closed_words(path: &Path) -> String {
    let how = if access::is_there() {
        format!("as root: {}", access::line(path))
    } else {
        "give it a list that lets it (setfacl)".to_owned()
    };
    format!("{} is not in backups as a whole, since demarc's user may not read all of it; {how}", path.display())
}

/// The backups on this machine, the newest first.
pub fn local(state: &StateDir) -> Vec<(BackupName, u64)> {
    let entries = fs::read_dir(state.backups()).into_iter().flatten().flatten();
    let mut found: Vec<_> = entries
        .filter_map(|entry| {
            let name = BackupName::of_file(entry.file_name().to_str()?)?;
            let metadata = entry.metadata().ok().filter(fs::Metadata::is_file)?;
            Some((name, metadata.len()))
        })
        .collect();
    found.sort_by(|(one, _), (other, _)| other.cmp(one));
    found
}

/// The moment that a name means: seconds since 1970 in UTC.
pub fn moment(name: &BackupName) -> Option<u64> {
    let time = jiff::civil::DateTime::strptime("%Y%m%dT%H%M%SZ", name.as_str()).ok()?;
    u64::try_from(time.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_second()).ok()
}

/// The name of a backup that is made at that moment.
pub fn name_at(now: u64) -> BackupName {
    let moment = i64::try_from(now).ok().and_then(|second| jiff::Timestamp::from_second(second).ok());
    let text = moment.unwrap_or(jiff::Timestamp::MAX).strftime("%Y%m%dT%H%M%SZ").to_string();
    text.parse().expect("every moment up to the year 9999 has a name")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_its_moment() {
        let name = name_at(1_795_707_900);
        assert_eq!(name.as_str(), "20261126T154500Z");
        assert_eq!(moment(&name), Some(1_795_707_900));
        assert_eq!(moment(&"20261399T999999Z".parse().unwrap()), None);
        assert!(name_at(u64::MAX).as_str().starts_with("9999"));
    }
}
