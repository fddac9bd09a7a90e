//! Puts the shares of old calls together to packed days.

use std::hash::{Hash, Hasher};

use rustc_hash::FxHashMap;

use super::{
    days::{CELLS, MAX_PARTIES, Packed, QUARTERS, day_of, put, put_cell},
    kinds,
};
use crate::call::{Figures, Kind, NameId, Place, Share};

/// Trunk, queue, extension.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Party([NameId; 3]);

impl Party {
    /// Each name is a hash already.
    #[inline]
    fn hash(&self) -> u64 {
        let [trunk, queue, extension] = self.0;
        trunk.0 ^ queue.0.rotate_left(21) ^ extension.0.rotate_left(42)
    }
}

impl Hash for Party {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(Self::hash(self));
    }
}

/// So many parties of late are known without a look into the table.
const RECENT: usize = 4096;
/// No more parties are kept for the next piece.
const KEPT: usize = 8192;

/// How many bits of a cell's order say which of the cells it is, in the order in which they came.
const SERIAL_BITS: u32 = 20;
/// How many say whose it is.
const PARTY_BITS: u32 = 16;
/// How many say which quarter hour of the day, direction and outcome.
const PLACE_BITS: u32 = 12;
/// The rest says which day.
const DAYS: i64 = 1 << (64 - SERIAL_BITS - PARTY_BITS - PLACE_BITS);

const _: () = assert!(QUARTERS as u64 * CELLS <= 1 << PLACE_BITS && MAX_PARTIES <= 1 << PARTY_BITS);

/// Calls on their way into packed days.
#[derive(Default)]
pub struct Packer {
    /// Day, place, party and serial number of each cell, so that to order numbers is to order cells.
    order: Vec<u64>,
    /// Memory for ordering them.
    spare: Vec<u64>,
    amounts: Vec<[u64; 4]>,
    kinds: Vec<Kind>,
    numbers: FxHashMap<Party, u32>,
    parties: Vec<Party>,
    /// The numbers of parties of late, each at the place that the party's hash names.
    recent: Vec<u32>,
    /// The day of the last call.
    today: i64,
    /// The day that counts as 0.
    first_day: i64,
    packed: Vec<Packed>,
    sum: Figures,
}

/// What calls amount to that get no more legs.
#[derive(Default)]
pub struct Closed {
    pub(super) days: Vec<Packed>,
    pub(super) sum: Figures,
}

impl Packer {
    /// Adds a call.
    #[inline]
    pub(super) fn add(&mut self, share: &Share) {
        self.sum.add(&share.figures);
        let Place { quarter, cell, trunk, queue, extension } = share.place;
        let mut place = quarter.wrapping_sub(self.today.wrapping_mul(QUARTERS));
        if !(0..QUARTERS).contains(&place) {
            (self.today, place) = (day_of(quarter), quarter.rem_euclid(QUARTERS));
        }
        let day = self.today;
        let full = self.order.len() == 1 << SERIAL_BITS || self.parties.len() == MAX_PARTIES;
        if full || !(0..DAYS).contains(&day.wrapping_sub(self.first_day)) || self.order.is_empty() {
            self.pack();
            self.first_day = day.saturating_sub(DAYS / 2);
        }
        let place = place as u64 * CELLS + cell.index() as u64;
        let party = u64::from(self.party(Party([trunk, queue, extension])));
        let order = (((day - self.first_day) as u64) << PLACE_BITS | place) << PARTY_BITS | party;
        self.order.push(order << SERIAL_BITS | self.amounts.len() as u64);
        self.kinds.push(share.kind);
        let Figures { calls, legs, talk_seconds, wait_seconds } = share.figures;
        self.amounts.push([calls, legs, talk_seconds, wait_seconds].map(|amount| u64::try_from(amount).unwrap_or(0)));
    }

    /// All that was added, packed.
    pub(super) fn finish(&mut self) -> Closed {
        self.pack();
        Closed { days: std::mem::take(&mut self.packed), sum: std::mem::take(&mut self.sum) }
    }

    #[inline]
    fn party(&mut self, party: Party) -> u32 {
        let at = (party.hash() >> 32) as usize % RECENT;
        match self.recent.get(at) {
            Some(&number) if self.parties.get(number as usize) == Some(&party) => number,
            _ => {
                let number = self.look_up(party);
                self.recent.resize(RECENT, 0);
                self.recent[at] = number;
                number
            }
        }
    }

    #[cold]
    fn look_up(&mut self, party: Party) -> u32 {
        *self.numbers.entry(party).or_insert_with(|| {
            self.parties.push(party);
            (self.parties.len() - 1) as u32
        })
    }

    fn pack(&mut self) {
        sort(&mut self.order, &mut self.spare);
        let day_of = |order: u64| order >> (64 - DAYS.trailing_zeros());
        for cells in self.order.chunk_by(|&left, &right| day_of(left) == day_of(right)) {
            let day = self.first_day + day_of(cells[0]) as i64;
            self.packed.push(self.pack_day(day, cells));
        }
        self.order.clear();
        self.amounts.clear();
        self.kinds.clear();
        // The next calls are mostly those of the same parties.
        if self.parties.len() > KEPT {
            self.numbers.clear();
            self.parties.clear();
        }
    }

    /// Packs the cells of a day: each once, in order.
    fn pack_day(&self, day: i64, cells: &[u64]) -> Packed {
        let (amounts, parties) = (&self.amounts, &self.parties);
        let party_of = |order: u64| (order >> SERIAL_BITS) as usize % MAX_PARTIES;
        let place_of = |order: u64| (order >> (SERIAL_BITS + PARTY_BITS)) % (1 << PLACE_BITS);
        let serial_of = |order: u64| (order % (1 << SERIAL_BITS)) as usize;
        // The parties of this day, in the order of their numbers.
        let mut here = vec![u32::MAX; parties.len()];
        cells.iter().for_each(|&order| here[party_of(order)] = 0);
        let mut rest = Vec::with_capacity(cells.len() * 6 + 64);
        let (mut names, mut name_numbers) = (vec![NameId::NONE], FxHashMap::default());
        let count = here.iter().filter(|&&number| number == 0).count() as u64;
        put(&mut rest, count);
        let used = here.iter_mut().zip(parties).filter(|(number, _)| **number == 0);
        for (number, (local, party)) in used.enumerate() {
            *local = number as u32;
            for &name in &party.0 {
                let number = if name.is_some() {
                    *name_numbers.entry(name).or_insert_with(|| {
                        names.push(name);
                        names.len() as u64 - 1
                    })
                } else {
                    0
                };
                put(&mut rest, number);
            }
        }
        let mut last = 0;
        for same in cells.chunk_by(|left, right| left >> SERIAL_BITS == right >> SERIAL_BITS) {
            let number = place_of(same[0]) * count + u64::from(here[party_of(same[0])]);
            let mut sum = [0_u64; 4];
            for order in same {
                let amounts = amounts[serial_of(*order)];
                for (sum, amount) in sum.iter_mut().zip(amounts) {
                    *sum = sum.saturating_add(amount);
                }
            }
            put_cell(&mut rest, number - last, sum);
            last = number;
        }
        rest.shrink_to_fit();
        let kinds = kinds::pack(cells.iter().map(|&order| (place_of(order), self.kinds[serial_of(order)])));
        Packed { day, names, rest, kinds }
    }
}

/// Puts cells in order, whose serial numbers are in order already: digit by digit, from the lowest that differs on. There are
/// thousands of cells and two or three digits, so that this takes a fraction of the time of comparing them.
fn sort(order: &mut Vec<u64>, spare: &mut Vec<u64>) {
    const DIGIT: u64 = (1 << 12) - 1;
    let Some(&first) = order.first().filter(|_| order.len() > FEW) else { return order.sort_unstable() };
    let mut differ = order.iter().fold(0, |differ, cell| differ | (cell ^ first)) >> SERIAL_BITS << SERIAL_BITS;
    spare.resize(order.len(), 0);
    while differ != 0 {
        let shift = differ.trailing_zeros();
        let mut places = [0_u32; DIGIT as usize + 1];
        order.iter().for_each(|cell| places[(cell >> shift & DIGIT) as usize] += 1);
        let mut sum = 0;
        places.iter_mut().for_each(|place| sum += std::mem::replace(place, sum));
        for &cell in &*order {
            let place = &mut places[(cell >> shift & DIGIT) as usize];
            spare[*place as usize] = cell;
            *place += 1;
        }
        std::mem::swap(order, spare);
        differ &= !(DIGIT << shift);
    }
}

/// No more cells than these are compared instead.
const FEW: usize = 500;

impl Closed {
    /// Adds others.
    pub(super) fn add(&mut self, other: Self) {
        self.days.extend(other.days);
        self.sum.add(&other.sum);
    }

    /// How much memory it takes, about.
    pub(super) fn size(&self) -> usize {
        self.days.iter().map(Packed::size).sum()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use demarc_proto::Cell;
    use proptest::prelude::*;

    use super::{super::days::read, *};

    /// Amounts by quarter hour, cell, trunk, queue and extension.
    type Cells = BTreeMap<(i64, usize, i64, i64, i64), (i64, i64, i64, i64)>;

    fn read_all(closed: &Closed) -> Cells {
        let mut cells = BTreeMap::new();
        for packed in &closed.days {
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
            kind: Kind::of(figures[2].unsigned_abs(), false),
            figures: Figures { calls: 1, legs: figures[0], talk_seconds: figures[1], wait_seconds: figures[2] },
        }
    }

    proptest! {
        #[test]
        fn what_goes_in_comes_out(calls in proptest::collection::vec(
            (
                prop_oneof![20 => -200_i64..2000, 1 => any::<i32>().prop_map(i64::from), 1 => 0..i64::MAX / 900],
                0..Cell::COUNT,
                proptest::array::uniform3(0_u64..4),
                proptest::array::uniform3(0_i64..1 << 30),
            ),
            0..300,
        )) {
            let mut packer = Packer::default();
            let mut closed = Closed::default();
            let mut expected = BTreeMap::<_, (i64, i64, i64, i64)>::new();
            for (number, &(quarter, cell, names, figures)) in calls.iter().enumerate() {
                packer.add(&share(quarter, cell, names, figures));
                let [trunk, queue, extension] = names.map(|name| name as i64);
                let sum = expected.entry((quarter, cell, trunk, queue, extension)).or_default();
                sum.0 += 1;
                sum.1 += figures[0];
                sum.2 += figures[1];
                sum.3 += figures[2];
                if number % 97 == 96 {
                    closed.add(packer.finish());
                }
            }
            closed.add(packer.finish());
            prop_assert_eq!(closed.sum.calls, calls.len() as i64);
            prop_assert_eq!(read_all(&closed), expected);
        }
    }

    proptest! {
        #[test]
        fn cells_are_ordered_as_their_numbers_are(
            bits in proptest::collection::vec(any::<u64>(), FEW..FEW + 300), same in any::<u64>(), few in any::<bool>(),
        ) {
            let bits = if few { &bits[..FEW / 2] } else { &bits[..] };
            let cell = |(serial, bits): (usize, &u64)| (bits & !same) >> SERIAL_BITS << SERIAL_BITS | serial as u64;
            let mut order: Vec<u64> = bits.iter().enumerate().map(cell).collect();
            let mut expected = order.clone();
            expected.sort_unstable();
            sort(&mut order, &mut Vec::new());
            prop_assert_eq!(order, expected);
        }
    }

    #[test]
    fn more_parties_than_an_order_can_tell_apart_begin_another_piece() {
        let mut packer = Packer::default();
        for name in 1..=70_000 {
            packer.add(&share(1, 0, [name, 0, 0], [1, 0, 0]));
        }
        let closed = packer.finish();
        assert_eq!((closed.days.len(), read_all(&closed).len()), (2, 70_000));
    }

    #[test]
    fn old_calls_take_few_bytes() {
        let mut packer = Packer::default();
        for call in 0..1_000_000_i64 {
            packer.add(&share(call / 50, (call % 21) as usize, [call as u64 % 3, 0, call as u64 % 180], [1, 60, 9]));
        }
        let size = packer.finish().size();
        assert!(size < 8_000_000, "{size}");
    }
}
