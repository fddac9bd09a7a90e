//! The archivist: a process that makes one backup, and ends. It reads what it was granted, and has no network.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::{fs::OpenOptionsExt, net::UnixStream},
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::Context;
use demarc_proto::backup::BackupName;
use rustix::process::Signal;
use serde::{Deserialize, Serialize};

use super::{
    age::Recipient,
    archive::{Packed, pack},
    local, moment, name_at,
};
use crate::{
    ipc::{
        Confined,
        channel::{recv_blocking, send_blocking},
    },
    state::StateDir,
};

/// How often the progress is told.
const TELL_EVERY: Duration = Duration::from_millis(200);

/// What the archivist is to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// The state directory.
    pub state_dir: PathBuf,
    /// What to read.
    pub paths: Vec<PathBuf>,
    /// For whom: `age1…`.
    pub recipient: String,
    /// The clock: seconds since 1970 in UTC.
    pub now: u64,
    /// How many backups stay on this machine.
    pub keep: usize,
}

/// What the archivist says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FromArchivist {
    /// Confined, self-test passed; what the confinement is.
    Ready(Confined),
    /// So far.
    Progress {
        /// Files.
        files: u64,
        /// Their bytes.
        bytes: u64,
    },
    /// It is made.
    Done(Box<Packed>),
    /// It could not be made, in words.
    Failed(String),
}

/// Makes one backup for the supervisor.
///
/// # Errors
/// When the supervisor is gone.
pub fn serve(socket: &mut UnixStream, confined: Confined) -> anyhow::Result<ExitCode> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    // Calls come first.
    // SAFETY: the call takes numbers, and means this process.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, 19) };
    send_blocking(socket, &FromArchivist::Ready(confined))?;
    let task: Task = recv_blocking(socket)?;
    let mut told = Instant::now();
    let made = make(&task, &mut |files, bytes| {
        if told.elapsed() >= TELL_EVERY {
            told = Instant::now();
            let _ = send_blocking(socket, &FromArchivist::Progress { files, bytes });
        }
    });
    let answer = match made {
        Ok(packed) => FromArchivist::Done(Box::new(packed)),
        Err(error) => FromArchivist::Failed(format!("{error:#}")),
    };
    send_blocking(socket, &answer)?;
    Ok(ExitCode::SUCCESS)
}

fn make(task: &Task, tell: &mut dyn FnMut(u64, u64)) -> anyhow::Result<Packed> {
    let state = StateDir::new(&task.state_dir);
    let recipient = Recipient::parse(&task.recipient).context("backup.recipient is no key")?;
    let name = unused(&state, task.now);
    let place = state.backups().join(name.file());
    let unfinished = state.backups().join("unfinished");
    let made = write(&unfinished, |file| pack(&task.paths, &recipient, name, file, tell))
        .and_then(|packed| {
            if packed.files == 0 {
                return Err(io::Error::other("not one file could be read, so no backup was made"));
            }
            fs::rename(&unfinished, &place)?;
            File::open(state.backups())?.sync_all()?;
            Ok(packed)
        })
        .inspect_err(|_| drop(fs::remove_file(&unfinished)))?;
    for (old, _) in local(&state).into_iter().skip(task.keep.max(1)) {
        // One that stays is tried again with the next backup.
        let _ = fs::remove_file(state.backups().join(old.file()));
    }
    Ok(made)
}

/// Writes a new private file, durably.
fn write<T>(path: &Path, content: impl FnOnce(&mut File) -> io::Result<T>) -> io::Result<T> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    let result = content(&mut file)?;
    file.sync_all()?;
    Ok(result)
}

/// A name that comes after every one that is there, whatever the clock says: the newest name is the newest backup.
fn unused(state: &StateDir, now: u64) -> BackupName {
    let newest = local(state).first().and_then(|(name, _)| moment(name));
    name_at(newest.map_or(now, |newest| now.max(newest + 1)))
}

#[cfg(test)]
mod tests;
