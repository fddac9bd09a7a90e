//! Workers: asked for, started, handed their connection, and buried.

use std::{
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

use demarc_proto::support::{GrantId, Scope};

use super::{Asker, Running, Stage, Worker};
use crate::{
    cgroup::{Cgroup, Home},
    confine::layout,
    gate::entry::{About, LineHash},
    ipc::{Confined, FromSession, RECORDING_FD, SESSION_FD, SessionRefusal, SessionSettings, ToLink, ToSession},
    session::processes,
    settings::Secret,
    supervisor::{Supervisor, process::Process},
    support::{End, SessionId, SessionReport, boot, cast},
};

/// Sessions at a time.
const MOST_SESSIONS: usize = 4;
/// Sessions under one grant: each leaves a recording and two entries in the ledger, and a hub could ask for ever.
const MOST_OF_A_GRANT: u32 = 1_000;
/// How long a worker has to end its recording in good order.
const LAST_WORDS: Duration = Duration::from_millis(400);

impl Supervisor {
    pub(super) fn end_sessions(&mut self, which: impl Fn(SessionId) -> bool, end: End, now: Instant) {
        let mut unopened = Vec::new();
        for running in
            self.sessions.running.iter_mut().filter(|running| which(running.session) && running.end.is_none())
        {
            running.end = Some(end);
            running.kill_at = Some(now + LAST_WORDS);
            match &running.stage {
                Stage::Entering { asker, .. } => unopened.push((running.session, *asker)),
                Stage::Starting { worker, asker, .. } => {
                    worker.kill();
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

    pub(super) fn turn_away(&mut self, asker: Asker, reason: SessionRefusal) {
        if let Some(link) = self.link.present(asker.link) {
            link.tell(ToLink::SessionRefused { number: asker.number, reason });
        }
    }

    /// The hub asks for a session.
    pub(in crate::supervisor) fn session_asked(&mut self, link: u64, number: u64, id: GrantId, now: Instant) {
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
        let entry = self.enter(About::SessionBegan { session }, payload);
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

    pub(super) fn start_worker(&mut self, place: usize, now: Instant) {
        let Stage::Entering { asker, .. } = self.sessions.running[place].stage else { return };
        let (session, scope) = (self.sessions.running[place].session, self.sessions.running[place].grant.scope);
        self.sessions.incarnations += 1;
        let incarnation = self.sessions.incarnations;
        match self.spawn_worker(session, scope, incarnation) {
            Ok((worker, far_end)) => {
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

    pub(super) fn spawn_worker(
        &self,
        session: SessionId,
        scope: Scope,
        incarnation: u64,
    ) -> Result<(Worker, OwnedFd), String> {
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
        let cgroup = self.sessions.home.as_ref().ok().and_then(|home| {
            let made = home.begin(session);
            made.inspect_err(|error| tracing::warn!(%session, "a support session gets no cgroup: {error}")).ok()
        });
        if cgroup.is_none() && layout::needs_cgroup(&self.ground, scope) {
            return Err("on this kernel it must have a cgroup".to_owned());
        }
        let entrance =
            cgroup.as_ref().map(Cgroup::entrance).transpose().map_err(|error| failed("its cgroup", error))?;
        let events = self.sessions.events.clone();
        let process = Process::start("session", incarnation, &profile, given, entrance, events);
        let process = process.map_err(|error| {
            if let Some(cgroup) = &cgroup {
                cgroup.remove();
            }
            failed("its process", error)
        })?;
        Ok((Worker { incarnation, process, cgroup }, far.into()))
    }

    /// The worker of a session says something.
    pub(in crate::supervisor) fn session_said(&mut self, incarnation: u64, message: FromSession) {
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
    pub(super) fn hand_over(&mut self, asker: Asker, far_end: &OwnedFd) {
        let given = self.sessions.giver.as_ref().is_some_and(|giver| giver.give(asker.number, far_end.as_fd()).is_ok());
        if !given {
            return self.turn_away(asker, SessionRefusal::Failed);
        }
        if let Some(link) = self.link.present(asker.link) {
            link.tell(ToLink::SessionOpen { number: asker.number });
        }
    }

    pub(super) fn session_settings(&mut self, incarnation: u64, confined: &Confined) -> Option<SessionSettings> {
        let site = self.site_id()?;
        let host_certificate = self.host_certificate(&site).ok();
        let support = self.loaded.settings.support.clone();
        let hub = self.link_settings.as_ref().map(|(settings, _)| settings.hub.clone()).unwrap_or_default();
        let scratch = self.state.scratch();
        let key = self.sessions.desk.as_ref().ok()?.key.to_pem();
        let home = self.sessions.home.as_ref().ok().map(Home::in_words);
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
            cgroup: running.worker().filter(|worker| worker.cgroup.is_some()).and(home),
            programs,
            scratch,
            shell: support.shell,
            asterisk: support.asterisk,
            asterisk_conf: support.asterisk_conf,
            logs: support.logs,
            hub,
        })
    }

    /// The process of a session is gone, and so is the session.
    pub(in crate::supervisor) fn session_ended(&mut self, incarnation: u64) {
        let is_it = |running: &Running| running.worker().is_some_and(|worker| worker.incarnation == incarnation);
        let Some(place) = self.sessions.running.iter().position(is_it) else { return };
        let running = self.sessions.running.remove(place);
        if let Some(worker) = running.worker() {
            worker.end_cgroup();
        }
        self.end_strays();
        let worker = match running.stage {
            Stage::Starting { worker, asker, .. } => {
                self.turn_away(asker, SessionRefusal::Failed);
                Some(worker)
            }
            Stage::Open { worker } => Some(worker),
            Stage::Entering { .. } => None,
        };
        self.sessions.leaving.extend(worker.and_then(|worker| worker.cgroup));
        self.sessions.leaving.retain(|cgroup| !cgroup.remove());
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
    pub(super) fn end_strays(&self) {
        let workers = self.sessions.running.iter().filter_map(|running| Some(running.worker()?.process.pid));
        let roles =
            [self.collector.status().pid, self.link.status().pid, self.web.slot.status().pid, self.keeper.pid()];
        let known: Vec<u32> = workers.chain(roles.into_iter().flatten()).collect();
        processes::end_all_but(&known);
        processes::bury_all_but(&known);
    }

    /// Enters the end of a session with the last hash of its recording, and clears away what it wrote.
    pub(super) fn enter_end(&mut self, session: SessionId, report: Option<SessionReport>, end: End) {
        let head = match cast::verify(&cast::path(&self.state, session)) {
            Ok(verified) => verified.head,
            Err(error) => {
                tracing::warn!(%session, "the recording of a session cannot be read: {error}");
                LineHash::GENESIS
            }
        };
        let payload = report.map(|report| serde_json::to_string(&SessionReport { end, ..report }).unwrap_or_default());
        let payload = payload.unwrap_or_else(|| serde_json::json!({ "session": session, "end": end }).to_string());
        self.enter(About::Session { session, end, head }, payload);
        tracing::info!(%session, "a support session is over: {}", end.in_words());
        let _ = fs::remove_dir_all(self.state.scratch().join(session.to_string()));
        if let Ok(desk) = &mut self.sessions.desk {
            desk.book.session_is_closed(session);
        }
    }
}
