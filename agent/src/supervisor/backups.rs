//! Backups as the supervisor runs them: an archivist for one at a time, on the clock or when asked, and errands for the link.

use std::{
    collections::VecDeque,
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use demarc_proto::backup::BackupName;
use tokio::sync::mpsc;

use super::{
    Ending, Supervisor, clock,
    process::{Event, Process},
};
use crate::{
    backup::{
        Act, BackupStatus, Errand, JobState, News, Order, Outcome, Packed, Said, Told,
        archivist::{FromArchivist, Task},
        local, moment, places,
        request::entry,
    },
    confine::layout::{self, covers},
    control::Answer,
    gate::entry::{About, BackupStep},
    ipc::{EXIT_NOT_CONFINED, ToLink},
    settings::backup::Backup as Section,
    staged::Staged,
    state::StateDir,
};

/// Jobs whose state is kept for whoever asked.
const MOST_JOBS: usize = 32;
/// How long an archivist may take.
const LONGEST: Duration = Duration::from_secs(1800);
/// How soon a backup of the clock's is tried again that could not be made, or could not be carried to the hub.
const AGAIN: Duration = Duration::from_secs(600);
/// So many are removed at the hub after one backup.
const MOST_REMOVED: usize = 20;
/// How long the ledger may take.
const LEDGER: Duration = Duration::from_secs(60);
/// How soon one is carried that waits for the tunnel.
const SOON: Duration = Duration::from_secs(20);

/// Everything about backups that the running supervisor knows.
pub(super) struct Backups {
    events: mpsc::Sender<(u64, Event<FromArchivist>)>,
    /// Counts jobs; the process that does one has its number.
    jobs: u64,
    states: VecDeque<(u64, JobState)>,
    waiting: VecDeque<(u64, Work)>,
    stage: Stage,
    /// The number of the errand that is carried.
    carried: u64,
    /// The newest that the hub keeps.
    at_hub: Option<BackupName>,
    /// Not before that is anything done by the clock.
    not_before: Instant,
    /// What was made and did not reach the hub.
    unsent: Option<Box<Packed>>,
    /// By which settings the clock went, and what they cover; what is wrong with the rest, in words. Paths are looked for when
    /// the settings change and not more often: one may lie on a disk far away, which makes everybody wait who looks.
    section: (Section, Vec<PathBuf>),
    places: (Vec<PathBuf>, Vec<String>),
    /// When the newest was made by this machine's clock, which may have been wrong at the time.
    made: Option<u64>,
    /// Why the last backup was not made, or is not at the hub, in words.
    trouble: Option<String>,
}

/// What a job is.
#[derive(Clone, Debug)]
enum Work {
    Make,
    /// One that was made and did not reach the hub.
    Keep(Box<Packed>),
    List,
    Fetch(BackupName),
}

/// What is being done.
enum Stage {
    Idle,
    Packing {
        job: u64,
        process: Process<Task>,
        task: Option<Task>,
        until: Instant,
        said: Option<Result<Box<Packed>, String>>,
    },
    /// The ledger is to have it first.
    Entering {
        trip: Trip,
        entry: u64,
        until: Instant,
    },
    Carrying {
        trip: Trip,
    },
}

/// An errand, and what it is for.
struct Trip {
    job: u64,
    act: Act,
    packed: Option<Box<Packed>>,
    /// What is to be removed at the hub after that.
    surplus: Vec<BackupName>,
}

impl Backups {
    pub(super) fn new(state: &StateDir, events: mpsc::Sender<(u64, Event<FromArchivist>)>) -> Self {
        let noted = fs::read_to_string(state.backup_at_hub()).ok();
        Self {
            events,
            jobs: 0,
            states: VecDeque::new(),
            waiting: VecDeque::new(),
            stage: Stage::Idle,
            carried: 0,
            at_hub: noted.and_then(|name| name.trim().parse().ok()),
            not_before: Instant::now(),
            unsent: fs::read(unsent_file(state)).ok().and_then(|text| serde_json::from_slice(&text).ok()),
            section: Default::default(),
            places: Default::default(),
            made: local(state).first().and_then(|(name, _)| moment(name)).map(|made| made.min(clock())),
            trouble: None,
        }
    }

    /// When something is to be done even if nothing happens.
    pub(super) fn next_due(&self) -> Option<Instant> {
        match &self.stage {
            Stage::Packing { until, .. } | Stage::Entering { until, .. } => Some(*until),
            // The clock of the world decides; it is looked at now and then.
            Stage::Idle => Some(self.not_before),
            _ => None,
        }
    }

    fn queue(&mut self, work: Work) -> u64 {
        self.jobs += 1;
        self.states.push_back((self.jobs, JobState::Waiting));
        let surplus = self.states.len().saturating_sub(MOST_JOBS);
        self.states.drain(..surplus);
        self.waiting.push_back((self.jobs, work));
        self.jobs
    }

    fn set(&mut self, job: u64, state: JobState) {
        if let Some((_, known)) = self.states.iter_mut().find(|(number, _)| *number == job) {
            *known = state;
        }
    }

    fn done(&mut self, job: u64, outcome: Outcome) {
        self.set(job, JobState::Done(Box::new(outcome)));
        self.stage = Stage::Idle;
    }

    fn failed(&mut self, job: u64, reason: String) {
        self.set(job, JobState::Failed { reason });
        self.stage = Stage::Idle;
    }
}

impl Supervisor {
    /// Starts what is due, if nothing else is being done.
    pub(super) fn make_backups(&mut self, now: Instant) {
        if let Stage::Packing { process, until, .. } = &self.backups.stage
            && (self.ending.is_some() || *until <= now || !self.loaded.settings.backup.is_on())
        {
            process.kill();
        }
        if self.ending.is_some() {
            return;
        }
        if matches!(&self.backups.stage, Stage::Entering { until, .. } if *until <= now)
            && let Stage::Entering { trip, .. } = std::mem::replace(&mut self.backups.stage, Stage::Idle)
        {
            self.trip_failed(trip, "it could not be entered in the ledger".to_owned());
        }
        let settings = &self.loaded.settings;
        if self.backups.section.0 != settings.backup || self.backups.section.1 != settings.recordings.paths {
            self.backups.section = (settings.backup.clone(), settings.recordings.paths.clone());
            self.backups.places = if settings.backup.is_on() { places::find(settings) } else { Default::default() };
            self.backups.not_before = now;
        }
        let idle = matches!(self.backups.stage, Stage::Idle) && self.backups.waiting.is_empty();
        if idle && self.backups.not_before <= now {
            self.queue_by_the_clock(now);
        }
        while matches!(self.backups.stage, Stage::Idle)
            && let Some((job, work)) = self.backups.waiting.pop_front()
        {
            let act = match work {
                Work::Make => {
                    if let Err(why) = self.start_archivist(job, now) {
                        self.backup_failed(job, why);
                    }
                    continue;
                }
                Work::Keep(packed) => {
                    self.keep_at_hub(job, packed);
                    continue;
                }
                Work::List => Act::List,
                Work::Fetch(name) => Act::Fetch { name },
            };
            self.begin_trip(Trip { job, act, packed: None, surplus: Vec::new() });
        }
    }

    /// When the next one is made by the clock: seconds since 1970 in UTC.
    fn next_backup(&self) -> Option<u64> {
        let section = &self.loaded.settings.backup;
        let every = section.every.seconds().filter(|_| section.is_on())?;
        Some(self.backups.made.map_or_else(clock, |made| made.saturating_add(every)))
    }

    /// What is due. It is looked at every few minutes, since a clock may be set.
    fn queue_by_the_clock(&mut self, now: Instant) {
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
    fn note_unsent(&mut self, packed: Option<Box<Packed>>) {
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

    fn start_archivist(&mut self, job: u64, now: Instant) -> Result<(), String> {
        let settings = &self.loaded.settings;
        let section = &settings.backup;
        let Some(recipient) = section.recipient.clone().filter(|_| section.enabled) else {
            return Err("backups are off; `demarc backup key` and `demarc backup on` switch them on".to_owned());
        };
        let (places, troubles) = &self.backups.places;
        let held = |place: &&PathBuf| self.ground.landlock.is_none() || covers(&self.granted, place);
        let paths: Vec<_> = places.iter().filter(held).cloned().collect();
        if paths.is_empty() {
            let why = troubles.first().cloned();
            return Err(why.unwrap_or_else(|| {
                "nothing that a backup covers was there and known when demarc was started; name it in backup.paths and \
                 restart demarc"
                    .to_owned()
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

    fn backup_failed(&mut self, job: u64, why: String) {
        tracing::warn!("a backup was not made: {why}");
        self.backups.trouble = Some(format!("the last backup was not made: {why}"));
        self.backups.failed(job, why);
    }

    /// Takes in what an archivist does.
    pub(super) fn archivist_did(&mut self, number: u64, event: Event<FromArchivist>) {
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
                        self.keep_at_hub(job, packed);
                    }
                    Err(why) => self.backup_failed(job, why),
                }
            }
        }
    }

    fn keep_at_hub(&mut self, job: u64, packed: Box<Packed>) {
        let act = Act::Keep { name: packed.name.clone(), bytes: packed.size, sha256: packed.sha256.clone() };
        self.begin_trip(Trip { job, act, packed: Some(packed), surplus: Vec::new() });
    }

    /// Has an errand entered in the ledger; it is carried once it is there.
    fn begin_trip(&mut self, trip: Trip) {
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
    pub(super) fn backup_entered(&mut self, number: u64) {
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
    pub(super) fn courier_said(&mut self, said: Said) {
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
    pub(super) fn courier_ended(&mut self) {
        match std::mem::replace(&mut self.backups.stage, Stage::Idle) {
            Stage::Carrying { trip } => self.trip_failed(trip, "the link ended on the way".to_owned()),
            stage => self.backups.stage = stage,
        }
    }

    fn trip_done(&mut self, mut trip: Trip, list: Vec<demarc_proto::backup::KeptBackup>) {
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

    fn trip_failed(&mut self, trip: Trip, why: String) {
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

    /// Does what was asked about backups, or says how it stands.
    pub(super) fn backup_for(&mut self, order: Order, now: Instant) -> Answer {
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
    pub(super) fn backup_status(&self) -> BackupStatus {
        let settings = &self.loaded.settings;
        let enabled = settings.backup.is_on();
        let (paths, troubles) = self.backups.places.clone();
        BackupStatus {
            enabled,
            paths,
            last: local(&self.state).into_iter().next().map(|(name, _)| name),
            at_hub: self.backups.at_hub.clone(),
            next: self.next_backup(),
            troubles: troubles.into_iter().chain(self.backups.trouble.clone().filter(|_| enabled)).collect(),
        }
    }

    /// What waits for a restart, in words.
    pub(super) fn backup_notice(&self) -> Option<String> {
        let settings = &self.loaded.settings;
        if !settings.backup.is_on() || self.ground.landlock.is_none() {
            return None;
        }
        let (places, _) = &self.backups.places;
        let missing = places.iter().find(|place| !covers(&self.granted, place))?;
        Some(format!(
            "{} was not to be backed up, or not there, when demarc was started, and the running demarc may not read it; restart \
             demarc to have it in backups.",
            missing.display()
        ))
    }
}

fn unsent_file(state: &StateDir) -> PathBuf {
    state.backups().join("unsent.json")
}
