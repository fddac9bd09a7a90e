//! What is asked about backups and told of them.

use std::time::Instant;

use super::{MOST_JOBS, Work};
use crate::{
    backup::{BackupStatus, Order, Told, closed_words, local},
    confine::layout::covers,
    control::{Answer, Wait},
    supervisor::Supervisor,
};

impl Supervisor {
    /// Does what was asked about backups, or says how it stands.
    pub(in crate::supervisor) fn backup_for(&mut self, order: Order, now: Instant) -> Answer {
        let work = match order {
            Order::Look { job } => {
                let known = self.backups.states.iter().find(|(number, _)| *number == job);
                return match known {
                    Some((_, state)) => Answer::Backup(Told::State(state.clone())),
                    None => Answer::Refused { reason: "demarc knows no job of that number any more".to_owned() },
                };
            }
            Order::Now => Work::Make,
            Order::List => Work::List,
            Order::Fetch { name } => Work::Fetch(name),
        };
        // What stands in the file counts, however fresh it is.
        self.reload(now);
        if self.backups.waiting.len() >= MOST_JOBS / 2 {
            return Answer::Refused { reason: "too much is asked about backups; try again in a while".to_owned() };
        }
        Answer::Backup(Told::Job { job: self.backups.queue(work) })
    }

    /// What `demarc status` shows of backups.
    pub(in crate::supervisor) fn backup_status(&self) -> BackupStatus {
        let settings = &self.loaded.settings;
        let enabled = settings.backup.is_on();
        let (paths, troubles) = self.backups.places.clone();
        let closed: Vec<String> =
            self.backups.closed.iter().filter(|path| paths.contains(path)).map(|path| closed_words(path)).collect();
        BackupStatus {
            enabled,
            paths,
            last: local(&self.state).into_iter().next().map(|(name, _)| name),
            at_hub: self.backups.at_hub.clone(),
            next: self.next_backup(),
            troubles: troubles
                .into_iter()
                .chain(closed)
                .chain(self.backups.trouble.clone().filter(|_| enabled))
                .collect(),
        }
    }

    /// What is to be backed up and cannot be read by this process.
    pub(in crate::supervisor) fn backup_wait(&self) -> Option<Wait> {
        let settings = &self.loaded.settings;
        if !settings.backup.is_on() || self.ground.landlock.is_none() {
            return None;
        }
        let (places, _) = &self.backups.places;
        let missing = places.iter().find(|place| !covers(&self.granted, place))?;
        let words = format!(
            "{} was not to be backed up, or not there, when demarc was started, and the running demarc may not read it; restart \
             demarc to have it in backups.",
            missing.display()
        );
        Some(Wait::new("backup", words))
    }
}
