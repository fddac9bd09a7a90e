//! Where phone systems keep recordings, voicemail, faxes and chats.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Trees that hold the content of calls on the phone systems in use (Asterisk, FreePBX, Issabel, VitalPBX, FreeSWITCH).
/// The list is for the proof at start alone: what may be opened is an allowlist, and does not depend on it.
pub const TREES: &[&str] = &[
    "/var/spool/asterisk/voicemail",
    "/var/spool/asterisk/monitor",
    "/var/spool/asterisk/monitor_migration",
    "/var/spool/asterisk/recording",
    "/var/spool/asterisk/recordings",
    "/var/spool/asterisk/meetme",
    "/var/spool/asterisk/confbridge",
    "/var/spool/asterisk/dictate",
    "/var/spool/asterisk/sms",
    "/var/spool/asterisk/outgoing",
    "/var/spool/asterisk/fax",
    "/var/spool/asterisk/backup",
    "/var/spool/asterisk/tmp",
    "/var/lib/asterisk/priv-callerintros",
    "/var/lib/asterisk/sounds/custom",
    "/var/www/faxes",
    "/var/www/html/faxes",
    "/var/www/db/fax.db",
    "/var/spool/hylafax",
    "/var/spool/imap",
    "/var/lib/vitalpbx",
    "/var/lib/vitxi",
    "/usr/share/vitxi/backend/storage",
    "/home/sync",
    "/vpbx_data",
    "/var/lib/freeswitch/recordings",
    "/var/lib/freeswitch/storage",
    "/usr/local/freeswitch",
    "/var/backups/fusionpbx",
];

/// Entries looked at in one tree before the search ends.
const MOST_ENTRIES: usize = 2_000;
/// Levels below a tree that are looked into.
const MOST_LEVELS: usize = 6;

/// One file in each tree that has one, the owner's own trees included. Call it before the process is confined.
pub fn first_files(own: &[PathBuf]) -> Vec<PathBuf> {
    let trees = TREES.iter().map(Path::new).chain(own.iter().map(PathBuf::as_path));
    trees.filter_map(first_file).collect()
}

/// The first regular file at or below a path, by a bounded search that follows no symbolic link.
pub fn first_file(tree: &Path) -> Option<PathBuf> {
    // The tree itself is often a link to a bigger disk.
    let tree = fs::canonicalize(tree).ok()?;
    if tree.is_file() {
        return Some(tree);
    }
    let mut budget = MOST_ENTRIES;
    let mut level = vec![tree];
    for _ in 0..MOST_LEVELS {
        let mut below = Vec::new();
        for directory in level {
            for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
                budget = budget.checked_sub(1)?;
                match entry.file_type() {
                    Ok(kind) if kind.is_file() => return Some(entry.path()),
                    Ok(kind) if kind.is_dir() => below.push(entry.path()),
                    _ => {}
                }
            }
        }
        level = below;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_search_goes_down_and_ends() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().canonicalize().unwrap();
        assert_eq!(first_file(&root), None);
        assert_eq!(first_file(&root.join("absent")), None);
        fs::create_dir_all(root.join("default/1001/INBOX")).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", root.join("default/link.wav")).unwrap();
        assert_eq!(first_file(&root), None);
        fs::write(root.join("default/1001/INBOX/msg0000.wav"), "x").unwrap();
        assert_eq!(first_file(&root), Some(root.join("default/1001/INBOX/msg0000.wav")));
        std::os::unix::fs::symlink(root.join("default"), root.join("moved")).unwrap();
        assert_eq!(first_file(&root.join("moved")), Some(root.join("default/1001/INBOX/msg0000.wav")));
    }
}
