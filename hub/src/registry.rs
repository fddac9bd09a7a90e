//! Who is connected: one seat a site, and whoever comes later takes it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;
use demarc_proto::{
    SiteId,
    support::{GrantId, GrantMessage},
};
use h2::client::SendRequest;
use tokio::sync::Notify;
use tracing::warn;

use crate::{
    clock,
    hub::Hub,
    limit::{Bucket, Rate},
    support::{Announced, Grants, Reach},
};

/// Connections of one site that push each other out within this time look like two machines with one identity.
const QUICK: Duration = Duration::from_secs(120);
/// So many of them in a row are worth a word.
const QUICK_EVICTIONS: u8 = 4;

/// Who is connected.
pub struct Registry {
    rate: Rate,
    sites: Mutex<Sites>,
}

#[derive(Default)]
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
struct Place {
    /// The connection that sits here, if one does.
    taken: Option<Taken>,
    /// How many connections sat here: tells an old one from the one in its place.
    generation: u64,
    /// What the site may still send. It outlives the connection, so that connecting anew gains nothing.
    bucket: Bucket,
    quick_evictions: u8,
}

struct Taken {
    evicted: Arc<Notify>,
    since: Instant,
    /// How to open streams there, once both have said hello.
    reach: Option<Arc<Reach>>,
    /// What the site told us of. It tells us again at each connection.
    grants: Grants,
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

    /// The way to open streams at a site that is connected, and the newest grant of it that we know.
    pub fn reach(&self, site: &SiteId) -> Option<(Arc<Reach>, Option<GrantId>)> {
        let sites = self.lock();
        let taken = sites.places.get(site)?.taken.as_ref()?;
        Some((taken.reach.clone()?, taken.grants.newest(clock::now())))
    }

    /// The live grants of a site, or of all sites; `None` when that site is not connected.
    pub fn grants(&self, site: Option<&SiteId>, now: u64) -> Option<Vec<GrantMessage>> {
        let sites = self.lock();
        let of = |place: &Place| -> Vec<GrantMessage> {
            let taken = place.taken.iter();
            taken.flat_map(|taken| taken.grants.live(now)).map(|known| known.message.clone()).collect()
        };
        match site {
            Some(site) => sites.places.get(site).filter(|place| place.taken.is_some()).map(of),
            None => Some(sites.places.values().flat_map(of).collect()),
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
        if let Some(before) =
            place.taken.replace(Taken { evicted: evicted.clone(), since: now, reach: None, grants: Grants::default() })
        {
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

    /// Streams can be opened here from now on.
    pub fn reachable(&self, requests: SendRequest<Bytes>) {
        let reach = Arc::new(Reach::new(requests, self.hub.support_per_site));
        self.taken(|taken| taken.reach = Some(reach));
    }

    /// And now not any more.
    pub fn unreachable(&self) {
        self.taken(|taken| taken.reach = None);
    }

    /// The site announced a grant.
    pub fn note_grant(&self, announced: Announced) {
        self.taken(|taken| taken.grants.note(announced, clock::now()));
    }

    /// The site said that a grant is over.
    pub fn end_grant(&self, grant: GrantId) {
        self.taken(|taken| taken.grants.end(grant));
    }

    /// Changes what is known of the connection that sits here, unless another took the place.
    fn taken(&self, change: impl FnOnce(&mut Taken)) {
        let mut sites = self.hub.registry.lock();
        if let Some(place) = sites.places.get_mut(&self.site)
            && place.generation == self.generation
            && let Some(taken) = &mut place.taken
        {
            change(taken);
        }
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
