//! One supervisor for one state directory.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt,
};

use rustix::fs::{FlockOperation, flock};

use crate::state::StateDir;

/// Held for as long as the supervisor lives; the kernel lets go of it whatever ends the process.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

/// The state directory cannot be taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another supervisor has it.
    #[error("another demarc{} runs on the state directory {directory}; stop it first", pid.map(|pid| format!(" (process {pid})")).unwrap_or_default())]
    Taken {
        /// The other one's process.
        pid: Option<u32>,
        /// The directory.
        directory: String,
    },
    /// The file cannot be locked.
    #[error("the lock file in {directory} cannot be used")]
    Unusable {
        /// The directory.
        directory: String,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl Lock {
    /// Takes the lock, or says who has it.
    pub(super) fn take(state: &StateDir) -> Result<Self, LockError> {
        let directory = state.root().display().to_string();
        let unusable = |source| LockError::Unusable { directory: directory.clone(), source };
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600).custom_flags(libc::O_NOFOLLOW);
        let mut file = options.open(state.lock()).map_err(unusable)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let mut pid = String::new();
                let _ = file.read_to_string(&mut pid);
                return Err(LockError::Taken { pid: pid.trim().parse().ok(), directory });
            }
            Err(error) => return Err(unusable(error.into())),
        }
        // The number is for the other one's message; without it the lock works as well.
        let _ = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
        Ok(Self { _file: file })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_is_told_who_is_first() {
        let root = tempfile::tempdir().unwrap();
        let state = StateDir::new(root.path());
        let first = Lock::take(&state).unwrap();
        let Err(LockError::Taken { pid, .. }) = Lock::take(&state) else { panic!("taken twice") };
        assert_eq!(pid, Some(std::process::id()));
        drop(first);
        Lock::take(&state).unwrap();
    }
}
