//! The scratch directory of a session, as the engineer sees it: a tree with a root of its own, out of which no name leads.
//!
//! Names are put in order first, so that `..` is seen before the kernel sees it. What is left is then opened one directory
//! after the other, and no link is followed on the way.

use std::{
    fs::File,
    io,
    os::fd::{AsFd, OwnedFd},
    path::Path,
};

use rustix::{
    fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat},
    io::Errno,
};

/// Files and directories of the engineer's are nobody else's.
const FILE_MODE: Mode = Mode::RUSR.union(Mode::WUSR);
const DIRECTORY_MODE: Mode = Mode::RWXU;
/// The most entries of one directory that are listed.
const MOST_ENTRIES: usize = 10_000;
const LONGEST_NAME: usize = 4096;

/// The directory.
#[derive(Debug)]
pub(super) struct Scratch {
    root: OwnedFd,
}

/// A name within it, in order: no leading slash, neither `.` nor `..`, no doubled slash. Empty for the root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Name(String);

/// A name leads out of the directory, or is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Outside;

impl Name {
    /// Puts a name in order. The root is `/`, and there is nothing above it.
    ///
    /// # Errors
    /// When it leads out.
    pub(super) fn new(name: &str) -> Result<Self, Outside> {
        if name.len() > LONGEST_NAME || name.contains('\0') {
            return Err(Outside);
        }
        let mut parts: Vec<&str> = Vec::new();
        for part in name.split('/') {
            match part {
                "" | "." => {}
                ".." => {
                    parts.pop().ok_or(Outside)?;
                }
                part => parts.push(part),
            }
        }
        Ok(Self(parts.join("/")))
    }

    /// As the engineer writes it.
    pub(super) fn absolute(&self) -> String {
        format!("/{}", self.0)
    }

    fn as_relative(&self) -> &str {
        if self.0.is_empty() { "." } else { &self.0 }
    }

    /// The directory that it lies in, and its name there; none for the root.
    fn split(&self) -> Option<(&str, &str)> {
        match self.0.rsplit_once('/') {
            Some(split) => Some(split),
            None if self.0.is_empty() => None,
            None => Some((".", &self.0)),
        }
    }
}

impl Scratch {
    /// Opens the directory itself.
    ///
    /// # Errors
    /// When it is not there.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(Self { root: rustix::fs::open(path, flags, Mode::empty())? })
    }

    /// Not by `openat2`, which could do it at once: its flags lie in memory, where a filter cannot look, so that workers are
    /// refused it on kernels where that matters.
    fn beneath(&self, name: &str, flags: OFlags, mode: Mode) -> Result<OwnedFd, Errno> {
        let always = OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let (way, last) = name.rsplit_once('/').map_or((None, name), |(way, last)| (Some(way), last));
        let mut above: Option<OwnedFd> = None;
        for part in way.into_iter().flat_map(|way| way.split('/')) {
            let from = above.as_ref().unwrap_or(&self.root);
            above = Some(rustix::fs::openat(from, part, always | OFlags::PATH | OFlags::DIRECTORY, Mode::empty())?);
        }
        rustix::fs::openat(above.as_ref().unwrap_or(&self.root), last, always | flags, mode)
    }

    /// Opens a file; anything but a regular file is refused.
    ///
    /// # Errors
    /// When there is none, or it is something else.
    pub(super) fn file(&self, name: &Name, flags: OFlags) -> Result<File, Errno> {
        let mode = if flags.contains(OFlags::CREATE) { FILE_MODE } else { Mode::empty() };
        // Without waiting: whoever opens a pipe would wait for its other end.
        let file = self.beneath(name.as_relative(), flags | OFlags::NONBLOCK | OFlags::NOCTTY, mode)?;
        match FileType::from_raw_mode(rustix::fs::fstat(&file)?.st_mode) {
            FileType::RegularFile => Ok(File::from(file)),
            FileType::Directory => Err(Errno::ISDIR),
            _ => Err(Errno::PERM),
        }
    }

    /// What is known of a name. A link is a link here.
    ///
    /// # Errors
    /// When there is nothing of that name.
    pub(super) fn stat(&self, name: &Name) -> Result<Stat, Errno> {
        match name.split() {
            None => rustix::fs::fstat(&self.root),
            Some((directory, name)) => rustix::fs::statat(self.directory(directory)?, name, AtFlags::SYMLINK_NOFOLLOW),
        }
    }

    /// The entries of a directory, with what is known of each.
    ///
    /// # Errors
    /// When there is no such directory.
    pub(super) fn list(&self, name: &Name) -> Result<Vec<(String, Stat)>, Errno> {
        let directory = self.beneath(name.as_relative(), OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())?;
        let mut entries = Vec::new();
        for entry in Dir::read_from(&directory)?.take(MOST_ENTRIES) {
            let entry = entry?;
            let Ok(name) = entry.file_name().to_str() else { continue };
            if let Ok(stat) = rustix::fs::statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW) {
                entries.push((name.to_owned(), stat));
            }
        }
        Ok(entries)
    }

    /// Makes a directory.
    ///
    /// # Errors
    /// When that is not possible.
    pub(super) fn make_directory(&self, name: &Name) -> Result<(), Errno> {
        let (directory, name) = name.split().ok_or(Errno::EXIST)?;
        rustix::fs::mkdirat(self.directory(directory)?, name, DIRECTORY_MODE)
    }

    /// Removes a file, or an empty directory.
    ///
    /// # Errors
    /// When that is not possible.
    pub(super) fn remove(&self, name: &Name, is_directory: bool) -> Result<(), Errno> {
        let (directory, name) = name.split().ok_or(Errno::BUSY)?;
        let flags = if is_directory { AtFlags::REMOVEDIR } else { AtFlags::empty() };
        rustix::fs::unlinkat(self.directory(directory)?, name, flags)
    }

    /// Gives a file or a directory another name; never that of another one.
    ///
    /// # Errors
    /// When that is not possible.
    pub(super) fn rename(&self, from: &Name, to: &Name) -> Result<(), Errno> {
        let (from_directory, from) = from.split().ok_or(Errno::BUSY)?;
        let (to_directory, to) = to.split().ok_or(Errno::EXIST)?;
        let (from_directory, to_directory) = (self.directory(from_directory)?, self.directory(to_directory)?);
        rustix::fs::renameat_with(from_directory, from, to_directory, to, rustix::fs::RenameFlags::NOREPLACE)
    }

    fn directory(&self, name: &str) -> Result<OwnedFd, Errno> {
        self.beneath(name, OFlags::PATH | OFlags::DIRECTORY, Mode::empty())
    }
}

impl AsFd for Scratch {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.root.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        io::{Read, Write},
        os::unix::fs::symlink,
    };

    use super::*;

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    #[test]
    fn names_are_put_in_order_and_never_lead_out() {
        for (given, ordered) in [
            ("", "/"),
            (".", "/"),
            ("/", "/"),
            ("a//b/./c", "/a/b/c"),
            ("/a/../b", "/b"),
            ("a/..", "/"),
            ("...", "/..."),
        ] {
            assert_eq!(name(given).absolute(), ordered, "{given}");
        }
        for out in ["..", "/..", "a/../..", "/a/../../etc/passwd", "x\0y", &"a/".repeat(3000)] {
            assert_eq!(Name::new(out), Err(Outside), "{out}");
        }
    }

    #[test]
    fn files_are_written_read_and_renamed() {
        let directory = tempfile::tempdir().unwrap();
        let scratch = Scratch::open(directory.path()).unwrap();
        scratch.make_directory(&name("logs")).unwrap();
        let create = OFlags::CREATE | OFlags::WRONLY;
        scratch.file(&name("logs/a"), create).unwrap().write_all(b"text").unwrap();
        scratch.rename(&name("logs/a"), &name("b")).unwrap();
        let mut text = String::new();
        scratch.file(&name("b"), OFlags::RDONLY).unwrap().read_to_string(&mut text).unwrap();
        assert_eq!((text.as_str(), scratch.stat(&name("/b")).unwrap().st_size), ("text", 4));
        let mut names: Vec<String> = scratch.list(&name("/")).unwrap().into_iter().map(|(name, _)| name).collect();
        names.sort();
        assert_eq!(names, [".", "..", "b", "logs"]);
        assert_eq!(scratch.rename(&name("b"), &name("logs")), Err(Errno::EXIST));
        scratch.remove(&name("b"), false).unwrap();
        scratch.remove(&name("logs"), true).unwrap();
        assert!(scratch.remove(&name("/"), true).is_err() && scratch.make_directory(&name(".")).is_err());
    }

    #[test]
    fn no_link_and_no_pipe_is_followed() {
        let directory = tempfile::tempdir().unwrap();
        let (outside, inside) = (directory.path().join("outside"), directory.path().join("inside"));
        fs::create_dir(&inside).unwrap();
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("secret"), "x").unwrap();
        symlink(&outside, inside.join("door")).unwrap();
        symlink(outside.join("secret"), inside.join("key")).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, inside.join("pipe"), FILE_MODE).unwrap();
        let scratch = Scratch::open(&inside).unwrap();
        for escape in ["key", "door/secret", "pipe"] {
            assert!(scratch.file(&name(escape), OFlags::RDONLY).is_err(), "{escape}");
            assert!(scratch.file(&name(escape), OFlags::CREATE | OFlags::WRONLY).is_err(), "{escape}");
        }
        assert!(scratch.list(&name("door")).is_err());
        assert!(scratch.stat(&name("door/secret")).is_err());
        assert!(scratch.remove(&name("door/secret"), false).is_err());
        assert!(scratch.rename(&name("pipe"), &name("door/pipe")).is_err());
        assert!(scratch.make_directory(&name("door/new")).is_err());
        let link = scratch.stat(&name("key")).unwrap();
        assert_eq!(FileType::from_raw_mode(link.st_mode), FileType::Symlink);
        assert!(outside.join("secret").exists() && !outside.join("new").exists());
    }
}
