//! Opening the store: making it where there is none, bringing it up to date, and telling whether it is sound.

use std::{
    fs::{self, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use rusqlite::{Connection, OpenFlags};

use super::{BUSY, Store, StoreError, names::NameTable, schema};
use crate::state::StateDir;

/// A store up to this size is looked over whenever the daemon opens it; it takes some milliseconds.
const ALWAYS_CHECKED: u64 = 8 << 20;
/// After an unclean end so is one up to this size; beyond, damage shows when the page is read.
const CHECKED_AFTER_A_CRASH: u64 = 256 << 20;

impl Store {
    /// Opens the store of the daemon, or makes it, and looks whether it is sound.
    ///
    /// # Errors
    /// When it cannot be opened. If [`StoreError::is_corrupt`] then, [`Store::set_aside`] makes room for a fresh one.
    pub fn open(state: &StateDir) -> Result<Self, StoreError> {
        let path = state.store();
        make_directory(&state.collector())?;
        make_file(&path)?;
        // SQLite removes the log when the last process closes the store. One that is still there comes from a crash,
        // or another process is at work.
        let unclean = fs::metadata(beside(&path, "-wal")).is_ok_and(|log| log.len() > 0);
        let size = fs::metadata(&path).map_or(0, |file| file.len());
        let store = Self::join(&path)?;
        if size <= if unclean { CHECKED_AFTER_A_CRASH } else { ALWAYS_CHECKED } {
            store.check()?;
        }
        Ok(store)
    }

    /// Opens a store that is there already, for a command that looks or imports; none if there is none. It is not
    /// looked over: that is for the daemon, and it would cost every command the time.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open_existing(state: &StateDir) -> Result<Option<Self>, StoreError> {
        let path = state.store();
        match fs::metadata(&path) {
            Ok(file) if file.len() > 0 => Self::join(&path).map(Some),
            Ok(_) => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(io_fault(&path, error)),
        }
    }

    /// Opens the store for looking at it; none if there is none of today's layout yet. Nothing can be written by this way.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open_to_read(state: &StateDir) -> Result<Option<Self>, StoreError> {
        let path = state.store();
        if fs::metadata(&path).is_ok_and(|file| file.len() > 0) {
            let fault = |error: rusqlite::Error| StoreError::of(&path, error.into());
            let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            let connection = Connection::open_with_flags(&path, flags).map_err(fault)?;
            connection.busy_timeout(BUSY).map_err(fault)?;
            connection.set_prepared_statement_cache_capacity(64);
            connection
                .execute_batch("PRAGMA cache_size = -2048; PRAGMA temp_store = MEMORY; PRAGMA trusted_schema = OFF;")
                .map_err(fault)?;
            let found = schema::version(&connection).map_err(fault)?;
            if found < schema::KNOWN {
                // The daemon is about to make it, or to bring it up to date.
                return Ok(None);
            }
            if found > schema::KNOWN {
                return Err(StoreError::TooNew { path, found, known: schema::KNOWN });
            }
            return Ok(Some(Self::around(connection, path)));
        }
        Ok(None)
    }

    /// Gives a damaged store another name, `calls.db.corrupt-<time>`, so that a fresh one can begin. Nothing is
    /// deleted. Returns the new name.
    ///
    /// # Errors
    /// When it cannot be renamed.
    pub fn set_aside(state: &StateDir, now: u64) -> Result<PathBuf, StoreError> {
        let path = state.store();
        let mut aside = beside(&path, &format!(".corrupt-{now}"));
        for number in 2.. {
            if fs::symlink_metadata(&aside).is_err() {
                break;
            }
            aside = beside(&path, &format!(".corrupt-{now}-{number}"));
        }
        // The log first: without the file it is harmless, while a fresh file must not meet an old log.
        for end in ["-wal", "-shm", ""] {
            match fs::rename(beside(&path, end), beside(&aside, end)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(io_fault(&path, error)),
                _ => {}
            }
        }
        Ok(aside)
    }

    /// Looks through the whole file.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when it is damaged.
    pub fn check(&self) -> Result<(), StoreError> {
        let verdict: String = self
            .connection
            .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
            .map_err(|error| self.fault(error))?;
        if verdict == "ok" { Ok(()) } else { Err(StoreError::Corrupt { path: self.path.clone() }) }
    }

    /// Lets the store use more memory for its pages, where a lot is to be written.
    ///
    /// # Errors
    /// When the store does not answer.
    pub fn use_cache(&self, kibibytes: u32) -> Result<(), StoreError> {
        self.connection.pragma_update(None, "cache_size", -i64::from(kibibytes)).map_err(|error| self.fault(error))
    }

    fn join(path: &Path) -> Result<Self, StoreError> {
        let fault = |error: rusqlite::Error| StoreError::of(path, error.into());
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection = Connection::open_with_flags(path, flags).map_err(fault)?;
        connection.busy_timeout(BUSY).map_err(fault)?;
        // Two processes that make a fresh store at once: SQLite refuses one of them without waiting.
        let deadline = Instant::now() + BUSY;
        loop {
            match prepare(&connection).map_err(fault) {
                Err(StoreError::Busy { .. }) if Instant::now() < deadline => thread::sleep(Duration::from_millis(20)),
                result => break result?,
            }
        }
        let found = schema::version(&connection).map_err(fault)?;
        if found > schema::KNOWN {
            return Err(StoreError::TooNew { path: path.to_owned(), found, known: schema::KNOWN });
        }
        if found < schema::KNOWN {
            schema::migrate(&mut connection).map_err(fault)?;
        }
        Ok(Self::around(connection, path.to_owned()))
    }

    fn around(connection: Connection, path: PathBuf) -> Self {
        Self {
            connection,
            path,
            names: NameTable::default(),
            expected: Default::default(),
            imports: Default::default(),
            pruned: 0,
            keep_missed: None,
            qualities: Default::default(),
        }
    }
}

fn prepare(connection: &Connection) -> rusqlite::Result<()> {
    connection.set_prepared_statement_cache_capacity(64);
    // The agent shares its machine with live calls: little memory, nothing in temporary files, a short log.
    connection.execute_batch(
        "PRAGMA cache_size = -512;
         PRAGMA temp_store = MEMORY;
         PRAGMA journal_mode = WAL;
         PRAGMA synchronous = NORMAL;
         PRAGMA journal_size_limit = 4194304;
         PRAGMA trusted_schema = OFF;",
    )
}

fn make_directory(path: &Path) -> Result<(), StoreError> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|error| io_fault(path, error))
}

/// SQLite gives its log the mode of the file, so it is enough to make the file ourselves.
fn make_file(path: &Path) -> Result<(), StoreError> {
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(io_fault(path, error)),
        _ => Ok(()),
    }
}

fn io_fault(path: &Path, error: io::Error) -> StoreError {
    let path = path.to_owned();
    match error.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            StoreError::Denied { path, reason: error.to_string() }
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StoreError::Full { path },
        _ => StoreError::Io { path, source: error },
    }
}

fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    name.into()
}
