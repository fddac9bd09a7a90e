//! An errand to the hub: entered in the ledger, carried by the link, and what follows from how it went.

use std::time::{Duration, Instant};

use demarc_proto::backup::{BackupName, KeptBackup};

use super::Stage;
use crate::{
    backup::{Act, Errand, JobState, News, Outcome, Packed, Said, request::entry},
    gate::entry::{About, BackupStep},
    ipc::ToLink,
    staged::Staged,
    supervisor::Supervisor,
};

/// So many are removed at the hub after one backup.
const MOST_REMOVED: usize = 20;
/// How long the ledger may take.
const LEDGER: Duration = Duration::from_secs(60);

/// An errand, and what it is for.
pub(super) struct Trip {
    pub(super) job: u64,
    pub(super) act: Act,
    pub(super) packed: Option<Box<Packed>>,
    /// What is to be removed at the hub after that.
    pub(super) surplus: Vec<BackupName>,
}

impl Supervisor {
    pub(super) fn keep_at_hub(&mut self, job: u64, packed: Box<Packed>) {
        let act = Act::Keep { name: packed.name.clone(), bytes: packed.size, sha256: packed.sha256.clone() };
        self.begin_trip(Trip { job, act, packed: Some(packed), surplus: Vec::new() });
    }

    /// Has an errand entered in the ledger; it is carried once it is there.
    pub(super) fn begin_trip(&mut self, trip: Trip) {
        let link = match &self.link_settings {
            Err(why) => Err(format!("there is no tunnel: {why}")),
            Ok(_) if self.link.running().is_none_or(|link| link.ready.is_none()) => {
                Err("the link does not run".to_owned())
            }
            Ok((link, _)) if trip.act.needs_consent() && !link.backup => Err("backups were switched off".to_owned()),
            Ok((link, _)) => Ok(link.hub.clone()),
        };
        let hub = match link {
            Ok(hub) => hub,
            Err(why) => return self.trip_failed(trip, why),
        };
        let (step, name) = match &trip.act {
            Act::Keep { name, .. } => (BackupStep::Keep, Some(name.clone())),
            Act::List => (BackupStep::List, None),
            Act::Fetch { name } => (BackupStep::Fetch, Some(name.clone())),
            Act::Remove { name } => (BackupStep::Remove, Some(name.clone())),
        };
        let payload = entry(&trip.act, &hub);
        let (number, message) = self.relay.own_entry(About::Backup { step, name }, payload);
        self.collector.tell(message);
        self.backups.set(trip.job, JobState::Carrying { bytes: 0 });
        self.backups.stage = Stage::Entering { trip, entry: number, until: Instant::now() + LEDGER };
    }

    /// The ledger has an entry that the supervisor asked for.
    pub(in crate::supervisor) fn backup_entered(&mut self, number: u64) {
        match std::mem::replace(&mut self.backups.stage, Stage::Idle) {
            Stage::Entering { trip, entry, .. } if entry == number => {
                if self.link.running().is_none_or(|link| link.ready.is_none()) {
                    return self.trip_failed(trip, "the link does not run".to_owned());
                }
                self.link.tell(ToLink::Backup(Errand { number, act: trip.act.clone() }));
                self.backups.stage = Stage::Carrying { trip };
                self.backups.carried = number;
            }
            stage => self.backups.stage = stage,
        }
    }

    /// The link tells how an errand goes.
    pub(in crate::supervisor) fn courier_said(&mut self, said: Said) {
        if said.number != self.backups.carried {
            return;
        }
        let Stage::Carrying { trip } = &self.backups.stage else { return };
        let job = trip.job;
        let list = match said.news {
            News::Progress(bytes) => return self.backups.set(job, JobState::Carrying { bytes }),
            News::Done(list) => Ok(list),
            News::Failed(why) => Err(why),
        };
        let Stage::Carrying { trip } = std::mem::replace(&mut self.backups.stage, Stage::Idle) else { return };
        match list {
            Ok(list) => self.trip_done(trip, list),
            Err(why) => self.trip_failed(trip, why),
        }
    }

    /// The link is gone, and what it carried is lost.
    pub(in crate::supervisor) fn courier_ended(&mut self) {
        match std::mem::replace(&mut self.backups.stage, Stage::Idle) {
            Stage::Carrying { trip } => self.trip_failed(trip, "the link ended on the way".to_owned()),
            stage => self.backups.stage = stage,
        }
    }

    fn trip_done(&mut self, mut trip: Trip, list: Vec<KeptBackup>) {
        match (&trip.act, trip.packed.is_some()) {
            (Act::Keep { name, .. }, _) => {
                tracing::info!("the hub keeps the backup {name}");
                let noted =
                    Staged::write(&self.state.backup_at_hub(), name.as_str().as_bytes()).and_then(Staged::commit);
                if let Err(error) = noted {
                    tracing::warn!("that the hub keeps a backup could not be noted: {error}");
                }
                self.backups.at_hub = Some(name.clone());
                self.backups.trouble = None;
                self.note_unsent(None);
                // What is too much there is seen from what is there.
                self.begin_trip(Trip { act: Act::List, ..trip });
            }
            (Act::List, true) => {
                let mut names: Vec<BackupName> = list.into_iter().map(|kept| kept.name).collect();
                names.sort_by(|one, other| other.cmp(one));
                trip.surplus = names.split_off(names.len().min(usize::from(self.loaded.settings.backup.keep)));
                // The oldest first, and not more than a few: what is on the list is the hub's word, and each is an entry.
                trip.surplus.drain(..trip.surplus.len().saturating_sub(MOST_REMOVED));
                self.remove_next(trip);
            }
            (Act::Remove { .. }, _) => self.remove_next(trip),
            (Act::List, false) => {
                let outcome = Outcome { listed: Some(list), ..Outcome::default() };
                self.backups.done(trip.job, outcome);
            }
            (Act::Fetch { .. }, _) => {
                let outcome = Outcome { fetched: Some(self.state.fetched_backup()), ..Outcome::default() };
                self.backups.done(trip.job, outcome);
            }
        }
    }

    fn remove_next(&mut self, mut trip: Trip) {
        match trip.surplus.pop() {
            Some(name) => self.begin_trip(Trip { act: Act::Remove { name }, ..trip }),
            None => {
                let outcome =
                    Outcome { packed: trip.packed.map(|packed| *packed), at_hub: Some(Ok(())), ..Outcome::default() };
                self.backups.done(trip.job, outcome);
            }
        }
    }

    pub(super) fn trip_failed(&mut self, trip: Trip, why: String) {
        let Some(packed) = trip.packed else { return self.backups.failed(trip.job, why) };
        let kept = self.backups.at_hub.as_ref() == Some(&packed.name);
        if !kept {
            tracing::warn!("the backup {} is on this machine and not at the hub: {why}", packed.name);
            self.backups.trouble = Some(format!("the last backup is on this machine and not at the hub: {why}"));
        }
        if !kept {
            self.note_unsent(Some(packed.clone()));
        }
        let at_hub = if kept { Ok(()) } else { Err(why) };
        let outcome = Outcome { packed: Some(*packed), at_hub: Some(at_hub), ..Outcome::default() };
        self.backups.done(trip.job, outcome);
    }
}
