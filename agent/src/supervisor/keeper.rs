//! The keeper of recordings as the supervisor runs it: started for one job at a time, on the clock or when asked.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use tokio::sync::{mpsc, oneshot};

use super::{
    Ending, Supervisor, clock,
    process::{Event, Process},
};
use crate::{
    confine::layout,
    control::Answer,
    ipc::EXIT_NOT_CONFINED,
    recordings::{
        By, FromKeeper, Job, JobState, NO_TREES, Outcome, Progress, RecordingsStatus, ToKeeper, Work,
        files::Pruning,
        trees::{self, Tree},
    },
    settings::Settings,
};

/// How often recordings are counted.
const EVERY: Duration = Duration::from_secs(3600);
/// How soon a job of the clock's is tried again that could not be done.
const AGAIN: Duration = Duration::from_secs(60);
/// How often old ones are removed by retention, in seconds.
const PRUNE_EVERY: u64 = 86_400;
/// How long a rule waits that did not remove anything in the last two days: somebody may have mistyped it, or the clock
/// may be wrong after a start.
const SECOND_THOUGHTS: Duration = Duration::from_secs(3600);
/// Jobs that wait.
const MOST_WAITING: usize = 8;
/// Jobs whose outcome is kept for whoever asked.
const MOST_OUTCOMES: usize = 8;

/// Everything about recordings that the running supervisor knows.
pub(super) struct Keeper {
    events: mpsc::Sender<(u64, Event<FromKeeper>)>,
    /// The trees, and what is wrong with others, in words. They are looked for when the settings change and not more often:
    /// one may lie on a disk far away, which makes everybody wait who looks.
    trees: (Vec<Tree>, Vec<String>),
    /// Counts jobs; the process that does one has its number.
    jobs: u64,
    at_work: Option<AtWork>,
    waiting: VecDeque<(u64, Work, By)>,
    outcomes: VecDeque<(u64, Result<Outcome, String>)>,
    seen: Option<Outcome>,
    next_look: Instant,
    /// Since when the settings are what they are.
    settled: Instant,
    /// Why the last job of the clock's failed, in words.
    trouble: Option<String>,
}

/// A job that is being done.
struct AtWork {
    number: u64,
    process: Process<ToKeeper>,
    job: Option<ToKeeper>,
    by: By,
    removes: bool,
    progress: Progress,
    done: Option<Result<Outcome, String>>,
}

impl Keeper {
    /// The process that does a job, while one does.
    pub(super) fn pid(&self) -> Option<u32> {
        self.at_work.as_ref().map(|at_work| at_work.process.pid)
    }

    pub(super) fn new(events: mpsc::Sender<(u64, Event<FromKeeper>)>, settings: &Settings, now: Instant) -> Self {
        Self {
            events,
            trees: trees::find(settings),
            jobs: 0,
            at_work: None,
            waiting: VecDeque::new(),
            outcomes: VecDeque::new(),
            seen: None,
            next_look: now,
            settled: now,
            trouble: None,
        }
    }

    /// When something is to be done even if nothing happens.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.at_work.is_none().then_some(self.next_look)
    }

    /// The settings of recordings are others: what goes by the old ones ends, and everything is looked at anew.
    pub(super) fn settings_changed(&mut self, settings: &Settings, now: Instant) {
        self.trees = trees::find(settings);
        self.settled = now;
        self.next_look = now;
        if let Some(at_work) = self.at_work.as_ref().filter(|at_work| at_work.removes) {
            at_work.process.kill();
        }
    }

    fn queue(&mut self, work: Work, by: By) -> u64 {
        self.jobs += 1;
        self.waiting.push_back((self.jobs, work, by));
        self.jobs
    }

    fn keep(&mut self, number: u64, outcome: Result<Outcome, String>) {
        self.outcomes.push_back((number, outcome));
        let surplus = self.outcomes.len().saturating_sub(MOST_OUTCOMES);
        self.outcomes.drain(..surplus);
    }

    fn state(&self, number: u64) -> Option<JobState> {
        if let Some(at_work) = self.at_work.as_ref().filter(|at_work| at_work.number == number) {
            return Some(JobState::Running(at_work.progress));
        }
        if self.waiting.iter().any(|(waiting, ..)| *waiting == number) {
            return Some(JobState::Waiting);
        }
        let (_, outcome) = self.outcomes.iter().find(|(done, _)| *done == number)?;
        Some(match outcome {
            Ok(outcome) => JobState::Done(Box::new(outcome.clone())),
            Err(reason) => JobState::Failed { reason: reason.clone() },
        })
    }
}

impl Supervisor {
    /// Starts what is due, if nothing else is being done.
    pub(super) fn keep_recordings(&mut self, now: Instant) {
        if self.ending.is_some() {
            if let Some(at_work) = &self.keeper.at_work {
                at_work.process.kill();
            }
            return;
        }
        if self.keeper.next_look <= now {
            self.keeper.next_look = now + EVERY;
            let waits = self.keeper.waiting.iter().any(|(_, _, by)| *by == By::Retention);
            if self.trees().is_empty() {
                self.keeper.seen = None;
            } else if !waits {
                self.queue_what_is_due(now);
            }
        }
        while self.keeper.at_work.is_none()
            && let Some((number, work, by)) = self.keeper.waiting.pop_front()
        {
            if let Err(why) = self.start_job(number, &work, by) {
                self.job_failed(number, by, why, now);
            }
        }
    }

    /// The trees that this process can hand on to the keeper.
    fn trees(&self) -> Vec<Tree> {
        let (trees, _) = &self.keeper.trees;
        let may_go = |tree: &&Tree| self.ground.landlock.is_none() || layout::holds(&self.granted, tree);
        trees.iter().filter(may_go).cloned().collect()
    }

    /// Counting; or removing, which counts as well, where retention says so.
    fn queue_what_is_due(&mut self, now: Instant) {
        let work = match self.next_pruning(now) {
            Some(Due::Now) if self.config_error.is_none() => Work::Prune { older_than: None },
            _ => Work::Inventory,
        };
        self.keeper.queue(work, By::Retention);
    }

    /// When retention removes files next, if it is on. Nothing is removed before everything was counted once.
    fn next_pruning(&self, now: Instant) -> Option<Due> {
        let rule = self.loaded.settings.recordings.retention.keeps()?.as_secs();
        let settled = now.saturating_duration_since(self.keeper.settled);
        match &self.keeper.seen {
            Some(seen) => Some(due(seen.last_pruning.as_ref(), rule, clock(), settled)),
            None => Some(Due::At(clock())),
        }
    }

    fn start_job(&mut self, number: u64, work: &Work, by: By) -> Result<(), String> {
        let settings = &self.loaded.settings;
        let trees = self.trees();
        if trees.is_empty() {
            return Err(NO_TREES.to_owned());
        }
        let removes = matches!(work, Work::Prune { .. });
        if removes && self.config_error.is_some() {
            return Err("the config file cannot be used as it is, and may hold what was to be removed: mend it first"
                .to_owned());
        }
        let profile = layout::keeper(&self.ground, settings, &trees);
        let job = Job::new(work, by, settings, trees)?;
        let events = self.keeper.events.clone();
        let process = Process::start("keeper", number, &profile, Vec::new(), None, events)
            .map_err(|error| format!("the keeper cannot be started: {error}"))?;
        let (job, progress) = (Some(Box::new(job)), Progress::default());
        self.keeper.at_work = Some(AtWork { number, process, job, by, removes, progress, done: None });
        Ok(())
    }

    fn job_failed(&mut self, number: u64, by: By, why: String, now: Instant) {
        if by == By::Retention {
            tracing::warn!("recordings could not be counted: {why}");
            self.keeper.trouble = Some(why.clone());
            self.keeper.next_look = self.keeper.next_look.min(now + AGAIN);
        }
        self.keeper.keep(number, Err(why));
    }

    /// Takes in what the keeper does.
    pub(super) fn keeper_did(&mut self, number: u64, event: Event<FromKeeper>, now: Instant) {
        let Some(at_work) = self.keeper.at_work.as_mut().filter(|at_work| at_work.number == number) else { return };
        match event {
            Event::Said(FromKeeper::Ready(_)) => {
                if let Some(job) = at_work.job.take() {
                    at_work.process.tell(job);
                }
            }
            Event::Said(FromKeeper::Progress(progress)) => at_work.progress = progress,
            Event::Said(FromKeeper::Done(outcome)) => at_work.done = Some(Ok(*outcome)),
            Event::Said(FromKeeper::Failed(why)) => at_work.done = Some(Err(why)),
            Event::Ended(status) => {
                let code = status.as_ref().ok().and_then(std::process::ExitStatus::code);
                if code == Some(i32::from(EXIT_NOT_CONFINED)) {
                    self.ending = Some(Ending::NotConfined);
                }
                let Some(AtWork { by, done, .. }) = self.keeper.at_work.take() else { return };
                let cut_short =
                    "the keeper was ended in the middle of its work, as when the settings of recordings change";
                let done = done.unwrap_or_else(|| Err(cut_short.to_owned()));
                match done {
                    Ok(outcome) => self.job_done(number, outcome, now),
                    Err(why) => self.job_failed(number, by, why, now),
                }
            }
        }
    }

    fn job_done(&mut self, number: u64, outcome: Outcome, now: Instant) {
        self.keeper.trouble = None;
        self.keeper.seen = Some(outcome.clone());
        self.keeper.keep(number, Ok(outcome));
        let wait = match self.next_pruning(now) {
            Some(Due::Now) if self.config_error.is_none() => Duration::ZERO,
            Some(Due::At(moment)) => Duration::from_secs(moment.saturating_sub(clock())),
            _ => return,
        };
        self.keeper.next_look = self.keeper.next_look.min(now + wait);
    }

    /// Does what was asked, or refuses.
    pub(super) fn keep_for(&mut self, work: Work, answer: oneshot::Sender<Answer>, now: Instant) {
        // A hold that stands in the file counts, however fresh it is.
        self.reload(now);
        // Who asks to count while that is about to be done anyway waits for the same.
        let same = self.keeper.waiting.iter().find(|(_, waiting, _)| work == Work::Inventory && *waiting == work);
        let told = match same {
            Some((job, ..)) => Answer::Keeping { job: *job },
            None if self.keeper.waiting.len() >= MOST_WAITING => Answer::Refused {
                reason: "recordings are being counted and removed already; try again in a while".to_owned(),
            },
            None => Answer::Keeping { job: self.keeper.queue(work, By::Command) },
        };
        let _ = answer.send(told);
    }

    /// How a job stands.
    pub(super) fn kept(&self, job: u64) -> Answer {
        match self.keeper.state(job) {
            Some(state) => Answer::Kept(Box::new(state)),
            None => Answer::Refused { reason: "demarc knows no job of that number any more".to_owned() },
        }
    }

    /// What `demarc status` shows of recordings.
    pub(super) fn recordings_status(&self, now: Instant) -> RecordingsStatus {
        let section = &self.loaded.settings.recordings;
        let retention = section.retention.keeps().map(|time| time.as_secs());
        let (found, troubles) = &self.keeper.trees;
        let (trees, mut troubles) = (self.trees(), troubles.clone());
        troubles.extend(found.iter().filter(|tree| !trees.contains(tree)).map(|tree| {
            let tree = tree.path.display();
            format!("{tree}: it was not known or not there when demarc was started; restart demarc to have it counted.")
        }));
        if retention.is_some() && self.config_error.is_some() {
            troubles.push("nothing is removed by retention while the config file cannot be used.".to_owned());
        }
        troubles.extend(self.keeper.trouble.clone());
        let next_pruning = self.next_pruning(now).map(|due| match due {
            Due::Now => clock(),
            Due::At(moment) => moment,
        });
        let next_pruning = next_pruning.filter(|_| !trees.is_empty() && self.config_error.is_none());
        let running = self.keeper.at_work.as_ref().map(|at_work| at_work.number);
        let Some(seen) = &self.keeper.seen else {
            return RecordingsStatus {
                retention,
                voicemail: section.voicemail,
                next_pruning,
                running,
                troubles,
                ..RecordingsStatus::default()
            };
        };
        troubles.extend(seen.troubles.iter().cloned());
        RecordingsStatus {
            looked: Some(seen.looked),
            trees: seen.trees.clone(),
            retention,
            voicemail: section.voicemail,
            last_pruning: seen.last_pruning.clone(),
            next_pruning,
            running,
            troubles,
        }
    }
}

/// When a pruning is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    Now,
    /// Not before that: seconds since 1970 in UTC.
    At(u64),
}

/// Once a day; a rule that did not remove anything in the last two days waits for an hour after it was set.
fn due(last: Option<&Pruning>, rule: u64, clock: u64, settled: Duration) -> Due {
    let last = last.filter(|last| last.by == By::Retention && last.older_than == rule);
    let since = last.map(|last| (last.began, clock.saturating_sub(last.began)));
    match since {
        // Cut short, by a power failure perhaps.
        Some((_, since)) if since < 2 * PRUNE_EVERY && last.is_some_and(|last| last.ended.is_none()) => Due::Now,
        Some((began, since)) if since < PRUNE_EVERY => Due::At(began.saturating_add(PRUNE_EVERY)),
        Some((_, since)) if since < 2 * PRUNE_EVERY => Due::Now,
        _ => match SECOND_THOUGHTS.checked_sub(settled) {
            Some(wait) if !wait.is_zero() => Due::At(clock.saturating_add(wait.as_secs())),
            _ => Due::Now,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retention_works_once_a_day_and_a_new_rule_waits() {
        const RULE: u64 = 90 * 86_400;
        let last = |by, older_than, began| Pruning {
            began,
            ended: Some(began),
            by,
            older_than,
            files: 1,
            bytes: 1,
            failed: 0,
        };
        let clock = 1_000_000_000;
        let (fresh, long) = (Duration::from_secs(60), Duration::from_secs(3600));
        let of = |by, older_than, ago, settled| due(Some(&last(by, older_than, clock - ago)), RULE, clock, settled);
        let waits = Due::At(clock + 3540);
        assert_eq!(due(None, RULE, clock, fresh), waits);
        assert_eq!(due(None, RULE, clock, long), Due::Now);
        assert_eq!(of(By::Retention, RULE, 3600, long), Due::At(clock + 82_800));
        assert_eq!(of(By::Retention, RULE, 86_400, fresh), Due::Now);
        // Another rule, somebody else's, or one of long ago.
        assert_eq!(of(By::Retention, 9 * 86_400, 86_400, fresh), waits);
        assert_eq!(of(By::Command, RULE, 86_400, fresh), waits);
        assert_eq!(of(By::Retention, RULE, 172_800, fresh), waits);
        let cut_short = Pruning { ended: None, ..last(By::Retention, RULE, clock - 60) };
        assert_eq!(due(Some(&cut_short), RULE, clock, fresh), Due::Now);
        // A clock that went back: the last pruning lies in the future, and a day has to pass from there.
        assert_eq!(due(Some(&last(By::Retention, RULE, clock + 10)), RULE, clock, long), Due::At(clock + 86_410));
    }
}
