//! Alerts on their way to the owner's own program: one messenger at a time.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use tokio::sync::mpsc;

use super::{
    Ending, Supervisor,
    process::{Event, Process},
};
use crate::{
    confine::layout::{self, covers},
    control::Wait,
    health::{
        Alert,
        messenger::{Errand, FromMessenger, PATIENCE},
    },
    ipc::EXIT_NOT_CONFINED,
};

/// Alerts that wait; of more, the oldest are dropped, which the log tells of all the same.
const MOST_WAITING: usize = 64;
/// How long a messenger has beyond the time of the program.
const GRACE: Duration = Duration::from_secs(10);

/// Everything about the owner's program that the running supervisor knows.
pub(super) struct Messenger {
    events: mpsc::Sender<(u64, Event<FromMessenger>)>,
    waiting: VecDeque<Alert>,
    under_way: Option<UnderWay>,
    started: u64,
    /// Why the program was not told last, in words.
    trouble: Option<String>,
}

/// A messenger that was started.
struct UnderWay {
    process: Process<Errand>,
    errand: Option<Errand>,
    until: Instant,
    said: Option<Result<(), String>>,
}

impl Messenger {
    pub(super) fn new(events: mpsc::Sender<(u64, Event<FromMessenger>)>) -> Self {
        Self { events, waiting: VecDeque::new(), under_way: None, started: 0, trouble: None }
    }

    /// When something is to be done even if nothing happens.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.under_way.as_ref().map(|under_way| under_way.until)
    }
}

impl Supervisor {
    /// An alert was raised, or is over.
    pub(super) fn pass_on(&mut self, alert: Alert) {
        if self.loaded.settings.health.alert_command.is_none() {
            return;
        }
        self.messenger.waiting.push_back(alert);
        let surplus = self.messenger.waiting.len().saturating_sub(MOST_WAITING);
        self.messenger.waiting.drain(..surplus);
    }

    /// Starts a messenger where one is due and none is under way, and ends one that takes too long.
    pub(super) fn send_messengers(&mut self, now: Instant) {
        if let Some(under_way) = &self.messenger.under_way {
            if self.ending.is_some() || under_way.until <= now {
                under_way.process.kill();
            }
            return;
        }
        while self.ending.is_none()
            && self.messenger.under_way.is_none()
            && let Some(alert) = self.messenger.waiting.pop_front()
        {
            if let Err(why) = self.send_messenger(alert, now) {
                self.not_told(why);
            }
        }
    }

    fn send_messenger(&mut self, alert: Alert, now: Instant) -> Result<(), String> {
        let settings = &self.loaded.settings;
        let Some(command) = settings.health.alert_command.clone() else { return Ok(()) };
        let profile = layout::messenger(&self.ground, settings);
        self.messenger.started += 1;
        let (number, events) = (self.messenger.started, self.messenger.events.clone());
        let process = Process::start("messenger", number, &profile, Vec::new(), None, events)
            .map_err(|error| format!("no messenger can be started: {error}"))?;
        let errand = Some(Errand { command, alert });
        self.messenger.under_way = Some(UnderWay { process, errand, until: now + PATIENCE + GRACE, said: None });
        Ok(())
    }

    /// Takes in what a messenger does.
    pub(super) fn messenger_did(&mut self, number: u64, event: Event<FromMessenger>) {
        let Some(under_way) = self.messenger.under_way.as_mut().filter(|one| one.process.incarnation == number) else {
            return;
        };
        match event {
            Event::Said(FromMessenger::Ready(_)) => {
                if let Some(errand) = under_way.errand.take() {
                    under_way.process.tell(errand);
                }
            }
            Event::Said(FromMessenger::Done) => under_way.said = Some(Ok(())),
            Event::Said(FromMessenger::Failed(why)) => under_way.said = Some(Err(why)),
            Event::Ended(status) => {
                if status.as_ref().ok().and_then(std::process::ExitStatus::code) == Some(i32::from(EXIT_NOT_CONFINED)) {
                    self.ending = Some(Ending::NotConfined);
                }
                let said = self.messenger.under_way.take().and_then(|under_way| under_way.said);
                match said.unwrap_or_else(|| Err("the messenger was ended before it was done".to_owned())) {
                    Ok(()) => self.messenger.trouble = None,
                    Err(why) => self.not_told(why),
                }
            }
        }
    }

    fn not_told(&mut self, why: String) {
        tracing::warn!("the owner's program was not told of an alert: {why}");
        self.messenger.trouble = Some(why);
    }

    /// What is wrong with telling the owner's program, in words.
    pub(super) fn messenger_notice(&self) -> Option<String> {
        self.loaded.settings.health.alert_command.as_ref()?;
        let why = self.messenger.trouble.as_ref().filter(|_| self.messenger_wait().is_none())?;
        Some(format!("The last alert was not told: {why}."))
    }

    /// A program of the owner's that this process may not start.
    pub(super) fn messenger_wait(&self) -> Option<Wait> {
        let command = self.loaded.settings.health.alert_command.as_deref()?;
        let is_missing = self.ground.landlock.is_some() && !covers(&self.granted, command);
        is_missing.then(|| {
            let words = format!(
                "{} was not known or not there when demarc was started, or was replaced since, and cannot be told of alerts; \
                 restart demarc.",
                command.display()
            );
            Wait::new("health", words)
        })
    }
}
