//! Grants: made, entered, announced, and ended.

use std::time::{Duration, Instant};

use demarc_proto::{
    ToHub,
    frame::encode,
    support::{Grant, GrantEnded, GrantId, Label, Scope},
};
use tokio::sync::oneshot;

use super::{Ender, Granting};
use crate::{
    confine::layout,
    control::{Answer, LiveGrant},
    gate::entry::About,
    ipc::ToLink,
    settings::SupportMode,
    supervisor::{Supervisor, clock},
    support::{End, SessionId, book::MOST_GRANTS},
};

impl Supervisor {
    /// Why support cannot be let in, if it cannot.
    pub(super) fn support_closed(&self, scope: Option<Scope>) -> Option<String> {
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
    pub(in crate::supervisor) fn allow(
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
                let about = About::Grant { grant: grant.id, scope, until: grant.until };
                let entry = self.enter(about, payload.clone());
                self.sessions.granting.push(Granting { entry, grant, payload, lasts, answer });
            }
        }
    }

    pub(super) fn prepare_grant(
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
        let issued = clock();
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

    pub(super) fn grant_is_entered(&mut self, granting: Granting) {
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

    pub(super) fn announce(&mut self, grant: GrantId, payload: String, over: bool) {
        self.sessions.unannounced.insert(grant, (payload.clone(), over));
        self.link.tell(ToLink::Announce { grant, payload, over });
    }

    /// A link that was started anew has to tell the hub of everything again.
    pub(in crate::supervisor) fn announce_all(&mut self) {
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
    pub(in crate::supervisor) fn announced(&mut self, grant: GrantId) {
        self.sessions.unannounced.remove(&grant);
    }

    /// A grant that is no longer in the book is over, and its sessions end.
    pub(super) fn grant_is_over(&mut self, grant: &Grant, end: End) {
        tracing::info!(grant = %grant.id, "support is no longer let in: {}", end.in_words());
        let payload = text(&ToHub::GrantEnded(GrantEnded { grant: grant.id }));
        self.enter(About::GrantEnded { grant: grant.id, end }, payload.clone());
        self.announce(grant.id, payload, true);
    }

    /// The owner ends a grant, or all of them. Answered once the sessions are over.
    pub(in crate::supervisor) fn end_for(
        &mut self,
        grant: Option<GrantId>,
        answer: oneshot::Sender<Answer>,
        now: Instant,
    ) {
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

    pub(super) fn end_grant(&mut self, id: GrantId, end: End, now: Instant) {
        let Ok(desk) = &mut self.sessions.desk else { return };
        if let Some(grant) = desk.book.strike(id) {
            self.grant_is_over(&grant, end);
        }
        self.end_sessions(|session| session.grant == id, end, now);
    }

    pub(super) fn answer_enders(&mut self) {
        let running: Vec<SessionId> = self.sessions.running.iter().map(|running| running.session).collect();
        let (waiting, done): (Vec<Ender>, Vec<Ender>) = std::mem::take(&mut self.sessions.enders)
            .into_iter()
            .partition(|ender| ender.sessions.iter().any(|session| running.contains(session)));
        self.sessions.enders = waiting;
        for Ender { answer, grants, sessions } in done {
            let _ = answer.send(Answer::Ended { grants, sessions });
        }
    }
}

/// The exact payload of a message's frame.
fn text(message: &ToHub) -> String {
    String::from_utf8(encode(message)).expect("messages are JSON, and that is UTF-8")
}
