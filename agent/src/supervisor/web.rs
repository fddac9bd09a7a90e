//! The owner's pages as the supervisor sees them: a socket that waits for browsers, a role that is started when one comes, and
//! who is logged in.

mod browsers;
mod listener;

use std::{
    io,
    os::fd::OwnedFd,
    time::{Duration, Instant},
};

use tokio::{
    io::unix::AsyncFd,
    sync::{mpsc, oneshot},
};

use self::browsers::Browsers;
pub(super) use self::listener::Listener;
use super::{
    GRACE, Supervisor,
    process::Event,
    slot::{End, Slot},
};
use crate::{
    confine::layout,
    control::{Answer, Request, Wait, WebStatus},
    gate::{
        Consent,
        entry::{About, By, Switch as Entered},
    },
    ipc::{
        WEB_FD,
        web::{FromWeb, Question, Reply, ToWeb, WebSettings},
    },
    settings::{
        Listen, Secret,
        edit::{self, Switch},
    },
    web::password,
};

/// How long a link of `demarc web` lets in.
const LINK_LASTS: Duration = Duration::from_secs(300);

/// Everything about the pages that the running supervisor knows.
pub(super) struct Web {
    listener: Result<Listener, String>,
    pub(super) slot: Slot<FromWeb, ToWeb>,
    browsers: Browsers,
    /// Whether somebody came while no process was there to serve him.
    knocked: bool,
    /// What tasks found out, on its way to the role that asked.
    findings: mpsc::Sender<Finding>,
}

/// What a task found out for a question.
pub(super) struct Finding {
    incarnation: u64,
    number: u64,
    found: Found,
}

enum Found {
    Answer(Box<Answer>),
    Password { is_right: bool, purpose: Purpose },
}

/// What a password is for.
enum Purpose {
    Admission,
    Status,
}

impl Web {
    pub(super) fn new(
        listener: Result<Listener, String>,
        events: mpsc::Sender<(u64, Event<FromWeb>)>,
        findings: mpsc::Sender<Finding>,
    ) -> Self {
        Self { listener, slot: Slot::new("web", events), browsers: Browsers::default(), knocked: false, findings }
    }

    /// What tells that a browser waits, while no process is there for it.
    ///
    /// # Errors
    /// When the socket cannot be watched.
    pub(super) fn door(&self) -> io::Result<Option<AsyncFd<OwnedFd>>> {
        let Ok(listener) = &self.listener else { return Ok(None) };
        // SAFETY: the descriptor is of its own, stays the same, and is open for as long as it is registered.
        Ok(Some(unsafe { AsyncFd::register(listener.descriptor()?) }?))
    }

    /// Whether nobody is there to take a connection.
    pub(super) fn is_asleep(&self) -> bool {
        self.listener.is_ok() && self.slot.is_empty() && !self.knocked
    }
}

/// Waits until a browser waits.
pub(super) async fn knock(door: &Option<AsyncFd<OwnedFd>>) {
    let Some(door) = door else { return std::future::pending().await };
    loop {
        let Ok(mut ready) = door.readable().await else { return std::future::pending().await };
        // What was ready may have been served long ago.
        if listener::is_waiting(door.get_ref()) {
            return;
        }
        ready.clear_ready();
    }
}

impl Supervisor {
    pub(super) fn knocked(&mut self) {
        self.web.knocked = true;
    }

    /// Starts the role when a browser waits for it, and ends it with the daemon.
    pub(super) fn reconcile_web(&mut self, now: Instant) {
        if self.ending.is_some() {
            self.web.slot.stop(ToWeb::Stop, GRACE, now);
        } else if self.web.knocked && self.web.slot.may_start(now) && self.has_store() {
            let Some(descriptor) = self.web.listener.as_ref().ok().and_then(|listener| listener.descriptor().ok())
            else {
                return;
            };
            let profile = layout::web(&self.ground, &self.loaded.settings, &self.config);
            self.web.slot.start(&profile, vec![(descriptor, WEB_FD)], now);
        }
        self.web.slot.enforce_grace(now);
    }

    /// Whether the files of the store are there, which the role is let at when it begins: the collector has said how it is. One
    /// that cannot even begin is told of by pages without figures.
    fn has_store(&self) -> bool {
        self.collected.is_some() || self.collector.status().restarts > 0
    }

    pub(super) fn web_said(&mut self, incarnation: u64, message: FromWeb, now: Instant) {
        let Some(process) = self.web.slot.present(incarnation) else { return };
        match message {
            FromWeb::Ready(confined) => {
                process.ready = Some(confined);
                self.tell_web();
            }
            FromWeb::Ask { number, question } => self.web_asks(incarnation, number, question, now),
            FromWeb::Idle => {
                self.web.knocked = false;
                self.web.slot.stop(ToWeb::Stop, GRACE, now);
            }
        }
    }

    pub(super) fn web_ended(&mut self, incarnation: u64, status: &io::Result<std::process::ExitStatus>, now: Instant) {
        match self.web.slot.ended(incarnation, status, now) {
            End::NotConfined => self.ending = Some(super::Ending::NotConfined),
            End::AsAsked => self.web.knocked = false,
            End::Died => {}
        }
    }

    /// Tells the role the settings in force.
    pub(super) fn tell_web(&mut self) {
        if self.web.slot.running().is_some() {
            self.web.slot.tell(ToWeb::Settings(Box::new(self.web_settings())));
        }
    }

    fn web_settings(&self) -> WebSettings {
        let settings = &self.loaded.settings;
        let read =
            |path: &Option<std::path::PathBuf>| path.as_ref().and_then(|path| std::fs::read_to_string(path).ok());
        let tls = read(&settings.web.certificate).zip(read(&settings.web.key));
        WebSettings {
            state_dir: settings.state_dir.clone(),
            address: self.web.listener.as_ref().ok().and_then(Listener::address),
            hosts: settings.web.hosts.clone(),
            tls: tls.map(|(certificate, key)| (certificate, Secret::new(key))),
            has_password: settings.web.password.is_some(),
            consent: Consent::from(&self.collector_settings),
        }
    }

    fn web_asks(&mut self, incarnation: u64, number: u64, question: Question, now: Instant) {
        let known = match &question {
            Question::Enter { .. } | Question::Admit { .. } | Question::Monitor { .. } => true,
            Question::Leave { session } | Question::Control { session, .. } | Question::Turn { session, .. } => {
                self.web.browsers.knows(session, now)
            }
        };
        let reply = match question {
            _ if !known => Reply::Unknown,
            Question::Enter { key } => match self.web.browsers.enter(&key, now) {
                Some(session) => Reply::Entered { session },
                None => Reply::Unknown,
            },
            Question::Admit { password } => {
                return self.check_password(incarnation, number, Some(password), Purpose::Admission);
            }
            Question::Monitor { password } if self.loaded.settings.web.listen.is_open_to_the_network() => {
                return self.check_password(incarnation, number, password, Purpose::Status);
            }
            Question::Monitor { .. } => return self.ask_for_web(incarnation, number, Request::Status, now),
            Question::Leave { session } => {
                self.web.browsers.leave(&session);
                Reply::Left
            }
            Question::Control { request: Request::Reload | Request::WebLink, .. } => Reply::Unknown,
            Question::Control { request, .. } => return self.ask_for_web(incarnation, number, request, now),
            Question::Turn { switch, on, .. } => match self.turn(switch, on) {
                Ok(()) => return self.ask_for_web(incarnation, number, Request::Reload, now),
                Err(reason) => Reply::Unchanged { reason },
            },
        };
        self.reply(incarnation, number, reply);
    }

    /// Handles a request as if the command line had made it.
    fn ask_for_web(&mut self, incarnation: u64, number: u64, request: Request, now: Instant) {
        let (sender, receiver) = oneshot::channel();
        let findings = self.web.findings.clone();
        tokio::spawn(async move {
            let answer = receiver.await.unwrap_or(Answer::Refused { reason: "demarc is stopping".to_owned() });
            let found = Found::Answer(Box::new(answer));
            let _ = findings.send(Finding { incarnation, number, found }).await;
        });
        self.asked(request, sender, now);
    }

    /// Looks whether it is the password, which takes a while, on a thread of its own.
    fn check_password(&self, incarnation: u64, number: u64, password: Option<Secret>, purpose: Purpose) {
        let (hash, findings) = (self.loaded.settings.web.password.clone(), self.web.findings.clone());
        tokio::task::spawn_blocking(move || {
            let both = password.zip(hash);
            let is_right = both.is_some_and(|(password, hash)| password::is_right(password.expose(), hash.expose()));
            let _ =
                findings.blocking_send(Finding { incarnation, number, found: Found::Password { is_right, purpose } });
        });
    }

    /// A task has found out what the role asked.
    pub(super) fn web_found(&mut self, finding: Finding, now: Instant) {
        let reply = match finding.found {
            Found::Answer(answer) => Reply::Control(*answer),
            Found::Password { is_right: false, .. } => Reply::Unknown,
            Found::Password { purpose: Purpose::Admission, .. } => {
                Reply::Entered { session: self.web.browsers.admit(now) }
            }
            Found::Password { purpose: Purpose::Status, .. } => {
                Reply::Control(Answer::Status(Box::new(self.status(now))))
            }
        };
        self.reply(finding.incarnation, finding.number, reply);
    }

    fn reply(&mut self, incarnation: u64, number: u64, reply: Reply) {
        if self.web.slot.present(incarnation).is_some() {
            self.web.slot.tell(ToWeb::Reply { number, reply: Box::new(reply) });
        }
    }

    /// The edit that the command would make.
    fn turn(&mut self, switch: Switch, on: bool) -> Result<(), String> {
        let by_hand = |error: String| {
            format!("{error}. Type this where you may change the file: demarc {} {}", switch.command(), word(on))
        };
        let changed = edit::set(&self.config, switch, on)
            .map_err(|error| by_hand(format!("{:#}", anyhow::Error::from(error))))?;
        // The collector enters what becomes of reports; the tunnel's switch is no business of its.
        if changed && switch == Switch::Tunnel && self.loaded.overridden_by(switch.key()).is_none() {
            let about = About::Consent { switch: Entered::Tunnel, from: !on, to: on, by: By::Page };
            let (_, message) = self.relay.own_entry(about, String::new());
            self.collector.tell(message);
        }
        Ok(())
    }

    /// A link that lets in once.
    pub(super) fn web_link(&mut self, answer: oneshot::Sender<Answer>, now: Instant) {
        let _ = answer.send(match &self.web.listener {
            Err(reason) => Answer::Refused { reason: reason.clone() },
            Ok(listener) => {
                let key = self.web.browsers.invite(now + LINK_LASTS);
                let scheme = if self.loaded.settings.web.certificate.is_some() { "https" } else { "http" };
                let place = match listener.address() {
                    Some(address) => format!("{scheme}://{address}"),
                    None => "http://localhost".to_owned(),
                };
                Answer::WebLink { url: format!("{place}/enter?key={}", key.expose()), seconds: LINK_LASTS.as_secs() }
            }
        });
    }

    pub(super) fn web_status(&self) -> WebStatus {
        WebStatus {
            listen: self.web.listener.as_ref().ok().map(|listener| match listener.address() {
                Some(address) => address.to_string(),
                None => String::from(self.loaded.settings.web.listen.clone()),
            }),
            closed: self.web.listener.as_ref().err().cloned(),
            browsers: self.web.browsers.len(),
            role: self.web.slot.status(),
        }
    }

    /// Why there are no pages where the settings want some, in words.
    pub(super) fn web_notice(&self) -> Option<String> {
        self.web.listener.as_ref().err().filter(|_| self.loaded.settings.web.listen != Listen::Off).cloned()
    }

    /// Pages that are wanted elsewhere than where they were bound.
    pub(super) fn web_wait(&self) -> Option<Wait> {
        let listener = self.web.listener.as_ref().ok()?;
        let words = "web.listen was changed: restart demarc to have the pages there.";
        (!listener.is_at(&self.loaded.settings.web.listen)).then(|| Wait::new("web", words))
    }
}

fn word(on: bool) -> &'static str {
    if on { "on" } else { "off" }
}
