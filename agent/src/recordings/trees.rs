//! Which directories are trees of recordings.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::TreeKind;
use crate::settings::Settings;

/// Where Asterisk keeps recordings unless it is told otherwise. Other known places hold more than recordings, such as
/// announcements: they are counted and pruned where the owner names them.
const KNOWN: &[&str] = &["/var/spool/asterisk/monitor", "/var/spool/asterisk/voicemail"];
/// The name of a directory that holds mailboxes, wherever it lies.
pub(super) const VOICEMAIL: &str = "voicemail";

/// A tree of recordings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tree {
    /// As the owner knows it.
    pub path: PathBuf,
    /// As it really lies: the tree itself is often a link to a bigger disk.
    pub real: PathBuf,
    /// What lies in it.
    pub kind: TreeKind,
}

/// The trees that are there, none of them twice, and what is wrong with others that the owner named, in words.
pub fn find(settings: &Settings) -> (Vec<Tree>, Vec<String>) {
    find_among(KNOWN, settings)
}

fn find_among(known: &[&str], settings: &Settings) -> (Vec<Tree>, Vec<String>) {
    let (mut trees, mut troubles, mut seen): (Vec<Tree>, Vec<String>, Vec<_>) = Default::default();
    let state = fs::canonicalize(&settings.state_dir).unwrap_or_else(|_| settings.state_dir.clone());
    let named = &settings.recordings.paths;
    for path in known.iter().map(Path::new).chain(named.iter().map(PathBuf::as_path)) {
        let mut trouble = |problem: &str| {
            if named.iter().any(|one| one == path) {
                troubles.push(format!("{}: {problem}", path.display()));
            }
        };
        let Ok(real) = fs::canonicalize(path) else {
            trouble("there is no such directory, or demarc may not look there.");
            continue;
        };
        let Ok(metadata) = fs::metadata(&real) else { continue };
        if !metadata.is_dir() {
            trouble("this is a file; it is kept shut, and neither counted nor removed.");
            continue;
        }
        if state.starts_with(&real) || real.starts_with(&state) {
            trouble("demarc's own state directory lies there; nothing is counted or removed.");
            continue;
        }
        let identity = (metadata.dev(), metadata.ino());
        if seen.contains(&identity) {
            continue;
        }
        seen.push(identity);
        let is_voicemail = [path, &real].iter().any(|path| path.file_name().is_some_and(|name| name == VOICEMAIL));
        let kind = if is_voicemail { TreeKind::Voicemail } else { TreeKind::Calls };
        trees.push(Tree { path: path.to_owned(), real, kind });
    }
    let idle = settings.recordings.holds.paths.iter().filter(|hold| !holds_something(hold, &trees));
    troubles.extend(idle.map(|hold| {
        let hold = hold.display();
        format!("recordings.holds.paths: {hold} holds nothing: it is not there, or lies in no tree of recordings.")
    }));
    (trees, troubles)
}

/// Whether a path that is to be held is there, in a tree or around one.
fn holds_something(hold: &Path, trees: &[Tree]) -> bool {
    let Ok(real) = fs::canonicalize(hold) else { return false };
    trees.iter().any(|tree| real.starts_with(&tree.real) || tree.real.starts_with(&real))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_tree_is_there_once_and_says_why_not() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().canonicalize().unwrap();
        for directory in ["disk/monitor", "spool/voicemail", "state/recordings"] {
            fs::create_dir_all(root.join(directory)).unwrap();
        }
        fs::write(root.join("fax.db"), "").unwrap();
        std::os::unix::fs::symlink(root.join("disk/monitor"), root.join("spool/monitor")).unwrap();
        let mut settings = Settings { state_dir: root.join("state"), ..Settings::default() };
        let names = ["spool/monitor", "disk/monitor", "spool/voicemail", "absent", "fax.db", "state/recordings"];
        settings.recordings.paths = names.map(|name| root.join(name)).to_vec();
        let (trees, troubles) = find_among(&["/absent/too"], &settings);
        let found: Vec<_> = trees.iter().map(|tree| (tree.path.clone(), tree.real.clone(), tree.kind)).collect();
        let monitor = (root.join("spool/monitor"), root.join("disk/monitor"), TreeKind::Calls);
        let voicemail = (root.join("spool/voicemail"), root.join("spool/voicemail"), TreeKind::Voicemail);
        assert_eq!(found, [monitor, voicemail]);
        assert_eq!(troubles.len(), 3, "{troubles:?}");
        let mut holds = |name: &str| {
            settings.recordings.holds.paths = vec![root.join(name)];
            let (_, troubles) = find_among(&[], &settings);
            !troubles.iter().any(|trouble| trouble.contains("holds nothing"))
        };
        assert!(["disk/monitor", "spool/monitor", "disk"].iter().all(|name| holds(name)));
        assert!(!["disk/monitor/absent", "state", "fax.db"].iter().any(|name| holds(name)));
    }
}
