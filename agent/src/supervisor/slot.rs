//! The place of one role: empty, running, stopping, or waiting to be started again.

use std::{
    io,
    os::{
        fd::{OwnedFd, RawFd},
        unix::process::ExitStatusExt,
    },
    process::ExitStatus,
    time::{Duration, Instant},
};

use serde::{Serialize, de::DeserializeOwned};
use tokio::sync::mpsc;

use super::{
    process::{Event, Process},
    restarts::Restarts,
};
use crate::{
    confine::Profile,
    control::RoleStatus,
    ipc::{EXIT_FRESH_RULES, EXIT_NOT_CONFINED},
};

/// The place of one role, which takes in `In` and is told `Out`.
#[derive(Debug)]
pub(super) struct Slot<In, Out> {
    role: &'static str,
    phase: Phase<Out>,
    restarts: Restarts,
    last_end: Option<String>,
    incarnations: u64,
    events: mpsc::Sender<(u64, Event<In>)>,
}

#[derive(Debug)]
enum Phase<Out> {
    Idle,
    Running(Process<Out>),
    Stopping { process: Process<Out>, kill_at: Instant },
    Waiting { until: Instant },
}

/// What the end of a process means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// It was asked to end.
    AsAsked,
    /// It will be started again.
    Died,
    /// Its confinement does not hold: nothing may be started again.
    NotConfined,
}

impl<In, Out> Slot<In, Out>
where
    In: DeserializeOwned + Send + 'static,
    Out: Serialize + Send + Sync + 'static,
{
    pub(super) fn new(role: &'static str, events: mpsc::Sender<(u64, Event<In>)>) -> Self {
        Self { role, phase: Phase::Idle, restarts: Restarts::default(), last_end: None, incarnations: 0, events }
    }

    /// Whether a process should be started now, if one is wanted.
    pub(super) fn may_start(&self, now: Instant) -> bool {
        match self.phase {
            Phase::Idle => true,
            Phase::Waiting { until } => until <= now,
            Phase::Running(_) | Phase::Stopping { .. } => false,
        }
    }

    /// Whether there is no process, and none is waited for.
    pub(super) fn is_empty(&self) -> bool {
        matches!(self.phase, Phase::Idle | Phase::Waiting { .. })
    }

    /// Starts a process that gets these descriptors under these numbers. One that cannot be started is tried again like one that died.
    pub(super) fn start(&mut self, profile: &Profile, descriptors: Vec<(OwnedFd, RawFd)>, now: Instant) {
        self.incarnations += 1;
        let events = self.events.clone();
        self.phase = match Process::start(self.role, self.incarnations, profile, descriptors, None, events) {
            Ok(process) => Phase::Running(process),
            Err(error) => {
                tracing::error!("the {} cannot be started: {error}", self.role);
                self.last_end = Some(format!("it could not be started: {error}"));
                Phase::Waiting { until: now + self.restarts.died(now, false) }
            }
        };
    }

    /// Asks the process to end, and ends it after the grace. Forgets a process that is only waited for.
    pub(super) fn stop(&mut self, stop: Out, grace: Duration, now: Instant) {
        self.phase = match std::mem::replace(&mut self.phase, Phase::Idle) {
            Phase::Running(process) => {
                process.tell(stop);
                Phase::Stopping { process, kill_at: now + grace }
            }
            Phase::Stopping { process, kill_at } => Phase::Stopping { process, kill_at: kill_at.min(now + grace) },
            Phase::Idle | Phase::Waiting { .. } => Phase::Idle,
        };
    }

    /// Ends a process whose grace is over.
    pub(super) fn enforce_grace(&mut self, now: Instant) {
        if let Phase::Stopping { process, kill_at } = &self.phase
            && *kill_at <= now
        {
            process.kill();
        }
    }

    /// When something is to be done here next.
    pub(super) fn next_due(&self) -> Option<Instant> {
        match self.phase {
            Phase::Idle | Phase::Running(_) => None,
            Phase::Stopping { kill_at, .. } => Some(kill_at),
            Phase::Waiting { until } => Some(until),
        }
    }

    /// The process that runs and has not been asked to end.
    pub(super) fn running(&self) -> Option<&Process<Out>> {
        match &self.phase {
            Phase::Running(process) => Some(process),
            _ => None,
        }
    }

    /// The process with that number, even while it ends; `None` when an earlier one speaks from its grave.
    pub(super) fn present(&mut self, incarnation: u64) -> Option<&mut Process<Out>> {
        match &mut self.phase {
            Phase::Running(process) | Phase::Stopping { process, .. } if process.incarnation == incarnation => {
                Some(process)
            }
            _ => None,
        }
    }

    /// Tells the process something, if it is ready.
    pub(super) fn tell(&self, message: Out) {
        if let Some(process) = self.running().filter(|process| process.ready.is_some()) {
            process.tell(message);
        }
    }

    /// Takes note of the end of a process.
    pub(super) fn ended(&mut self, incarnation: u64, status: &io::Result<ExitStatus>, now: Instant) -> End {
        let was_ready = self.present(incarnation).is_some_and(|process| process.ready.is_some());
        let asked = matches!(self.phase, Phase::Stopping { .. });
        let code = status.as_ref().ok().and_then(ExitStatus::code).and_then(|code| u8::try_from(code).ok());
        let how = describe(status);
        if asked && code != Some(EXIT_NOT_CONFINED) {
            self.phase = Phase::Idle;
            self.last_end = None;
            return End::AsAsked;
        }
        let wait = match code {
            Some(EXIT_NOT_CONFINED) => {
                self.phase = Phase::Idle;
                self.last_end = Some(how);
                return End::NotConfined;
            }
            Some(EXIT_FRESH_RULES) => {
                tracing::info!("the {} is started anew, with rules for files that are new", self.role);
                self.restarts.wants_fresh_rules(now)
            }
            _ => {
                let wait = self.restarts.died(now, was_ready);
                tracing::warn!("the {} ended ({how}); it is started again in {} ms", self.role, wait.as_millis());
                wait
            }
        };
        self.phase = Phase::Waiting { until: now + wait };
        self.last_end = Some(how);
        End::Died
    }

    /// As `demarc status` shows it.
    pub(super) fn status(&self) -> RoleStatus {
        let process = match &self.phase {
            Phase::Running(process) | Phase::Stopping { process, .. } => Some(process),
            Phase::Idle | Phase::Waiting { .. } => None,
        };
        RoleStatus {
            pid: process.map(|process| process.pid),
            confined: process.and_then(|process| process.ready.clone()),
            restarts: self.restarts.count,
            last_end: self.last_end.clone(),
        }
    }
}

fn describe(status: &io::Result<ExitStatus>) -> String {
    match status {
        Err(error) => format!("its end was not seen: {error}"),
        Ok(status) => match (status.code(), status.signal()) {
            (Some(code), _) if code == i32::from(EXIT_FRESH_RULES) => "it asked for rules for a new file".to_owned(),
            (Some(code), _) => format!("exit code {code}"),
            (None, Some(signal)) => format!("signal {signal}"),
            (None, None) => "for no reason that the system tells".to_owned(),
        },
    }
}
