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
    sites: Mutex<HashMap<SiteId, Place>>,
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

    /// Ends the connection of a site, if it has one.
    pub fn evict(&self, site: &SiteId) {
        if let Some(taken) = self.lock().get(site).and_then(|place| place.taken.as_ref()) {
            taken.evicted.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SiteId, Place>> {
        self.sites.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    /// Takes a site's place; whoever had it is told to go. `None` when the site comes too often.
    pub fn take(hub: &Arc<Hub>, site: &SiteId) -> Option<Self> {
        let now = Instant::now();
        let evicted = Arc::new(Notify::new());
        let mut sites = hub.registry.lock();
        let place = sites.entry(site.clone()).or_insert_with(|| Place {
            taken: None,
            generation: 0,
            bucket: Bucket::full(now),
            quick_evictions: 0,
        });
        if place.bucket.is_empty(hub.registry.rate, now) {
            return None;
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
        Some(Self { hub: hub.clone(), site: site.clone(), generation: place.generation, evicted })
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
        sites.get_mut(&self.site).map_or(Duration::ZERO, |place| place.bucket.take(rate, Instant::now()))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut sites = self.hub.registry.lock();
        if let Some(place) = sites.get_mut(&self.site)
            && place.generation == self.generation
        {
            place.taken = None;
            self.hub.presence.went(&self.site, clock::now());
        }
    }
}
