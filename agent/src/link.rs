//! The link: the only process with a network. It keeps one connection to the hub, and gives it what the outbox holds.
//!
//! It reads the outbox, its own key and certificate, and nothing else. What it is told comes from the supervisor;
//! what the hub says can make it wait, connect again, or take a certificate for its own key, and nothing more.

pub mod backoff;
mod backups;
pub mod certificate;
mod control;
pub mod dial;
mod doors;
pub mod enroll;
pub mod error;
mod files;
pub mod identity;
pub mod proxy;
mod renew;
mod session;
#[cfg(test)]
mod testing;
mod tls;
mod tunnel;
mod updates;
mod waiting;

pub(crate) use files::head;

use std::{
    collections::BTreeMap,
    pin::pin,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use demarc_proto::{ALPN_TUNNEL, PROTOCOL, ReportId, SCHEMA, ToHub, frame::encode, message::Hello, support::GrantId};
use tokio::{
    net::TcpStream,
    time::{Instant, sleep, timeout},
};
use tokio_rustls::client::TlsStream;

use self::{
    backoff::Backoff, backups::Courier, doors::Doors, error::LinkError, identity::Identity, proxy::Proxy, tls::Trust,
    tunnel::Tunnel, updates::Updates,
};
use crate::{
    gate::ClearedHealth,
    ipc::{FromLink, LinkSettings, LinkStatus, Record, RecordKind, ToLink, channel::LinkChannel, descriptors::Taker},
    settings::{Secret, load::Endpoint},
    state::StateDir,
};

/// How long each thing may take; tests are less patient.
#[derive(Clone, Copy, Debug)]
struct Patience {
    /// A TCP connection, and a proxy's answer.
    connect: Duration,
    /// TLS, and the opening of the control stream.
    handshake: Duration,
    /// The hub's greeting.
    welcome: Duration,
    /// The answer to a report or to a certificate request.
    answer: Duration,
    /// The ledger.
    ledger: Duration,
    /// Between two pings.
    ping_every: Duration,
    /// Between two requests for a certificate.
    renew_every: Duration,
    /// For the file of an answered report to go away.
    settle: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            connect: seconds(15),
            handshake: seconds(15),
            welcome: seconds(10),
            answer: seconds(30),
            ledger: seconds(10),
            ping_every: seconds(30),
            renew_every: seconds(3600),
            settle: seconds(600),
        }
    }
}

/// Runs the link until the supervisor ends it or goes away. Nothing lingers: what was not sent stays unsent. Support
/// sessions come as descriptors over `taker`.
pub async fn run(channel: LinkChannel, taker: Option<Taker>) {
    run_with(channel, taker, Patience::default()).await;
}

async fn run_with(mut channel: LinkChannel, taker: Option<Taker>, patience: Patience) {
    let settings = loop {
        match channel.recv().await {
            Ok(Some(ToLink::Settings(settings))) => break *settings,
            Ok(Some(ToLink::Stop) | None) | Err(_) => return,
            Ok(Some(_)) => {}
        }
    };
    let mut link = Link {
        channel,
        settings,
        patience,
        backoff: Backoff::default(),
        status: LinkStatus::default(),
        told: None,
        answered: Vec::new(),
        answered_at: Instant::now(),
        hello_recorded: false,
        renew_payload: None,
        records: 0,
        announcements: BTreeMap::new(),
        doors: Doors::new(taker),
        health: None,
        updates: Updates::default(),
        courier: Courier::default(),
    };
    if link.applied().await.is_ok() {
        link.keep_connected().await;
    }
}

/// The state that outlives a connection.
struct Link {
    channel: LinkChannel,
    settings: LinkSettings,
    patience: Patience,
    backoff: Backoff,
    status: LinkStatus,
    /// The status that the supervisor knows.
    told: Option<LinkStatus>,
    /// Reports that the hub answered and whose files are still there.
    answered: Vec<ReportId>,
    /// When the last of them was answered.
    answered_at: Instant,
    hello_recorded: bool,
    /// The certificate request that was made last, with the public key that it is for.
    renew_payload: Option<(Vec<u8>, Vec<u8>)>,
    records: u64,
    /// What the hub is to know of grants.
    announcements: BTreeMap<GrantId, Announcement>,
    doors: Doors,
    /// How the machine is, for the hub; forgotten with the connection.
    health: Option<ClearedHealth>,
    updates: Updates,
    /// Carries backups, over connections of their own.
    courier: Courier,
}

/// What the hub is to know of a grant.
struct Announcement {
    payload: String,
    over: bool,
    /// Whether the hub was told on the connection in use.
    told: bool,
}

/// Why a connection, or an attempt at one, is over.
#[derive(Debug)]
enum Ended {
    /// Connect again after a while.
    Failed {
        why: LinkError,
        /// Since the hub's greeting; zero where it never came.
        lived: Duration,
    },
    /// A report was under way when the owner forbade reports: connect again, without.
    Silenced { lived: Duration },
    /// The address, the proxy or the enrollment changed: connect again at once.
    Moved,
    /// A new certificate is to be shown: connect again at once.
    Renewed,
    /// The supervisor ends the link, or is gone.
    Stopped,
}

impl Ended {
    fn early(why: impl Into<LinkError>) -> Self {
        Self::Failed { why: why.into(), lived: Duration::ZERO }
    }
}

/// What a message from the supervisor calls for.
#[derive(Debug, PartialEq, Eq)]
enum Told {
    /// Settings are in force, and must be confirmed once nothing is under way that they forbid.
    Settings {
        /// Connect elsewhere, or as somebody else.
        moved: bool,
    },
    OutboxChanged,
    Recorded(u64),
    /// There is a health report for the hub.
    Health,
    /// The hub is to be told of a grant; that can wait for a connection.
    Announce,
    /// A session was let in or not, or there is something to fetch or to carry; that is done.
    Door,
}

impl Link {
    async fn keep_connected(&mut self) {
        loop {
            let delay = match self.connect_once().await {
                Ended::Stopped => return,
                Ended::Moved | Ended::Renewed => Duration::ZERO,
                Ended::Silenced { lived } => self.backoff.after(lived, random()),
                Ended::Failed { why, lived } => {
                    let lived = if why.is_hostile() { Duration::ZERO } else { lived };
                    let delay = self.backoff.after(lived, random());
                    tracing::warn!(retry_in_ms = delay.as_millis() as u64, "{why}");
                    self.status.trouble = Some(why.to_string());
                    delay
                }
            };
            (self.status.connected, self.status.since) = (false, None);
            (self.status.takes_health, self.health) = (false, None);
            self.doors.forget();
            self.announcements.values_mut().for_each(|announcement| announcement.told = false);
            if self.tell_status().await.is_err() {
                return;
            }
            match self.meanwhile(sleep(delay)).await {
                Ok(()) | Err(Ended::Moved) => {}
                Err(_) => return,
            }
        }
    }

    /// One connection, from the first packet to the last.
    async fn connect_once(&mut self) -> Ended {
        match self.connect().await {
            Ok((identity, tunnel)) => self.converse(identity, tunnel).await,
            Err(ended) => ended,
        }
    }

    async fn connect(&mut self) -> Result<(Identity, Tunnel<TlsStream<TcpStream>>), Ended> {
        let identity = Identity::load(&self.state()).map_err(Ended::early)?;
        self.status.certificate_ends = Some(identity.facts().until);
        // Entered before the first packet, so that a hub never waits for our ledger; and once, since these bytes never
        // change while this program runs.
        if !self.hello_recorded {
            let number = self.record(RecordKind::Hello, hello()).await?;
            self.wait_recorded(number).await?;
            self.hello_recorded = true;
        }
        let (patience, settings) = (self.patience, self.settings.clone());
        let opening = open(&settings.hub, settings.proxy.as_ref(), &settings.site.ca.0, &identity, patience);
        let tunnel = self.meanwhile(opening).await?.map_err(Ended::early)?;
        Ok((identity, tunnel))
    }

    fn state(&self) -> StateDir {
        StateDir::new(&self.settings.state_dir)
    }

    /// Does something that sends no report, and heeds the supervisor meanwhile.
    async fn meanwhile<F: Future>(&mut self, doing: F) -> Result<F::Output, Ended> {
        let mut doing = pin!(doing);
        loop {
            tokio::select! {
                biased;
                message = self.channel.recv() => match self.heed(message)? {
                    Told::Settings { moved } => {
                        self.applied().await?;
                        if moved {
                            return Err(Ended::Moved);
                        }
                    }
                    Told::OutboxChanged | Told::Recorded(_) | Told::Health | Told::Announce | Told::Door => {}
                },
                said = self.courier.next() => self.say(FromLink::Backup(said)).await?,
                never = self.updates.without_tunnel() => match never {},
                done = &mut doing => return Ok(done),
            }
        }
    }

    /// Takes in a message; settings are in force from here on, and not confirmed yet.
    fn heed<E>(&mut self, message: Result<Option<ToLink>, E>) -> Result<Told, Ended> {
        match message {
            Ok(Some(ToLink::Settings(settings))) => {
                let old = std::mem::replace(&mut self.settings, *settings);
                self.health.take_if(|_| !self.settings.health);
                let place = |s: &LinkSettings| (s.hub.clone(), s.proxy.clone(), s.site.clone(), s.state_dir.clone());
                let moved = place(&old) != place(&self.settings);
                if moved || !self.settings.updates {
                    self.updates.stop();
                }
                self.courier.keep_to(&self.settings, moved);
                Ok(Told::Settings { moved })
            }
            Ok(Some(ToLink::OutboxChanged)) => Ok(Told::OutboxChanged),
            Ok(Some(ToLink::Health(cleared))) => {
                // One that comes while there is no connection waits for none.
                self.health = Some(cleared).filter(|_| self.status.connected);
                Ok(Told::Health)
            }
            Ok(Some(ToLink::Recorded { number })) if self.updates.recorded(number) => Ok(Told::Door),
            Ok(Some(ToLink::Recorded { number })) => Ok(Told::Recorded(number)),
            Ok(Some(ToLink::Announce { grant, payload, over })) => {
                self.announcements.insert(grant, Announcement { payload, over, told: false });
                Ok(Told::Announce)
            }
            Ok(Some(ToLink::Fetch { number })) => {
                if let Some(connection) = self.doors.take(number) {
                    self.updates.serve(connection, &self.settings, self.patience);
                }
                Ok(Told::Door)
            }
            Ok(Some(ToLink::Backup(errand))) => {
                self.courier.send(&self.settings, self.patience, errand);
                Ok(Told::Door)
            }
            Ok(Some(ToLink::SessionOpen { number })) => {
                self.doors.open(number);
                Ok(Told::Door)
            }
            Ok(Some(ToLink::SessionRefused { number, reason })) => {
                self.doors.refuse(number, reason);
                Ok(Told::Door)
            }
            Ok(Some(ToLink::Stop) | None) | Err(_) => Err(Ended::Stopped),
        }
    }

    async fn say(&mut self, message: FromLink) -> Result<(), Ended> {
        self.channel.send(&message).await.map_err(|_| Ended::Stopped)
    }

    async fn applied(&mut self) -> Result<(), Ended> {
        self.say(FromLink::Applied { generation: self.settings.generation }).await
    }

    async fn tell_status(&mut self) -> Result<(), Ended> {
        if self.told.as_ref() == Some(&self.status) {
            return Ok(());
        }
        self.told = Some(self.status.clone());
        self.say(FromLink::Status(Box::new(self.status.clone()))).await
    }

    /// Asks for an entry in the ledger.
    async fn record(&mut self, kind: RecordKind, payload: Vec<u8>) -> Result<u64, Ended> {
        self.records += 1;
        let payload = String::from_utf8(payload).expect("messages are JSON, and that is UTF-8");
        self.say(FromLink::Record(Record { number: self.records, kind, payload })).await?;
        Ok(self.records)
    }

    async fn wait_recorded(&mut self, awaited: u64) -> Result<(), Ended> {
        let within = self.patience.ledger;
        let waiting = async {
            loop {
                let message = self.channel.recv().await;
                match self.heed(message)? {
                    Told::Recorded(number) if number == awaited => return Ok::<(), Ended>(()),
                    Told::Settings { moved } => {
                        self.applied().await?;
                        if moved {
                            return Err(Ended::Moved);
                        }
                    }
                    Told::OutboxChanged | Told::Recorded(_) | Told::Health | Told::Announce | Told::Door => {}
                }
            }
        };
        let silent = |_| Ended::early(LinkError::LedgerSilent { seconds: within.as_secs() });
        timeout(within, waiting).await.map_err(silent)?
    }
}

/// Dials, shakes hands, and waits for the control stream.
async fn open(
    hub: &str,
    proxy: Option<&Secret>,
    ca: &[u8],
    identity: &Identity,
    patience: Patience,
) -> Result<Tunnel<TlsStream<TcpStream>>, LinkError> {
    let hub: Endpoint = hub.parse()?;
    let stream = reach(&hub, proxy, patience.connect).await?;
    let trust = Trust::Authority(ca.to_vec());
    let stream = tls::handshake(stream, &hub, trust, Some(identity), ALPN_TUNNEL, patience.handshake).await?;
    Tunnel::open(stream, &hub.to_string(), patience.ping_every, patience.handshake).await
}

/// A TCP connection that leads to the hub, through a proxy or not.
async fn reach(hub: &Endpoint, proxy: Option<&Secret>, within: Duration) -> Result<TcpStream, LinkError> {
    match proxy {
        Some(proxy) => Proxy::parse(proxy)?.connect(hub, within).await,
        None => dial::connect(hub, "the hub", within).await,
    }
}

/// The greeting: the same bytes at every connection until the program is upgraded.
fn hello() -> Vec<u8> {
    let part = |text: &str| text.parse().unwrap_or(0);
    let version = [
        part(env!("CARGO_PKG_VERSION_MAJOR")),
        part(env!("CARGO_PKG_VERSION_MINOR")),
        part(env!("CARGO_PKG_VERSION_PATCH")),
    ];
    encode(&ToHub::Hello(Hello { protocol: PROTOCOL, version, schemas: vec![SCHEMA] }))
}

/// The clock, in seconds since 1970 in UTC.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// A number for jitter; a machine without randomness waits the middle.
fn random() -> u64 {
    let mut bytes = [0; 8];
    match aws_lc_rs::rand::fill(&mut bytes) {
        Ok(()) => u64::from_ne_bytes(bytes),
        Err(_) => u64::MAX / 2,
    }
}

/// A moment that is that far off, or never.
fn deadline(within: Duration) -> Option<Instant> {
    Instant::now().checked_add(within)
}

#[cfg(test)]
#[path = "link/link_tests.rs"]
mod tests;
