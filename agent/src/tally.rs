//! The calls of a report window, counted: all that the gate ever sees of them.

use std::collections::BTreeMap;

use demarc_proto::{
    Cell, Window,
    report::{Destination, Quality, TALK_BOUNDS, WAIT_BOUNDS},
};

/// Everything that a report may tell apart about a call. Calls with equal keys are interchangeable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TallyKey {
    /// Hour slot inside the window ([`Window::hour_of`]).
    pub hour: u16,
    /// Direction and outcome.
    pub cell: Cell,
    /// Place in [`TALK_BOUNDS`].
    pub talk: u8,
    /// Place in [`WAIT_BOUNDS`].
    pub wait: u8,
    /// Class of destination.
    pub destination: Destination,
    /// Band of quality.
    pub quality: Quality,
}

/// The calls of one window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tally {
    /// The window.
    pub window: Window,
    /// How many calls have each key; no count is 0.
    pub calls: BTreeMap<TallyKey, u32>,
    /// The most calls that were up at the same time.
    pub peak_concurrency: u32,
}

impl Tally {
    /// How many calls there are in all.
    pub fn total(&self) -> u64 {
        self.calls.values().map(|&calls| u64::from(calls)).sum()
    }
}

/// The bucket of [`TALK_BOUNDS`] that a talk time falls in.
pub fn talk_bucket(seconds: u64) -> u8 {
    bucket(&TALK_BOUNDS, seconds)
}

/// The bucket of [`WAIT_BOUNDS`] that a waiting time falls in.
#[inline]
pub fn wait_bucket(seconds: u64) -> u8 {
    bucket(&WAIT_BOUNDS, seconds)
}

#[inline]
fn bucket<const N: usize>(bounds: &[u32; N], seconds: u64) -> u8 {
    // The tables have fewer than ten bounds, the first of them 0: to look at all of them is faster than to search.
    bounds[1..].iter().map(|&bound| u8::from(u64::from(bound) <= seconds)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_begin_at_their_bounds() {
        assert_eq!((talk_bucket(0), talk_bucket(9), talk_bucket(10), talk_bucket(u64::MAX)), (0, 0, 1, 7));
        assert_eq!((wait_bucket(4), wait_bucket(5), wait_bucket(120)), (0, 1, 6));
    }
}
