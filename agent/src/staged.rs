//! A private file on its way: written and synced beside its place, then renamed into it.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

/// A file that is durable under a temporary name. Dropped before [`Staged::commit`], it goes away.
#[derive(Debug)]
pub(crate) struct Staged {
    temporary: PathBuf,
    place: PathBuf,
}

impl Staged {
    /// Writes the bytes beside `place`, readable by the owner alone.
    pub(crate) fn write(place: &Path, bytes: &[u8]) -> io::Result<Self> {
        let mut name = place.as_os_str().to_owned();
        name.push(".new");
        let staged = Self { temporary: PathBuf::from(name), place: place.to_owned() };
        // Left over from a crash; an exclusive create then never follows a link.
        match fs::remove_file(&staged.temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&staged.temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        Ok(staged)
    }

    /// Puts the file in its place, instead of what was there.
    pub(crate) fn commit(mut self) -> io::Result<()> {
        let temporary = std::mem::take(&mut self.temporary);
        fs::rename(&temporary, &self.place)?;
        match self.place.parent() {
            Some(directory) => File::open(directory)?.sync_all(),
            None => Ok(()),
        }
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if !self.temporary.as_os_str().is_empty() {
            // Nothing can be done about a failure here, and the next write clears the way.
            let _ = fs::remove_file(&self.temporary);
        }
    }
}

/// Makes a directory, and those above it, that only the owner can enter.
pub(crate) fn private_directory(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn only_a_commit_changes_the_place() {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().join("deep/file");
        private_directory(place.parent().unwrap()).unwrap();
        drop(Staged::write(&place, b"lost").unwrap());
        assert_eq!(fs::read_dir(place.parent().unwrap()).unwrap().count(), 0);
        Staged::write(&place, b"first").unwrap().commit().unwrap();
        fs::write(directory.path().join("deep/file.new"), b"left over").unwrap();
        Staged::write(&place, b"second").unwrap().commit().unwrap();
        assert_eq!(fs::read(&place).unwrap(), b"second");
        assert_eq!(fs::metadata(&place).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(place.parent().unwrap()).unwrap().count(), 1);
    }
}
