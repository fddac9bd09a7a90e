//! Names of configuration backups, and what a backup must begin with to be kept at a hub.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// Where a site finds its own backups at the hub.
pub const BACKUPS_PATH: &str = "/backups";
/// What every backup begins with. A hub keeps nothing else, so that nothing unencrypted is kept even by mistake.
pub const BACKUP_HEAD: &[u8] = b"age-encryption.org/v1\n";
/// No backup is longer.
pub const MOST_BACKUP_BYTES: u64 = 256 << 20;
/// The ending of the file that holds one.
const ENDING: &str = ".age";

/// The name of a backup: the moment at which it was made, in UTC, such as `20261126T154500Z`. It can say nothing else.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BackupName(String);

/// This names no backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a backup is named by its time, such as 20261126T154500Z")]
pub struct NotABackup;

impl BackupName {
    /// The name of the file that holds it.
    pub fn file(&self) -> String {
        format!("{}{ENDING}", self.0)
    }

    /// The backup that a file of that name holds.
    pub fn of_file(name: &str) -> Option<Self> {
        name.strip_suffix(ENDING)?.parse().ok()
    }

    /// The name itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for BackupName {
    type Err = NotABackup;

    fn from_str(text: &str) -> Result<Self, NotABackup> {
        let bytes = text.as_bytes();
        let fits = |at: usize| match at {
            8 => bytes[at] == b'T',
            15 => bytes[at] == b'Z',
            _ => bytes[at].is_ascii_digit(),
        };
        if bytes.len() == 16 && (0..16).all(fits) { Ok(Self(text.to_owned())) } else { Err(NotABackup) }
    }
}

impl TryFrom<String> for BackupName {
    type Error = NotABackup;

    fn try_from(text: String) -> Result<Self, NotABackup> {
        text.parse()
    }
}

impl From<BackupName> for String {
    fn from(name: BackupName) -> Self {
        name.0
    }
}

impl fmt::Display for BackupName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A backup as a hub tells of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeptBackup {
    /// Its name.
    pub name: BackupName,
    /// Its length.
    pub bytes: u64,
    /// Its SHA-256, in hexadecimal, where the hub has just taken it in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_time_and_nothing_else() {
        let name: BackupName = "20261126T154500Z".parse().unwrap();
        assert_eq!(name.file(), "20261126T154500Z.age");
        assert_eq!(BackupName::of_file("20261126T154500Z.age"), Some(name));
        for wrong in
            ["", "20261126T154500Z.age", "../../etc/passwd", "20261126T15450/Z", "2026112611545000", "20261126t154500z"]
        {
            assert_eq!(wrong.parse::<BackupName>(), Err(NotABackup), "{wrong}");
        }
        assert_eq!(BackupName::of_file("20261126T154500Z"), None);
        assert!(serde_json::from_str::<BackupName>("\"../x\"").is_err());
    }
}
