//! Names of calls and rows as hashes, so that the store keeps no identifier of the PBX's.

use std::{
    hash::{Hash, Hasher},
    num::NonZeroU64,
};

use super::hash::{hash, with_number};
use crate::pbx::{column::eight_digits, leg::Leg};

/// Names a call. It begins with the second that stands in the PBX's own id, so that calls of one time lie side by
/// side in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CallKey([u8; 16]);

/// The last eight bytes are a hash already.
impl Hash for CallKey {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(CallKey::hash(self));
    }
}

impl CallKey {
    /// The call that a leg belongs to; none where the row has no id: such a row is a call of its own.
    ///
    /// A `linkedid` is the `uniqueid` of the call's first channel. The two share one name space, so that a call is
    /// not torn apart when its file changes layout while it is up.
    pub fn of(leg: &Leg<'_>) -> Option<Self> {
        Ids::of(leg).call
    }

    /// The call of that `linkedid`.
    pub fn of_linkedid(id: &[u8]) -> Self {
        Self::new(id, hash(id))
    }

    #[inline(always)]
    fn new(id: &[u8], [left, right]: [u64; 2]) -> Self {
        let left = match creation_second(id) {
            Some(second) => left >> 32 << 32 | u64::from(second.swap_bytes()),
            None => left,
        };
        let mut key = [0; 16];
        key[..8].copy_from_slice(&left.to_le_bytes());
        key[8..].copy_from_slice(&right.to_le_bytes());
        Self(key)
    }

    /// A key for a call that is a row of its own, by a number that was never used before.
    pub(crate) fn of_single(number: u64) -> Self {
        let mut key = [0xff; 16];
        key[8..].copy_from_slice(&number.to_be_bytes());
        Self(key)
    }

    /// Whether [`CallKey::of_single`] made this key: no other leg can ever belong to that call.
    pub(crate) fn is_single(self) -> bool {
        self.0[..8] == [0xff; 8]
    }

    /// The second that the key begins with: that in which the call began, where the id tells it.
    #[inline]
    pub(crate) fn second(&self) -> u32 {
        self.0.first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes))
    }

    /// A part of the key that is a hash of all of it.
    #[inline(always)]
    pub(crate) fn hash(&self) -> u64 {
        self.0.last_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }
}

/// The names of a leg's call and of its row.
#[derive(Clone, Copy)]
pub(crate) struct Ids {
    /// None where the row has no id.
    pub(crate) call: Option<CallKey>,
    /// The row inside its call, where it has a `uniqueid` and a `sequence`: two rows of the same name are one row that
    /// was read twice.
    pub(crate) row: Option<NonZeroU64>,
    /// Whether the row's channel is the one that the call is named for.
    pub(crate) begins: bool,
}

impl Ids {
    #[inline(always)]
    pub(crate) fn of<T>(leg: &Leg<'_, T>) -> Self {
        let (uniqueid, linkedid) = (present(leg.uniqueid), present(leg.linkedid));
        let begins = linkedid.is_none_or(|linkedid| uniqueid.is_some_and(|uniqueid| same(linkedid, uniqueid)));
        let own = uniqueid.map(hash);
        let call = match linkedid {
            Some(id) if !begins => Some(CallKey::new(id, hash(id))),
            _ => uniqueid.zip(own).map(|(id, own)| CallKey::new(id, own)),
        };
        let row = own
            .zip(leg.sequence)
            .map(|(own, sequence)| NonZeroU64::new(with_number(own, sequence)).unwrap_or(NonZeroU64::MIN));
        Self { call, row, begins }
    }
}

/// Whether two ids are one. Most are of a length at which their first and last bytes are all of them.
#[inline(always)]
fn same(left: &[u8], right: &[u8]) -> bool {
    let ends = |id: &[u8]| {
        id.first_chunk::<8>()
            .zip(id.last_chunk::<16>())
            .map(|(first, last)| (u64::from_ne_bytes(*first), u128::from_ne_bytes(*last)))
    };
    left.len() == right.len()
        && match (left.len(), ends(left), ends(right)) {
            (..=24, Some(left), Some(right)) => left == right,
            _ => left == right,
        }
}

/// A text as a number that is the same in every process and order of arrival.
pub(crate) fn text_hash(text: &[u8]) -> u64 {
    let [left, right] = hash(text);
    left ^ right
}

#[inline(always)]
pub(crate) fn present(id: Option<&[u8]>) -> Option<&[u8]> {
    id.filter(|id| !id.is_empty())
}

/// The `1795311318` of `hq-pbx-01-1795311318.12`.
#[inline(always)]
fn creation_second(id: &[u8]) -> Option<u32> {
    // Ten digits, a dot, up to eight bytes of which none is a further one: nearly all ids are so.
    let plain = || {
        let (front, [b'.', serial @ ..]) = id.split_first_chunk::<10>()? else { return None };
        let (first, [tens, ones]) = front.split_first_chunk::<8>()? else { return None };
        let [tens, ones] = [tens, ones].map(|byte| u64::from(byte.wrapping_sub(b'0')));
        let first = eight_digits(u64::from_le_bytes(*first), 0)?;
        let last = u64::from_le_bytes(*id.last_chunk()?) ^ DOTS;
        // A byte that is zero now was a dot; those before the serial number do not count.
        let blank = 64_u32.checked_sub(8 * serial.len() as u32)?;
        let others = if blank < 64 { last >> blank } else { last };
        let within = u64::MAX.checked_shr(blank).unwrap_or(0) & (0x80 * ONES);
        let no_dot = others.wrapping_sub(ONES) & !others & within == 0;
        (tens <= 9 && ones <= 9 && no_dot).then(|| u64::from(first) * 100 + tens * 10 + ones)
    };
    match plain() {
        Some(second) => believed(second),
        None => any_creation_second(id),
    }
}

const ONES: u64 = 0x0101_0101_0101_0101;
const DOTS: u64 = ONES * b'.' as u64;

/// The highest value is kept for single rows.
#[inline(always)]
fn believed(second: u64) -> Option<u32> {
    u32::try_from(second).ok().filter(|&second| second != u32::MAX)
}

#[cold]
fn any_creation_second(id: &[u8]) -> Option<u32> {
    let id = &id[..memchr::memrchr(b'.', id)?];
    let digits = id.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    // Ten digits at most, so that the sum cannot leave 64 bits.
    let digits = id.get(id.len() - digits..).filter(|digits| (1..=10).contains(&digits.len()))?;
    believed(digits.iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_begin_with_the_second_that_the_call_began() {
        assert_eq!(creation_second(b"1795309295.1176"), Some(1_795_309_295));
        assert_eq!(creation_second(b"hq-pbx-01-1795311318.12"), Some(1_795_311_318));
        assert_eq!(creation_second(b"no second"), None);
        assert_eq!(creation_second(b".5"), None);
        assert_eq!(creation_second(b"99999999999.5"), None);
        assert_eq!(creation_second(b"4294967295.1"), None);
        assert_eq!(creation_second(b"9999999999.1"), None);
        for id in [
            "1795309295.1176",
            "1795309295.",
            "1795309295.1.2",
            "179530929x.1176",
            "4294967294.5",
            "795309295.17",
            "1795309295.12345678",
            "1795309295.1234567.",
            "1795309295.123456789.2",
            "17953092 5.1",
            "1795309295..",
            "1795309295..",
        ] {
            assert_eq!(creation_second(id.as_bytes()), any_creation_second(id.as_bytes()), "{id}");
        }
    }

    #[test]
    fn a_single_row_is_known_by_its_key() {
        assert!(CallKey::of_single(7).is_single());
        assert_ne!(CallKey::of_single(7), CallKey::of_single(8));
    }
}
