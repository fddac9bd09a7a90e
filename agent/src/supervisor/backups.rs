//! Backups as the supervisor runs them: an archivist for one at a time, on the clock or when asked, and errands for the link.

mod packing;
mod schedule;
mod told;
mod trip;

use std::{collections::VecDeque, fs, path::PathBuf, time::Instant};

use demarc_proto::backup::BackupName;
use tokio::sync::mpsc;

use self::{schedule::unsent_file, trip::Trip};
use super::{
    Supervisor, clock,
    process::{Event, Process},
};
use crate::{
    backup::{
        Act, JobState, Outcome, Packed,
        archivist::{FromArchivist, Task},
        local, moment, places,
    },
    settings::backup::Backup as Section,
    state::StateDir,
};

/// Jobs whose state is kept for whoever asked.
const MOST_JOBS: usize = 32;

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
    /// Of what something was closed to us the last time.
    closed: Vec<PathBuf>,
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
            closed: Vec::new(),
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
}
