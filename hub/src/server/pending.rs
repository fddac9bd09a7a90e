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

/// The slots.
pub(super) struct Pending {
    free: Arc<Semaphore>,
    next: AtomicU64,
    /// Who may be sent away, and from when on, the earliest first.
    guests: Mutex<BTreeMap<Place, CancellationToken>>,
}

/// From when on a guest may be sent away, and its number, which tells guests of the same moment apart.
type Place = (Instant, u64);

/// One slot; free again when dropped.
pub(super) struct Slot {
    pending: Arc<Pending>,
    place: Place,
    evicted: CancellationToken,
    _permit: OwnedSemaphorePermit,
}

impl Pending {
    pub(super) fn new(slots: usize) -> Self {
        Self { free: Arc::new(Semaphore::new(slots)), next: AtomicU64::new(0), guests: Mutex::default() }
    }

    /// Waits for a free slot. When there is none, a guest whose time is over is sent away.
    pub(super) async fn room(&self) -> OwnedSemaphorePermit {
        loop {
            let earliest = self.lock().first_key_value().map(|((until, _), _)| *until);
            let wait = self.free.clone().acquire_owned();
            let permit = match earliest {
                Some(until) => match timeout_at(until, wait).await {
                    Ok(permit) => permit,
                    Err(_) => {
                        self.send_away();
                        // Its task drops the slot as soon as it runs.
                        tokio::task::yield_now().await;
                        continue;
                    }
                },
                // Nobody may be sent away: all slots are free, or held by those who are being let in.
                None => wait.await,
            };
            return permit.expect("the slots are never closed");
        }
    }

    /// Tells the guest whose time was over first to go, unless every one was given more time meanwhile.
    fn send_away(&self) {
        if let Some(((until, _), evicted)) = self.lock().first_key_value()
            && *until <= Instant::now()
        {
            evicted.cancel();
        }
    }

    /// Puts a guest in a free slot. It may be sent away when it is silent for longer than `patience`.
    pub(super) fn seat(self: &Arc<Self>, permit: OwnedSemaphorePermit, patience: Duration) -> Slot {
        let place = (Instant::now() + patience, self.next.fetch_add(1, Ordering::Relaxed));
        let evicted = CancellationToken::new();
        self.lock().insert(place, evicted.clone());
        Slot { pending: self.clone(), place, evicted, _permit: permit }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Place, CancellationToken>> {
        self.guests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot {
    /// Ends when the guest must make room.
    pub(super) fn evicted(&self) -> CancellationToken {
        self.evicted.clone()
    }

    /// The guest said something: its time begins anew.
    pub(super) fn extend(&mut self, patience: Duration) {
        let mut guests = self.pending.lock();
        guests.remove(&self.place);
        self.place.0 = Instant::now() + patience;
        guests.insert(self.place, self.evicted.clone());
    }

    /// The guest said who it is: it keeps the slot as long as it needs it.
    pub(super) fn settle(&self) {
        self.pending.lock().remove(&self.place);
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.settle();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIME: Duration = Duration::from_millis(100);

    #[tokio::test]
    async fn the_slowest_makes_room_but_not_before_its_time() {
        let pending = Arc::new(Pending::new(3));
        let settled = pending.seat(pending.room().await, Duration::ZERO);
        settled.settle();
        let mut talking = pending.seat(pending.room().await, TIME);
        let silent = pending.seat(pending.room().await, TIME);
        let begin = Instant::now();
        talking.extend(10 * TIME);
        let leaves = silent.evicted();
        let guest = tokio::spawn(async move {
            leaves.cancelled().await;
            drop(silent);
        });
        let _late = pending.seat(pending.room().await, TIME);
        assert!(begin.elapsed() >= TIME);
        assert!(!talking.evicted().is_cancelled() && !settled.evicted().is_cancelled());
        guest.await.unwrap();
        // A slot that is given back is free without anybody being sent away.
        drop(talking);
        assert!(timeout_at(Instant::now() + TIME / 2, pending.room()).await.is_ok());
    }

    #[tokio::test]
    async fn who_is_given_more_time_while_another_waits_stays() {
        let pending = Arc::new(Pending::new(1));
        let mut guest = pending.seat(pending.room().await, TIME);
        let waiting = pending.clone();
        let waiting = tokio::spawn(async move { waiting.room().await });
        tokio::time::sleep(TIME / 2).await;
        guest.extend(2 * TIME);
        tokio::time::sleep(TIME).await;
        assert!(!guest.evicted().is_cancelled());
        guest.evicted().cancelled().await;
        drop(guest);
        drop(waiting.await.unwrap());
    }
}
