//! An open file of call records: how far it was read, and whether it is still the file that it was.

use std::{
    fs::{File, Metadata, OpenOptions},
    io,
    os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt},
    path::Path,
};

use super::{
    super::position::{Mark, PREFIX, fingerprint},
    TailError,
    survey::modified,
};

/// An open file and how far it was read.
pub(super) struct OpenFile {
    file: File,
    pub(super) device: u64,
    pub(super) inode: u64,
    pub(super) offset: u64,
    /// The file's first bytes, of those that were consumed.
    head: Vec<u8>,
}

/// What the system says of an open file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Now {
    pub(super) size: u64,
    pub(super) modified: i64,
    pub(super) deleted: bool,
}

impl OpenFile {
    /// Opens a file to be read from `offset`; absent where another file has that name by now.
    pub(super) fn open(path: &Path, (device, inode): (u64, u64), offset: u64) -> Result<Option<Self>, TailError> {
        let Some((file, metadata)) = open(path)? else { return Ok(None) };
        if (metadata.dev(), metadata.ino()) != (device, inode) {
            return Ok(None);
        }
        let head = head(&file, offset).map_err(|error| TailError::from_io(path, "read", error))?;
        Ok(Some(Self { file, device, inode, offset, head }))
    }

    /// Whether this is the file that the mark was made of.
    pub(super) fn is(&self, mark: &Mark) -> bool {
        mark.matches(&self.head)
    }

    /// How far it was read.
    pub(super) fn mark(&self) -> Mark {
        Mark {
            device: self.device,
            inode: self.inode,
            offset: self.offset,
            prefix_len: self.head.len() as u32,
            prefix_hash: fingerprint(&self.head),
        }
    }

    pub(super) fn now(&self) -> io::Result<Now> {
        let metadata = self.file.metadata()?;
        Ok(Now { size: metadata.size(), modified: modified(&metadata), deleted: metadata.nlink() == 0 })
    }

    /// Reads on from the offset, without moving it.
    pub(super) fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.file.read_at(&mut buffer[filled..], self.offset + filled as u64) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    /// Whether the file still holds what was consumed. Asked after each reading: a truncation cannot be undone, so
    /// what was read before a good answer was read from the file as it was.
    pub(super) fn unchanged(&self) -> io::Result<bool> {
        Ok(self.file.metadata()?.size() >= self.offset && head(&self.file, self.head.len() as u64)? == self.head)
    }

    /// Counts these bytes, which begin at the offset, as consumed.
    pub(super) fn consume(&mut self, bytes: &[u8]) {
        let missing = PREFIX.saturating_sub(self.head.len());
        self.head.extend_from_slice(&bytes[..bytes.len().min(missing)]);
        self.offset += bytes.len() as u64;
    }

    /// Moves the offset to the last line's end: everything in the file counts as consumed.
    pub(super) fn skip_to_end(&mut self) -> io::Result<()> {
        const TAIL: u64 = 64 * 1024;
        let size = self.file.metadata()?.size();
        let from = size.saturating_sub(TAIL);
        let mut last = vec![0; (size - from) as usize];
        let read = self.file.read_at(&mut last, from)?;
        self.offset = memchr::memrchr(b'\n', &last[..read]).map_or(from, |at| from + at as u64 + 1);
        self.head = head(&self.file, self.offset)?;
        Ok(())
    }
}

/// Opens a plain file with one name for reading; absent where there is none.
///
/// Nothing is followed and nothing blocks: a link could point at what must not be read, a pipe would wait for ever.
pub(in crate::pbx) fn open(path: &Path) -> Result<Option<(File, Metadata)>, TailError> {
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY;
    let file = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        // A socket.
        Err(error) if error.raw_os_error() == Some(libc::ENXIO) => {
            return Err(TailError::NotAFile { path: path.to_owned(), what: "no plain file" });
        }
        Err(error) => return Err(TailError::from_io(path, "opened", error)),
    };
    let metadata = file.metadata().map_err(|error| TailError::from_io(path, "examined", error))?;
    if metadata.is_dir() {
        return Err(TailError::NotAFile { path: path.to_owned(), what: "a directory" });
    }
    if !metadata.is_file() {
        return Err(TailError::NotAFile { path: path.to_owned(), what: "no plain file" });
    }
    if metadata.nlink() > 1 {
        return Err(TailError::HardLinked { path: path.to_owned(), links: metadata.nlink() });
    }
    Ok(Some((file, metadata)))
}

/// A file's first bytes: at most `limit`, and never more than [`PREFIX`].
pub(super) fn head(file: &File, limit: u64) -> io::Result<Vec<u8>> {
    let mut head = vec![0; limit.min(PREFIX as u64) as usize];
    let mut filled = 0;
    while filled < head.len() {
        match file.read_at(&mut head[filled..], filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    head.truncate(filled);
    Ok(head)
}
