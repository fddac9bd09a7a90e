//! Legal holds: which recordings are kept whatever their age.

use std::{
    collections::BTreeSet,
    fmt, fs,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::settings::recordings;

/// The owner's holds, ready to be asked. In doubt a file is held.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holds {
    /// As the owner wrote them, and as they really lie.
    paths: BTreeSet<PathBuf>,
    extensions: BTreeSet<String>,
}

/// Numbers and names of files are nobody's business in a log.
impl fmt::Debug for Holds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Holds({} paths, {} extensions)", self.paths.len(), self.extensions.len())
    }
}

impl Holds {
    /// What the settings say.
    pub fn new(holds: &recordings::Holds) -> Self {
        let real = holds.paths.iter().filter_map(|path| fs::canonicalize(path).ok());
        let paths = holds.paths.iter().cloned().chain(real).collect();
        Self { paths, extensions: holds.extensions.iter().cloned().collect() }
    }

    /// Whether a hold names that very place, or a directory above it.
    pub(super) fn names(&self, place: &Path) -> bool {
        !self.paths.is_empty() && place.ancestors().any(|above| self.paths.contains(above))
    }

    /// Whether the name holds the number of an extension as a word of its own: `in-0151234-1001-20260101.wav` holds
    /// 1001, and neither 100 nor 151234.
    pub(super) fn hold_word(&self, name: &[u8]) -> bool {
        let mut words = name.split(|byte| !byte.is_ascii_alphanumeric());
        !self.extensions.is_empty()
            && words.any(|word| std::str::from_utf8(word).is_ok_and(|word| self.extensions.contains(word)))
    }

    /// Whether a directory on the way to a mailbox is that of an extension: `default/1001/INBOX`.
    pub(super) fn hold_mailbox(&self, place: &Path) -> bool {
        !self.extensions.is_empty() && place.iter().any(|name| self.hold_word(name.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(paths: &[&str], extensions: &[&str]) -> Holds {
        Holds::new(&recordings::Holds {
            paths: paths.iter().map(PathBuf::from).collect(),
            extensions: extensions.iter().map(|&one| one.to_owned()).collect(),
        })
    }

    #[test]
    fn a_number_is_held_as_a_whole_word() {
        let holds = holds(&[], &["1001", "alice"]);
        for held in [
            "in-0151234567-1001-20260101-101010-1767258610.12.wav",
            "out-0151234567-1001-20260101-101010-1767258610.12.wav",
            "exten-1001-unknown-20260101-101010-1767258610.12.WAV",
            "q-600-1001-20260101-101010-1767258610.12.gsm",
            "1001.wav",
            "rec_1001_2026.mp3",
            "rec(1001)@2026.mp3",
            "PJSIP-alice-0000002a.wav",
        ] {
            assert!(holds.hold_word(held.as_bytes()), "{held}");
        }
        for free in [
            "in-0151234567-11001-20260101-101010-1767258610.12.wav",
            "out-01511001-100-20260101-101010-17672586.1.wav",
            "exten1001.wav",
            "10010.wav",
            "",
            "alice2.wav",
        ] {
            assert!(!holds.hold_word(free.as_bytes()), "{free}");
        }
        assert!(holds.hold_mailbox(Path::new("default/1001/INBOX")) && !holds.hold_mailbox(Path::new("default/100/1")));
        assert!(!Holds::default().hold_word(b"1001"));
    }

    #[test]
    fn a_path_is_held_with_everything_below_it_by_either_name() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().canonicalize().unwrap();
        fs::create_dir_all(root.join("disk/2026/03")).unwrap();
        std::os::unix::fs::symlink(root.join("disk"), root.join("monitor")).unwrap();
        let holds = holds(&[root.join("monitor/2026/03").to_str().unwrap(), "/r/one.wav"], &[]);
        for held in [root.join("monitor/2026/03/a.wav"), root.join("disk/2026/03"), "/r/one.wav".into()] {
            assert!(holds.names(&held), "{}", held.display());
        }
        for free in [root.join("disk/2026/04/a.wav"), root.join("disk/2026"), "/r/one.wav.old".into()] {
            assert!(!holds.names(&free), "{}", free.display());
        }
        assert_eq!(format!("{holds:?}"), "Holds(3 paths, 0 extensions)");
    }
}
