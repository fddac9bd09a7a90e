//! Files that must not open: planted ones and known recordings, tried by every process once it is confined.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::{
        fd::AsRawFd,
        unix::fs::{OpenOptionsExt, PermissionsExt},
    },
    path::{Path, PathBuf},
};

use crate::state::{StateDir, StateError};

/// What came of trying.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tried {
    /// Could be opened.
    pub opened: Vec<PathBuf>,
    /// Were there, and were refused.
    pub refused: usize,
}

/// The planted files of that state directory.
pub fn planted(state: &StateDir) -> [PathBuf; 2] {
    [state.canary().join("recording.wav"), state.canary().join("voicemail.wav")]
}

/// Plants the canaries, whatever became of earlier ones.
///
/// # Errors
/// When they cannot be written.
pub fn plant(state: &StateDir) -> Result<(), StateError> {
    for path in planted(state) {
        let fail = |source| StateError { path: path.clone(), source };
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600).custom_flags(libc::O_NOFOLLOW);
        let mut file = options.open(&path).map_err(fail)?;
        file.set_permissions(fs::Permissions::from_mode(0o600)).map_err(fail)?;
        file.write_all(b"If a process of demarc can read this, its confinement is broken.\n").map_err(fail)?;
    }
    Ok(())
}

/// Tries to open each for reading. A file that is not there shows nothing and is not counted.
pub fn try_all(paths: &[PathBuf]) -> Tried {
    let mut tried = Tried::default();
    for path in paths {
        match open(path) {
            Ok(_) => tried.opened.push(path.clone()),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => tried.refused += 1,
            Err(_) => {}
        }
    }
    tried
}

/// Opens for reading without waiting for the other end of a pipe.
pub fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path)
}

/// A canary without a name, for a process whose grants cover the planted ones: it lies in the directory for temporary
/// files, vanishes with its handle, and can only be opened anew through `/proc`.
#[derive(Debug)]
pub struct Nameless(File);

impl Nameless {
    /// Makes one; absent where the machine has no place for it, or where opening it anew would show nothing.
    pub fn make() -> Option<Self> {
        let canary = Self(tempfile::tempfile().ok()?);
        open(&canary.path()).ok()?;
        Some(canary)
    }

    /// Where it can be opened, while the handle lives.
    pub fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.0.as_raw_fd()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_confinement_every_canary_opens() {
        let root = tempfile::tempdir().unwrap();
        let state = StateDir::new(root.path());
        state.create().unwrap();
        plant(&state).unwrap();
        plant(&state).unwrap();
        let mut paths = planted(&state).to_vec();
        let nameless = Nameless::make().unwrap();
        paths.push(nameless.path());
        paths.push(root.path().join("absent"));
        let tried = try_all(&paths);
        assert_eq!((tried.opened.as_slice(), tried.refused), (&paths[..3], 0));
    }
}
