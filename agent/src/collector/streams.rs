//! The sources that are no followed file: their tasks, and their portions on the way into the store.

use std::time::{Duration, Instant};

use tokio::{sync::mpsc, task::JoinHandle};

use super::roster::Member;
use crate::{
    call::CallRules,
    ipc::{PbxStatus, SourceStatus},
    pbx::{
        Zone,
        ami::Facts,
        connector::Connector,
        source::{self, Start},
        stream::{Outlet, Portion, Said},
    },
    store::{FeedCounts, Store, StoreError},
};

/// How soon a source whose task has ended begins again.
const RETRY: Duration = Duration::from_secs(2);
/// Portions that wait.
const WAITING: usize = 4;

/// All of them.
pub struct Streams {
    connector: Connector,
    streams: Vec<Stream>,
    sender: mpsc::Sender<(usize, Said)>,
    receiver: mpsc::Receiver<(usize, Said)>,
}

struct Stream {
    member: Member,
    zone: Zone,
    task: Option<JoinHandle<()>>,
    begin_at: Instant,
    trouble: Option<String>,
    advice: Option<String>,
    /// How the PBX is, where the source can ask it.
    facts: Option<Facts>,
}

impl Drop for Stream {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

impl Streams {
    /// None yet. Those that have a server get to it by `connector`.
    pub fn new(connector: Connector) -> Self {
        let (sender, receiver) = mpsc::channel(WAITING);
        Self { connector, streams: Vec::new(), sender, receiver }
    }

    /// Adds a source.
    pub fn add(&mut self, member: Member, zone: Zone) {
        let begin_at = Instant::now();
        self.streams.push(Stream { member, zone, task: None, begin_at, trouble: None, advice: None, facts: None });
    }

    /// Starts the tasks that do not run and are due. Says how long none will be.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn keep_running(&mut self, store: &Store) -> Result<Duration, StoreError> {
        let mut wait = Duration::MAX;
        let now = Instant::now();
        for (index, stream) in self.streams.iter_mut().enumerate() {
            if stream.task.as_ref().is_some_and(JoinHandle::is_finished) {
                stream.task = None;
                stream.begin_at = now + RETRY;
            }
            if stream.task.is_some() {
                continue;
            }
            wait = wait.min(stream.begin_at.saturating_duration_since(now));
            if stream.begin_at <= now {
                let enlisted = stream.member.enlisted();
                let start = Start {
                    position: store.feed_position(enlisted.number)?,
                    delivered: store.delivered(enlisted.number)?,
                    since: enlisted.since,
                };
                let outlet = Outlet::new(index, self.sender.clone());
                stream.task =
                    source::begin(stream.member.source(), stream.zone.clone(), start, &self.connector, outlet);
                wait = RETRY;
            }
        }
        Ok(wait)
    }

    /// What one of them says next. Waits for ever where there is none.
    pub async fn next(&mut self) -> (usize, Said) {
        match self.receiver.recv().await {
            Some(said) => said,
            // We hold a sender ourselves.
            None => std::future::pending().await,
        }
    }

    /// The name of the source that said something; none for one that is no longer configured, whose task may
    /// have said a last word.
    pub fn name(&self, source: usize) -> Option<String> {
        self.streams.get(source).map(|stream| stream.member.source().name())
    }

    /// Takes in what one of them said; says whether anything came of it.
    ///
    /// # Errors
    /// When the store cannot take the rows. They come again.
    pub fn take(
        &mut self,
        (index, said): (usize, Said),
        store: &mut Store,
        rules: &CallRules,
        reportable_from: u64,
    ) -> Result<bool, StoreError> {
        let Some(stream) = self.streams.get_mut(index) else { return Ok(false) };
        match said {
            Said::Trouble(trouble) => {
                let changed = stream.trouble != trouble;
                stream.trouble = trouble;
                Ok(changed)
            }
            Said::Advice(advice) => {
                let changed = stream.advice != advice;
                stream.advice = advice;
                Ok(changed)
            }
            // These concern the whole collector.
            Said::Trunks(_) | Said::CameLater => Ok(false),
            Said::Live(facts) => {
                let changed = stream.facts.as_ref() != Some(&facts);
                let calls = facts.active_calls;
                stream.facts = Some(facts);
                if let Some(calls) = calls {
                    store.note_concurrency(calls, super::now())?;
                }
                Ok(changed)
            }
            Said::Sound(samples) => {
                samples.into_iter().for_each(|sample| store.note_quality(sample));
                Ok(false)
            }
            Said::Portion(portion) => {
                store_portion(&stream.member, portion, store, rules, reportable_from).map(|()| true)
            }
        }
    }

    /// How the PBX is, by the first source that can ask it.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn pbx(&self, store: &Store) -> Result<Option<PbxStatus>, StoreError> {
        let Some((zone, facts)) = self.streams.iter().find_map(|one| Some((&one.zone, one.facts.clone()?))) else {
            return Ok(None);
        };
        let seconds = |moment: i64| u64::try_from(moment).ok();
        Ok(Some(PbxStatus {
            connected: facts.connected,
            version: facts.version,
            up_since: facts.up_since.and_then(seconds),
            reloaded: facts.reloaded.and_then(seconds),
            active_calls: facts.active_calls,
            peak_today: store.peak_since(midnight(zone, super::now()))?,
            registrations: facts.registrations,
            lost: facts.lost,
            dropped: facts.dropped,
        }))
    }

    /// What `demarc status` shows of each.
    pub fn status<'a>(&'a self, counts: &'a [FeedCounts]) -> impl Iterator<Item = SourceStatus> + 'a {
        self.streams.iter().map(|stream| stream.status(counts))
    }
}

/// When the day began whose moment that is, by the wall clock of the PBX.
fn midnight(zone: &Zone, now: u64) -> u64 {
    let now = i64::try_from(now).unwrap_or(i64::MAX);
    let wall = now.saturating_add(zone.offset_at(now));
    u64::try_from(now - wall.rem_euclid(86_400)).unwrap_or(0)
}

fn store_portion(
    member: &Member,
    portion: Portion,
    store: &mut Store,
    rules: &CallRules,
    reportable_from: u64,
) -> Result<(), StoreError> {
    let Portion { rows, stored } = portion;
    let from = if rows.backlog { reportable_from } else { 0 };
    let feed = member.enlisted().number;
    let mut batch = store.batch(rules)?;
    batch.via(member.via(super::now()));
    for entry in &rows.entries {
        match &entry.row {
            Ok(record) => batch.leg(&record.leg(), from),
            Err(unreadable) => batch.malformed(&unreadable.bytes, unreadable.why),
        }
        if let Some((name, at)) = entry.name {
            batch.delivered(feed, name, at);
        }
    }
    batch.stream(feed, rows.position);
    batch.forget_delivered(feed, rows.forget_before);
    batch.commit(super::now())?;
    // The task may have been ended meanwhile; what is stored is stored.
    let _ = stored.send(());
    Ok(())
}

impl Stream {
    fn status(&self, counts: &[FeedCounts]) -> SourceStatus {
        let status = self.member.status();
        let none = FeedCounts::default();
        let counts = counts.iter().find(|counts| counts.name == status.name).unwrap_or(&none);
        SourceStatus {
            rows: counts.rows,
            malformed: counts.malformed,
            duplicates: counts.duplicates,
            last_read: counts.last_read,
            trouble: self.trouble.clone(),
            advice: self.member.advice(counts.rows, counts.unlinked).or_else(|| self.advice.clone()),
            ..status
        }
    }
}
