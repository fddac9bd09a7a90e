//! Rollups of history, packed: a few bytes for each cell, and a row of the table for each day instead of each cell.
//!
//! Years of old records fill nearly as many cells as there are calls. Nobody amends them any more, so they need no
//! index: they are written in one piece and read in one piece. What is amended after all goes into the table of
//! live rollups, as a difference; the two are summed where they are read.

use demarc_proto::Cell;
use rustc_hash::FxHashMap;

use crate::call::{Figures, NameId, Place, Share};

/// Quarter hours of a day.
const QUARTERS: i64 = 96;
/// Beyond so many cells that are not packed yet, days but the newest are packed.
const MAX_LOOSE: usize = 64 * 1024;
/// No more names in one piece: their numbers must fit their place in the key.
const MAX_NAMES: usize = 1 << 16;

/// What calls that get no more legs add to the rollups.
#[derive(Default)]
pub(super) struct Days {
    /// Days that calls are still being added to.
    loose: FxHashMap<i64, Loose>,
    /// How many cells they hold.
    cells: usize,
    packed: Vec<Packed>,
    bytes: usize,
    sum: Figures,
}

/// A piece of a day, ready for the store but for the numbers of its names.
pub(super) struct Packed {
    /// Counted from 1970 in UTC.
    pub(super) day: i64,
    /// What the numbers in the cells stand for, in order; the first is no name.
    pub(super) names: Vec<NameId>,
    cells: Vec<u8>,
}

#[derive(Default)]
struct Loose {
    numbers: FxHashMap<NameId, u16>,
    names: Vec<NameId>,
    cells: Vec<LooseCell>,
}

/// A call, or the sum of some of the same place.
#[derive(Clone, Copy)]
struct LooseCell {
    /// Quarter hour of the day, cell, trunk, queue, extension.
    key: u64,
    calls: u32,
    legs: u32,
    talk_seconds: u64,
    wait_seconds: u64,
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

impl Days {
    /// Adds a call.
    pub(super) fn add(&mut self, share: &Share) {
        self.sum.add(&share.figures);
        let Place { quarter, cell, trunk, queue, extension } = share.place;
        let day = day_of(quarter);
        let loose = self.loose.entry(day).or_default();
        let place = quarter.rem_euclid(QUARTERS) as u64 * 32 + cell.index() as u64;
        let key = [trunk, queue, extension].iter().fold(place, |key, &name| key << 16 | u64::from(loose.number(name)));
        loose.cells.push(LooseCell::new(key, &share.figures));
        let full = loose.names.len() + 3 > MAX_NAMES;
        self.cells += 1;
        if full {
            self.pack(day);
        } else if self.cells > MAX_LOOSE {
            self.pack_all_but_newest();
        }
    }

    /// What all of it adds up to.
    pub(super) fn sum(&self) -> Figures {
        self.sum
    }

    /// How much memory it takes, about.
    pub(super) fn bytes(&self) -> usize {
        self.bytes + self.cells * size_of::<LooseCell>()
    }

    /// Packs what is loose, and gives all pieces.
    pub(super) fn packed(&mut self) -> &[Packed] {
        let days: Vec<_> = self.loose.keys().copied().collect();
        days.into_iter().for_each(|day| self.pack(day));
        &self.packed
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Records come in the order of time, so that the older days are complete, nearly always.
    fn pack_all_but_newest(&mut self) {
        let mut days: Vec<_> = self.loose.keys().copied().collect();
        days.sort_unstable();
        // One day can be too much for the memory alone.
        let keep = if days.len() > 2 { 2 } else { 0 };
        days.truncate(days.len() - keep);
        days.into_iter().for_each(|day| self.pack(day));
    }

    fn pack(&mut self, day: i64) {
        let Some(mut loose) = self.loose.remove(&day) else { return };
        self.cells -= loose.cells.len();
        let packed = Packed { day, cells: loose.merged(), names: loose.names };
        self.bytes += packed.cells.len() + packed.names.len() * size_of::<NameId>() + size_of::<Packed>();
        self.packed.push(packed);
    }
}

impl Loose {
    fn number(&mut self, name: NameId) -> u16 {
        if self.names.is_empty() {
            self.names.push(NameId::NONE);
        }
        if !name.is_some() {
            return 0;
        }
        *self.numbers.entry(name).or_insert_with(|| {
            self.names.push(name);
            (self.names.len() - 1) as u16
        })
    }

    /// The cells as bytes: each place once, in order, as its distance from the one before.
    fn merged(&mut self) -> Vec<u8> {
        self.cells.sort_unstable_by_key(|cell| cell.key);
        let mut bytes = Vec::with_capacity(self.cells.len() * 12);
        let mut last = 0;
        for same in self.cells.chunk_by(|left, right| left.key == right.key) {
            let (mut calls, mut legs, mut talk, mut wait) = (0_u64, 0_u64, 0_u64, 0_u64);
            for cell in same {
                calls += u64::from(cell.calls);
                legs += u64::from(cell.legs);
                talk = talk.saturating_add(cell.talk_seconds);
                wait = wait.saturating_add(cell.wait_seconds);
            }
            let key = same[0].key;
            for number in [key - last, calls, legs, talk, wait] {
                put(&mut bytes, number);
            }
            last = key;
        }
        bytes.shrink_to_fit();
        bytes
    }
}

impl LooseCell {
    fn new(key: u64, figures: &Figures) -> Self {
        let amount = |number: i64| u64::try_from(number).unwrap_or(0);
        Self {
            key,
            calls: u32::try_from(figures.calls).unwrap_or(0),
            legs: u32::try_from(figures.legs).unwrap_or(u32::MAX),
            talk_seconds: amount(figures.talk_seconds),
            wait_seconds: amount(figures.wait_seconds),
        }
    }
}

impl Packed {
    /// As it is stored, with the number that the store has for each name, in order.
    pub(super) fn to_bytes(&self, numbers: &[i64]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.cells.len() + numbers.len() * 3 + 10);
        put(&mut bytes, numbers.len() as u64);
        for &number in numbers {
            put(&mut bytes, number as u64);
        }
        bytes.extend_from_slice(&self.cells);
        bytes
    }
}

/// The day of a quarter hour.
pub(super) fn day_of(quarter: i64) -> i64 {
    quarter.div_euclid(QUARTERS)
}

/// Visits the cells of a stored piece.
pub(super) fn read(day: i64, mut bytes: &[u8], mut visit: impl FnMut(DayCell)) -> Result<(), NotADay> {
    let count = usize::try_from(take(&mut bytes)?).map_err(|_| NotADay)?;
    if count > MAX_NAMES {
        return Err(NotADay);
    }
    let numbers = (0..count).map(|_| Ok(take(&mut bytes)? as i64)).collect::<Result<Vec<_>, _>>()?;
    let name = |number: u64| numbers.get((number & 0xffff) as usize).copied().ok_or(NotADay);
    let mut key = 0_u64;
    while !bytes.is_empty() {
        key = key.checked_add(take(&mut bytes)?).ok_or(NotADay)?;
        let mut amount = || i64::try_from(take(&mut bytes)?).map_err(|_| NotADay);
        let figures = Figures { calls: amount()?, legs: amount()?, talk_seconds: amount()?, wait_seconds: amount()? };
        let place = key >> 48;
        visit(DayCell {
            quarter: day * QUARTERS + (place / 32) as i64,
            cell: Cell::from_index((place % 32) as usize).ok_or(NotADay)?,
            trunk: name(key >> 32)?,
            queue: name(key >> 16)?,
            extension: name(key)?,
            figures,
        });
    }
    Ok(())
}

/// Seven bits a byte, the lowest first; the highest bit says that more follow (LEB128).
fn put(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn take(bytes: &mut &[u8]) -> Result<u64, NotADay> {
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
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// Amounts by quarter hour, cell, trunk, queue and extension.
    type Cells = BTreeMap<(i64, usize, i64, i64, i64), (i64, i64, i64, i64)>;

    fn read_all(days: &mut Days) -> Cells {
        let mut cells = BTreeMap::new();
        for packed in days.packed() {
            // Names are small numbers in these tests, so they can stand for themselves.
            let numbers: Vec<_> = packed.names.iter().map(|name| name.0 as i64).collect();
            read(packed.day, &packed.to_bytes(&numbers), |cell| {
                let figures = cell.figures;
                let sum: &mut (i64, i64, i64, i64) =
                    cells.entry((cell.quarter, cell.cell.index(), cell.trunk, cell.queue, cell.extension)).or_default();
                sum.0 += figures.calls;
                sum.1 += figures.legs;
                sum.2 += figures.talk_seconds;
                sum.3 += figures.wait_seconds;
            })
            .unwrap();
        }
        cells
    }

    fn share(quarter: i64, cell: usize, names: [u64; 3], figures: [i64; 3]) -> Share {
        Share {
            place: Place {
                quarter,
                cell: Cell::from_index(cell).unwrap(),
                trunk: NameId(names[0]),
                queue: NameId(names[1]),
                extension: NameId(names[2]),
            },
            figures: Figures { calls: 1, legs: figures[0], talk_seconds: figures[1], wait_seconds: figures[2] },
        }
    }

    proptest! {
        #[test]
        fn what_goes_in_comes_out(calls in proptest::collection::vec(
            (-200_i64..2000, 0..Cell::COUNT, proptest::array::uniform3(0_u64..4), proptest::array::uniform3(0_i64..1 << 30)),
            0..300,
        )) {
            let mut days = Days::default();
            let mut expected = BTreeMap::<_, (i64, i64, i64, i64)>::new();
            for (number, &(quarter, cell, names, figures)) in calls.iter().enumerate() {
                days.add(&share(quarter, cell, names, figures));
                let [trunk, queue, extension] = names.map(|name| name as i64);
                let sum = expected.entry((quarter, cell, trunk, queue, extension)).or_default();
                sum.0 += 1;
                sum.1 += figures[0];
                sum.2 += figures[1];
                sum.3 += figures[2];
                if number % 97 == 96 {
                    days.pack_all_but_newest();
                }
            }
            prop_assert_eq!(days.sum().calls, calls.len() as i64);
            prop_assert_eq!(read_all(&mut days), expected);
        }

        #[test]
        fn foreign_bytes_do_no_harm(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(0, &bytes, |_| {});
        }
    }

    #[test]
    fn more_names_than_a_key_can_tell_apart_begin_another_piece() {
        let mut days = Days::default();
        for name in 1..=70_000 {
            days.add(&share(1, 0, [name, 0, 0], [1, 0, 0]));
        }
        assert_eq!(read_all(&mut days).len(), 70_000);
    }

    #[test]
    fn memory_stays_small() {
        let mut days = Days::default();
        for call in 0..1_000_000_i64 {
            days.add(&share(call / 50, (call % 21) as usize, [call as u64 % 3, 0, call as u64 % 180], [1, 60, 9]));
        }
        assert!(days.bytes() < 16_000_000, "{}", days.bytes());
    }
}
