//! What lies in the directory of the followed file: itself, and what it was rotated or copied to.

use std::{
    ffi::{OsStr, OsString},
    fs::{self, Metadata},
    io,
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::{Path, PathBuf},
};

use super::{TailError, open};

/// More old files than this are not opened; the newest are.
const MOST: usize = 400;

/// What lies in the directory.
#[derive(Default)]
pub(super) struct Survey {
    /// The files, in no order.
    pub files: Vec<Facts>,
}

/// One file.
pub(super) struct Facts {
    /// Its name in the directory.
    pub name: OsString,
    /// What the name says of it.
    pub kind: Kind,
    /// The device that it lies on.
    pub device: u64,
    /// Its inode.
    pub inode: u64,
    /// Its length.
    pub size: u64,
    /// When its contents changed: nanoseconds since 1970.
    pub modified: i64,
    /// Its first bytes, up to [`PREFIX`](crate::pbx::position::PREFIX); absent where this process may not read it.
    pub head: Option<Vec<u8>>,
}

impl Facts {
    /// Its first bytes, as far as this process may know them.
    pub(super) fn head(&self) -> &[u8] {
        self.head.as_deref().unwrap_or_default()
    }
}

/// What a file's name says of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// It has the followed file's own name.
    Live,
    /// It was rotated away: `.1`, `-20261122`.
    Rotated(Age),
    /// It was rotated away and compressed.
    Compressed,
    /// It has the name and more, such as `.bak`: perhaps the file itself, never one that must be read beside it.
    Other,
}

/// What a rotated file's name says of its age.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Age {
    /// The number of `.1`: the higher, the older.
    Number(u32),
    /// A date with the year first, or seconds since 1970: names of equal length are in the order of time.
    Date,
    /// Something else.
    Unknown,
}

impl Survey {
    /// Looks around. Files with the `known` inodes are looked at however old they are.
    pub(super) fn take(path: &Path, known: &[u64]) -> Result<Self, TailError> {
        let directory = directory_of(path);
        let live = path.file_name().unwrap_or_default();
        let entries = match fs::read_dir(&directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(TailError::from_io(directory, "listed", error)),
        };
        let mut found: Vec<(OsString, Kind, Metadata)> = entries
            .flatten()
            .filter_map(|entry| {
                let name = entry.file_name();
                let kind = kind(&name, live)?;
                // Another process may rename or delete the file meanwhile: then it was not there.
                let metadata = entry.metadata().ok()?;
                (metadata.is_file() || kind == Kind::Live).then_some((name, kind, metadata))
            })
            .collect();
        if found.len() > MOST {
            let important = |(_, kind, data): &(OsString, Kind, Metadata)| {
                (*kind == Kind::Live || known.contains(&data.ino()), modified(data))
            };
            found.sort_by_key(|file| std::cmp::Reverse(important(file)));
            found.truncate(MOST);
        }
        let mut files = Vec::with_capacity(found.len());
        for (name, kind, metadata) in found {
            if kind == Kind::Compressed {
                files.push(facts(name, kind, &metadata, None));
                continue;
            }
            match open::open(&directory.join(&name)) {
                Ok(Some((file, metadata))) => {
                    let head = open::head(&file, u64::MAX).map_err(|error| TailError::from_io(path, "read", error))?;
                    files.push(facts(name, kind, &metadata, Some(head)));
                }
                Err(error) if kind == Kind::Live => return Err(error),
                // It may be what must be read next: then this process needs another start.
                Err(TailError::NotReachable { .. }) => files.push(facts(name, kind, &metadata, None)),
                Ok(None) | Err(_) => {}
            }
        }
        Ok(Self { files })
    }

    /// The followed file itself.
    pub(super) fn live(&self) -> Option<usize> {
        self.files.iter().position(|file| file.kind == Kind::Live)
    }

    /// The moment after which nothing here had changed.
    pub(super) fn newest(&self) -> i64 {
        self.files.iter().map(|file| file.modified).max().unwrap_or(0)
    }
}

fn facts(name: OsString, kind: Kind, metadata: &Metadata, head: Option<Vec<u8>>) -> Facts {
    Facts {
        name,
        kind,
        device: metadata.dev(),
        inode: metadata.ino(),
        size: metadata.size(),
        modified: modified(metadata),
        head,
    }
}

/// When a file's contents changed: nanoseconds since 1970.
pub(super) fn modified(metadata: &Metadata) -> i64 {
    metadata.mtime().saturating_mul(1_000_000_000).saturating_add(metadata.mtime_nsec())
}

/// The directory that a path's file lies in.
pub(super) fn directory_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// What a name says; nothing where it is not of the followed file's family.
fn kind(name: &OsStr, live: &OsStr) -> Option<Kind> {
    let (name, live) = (name.as_bytes(), live.as_bytes());
    if name == live {
        return Some(Kind::Live);
    }
    let (plain, compressed) = [&b".gz"[..], b".bz2", b".xz", b".zst", b".lz4", b".Z"]
        .iter()
        .find_map(|ending| name.strip_suffix(*ending))
        .map_or((name, false), |plain| (plain, true));
    // logrotate's `extension .csv` puts the number in the middle: Master.1.csv.
    let middle = || {
        let dot = live.iter().rposition(|&byte| byte == b'.').filter(|&dot| dot > 0)?;
        plain.strip_prefix(&live[..dot])?.strip_suffix(&live[dot..])
    };
    let age = plain.strip_prefix(live).and_then(rotation).or_else(|| middle().and_then(rotation));
    match age {
        Some(_) if compressed => Some(Kind::Compressed),
        Some(age) => Some(Kind::Rotated(age)),
        None => name.starts_with(live).then_some(Kind::Other),
    }
}

/// Whether that is what logrotate and its kind add to a name, and what it says.
fn rotation(suffix: &[u8]) -> Option<Age> {
    let [b'.' | b'-' | b'_', rest @ ..] = suffix else { return None };
    if !rest.first()?.is_ascii_digit()
        || !rest.iter().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'-' | b'_' | b':' | b'T'))
    {
        return None;
    }
    let digits: String = rest.iter().filter(|byte| byte.is_ascii_digit()).map(|&byte| char::from(byte)).collect();
    let part = |range: std::ops::Range<usize>| digits.get(range).and_then(|text| text.parse::<u32>().ok()).unwrap_or(0);
    let by_date =
        (1990..2100).contains(&part(0..4)) && (1..=12).contains(&part(4..6)) && (1..=31).contains(&part(6..8));
    Some(match rest.len() {
        0..=4 if digits.len() == rest.len() => Age::Number(part(0..rest.len())),
        10 if digits.len() == 10 => Age::Date,
        _ if by_date => Age::Date,
        _ => Age::Unknown,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_what_was_done_to_the_file() {
        let of = |name: &str| kind(OsStr::new(name), OsStr::new("Master.csv"));
        let numbered = |number| Some(Kind::Rotated(Age::Number(number)));
        let dated = Some(Kind::Rotated(Age::Date));
        for (name, expected) in [
            ("Master.csv", Some(Kind::Live)),
            ("Master.csv.1", numbered(1)),
            ("Master.csv.12", numbered(12)),
            ("Master.1.csv", numbered(1)),
            ("Master-20261122.csv", dated),
            ("Master.csv-20261122", dated),
            ("Master.csv-20261122-1795310451", dated),
            ("Master.csv.2026-11-22T10:00:00", dated),
            ("Master.csv.2.gz", Some(Kind::Compressed)),
            ("Master.csv-20261122.xz", Some(Kind::Compressed)),
            ("Master.csv-1795310451", dated),
            ("Master.csv.22-11-2026", Some(Kind::Rotated(Age::Unknown))),
            ("Master.csv-22112026", Some(Kind::Rotated(Age::Unknown))),
            ("Master.csv.1.2", Some(Kind::Rotated(Age::Unknown))),
            ("Master.csv.bak", Some(Kind::Other)),
            ("Master.csv.old.gz", Some(Kind::Other)),
            ("Master.csv~", Some(Kind::Other)),
            ("Master.csv.", Some(Kind::Other)),
            ("ACME.csv", None),
            ("Master", None),
            ("MasterFlex.csv", None),
            ("Simple.csv.1", None),
        ] {
            assert_eq!(of(name), expected, "{name}");
        }
    }
}
