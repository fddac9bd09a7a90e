//! Rollups of history, packed: a few bytes for each cell, and a row of the table for each day instead of each cell.
//!
//! Years of old records fill nearly as many cells as there are calls. Nobody amends them any more, so they need no
//! index: they are written in one piece and read in one piece. What is amended after all goes into the table of
//! live rollups, as a difference; the two are summed where they are read.

use demarc_proto::Cell;

use crate::call::{Figures, NameId};

/// Quarter hours of a day.
pub(super) const QUARTERS: i64 = 96;
/// Room for directions with outcomes in the number of a place.
pub(super) const CELLS: u64 = 32;
/// No more names or parties in one piece.
pub(super) const MAX_PARTIES: usize = 1 << 16;

/// A piece of a day, ready for the store but for the numbers of its names.
pub(super) struct Packed {
    /// Counted from 1970 in UTC.
    pub(super) day: i64,
    /// What the numbers in the parties stand for, in order; the first is no name.
    pub(super) names: Vec<NameId>,
    /// The parties, which are trunk, queue and extension, and the cells.
    pub(super) rest: Vec<u8>,
    /// The same calls by kind.
    pub(super) kinds: Vec<u8>,
}

/// One cell as it stands in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DayCell {
    /// Counted from 1970 in UTC.
    pub(super) quarter: i64,
    /// Direction and outcome.
    pub(super) cell: Cell,
    /// Numbers of the texts.
    pub(super) trunk: i64,
    pub(super) queue: i64,
    pub(super) extension: i64,
    pub(super) figures: Figures,
}

/// The bytes are not what [`Packed::to_bytes`] wrote.
#[derive(Debug, thiserror::Error)]
#[error("not a packed day")]
pub(super) struct NotADay;

impl Packed {
    /// As it is stored, with the number that the store has for each name, in order.
    pub(super) fn to_bytes(&self, numbers: &[i64]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.rest.len() + numbers.len() * 3 + 10);
        put(&mut bytes, numbers.len() as u64);
        for &number in numbers {
            put(&mut bytes, number as u64);
        }
        bytes.extend_from_slice(&self.rest);
        bytes
    }

    /// How much memory it takes, about.
    pub(super) fn size(&self) -> usize {
        self.rest.len() + self.kinds.len() + self.names.len() * size_of::<NameId>() + size_of::<Self>()
    }
}

/// The quarter hours of a day.
pub(super) fn quarters_of(day: i64) -> std::ops::Range<i64> {
    day * QUARTERS..(day + 1) * QUARTERS
}

/// The day of a quarter hour.
pub(super) fn day_of(quarter: i64) -> i64 {
    quarter.div_euclid(QUARTERS)
}

/// Writes a cell: how far its number lies behind that of the cell before, and what it amounts to. That it is one call
/// of one leg, which most are, takes no byte of its own.
#[inline]
pub(super) fn put_cell(bytes: &mut Vec<u8>, distance: u64, figures: [u64; 4]) {
    let [calls, legs, talk_seconds, wait_seconds] = figures;
    let single = (calls, legs) == (1, 1);
    put(bytes, distance << 1 | u64::from(single));
    if !single {
        put(bytes, calls);
        put(bytes, legs);
    }
    put(bytes, talk_seconds);
    put(bytes, wait_seconds);
}

/// Visits the cells of a stored piece.
pub(super) fn read(day: i64, mut bytes: &[u8], mut visit: impl FnMut(DayCell)) -> Result<(), NotADay> {
    let names = list(&mut bytes, |bytes| Ok(take(bytes)? as i64))?;
    let parties = list(&mut bytes, |bytes| {
        let mut name = || names.get(usize::try_from(take(bytes)?).map_err(|_| NotADay)?).copied().ok_or(NotADay);
        Ok([name()?, name()?, name()?])
    })?;
    let mut number = 0_u64;
    while !bytes.is_empty() {
        let distance = take(&mut bytes)?;
        number = number.checked_add(distance >> 1).ok_or(NotADay)?;
        let mut amount = || i64::try_from(take(&mut bytes)?).map_err(|_| NotADay);
        let (calls, legs) = if distance & 1 == 1 { (1, 1) } else { (amount()?, amount()?) };
        let figures = Figures { calls, legs, talk_seconds: amount()?, wait_seconds: amount()? };
        let place = number.checked_div(parties.len() as u64).ok_or(NotADay)?;
        let [trunk, queue, extension] = parties[(number % parties.len() as u64) as usize];
        visit(DayCell {
            quarter: day * QUARTERS + i64::try_from(place / CELLS).ok().filter(|&at| at < QUARTERS).ok_or(NotADay)?,
            cell: Cell::from_index((place % CELLS) as usize).ok_or(NotADay)?,
            trunk,
            queue,
            extension,
            figures,
        });
    }
    Ok(())
}

fn list<T>(bytes: &mut &[u8], mut entry: impl FnMut(&mut &[u8]) -> Result<T, NotADay>) -> Result<Vec<T>, NotADay> {
    let count = usize::try_from(take(bytes)?).ok().filter(|&count| count <= 3 * MAX_PARTIES + 1).ok_or(NotADay)?;
    (0..count).map(|_| entry(bytes)).collect()
}

/// Seven bits a byte, the lowest first; the highest bit says that more follow (LEB128).
#[inline]
pub(super) fn put(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

pub(super) fn take(bytes: &mut &[u8]) -> Result<u64, NotADay> {
    let mut number = 0_u64;
    for (place, &byte) in bytes.iter().enumerate().take(10) {
        number |= u64::from(byte & 0x7f) << (7 * place);
        if byte < 0x80 {
            *bytes = &bytes[place + 1..];
            return Ok(number);
        }
    }
    Err(NotADay)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn foreign_bytes_do_no_harm(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(0, &bytes, |_| {});
        }

        #[test]
        fn foreign_cells_behind_a_good_beginning_do_no_harm(cells in proptest::collection::vec(any::<u8>(), 0..200)) {
            let bytes = [&[1, 0, 1, 0, 0, 0][..], &cells].concat();
            let _ = read(0, &bytes, |cell| assert!((0..QUARTERS).contains(&cell.quarter)));
        }
    }
}
