//! The section `[recordings]`: where recordings lie, how long they are kept, and which are kept whatever their age.

use std::{
    fmt,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use super::parse_duration;

/// The shortest time that recordings can be kept for. It also keeps a call that is being recorded from being touched.
pub const SHORTEST: Duration = Duration::from_secs(86_400);
/// The longest number of an extension.
const LONGEST_EXTENSION: usize = 32;
/// Directories of the system, none of which is a tree of recordings, although one may lie below it.
pub(super) const SYSTEM: &[&str] = &[
    "/",
    "/bin",
    "/boot",
    "/dev",
    "/etc",
    "/home",
    "/lib",
    "/lib64",
    "/media",
    "/mnt",
    "/opt",
    "/proc",
    "/root",
    "/run",
    "/sbin",
    "/srv",
    "/sys",
    "/tmp",
    "/usr",
    "/var",
    "/var/lib",
    "/var/log",
    "/var/spool",
];

/// Call recordings: what must stay out of reach, and how long it is kept.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recordings {
    /// Trees of recordings beside the known ones: each start proves that no role can open a file in them, they are
    /// counted, and retention applies to them.
    #[serde(default)]
    pub paths: Vec<PathBuf>,
    /// How long recordings are kept before the daemon removes them.
    #[serde(default)]
    pub retention: Retention,
    /// Whether retention applies to the messages in mailboxes, too.
    #[serde(default)]
    pub voicemail: bool,
    /// What is kept whatever its age.
    #[serde(default)]
    pub holds: Holds,
}

/// How long recordings are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Retention {
    /// Until somebody else removes them.
    #[default]
    Off,
    /// For so long after their last change.
    For(Duration),
}

/// Legal holds: recordings that are kept whatever their age.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Holds {
    /// Files, and directories with everything below them.
    #[serde(default)]
    pub paths: Vec<PathBuf>,
    /// Extensions whose number stands in a file's name as a word of its own, or is a mailbox.
    #[serde(default)]
    pub extensions: Vec<String>,
}

/// Numbers and names of files are nobody's business in a log.
impl fmt::Debug for Holds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Holds({} paths, {} extensions)", self.paths.len(), self.extensions.len())
    }
}

impl Retention {
    /// How long, if there is an end.
    pub fn keeps(self) -> Option<Duration> {
        match self {
            Self::Off => None,
            Self::For(time) => Some(time),
        }
    }
}

impl<'de> Deserialize<'de> for Retention {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text == "off" {
            return Ok(Self::Off);
        }
        let time = parse_duration(&text).filter(|time| *time >= SHORTEST);
        time.map(Self::For).ok_or_else(|| D::Error::custom("this is neither \"off\" nor a time of a day or more"))
    }
}

impl Serialize for Retention {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Off => serializer.serialize_str("off"),
            Self::For(time) => serializer.collect_str(&format_args!("{}s", time.as_secs())),
        }
    }
}

impl Recordings {
    /// Every path that the section names, to be made absolute.
    pub(super) fn paths_mut(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        self.paths.iter_mut().chain(&mut self.holds.paths)
    }

    /// The first value that makes no sense: its key, and what is wrong.
    pub(super) fn fault(&self, state_dir: &Path) -> Option<(&'static str, String)> {
        for path in &self.paths {
            let whole: PathBuf = path.components().collect();
            if whole.as_os_str().is_empty() || SYSTEM.iter().any(|system| whole == Path::new(system)) {
                let problem =
                    format!("{:?} is no tree of recordings; name the directory that holds nothing else", path);
                return Some(("recordings.paths", problem));
            }
            if state_dir.starts_with(&whole) || whole.starts_with(state_dir) {
                let problem = format!("{:?} holds, or lies in, the state directory of demarc itself", path);
                return Some(("recordings.paths", problem));
            }
        }
        if self.holds.paths.iter().any(|path| path.as_os_str().is_empty()) {
            return Some(("recordings.holds.paths", "a path has no name".to_owned()));
        }
        let is_number = |text: &String| {
            (1..=LONGEST_EXTENSION).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
        };
        (!self.holds.extensions.iter().all(is_number)).then(|| {
            let problem = "allowed are extensions of digits and letters alone, such as [\"1001\"]".to_owned();
            ("recordings.holds.extensions", problem)
        })
    }

    /// What is allowed and likely not meant, in words.
    pub(super) fn warning(&self) -> Option<String> {
        (self.voicemail && self.retention == Retention::Off).then(|| {
            "recordings.voicemail is true and recordings.retention is \"off\": no voicemail is removed by itself."
                .to_owned()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(text: &str) -> Option<&'static str> {
        toml::from_str::<Recordings>(text).unwrap().fault(Path::new("/var/lib/demarc")).map(|(key, _)| key)
    }

    #[test]
    fn times_are_off_or_a_day_or_more() {
        let retention = |text: &str| toml::from_str::<Recordings>(text).map(|section| section.retention.keeps());
        assert_eq!(retention("").unwrap(), None);
        assert_eq!(retention("retention = \"off\"").unwrap(), None);
        assert_eq!(retention("retention = \"90d\"").unwrap(), Some(Duration::from_secs(90 * 86_400)));
        assert_eq!(retention("retention = \"24h\"").unwrap(), Some(SHORTEST));
        for wrong in ["\"23h\"", "\"0d\"", "\"on\"", "\"90\"", "90", "true", "\"-1d\"", "\"99999999999999999d\""] {
            assert!(retention(&format!("retention = {wrong}")).is_err(), "{wrong}");
        }
        let section: Recordings = toml::from_str("retention = \"90d\"").unwrap();
        assert_eq!(toml::from_str::<Recordings>(&toml::to_string(&section).unwrap()).unwrap(), section);
    }

    #[test]
    fn trees_and_holds_that_make_no_sense_are_refused() {
        assert_eq!(fault("paths = [\"/srv/recordings\", \"/vpbx_data\"]\n[holds]\nextensions = [\"1001\"]"), None);
        for wrong in ["/", "/var/spool/", "/etc", "", "/var/lib/demarc", "/var/lib/demarc/collector"] {
            assert_eq!(fault(&format!("paths = [{wrong:?}]")), Some("recordings.paths"), "{wrong}");
        }
        assert_eq!(fault("[holds]\npaths = [\"\"]"), Some("recordings.holds.paths"));
        for wrong in ["", "10-01", "1001 ", "10*", &"1".repeat(33)] {
            let key = fault(&format!("[holds]\nextensions = [{wrong:?}]"));
            assert_eq!(key, Some("recordings.holds.extensions"), "{wrong}");
        }
    }

    #[test]
    fn nobodys_number_is_printed() {
        let section: Recordings =
            toml::from_str("[holds]\nextensions = [\"4711\"]\npaths = [\"/r/4712.wav\"]").unwrap();
        let shown = format!("{section:?}");
        assert!(shown.contains("1 paths, 1 extensions") && !shown.contains("471"), "{shown}");
    }
}
