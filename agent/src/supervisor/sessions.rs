//! Support sessions as the supervisor runs them: grants in, workers out, and every end on time and in the ledger.

use std::{
    collections::BTreeMap,
    fs::{self, DirBuilder, File},
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::{
            fs::{DirBuilderExt, OpenOptionsExt},
            net::UnixStream,
        },
    },
    time::{Duration, Instant},
};

use demarc_proto::{
    SiteId, ToHub,
    frame::encode,
    support::{Grant, GrantEnded, GrantId, Label, Scope},
};
use tokio::sync::{mpsc, oneshot};

use super::{
    Supervisor,
    process::{Event, Process},
};
use crate::{
    confine::layout,
    control::{Answer, LiveGrant, LiveSession, SupportStatus},
    ipc::{
        FromSession, RECORDING_FD, RecordKind, SESSION_FD, SessionRefusal, SessionSettings, ToLink, ToSession,
        descriptors::Giver,
    },
    session::processes,
    settings::{Secret, SupportMode},
    state::StateDir,
    support::{
        End, SessionId, SessionReport,
        book::{Book, MOST_GRANTS},
        boot, cast,
        keys::{HostKey, check_host_certificate},
    },
};

/// Sessions at a time.
const MOST_SESSIONS: usize = 4;
/// Sessions under one grant: each leaves a recording and two entries in the ledger, and a hub could ask for ever.
const MOST_OF_A_GRANT: u32 = 1_000;
/// How long a worker has to end its recording in good order.
const LAST_WORDS: Duration = Duration::from_millis(400);

/// Everything about support that the running supervisor knows.
pub(super) struct Sessions {
    desk: Result<Desk, String>,
    granting: Vec<Granting>,
    running: Vec<Running>,
    /// What the hub has not confirmed to know of grants, and whether they are over.
    unannounced: BTreeMap<GrantId, (String, bool)>,
    /// Who asked for an end, and waits until the sessions are over.
    enders: Vec<Ender>,
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
    pub(super) fn new(state: &StateDir, events: mpsc::Sender<(u64, Event<FromSession>)>) -> (Self, Vec<(Grant, End)>) {
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

    /// Why support cannot be let in, if it cannot.
    fn support_closed(&self, scope: Option<Scope>) -> Option<String> {
        let settings = &self.loaded.settings.support;
        if settings.mode == SupportMode::Never {
            return Some("support.mode is \"never\" in the config file".to_owned());
        }
        if settings.authorities.is_empty() {
            return Some(
                "support.authorities is empty in the config file: it must hold the vendor's support key before anybody can \
                 be let in"
                    .to_owned(),
            );
        }
        if let Err(why) = &self.sessions.desk {
            return Some(why.clone());
        }
        if let Err(why) = &self.link_settings {
            return Some(format!("there is no tunnel: {why}"));
        }
        let scope = scope?;
        layout::session(&self.ground, &self.loaded.settings, scope, &self.state.scratch()).err()
    }

    /// The owner lets support in. Answered once that stands in the ledger.
    pub(super) fn allow(
        &mut self,
        scope: Scope,
        lasts: Duration,
        (ticket, engineer): (Option<Label>, Option<Label>),
        answer: oneshot::Sender<Answer>,
    ) {
        match self.prepare_grant(scope, lasts, ticket, engineer) {
            Err(reason) => {
                let _ = answer.send(Answer::Refused { reason });
            }
            Ok((grant, payload)) => {
                let kind = RecordKind::Grant { grant: grant.id, scope, until: grant.until };
                let entry = self.enter(kind, payload.clone());
                self.sessions.granting.push(Granting { entry, grant, payload, lasts, answer });
            }
        }
    }

    fn prepare_grant(
        &self,
        scope: Scope,
        lasts: Duration,
        ticket: Option<Label>,
        engineer: Option<Label>,
    ) -> Result<(Grant, String), String> {
        if let Some(why) = self.support_closed(Some(scope)) {
            return Err(why);
        }
        let longest = self.loaded.settings.support.longest;
        if lasts.is_zero() || lasts > longest {
            return Err(format!("a grant lasts 1 to {} seconds here (support.longest)", longest.as_secs()));
        }
        let Some(site) = self.site_id() else { return Err("this site is not enrolled".to_owned()) };
        let desk = self.sessions.desk.as_ref().map_err(Clone::clone)?;
        if desk.book.live().len() + self.sessions.granting.len() >= MOST_GRANTS {
            return Err(format!("{MOST_GRANTS} grants are live already; end some with `demarc support end`"));
        }
        let mut id = [0; 8];
        aws_lc_rs::rand::fill(&mut id).map_err(|_| "this machine has no randomness".to_owned())?;
        let issued = super::clock();
        let grant = Grant {
            id: GrantId::from_bits(id),
            site,
            scope,
            issued,
            until: issued.saturating_add(lasts.as_secs()),
            ticket,
            engineer,
            host_key: desk.key.public_line(),
        };
        let message = desk.key.sign(&grant).map_err(|error| format!("the grant cannot be signed: {error}"))?;
        Ok((grant, text(&ToHub::Grant(message))))
    }

    fn site_id(&self) -> Option<SiteId> {
        self.site.as_ref().ok().and_then(Option::as_ref).map(|site| site.site.clone())
    }

    /// Asks the collector for an entry in the ledger; [`Supervisor::entered`] follows with its number.
    fn enter(&mut self, kind: RecordKind, payload: String) -> u64 {
        let (number, message) = self.relay.own_record(kind, payload);
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

    fn grant_is_entered(&mut self, granting: Granting) {
        let Granting { grant, payload, lasts, answer, .. } = granting;
        let Ok(desk) = &mut self.sessions.desk else { return };
        // Whoever asked and went away does not know that the door is open.
        let failed = if answer.is_closed() {
            Some("nobody waits for it any more".to_owned())
        } else {
            desk.book.enter(grant.clone(), lasts).err().map(|error| format!("{:#}", anyhow::Error::from(error)))
        };
        if let Some(reason) = failed {
            self.grant_is_over(&grant, End::Revoked);
            let _ = answer.send(Answer::Refused { reason });
            return;
        }
        tracing::info!(grant = %grant.id, scope = %grant.scope, "support is let in for {} s", lasts.as_secs());
        self.announce(grant.id, payload, false);
        let live = LiveGrant { grant, seconds_left: lasts.as_secs(), sessions: 0, announced: false };
        let _ = answer.send(Answer::Granted(Box::new(live)));
    }

    fn announce(&mut self, grant: GrantId, payload: String, over: bool) {
        self.sessions.unannounced.insert(grant, (payload.clone(), over));
        self.link.tell(ToLink::Announce { grant, payload, over });
    }

    /// A link that was started anew has to tell the hub of everything again.
    pub(super) fn announce_all(&mut self) {
        let live = self.sessions.desk.as_ref().map(|desk| desk.book.live().to_vec()).unwrap_or_default();
        for live in live {
            let Ok(desk) = &self.sessions.desk else { return };
            // Ed25519 signs the same words in the same way: these are the bytes in the ledger.
            if let Ok(message) = desk.key.sign(&live.grant) {
                let payload = text(&ToHub::Grant(message));
                self.sessions.unannounced.entry(live.grant.id).or_insert((payload, false));
            }
        }
        for (grant, (payload, over)) in &self.sessions.unannounced {
            self.link.tell(ToLink::Announce { grant: *grant, payload: payload.clone(), over: *over });
        }
    }

    /// The hub knows what it was told last of a grant.
    pub(super) fn announced(&mut self, grant: GrantId) {
        self.sessions.unannounced.remove(&grant);
    }

    /// A grant that is no longer in the book is over, and its sessions end.
    fn grant_is_over(&mut self, grant: &Grant, end: End) {
        tracing::info!(grant = %grant.id, "support is no longer let in: {}", end.in_words());
        let payload = text(&ToHub::GrantEnded(GrantEnded { grant: grant.id }));
        self.enter(RecordKind::GrantEnded { grant: grant.id, end }, payload.clone());
        self.announce(grant.id, payload, true);
    }

    /// The owner ends a grant, or all of them. Answered once the sessions are over.
    pub(super) fn end_for(&mut self, grant: Option<GrantId>, answer: oneshot::Sender<Answer>, now: Instant) {
        let wanted = |id: GrantId| grant.is_none_or(|grant| grant == id);
        let live = self.sessions.desk.as_ref().map(|desk| desk.book.live().to_vec()).unwrap_or_default();
        let grants: Vec<GrantId> = live.iter().map(|live| live.grant.id).filter(|id| wanted(*id)).collect();
        let running = self.sessions.running.iter().filter(|running| wanted(running.session.grant));
        let sessions: Vec<SessionId> = running.map(|running| running.session).collect();
        if let Some(grant) = grant.filter(|_| grants.is_empty() && sessions.is_empty()) {
            let _ = answer.send(Answer::Refused { reason: format!("no live grant has the name {grant}") });
            return;
        }
        for id in &grants {
            self.end_grant(*id, End::Revoked, now);
        }
        self.sessions.enders.push(Ender { answer, grants, sessions });
        self.answer_enders();
    }

    fn end_grant(&mut self, id: GrantId, end: End, now: Instant) {
        let Ok(desk) = &mut self.sessions.desk else { return };
        if let Some(grant) = desk.book.strike(id) {
            self.grant_is_over(&grant, end);
        }
        self.end_sessions(|session| session.grant == id, end, now);
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
                worker.process.kill();
            }
        }
    }

    fn end_sessions(&mut self, which: impl Fn(SessionId) -> bool, end: End, now: Instant) {
        let mut unopened = Vec::new();
        for running in
            self.sessions.running.iter_mut().filter(|running| which(running.session) && running.end.is_none())
        {
            running.end = Some(end);
            running.kill_at = Some(now + LAST_WORDS);
            match &running.stage {
                Stage::Entering { asker, .. } => unopened.push((running.session, *asker)),
                Stage::Starting { worker, asker, .. } => {
                    worker.process.kill();
                    unopened.push((running.session, *asker));
                }
                Stage::Open { worker } => worker.process.tell(ToSession::End { end }),
            }
        }
        for (session, asker) in unopened {
            self.turn_away(asker, SessionRefusal::NoGrant);
            let entering = |running: &Running| running.session == session && running.worker().is_none();
            if let Some(place) = self.sessions.running.iter().position(entering) {
                self.sessions.running.remove(place);
                self.enter_end(session, None, end);
            }
        }
    }

    fn turn_away(&mut self, asker: Asker, reason: SessionRefusal) {
        if let Some(link) = self.link.present(asker.link) {
            link.tell(ToLink::SessionRefused { number: asker.number, reason });
        }
    }

    /// The hub asks for a session.
    pub(super) fn session_asked(&mut self, link: u64, number: u64, id: GrantId, now: Instant) {
        let asker = Asker { link, number };
        let desk = self.sessions.desk.as_mut().ok().filter(|_| self.ending.is_none());
        let Some(desk) = desk else { return self.turn_away(asker, SessionRefusal::NoGrant) };
        let Some(live) = desk.book.find(id, boot::now()).cloned() else {
            return self.turn_away(asker, SessionRefusal::NoGrant);
        };
        if self.sessions.running.len() >= MOST_SESSIONS || live.sessions >= MOST_OF_A_GRANT {
            tracing::warn!(grant = %id, "a support session was refused: too many run, or there were too many already");
            return self.turn_away(asker, SessionRefusal::TooMany);
        }
        let session = match desk.book.begin_session(id) {
            Ok(session) => session,
            Err(error) => {
                tracing::error!("a support session cannot begin: {:#}", anyhow::Error::from(error));
                return self.turn_away(asker, SessionRefusal::Failed);
            }
        };
        let payload = serde_json::json!({ "session": session, "scope": live.grant.scope }).to_string();
        let entry = self.enter(RecordKind::SessionBegan { session }, payload);
        self.sessions.running.push(Running {
            session,
            ends: live.ends,
            grant: live.grant,
            began: now,
            stage: Stage::Entering { entry, asker },
            engineer: None,
            end: None,
            kill_at: None,
            report: None,
        });
    }

    fn start_worker(&mut self, place: usize, now: Instant) {
        let Stage::Entering { asker, .. } = self.sessions.running[place].stage else { return };
        let (session, scope) = (self.sessions.running[place].session, self.sessions.running[place].grant.scope);
        self.sessions.incarnations += 1;
        let incarnation = self.sessions.incarnations;
        match self.spawn_worker(session, scope, incarnation) {
            Ok((process, far_end)) => {
                let worker = Worker { incarnation, process };
                self.sessions.running[place].stage = Stage::Starting { worker, asker, far_end };
            }
            Err(error) => {
                tracing::error!(%session, "a support session cannot begin: {error}");
                self.sessions.running.remove(place);
                self.turn_away(asker, SessionRefusal::Failed);
                self.enter_end(session, None, End::NotRecorded);
            }
        }
        self.enforce_sessions(now);
    }

    fn spawn_worker(
        &self,
        session: SessionId,
        scope: Scope,
        incarnation: u64,
    ) -> Result<(Process<ToSession>, OwnedFd), String> {
        let failed = |what: &str, error: io::Error| format!("{what}: {error}");
        let scratch = self.state.scratch().join(session.to_string());
        DirBuilder::new().mode(0o700).create(&scratch).map_err(|error| failed("its scratch directory", error))?;
        let profile = layout::session(&self.ground, &self.loaded.settings, scope, &scratch)?;
        let recording = File::options()
            .append(true)
            .create_new(true)
            .mode(0o600)
            .open(cast::path(&self.state, session))
            .map_err(|error| failed("its recording", error))?;
        let (near, far) = UnixStream::pair().map_err(|error| failed("its socket", error))?;
        let given = vec![(near.into(), SESSION_FD), (recording.into(), RECORDING_FD)];
        let process = Process::start("session", incarnation, &profile, given, self.sessions.events.clone());
        Ok((process.map_err(|error| failed("its process", error))?, far.into()))
    }

    /// The worker of a session says something.
    pub(super) fn session_said(&mut self, incarnation: u64, message: FromSession) {
        let settings = match &message {
            FromSession::Ready(confined) => self.session_settings(incarnation, confined),
            _ => None,
        };
        let Some(running) = self.sessions.find(incarnation) else { return };
        match message {
            FromSession::Ready(confined) => {
                let stage = std::mem::replace(
                    &mut running.stage,
                    Stage::Entering { entry: 0, asker: Asker { link: 0, number: 0 } },
                );
                let Stage::Starting { mut worker, asker, far_end } = stage else {
                    running.stage = stage;
                    return;
                };
                worker.process.ready = Some(confined);
                if let (Some(settings), None) = (settings, running.end) {
                    worker.process.tell(ToSession::Begin(Box::new(settings)));
                }
                running.stage = Stage::Open { worker };
                if running.end.is_none() {
                    self.hand_over(asker, &far_end);
                }
            }
            FromSession::LetIn { engineer } => {
                tracing::info!(session = %running.session, engineer, "a support engineer was let in");
                running.engineer = Some(engineer);
            }
            FromSession::Ended(report) => running.report = Some(*report),
        }
    }

    /// Gives the link its end of a session; only from here on are bytes of it read.
    fn hand_over(&mut self, asker: Asker, far_end: &OwnedFd) {
        let given = self.sessions.giver.as_ref().is_some_and(|giver| giver.give(asker.number, far_end.as_fd()).is_ok());
        if !given {
            return self.turn_away(asker, SessionRefusal::Failed);
        }
        if let Some(link) = self.link.present(asker.link) {
            link.tell(ToLink::SessionOpen { number: asker.number });
        }
    }

    fn session_settings(&mut self, incarnation: u64, confined: &crate::ipc::Confined) -> Option<SessionSettings> {
        let site = self.site_id()?;
        let host_certificate = self.host_certificate(&site).ok();
        let support = self.loaded.settings.support.clone();
        let hub = self.link_settings.as_ref().map(|(settings, _)| settings.hub.clone()).unwrap_or_default();
        let scratch = self.state.scratch();
        let key = self.sessions.desk.as_ref().ok()?.key.to_pem();
        let running =
            self.sessions.running.iter().find(|one| one.worker().is_some_and(|one| one.incarnation == incarnation))?;
        let scratch = scratch.join(running.session.to_string());
        let programs = match running.grant.scope {
            Scope::Shell => Some(layout::shell(&self.ground, &self.loaded.settings, &scratch).ok()?),
            _ => None,
        };
        Some(SessionSettings {
            session: running.session,
            grant: running.grant.clone(),
            ends: running.ends,
            host_key: Secret::new(key),
            host_certificate,
            authorities: support.authorities,
            confined: confined.clone(),
            programs,
            scratch,
            shell: support.shell,
            asterisk: support.asterisk,
            asterisk_conf: support.asterisk_conf,
            logs: support.logs,
            hub,
        })
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

    /// The process of a session is gone, and so is the session.
    pub(super) fn session_ended(&mut self, incarnation: u64) {
        let is_it = |running: &Running| running.worker().is_some_and(|worker| worker.incarnation == incarnation);
        let Some(place) = self.sessions.running.iter().position(is_it) else { return };
        let running = self.sessions.running.remove(place);
        self.end_strays();
        if let Stage::Starting { asker, .. } = running.stage {
            self.turn_away(asker, SessionRefusal::Failed);
        }
        let end = running.end.or(running.report.as_ref().map(|report| report.end)).unwrap_or(End::Died);
        let report = running.report.unwrap_or(SessionReport {
            session: running.session,
            end,
            engineer: running.engineer,
            seconds: running.began.elapsed().as_secs(),
            commands: Vec::new(),
            bytes_in: 0,
            bytes_out: 0,
            forwards: 0,
            files: Vec::new(),
            refused: 0,
        });
        self.enter_end(running.session, Some(report), end);
        self.answer_enders();
    }

    /// Ends what a session left behind whose worker was killed before it could do that itself: it has become our child.
    fn end_strays(&self) {
        let workers = self.sessions.running.iter().filter_map(|running| Some(running.worker()?.process.pid));
        let roles = [self.collector.status().pid, self.link.status().pid];
        let known: Vec<u32> = workers.chain(roles.into_iter().flatten()).collect();
        processes::end_all_but(&known);
        processes::bury_all_but(&known);
    }

    /// Enters the end of a session with the last hash of its recording, and clears away what it wrote.
    fn enter_end(&mut self, session: SessionId, report: Option<SessionReport>, end: End) {
        let head = match cast::verify(&cast::path(&self.state, session)) {
            Ok(verified) => verified.head,
            Err(error) => {
                tracing::warn!(%session, "the recording of a session cannot be read: {error}");
                crate::gate::entry::LineHash::GENESIS
            }
        };
        let payload = report.map(|report| serde_json::to_string(&SessionReport { end, ..report }).unwrap_or_default());
        let payload = payload.unwrap_or_else(|| serde_json::json!({ "session": session, "end": end }).to_string());
        self.enter(RecordKind::Session { session, end, head }, payload);
        tracing::info!(%session, "a support session is over: {}", end.in_words());
        let _ = fs::remove_dir_all(self.state.scratch().join(session.to_string()));
        if let Ok(desk) = &mut self.sessions.desk {
            desk.book.session_is_closed(session);
        }
    }

    fn answer_enders(&mut self) {
        let running: Vec<SessionId> = self.sessions.running.iter().map(|running| running.session).collect();
        let (waiting, done): (Vec<Ender>, Vec<Ender>) = std::mem::take(&mut self.sessions.enders)
            .into_iter()
            .partition(|ender| ender.sessions.iter().any(|session| running.contains(session)));
        self.sessions.enders = waiting;
        for Ender { answer, grants, sessions } in done {
            let _ = answer.send(Answer::Ended { grants, sessions });
        }
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
            grants: grants.collect(),
            sessions: sessions.collect(),
        }
    }
}

/// The exact payload of a message's frame.
fn text(message: &ToHub) -> String {
    String::from_utf8(encode(message)).expect("messages are JSON, and that is UTF-8")
}
