//! The collector: reads call records, keeps the store, and passes reports through the gate. The pipeline stands here in order.

pub mod books;
pub mod connections;
pub mod feed;
pub mod reporting;
pub mod roster;
pub mod streams;
pub mod trunks;
pub mod vitals;

use std::{
    ops::ControlFlow,
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use self::{
    connections::Connections,
    feed::{Feed, FeedError},
    reporting::Reporting,
    streams::Streams,
    trunks::KnownTrunks,
    vitals::Vitals,
};
use crate::{
    call::CallRules,
    gate::{GateError, Ledger, entry::Draft},
    ipc::{
        CollectorSettings, CollectorStatus, EXIT_FRESH_RULES, FromCollector, Record, ToCollector,
        channel::{CollectorChannel, Receiver, Sender},
        descriptors::Taker,
    },
    outbox::Outbox,
    pbx::{source, stream::Said, tail::TailError, watch::Watch, zone::Zone},
    settings::Source,
    state::StateDir,
    store::{SourceCounts, Store, StoreError},
};

/// How often a portion that failed is tried again.
const RETRY: Duration = Duration::from_secs(2);
/// Even when nothing is due, the clock is looked at this often: it may have been set.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);
/// The status is sent at most this often.
const STATUS_PAUSE: Duration = Duration::from_secs(1);

/// Why the collector ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It was told to, or the supervisor is gone.
    InOrder,
    /// It needs to be confined anew to reach a file that was rotated into place.
    NeedsFreshRules,
}

impl Ended {
    /// What the supervisor is told by the end of the process.
    pub fn exit_code(self) -> ExitCode {
        match self {
            Self::InOrder => ExitCode::SUCCESS,
            Self::NeedsFreshRules => ExitCode::from(EXIT_FRESH_RULES),
        }
    }
}

/// Follows the sources until it is told to stop. `machine_zone` is the machine's own zone, loaded before confinement;
/// connections to servers of the PBX come by `taker`.
///
/// # Errors
/// When the store or the ledger cannot be opened at all. What fails later is tried again, and shown in the status.
pub async fn run(channel: CollectorChannel, taker: Option<Taker>, machine_zone: Zone) -> anyhow::Result<Ended> {
    let (sender, mut receiver) = channel.split();
    let settings = loop {
        match receiver.recv().await? {
            Some(ToCollector::Settings(settings)) => break *settings,
            Some(ToCollector::Stop) | None => return Ok(Ended::InOrder),
            Some(_) => {}
        }
    };
    let mut collector = Collector::open(settings, machine_zone, taker, sender)?;
    collector.settings_in_force().await?;
    collector.follow(&mut receiver).await
}

/// The pipeline and everything that it holds.
struct Collector {
    settings: CollectorSettings,
    rules: CallRules,
    trunks: KnownTrunks,
    machine_zone: Zone,
    store: Store,
    reporting: Reporting,
    feeds: Vec<Feed>,
    connections: Connections,
    streams: Streams,
    watch: Watch,
    vitals: Vitals,
    sender: Sender<FromCollector>,
    troubles: Troubles,
    /// When the next rows of witnesses will have waited for long enough.
    next_release: Option<u64>,
    /// Whether the status that was sent last is out of date.
    stale: bool,
    status_sent: Option<Instant>,
}

/// What is wrong beside the sources, in words; each kind once.
#[derive(Default)]
struct Troubles {
    recovered: Option<String>,
    sources: Option<String>,
    streams: Option<String>,
    reporting: Option<String>,
    vitals: Option<String>,
    health: Option<String>,
}

impl Collector {
    fn open(
        settings: CollectorSettings,
        machine_zone: Zone,
        taker: Option<Taker>,
        sender: Sender<FromCollector>,
    ) -> anyhow::Result<Self> {
        let state = StateDir::new(&settings.state_dir);
        let (mut store, recovered) = open_store(&state)?;
        let ledger = Ledger::open(&state)?;
        let outbox = Outbox::open(&state)?;
        let reporting = Reporting::open(&mut store, ledger, outbox, &settings, recovered.is_some(), now())?;
        let connections = Connections::new(taker);
        let vitals = Vitals::open(&store, &settings)?;
        let mut collector = Self {
            rules: CallRules::default(),
            trunks: KnownTrunks::default(),
            machine_zone,
            store,
            reporting,
            feeds: Vec::new(),
            streams: Streams::new(connections.connector()),
            connections,
            watch: Watch::new(&paths(&settings)),
            vitals,
            sender,
            troubles: Troubles { recovered, ..Troubles::default() },
            next_release: None,
            stale: true,
            status_sent: None,
            settings,
        };
        collector.open_feeds()?;
        Ok(collector)
    }

    fn open_feeds(&mut self) -> anyhow::Result<()> {
        self.feeds.clear();
        self.streams = Streams::new(self.connections.connector());
        let members = roster::enlist(&self.settings.pbx, &mut self.store, now())?;
        self.trunks = KnownTrunks::of(&self.settings.pbx, &self.store)?;
        self.rules = self.trunks.rules(&self.settings.pbx);
        self.store.keep_missed(self.settings.pbx.keep_missed)?;
        for member in members {
            let zone = match member.source().timezone() {
                Some(name) => Zone::load(Some(name))?,
                None => self.machine_zone.clone(),
            };
            let followed = member.source().followed().map(Path::to_owned);
            match (followed, source::format(member.source(), zone.clone())) {
                (Some(path), Some(format)) => self.feeds.push(Feed::open(member, &path, format, &self.store)?),
                _ => self.streams.add(member, zone),
            }
        }
        Ok(())
    }

    async fn settings_in_force(&mut self) -> anyhow::Result<()> {
        let generation = self.settings.generation;
        Ok(self.sender.send(&FromCollector::Applied { generation }).await?)
    }

    /// The loop: read what is there, do what is due, tell, and wait for whatever comes first.
    async fn follow(&mut self, receiver: &mut Receiver<ToCollector>) -> anyhow::Result<Ended> {
        loop {
            let Ok(more) = self.read_portions() else { return Ok(Ended::NeedsFreshRules) };
            let due = self.take_pulse().min(self.keep_books());
            let due =
                due.min(self.tell_others().await?).min(self.tell().await?).min(self.streams.keep_running(&self.store)?);
            let wait = if more { Duration::ZERO } else { due };
            tokio::select! {
                biased;
                message = receiver.recv() => match message? {
                    Some(message) => if self.obey(message).await?.is_break() { return Ok(Ended::InOrder) },
                    // The supervisor is gone, and with it whoever could tell us to stop.
                    None => return Ok(Ended::InOrder),
                },
                asked = self.connections.next() => self.sender.send(&self.connections.ask(asked)).await?,
                said = self.streams.next() => match said {
                    (_, Said::CameLater) => return Ok(Ended::NeedsFreshRules),
                    said => self.hear(said),
                },
                () = self.watch.changed() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// Takes one portion of each source into the store, and says whether any has more.
    fn read_portions(&mut self) -> Result<bool, NotReachable> {
        let mut more = false;
        self.troubles.sources = None;
        if self.trunks.are_awaited() {
            // Which calls of a file come from outside is not known before the phone system has told of its trunks.
            return Ok(false);
        }
        let reportable_from = self.reporting.reportable_from(now());
        for feed in &mut self.feeds {
            match feed.pump(&mut self.store, &self.rules, reportable_from) {
                Ok(portion) => {
                    more |= portion.more;
                    self.stale |= portion.moved;
                }
                Err(FeedError::Source(TailError::NotReachable { .. })) if feed.came_later() => {
                    return Err(NotReachable);
                }
                Err(FeedError::Source(_)) => self.stale = true,
                Err(FeedError::Store(error)) => {
                    self.stale = true;
                    self.troubles.sources = Some(error.to_string());
                }
            }
        }
        Ok(more)
    }

    /// Takes in what a source says that is no followed file.
    fn hear(&mut self, (source, said): (usize, Said)) {
        let Some(name) = self.streams.name(source) else { return };
        match self.trunks.hear(&name, &said, &mut self.store) {
            Ok(false) => {}
            Ok(true) => self.rules = self.trunks.rules(&self.settings.pbx),
            Err(error) => self.troubles.streams = Some(error.to_string()),
        }
        let reportable_from = self.reporting.reportable_from(now());
        match self.streams.take((source, said), &mut self.store, &self.rules, reportable_from) {
            Ok(changed) => {
                self.stale |= changed || self.troubles.streams.take().is_some();
            }
            Err(error) => {
                self.stale = true;
                self.troubles.streams = Some(error.to_string());
            }
        }
    }

    /// Settles calls and closes windows; says how long nothing will be due.
    fn keep_books(&mut self) -> Duration {
        let moment = now();
        let troubled = self.troubles.sources.is_some();
        let released = self.store.release(&self.rules, moment);
        if let Ok(next) = released {
            // Another moment says that rows were decided about, and figures changed.
            self.stale |= next != self.next_release;
            self.next_release = next;
        }
        let ticked = released
            .map_err(anyhow::Error::from)
            .and_then(|next| Ok(self.reporting.tick(&mut self.store, moment)?.min(next.unwrap_or(u64::MAX))));
        match ticked {
            Ok(until) => {
                self.stale |= self.troubles.reporting.take().is_some();
                let due = Duration::from_secs(until.saturating_sub(moment)).min(LONGEST_SLEEP);
                if troubled { due.min(RETRY) } else { due }
            }
            Err(error) => {
                self.stale = true;
                self.troubles.reporting = Some(format!("{error:#}"));
                RETRY
            }
        }
    }

    /// Measures the machine where that is due; says how long it is not.
    fn take_pulse(&mut self) -> Duration {
        let moment = now();
        if self.vitals.due(moment).is_zero() {
            let status = self.status();
            let measured = self.vitals.measure(&mut self.store, &status, moment);
            self.troubles.vitals = measured.err().map(|error| error.to_string());
            self.stale = true;
        }
        self.vitals.due(moment)
    }

    /// Sends alerts and, where that is due, how the machine is on their way; says how long to wait where it could not be.
    async fn tell_others(&mut self) -> anyhow::Result<Duration> {
        for alert in std::mem::take(&mut self.vitals.untold) {
            self.sender.send(&FromCollector::Alert(alert)).await?;
        }
        let moment = now();
        let Some(report) = self.vitals.report(moment) else { return Ok(LONGEST_SLEEP) };
        match self.reporting.clear_health(&report, moment) {
            Ok(cleared) => {
                self.stale |= self.troubles.health.take().is_some();
                self.vitals.reported(moment);
                self.sender.send(&FromCollector::Health(cleared)).await?;
            }
            Err(GateError::Withhold(_)) => {}
            Err(error) => {
                self.stale = true;
                self.troubles.health = Some(error.to_string());
                return Ok(RETRY);
            }
        }
        Ok(LONGEST_SLEEP)
    }

    /// Does what the supervisor says.
    async fn obey(&mut self, message: ToCollector) -> anyhow::Result<ControlFlow<()>> {
        match message {
            ToCollector::Settings(settings) => self.adopt(*settings).await?,
            ToCollector::Receipt(receipt) => {
                if let Err(error) = self.reporting.receipt(&receipt, now()) {
                    self.troubles.reporting = Some(format!("{error:#}"));
                }
            }
            ToCollector::Refused { report, reason } => {
                if let Err(error) = self.reporting.refused(report, reason, now()) {
                    self.troubles.reporting = Some(format!("{error:#}"));
                }
            }
            ToCollector::Record(Record { number, kind, payload }) => {
                self.enter(number, Draft::message(kind, &payload)).await?;
            }
            ToCollector::Enter { number, about, payload } => {
                self.enter(number, Draft::support(about, &payload)).await?;
            }
            ToCollector::ClockOffset(offset) => self.vitals.clock_offset = Some(offset),
            ToCollector::HubTakesHealth(listens) => self.vitals.hub_listens = listens,
            ToCollector::Connected { number } => self.connections.made(number),
            ToCollector::NotConnected { number, reason } => self.connections.failed(number, reason),
            ToCollector::Stop => return Ok(ControlFlow::Break(())),
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Makes an entry in the ledger, and says so.
    async fn enter(&mut self, number: u64, draft: Draft) -> anyhow::Result<()> {
        match self.reporting.enter(draft, now()) {
            Ok(()) => self.sender.send(&FromCollector::Recorded { number }).await?,
            // No answer: what is not in the ledger must not happen.
            Err(error) => self.troubles.reporting = Some(error.to_string()),
        }
        Ok(())
    }

    /// Takes over changed settings. They are said to be in force only when they are.
    async fn adopt(&mut self, settings: CollectorSettings) -> anyhow::Result<()> {
        let pbx_changed = settings.pbx != self.settings.pbx;
        self.settings = settings;
        self.vitals.adopt(&self.settings);
        self.stale = true;
        if pbx_changed {
            self.watch = Watch::new(&paths(&self.settings));
            self.open_feeds()?;
        }
        match self.reporting.adopt(&mut self.store, &self.settings, now()) {
            Ok(()) => self.settings_in_force().await,
            Err(error) => {
                // The supervisor starts us anew, and a start takes over the same settings first.
                Err(error.context("the changed settings cannot be put in force"))
            }
        }
    }

    /// Tells the link of a changed outbox at once, and the supervisor of a changed status once a second at most.
    /// Says how long to wait before there is more to tell.
    async fn tell(&mut self) -> anyhow::Result<Duration> {
        if self.reporting.take_outbox_changed() {
            self.stale = true;
            self.sender.send(&FromCollector::OutboxChanged).await?;
        }
        if !self.stale {
            return Ok(LONGEST_SLEEP);
        }
        let pause = self.status_sent.map_or(Duration::ZERO, |when| STATUS_PAUSE.saturating_sub(when.elapsed()));
        if pause.is_zero() {
            let status = self.status();
            self.sender.send(&FromCollector::Status(Box::new(status))).await?;
            self.status_sent = Some(Instant::now());
            self.stale = false;
            return Ok(LONGEST_SLEEP);
        }
        Ok(pause)
    }

    fn status(&mut self) -> CollectorStatus {
        let counts = self.store.counts().unwrap_or_default();
        let (waiting_calls, outbox, window_closes) = self.reporting.waiting(&self.store).unwrap_or_default();
        let none = SourceCounts::default();
        let counts_of = |feed: &Feed| counts.sources.iter().find(|source| source.path == feed.path()).unwrap_or(&none);
        let feeds = self.store.feeds().unwrap_or_default();
        let files = self.feeds.iter().map(|feed| feed.status(counts_of(feed)));
        let sources = files.chain(self.streams.status(&feeds)).map(|status| roster::complete(status, &feeds)).collect();
        let troubles = &self.troubles;
        let troubles = [
            &troubles.recovered,
            &troubles.sources,
            &troubles.streams,
            &troubles.reporting,
            &troubles.vitals,
            &troubles.health,
        ];
        CollectorStatus {
            sources,
            calls: counts.calls,
            quarantined: counts.quarantined,
            waiting_calls,
            outbox,
            window_closes,
            pbx: self.streams.pbx(&self.store).unwrap_or_default(),
            health: self.vitals.status(),
            troubles: troubles.into_iter().flatten().cloned().collect(),
        }
    }
}

/// A rotated file is not reachable under the rules that this process was confined with.
struct NotReachable;

/// Opens the store. A file that is corrupt is set aside and a fresh one begun; the owner is told in words.
fn open_store(state: &StateDir) -> anyhow::Result<(Store, Option<String>)> {
    match Store::open(state) {
        Ok(store) => Ok((store, None)),
        Err(StoreError::Corrupt { .. }) => {
            let aside = Store::set_aside(state, now())?;
            let words = format!(
                "the store was corrupt: it lies in {} now, and a new one was begun from the call records that are still there",
                aside.display()
            );
            tracing::error!("{words}");
            Ok((Store::open(state)?, Some(words)))
        }
        Err(error) => Err(error.into()),
    }
}

fn paths(settings: &CollectorSettings) -> Vec<PathBuf> {
    settings.pbx.source.iter().filter_map(Source::path).map(Path::to_owned).collect()
}

/// Seconds since 1970 in UTC. A clock before 1970 counts as 1970.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
