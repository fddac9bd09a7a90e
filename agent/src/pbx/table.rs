//! A table of call records in a database, read so that every row is delivered once.
//!
//! A row becomes visible when its leg ends, and the only time by which it can be found quickly is that of its start: behind any
//! row, one with an earlier time may still come. So reading never leaves a window behind the newest row that is longer than any
//! leg. Each look at it costs one count per ten minutes, out of the index alone; where that differs from what was read, these
//! ten minutes are read anew, and rows that were delivered are known by their names. What is older than the window when the
//! table is seen first is history: read once, in slices.

use std::{
    collections::{BTreeMap, HashMap},
    future::Future,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

use super::{
    record::{Entry, Record, Unreadable},
    stream::{NotStored, Outlet, Rows},
};

/// Rows are counted and read anew by so many seconds.
pub const BUCKET: i64 = 600;
const HOUR: i64 = 3600;
const DAY: i64 = 86_400;
/// The window is this long at least: the longest leg that is expected, or the longest one seen, and an hour.
const SHORTEST_SPAN: i64 = DAY;
/// What claims to have lasted longer than this does not make the window longer.
const LONGEST_SPAN: i64 = 7 * DAY;
/// So many rows of history are in memory at a time.
const SLICE: u32 = 4000;
/// How long to wait between two looks while calls come, and while none do.
const ACTIVE: Duration = Duration::from_secs(1);
const IDLE: Duration = Duration::from_secs(5);
/// After so many looks without a new row nothing is going on.
const QUIET_LOOKS: u32 = 60;
/// A look may keep the server busy for one part in so many of the time.
const SHARE: u32 = 50;
/// Even so, nobody waits for longer than this.
const LONGEST_PAUSE: Duration = Duration::from_secs(600);

/// A row as the table has it.
pub struct Found {
    /// Its time on the table's own clock.
    pub at: i64,
    /// How long the leg lasted, in seconds.
    pub duration: i64,
    /// What tells it from other rows; rows that are alike even in that are told apart by their number.
    pub key: u64,
    /// The row, or why it was not understood.
    pub row: Result<Record, Unreadable>,
}

/// Why a table cannot be read, and what the owner can do, in words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Fault(pub String);

/// A table of call records. Times are seconds on its own clock, which may be a wall clock.
pub trait Table: Send {
    /// What its clock shows at a moment, given in seconds since 1970 in UTC.
    fn clock(&self, moment: i64) -> i64;

    /// The earliest time from `from` on, or from the `skip`-th row behind it.
    fn time_behind(&mut self, from: i64, skip: u32) -> impl Future<Output = Result<Option<i64>, Fault>> + Send;

    /// The latest time that is not after `until`.
    fn time_before(&mut self, until: i64) -> impl Future<Output = Result<Option<i64>, Fault>> + Send;

    /// How many rows there are from that time on, by [`BUCKET`]s that begin at a multiple of it.
    fn counts(&mut self, from: i64) -> impl Future<Output = Result<Vec<(i64, u64)>, Fault>> + Send;

    /// The rows from that time on and before the other.
    fn rows(&mut self, from: i64, until: i64) -> impl Future<Output = Result<Vec<Found>, Fault>> + Send;
}

/// How far a table was read: what the store keeps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Place {
    /// History is read up to here; none where all of it is.
    history: Option<i64>,
    /// Where the window begins. It never goes back.
    window: i64,
    /// The longest leg seen.
    longest: i64,
}

/// Reads a table on and on.
pub struct TableReader {
    place: Option<Place>,
    /// Rows that ended before this are not wanted: seconds since 1970 in UTC.
    since: i64,
    /// The names of the rows in the window that were delivered, with their times.
    delivered: HashMap<u64, i64>,
    /// How many rows of each bucket of the window have been read by this process.
    read: BTreeMap<i64, u64>,
    caught_up: bool,
    quiet: u32,
}

/// What came of a look at the window.
struct Looked {
    /// Whether there was anything new.
    fresh: bool,
    /// How long the server was busy with what comes up at every look.
    busy: Duration,
}

/// Why reading stopped.
#[derive(Debug, thiserror::Error)]
pub enum Stop {
    /// The table cannot be read now.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// The store does not take rows.
    #[error(transparent)]
    NotStored(#[from] NotStored),
}

impl TableReader {
    /// Goes on from where the store knows it to have been read.
    pub fn new(position: Option<&str>, delivered: Vec<(u64, i64)>, since: i64) -> Self {
        Self {
            // A position that does not parse was written by nobody here.
            place: position.and_then(|text| serde_json::from_str(text).ok()),
            since,
            delivered: delivered.into_iter().collect(),
            read: BTreeMap::new(),
            caught_up: false,
            quiet: 0,
        }
    }

    /// Reads everything that is new, and says how long to wait before the next look. `now` is in seconds since 1970 in UTC.
    ///
    /// # Errors
    /// See [`Stop`].
    pub async fn look<T: Table>(&mut self, table: &mut T, outlet: &Outlet, now: i64) -> Result<Duration, Stop> {
        let mut place = match self.place.clone() {
            Some(place) => place,
            None => self.begin(table, outlet, now).await?,
        };
        while let Some(from) = place.history {
            self.slice(table, outlet, &mut place, from).await?;
        }
        let Looked { fresh, busy } = self.window(table, outlet, &mut place, now).await?;
        self.quiet = if fresh { 0 } else { self.quiet.saturating_add(1) };
        self.caught_up = true;
        let pause = if self.quiet < QUIET_LOOKS { ACTIVE } else { IDLE };
        Ok(pause.max(busy.saturating_mul(SHARE)).min(LONGEST_PAUSE))
    }

    /// The first look: where the window begins, and where history does.
    async fn begin<T: Table>(&mut self, table: &mut T, outlet: &Outlet, now: i64) -> Result<Place, Stop> {
        // A row from the future must not draw the window there.
        let latest = table.clock(now) + HOUR;
        let newest = table.time_before(latest).await?.unwrap_or(latest - HOUR);
        let window = whole(newest - SHORTEST_SPAN - HOUR);
        let earliest = if self.since > 0 { table.clock(self.since) - SHORTEST_SPAN } else { 0 };
        let history = table.time_behind(earliest, 0).await?.filter(|&first| first < window);
        let place = Place { history, window, longest: 0 };
        // Stored before a row is read: where the window begins is decided once.
        self.deliver(outlet, &place, Vec::new(), true).await?;
        Ok(place)
    }

    async fn slice<T: Table>(
        &mut self,
        table: &mut T,
        outlet: &Outlet,
        place: &mut Place,
        from: i64,
    ) -> Result<(), Stop> {
        let next = table.time_behind(from, SLICE).await?.unwrap_or(place.window);
        // More rows than a slice holds may bear the same time.
        let until = next.clamp(from + 1, place.window.max(from + 1)).min(place.window);
        let found = table.rows(from, until).await?;
        place.grow(&found);
        place.history = Some(until).filter(|&until| until < place.window);
        let entries = found.into_iter().map(|found| Entry { row: found.row, name: None }).collect();
        self.deliver(outlet, place, entries, true).await
    }

    /// One look at the window.
    async fn window<T: Table>(
        &mut self,
        table: &mut T,
        outlet: &Outlet,
        place: &mut Place,
        now: i64,
    ) -> Result<Looked, Stop> {
        let asked = Instant::now();
        let counts = table.counts(place.window).await?;
        let mut busy = asked.elapsed();
        let mut fresh = false;
        for &(bucket, count) in &counts {
            if self.read.get(&bucket) == Some(&count) {
                continue;
            }
            let asked = Instant::now();
            let found = table.rows(bucket, bucket + BUCKET).await?;
            if self.caught_up {
                busy += asked.elapsed();
            }
            place.grow(&found);
            let read = found.len() as u64;
            let entries = self.unknown(found);
            if !entries.is_empty() {
                fresh = true;
                let names: Vec<_> = entries.iter().filter_map(|entry| entry.name).collect();
                self.deliver(outlet, place, entries, !self.caught_up).await?;
                self.delivered.extend(names);
            }
            self.read.insert(bucket, read);
        }
        let latest = table.clock(now) + HOUR;
        let newest = counts.iter().map(|(bucket, _)| *bucket).filter(|bucket| *bucket <= latest).max();
        if let Some(newest) = newest {
            let span = place.longest.clamp(SHORTEST_SPAN, LONGEST_SPAN) + HOUR;
            let window = whole(newest - span);
            if window > place.window {
                // Stored with the next rows.
                place.window = window;
                self.read.retain(|bucket, _| *bucket >= window);
                self.delivered.retain(|_, at| *at >= window);
            }
        }
        self.place = Some(place.clone());
        Ok(Looked { fresh, busy })
    }

    /// The rows that were not delivered yet, with their names.
    fn unknown(&self, found: Vec<Found>) -> Vec<Entry> {
        let mut alike = HashMap::<u64, u64>::new();
        let entries = found.into_iter().map(|found| {
            let number = alike.entry(found.key).or_default();
            // The first keeps the key for a name.
            let name = found.key.wrapping_add(number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            *number += 1;
            Entry { row: found.row, name: Some((name, found.at)) }
        });
        entries.filter(|entry| entry.name.is_some_and(|(name, _)| !self.delivered.contains_key(&name))).collect()
    }

    async fn deliver(
        &mut self,
        outlet: &Outlet,
        place: &Place,
        entries: Vec<Entry>,
        backlog: bool,
    ) -> Result<(), Stop> {
        let position = serde_json::to_string(place).map_err(|error| Fault(error.to_string()))?;
        outlet.deliver(Rows { entries, position, forget_before: place.window, backlog }).await?;
        self.place = Some(place.clone());
        Ok(())
    }
}

impl Place {
    fn grow(&mut self, found: &[Found]) {
        let longest = found.iter().map(|row| row.duration).max().unwrap_or(0);
        self.longest = self.longest.max(longest.min(LONGEST_SPAN));
    }
}

/// The beginning of the bucket.
fn whole(time: i64) -> i64 {
    time.div_euclid(BUCKET) * BUCKET
}

#[cfg(test)]
mod tests;
