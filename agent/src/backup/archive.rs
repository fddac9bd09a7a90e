//! From files to one encrypted file: a tar archive, compressed with gzip, sealed with [`super::age`].
//!
//! Trees are walked by the descriptors of their directories. No symbolic link is followed; it is archived as a link. What is a
//! recording by its name or by its beginning is left out, and so is a file with a second name: a hard link inside a directory
//! that may be read would be a way to a recording that may not.

use std::{
    ffi::{CStr, CString, OsStr},
    fs::File,
    io::{self, Read, Write},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::{Path, PathBuf},
};

use data_encoding::HEXLOWER;
use demarc_proto::backup::{BackupName, MOST_BACKUP_BYTES};
use flate2::{Compression, write::GzEncoder};
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat, openat, readlinkat, statat};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tar::{Builder, EntryType, Header};

use super::age::{Recipient, Sealer};
use crate::recordings::names::is_recording;

/// A longer file is left out: configuration is not that long.
const MOST_FILE_BYTES: u64 = 16 << 20;
/// Files of one backup.
const MOST_FILES: u64 = 200_000;
/// Levels below a path; each keeps one descriptor open.
const MOST_LEVELS: usize = 32;
/// Names of what was left out that are told; of more, the number.
const MOST_SKIPPED: usize = 50;
/// What is in the archive beside files: what was left out, and why.
pub(super) const NOTE: &str = "demarc-backup.json";
const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
// A pipe that took the place of a file must not make anybody wait.
const FILE: OFlags = OFlags::RDONLY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC).union(OFlags::NONBLOCK);

/// A backup that was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Packed {
    /// Its name.
    pub name: BackupName,
    /// Files in it.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The length of the encrypted file.
    pub size: u64,
    /// Its SHA-256, in hexadecimal.
    pub sha256: String,
    /// What was left out and why, in words; not more than a few.
    pub skipped: Vec<String>,
    /// How many were left out.
    pub skipped_count: u64,
    /// Those of the paths at or below which something is closed to this process's user.
    #[serde(default)]
    pub closed: Vec<PathBuf>,
}

/// What is in the archive beside files.
#[derive(Debug, Serialize)]
struct Note<'a> {
    made: &'a BackupName,
    by: &'a str,
    skipped: &'a [String],
    skipped_count: u64,
}

/// Seals everything at and below those paths into a file.
///
/// # Errors
/// When the file cannot be written, or would be too long.
pub(super) fn pack(
    paths: &[PathBuf],
    recipient: &Recipient,
    name: BackupName,
    file: &mut File,
    tell: &mut dyn FnMut(u64, u64),
) -> io::Result<Packed> {
    let counted = Counted { file, bytes: 0, hash: Sha256::new() };
    let compressed = GzEncoder::new(Sealer::new(counted, recipient)?, Compression::default());
    let mut packer = Packer {
        tar: Builder::new(compressed),
        files: 0,
        bytes: 0,
        skipped: Vec::new(),
        skipped_count: 0,
        is_closed: false,
        tell,
    };
    let mut closed = Vec::new();
    for path in paths {
        packer.path(path)?;
        if std::mem::take(&mut packer.is_closed) {
            closed.push(path.clone());
        }
    }
    let Packer { mut tar, files, bytes, skipped, skipped_count, .. } = packer;
    let by = concat!("demarc ", env!("CARGO_PKG_VERSION"));
    let note = serde_json::to_vec_pretty(&Note { made: &name, by, skipped: &skipped, skipped_count })?;
    let mut header = Header::new_gnu();
    header.set_size(note.len() as u64);
    header.set_mode(0o600);
    tar.append_data(&mut header, NOTE, note.as_slice())?;
    let counted = tar.into_inner()?.finish()?.finish()?;
    let (size, hash) = (counted.bytes, counted.hash.finalize());
    let sha256 = HEXLOWER.encode(hash.as_slice());
    Ok(Packed { name, files, bytes, size, sha256, skipped, skipped_count, closed })
}

struct Packer<'a, W: Write> {
    tar: Builder<W>,
    files: u64,
    bytes: u64,
    skipped: Vec<String>,
    skipped_count: u64,
    /// Whether something was closed to our user.
    is_closed: bool,
    tell: &'a mut dyn FnMut(u64, u64),
}

impl<W: Write> Packer<'_, W> {
    fn skip(&mut self, path: &Path, why: impl std::fmt::Display) {
        self.skipped_count += 1;
        if self.skipped.len() < MOST_SKIPPED {
            self.skipped.push(format!("{}: {why}", path.display()));
        }
    }

    /// What cannot be read is left out.
    fn fail(&mut self, path: &Path, error: impl Into<io::Error>) {
        let error = error.into();
        self.is_closed |= error.kind() == io::ErrorKind::PermissionDenied;
        self.skip(path, error);
    }

    /// One of the paths that the owner named, as it really lies.
    fn path(&mut self, path: &Path) -> io::Result<()> {
        let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else { return Ok(()) };
        // The directory above may not be listed, and need not be.
        let above = openat(CWD, directory, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
        match (above, CString::new(name.as_bytes())) {
            (Ok(above), Ok(name)) => self.entry(above.as_fd(), &name, path, None, 0),
            (Err(error), _) => {
                self.fail(path, error);
                Ok(())
            }
            (_, Err(_)) => Ok(()),
        }
    }

    fn entry(
        &mut self,
        above: BorrowedFd<'_>,
        name: &CStr,
        path: &Path,
        device: Option<u64>,
        level: usize,
    ) -> io::Result<()> {
        let stat = match statat(above, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(error) => {
                self.fail(path, error);
                return Ok(());
            }
        };
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => match openat(above, name, DIRECTORY, Mode::empty()) {
                Ok(directory) => self.directory(directory, path, device, level),
                Err(error) => {
                    self.fail(path, error);
                    Ok(())
                }
            },
            FileType::RegularFile => self.file(above, name, path, &stat),
            FileType::Symlink => match readlinkat(above, name, Vec::new()) {
                Ok(target) => {
                    let mut header = header(&stat, EntryType::Symlink, 0);
                    self.tar.append_link(&mut header, inside(path), OsStr::from_bytes(target.to_bytes()))
                }
                Err(error) => {
                    self.fail(path, error);
                    Ok(())
                }
            },
            _ => {
                self.skip(path, "neither a file nor a directory");
                Ok(())
            }
        }
    }

    // The types of these numbers differ from one architecture to the next.
    #[allow(clippy::useless_conversion, clippy::unnecessary_fallible_conversions)]
    fn directory(&mut self, directory: OwnedFd, path: &Path, device: Option<u64>, level: usize) -> io::Result<()> {
        let stat = rustix::fs::fstat(&directory)?;
        let here = u64::try_from(stat.st_dev).unwrap_or(0);
        if device.is_some_and(|device| device != here) {
            self.skip(path, "another file system is mounted there");
            return Ok(());
        }
        if level >= MOST_LEVELS {
            self.skip(path, "too many levels down");
            return Ok(());
        }
        let mut head = header(&stat, EntryType::Directory, 0);
        self.tar.append_data(&mut head, inside(path), io::empty())?;
        let mut names: Vec<CString> = Vec::new();
        for entry in Dir::read_from(&directory)? {
            let entry = entry?;
            if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
                names.push(entry.file_name().to_owned());
            }
        }
        names.sort();
        for name in names {
            let below = path.join(OsStr::from_bytes(name.to_bytes()));
            self.entry(directory.as_fd(), &name, &below, Some(here), level + 1)?;
        }
        Ok(())
    }

    fn file(&mut self, above: BorrowedFd<'_>, name: &CStr, path: &Path, seen: &Stat) -> io::Result<()> {
        if self.files >= MOST_FILES {
            self.skip(path, "there are too many files");
            return Ok(());
        }
        if is_recording(name.to_bytes()) {
            self.skip(path, "a recording, by its name");
            return Ok(());
        }
        if let Some(why) = unfit(seen) {
            self.skip(path, why);
            return Ok(());
        }
        match read(above, name) {
            Ok((stat, content)) => {
                if is_sound(&content) {
                    self.skip(path, "a recording, by how it begins");
                    return Ok(());
                }
                let mut header = header(&stat, EntryType::Regular, content.len() as u64);
                self.tar.append_data(&mut header, inside(path), content.as_slice())?;
                self.files += 1;
                self.bytes += content.len() as u64;
                (self.tell)(self.files, self.bytes);
            }
            Err(error) => self.fail(path, error),
        }
        Ok(())
    }
}

/// Why a file is left out, for what is known of it without opening it.
fn unfit(stat: &Stat) -> Option<&'static str> {
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Some("it is no file any more");
    }
    if stat.st_nlink > 1 {
        return Some("it has a second name (a hard link), and could be a recording under it");
    }
    (u64::try_from(stat.st_size).unwrap_or(u64::MAX) > MOST_FILE_BYTES).then_some("longer than 16 MiB")
}

/// A whole file. It is looked at again once it is open, since it may be another one by then.
fn read(above: BorrowedFd<'_>, name: &CStr) -> io::Result<(Stat, Vec<u8>)> {
    let mut file = File::from(openat(above, name, FILE, Mode::empty())?);
    let stat = rustix::fs::fstat(&file)?;
    if let Some(why) = unfit(&stat) {
        return Err(io::Error::other(why));
    }
    let mut content = Vec::new();
    (&mut file).take(MOST_FILE_BYTES + 1).read_to_end(&mut content)?;
    if content.len() as u64 > MOST_FILE_BYTES {
        return Err(io::Error::other("longer than 16 MiB"));
    }
    Ok((stat, content))
}

/// Whether it begins as sound does, whatever it is called.
fn is_sound(content: &[u8]) -> bool {
    let wave = content.starts_with(b"RIFF") && content.get(8..12) == Some(b"WAVE".as_slice());
    wave || [b"OggS".as_slice(), b"ID3", b"fLaC", b"#!AMR"].iter().any(|head| content.starts_with(head))
}

#[allow(clippy::useless_conversion, clippy::unnecessary_cast)]
fn header(stat: &Stat, kind: EntryType, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_mode(stat.st_mode as u32 & 0o7777);
    header.set_uid(u64::from(stat.st_uid));
    header.set_gid(u64::from(stat.st_gid));
    header.set_mtime(u64::try_from(stat.st_mtime).unwrap_or(0));
    header
}

/// A path as the archive has it.
fn inside(path: &Path) -> &Path {
    path.strip_prefix("/").unwrap_or(path)
}

/// Counts and hashes what is written, and ends when it becomes too long for a hub.
struct Counted<'a> {
    file: &'a mut File,
    bytes: u64,
    hash: Sha256,
}

impl Write for Counted<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.bytes += written as u64;
        if self.bytes > MOST_BACKUP_BYTES {
            return Err(io::Error::other("the backup would be longer than 256 MiB: name less in backup.paths"));
        }
        self.hash.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
