//! Tells the database who is connected: collected here, written twice a second in one transaction.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use demarc_proto::SiteId;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use tracing::warn;

use crate::{
    clock,
    hub::Hub,
    store::{Presence, StoreError},
};

/// The name of the only node that there is today.
pub const NODE: &str = "hub";
const WRITE: Duration = Duration::from_millis(500);
const BEAT: Duration = Duration::from_secs(10);
const RETRY: Duration = Duration::from_secs(5);

/// What the database is still to learn, one entry a site: a fleet that reconnects costs no more than its size.
#[derive(Debug, Default)]
pub struct Board {
    changes: Mutex<HashMap<SiteId, Presence>>,
}

impl Board {
    /// A site connected.
    pub fn came(&self, site: &SiteId, now: u64) {
        let presence = Presence { connected_since: Some(now), version: None, seen: now };
        self.lock().insert(site.clone(), presence);
    }

    /// A connected site said its version.
    pub fn said_version(&self, site: &SiteId, version: String, now: u64) {
        let mut changes = self.lock();
        let entry = changes.entry(site.clone());
        let presence = entry.or_insert(Presence { connected_since: Some(now), version: None, seen: now });
        presence.version = Some(version);
    }

    /// A site is no longer connected.
    pub fn went(&self, site: &SiteId, now: u64) {
        let mut changes = self.lock();
        let version = changes.get(site).and_then(|presence| presence.version.clone());
        changes.insert(site.clone(), Presence { connected_since: None, version, seen: now });
    }

    fn take(&self) -> Vec<(SiteId, Presence)> {
        std::mem::take(&mut *self.lock()).into_iter().collect()
    }

    /// Puts back what could not be written, unless something newer is known.
    fn put_back(&self, changes: Vec<(SiteId, Presence)>) {
        let mut newer = self.lock();
        for (site, presence) in changes {
            newer.entry(site).or_insert(presence);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SiteId, Presence>> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes until the hub stops; [`write_last`] does the rest.
pub async fn write_while_running(hub: Arc<Hub>) {
    let mut ticks = interval(WRITE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut beaten = Instant::now();
    while hub.stop.run_until_cancelled(ticks.tick()).await.is_some() {
        let beat = beaten.elapsed() >= BEAT;
        let changes = hub.presence.take();
        if let Err(error) = write(&hub, &changes, beat).await {
            warn!(%error, "cannot note who is connected; trying again");
            hub.presence.put_back(changes);
            // What is wrong with the database now is hardly over in half a second.
            hub.stop.run_until_cancelled(sleep(RETRY)).await;
        } else if beat {
            beaten = Instant::now();
        }
    }
}

/// Writes what changed since, after the last connection is gone.
pub async fn write_last(hub: &Hub) {
    let changes = hub.presence.take();
    if let Err(error) = write(hub, &changes, false).await {
        warn!(%error, "cannot note who was connected last");
    }
}

async fn write(hub: &Hub, changes: &[(SiteId, Presence)], beat: bool) -> Result<(), StoreError> {
    if !changes.is_empty() {
        hub.store.put_presence(NODE, changes).await?;
    }
    if beat {
        hub.store.beat(NODE, clock::now()).await?;
    }
    Ok(())
}
