//! The conversation with the hub over an open tunnel: greeting, renewal, and one report after the other.

use std::time::Duration;

use demarc_proto::{
    HealthReport, ReportId, ToAgent, ToHub,
    bytes64::Bytes64,
    frame::{decode, encode},
    message::{Renew, ReportMessage},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Instant, sleep_until},
};

use super::{
    Ended, Link, Told,
    certificate::check_issued,
    control::{Control, Heard},
    deadline,
    error::{LinkError, Misbehaviour, skew_in_words},
    hello,
    identity::{self, Identity},
    now,
    renew::{Need, Renewal, need},
    tunnel::{Event, Tunnel},
    waiting,
};
use crate::ipc::{FromLink, RecordKind};

/// The state of one connection.
struct Session<T> {
    tunnel: Tunnel<T>,
    identity: Identity,
    control: Control,
    renewal: Renewal,
    /// Until when the hub must have answered what it was told last.
    answer_until: Option<Instant>,
    /// Since the greeting.
    up: Option<Instant>,
    /// The hub's clock less ours, in seconds.
    skew: i64,
    /// Whether the outbox may hold something new.
    look: bool,
}

impl<T> Session<T> {
    fn lived(&self) -> Duration {
        self.up.map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// The hub's clock. It is the hub that judges whether our certificate is over.
    fn hub_now(&self) -> u64 {
        now().saturating_add_signed(self.skew)
    }

    fn need(&self) -> Need {
        need(self.identity.facts(), self.hub_now())
    }

    /// The next moment at which somebody is late.
    fn late_at(&self) -> Option<Instant> {
        [self.answer_until, self.renewal.deadline()].into_iter().flatten().min()
    }
}

impl Link {
    /// Speaks with the hub until one of the three ends it: the hub, the supervisor, the network.
    pub(super) async fn converse<T>(&mut self, identity: Identity, tunnel: Tunnel<T>) -> Ended
    where
        T: AsyncRead + AsyncWrite + Unpin,
    {
        let site = &self.settings.site;
        let mut session = Session {
            tunnel,
            identity,
            control: Control::new(site.site.clone(), site.receipt_key.0.clone()),
            renewal: Renewal::new(),
            answer_until: deadline(self.patience.welcome),
            up: None,
            skew: 0,
            look: true,
        };
        match self.converse_in(&mut session).await {
            Ok(never) => match never {},
            Err(Ended::Failed { why, .. }) => Ended::Failed { why, lived: session.lived() },
            Err(Ended::Silenced { .. }) => {
                let lived = session.lived();
                // What is under way is cut off first; only then do we say that nothing leaves any more.
                drop(session);
                match self.applied().await {
                    Ok(()) => Ended::Silenced { lived },
                    Err(ended) => ended,
                }
            }
            Err(Ended::Moved) => {
                drop(session);
                match self.applied().await {
                    Ok(()) => Ended::Moved,
                    Err(ended) => ended,
                }
            }
            Err(ended) => ended,
        }
    }

    async fn converse_in<T>(&mut self, session: &mut Session<T>) -> Result<std::convert::Infallible, Ended>
    where
        T: AsyncRead + AsyncWrite + Unpin,
    {
        session.tunnel.send(hello()).map_err(Ended::early)?;
        loop {
            if session.control.welcomed() {
                self.next_step(session).await?;
            }
            let late = session.late_at();
            tokio::select! {
                biased;
                message = self.channel.recv() => match self.heed(message)? {
                    Told::Settings { moved: true } => return Err(Ended::Moved),
                    Told::Settings { moved: false } if self.must_fall_silent(session) => {
                        return Err(Ended::Silenced { lived: Duration::ZERO });
                    }
                    Told::Settings { moved: false } => {
                        self.applied().await?;
                        session.look = true;
                    }
                    Told::OutboxChanged => session.look = true,
                    Told::Health | Told::Announce | Told::Door => {}
                    Told::Recorded(number) => {
                        if let Some(payload) = session.renewal.recorded(number, self.patience.answer) {
                            session.control.certificate_starts();
                            session.tunnel.send(payload).map_err(Ended::early)?;
                        }
                    }
                },
                wish = self.updates.next_wish() => {
                    let number = self.record(RecordKind::Fetch, wish.head().into()).await?;
                    self.updates.being_recorded(number, wish);
                }
                event = session.tunnel.next() => match event.map_err(Ended::early)? {
                    Event::Frame(payload) => {
                        let message: ToAgent =
                            decode(&payload).map_err(|_| Ended::early(Misbehaviour::UnknownMessage))?;
                        let heard = session.control.hear(message, now()).map_err(Ended::early)?;
                        self.take(session, heard).await?;
                    }
                    Event::Asked(asked) => {
                        let grant = asked.grant;
                        let number = self.doors.knock(asked);
                        self.say(FromLink::SessionAsked { number, grant }).await?;
                    }
                    Event::Tick => self.forget_answers(session),
                },
                said = self.courier.next() => self.say(FromLink::Backup(said)).await?,
                () = sleep_until(late.unwrap_or_else(Instant::now)), if late.is_some() => self.be_late(session)?,
            }
        }
    }

    /// Starts what is due: a renewal, and then the oldest report if the owner lets reports leave.
    async fn next_step<T>(&mut self, session: &mut Session<T>) -> Result<(), Ended>
    where
        T: AsyncRead + AsyncWrite + Unpin,
    {
        let need = session.need();
        if need != Need::None && session.renewal.may_start() {
            let payload = self.renew_payload(&session.identity)?;
            let number = self.record(RecordKind::Renew, payload.clone()).await?;
            session.renewal = Renewal::Recording { number, payload, until: Instant::now() + self.patience.ledger };
        }
        // The hub answers one thing after the other, and so it is told.
        let control = &session.control;
        let busy = control.report_under_way() || control.announcement_under_way() || control.health_under_way();
        if busy || need == Need::Overdue {
            return Ok(());
        }
        if self.announce(session)? || self.tell_health(session)? {
            return Ok(());
        }
        if session.look && self.settings.upload {
            session.look = false;
            let found = waiting::look(&self.state().outbox(), &mut self.answered);
            self.status.trouble = found.trouble.or_else(|| skew_in_words(session.skew));
            self.tell_status().await?;
            if let Some(report) = found.oldest {
                session.control.report_starts(&report);
                session.answer_until = deadline(self.patience.answer);
                let site = self.settings.site.site.clone();
                let message = ToHub::Report(ReportMessage { site, body: report.body });
                session.tunnel.send(encode(&message)).map_err(Ended::early)?;
            }
        }
        Ok(())
    }

    /// Tells the hub of a grant that it does not know of on this connection; says whether there was one.
    fn announce<T>(&mut self, session: &mut Session<T>) -> Result<bool, Ended>
    where
        T: AsyncRead + AsyncWrite + Unpin,
    {
        let untold = self.announcements.iter_mut().find(|(_, announcement)| !announcement.told);
        let Some((grant, announcement)) = untold else { return Ok(false) };
        announcement.told = true;
        session.control.announcement_starts(*grant);
        session.answer_until = deadline(self.patience.answer);
        session.tunnel.send(announcement.payload.clone().into_bytes()).map_err(Ended::early)?;
        Ok(true)
    }

    /// Sends how the machine is, where there is a report of it; says whether there was one.
    fn tell_health<T>(&mut self, session: &mut Session<T>) -> Result<bool, Ended>
    where
        T: AsyncRead + AsyncWrite + Unpin,
    {
        let Some(cleared) = self.health.take() else { return Ok(false) };
        // The gate has checked it; but this is the last place before the network.
        let Ok(report) = HealthReport::from_payload(cleared.payload().as_bytes()) else {
            tracing::warn!("what should be a health report is none: it is not sent");
            return Ok(false);
        };
        if !self.settings.health || !session.tunnel.takes_health {
            return Ok(false);
        }
        session.control.health_starts(report.at);
        session.answer_until = deadline(self.patience.answer);
        session.tunnel.send(cleared.payload().as_bytes().to_vec()).map_err(Ended::early)?;
        Ok(true)
    }

    /// Whether something is under way that the owner does not let leave any more.
    fn must_fall_silent<T>(&self, session: &Session<T>) -> bool {
        let (settings, control) = (&self.settings, &session.control);
        (!settings.upload && control.report_under_way()) || (!settings.health && control.health_under_way())
    }

    /// The request for a certificate. Made once and repeated as it is, so that the ledger tells of one request and not
    /// of every attempt.
    fn renew_payload(&mut self, identity: &Identity) -> Result<Vec<u8>, Ended> {
        let public_key = identity.public_key();
        if let Some((_, payload)) = self.renew_payload.as_ref().filter(|(key, _)| *key == public_key) {
            return Ok(payload.clone());
        }
        let request = identity.request(&self.settings.site.site).map_err(Ended::early)?;
        let payload = encode(&ToHub::Renew(Renew { request }));
        self.renew_payload = Some((public_key, payload.clone()));
        Ok(payload)
    }

    /// Acts on what the hub may say.
    async fn take<T>(&mut self, session: &mut Session<T>, heard: Heard) -> Result<(), Ended> {
        match heard {
            Heard::Welcome { skew } => {
                session.answer_until = None;
                session.up = Some(Instant::now());
                session.skew = skew;
                tracing::info!("connected to the hub");
                (self.status.connected, self.status.since) = (true, Some(now()));
                (self.status.clock_skew, self.status.trouble) = (Some(skew), skew_in_words(skew));
                self.status.takes_health = session.tunnel.takes_health;
                self.tell_status().await
            }
            Heard::Stored(receipt) => {
                session.answer_until = None;
                session.look = true;
                self.note_answer(receipt.report);
                self.status.delivered += 1;
                self.say(FromLink::Receipt(receipt)).await?;
                self.tell_status().await
            }
            Heard::Refused(report, reason) => {
                session.answer_until = None;
                session.look = true;
                self.note_answer(report);
                tracing::warn!(%report, ?reason, "the hub refused a report for good");
                self.say(FromLink::Refused { report, reason }).await
            }
            Heard::HealthNoted(at) => {
                session.answer_until = None;
                self.status.health_noted = Some(at);
                self.tell_status().await
            }
            Heard::Certificate(chain) => self.take_certificate(session, &chain).await,
            Heard::Noted(grant) => {
                session.answer_until = None;
                if self.announcements.get(&grant).is_some_and(|announcement| announcement.over && announcement.told) {
                    self.announcements.remove(&grant);
                }
                self.say(FromLink::Announced { grant }).await
            }
        }
    }

    /// A report that was answered is not sent again while its file waits to be removed.
    fn note_answer(&mut self, report: ReportId) {
        self.answered.push(report);
        self.answered_at = Instant::now();
    }

    /// A file that is still there long after the answer means that the answer was lost, or the ledger was full when it
    /// came: the hub has the report already, and repeats its receipt when it is sent again.
    fn forget_answers<T>(&mut self, session: &mut Session<T>) {
        if !self.answered.is_empty() && self.answered_at.elapsed() >= self.patience.settle {
            self.answered.clear();
            session.look = true;
        }
    }

    /// Takes a certificate for our own key and nothing else; the next connection shows it.
    async fn take_certificate<T>(&mut self, session: &mut Session<T>, chain: &[Bytes64]) -> Result<(), Ended> {
        let overdue = session.need() == Need::Overdue;
        let site = &self.settings.site;
        let chain = check_issued(chain, &session.identity.public_key(), &site.site, &site.ca.0, session.hub_now())
            .map_err(|unfit| Ended::early(Misbehaviour::Certificate(unfit)))?;
        identity::store_chain(&self.state(), &chain).map_err(Ended::early)?;
        session.identity = Identity::load(&self.state()).map_err(Ended::early)?;
        session.renewal.rest(self.patience.renew_every);
        self.renew_payload = None;
        self.status.certificate_ends = Some(session.identity.facts().until);
        tracing::info!("the hub renewed this site's certificate");
        self.tell_status().await?;
        // A hub that saw the old one expired takes nothing on this connection.
        if overdue { Err(Ended::Renewed) } else { Ok(()) }
    }

    /// Somebody did not answer in time.
    fn be_late<T>(&mut self, session: &mut Session<T>) -> Result<(), Ended> {
        let passed = |moment: Option<Instant>| moment.is_some_and(|moment| moment <= Instant::now());
        if passed(session.answer_until) {
            let (message, within) = match session.control.welcomed() {
                true if session.control.announcement_under_way() => ("a support grant", self.patience.answer),
                true if session.control.health_under_way() => ("a health report", self.patience.answer),
                true => ("a report", self.patience.answer),
                false => ("the greeting", self.patience.welcome),
            };
            return Err(Ended::early(LinkError::Unanswered { message, seconds: within.as_secs() }));
        }
        if passed(session.renewal.deadline()) {
            let within = self.patience;
            let late = match session.control.certificate_under_way() {
                true => LinkError::Unanswered { message: "a certificate request", seconds: within.answer.as_secs() },
                false => LinkError::LedgerSilent { seconds: within.ledger.as_secs() },
            };
            if session.need() == Need::Overdue {
                return Err(Ended::early(late));
            }
            // Until the old certificate is over there is time, and reports go on meanwhile.
            tracing::warn!("{late}");
            session.renewal.rest(self.patience.renew_every);
        }
        Ok(())
    }
}
