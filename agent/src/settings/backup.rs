//! The section `[backup]`: the phone system's configuration, encrypted to a key that only the owner holds, kept at the hub.

use std::{path::PathBuf, time::Duration};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use super::{parse_duration, recordings::SYSTEM};
use crate::backup::age::Recipient;

/// What a backup covers where the owner names nothing: of these, what is there.
pub const USUAL: &[&str] = &[
    "/etc/asterisk",
    "/etc/freeswitch",
    "/etc/fusionpbx",
    "/etc/freepbx.conf",
    "/etc/amportal.conf",
    "/etc/issabel.conf",
    "/var/lib/asterisk/astdb.sqlite3",
];
/// Backups are made at most and at least so often.
const SHORTEST: Duration = Duration::from_secs(3600);
const LONGEST: Duration = Duration::from_secs(366 * 86_400);
/// So many are kept at most.
const MOST_KEPT: u16 = 1_000;

/// Backups of the phone system's configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Backup {
    /// Whether they are made, and kept at the hub.
    #[serde(default)]
    pub enabled: bool,
    /// For which key they are encrypted: `age1…`. `demarc backup key` makes one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recipient: Option<String>,
    /// Files and directories; the usual ones where this is empty.
    #[serde(default)]
    pub paths: Vec<PathBuf>,
    /// How often one is made.
    #[serde(default)]
    pub every: Every,
    /// How many are kept, on this machine and at the hub.
    #[serde(default = "default_keep")]
    pub keep: u16,
}

/// How often a backup is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Every {
    /// Only by command.
    Off,
    /// So long after the one before.
    After(Duration),
}

impl Default for Every {
    fn default() -> Self {
        Self::After(Duration::from_secs(86_400))
    }
}

impl Every {
    /// How long after the one before, if at all.
    pub fn seconds(self) -> Option<u64> {
        match self {
            Self::Off => None,
            Self::After(time) => Some(time.as_secs()),
        }
    }
}

impl<'de> Deserialize<'de> for Every {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text == "off" {
            return Ok(Self::Off);
        }
        let time = parse_duration(&text).filter(|time| (SHORTEST..=LONGEST).contains(time));
        time.map(Self::After).ok_or_else(|| D::Error::custom("this is neither \"off\" nor a time of an hour or more"))
    }
}

impl Serialize for Every {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Off => serializer.serialize_str("off"),
            Self::After(time) => serializer.collect_str(&format_args!("{}s", time.as_secs())),
        }
    }
}

impl Default for Backup {
    fn default() -> Self {
        Self { enabled: false, recipient: None, paths: Vec::new(), every: Every::default(), keep: default_keep() }
    }
}

impl Backup {
    /// Whether backups are made and leave: nothing does without a key.
    pub fn is_on(&self) -> bool {
        self.enabled && self.recipient.is_some()
    }

    /// The first value that makes no sense: its key, and what is wrong.
    pub(super) fn fault(&self) -> Option<(&'static str, &'static str)> {
        if let Some(text) = &self.recipient
            && Recipient::parse(text).is_none()
        {
            return Some(("backup.recipient", "this is no public key of age (age1…); `demarc backup key` makes one"));
        }
        if self.enabled && self.recipient.is_none() {
            return Some((
                "backup.enabled",
                "there is no backup.recipient to encrypt to; `demarc backup key` makes one",
            ));
        }
        let is_whole_system = |path: &PathBuf| {
            let path: PathBuf = path.components().collect();
            path.as_os_str().is_empty() || SYSTEM.iter().any(|system| path == std::path::Path::new(system))
        };
        if self.paths.iter().any(is_whole_system) {
            return Some(("backup.paths", "a directory of the whole system is no configuration; name what lies in it"));
        }
        (!(1..=MOST_KEPT).contains(&self.keep)).then_some(("backup.keep", "allowed is 1 to 1000"))
    }
}

fn default_keep() -> u16 {
    7
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(text: &str) -> Option<&'static str> {
        toml::from_str::<Backup>(text).unwrap().fault().map(|(key, _)| key)
    }

    #[test]
    fn off_until_there_is_a_key_and_a_yes() {
        let recipient = "recipient = \"age1a4zc3y8v0meff03tl84p4t7329m0juz60h6ya6rlu46qqxtkwf8qzp2f55\"\n";
        let on = |text: &str| toml::from_str::<Backup>(text).unwrap().is_on();
        assert!(!on("") && !on(recipient) && on(&format!("{recipient}enabled = true")));
        assert_eq!(fault("enabled = true"), Some("backup.enabled"));
        assert_eq!(fault(&format!("{recipient}enabled = true")), None);
        assert_eq!(fault(&recipient.replace("zp2f55", "zp2f56")), Some("backup.recipient"));
        assert_eq!(fault("paths = [\"/etc/\"]"), Some("backup.paths"));
        assert_eq!(fault("keep = 0"), Some("backup.keep"));
    }

    #[test]
    fn times_are_off_or_an_hour_or_more() {
        let every = |text: &str| toml::from_str::<Backup>(text).map(|section| section.every.seconds());
        assert_eq!(every("").unwrap(), Some(86_400));
        assert_eq!(every("every = \"off\"").unwrap(), None);
        assert_eq!(every("every = \"1h\"").unwrap(), Some(3600));
        assert!(every("every = \"59m\"").is_err() && every("every = 24").is_err());
        let section = Backup { every: Every::Off, ..Backup::default() };
        assert_eq!(toml::from_str::<Backup>(&toml::to_string(&section).unwrap()).unwrap(), section);
    }
}
