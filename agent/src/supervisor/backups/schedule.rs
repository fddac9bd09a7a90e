//! When a backup is made by itself, and what is carried to the hub later.

use std::{
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use super::Work;
use crate::{
    backup::Packed,
    staged::Staged,
    state::StateDir,
    supervisor::{Supervisor, clock},
};

/// How soon a backup of the clock's is tried again that could not be made, or could not be carried to the hub.
const AGAIN: Duration = Duration::from_secs(600);
/// How soon one is carried that waits for the tunnel.
const SOON: Duration = Duration::from_secs(20);

impl Supervisor {
    /// When the next one is made by the clock: seconds since 1970 in UTC.
    pub(super) fn next_backup(&self) -> Option<u64> {
        let section = &self.loaded.settings.backup;
        let every = section.every.seconds().filter(|_| section.is_on())?;
        Some(self.backups.made.map_or_else(clock, |made| made.saturating_add(every)))
    }

    /// What is due. It is looked at every few minutes, since a clock may be set.
    pub(super) fn queue_by_the_clock(&mut self, now: Instant) {
        self.backups.not_before = now + AGAIN;
        // A config file that cannot be read may say that nothing is to be made.
        if self.config_error.is_some() || !self.loaded.settings.backup.is_on() {
            return;
        }
        let wait = self.next_backup().map_or(u64::MAX, |next| next.saturating_sub(clock()));
        if wait == 0 {
            self.backups.queue(Work::Make);
        } else if let Some(packed) = self.backups.unsent.clone() {
            if !self.state.backups().join(packed.name.file()).is_file() {
                self.note_unsent(None);
            } else if self.linked.as_ref().is_some_and(|link| link.connected) {
                self.backups.queue(Work::Keep(packed));
            } else {
                self.backups.not_before = now + SOON;
            }
        } else {
            self.backups.not_before = now + Duration::from_secs(wait).min(AGAIN);
        }
    }

    /// Notes what is to be carried to the hub later, over a restart too.
    pub(super) fn note_unsent(&mut self, packed: Option<Box<Packed>>) {
        if self.backups.unsent == packed {
            return;
        }
        let file = unsent_file(&self.state);
        let noted = match &packed {
            Some(packed) => serde_json::to_vec(packed)
                .map_err(Into::into)
                .and_then(|text| Staged::write(&file, &text))
                .and_then(Staged::commit),
            None => fs::remove_file(&file),
        };
        if let Err(error) = noted.or_else(|error| if packed.is_none() { Ok(()) } else { Err(error) }) {
            tracing::warn!("that a backup is not at the hub yet could not be noted: {error}");
        }
        if packed.is_some() && self.backups.unsent.is_none() {
            self.backups.not_before = Instant::now() + SOON;
        }
        self.backups.unsent = packed;
    }
}

/// Where it is noted what did not reach the hub yet.
pub(super) fn unsent_file(state: &StateDir) -> PathBuf {
    state.backups().join("unsent.json")
}
