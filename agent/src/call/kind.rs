//! What rollups tell apart about a call beside its parties: how long its caller waited, and whether it went abroad.

use demarc_proto::report::WAIT_BOUNDS;

use crate::tally::wait_bucket;

/// How many numbers of waiting times there is room for.
const WAITS: u8 = 8;

const _: () = assert!(WAIT_BOUNDS.len() <= WAITS as usize);

/// How long the caller waited, in the groups of reports, and whether the call went abroad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Kind(u8);

impl Kind {
    /// No index is as high.
    pub const COUNT: usize = 2 * WAITS as usize;

    /// The kind of a call.
    #[inline]
    pub fn of(wait_seconds: u64, is_abroad: bool) -> Self {
        Self(wait_bucket(wait_seconds) + u8::from(is_abroad) * WAITS)
    }

    /// The kind with that number.
    pub fn from_index(index: usize) -> Option<Self> {
        let kind = Self(u8::try_from(index).ok().filter(|index| *index < 2 * WAITS)?);
        (kind.wait() < WAIT_BOUNDS.len()).then_some(kind)
    }

    /// Its number.
    #[inline]
    pub fn index(self) -> usize {
        // It is as low as that; the compiler need not look again.
        usize::from(self.0) % Self::COUNT
    }

    /// The waiting time's place in [`WAIT_BOUNDS`].
    pub fn wait(self) -> usize {
        usize::from(self.0 % WAITS)
    }

    /// Whether the call went abroad.
    pub fn is_abroad(self) -> bool {
        self.0 >= WAITS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_stands_for_one_kind() {
        for index in 0..Kind::COUNT + 2 {
            let kind = Kind::from_index(index);
            assert_eq!(kind.is_some(), index < Kind::COUNT && index % 8 < WAIT_BOUNDS.len());
            assert!(kind.is_none_or(|kind| kind.index() == index));
        }
        let kind = Kind::of(31, true);
        assert_eq!((kind.wait(), kind.is_abroad()), (4, true));
        let kind = Kind::of(4, false);
        assert_eq!((kind.wait(), kind.is_abroad()), (0, false));
    }
}
