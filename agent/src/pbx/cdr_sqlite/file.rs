//! The file as it lies on the disk: whether it has changed, and how to open it so that it stays as it is.

use std::{
    ffi::OsString,
    fs,
    io::{self, Read},
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::Fault;

/// How long to wait for Asterisk to finish a write.
const PATIENCE: Duration = Duration::from_millis(200);
/// Where the header of the file says whether there is a write-ahead log, and how.
const VERSION: usize = 18;
const WITH_LOG: u8 = 2;

/// What tells that something was written: of a file and of its log, which of them, how long, and when.
type Trace = [Option<(u64, u64, i64, i64)>; 2];

/// Watches the file.
pub(super) struct Watcher {
    path: PathBuf,
    /// What it looked like when all of it had been read.
    seen: Option<Trace>,
    /// What it looked like before this look.
    now: Trace,
    /// Whether it is opened as a file that nobody writes.
    still: bool,
    /// Whether this process was let in, or found nothing there.
    looked: bool,
}

/// Why there was nothing to read.
pub(super) enum Closed {
    /// In words.
    Fault(Fault),
    /// The file came to its place since this process was confined, and another one could open it.
    CameLater,
}

impl Watcher {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, seen: None, now: [None; 2], still: false, looked: false }
    }

    /// Whether there is anything to read.
    pub(super) fn has_changed(&mut self) -> bool {
        self.now = self.trace();
        // One that is not there is worth saying once; opening it does that.
        self.seen.as_ref() != Some(&self.now) || self.now[0].is_none()
    }

    /// All of it, as it was before this look, has been read.
    pub(super) fn seen(&mut self) {
        // Two writes within one tick of the clock leave the same trace: one of just now proves nothing.
        let settled = super::super::now() - 2;
        let young = self.now.iter().flatten().any(|(_, _, written, _)| *written > settled);
        self.seen = Some(self.now).filter(|_| !young);
    }

    /// Opens the file for reading alone.
    ///
    /// A file with a write-ahead log wants a helper beside it, which SQLite would make. Where the log is not there, nobody has the
    /// file open, and it can be read as one that never changes; whether that was so is asked afterwards.
    pub(super) fn open(&mut self) -> Result<Connection, Closed> {
        let version = header_version(&self.path);
        let refused = version.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied);
        if refused && self.looked {
            return Err(Closed::CameLater);
        }
        self.looked |= !refused;
        let has_log = version.map_err(|error| Closed::Fault(self.gone(&error)))? == WITH_LOG;
        self.still = has_log && self.trace()[1].is_none();
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let uri = format!("file:{}?mode=ro{}", escaped(&self.path), if self.still { "&immutable=1" } else { "" });
        let explain = |error: rusqlite::Error| Closed::Fault(self.explain(&error, ""));
        let connection = Connection::open_with_flags(uri, flags).map_err(explain)?;
        connection.busy_timeout(PATIENCE).map_err(explain)?;
        Ok(connection)
    }

    /// Whether a file that was read as one that nobody writes was written after all.
    pub(super) fn is_disturbed(&self) -> bool {
        self.still && self.trace() != self.now
    }

    /// What is wrong, and what the owner can do.
    pub(super) fn explain(&self, error: &rusqlite::Error, table: &str) -> Fault {
        let place = self.path.display();
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => self.busy(),
            Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
                Fault(format!("{place} is no SQLite file, or a damaged one"))
            }
            Some(ErrorCode::ReadOnly) => Fault(format!(
                "{place} was left in the middle of a write, which Asterisk mends with its next record; until then it cannot be read"
            )),
            Some(ErrorCode::CannotOpen) => Fault(format!(
                "{place} cannot be opened: demarc must be able to read it and the files beside it that bear its name; \
                 where they came later than demarc, restart demarc"
            )),
            _ => Fault(format!(
                "{place} cannot be read ({error}); the table \"{table}\" must hold columns start (or calldate), duration and \
                 disposition: see cdr_sqlite3_custom.conf"
            )),
        }
    }

    /// Asterisk is just writing.
    pub(super) fn busy(&self) -> Fault {
        Fault(format!("{} is being written all the time; it is tried again", self.path.display()))
    }

    fn gone(&self, error: &io::Error) -> Fault {
        Fault(format!("{} cannot be read ({error}); is cdr_sqlite3_custom loaded?", self.path.display()))
    }

    fn trace(&self) -> Trace {
        let mut log = OsString::from(&self.path);
        log.push("-wal");
        [&self.path, &PathBuf::from(log)].map(|path| {
            let metadata = fs::metadata(path).ok()?;
            Some((metadata.ino(), metadata.len(), metadata.mtime(), metadata.mtime_nsec()))
        })
    }
}

fn header_version(path: &Path) -> io::Result<u8> {
    let mut header = Vec::with_capacity(VERSION + 1);
    fs::File::open(path)?.take(VERSION as u64 + 1).read_to_end(&mut header)?;
    // An empty file is an empty database.
    Ok(header.get(VERSION).copied().unwrap_or(0))
}

/// A path as it stands in a URI.
fn escaped(path: &Path) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'.' | b'-' | b'_');
    let bytes = path.as_os_str().as_bytes().iter();
    bytes.map(|&byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}
