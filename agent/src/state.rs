//! The state directory: where each thing that the agent keeps lies, and who may touch it.

use std::{
    fs::{self, DirBuilder, Permissions},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

use demarc_proto::{SiteId, bytes64::Bytes64};
use serde::{Deserialize, Serialize};

/// The layout of `state_dir`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateDir(PathBuf);

impl StateDir {
    /// The layout below that directory.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self(root.into())
    }

    /// The directory itself.
    pub fn root(&self) -> &Path {
        &self.0
    }

    /// The collector's own: store and ledger.
    pub fn collector(&self) -> PathBuf {
        self.0.join("collector")
    }

    /// The store of call figures (SQLite).
    pub fn store(&self) -> PathBuf {
        self.collector().join("calls.db")
    }

    /// The index of the store's log, which readers and writers of it share.
    pub fn store_index(&self) -> PathBuf {
        self.collector().join("calls.db-shm")
    }

    /// The ledger of everything that left.
    pub fn ledger(&self) -> PathBuf {
        self.collector().join("ledger.jsonl")
    }

    /// Cleared reports that wait for the tunnel: written by the collector, read by the link.
    pub fn outbox(&self) -> PathBuf {
        self.0.join("outbox")
    }

    /// The link's own: the private key and its certificate.
    pub fn link(&self) -> PathBuf {
        self.0.join("link")
    }

    /// What is known of the enrollment, without any secret.
    pub fn site(&self) -> PathBuf {
        self.0.join("site")
    }

    /// The file in [`StateDir::site`].
    pub fn site_file(&self) -> PathBuf {
        self.site().join("site.json")
    }

    /// The supervisor's own: the site's SSH host key, the book of grants, and the recordings of sessions.
    pub fn support(&self) -> PathBuf {
        self.0.join("support")
    }

    /// The site's SSH host key, which also signs grants.
    pub fn host_key(&self) -> PathBuf {
        self.support().join("host_key")
    }

    /// Its public half.
    pub fn host_key_public(&self) -> PathBuf {
        self.support().join("host_key.pub")
    }

    /// The certificate by which an engineer knows this site.
    pub fn host_certificate(&self) -> PathBuf {
        self.support().join("host_key-cert.pub")
    }

    /// The live grants.
    pub fn grants(&self) -> PathBuf {
        self.support().join("grants.json")
    }

    /// The name of the cgroup that the last supervisor made its sessions' cgroups in.
    pub fn cgroup_note(&self) -> PathBuf {
        self.support().join("cgroup")
    }

    /// What sessions showed and were told, a file each.
    pub fn session_recordings(&self) -> PathBuf {
        self.support().join("recordings")
    }

    /// The keeper's own: what it knows of call recordings, and none of them.
    pub fn recordings(&self) -> PathBuf {
        self.0.join("recordings")
    }

    /// How many recordings there were, day by day: [`crate::recordings::files::History`].
    pub fn recordings_history(&self) -> PathBuf {
        self.recordings().join("history.json")
    }

    /// When recordings were removed: [`crate::recordings::files::Prunings`].
    pub fn prunings(&self) -> PathBuf {
        self.recordings().join("prunings.json")
    }

    /// What the last dry run found, one [`crate::recordings::files::Listed`] a line.
    pub fn recordings_list(&self) -> PathBuf {
        self.recordings().join("list.jsonl")
    }

    /// The archivist's own: encrypted backups of the phone system's configuration. The link reads them.
    pub fn backups(&self) -> PathBuf {
        self.0.join("backups")
    }

    /// The name of the newest backup that the hub keeps.
    pub fn backup_at_hub(&self) -> PathBuf {
        self.backups().join("at-hub")
    }

    /// A backup that was fetched from the hub.
    pub fn fetched_backup(&self) -> PathBuf {
        self.link().join("fetched.age")
    }

    /// Where sessions may write: a directory each, removed with its session.
    pub fn scratch(&self) -> PathBuf {
        self.0.join("scratch")
    }

    /// Files that no role may be able to open; each tries at its start.
    pub fn canary(&self) -> PathBuf {
        self.0.join("canary")
    }

    /// Where the supervisor listens for the command line.
    pub fn control_socket(&self) -> PathBuf {
        self.0.join("control.sock")
    }

    /// Held locked by the supervisor, so that two never run on one state directory.
    pub fn lock(&self) -> PathBuf {
        self.0.join("lock")
    }

    /// Makes the directories that are missing, and closes those that are there to everybody else. The root itself
    /// keeps its mode where it exists: the owner may have put the config file into it.
    ///
    /// # Errors
    /// When one cannot be made, or belongs to somebody else.
    pub fn create(&self) -> Result<(), StateError> {
        if !self.0.is_dir() {
            make(&self.0)?;
        }
        let directories = [
            self.collector(),
            self.outbox(),
            self.link(),
            self.site(),
            self.support(),
            self.session_recordings(),
            self.recordings(),
            self.backups(),
            self.scratch(),
            self.canary(),
        ];
        for directory in directories {
            make(&directory)?;
            fs::set_permissions(&directory, Permissions::from_mode(0o700))
                .map_err(|source| StateError { path: directory, source })?;
        }
        Ok(())
    }

    /// Makes a process that runs as root go on as the owner of the state directory, so that no file there ends up
    /// root's. Does nothing for anybody else, and where the directory does not exist yet.
    ///
    /// # Errors
    /// When the directory cannot be looked at, or the kernel refuses the change.
    pub fn become_owner(&self) -> Result<(), StateError> {
        let fail = |source| StateError { path: self.0.clone(), source };
        let owner = match fs::metadata(&self.0) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(fail(error)),
        };
        if !rustix::process::geteuid().is_root() || owner.uid() == 0 {
            return Ok(());
        }
        let group = owner.gid();
        // SAFETY: the calls take plain numbers and one pointer to a live number; the C library changes every thread.
        let changed =
            unsafe { libc::setgroups(1, &group) == 0 && libc::setgid(group) == 0 && libc::setuid(owner.uid()) == 0 };
        if changed { Ok(()) } else { Err(fail(io::Error::last_os_error())) }
    }
}

fn make(directory: &Path) -> Result<(), StateError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .map_err(|source| StateError { path: directory.to_owned(), source })
}

/// The state directory cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{} cannot be used as (part of) the state directory; is it writable for the user that demarc runs as?", path.display())]
pub struct StateError {
    /// The directory.
    pub path: PathBuf,
    /// Why.
    #[source]
    pub source: io::Error,
}

/// What is known of the enrollment, without any secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Site {
    /// The vendor's name for this site.
    pub site: SiteId,
    /// The hub that the token named, `host:port`.
    pub hub: String,
    /// The hub's CA certificate in DER: the only one that the link trusts.
    pub ca: Bytes64,
    /// The Ed25519 public key that signs the hub's receipts (32 bytes).
    pub receipt_key: Bytes64,
    /// When the site was enrolled: seconds since 1970 in UTC.
    pub enrolled: u64,
}

impl Site {
    /// Reads what is known of the enrollment; nothing before there was one.
    ///
    /// # Errors
    /// When the file is there and cannot be read or understood.
    pub fn load(state: &StateDir) -> Result<Option<Self>, StateError> {
        let path = state.site_file();
        let fail = |source| StateError { path: path.clone(), source };
        match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|error| fail(error.into())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(fail(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_are_private() {
        let root = tempfile::tempdir().unwrap();
        let state = StateDir::new(root.path().join("deep/state"));
        state.create().unwrap();
        fs::set_permissions(state.link(), Permissions::from_mode(0o755)).unwrap();
        state.create().unwrap();
        for directory in [state.root().to_owned(), state.collector(), state.outbox(), state.link(), state.canary()] {
            assert_eq!(fs::metadata(&directory).unwrap().mode() & 0o777, 0o700, "{}", directory.display());
        }
    }
}
