//! What sources have told of: so that a row counts once, however many of them tell of it.
//!
//! For each identity of a row the store knows what each source has told of and what was counted: rows that have a name by it,
//! others by their number (`sighting`). What is counted is the union of what the sources say. The first source counts at once. What a witness says first waits for a while, since the first source knows more
//! (which call a row belongs to), and counts by the witness's word only if nobody else tells of it.

mod sighting;

use std::{collections::hash_map::Entry, num::NonZeroU64};

use rusqlite::{OptionalExtension, Transaction};
use rustc_hash::FxHashMap;

use self::sighting::{Sighting, Telling};
use super::{
    Store, StoreError,
    commit::sql,
    error::{Fault, damaged},
    feeds::LOOK_BACK,
    pending::RowCounts,
    tally::number,
};
use crate::{
    call::{Call, CallKey, CallRules, Identity, Ids},
    pbx::Leg,
};

/// How long sightings are kept where several sources tell of calls: one of them may be out of order for so long and then
/// tell of everything at once.
const KEEP_SEVERAL: i64 = 8 * 86_400;
/// How long where only one does: for another one that joins it.
const KEEP_ONE: i64 = 2 * LOOK_BACK;
/// No more sightings than these, the newest.
const MAX_SIGHTINGS: i64 = 1_000_000;
/// The number under which it stands how often rows were counted.
const COUNTED: i64 = 0;

/// The source that rows come from, and how its word stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Via {
    /// Its number.
    pub feed: i64,
    /// Rows that ended before are left to others.
    pub since: i64,
    /// How its word stands.
    pub standing: Standing,
    /// The present, in seconds since 1970 in UTC.
    pub now: u64,
}

/// How a source's word stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is the only one that tells of calls.
    Alone,
    /// It comes first among several: its rows count at once.
    First,
    /// It is one of the others: its rows wait for so many seconds for a better source to tell of them.
    Witness {
        /// How many seconds.
        patience: u64,
    },
}

/// What a batch adds to what sources have told of.
#[derive(Default)]
pub(super) struct Told {
    /// What each source told of rows of an identity, and as [`COUNTED`] what was counted of them; with the end of the row that
    /// was told of last.
    sightings: FxHashMap<(Identity, i64), (Sighting, i64)>,
    held: Vec<Held>,
    /// Ids of held rows that the batch has decided about.
    decided: Vec<i64>,
    streams: Vec<Stream>,
    delivered: Vec<(i64, u64, i64)>,
    /// Sources, and the moment before which what they delivered is forgotten.
    forgotten: Vec<(i64, i64)>,
    verdicts: FxHashMap<i64, Verdicts>,
}

/// A row that waits for a better source to tell of it.
struct Held {
    due: i64,
    identity: Identity,
    feed: i64,
    row: Option<NonZeroU64>,
    ordinal: u64,
    key: Option<CallKey>,
    call: Call,
    not_before: u64,
}

/// How far a source that is no file was read.
struct Stream {
    feed: i64,
    position: String,
    counts: RowCounts,
}

/// What became of a source's rows.
#[derive(Clone, Copy, Default)]
struct Verdicts {
    confirmed: u64,
    rescued: u64,
    left: u64,
}

/// What a row that waits is, and until when it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Waiting {
    due: i64,
    identity: Identity,
    row: Option<NonZeroU64>,
    /// It is the n-th of its identity from its source.
    ordinal: u64,
}

/// What is to be done with a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Count it.
    Count,
    /// Nothing: it was counted, or it is not this source's to tell.
    Pass,
    /// Keep it: it waits.
    Hold(Waiting),
}

impl Told {
    /// Decides about a row.
    pub(super) fn judge(&mut self, store: &Store, via: &Via, leg: &Leg<'_>) -> Result<Verdict, StoreError> {
        let end = leg.end;
        let verdicts = self.verdicts.entry(via.feed).or_default();
        if end < via.since {
            verdicts.left += 1;
            return Ok(Verdict::Pass);
        }
        let now = sql(via.now);
        // Of what is older nobody knows any more who has told of it: it is the first source whose history counts.
        match via.standing {
            Standing::Alone if end < now.saturating_sub(KEEP_ONE) => return Ok(Verdict::Count),
            Standing::First if end < now.saturating_sub(KEEP_SEVERAL) => return Ok(Verdict::Count),
            Standing::Witness { .. } if end < now.saturating_sub(KEEP_SEVERAL) => {
                verdicts.left += 1;
                return Ok(Verdict::Pass);
            }
            _ => {}
        }
        let (identity, row) = (Identity::of(leg), Ids::of(leg).row);
        let counted = self.load(store, identity, COUNTED)?.clone();
        let told = self.load(store, identity, via.feed)?.tell(row, &counted);
        self.touch(identity, via.feed, end);
        match (told, via.standing) {
            // The call knows its rows, and counts this one as read twice.
            (Telling::Again, Standing::Alone | Standing::First) => Ok(Verdict::Count),
            (Telling::Again | Telling::Known, _) => {
                self.verdicts.entry(via.feed).or_default().confirmed += 1;
                Ok(Verdict::Pass)
            }
            (Telling::New(ordinal), Standing::Witness { patience }) => {
                let due = now.saturating_add(sql(patience));
                Ok(Verdict::Hold(Waiting { due, identity, row, ordinal }))
            }
            (Telling::New(_), _) => {
                self.load(store, identity, COUNTED)?.count(row);
                self.touch(identity, COUNTED, end);
                Ok(Verdict::Count)
            }
        }
    }

    /// Keeps a row that waits.
    pub(super) fn hold(
        &mut self,
        via: &Via,
        Waiting { due, identity, row, ordinal }: Waiting,
        (key, call): (Option<CallKey>, Call),
        not_before: u64,
    ) {
        self.held.push(Held { due, identity, feed: via.feed, row, ordinal, key, call, not_before });
    }

    /// Decides about a held row whose time has come: whether it counts by the witness's word.
    fn release(&mut self, store: &Store, due: &Due) -> Result<bool, StoreError> {
        self.decided.push(due.id);
        let told = self.load(store, due.identity, due.feed)?.clone();
        let counted = self.load(store, due.identity, COUNTED)?;
        let counts = told.is_new(due.row, due.ordinal, counted);
        if counts {
            counted.count(due.row);
            self.touch(due.identity, COUNTED, due.call.end());
        }
        let verdicts = self.verdicts.entry(due.feed).or_default();
        verdicts.rescued += u64::from(counts);
        verdicts.confirmed += u64::from(!counts);
        Ok(counts)
    }

    /// Says how far a source that is no file was read, and what its rows were.
    pub(super) fn stream(&mut self, feed: i64, position: String, counts: RowCounts) {
        self.streams.push(Stream { feed, position, counts });
    }

    /// Remembers that a source has delivered the row of that name, which it may come upon again.
    pub(super) fn delivered(&mut self, feed: i64, row: u64, at: i64) {
        self.delivered.push((feed, row, at));
    }

    /// Forgets the names of rows that were delivered with an earlier moment.
    pub(super) fn forget_delivered(&mut self, feed: i64, before: i64) {
        if before > i64::MIN {
            self.forgotten.push((feed, before));
        }
    }

    fn load(&mut self, store: &Store, identity: Identity, feed: i64) -> Result<&mut Sighting, StoreError> {
        match self.sightings.entry((identity, feed)) {
            Entry::Occupied(known) => Ok(&mut known.into_mut().0),
            Entry::Vacant(place) => Ok(&mut place.insert((store.sighting(identity, feed)?, i64::MIN)).0),
        }
    }

    /// What was loaded has changed, by a row that ended then.
    fn touch(&mut self, identity: Identity, feed: i64, end: i64) {
        if let Some((_, at)) = self.sightings.get_mut(&(identity, feed)) {
            *at = end.max(*at);
        }
    }

    /// Writes everything.
    pub(super) fn write(&self, transaction: &Transaction<'_>, now: i64) -> Result<(), Fault> {
        self.write_sightings(transaction)?;
        let mut hold = transaction.prepare_cached(
            "INSERT INTO held (due, identity, feed, row, ordinal, key, state, not_before)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?;
        for held in &self.held {
            let key = held.key.as_ref().map(CallKey::as_bytes);
            let state = held.call.to_bytes();
            let identity = held.identity.as_i64();
            let (row, ordinal) = (held.row.map(|row| row.get() as i64), sql(held.ordinal));
            hold.execute((held.due, identity, held.feed, row, ordinal, key, state, sql(held.not_before)))?;
        }
        for id in &self.decided {
            transaction.prepare_cached("DELETE FROM held WHERE id = ?1")?.execute([id])?;
        }
        for (feed, row, at) in &self.delivered {
            transaction
                .prepare_cached("INSERT OR REPLACE INTO delivered (feed, row, at) VALUES (?1, ?2, ?3)")?
                .execute((feed, *row as i64, at))?;
        }
        for forgotten in &self.forgotten {
            transaction.prepare_cached("DELETE FROM delivered WHERE feed = ?1 AND at < ?2")?.execute(*forgotten)?;
        }
        for stream in &self.streams {
            let counts = &stream.counts;
            transaction
                .prepare_cached(
                    "UPDATE feed SET position = ?2, rows = rows + ?3, malformed = malformed + ?4,
                     duplicates = duplicates + ?5, unlinked = unlinked + ?6, last_read = iif(?3 > 0, ?7, last_read)
                     WHERE number = ?1",
                )?
                .execute((
                    stream.feed,
                    &stream.position,
                    sql(counts.read()),
                    sql(counts.malformed),
                    sql(counts.duplicates),
                    sql(counts.unlinked),
                    now,
                ))?;
        }
        for (feed, verdicts) in &self.verdicts {
            transaction
                .prepare_cached(
                    "UPDATE feed SET confirmed = confirmed + ?2, rescued = rescued + ?3, earlier = earlier + ?4
                     WHERE number = ?1",
                )?
                .execute((feed, sql(verdicts.confirmed), sql(verdicts.rescued), sql(verdicts.left)))?;
        }
        Ok(())
    }

    fn write_sightings(&self, transaction: &Transaction<'_>) -> Result<(), Fault> {
        let mut write = transaction.prepare_cached(
            "INSERT INTO sighting (identity, feed, nameless, names, at) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT DO UPDATE SET nameless = excluded.nameless, names = excluded.names, at = max(at, excluded.at)",
        )?;
        let changed = self.sightings.iter().filter(|(_, (_, at))| *at > i64::MIN);
        for ((identity, feed), (sighting, at)) in changed {
            write.execute((identity.as_i64(), feed, sql(sighting.nameless), sighting.names_to_bytes(), at))?;
        }
        Ok(())
    }
}

/// A held row whose time has come.
struct Due {
    id: i64,
    identity: Identity,
    feed: i64,
    row: Option<NonZeroU64>,
    ordinal: u64,
    key: Option<CallKey>,
    call: Call,
    not_before: u64,
}

/// So many held rows are decided about in one transaction.
const PORTION: i64 = 4096;

impl Store {
    fn sighting(&self, identity: Identity, feed: i64) -> Result<Sighting, StoreError> {
        self.connection
            .prepare_cached("SELECT nameless, names FROM sighting WHERE identity = ?1 AND feed = ?2")
            .and_then(|mut statement| {
                statement
                    .query_row((identity.as_i64(), feed), |row| {
                        Ok(Sighting::of_store(number(row, 0)?, row.get_ref(1)?.as_blob()?))
                    })
                    .optional()
            })
            .map(Option::unwrap_or_default)
            .map_err(|error| self.fault(error))
    }

    /// The rows of witnesses that have waited for long enough.
    fn due(&self, now: u64) -> Result<Vec<Due>, StoreError> {
        self.read_due(sql(now)).map_err(|fault| StoreError::of(&self.path, fault))
    }

    fn read_due(&self, now: i64) -> Result<Vec<Due>, Fault> {
        let mut statement = self.connection.prepare_cached(
            "SELECT id, identity, feed, row, ordinal, key, state, not_before FROM held WHERE due <= ?1 ORDER BY due LIMIT ?2",
        )?;
        let mut rows = statement.query((now, PORTION))?;
        let mut due = Vec::new();
        while let Some(row) = rows.next()? {
            let key: Option<Vec<u8>> = row.get(5)?;
            let state: Vec<u8> = row.get(6)?;
            let name: Option<i64> = row.get(3)?;
            due.push(Due {
                id: row.get(0)?,
                identity: Identity::from_i64(row.get(1)?),
                feed: row.get(2)?,
                row: name.and_then(|name| NonZeroU64::new(name as u64)),
                ordinal: number(row, 4)?,
                key: key.as_deref().and_then(CallKey::from_bytes),
                call: Call::from_bytes(&state).map_err(damaged)?,
                not_before: u64::try_from(row.get::<_, i64>(7)?).unwrap_or(0),
            });
        }
        Ok(due)
    }

    /// Lets the rows of witnesses count that have waited for long enough and that nobody else has told of. Says when the next
    /// ones will have: seconds since 1970 in UTC.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn release(&mut self, rules: &CallRules, now: u64) -> Result<Option<u64>, StoreError> {
        loop {
            let next = self.next_due()?;
            if next.is_none_or(|next| next > now) {
                return Ok(next);
            }
            let due = self.due(now)?;
            let mut batch = self.batch(rules)?;
            for due in due {
                if batch.told.release(batch.store, &due)? {
                    batch.pending.call(due.key, due.call, due.not_before);
                }
            }
            batch.pending.close_part();
            batch.commit(now)?;
        }
    }

    /// When the next held row has waited for long enough: seconds since 1970 in UTC.
    fn next_due(&self) -> Result<Option<u64>, StoreError> {
        self.connection
            .prepare_cached("SELECT min(due) FROM held")
            .and_then(|mut statement| statement.query_row([], |row| row.get::<_, Option<i64>>(0)))
            .map(|due| due.and_then(|due| u64::try_from(due).ok()))
            .map_err(|error| self.fault(error))
    }
}

/// Keeps all rows that wait for a better source out of every report.
pub(super) fn bar(transaction: &Transaction<'_>) -> Result<(), Fault> {
    transaction.execute("UPDATE held SET not_before = ?1", [i64::MAX])?;
    Ok(())
}

/// Forgets sightings that nobody will ask for.
pub(super) fn prune(transaction: &Transaction<'_>, now: i64) -> Result<(), Fault> {
    let feeds: i64 = transaction.query_row("SELECT count(*) FROM feed", [], |row| row.get(0))?;
    let keep = if feeds > 1 { KEEP_SEVERAL } else { KEEP_ONE };
    transaction.execute("DELETE FROM sighting WHERE at < ?1", [now.saturating_sub(keep)])?;
    let count: i64 = transaction.query_row("SELECT count(*) FROM sighting", [], |row| row.get(0))?;
    if count > MAX_SIGHTINGS {
        transaction.execute(
            "DELETE FROM sighting WHERE (identity, feed) IN (SELECT identity, feed FROM sighting ORDER BY at LIMIT ?1)",
            [count - MAX_SIGHTINGS],
        )?;
    }
    Ok(())
}
#[cfg(test)]
mod real;
#[cfg(test)]
mod tests;
