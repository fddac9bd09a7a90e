//! The import of old call records: whole files, in bounded memory, each row once.

mod crew;
pub mod progress;
mod summary;
#[cfg(test)]
mod tests;

use std::{
    ffi::OsStr,
    fs::File,
    io::{self, Seek},
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

pub use self::summary::{FileOutcome, Summary};
use self::{crew::Job, progress::Progress};
use crate::{
    call::CallRules,
    pbx::{Position, Zone, stretch::Place},
    store::{Known, Origin, Store, StoreError, head_of},
};

/// So many calls at least stay open in memory for later legs.
const OPEN_CALLS: usize = 45_000;
/// Beyond so many bytes in memory of other things they are committed.
const MAX_BYTES: usize = 20 << 20;
/// How long rows wait for their commit: what an interruption costs, and how often live rows must wait for ours.
const COMMIT_EVERY: Duration = Duration::from_secs(5);
/// Memory for the store's pages while much is written, in KiB.
const CACHE: u32 = 4096;
/// How often to begin anew where the daemon reads the same file, before giving up.
const ATTEMPTS: u32 = 20;

/// An import failed. What was committed before stays, and importing the file again goes on from there.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// No such file, or no right to read it.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A directory.
    #[error(
        "{path} is a directory: name the files, such as {path}/Master.csv. The files of account codes beside it repeat its rows and would count calls twice"
    )]
    Directory {
        /// The directory.
        path: PathBuf,
    },
    /// Neither a file nor a directory.
    #[error(
        "{path} is no regular file, so that reading could not go on after an interruption: write it to a file first"
    )]
    NotAFile {
        /// What it is called.
        path: PathBuf,
    },
    /// Compressed.
    #[error("{path} is compressed: unpack it first (gunzip --keep, xz --keep --decompress, ...)")]
    Compressed {
        /// The file.
        path: PathBuf,
    },
    /// The daemon reads the same file all the time.
    #[error("{path} is being read by the daemon: it is counted without an import")]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A file to import, opened.
#[derive(Debug)]
pub struct Input {
    path: PathBuf,
    file: File,
    length: u64,
    account: bool,
    /// Rows that ended then or later are passed over: seconds since 1970 in UTC.
    before: i64,
}

impl Input {
    /// Opens a file and looks whether it can be imported.
    ///
    /// # Errors
    /// When it cannot.
    pub fn open(path: &Path) -> Result<Self, ImportError> {
        let path = path.to_owned();
        let read = |source| ImportError::Read { path: path.clone(), source };
        // Opening a pipe would wait for its writer.
        let kind = std::fs::metadata(&path).map_err(read)?.file_type();
        if kind.is_dir() {
            return Err(ImportError::Directory { path });
        }
        if !kind.is_file() {
            return Err(ImportError::NotAFile { path });
        }
        let mut file = File::open(&path).map_err(read)?;
        let head = head_of(&mut file).map_err(read)?;
        let magics: [&[u8]; 4] = [b"\x1f\x8b", b"\xfd7zXZ", b"BZh", b"\x28\xb5\x2f\xfd"];
        if magics.iter().any(|magic| head.starts_with(magic)) {
            return Err(ImportError::Compressed { path });
        }
        let length = file.metadata().map_err(read)?.len();
        let account = is_of_an_account(&path, &head);
        Ok(Self { path, file, length, account, before: i64::MAX })
    }

    /// Whether the file looks like that of one account code, whose rows stand in `Master.csv` as well.
    pub fn is_of_an_account(&self) -> bool {
        self.account
    }

    /// Passes over rows that ended at that moment or later: somebody else counts them. Seconds since 1970 in UTC.
    #[must_use]
    pub fn before(self, before: i64) -> Self {
        Self { before, ..self }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its length in bytes.
    pub fn length(&self) -> u64 {
        self.length
    }
}

/// `ACME.csv`, `ACME.csv.1`: Asterisk names such a file for the account code, with which all its rows begin.
fn is_of_an_account(path: &Path, head: &[u8]) -> bool {
    let name = path.file_name().map(OsStr::as_bytes).unwrap_or_default();
    let Some(end) = name.windows(4).position(|part| part == b".csv") else { return false };
    let code = &name[..end];
    code != b"Master"
        && head
            .strip_prefix(b"\"")
            .and_then(|rest| rest.strip_prefix(code))
            .is_some_and(|rest| rest.starts_with(b"\","))
}

/// Imports one file. `now` tells the seconds since 1970 in UTC.
///
/// # Errors
/// See [`ImportError`].
pub fn file(
    store: &mut Store,
    mut input: Input,
    zone: Zone,
    rules: &CallRules,
    now: &dyn Fn() -> u64,
    progress: &mut dyn FnMut(Progress),
) -> Result<FileOutcome, ImportError> {
    store.use_cache(CACHE)?;
    let mut outcome = FileOutcome::new(&input.path);
    for _ in 0..ATTEMPTS {
        match attempt(store, &mut input, zone.clone(), rules, now, progress, &mut outcome) {
            // The daemon has read on in this very file: go on behind it.
            Err(ImportError::Store(StoreError::Moved { .. })) => {}
            result => return result.map(|()| outcome),
        }
    }
    Err(ImportError::InUse { path: input.path })
}

fn attempt(
    store: &mut Store,
    input: &mut Input,
    zone: Zone,
    rules: &CallRules,
    now: &dyn Fn() -> u64,
    progress: &mut dyn FnMut(Progress),
    outcome: &mut FileOutcome,
) -> Result<(), ImportError> {
    let (path, before) = (input.path.clone(), input.before);
    let read = |source| ImportError::Read { path: path.clone(), source };
    let file = &mut input.file;
    file.rewind().map_err(read)?;
    let head = head_of(file).map_err(read)?;
    let metadata = file.metadata().map_err(read)?;
    let mut known = store.known(&head)?;
    let start = known.as_ref().map(|known| known.position.clone()).unwrap_or_default();
    if start.offset >= metadata.len() {
        outcome.already_read = known.is_some() && outcome.rows == 0;
        progress(Progress { bytes: metadata.len(), rows: outcome.rows });
        return Ok(());
    }
    // What is appended while we read is for the next time: else an import of a live file might never end.
    let job = Job { file, length: metadata.len(), zone: &zone, rules, now: now(), before, start: Place::of(&start) };
    let mut pending = store.import(OPEN_CALLS)?;
    let mut last_commit = Instant::now();
    crew::read(&job, |crew| {
        loop {
            let ended = crew.advance(&mut pending).map_err(read)?;
            if ended || pending.bytes() > MAX_BYTES || last_commit.elapsed() > COMMIT_EVERY {
                crew.come_back(&mut pending).map_err(read)?;
                let mut position = Position {
                    device: metadata.dev(),
                    inode: metadata.ino(),
                    modified: metadata.mtime() * 1_000_000_000 + metadata.mtime_nsec(),
                    older: start.older.clone(),
                    ..Position::default()
                };
                crew.place().note(&mut position);
                position.take_fingerprint(&head);
                pending.position(Origin::File { known: known.clone(), head: head.clone() }, &position);
                outcome.add(&store.commit(&mut pending, now())?);
                known = Some(Known::after(known.as_ref(), &position));
                last_commit = Instant::now();
            }
            progress(Progress { bytes: crew.place().offset, rows: outcome.rows + pending.rows() });
            if ended {
                outcome.trouble = crew.trouble();
                return Ok(());
            }
        }
    })
}
