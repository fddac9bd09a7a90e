//! What can go wrong with the store, told apart by what the owner can do.

use std::path::{Path, PathBuf};

/// The store could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No room. Nothing is lost: the rows stand in the PBX's own file and are read again.
    #[error("no room left on the disk of {path}: free some; counting goes on from where it stopped")]
    Full {
        /// The store's file.
        path: PathBuf,
    },
    /// Not allowed to write.
    #[error("cannot open or write {path} ({reason}): make its directory writable for the user that demarc runs as")]
    Denied {
        /// The store's file or directory.
        path: PathBuf,
        /// The system's word for it.
        reason: String,
    },
    /// The file holds something else than it should.
    #[error(
        "{path} is damaged: restart demarc to set it aside under a new name and begin a fresh one, then `demarc import` old call records"
    )]
    Corrupt {
        /// The store's file.
        path: PathBuf,
    },
    /// Somebody else held the store for too long.
    #[error("{path} has been in use by another process for too long: try again")]
    Busy {
        /// The store's file.
        path: PathBuf,
    },
    /// Written by a later version of this program.
    #[error(
        "{path} was written by a later version of demarc (layout {found}, this one knows {known}): install that version again"
    )]
    TooNew {
        /// The store's file.
        path: PathBuf,
        /// The layout of the file.
        found: i64,
        /// The newest layout known here.
        known: i64,
    },
    /// Somebody else read on in a source meanwhile, such as an import. The batch was dropped: read again from
    /// the stored position.
    #[error("another process has read on in {path}: reading goes on from there")]
    Moved {
        /// The source.
        path: PathBuf,
    },
    /// The system failed to read or write.
    #[error("cannot use {path}: {source}")]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// Anything else that SQLite says.
    #[error("{path}: {source}")]
    Sqlite {
        /// The store's file.
        path: PathBuf,
        /// SQLite's error; it quotes statements, never values.
        source: rusqlite::Error,
    },
}

impl StoreError {
    /// Whether the file itself is damaged, so that [`super::Store::set_aside`] is what helps.
    pub fn is_corrupt(&self) -> bool {
        matches!(self, Self::Corrupt { .. })
    }

    pub(super) fn of(path: &Path, error: Fault) -> Self {
        let path = path.to_owned();
        let source = match error {
            Fault::Moved(source) => return Self::Moved { path: source },
            Fault::Sqlite(source) => source,
        };
        let code = match &source {
            rusqlite::Error::SqliteFailure(failure, _) => failure.code,
            // A stored value is not of the form that only this program writes.
            rusqlite::Error::FromSqlConversionFailure(..)
            | rusqlite::Error::InvalidColumnType(..)
            | rusqlite::Error::IntegralValueOutOfRange(..) => return Self::Corrupt { path },
            _ => return Self::Sqlite { path, source },
        };
        match code {
            rusqlite::ErrorCode::DiskFull => Self::Full { path },
            rusqlite::ErrorCode::ReadOnly
            | rusqlite::ErrorCode::CannotOpen
            | rusqlite::ErrorCode::PermissionDenied
            | rusqlite::ErrorCode::AuthorizationForStatementDenied => Self::Denied { path, reason: source.to_string() },
            rusqlite::ErrorCode::DatabaseCorrupt | rusqlite::ErrorCode::NotADatabase => Self::Corrupt { path },
            rusqlite::ErrorCode::DatabaseBusy | rusqlite::ErrorCode::DatabaseLocked => Self::Busy { path },
            _ => Self::Sqlite { path, source },
        }
    }
}

/// What goes wrong inside, before the path is known.
#[derive(Debug)]
pub(super) enum Fault {
    Sqlite(rusqlite::Error),
    Moved(PathBuf),
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

/// A stored value that is not of the form that only this program writes.
pub(super) fn damaged(error: impl std::error::Error + Send + Sync + 'static) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Blob, Box::new(error))
}
