//! `disk`: space on the file systems of this machine.

use std::{collections::BTreeSet, fmt, fs, path::Path};

use serde::Serialize;

use super::{Trouble, write_table};

/// Kinds that hold files on a disk of this machine. One over the network may not answer, and is not asked.
const KINDS: &[&str] = &["ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "jfs", "reiserfs", "vfat", "zfs", "overlay"];

/// The file systems.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Disks {
    disks: Vec<Disk>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct Disk {
    mounted_at: String,
    kind: String,
    bytes: u64,
    free_bytes: u64,
    /// Files that can still be made, of as many; absent where the kind knows no such limit.
    free_files: Option<(u64, u64)>,
}

pub(super) fn look() -> Result<Disks, Trouble> {
    let mounts = fs::read_to_string("/proc/self/mountinfo")
        .map_err(|error| Trouble::new(format!("the list of file systems cannot be read: {error}")))?;
    let disks = read(&mounts).into_iter().filter_map(|(place, kind)| {
        let disk = rustix::fs::statvfs(Path::new(&place)).ok().filter(|disk| disk.f_blocks > 0)?;
        Some(Disk {
            mounted_at: place,
            kind,
            bytes: disk.f_blocks.saturating_mul(disk.f_frsize),
            free_bytes: disk.f_bavail.saturating_mul(disk.f_frsize),
            free_files: (disk.f_files > 0).then_some((disk.f_favail, disk.f_files)),
        })
    });
    Ok(Disks { disks: disks.collect() })
}

/// Where each device is mounted first, and its kind.
fn read(mounts: &str) -> Vec<(String, String)> {
    let mut seen = BTreeSet::new();
    let mut found = Vec::new();
    for line in mounts.lines() {
        let Some((front, back)) = line.split_once(" - ") else { continue };
        let fields: Vec<&str> = front.split(' ').collect();
        let (Some(device), Some(place), Some(kind)) = (fields.get(2), fields.get(4), back.split(' ').next()) else {
            continue;
        };
        // A single file is no place to look at; containers mount some.
        if KINDS.contains(&kind) && Path::new(place).is_dir() && seen.insert((*device).to_owned()) {
            found.push(((*place).to_owned(), kind.to_owned()));
        }
    }
    found
}

impl fmt::Display for Disks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = self.disks.iter().map(|one| {
            let used = (one.bytes - one.free_bytes.min(one.bytes)) * 100 / one.bytes.max(1);
            let files = one
                .free_files
                .map(|(free, all)| format!("{} %", (all - free.min(all)) * 100 / all))
                .unwrap_or_default();
            vec![
                one.mounted_at.clone(),
                one.kind.clone(),
                size(one.bytes),
                size(one.free_bytes),
                format!("{used} %"),
                files,
            ]
        });
        write_table(f, &["mounted at", "kind", "size", "free", "used", "files used"], rows, "No file system was found.")
    }
}

/// In binary megabytes, as far as anybody cares.
pub(super) fn size(bytes: u64) -> String {
    match bytes >> 20 {
        small @ ..10_240 => format!("{small} MB"),
        large => format!("{} GB", large >> 10),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_disk_is_shown_once_and_what_is_no_disk_is_not() {
        let mounts = "21 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw\n22 21 0:21 / /proc rw - proc proc rw\n23 21 254:1 /x /usr rw - ext4 /dev/vda1 rw\n24 21 0:50 / /tmp rw - nfs4 server:/x rw\n";
        assert_eq!(read(mounts), [("/".to_owned(), "ext4".to_owned())]);
    }

    #[test]
    fn sizes_are_short() {
        assert_eq!((size(5 << 20).as_str(), size(40 << 30).as_str()), ("5 MB", "40 GB"));
    }
}
