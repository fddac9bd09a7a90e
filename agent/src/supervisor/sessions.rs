//! Support sessions as the supervisor runs them: grants in, workers out, and every end on time and in the ledger.

mod grants;
mod workers;

use std::{
    collections::BTreeMap,
    fs, io,
    os::fd::OwnedFd,
    time::{Duration, Instant},
};

use demarc_proto::{
    SiteId,
    support::{Grant, GrantId},
};
use tokio::sync::{mpsc, oneshot};

use super::{
    Supervisor,
    process::{Event, Process},
};
use crate::{
    cgroup::{Cgroup, Home},
    control::{Answer, LiveGrant, LiveSession, SupportStatus},
    gate::entry::About,
    ipc::{FromSession, ToSession, descriptors::Giver},
    settings::SupportMode,
    state::StateDir,
    support::{
        End, SessionId, SessionReport,
        book::Book,
        boot,
        keys::{HostKey, check_host_certificate},
    },
};

/// Everything about support that the running supervisor knows.
pub(super) struct Sessions {
    desk: Result<Desk, String>,
    granting: Vec<Granting>,
    running: Vec<Running>,
    /// What the hub has not confirmed to know of grants, and whether they are over.
    unannounced: BTreeMap<GrantId, (String, bool)>,
    /// Who asked for an end, and waits until the sessions are over.
    enders: Vec<Ender>,
    /// Where sessions get cgroups, or why they get none, in words.
    home: Result<Home, String>,
    /// Cgroups of sessions that are over, which the dead have not left yet.
    leaving: Vec<Cgroup>,
    /// How descriptors get to the running link.
    pub(super) giver: Option<Giver>,
    events: mpsc::Sender<(u64, Event<FromSession>)>,
    incarnations: u64,
}

/// The key and the book.
struct Desk {
    key: HostKey,
    book: Book,
}

/// A grant whose entry is on its way into the ledger.
struct Granting {
    entry: u64,
    grant: Grant,
    payload: String,
    lasts: Duration,
    answer: oneshot::Sender<Answer>,
}

/// A session from its entry in the ledger to the next one.
struct Running {
    session: SessionId,
    grant: Grant,
    ends: u64,
    began: Instant,
    stage: Stage,
    engineer: Option<String>,
    /// Why it is to end, if it is.
    end: Option<End>,
    kill_at: Option<Instant>,
    report: Option<SessionReport>,
}

enum Stage {
    /// Its beginning is on its way into the ledger.
    Entering { entry: u64, asker: Asker },
    /// The worker confines itself.
    Starting { worker: Worker, asker: Asker, far_end: OwnedFd },
    /// Bytes pass.
    Open { worker: Worker },
}

struct Worker {
    incarnation: u64,
    process: Process<ToSession>,
    cgroup: Option<Cgroup>,
}

/// Which link asked, and under which number.
#[derive(Clone, Copy)]
struct Asker {
    link: u64,
    number: u64,
}

struct Ender {
    answer: oneshot::Sender<Answer>,
    grants: Vec<GrantId>,
    sessions: Vec<SessionId>,
}

impl Sessions {
    pub(super) fn new(
        state: &StateDir,
        home: Result<Home, String>,
        events: mpsc::Sender<(u64, Event<FromSession>)>,
    ) -> (Self, Vec<(Grant, End)>) {
        let mut dead = Vec::new();
        let key = HostKey::load_or_make(state).map_err(anyhow::Error::from);
        let desk = key.and_then(|key| {
            let (book, over) = Book::open(&state.grants())?;
            dead = over;
            Ok(Desk { key, book })
        });
        let desk =
            desk.map_err(|error| format!("{error:#}")).inspect_err(|error| tracing::error!("no support: {error}"));
        let sessions = Self {
            desk,
            granting: Vec::new(),
            running: Vec::new(),
            unannounced: BTreeMap::new(),
            enders: Vec::new(),
            home,
            leaving: Vec::new(),
            giver: None,
            events,
            incarnations: 0,
        };
        (sessions, dead)
    }

    /// Whether no session runs and none is about to.
    pub(super) fn is_empty(&self) -> bool {
        self.running.is_empty()
    }

    /// When something is to be done here next.
    pub(super) fn next_due(&self, now: Instant) -> Option<Instant> {
        let grant = self.desk.as_ref().ok().and_then(|desk| desk.book.next_end(boot::now()));
        let kills = self.running.iter().filter_map(|running| running.kill_at);
        kills.chain(grant.map(|left| now + left)).min()
    }

    fn find(&mut self, incarnation: u64) -> Option<&mut Running> {
        self.running.iter_mut().find(|running| running.worker().is_some_and(|worker| worker.incarnation == incarnation))
    }
}

impl Worker {
    /// Ends it at once, with everything that it started.
    fn kill(&self) {
        self.process.kill();
        self.end_cgroup();
    }

    fn end_cgroup(&self) {
        if let Some(Err(error)) = self.cgroup.as_ref().map(Cgroup::kill) {
            tracing::warn!("the cgroup of a support session cannot be ended: {error}");
        }
    }
}

impl Running {
    fn worker(&self) -> Option<&Worker> {
        match &self.stage {
            Stage::Entering { .. } => None,
            Stage::Starting { worker, .. } | Stage::Open { worker } => Some(worker),
        }
    }
}

impl Supervisor {
    /// Enters what became of grants and sessions while no daemon ran.
    pub(super) fn close_what_was_left(&mut self, dead: Vec<(Grant, End)>) {
        for (grant, end) in dead {
            self.grant_is_over(&grant, end);
        }
        let left = self.sessions.desk.as_ref().map(|desk| desk.book.open_sessions().to_vec()).unwrap_or_default();
        for session in left {
            self.enter_end(session, None, End::Stopped);
        }
    }

    fn site_id(&self) -> Option<SiteId> {
        self.site.as_ref().ok().and_then(Option::as_ref).map(|site| site.site.clone())
    }

    /// Asks the collector for an entry in the ledger; [`Supervisor::entered`] follows with its number.
    fn enter(&mut self, about: About, payload: String) -> u64 {
        let (number, message) = self.relay.own_entry(about, payload);
        self.collector.tell(message);
        number
    }

    /// An entry that the supervisor asked for is in the ledger.
    pub(super) fn entered(&mut self, entry: u64, now: Instant) {
        if let Some(place) = self.sessions.granting.iter().position(|granting| granting.entry == entry) {
            let granting = self.sessions.granting.remove(place);
            self.grant_is_entered(granting);
        }
        let waits =
            |running: &Running| matches!(running.stage, Stage::Entering { entry: waited, .. } if waited == entry);
        if let Some(place) = self.sessions.running.iter().position(waits) {
            self.start_worker(place, now);
        }
    }

    /// Ends what may not go on: grants whose time is over, everything when the owner switched it off or demarc ends.
    pub(super) fn enforce_sessions(&mut self, now: Instant) {
        let expired = match &mut self.sessions.desk {
            Ok(desk) => desk.book.expire(boot::now()),
            Err(_) => Vec::new(),
        };
        for grant in expired {
            self.grant_is_over(&grant, End::Expired);
            self.end_sessions(|session| session.grant == grant.id, End::Expired, now);
        }
        if self.ending.is_some() {
            self.end_sessions(|_| true, End::Stopped, now);
        } else if self.loaded.settings.support.mode == SupportMode::Never || self.link_settings.is_err() {
            let live = self.sessions.desk.as_ref().map(|desk| desk.book.live().to_vec()).unwrap_or_default();
            for live in live {
                self.end_grant(live.grant.id, End::SwitchedOff, now);
            }
        }
        for running in &self.sessions.running {
            if running.kill_at.is_some_and(|kill_at| kill_at <= now)
                && let Some(worker) = running.worker()
            {
                worker.kill();
            }
        }
    }

    /// The host certificate, or why it cannot be shown, in words.
    fn host_certificate(&self, site: &SiteId) -> Result<String, String> {
        let path = self.state.host_certificate();
        let line = fs::read_to_string(&path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => {
                "there is none yet: `demarc support key` prints the key that the vendor's support desk \
                                        certifies, and `demarc support host-certificate FILE` takes what it gives back"
                    .to_owned()
            }
            _ => format!("{} cannot be read: {error}", path.display()),
        })?;
        let key = self.sessions.desk.as_ref().map_err(Clone::clone)?.key.public_line();
        let authorities = &self.loaded.settings.support.authorities;
        check_host_certificate(&line, &key, site, authorities, super::clock()).map_err(|error| error.to_string())?;
        Ok(line.trim().to_owned())
    }

    /// What `demarc support` shows.
    pub(super) fn support_status(&self) -> SupportStatus {
        let now = boot::now();
        let desk = self.sessions.desk.as_ref().ok();
        let unannounced = &self.sessions.unannounced;
        let grants = desk.map(|desk| desk.book.live()).unwrap_or_default().iter().map(|live| LiveGrant {
            grant: live.grant.clone(),
            seconds_left: live.left(now).as_secs(),
            sessions: live.sessions,
            announced: !unannounced.contains_key(&live.grant.id),
        });
        let sessions = self.sessions.running.iter().map(|running| LiveSession {
            session: running.session,
            engineer: running.engineer.clone(),
            seconds: running.began.elapsed().as_secs(),
            pid: running.worker().map(|worker| worker.process.pid),
            confined: running.worker().and_then(|worker| worker.process.ready.clone()),
        });
        SupportStatus {
            closed: self.support_closed(None),
            host_key: desk.map(|desk| desk.key.public_line()),
            host_certificate: self.site_id().and_then(|site| self.host_certificate(&site).err()),
            cgroup: self.sessions.home.as_ref().ok().map(Home::in_words),
            no_cgroup: self.sessions.home.as_ref().err().cloned(),
            grants: grants.collect(),
            sessions: sessions.collect(),
        }
    }
}
