//! Who is connected: one seat a site, and whoever comes later takes it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use demarc_proto::SiteId;
use tokio::sync::Notify;
use tracing::warn;

use crate::{
    clock,
    hub::Hub,
    limit::{Bucket, Rate},
};

/// Connections of one site that push each other out within this time look like two machines with one identity.
const QUICK: Duration = Duration::from_secs(120);
/// So many of them in a row are worth a word.
const QUICK_EVICTIONS: u8 = 4;

/// Who is connected.
#[derive(Debug)]
pub struct Registry {
    rate: Rate,
    sites: Mutex<Sites>,
}

#[derive(Debug, Default)]
struct Sites {
    places: HashMap<SiteId, Place>,
    /// How many keys were replaced since the start.
    replaced: u64,
}

/// A moment in the history of keys: whoever looked a key up then may not take a seat once another key took its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyEpoch(u64);

/// There is no seat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoSeat {
    /// A key was replaced since: look the key up again.
    LookAgain,
    /// The site comes or sends too often.
    TooOften,
}

/// What is remembered of a site while this program runs. Only sites with a certificate get here, so that their
/// number bounds the memory.
#[derive(Debug)]
struct Place {
    /// The connection that sits here, if one does.
    taken: Option<Taken>,
    /// How many connections sat here: tells an old one from the one in its place.
    generation: u64,
    /// What the site may still send. It outlives the connection, so that connecting anew gains nothing.
    bucket: Bucket,
    quick_evictions: u8,
}

#[derive(Debug)]
struct Taken {
    evicted: Arc<Notify>,
    since: Instant,
}

/// A connection's place; given back when dropped.
pub struct Seat {
    hub: Arc<Hub>,
    site: SiteId,
    generation: u64,
    evicted: Arc<Notify>,
}

impl Registry {
    /// Nobody is connected.
    pub fn new(rate: Rate) -> Self {
        Self { rate, sites: Mutex::default() }
    }

    /// Now, in the history of keys. To be asked before a key is looked up.
    pub fn key_epoch(&self) -> KeyEpoch {
        KeyEpoch(self.lock().replaced)
    }

    /// The site has another key from now on: whoever came with the one before has to go, and cannot come any more.
    pub fn key_replaced(&self, site: &SiteId) {
        let mut sites = self.lock();
        sites.replaced += 1;
        if let Some(taken) = sites.places.get(site).and_then(|place| place.taken.as_ref()) {
            taken.evicted.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Sites> {
        self.sites.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    /// Takes the place of a site whose key was found good at that moment; whoever had it is told to go.
    ///
    /// # Errors
    /// When a key was replaced since, or the site comes too often.
    pub fn take(hub: &Arc<Hub>, site: &SiteId, known: KeyEpoch) -> Result<Self, NoSeat> {
        let now = Instant::now();
        let evicted = Arc::new(Notify::new());
        let mut sites = hub.registry.lock();
        if known != KeyEpoch(sites.replaced) {
            return Err(NoSeat::LookAgain);
        }
        let place = sites.places.entry(site.clone()).or_insert_with(|| Place {
            taken: None,
            generation: 0,
            bucket: Bucket::full(now),
            quick_evictions: 0,
        });
        if place.bucket.is_empty(hub.registry.rate, now) {
            return Err(NoSeat::TooOften);
        }
        place.bucket.take(hub.registry.rate, now);
        place.generation += 1;
        if let Some(before) = place.taken.replace(Taken { evicted: evicted.clone(), since: now }) {
            before.evicted.notify_one();
            let quick = now.duration_since(before.since) < QUICK;
            place.quick_evictions = if quick { place.quick_evictions.saturating_add(1) } else { 0 };
            if place.quick_evictions == QUICK_EVICTIONS {
                warn!(%site, "connections of this site keep pushing each other out: two machines seem to share its identity (a copied machine?); enroll one of them anew under a name of its own");
            }
        }
        // The database is told while the place is held, so that it hears of comings and goings in their order.
        hub.presence.came(site, clock::now());
        Ok(Self { hub: hub.clone(), site: site.clone(), generation: place.generation, evicted })
    }

    /// Ends when a newer connection takes the place.
    pub async fn evicted(&self) {
        self.evicted.notified().await;
    }

    /// Whose place it is.
    pub fn site(&self) -> &SiteId {
        &self.site
    }

    /// What everybody shares.
    pub fn hub(&self) -> &Arc<Hub> {
        &self.hub
    }

    /// Counts one message, and says how long the site has to wait for it.
    pub fn charge(&self) -> Duration {
        let rate = self.hub.registry.rate;
        let mut sites = self.hub.registry.lock();
        sites.places.get_mut(&self.site).map_or(Duration::ZERO, |place| place.bucket.take(rate, Instant::now()))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut sites = self.hub.registry.lock();
        if let Some(place) = sites.places.get_mut(&self.site)
            && place.generation == self.generation
        {
            place.taken = None;
            self.hub.presence.went(&self.site, clock::now());
        }
    }
}
