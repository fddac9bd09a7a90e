//! What can keep a file from being followed.

use std::{io, path::PathBuf};

/// What can keep a file from being followed.
#[derive(Debug, thiserror::Error)]
pub enum TailError {
    /// This process may not open the file: it lacks the right, or it was confined when the file was another one.
    /// A process that starts anew may be let in.
    #[error("{path} may not be opened ({source}); the user that Demarc runs as needs the right to read it")]
    NotReachable {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Something else lies there.
    #[error("{path} is {what}; `path` must name the file of call records itself")]
    NotAFile {
        /// What was opened.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// The file has other names too, so that it may be something that must not be read.
    #[error("{path} has {links} names (hard links); remove the others, or copy the file")]
    HardLinked {
        /// The file.
        path: PathBuf,
        /// How many names it has.
        links: u64,
    },
    /// The system failed.
    #[error("{path} cannot be {action}: {source}")]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What was tried, as a participle.
        action: &'static str,
        /// Why.
        source: io::Error,
    },
}

impl TailError {
    pub(super) fn from_io(path: impl Into<PathBuf>, action: &'static str, source: io::Error) -> Self {
        let path = path.into();
        match source.raw_os_error() {
            Some(libc::EACCES | libc::EPERM) => Self::NotReachable { path, source },
            Some(libc::ELOOP) => Self::NotAFile { path, what: "a symbolic link" },
            _ => Self::Io { path, action, source },
        }
    }
}

/// What went by that cannot be mended, and what the owner can do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// There is no file.
    #[error("{} does not exist. {hint}", .path.display())]
    Missing {
        /// The file.
        path: PathBuf,
        /// When it comes to be there, in words.
        hint: &'static str,
    },
    /// The rest of a file lies only in a compressed one.
    #[error(
        "{} was compressed before it was read to its end: its last rows were not counted. Unpack it and import it \
         with `demarc import`, and set delaycompress for logrotate", .path.display()
    )]
    Compressed {
        /// The compressed file.
        path: PathBuf,
    },
    /// A file is gone, and whether it was read to its end is not known.
    #[error(
        "the file that was read last is neither {} nor beside it: rows that were written to it after Demarc stopped \
         reading, if there were any, were not counted", .path.display()
    )]
    Lost {
        /// The file that is followed.
        path: PathBuf,
    },
}
