//! Call recordings, by their names, sizes and ages alone: how many there are, and which are kept no longer.
//!
//! The work is done by the keeper ([`keeper`]): a short-lived process that can list the trees of recordings and remove
//! files from them, and cannot open one. This module says what it is asked, and what it answers.

mod disk;
pub mod files;
pub mod holds;
pub mod keeper;
pub(crate) mod names;
mod round;
pub mod trees;
mod walk;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::settings::{Settings, recordings::SHORTEST};
use files::Pruning;
use holds::Holds;
use trees::Tree;

/// What is said where there is nothing to look after.
pub const NO_TREES: &str =
    "demarc knows of no recordings on this machine; name their directories in recordings.paths, and restart demarc";

/// What the keeper can be asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "work", rename_all = "snake_case", deny_unknown_fields)]
pub enum Work {
    /// Count what is there.
    Inventory,
    /// Count, and say what a pruning would remove.
    DryRun {
        /// Recordings that have not changed for so many seconds; absent: by the retention that is set.
        older_than: Option<u64>,
        /// How many of them are to be listed by name in [`crate::state::StateDir::recordings_list`].
        names: u64,
    },
    /// Count, and remove what is old.
    Prune {
        /// As above.
        older_than: Option<u64>,
    },
}

/// Why recordings were removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// The retention that is set, once a day.
    Retention,
    /// Somebody typed `demarc recordings prune`.
    Command,
}

/// One job, with everything that the keeper needs to know for it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// The state directory.
    pub state_dir: PathBuf,
    /// The trees.
    pub trees: Vec<Tree>,
    /// What is kept whatever its age.
    pub holds: Holds,
    /// Whether messages in mailboxes may be removed.
    pub voicemail: bool,
    /// How many seconds recordings are kept, if there is an end: for the forecast.
    pub retention: Option<u64>,
    /// What to do with old recordings; absent: nothing.
    pub old: Option<Old>,
}

/// What to do with recordings that have not changed for long.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Old {
    /// For so many seconds.
    pub older_than: u64,
    /// Whether to remove them.
    pub remove: bool,
    /// Why.
    pub by: By,
    /// How many to list by name.
    pub names: u64,
}

impl Job {
    /// The job that this work is, by these settings.
    ///
    /// # Errors
    /// When nothing says how old is old, or it is too young, in words.
    pub fn new(work: &Work, by: By, settings: &Settings, trees: Vec<Tree>) -> Result<Self, String> {
        let section = &settings.recordings;
        let retention = section.retention.keeps().map(|time| time.as_secs());
        let old = match work {
            Work::Inventory => None,
            Work::DryRun { older_than, names } => Some((*older_than, false, *names)),
            Work::Prune { older_than } => Some((*older_than, true, 0)),
        };
        let old = match old {
            None => None,
            Some((older_than, remove, names)) => {
                let older_than = older_than.or(retention).ok_or(
                    "recordings.retention is \"off\": set it in the config file, or say --older-than 90d".to_owned(),
                )?;
                if older_than < SHORTEST.as_secs() {
                    return Err("recordings younger than a day are never removed".to_owned());
                }
                Some(Old { older_than, remove, by, names })
            }
        };
        let holds = Holds::new(&section.holds);
        let state_dir = settings.state_dir.clone();
        Ok(Self { state_dir, trees, holds, voicemail: section.voicemail, retention, old })
    }
}

/// What the keeper is told: its job, and nothing after that.
pub type ToKeeper = Box<Job>;

/// What the keeper says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum FromKeeper {
    /// Confined, self-test passed; what the confinement is.
    Ready(crate::ipc::Confined),
    /// How far it is; sent a few times a second.
    Progress(Progress),
    /// The job is done.
    Done(Box<Outcome>),
    /// The job could not be done, in words.
    Failed(String),
}

/// How far a job is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Files that were looked at.
    pub looked_at: u64,
    /// What was removed so far.
    pub removed: Sum,
}

/// A number of files, and how long they are together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sum {
    /// Files.
    pub files: u64,
    /// Bytes.
    pub bytes: u64,
}

impl Sum {
    fn add(&mut self, bytes: u64) {
        self.files += 1;
        self.bytes = self.bytes.saturating_add(bytes);
    }
}

/// What came of a job.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// When the keeper looked: seconds since 1970 in UTC.
    pub looked: u64,
    /// What is there now.
    pub trees: Vec<TreeStatus>,
    /// How old is old, in seconds, if that was asked.
    pub older_than: Option<u64>,
    /// What is old, and may go.
    pub due: Sum,
    /// What is old, and is kept by a hold.
    pub kept_by_holds: Sum,
    /// What was removed.
    pub removed: Sum,
    /// Files that could not be removed.
    pub failed: u64,
    /// Files that somebody changed while they were looked at, and that stayed therefore.
    pub changed: u64,
    /// How many names stand in the list.
    pub listed: u64,
    /// The last pruning, this one or an earlier one.
    pub last_pruning: Option<Pruning>,
    /// What is wrong and what the owner can do, in words.
    pub troubles: Vec<String>,
}

/// A size as people say it.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["B", "kB", "MB", "GB", "TB", "PB"];
    let (mut unit, mut divisor) = (0, 1_u64);
    while bytes / divisor >= 1_000 && unit + 1 < UNITS.len() {
        (unit, divisor) = (unit + 1, divisor * 1_000);
    }
    let tenths = u128::from(bytes) * 10 / u128::from(divisor);
    if unit == 0 { format!("{bytes} B") } else { format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit]) }
}

/// What kind of recordings lie in a tree.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TreeKind {
    /// Recorded calls.
    #[default]
    Calls,
    /// Mailboxes.
    Voicemail,
}

/// What `demarc status` shows of one tree of recordings.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TreeStatus {
    /// Where it lies, as the owner knows it.
    pub path: PathBuf,
    /// What lies in it.
    pub kind: TreeKind,
    /// How many files.
    pub files: u64,
    /// How long they are together.
    pub bytes: u64,
    /// When the oldest was changed last: seconds since 1970 in UTC.
    pub oldest: Option<u64>,
    /// When the newest was changed last, likewise.
    pub newest: Option<u64>,
    /// Bytes that were added a day, in the last seven days or since the oldest file where that is less. What was removed
    /// meanwhile is not known, and does not count.
    pub bytes_per_day: u64,
    /// The same in the last thirty days.
    pub bytes_per_day_of_month: u64,
    /// Free bytes of its file system.
    pub free_bytes: u64,
    /// In how many days that file system is full, if it goes on like this and ever will be. It counts every tree there.
    pub full_in_days: Option<u64>,
    /// Files that are kept by a hold.
    pub held: u64,
    /// Whether the keeper tried to open a file of this tree, and could not, as it must be; absent where there is none.
    pub cannot_open: Option<bool>,
    /// What is wrong and what the owner can do, in words.
    pub troubles: Vec<String>,
}

/// What `demarc status` shows of recordings.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RecordingsStatus {
    /// When the keeper looked last: seconds since 1970 in UTC.
    pub looked: Option<u64>,
    /// What it saw.
    pub trees: Vec<TreeStatus>,
    /// How many seconds recordings are kept; absent: until somebody removes them.
    pub retention: Option<u64>,
    /// Whether that is so for messages in mailboxes, too.
    pub voicemail: bool,
    /// The last pruning.
    pub last_pruning: Option<Pruning>,
    /// When the next one by retention is due: seconds since 1970 in UTC.
    pub next_pruning: Option<u64>,
    /// The job that is being done.
    pub running: Option<u64>,
    /// What is wrong and what the owner can do, in words.
    pub troubles: Vec<String>,
}

/// How a job that was asked for stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum JobState {
    /// Another one is done first.
    Waiting,
    /// It is being done.
    Running(Progress),
    /// It is done.
    Done(Box<Outcome>),
    /// It could not be done.
    Failed {
        /// Why, in words.
        reason: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_removed_without_a_rule() {
        let mut settings = Settings::default();
        let job = |settings: &Settings, older_than| {
            Job::new(&Work::Prune { older_than }, By::Command, settings, Vec::new())
                .map(|job| job.old.unwrap().older_than)
        };
        assert!(job(&settings, None).unwrap_err().contains("--older-than"));
        assert!(job(&settings, Some(86_399)).is_err());
        assert_eq!(job(&settings, Some(86_400)), Ok(86_400));
        settings.recordings = toml::from_str("retention = \"90d\"").unwrap();
        assert_eq!(job(&settings, None), Ok(90 * 86_400));
        let inventory = Job::new(&Work::Inventory, By::Command, &settings, Vec::new()).unwrap();
        assert_eq!((inventory.old, inventory.retention), (None, Some(90 * 86_400)));
    }
}
