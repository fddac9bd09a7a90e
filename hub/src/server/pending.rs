//! Connections that have not said who they are: a fixed number of slots, and the slowest makes room.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout_at},
};
use tokio_util::sync::CancellationToken;

/// Nobody is sent away sooner than this. An honest handshake takes three round trips; whoever only sits in a slot
/// loses it once others wait.
const LEAST_TIME: Duration = Duration::from_secs(2);

/// The slots.
pub(super) struct Pending {
    least_time: Duration,
    free: Arc<Semaphore>,
    next: AtomicU64,
    /// By order of arrival.
    taken: Mutex<BTreeMap<u64, Guest>>,
}

struct Guest {
    since: Instant,
    evicted: CancellationToken,
}

/// One slot; free again when dropped.
pub(super) struct Slot {
    pending: Arc<Pending>,
    number: u64,
    evicted: CancellationToken,
    _permit: OwnedSemaphorePermit,
}

impl Pending {
    pub(super) fn new(slots: usize) -> Self {
        Self::with_least_time(slots, LEAST_TIME)
    }

    fn with_least_time(slots: usize, least_time: Duration) -> Self {
        Self { least_time, free: Arc::new(Semaphore::new(slots)), next: AtomicU64::new(0), taken: Mutex::default() }
    }

    /// Waits for a free slot, and sends the slowest guest away where that helps.
    pub(super) async fn room(&self) -> OwnedSemaphorePermit {
        loop {
            let oldest = self.lock().first_key_value().map(|(_, guest)| (guest.since, guest.evicted.clone()));
            // With no guest at all a slot is free, or is being freed right now.
            let patience = oldest.as_ref().map_or_else(Instant::now, |(since, _)| *since) + self.least_time;
            let wait = self.free.clone().acquire_owned();
            match timeout_at(patience, wait).await {
                Ok(permit) => return permit.expect("the slots are never closed"),
                Err(_) => {
                    if let Some((_, evicted)) = oldest {
                        evicted.cancel();
                        // Its task drops the slot as soon as it runs.
                        tokio::task::yield_now().await;
                    }
                }
            }
        }
    }

    /// Puts a guest, whose time begins now, in a free slot.
    pub(super) fn seat(self: &Arc<Self>, permit: OwnedSemaphorePermit) -> Slot {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let evicted = CancellationToken::new();
        self.lock().insert(number, Guest { since: Instant::now(), evicted: evicted.clone() });
        Slot { pending: self.clone(), number, evicted, _permit: permit }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Guest>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot {
    /// Ends when the guest must make room.
    pub(super) fn evicted(&self) -> CancellationToken {
        self.evicted.clone()
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.pending.lock().remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_slowest_makes_room_but_not_before_its_time() {
        let least = Duration::from_millis(100);
        let pending = Arc::new(Pending::with_least_time(2, least));
        let slow = pending.seat(pending.room().await);
        let quick = pending.seat(pending.room().await);
        let begin = Instant::now();
        let leaves = slow.evicted();
        let guest = tokio::spawn(async move {
            leaves.cancelled().await;
            drop(slow);
        });
        let _third = pending.seat(pending.room().await);
        assert!(begin.elapsed() >= least);
        assert!(!quick.evicted().is_cancelled());
        guest.await.unwrap();
        // A slot that is given back is free without anybody being sent away.
        drop(quick);
        assert!(timeout_at(Instant::now() + least / 2, pending.room()).await.is_ok());
    }
}
