//! The archivist of one backup: started with the rights to what the backup covers, and listened to until it ends.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use super::Stage;
use crate::{
    backup::{
        JobState,
        archivist::{FromArchivist, Task},
    },
    confine::layout::{self, covers},
    ipc::EXIT_NOT_CONFINED,
    supervisor::{
        Ending, Supervisor, clock,
        process::{Event, Process},
    },
};

/// How long an archivist may take.
const LONGEST: Duration = Duration::from_secs(1800);

impl Supervisor {
    pub(super) fn start_archivist(&mut self, job: u64, now: Instant) -> Result<(), String> {
        let settings = &self.loaded.settings;
        let section = &settings.backup;
        let Some(recipient) = section.recipient.clone().filter(|_| section.enabled) else {
            return Err("backups are off; `demarc backup key` and `demarc backup on` switch them on".to_owned());
        };
        let (places, troubles) = &self.backups.places;
        let held = |place: &&PathBuf| self.ground.landlock.is_none() || covers(&self.granted, place);
        let paths: Vec<_> = places.iter().filter(held).cloned().collect();
        if paths.is_empty() {
            let wait = self.backup_wait().map(|wait| wait.words);
            return Err(wait.or_else(|| troubles.first().cloned()).unwrap_or_else(|| {
                "nothing of what a backup covers is on this machine; name it in backup.paths".to_owned()
            }));
        }
        let profile = layout::archivist(&self.ground, settings, &paths);
        let task = Task {
            state_dir: settings.state_dir.clone(),
            paths,
            recipient,
            now: clock(),
            keep: usize::from(section.keep),
        };
        let events = self.backups.events.clone();
        let process = Process::start("archivist", job, &profile, Vec::new(), None, events)
            .map_err(|error| format!("no archivist can be started: {error}"))?;
        self.backups.stage = Stage::Packing { job, process, task: Some(task), until: now + LONGEST, said: None };
        self.backups.set(job, JobState::Packing { files: 0, bytes: 0 });
        Ok(())
    }

    pub(super) fn backup_failed(&mut self, job: u64, why: String) {
        tracing::warn!("a backup was not made: {why}");
        self.backups.trouble = Some(format!("the last backup was not made: {why}"));
        self.backups.failed(job, why);
    }

    /// Takes in what an archivist does.
    pub(in crate::supervisor) fn archivist_did(&mut self, number: u64, event: Event<FromArchivist>) {
        let Stage::Packing { job, process, task, said, .. } = &mut self.backups.stage else { return };
        let job = *job;
        if job != number {
            return;
        }
        match event {
            Event::Said(FromArchivist::Ready(_)) => {
                if let Some(task) = task.take() {
                    process.tell(task);
                }
            }
            Event::Said(FromArchivist::Progress { files, bytes }) => {
                self.backups.set(job, JobState::Packing { files, bytes });
            }
            Event::Said(FromArchivist::Done(packed)) => *said = Some(Ok(packed)),
            Event::Said(FromArchivist::Failed(why)) => *said = Some(Err(why)),
            Event::Ended(status) => {
                let said = said.take();
                if status.as_ref().ok().and_then(std::process::ExitStatus::code) == Some(i32::from(EXIT_NOT_CONFINED)) {
                    self.ending = Some(Ending::NotConfined);
                }
                self.backups.stage = Stage::Idle;
                match said.unwrap_or_else(|| Err("the archivist was ended before it was done".to_owned())) {
                    Ok(packed) => {
                        tracing::info!("a backup was made: {} files, {} bytes encrypted", packed.files, packed.size);
                        if packed.skipped_count > 0 {
                            tracing::warn!(
                                "{} files are not in the backup; `demarc backup now` says which",
                                packed.skipped_count
                            );
                        }
                        (self.backups.trouble, self.backups.made) = (None, Some(clock()));
                        self.backups.closed.clone_from(&packed.closed);
                        self.keep_at_hub(job, packed);
                    }
                    Err(why) => self.backup_failed(job, why),
                }
            }
        }
    }
}
