//! What waits for the collector. It never keeps whoever fills it waiting: Asterisk drops a client that does not read.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::Notify;

use super::Facts;
use crate::{
    call::Sample,
    pbx::{
        record::Entry,
        stream::{Outlet, Rows, Said},
    },
};

/// No more rows than these wait: the calls of a busy hour, in a few megabytes.
const MOST: usize = 10_000;
/// So many are stored at a time.
const PORTION: usize = 256;
/// How soon a store that could not take rows is tried again.
const RETRY: Duration = Duration::from_secs(2);

/// Rows, facts and words on their way.
#[derive(Debug, Default)]
pub(super) struct Tray {
    waiting: Mutex<Waiting>,
    filled: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    rows: VecDeque<Entry>,
    lost: u64,
    samples: Vec<Sample>,
    facts: Option<Facts>,
    trouble: Option<Option<String>>,
    told: Option<Option<String>>,
}

impl Tray {
    /// Adds rows; where there is no room, the oldest are lost, since others are likelier to have told of them.
    pub(super) fn rows(&self, rows: Vec<Entry>) {
        if rows.is_empty() {
            return;
        }
        let mut waiting = self.lock();
        waiting.rows.extend(rows);
        let beyond = waiting.rows.len().saturating_sub(MOST);
        waiting.rows.drain(..beyond);
        waiting.lost += beyond as u64;
        self.filled.notify_one();
    }

    /// Adds what was told of the sound of calls. It is worth no more room than this: the next words tell as much.
    pub(super) fn samples(&self, samples: Vec<Sample>) {
        let mut waiting = self.lock();
        if !samples.is_empty() && waiting.samples.len() < PORTION {
            waiting.samples.extend(samples);
            self.filled.notify_one();
        }
    }

    /// Replaces the facts.
    pub(super) fn facts(&self, facts: Facts) {
        let mut waiting = self.lock();
        let lost = waiting.lost;
        waiting.facts = Some(Facts { lost, ..facts });
        self.filled.notify_one();
    }

    /// Replaces the words about what is wrong.
    pub(super) fn trouble(&self, trouble: Option<String>) {
        let mut waiting = self.lock();
        if waiting.told.as_ref() != Some(&trouble) {
            waiting.told = Some(trouble.clone());
            waiting.trouble = Some(trouble);
            self.filled.notify_one();
        }
    }

    /// How many rows were lost.
    pub(super) fn lost(&self) -> u64 {
        self.lock().lost
    }

    /// Hands over whatever comes, for ever.
    pub(super) async fn empty_into(&self, outlet: &Outlet) {
        loop {
            let (facts, trouble, samples, rows) = {
                let mut waiting = self.lock();
                let rows: Vec<Entry> = waiting.rows.iter().take(PORTION).cloned().collect();
                (waiting.facts.take(), waiting.trouble.take(), std::mem::take(&mut waiting.samples), rows)
            };
            let idle = facts.is_none() && trouble.is_none() && samples.is_empty() && rows.is_empty();
            if let Some(facts) = facts {
                outlet.live(facts).await;
            }
            if !samples.is_empty() {
                outlet.say(Said::Sound(samples)).await;
            }
            if let Some(trouble) = trouble {
                outlet.trouble(trouble).await;
            }
            if !rows.is_empty() {
                self.store(rows, outlet).await;
            }
            if idle {
                self.filled.notified().await;
            }
        }
    }

    async fn store(&self, entries: Vec<Entry>, outlet: &Outlet) {
        let (count, lost) = (entries.len(), self.lost());
        let rows = Rows { entries, position: "live".to_owned(), forget_before: 0, backlog: false };
        match outlet.deliver(rows).await {
            Ok(()) => {
                let mut waiting = self.lock();
                // Those that were lost meanwhile were the first of these.
                let gone = usize::try_from(waiting.lost - lost).unwrap_or(usize::MAX).min(count);
                waiting.lost -= gone as u64;
                waiting.rows.drain(..count - gone);
            }
            Err(_) => tokio::time::sleep(RETRY).await,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Nothing that holds the lock can fail halfway.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
