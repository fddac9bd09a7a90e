//! `demarc run`: starts the roles, confines itself and them, restarts what dies, and tells them what the owner set.
//!
//! It alone reads the config file. It decides in one loop: events come in, [`Supervisor::reconcile`] compares what runs
//! with what should run, and nothing else starts or ends a role.

mod backups;
mod changes;
mod connections;
pub mod derive;
mod keeper;
mod lock;
mod messenger;
mod notify;
mod process;
mod relay;
mod restarts;
mod sessions;
mod slot;
mod start;
mod status;
mod updates;
mod watch;
mod web;

use std::{
    ffi::OsString,
    path::PathBuf,
    time::{Duration, Instant, SystemTime},
};

use tokio::{
    net::TcpStream,
    sync::{mpsc, oneshot},
};

use crate::{
    backup::archivist::FromArchivist,
    confine::{
        Grant,
        layout::{self, Ground},
    },
    control::{Answer, Request},
    health::messenger::FromMessenger,
    ipc::{
        CONNECTION_FD, CollectorSettings, CollectorStatus, Confined, FromCollector, FromLink, FromSession,
        LinkSettings, LinkStatus, SESSION_FD, ToCollector, ToLink, descriptors, web::FromWeb,
    },
    recordings::FromKeeper,
    settings::load::Loaded,
    state::{Site, StateDir},
};
use backups::Backups;
use changes::{Silence, Waiting};
use connections::{Connections, Dialled};
use derive::Uploads;
use keeper::Keeper;
use messenger::Messenger;
use process::Event;
use relay::{Asker, Relay};
use sessions::Sessions;
use slot::{End, Slot};
use updates::Updates;
use watch::Watched;
use web::Web;

pub use lock::LockError;
pub use start::{RunError, run};

/// How long a role has to end in good order.
const GRACE: Duration = Duration::from_secs(5);
/// How long the link has when the owner switches something off: then it is ended, whatever it is doing.
const LINK_OFF: Duration = Duration::from_millis(80);
/// How long whoever asked for a reload waits for a role that is busy.
const APPLY: Duration = Duration::from_secs(5);

/// Everything that the running supervisor knows.
struct Supervisor {
    config: PathBuf,
    state: StateDir,
    ground: Ground,
    /// What this process was granted when it confined itself.
    granted: Vec<Grant>,
    confined: Confined,
    started: SystemTime,
    do_not_track: Option<OsString>,

    loaded: Loaded,
    config_error: Option<String>,
    uploads: Uploads,
    site: Result<Option<Site>, String>,
    generation: u64,
    collector_settings: CollectorSettings,
    link_settings: Result<(LinkSettings, u16), String>,

    collector: Slot<FromCollector, ToCollector>,
    link: Slot<FromLink, ToLink>,
    /// The port that the running link is confined to.
    link_port: Option<u16>,
    resolver: Vec<Option<(u64, u64)>>,
    collected: Option<CollectorStatus>,
    linked: Option<LinkStatus>,
    relay: Relay,
    connections: Connections,
    sessions: Sessions,
    web: Web,
    keeper: Keeper,
    messenger: Messenger,
    updates: Updates,
    backups: Backups,

    watched_config: Watched,
    watched_site: Watched,
    waiting: Vec<Waiting>,
    silence: Option<Silence>,
    ending: Option<Ending>,
}

/// Why the supervisor ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    Asked,
    NotConfined,
}

/// Everything that can happen.
enum Happening {
    Collector(u64, Event<FromCollector>),
    Link(u64, Event<FromLink>),
    Session(u64, Event<FromSession>),
    Web(u64, Event<FromWeb>),
    WebFound(web::Finding),
    Knocked,
    Fetch(TcpStream),
    Dialled(Dialled),
    Keeper(u64, Event<FromKeeper>),
    Messenger(u64, Event<FromMessenger>),
    Archivist(u64, Event<FromArchivist>),
    Asked(Request, oneshot::Sender<Answer>),
    Look,
    Reload,
    Stop,
    Due,
}

impl Supervisor {
    /// Takes in one event.
    fn handle(&mut self, happening: Happening, now: Instant) {
        match happening {
            Happening::Collector(incarnation, Event::Said(message)) => self.collector_said(incarnation, message, now),
            Happening::Collector(incarnation, Event::Ended(status)) => {
                self.connections.close();
                if self.collector.ended(incarnation, &status, now) == End::NotConfined {
                    self.ending = Some(Ending::NotConfined);
                }
            }
            Happening::Link(incarnation, Event::Said(message)) => self.link_said(incarnation, message, now),
            Happening::Link(incarnation, Event::Ended(status)) => {
                self.relay.link_ended(incarnation);
                self.courier_ended();
                self.linked = None;
                self.collector.tell(ToCollector::HubTakesHealth(false));
                if self.link.ended(incarnation, &status, now) == End::NotConfined {
                    self.ending = Some(Ending::NotConfined);
                }
            }
            Happening::Session(incarnation, Event::Said(message)) => self.session_said(incarnation, message),
            Happening::Session(incarnation, Event::Ended(_)) => self.session_ended(incarnation),
            Happening::Dialled(dialled) => {
                if self.collector.present(dialled.incarnation).is_some() {
                    let message = self.connections.hand_over(dialled);
                    self.collector.tell(message);
                }
            }
            Happening::Web(incarnation, Event::Said(message)) => self.web_said(incarnation, message, now),
            Happening::Web(incarnation, Event::Ended(status)) => self.web_ended(incarnation, &status, now),
            Happening::WebFound(finding) => self.web_found(finding, now),
            Happening::Knocked => self.knocked(),
            Happening::Fetch(stream) => self.fetch(stream),
            Happening::Asked(request, answer) => self.asked(request, answer, now),
            Happening::Keeper(number, event) => self.keeper_did(number, event, now),
            Happening::Messenger(number, event) => self.messenger_did(number, event),
            Happening::Archivist(number, event) => self.archivist_did(number, event),
            Happening::Look => self.look(now),
            Happening::Reload => self.reload(now),
            Happening::Stop => match self.ending {
                None => self.ending = Some(Ending::Asked),
                // Asked twice: whoever asks has no patience for good order.
                Some(_) => {
                    self.link.stop(ToLink::Stop, Duration::ZERO, now);
                    self.collector.stop(ToCollector::Stop, Duration::ZERO, now);
                }
            },
            Happening::Due => {}
        }
        self.enforce_sessions(now);
        self.keep_recordings(now);
        self.send_messengers(now);
        self.make_backups(now);
        self.reconcile(now);
        self.enforce_silence(now);
        self.answer_waiting(now);
    }

    /// Answers a request, now or when what it wants has happened.
    fn asked(&mut self, request: Request, answer: oneshot::Sender<Answer>, now: Instant) {
        match request {
            Request::Status => {
                let _ = answer.send(Answer::Status(Box::new(self.status(now))));
            }
            Request::Reload => self.reload_for(answer, now),
            Request::Support => {
                let _ = answer.send(Answer::Support(Box::new(self.support_status())));
            }
            Request::Allow { seconds, scope, ticket, engineer } => {
                self.allow(scope, Duration::from_secs(seconds), (ticket, engineer), answer);
            }
            Request::End { grant } => self.end_for(grant, answer, now),
            Request::WebLink => self.web_link(answer, now),
            Request::Recordings => {
                let _ = answer.send(Answer::Recordings(Box::new(self.recordings_status(now))));
            }
            Request::Backup { order } => {
                let _ = answer.send(self.backup_for(order, now));
            }
            Request::Keep { work } => self.keep_for(work, answer, now),
            Request::Kept { job } => {
                let _ = answer.send(self.kept(job));
            }
        }
    }

    /// Compares what runs with what should run.
    fn reconcile(&mut self, now: Instant) {
        let wanted = if self.ending.is_some() { None } else { self.link_settings.as_ref().ok() };
        match wanted {
            None => {
                if self.link.running().is_some() || self.link.next_due().is_some() {
                    self.link.stop(ToLink::Stop, LINK_OFF, now);
                }
            }
            Some((_, port)) => {
                let port = *port;
                if self.link.running().is_some() && self.link_port != Some(port) {
                    self.link.stop(ToLink::Stop, LINK_OFF, now);
                }
                if self.link.may_start(now) {
                    self.link_port = Some(port);
                    self.resolver = layout::resolver_identity();
                    let profile = layout::link(&self.ground, &self.loaded.settings, &self.config, port);
                    let (giver, theirs) = descriptors::pair().ok().unzip();
                    self.sessions.giver = giver;
                    let given = theirs.map(|theirs| (theirs, SESSION_FD)).into_iter().collect();
                    self.link.start(&profile, given, now);
                }
            }
        }
        match self.ending {
            // The link goes first: what it still hears from the hub has to reach the ledger.
            Some(_) if self.link.is_empty() && self.sessions.is_empty() => {
                self.collector.stop(ToCollector::Stop, GRACE, now)
            }
            Some(_) => {}
            None if self.collector.may_start(now) => {
                let profile = layout::collector(&self.ground, &self.loaded.settings);
                let (giver, theirs) = descriptors::pair().ok().unzip();
                self.connections.giver = giver;
                let given = theirs.map(|theirs| (theirs, CONNECTION_FD)).into_iter().collect();
                self.collector.start(&profile, given, now);
            }
            None => {}
        }
        self.link.enforce_grace(now);
        self.collector.enforce_grace(now);
        self.reconcile_web(now);
    }

    /// Whether the collector runs, confined as it must be: it is there whatever the settings say.
    fn is_ready(&self) -> bool {
        self.collector.running().is_some_and(|process| process.ready.is_some())
    }

    /// Whether the last role is gone after the supervisor was told to end.
    fn is_over(&self) -> Option<Ending> {
        self.ending.filter(|_| self.link.is_empty() && self.collector.is_empty() && self.web.slot.is_empty())
    }

    /// When something is to be done even if nothing happens. What was due at the time of the last event is done, or
    /// waits for an event.
    fn next_due(&self, last: Instant) -> Option<Instant> {
        let waiting = self.waiting.iter().map(|waiting| waiting.until);
        let silence = self.silence.as_ref().map(|silence| silence.until);
        let roles = [self.link.next_due(), self.collector.next_due(), self.web.slot.next_due()];
        let due = roles.into_iter().chain([
            self.sessions.next_due(last),
            self.keeper.next_due(),
            self.messenger.next_due(),
            self.backups.next_due(),
            silence,
        ]);
        due.flatten().chain(waiting).filter(|due| *due > last).min()
    }

    fn collector_said(&mut self, incarnation: u64, message: FromCollector, now: Instant) {
        let Some(process) = self.collector.present(incarnation) else { return };
        match message {
            FromCollector::Ready(confined) => {
                tracing::info!("the collector is ready");
                process.ready = Some(confined);
                self.collector.tell(ToCollector::Settings(Box::new(self.collector_settings.clone())));
                self.relay.outbox_changed(&self.state.outbox());
                for message in self.relay.unconfirmed() {
                    self.collector.tell(message);
                }
                self.link.tell(ToLink::OutboxChanged);
                if let Some(offset) = self.linked.as_ref().and_then(|link| link.clock_skew) {
                    self.collector.tell(ToCollector::ClockOffset(offset));
                }
                let listens = self.linked.as_ref().is_some_and(|link| link.takes_health);
                self.collector.tell(ToCollector::HubTakesHealth(listens));
            }
            FromCollector::Applied { generation } => process.applied = generation,
            FromCollector::OutboxChanged => {
                self.relay.outbox_changed(&self.state.outbox());
                self.link.tell(ToLink::OutboxChanged);
            }
            FromCollector::Alert(alert) => self.pass_on(alert),
            FromCollector::Health(cleared) => self.link.tell(ToLink::Health(cleared)),
            FromCollector::Recorded { number: entry } => match self.relay.recorded(entry) {
                Some(Asker::Link { incarnation, number }) => {
                    if let Some(link) = self.link.present(incarnation) {
                        link.tell(ToLink::Recorded { number });
                    }
                }
                Some(Asker::Supervisor) => {
                    self.entered(entry, now);
                    self.backup_entered(entry);
                }
                None => {}
            },
            FromCollector::Connect { number, address } => {
                self.connections.dial(incarnation, number, address, &self.collector_settings.pbx);
            }
            FromCollector::Status(status) => self.collected = Some(*status),
        }
    }

    fn link_said(&mut self, incarnation: u64, message: FromLink, now: Instant) {
        let Some(process) = self.link.present(incarnation) else { return };
        match message {
            FromLink::Ready(confined) => {
                tracing::info!("the link is ready");
                process.ready = Some(confined);
                if let Ok((settings, _)) = &self.link_settings {
                    self.link.tell(ToLink::Settings(Box::new(settings.clone())));
                }
                self.announce_all();
            }
            FromLink::Backup(said) => self.courier_said(said),
            FromLink::Announced { grant } => self.announced(grant),
            FromLink::SessionAsked { number, grant } => self.session_asked(incarnation, number, grant, now),
            FromLink::Applied { generation } => process.applied = generation,
            FromLink::Record(record) => {
                let message = self.relay.record(incarnation, record);
                self.collector.tell(message);
            }
            FromLink::Receipt(receipt) => {
                let message = self.relay.verdict(receipt.report, ToCollector::Receipt(receipt.clone()));
                self.collector.tell(message);
            }
            FromLink::Refused { report, reason } => {
                let message = self.relay.verdict(report, ToCollector::Refused { report, reason });
                self.collector.tell(message);
            }
            FromLink::Status(status) => {
                let before = self.linked.as_ref().and_then(|link| link.clock_skew);
                if let Some(offset) = status.clock_skew.filter(|offset| Some(*offset) != before) {
                    self.collector.tell(ToCollector::ClockOffset(offset));
                }
                let listened = self.linked.as_ref().is_some_and(|link| link.takes_health);
                if status.takes_health != listened {
                    self.collector.tell(ToCollector::HubTakesHealth(status.takes_health));
                }
                self.linked = Some(*status);
            }
        }
    }
}

/// The channels by which events arrive.
struct Inbox {
    collector: mpsc::Receiver<(u64, Event<FromCollector>)>,
    link: mpsc::Receiver<(u64, Event<FromLink>)>,
    sessions: mpsc::Receiver<(u64, Event<FromSession>)>,
    dialled: mpsc::Receiver<Dialled>,
    web: mpsc::Receiver<(u64, Event<FromWeb>)>,
    web_findings: mpsc::Receiver<web::Finding>,
    keeper: mpsc::Receiver<(u64, Event<FromKeeper>)>,
    messenger: mpsc::Receiver<(u64, Event<FromMessenger>)>,
    archivist: mpsc::Receiver<(u64, Event<FromArchivist>)>,
}

/// The clock, in seconds since 1970 in UTC.
fn clock() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
