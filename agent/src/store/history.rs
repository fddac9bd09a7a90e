//! Old calls on their way into the store: those that may get more legs stay open for a while.

use std::collections::VecDeque;

use rusqlite::Connection;
use rustc_hash::FxHashSet;

use super::{commit::FORGET_AFTER, gathered::Gathered, packer::Closed, pending::RowCounts, read::keys};
use crate::call::{Call, CallKey};

/// Old calls on their way into the store.
pub(super) struct History {
    /// So many calls at least came since, or so much time has passed by the records' own clock, when a call
    /// is closed: a later leg of it would be taken for a call of its own.
    room: usize,
    /// Keys of the calls in the store: such a call is never closed here alone, and others need not be looked for.
    pub(super) stored: Stored,
    /// Open calls, each in the stretch that touched it last.
    kept: VecDeque<Gathered>,
    /// How many calls they hold.
    calls: usize,
    /// Calls that the store has as well, and that are open no more.
    known: Vec<(CallKey, Call)>,
    pub(super) closed: Closed,
    /// The latest end of a call, of those that are believed.
    newest_end: i64,
}

/// Keys of the calls in the store when it was looked at last.
#[derive(Default)]
pub(super) struct Stored {
    keys: FxHashSet<CallKey>,
    /// The last of the seconds that they begin with.
    newest: u32,
    /// SQLite's `data_version` of then: it changes when another process writes.
    version: Option<i64>,
}

impl Stored {
    /// Looks again, if another process has written meanwhile.
    pub(super) fn refresh(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        let version: i64 = connection.prepare_cached("PRAGMA data_version")?.query_row([], |row| row.get(0))?;
        if self.version != Some(version) {
            *self = Self { version: Some(version), ..Self::default() };
            self.add(keys(connection)?);
        }
        Ok(())
    }

    /// Knows these keys.
    pub(super) fn add(&mut self, keys: impl IntoIterator<Item = CallKey>) {
        for key in keys {
            self.newest = self.newest.max(key.second());
            self.keys.insert(key);
        }
    }

    /// Whether that call was in the store.
    pub(super) fn has(&self, key: &CallKey) -> bool {
        key.second() <= self.newest && self.keys.contains(key)
    }
}

impl History {
    pub(super) fn new(room: usize, stored: Stored) -> Self {
        Self {
            room,
            stored,
            kept: VecDeque::new(),
            calls: 0,
            known: Vec::new(),
            closed: Closed::default(),
            newest_end: i64::MIN,
        }
    }

    /// Takes in the next stretch; says what rows there were.
    pub(super) fn add(&mut self, mut stretch: Gathered) -> RowCounts {
        self.calls -= stretch.absorb(&mut self.kept);
        self.newest_end = self.newest_end.max(stretch.newest_end.unwrap_or(i64::MIN));
        self.calls += stretch.calls();
        let counts = std::mem::take(&mut stretch.counts);
        self.kept.push_back(stretch);
        counts
    }

    /// The oldest stretch, once nothing more is expected of its calls.
    pub(super) fn ripe(&mut self) -> Option<Gathered> {
        let oldest = self.kept.front()?;
        let later = self.calls - oldest.calls();
        let is_old = oldest.newest_end.is_some_and(|end| self.newest_end.saturating_sub(end) >= FORGET_AFTER);
        if later < self.room && !is_old {
            return None;
        }
        let mut oldest = self.kept.pop_front()?;
        self.calls = later;
        self.known.extend(oldest.take_those(|key| self.stored.has(key)));
        Some(oldest)
    }

    /// Gives all calls that are not closed: those with keys, and those without.
    pub(super) fn drain(&mut self) -> (Vec<(CallKey, Call)>, Vec<Call>) {
        let (mut calls, mut lone) = (std::mem::take(&mut self.known), Vec::new());
        for stretch in self.kept.drain(..) {
            let (with_keys, without) = stretch.take_all();
            calls.extend(with_keys);
            lone.extend(without);
        }
        self.calls = 0;
        (calls, lone)
    }

    /// From here on, a call's end is so late that it may get more legs.
    pub(super) fn horizon(&self) -> i64 {
        self.newest_end.saturating_sub(FORGET_AFTER)
    }

    pub(super) fn bytes(&self) -> usize {
        self.closed.size() + self.known.len() * size_of::<(CallKey, Call)>()
    }
}
