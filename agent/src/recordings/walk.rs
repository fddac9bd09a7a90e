//! Goes through a tree by the descriptors of its directories. Nothing of what lies there is opened but directories, no link
//! is followed, and what is mounted below is left alone.

use std::{
    ffi::{CStr, CString, OsStr},
    io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::{Path, PathBuf},
};

use rustix::{
    fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, ResolveFlags, Stat, openat, openat2, statat},
    io::Errno,
};

use super::trees::VOICEMAIL;

/// Levels below a tree; each keeps one descriptor open.
const MOST_LEVELS: usize = 32;
/// Directories in one directory.
const MOST_DIRECTORIES: usize = 100_000;
/// How directories are opened.
const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Which file it is, and in what state: two that are equal are the same file, unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Look {
    device: u64,
    inode: u64,
    /// Its length in bytes.
    pub(super) bytes: u64,
    /// When it was changed last: seconds since 1970 in UTC; a moment before that counts as 1970.
    pub(super) changed: u64,
    changed_nanoseconds: u64,
}

impl Look {
    /// Looks at a name without following it; nothing where no regular file has it.
    pub(super) fn at(directory: BorrowedFd<'_>, name: &CStr) -> rustix::io::Result<Option<Self>> {
        let stat = statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
        Ok((kind(&stat) == FileType::RegularFile).then(|| Self::of(&stat)))
    }

    // The types of these fields differ from one architecture to the next.
    #[allow(clippy::useless_conversion, clippy::unnecessary_fallible_conversions)]
    fn of(stat: &Stat) -> Self {
        Self {
            device: u64::try_from(stat.st_dev).unwrap_or(0),
            inode: u64::try_from(stat.st_ino).unwrap_or(0),
            bytes: u64::try_from(stat.st_size).unwrap_or(0),
            changed: u64::try_from(stat.st_mtime).unwrap_or(0),
            changed_nanoseconds: u64::try_from(stat.st_mtime_nsec).unwrap_or(0),
        }
    }
}

/// A directory of the tree while its files are visited.
pub(super) struct Place<'a> {
    /// The directory, open.
    pub(super) directory: BorrowedFd<'a>,
    /// Its path below the tree.
    pub(super) path: &'a Path,
    /// Whether it lies among mailboxes.
    pub(super) in_mailboxes: bool,
}

/// What is done with the files.
pub(super) trait Visitor {
    /// One regular file.
    fn file(&mut self, place: &Place<'_>, name: &CStr, look: Look);
    /// Those were all files of that directory.
    fn leave(&mut self, place: &Place<'_>);
}

/// What was not looked into.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct LeftOut {
    /// Directories of another file system, or mounted there.
    pub(super) mounted: u64,
    /// Directories that this process could not list.
    pub(super) closed: u64,
    /// Directories too far down, or too many in one.
    pub(super) beyond: u64,
}

/// Opens the root of a tree.
pub(super) fn open(real: &Path) -> io::Result<OwnedFd> {
    let opened = match openat2(CWD, real, DIRECTORY, Mode::empty(), ResolveFlags::NO_SYMLINKS) {
        Err(Errno::NOSYS | Errno::PERM) => openat(CWD, real, DIRECTORY, Mode::empty()),
        opened => opened,
    };
    Ok(opened?)
}

/// What identifies a directory.
pub(super) fn identity(directory: BorrowedFd<'_>) -> io::Result<(u64, u64)> {
    let look = Look::of(&rustix::fs::fstat(directory)?);
    Ok((look.device, look.inode))
}

/// Visits every regular file below a root, directory by directory. Directories of these identities are passed by: they
/// are trees of their own.
pub(super) fn walk(
    root: OwnedFd,
    in_mailboxes: bool,
    others: &[(u64, u64)],
    visitor: &mut dyn Visitor,
) -> io::Result<LeftOut> {
    let (device, _) = identity(root.as_fd())?;
    let mut walk = Walk { device, others, visitor, left_out: LeftOut::default() };
    walk.directory(root, PathBuf::new(), in_mailboxes, 0)?;
    Ok(walk.left_out)
}

struct Walk<'a> {
    device: u64,
    others: &'a [(u64, u64)],
    visitor: &'a mut dyn Visitor,
    left_out: LeftOut,
}

impl Walk<'_> {
    fn directory(&mut self, directory: OwnedFd, path: PathBuf, in_mailboxes: bool, level: usize) -> io::Result<()> {
        let below = self.files(&Place { directory: directory.as_fd(), path: &path, in_mailboxes })?;
        for name in below {
            if level + 1 > MOST_LEVELS {
                self.left_out.beyond += 1;
                continue;
            }
            let Some(inner) = self.enter(directory.as_fd(), &name) else { continue };
            let name = OsStr::from_bytes(name.to_bytes());
            let below = self.directory(inner, path.join(name), in_mailboxes || name == VOICEMAIL, level + 1);
            // Removed meanwhile, or the disk fails there.
            self.left_out.closed += u64::from(below.is_err());
        }
        Ok(())
    }

    /// Visits the files of one directory; returns the names of the directories in it.
    fn files(&mut self, place: &Place<'_>) -> io::Result<Vec<CString>> {
        let below = self.entries(place);
        self.visitor.leave(place);
        below
    }

    fn entries(&mut self, place: &Place<'_>) -> io::Result<Vec<CString>> {
        let mut below = Vec::new();
        for entry in Dir::read_from(place.directory)? {
            let entry = entry?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let kind = match entry.file_type() {
                FileType::Unknown => match statat(place.directory, name, AtFlags::SYMLINK_NOFOLLOW) {
                    Ok(stat) => kind(&stat),
                    Err(_) => continue,
                },
                known => known,
            };
            match kind {
                FileType::Directory if below.len() < MOST_DIRECTORIES => below.push(name.to_owned()),
                FileType::Directory => self.left_out.beyond += 1,
                FileType::RegularFile => {
                    // One that is gone by now, or became something else, is no recording any more.
                    if let Ok(Some(look)) = Look::at(place.directory, name) {
                        self.visitor.file(place, name, look);
                    }
                }
                _ => {}
            }
        }
        Ok(below)
    }

    fn enter(&mut self, above: BorrowedFd<'_>, name: &CStr) -> Option<OwnedFd> {
        let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
        let opened = match openat2(above, name, DIRECTORY, Mode::empty(), beneath) {
            // Before Linux 5.6. What is mounted there shows by its device then, unless it is of the same.
            Err(Errno::NOSYS | Errno::PERM) => openat(above, name, DIRECTORY, Mode::empty()),
            opened => opened,
        };
        match opened {
            Ok(inner) => {
                let identity = identity(inner.as_fd()).ok()?;
                if self.others.contains(&identity) {
                    return None;
                }
                if identity.0 != self.device {
                    self.left_out.mounted += 1;
                    return None;
                }
                Some(inner)
            }
            Err(Errno::XDEV) => {
                self.left_out.mounted += 1;
                None
            }
            Err(Errno::ACCESS) => {
                self.left_out.closed += 1;
                None
            }
            // Gone, or a link by now.
            Err(_) => None,
        }
    }
}

fn kind(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[derive(Default)]
    struct Names(Vec<String>);

    impl Visitor for Names {
        fn file(&mut self, place: &Place<'_>, name: &CStr, look: Look) {
            let mark = if place.in_mailboxes { "@" } else { "" };
            self.0.push(format!("{mark}{}/{} {}", place.path.display(), name.to_str().unwrap(), look.bytes));
        }

        fn leave(&mut self, place: &Place<'_>) {
            self.0.push(format!("{}.", place.path.display()));
        }
    }

    fn names(root: &Path, others: &[(u64, u64)]) -> (Vec<String>, LeftOut) {
        let mut names = Names::default();
        let left_out = walk(open(root).unwrap(), false, others, &mut names).unwrap();
        names.0.sort();
        (names.0, left_out)
    }

    #[test]
    fn links_are_not_followed_and_other_trees_are_passed_by() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().canonicalize().unwrap();
        let (tree, outside) = (root.join("tree"), root.join("outside"));
        for directory in ["2026/01", "own", "voicemail/default"] {
            fs::create_dir_all(tree.join(directory)).unwrap();
        }
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("secret.wav"), "").unwrap();
        for file in ["a.wav", "2026/01/b.wav", "own/c.wav", "voicemail/default/d.wav"] {
            fs::write(tree.join(file), "xy").unwrap();
        }
        std::os::unix::fs::symlink(&outside, tree.join("link")).unwrap();
        std::os::unix::fs::symlink(tree.join("a.wav"), tree.join("link.wav")).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(tree.join("socket")).unwrap();
        let own = identity(open(&tree.join("own")).unwrap().as_fd()).unwrap();
        let (names, left_out) = names(&tree, &[own]);
        let expected = [
            ".",
            "/a.wav 2",
            "2026.",
            "2026/01.",
            "2026/01/b.wav 2",
            "@voicemail/default/d.wav 2",
            "voicemail.",
            "voicemail/default.",
        ];
        assert_eq!(names, expected);
        assert_eq!(left_out, LeftOut::default());
        assert!(open(&tree.join("link")).is_err());
    }

    #[test]
    fn a_walk_ends_however_deep_a_tree_is() {
        let root = tempfile::tempdir().unwrap();
        let deep = root.path().join(["d"; 40].join("/"));
        fs::create_dir_all(&deep).unwrap();
        fs::write(deep.join("a.wav"), "").unwrap();
        let (names, left_out) = names(&root.path().canonicalize().unwrap(), &[]);
        assert_eq!((names.len(), left_out.beyond), (33, 1));
    }

    #[test]
    fn a_changed_file_is_another_look() {
        let root = tempfile::tempdir().unwrap();
        let directory = open(&root.path().canonicalize().unwrap()).unwrap();
        let file = root.path().join("a.wav");
        let look = || Look::at(directory.as_fd(), c"a.wav");
        assert!(look().is_err());
        fs::write(&file, "1").unwrap();
        let first = look().unwrap();
        assert_eq!(look().unwrap(), first);
        fs::write(&file, "12").unwrap();
        assert_ne!(look().unwrap(), first);
        fs::remove_file(&file).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", &file).unwrap();
        assert_eq!(look().unwrap(), None);
    }
}
