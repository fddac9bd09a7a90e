//! Calls by kind (waiting time, abroad or not): rollups of their own, by quarter hour, direction and outcome. They change in
//! the transactions in which the others do, and add up to the same calls.
//!
//! Those of history are packed by the day, as the others are, and what amends them goes into the live table.

use demarc_proto::Cell;
use rusqlite::Transaction;
use rustc_hash::FxHashMap;

use super::{
    Store, StoreError,
    days::{CELLS, NotADay, QUARTERS, day_of, put, take},
    error::{Fault, damaged},
    tally::{number, out_of_range},
};
use crate::call::{Call, Kind, Share};

/// Calls of a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KindRow {
    /// Quarter hour of the calls' end, counted from 1970 in UTC.
    pub quarter: i64,
    /// Direction and outcome.
    pub cell: Cell,
    /// The kind.
    pub kind: Kind,
    /// How many; differences may be negative.
    pub calls: i64,
}

/// What changes.
#[derive(Default)]
pub(super) struct Kinds(FxHashMap<(i64, usize, Kind), i64>);

impl Kinds {
    /// Changes what calls like this one amount to.
    pub(super) fn add(&mut self, share: &Share, calls: i64) {
        *self.0.entry((share.place.quarter, share.place.cell.index(), share.kind)).or_default() += calls;
    }

    /// Writes all of it.
    pub(super) fn write(&mut self, transaction: &Transaction<'_>) -> rusqlite::Result<()> {
        let mut changed: Vec<_> = self.0.drain().filter(|(_, calls)| *calls != 0).collect();
        // In the order of the table: neighbours share pages.
        changed.sort_unstable();
        let mut upsert = transaction.prepare_cached(
            "INSERT INTO kind VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO UPDATE SET calls = calls + excluded.calls",
        )?;
        let mut delete =
            transaction.prepare_cached("DELETE FROM kind WHERE (quarter, cell, kind) = (?1, ?2, ?3) AND calls = 0")?;
        for ((quarter, cell, kind), calls) in changed {
            let key = (quarter, cell as i64, kind.index() as i64);
            upsert.execute((key.0, key.1, key.2, calls))?;
            if calls < 0 {
                delete.execute(key)?;
            }
        }
        Ok(())
    }
}

/// Counts the calls that may still be amended, in a store that had no kinds: what takes them out again must find them there.
pub(super) fn begin(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    let mut kinds = Kinds::default();
    let mut statement = transaction.prepare("SELECT state FROM call")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let call = Call::from_bytes(row.get_ref(0)?.as_blob()?).map_err(damaged)?;
        kinds.add(&call.share(), 1);
    }
    kinds.write(transaction)
}

/// Writes a packed day.
pub(super) fn write_day(transaction: &Transaction<'_>, day: i64, kinds: &[u8]) -> Result<(), Fault> {
    transaction.prepare_cached("INSERT INTO kind_day (day, kinds) VALUES (?1, ?2)")?.execute((day, kinds))?;
    Ok(())
}

/// Packs the kinds of a day's calls, which come with the numbers of their places in order.
pub(super) fn pack(calls: impl Iterator<Item = (u64, Kind)>) -> Vec<u8> {
    let mut packing = Packing::default();
    for (place, kind) in calls {
        if place != packing.place {
            packing.end_place();
            packing.place = place;
        }
        packing.counts[kind.index()] += 1;
        packing.seen |= 1 << kind.index();
    }
    packing.end_place();
    packing.bytes.shrink_to_fit();
    packing.bytes
}

#[derive(Default)]
struct Packing {
    place: u64,
    counts: [u32; Kind::COUNT],
    /// One bit for each kind that was counted: most places have a call or two.
    seen: u32,
    last: u64,
    bytes: Vec<u8>,
}

const _: () = assert!(Kind::COUNT <= u32::BITS as usize);

impl Packing {
    /// How far a number lies behind the one before, and how many calls there are of it. That it is one takes no byte.
    fn end_place(&mut self) {
        while self.seen != 0 {
            let kind = self.seen.trailing_zeros();
            self.seen &= self.seen - 1;
            let count = std::mem::take(&mut self.counts[kind as usize % Kind::COUNT]);
            let number = self.place * Kind::COUNT as u64 + u64::from(kind);
            put(&mut self.bytes, (number - self.last) << 1 | u64::from(count == 1));
            if count > 1 {
                put(&mut self.bytes, u64::from(count));
            }
            self.last = number;
        }
    }
}

/// Visits the rows of a packed day.
fn read(day: i64, mut bytes: &[u8], mut visit: impl FnMut(KindRow)) -> Result<(), NotADay> {
    let mut number = 0_u64;
    while !bytes.is_empty() {
        let distance = take(&mut bytes)?;
        number = number.checked_add(distance >> 1).ok_or(NotADay)?;
        let calls = if distance & 1 == 1 { 1 } else { i64::try_from(take(&mut bytes)?).map_err(|_| NotADay)? };
        let (place, kind) = (number / Kind::COUNT as u64, (number % Kind::COUNT as u64) as usize);
        visit(KindRow {
            quarter: day * QUARTERS + i64::try_from(place / CELLS).ok().filter(|at| *at < QUARTERS).ok_or(NotADay)?,
            cell: Cell::from_index((place % CELLS) as usize).ok_or(NotADay)?,
            kind: Kind::from_index(kind).ok_or(NotADay)?,
            calls,
        });
    }
    Ok(())
}

impl Store {
    /// Visits calls by kind whose quarter hour lies in a half-open range. The same can come more than once, with differences
    /// too: what it amounts to is the sum. Calls that were counted before there were kinds are in none.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn kinds(&self, from: i64, to: i64, visit: impl FnMut(KindRow)) -> Result<(), StoreError> {
        self.read_kinds(from, to, visit).map_err(|error| self.fault(error))
    }

    fn read_kinds(&self, from: i64, to: i64, mut visit: impl FnMut(KindRow)) -> rusqlite::Result<()> {
        let mut statement = self
            .connection
            .prepare_cached("SELECT quarter, cell, kind, calls FROM kind WHERE quarter >= ?1 AND quarter < ?2")?;
        let mut rows = statement.query([from, to])?;
        while let Some(row) = rows.next()? {
            visit(KindRow {
                quarter: row.get(0)?,
                cell: Cell::from_index(number(row, 1)?).ok_or_else(|| out_of_range(1))?,
                kind: Kind::from_index(number(row, 2)?).ok_or_else(|| out_of_range(2))?,
                calls: row.get(3)?,
            });
        }
        let mut statement = self
            .connection
            .prepare_cached("SELECT day, kinds FROM kind_day WHERE day BETWEEN ?1 AND ?2 ORDER BY day")?;
        let mut rows = statement.query([day_of(from), day_of(to)])?;
        while let Some(row) = rows.next()? {
            read(row.get(0)?, row.get_ref(1)?.as_blob()?, |row| {
                if (from..to).contains(&row.quarter) {
                    visit(row);
                }
            })
            .map_err(damaged)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_goes_in_comes_out(calls in proptest::collection::btree_map(
            (0..QUARTERS as u64, 0..Cell::COUNT, 0..Kind::COUNT / 2 - 1, any::<bool>()), 1_i64..400, 0..60,
        )) {
            let kind = |wait: usize, abroad: bool| Kind::from_index(wait + usize::from(abroad) * 8).unwrap();
            let expected: Vec<KindRow> = calls
                .iter()
                .map(|(&(quarter, cell, wait, abroad), &calls)| KindRow {
                    quarter: 3 * QUARTERS + quarter as i64,
                    cell: Cell::from_index(cell).unwrap(),
                    kind: kind(wait, abroad),
                    calls,
                })
                .collect();
            let packed = pack(calls.iter().flat_map(|(&(quarter, cell, wait, abroad), &calls)| {
                std::iter::repeat_n((quarter * CELLS + cell as u64, kind(wait, abroad)), calls as usize)
            }));
            let mut found = Vec::new();
            read(3, &packed, |row| found.push(row)).unwrap();
            found.sort_unstable_by_key(|row| (row.quarter, row.cell.index(), row.kind.wait(), row.kind.is_abroad()));
            prop_assert_eq!(found, expected);
        }

        #[test]
        fn foreign_bytes_do_no_harm(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(0, &bytes, |row| assert!((0..QUARTERS).contains(&row.quarter)));
        }
    }
}
