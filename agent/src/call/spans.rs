//! Stretches of time, kept apart: their union is what a call's talk time is.

/// The union of half-open stretches `[from, to)`, in order, none touching the next.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spans(Vec<(i64, i64)>);

impl Spans {
    /// Adds one stretch; one without length adds nothing.
    pub fn add(&mut self, from: i64, to: i64) {
        if to <= from {
            return;
        }
        // Everything from the first stretch that reaches `from` to the last that begins by `to` becomes one.
        let first = self.0.partition_point(|&(_, end)| end < from);
        let last = self.0.partition_point(|&(start, _)| start <= to);
        if first == last {
            // Most calls have one stretch: room for exactly one more keeps millions of them small.
            self.0.reserve_exact(1);
            self.0.insert(first, (from, to));
        } else {
            let joined = (from.min(self.0[first].0), to.max(self.0[last - 1].1));
            self.0.splice(first..last, [joined]);
        }
    }

    /// Adds all of another union.
    pub fn add_all(&mut self, other: &Self) {
        for &(from, to) in &other.0 {
            self.add(from, to);
        }
    }

    /// How many seconds they cover.
    pub fn seconds(&self) -> u64 {
        self.0.iter().fold(0, |sum: u64, &(from, to)| sum.saturating_add(to.abs_diff(from)))
    }

    /// The stretches, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (i64, i64)> {
        self.0.iter().copied()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn overlaps_count_once() {
        let mut spans = Spans::default();
        for (from, to) in [(10, 20), (30, 40), (15, 18), (20, 22), (50, 50), (60, 55)] {
            spans.add(from, to);
        }
        assert_eq!(spans.iter().collect::<Vec<_>>(), [(10, 22), (30, 40)]);
        assert_eq!(spans.seconds(), 22);
        spans.add(5, 60);
        assert_eq!(spans.seconds(), 55);
    }

    proptest! {
        #[test]
        fn the_union_is_that_of_the_seconds(stretches in prop::collection::vec((0_i64..60, 0_i64..60), 0..12)) {
            let mut spans = Spans::default();
            let mut seconds = std::collections::BTreeSet::new();
            for (from, to) in stretches {
                spans.add(from, to);
                seconds.extend(from..to);
            }
            prop_assert_eq!(spans.seconds(), seconds.len() as u64);
            let found: Vec<_> = spans.iter().collect();
            prop_assert!(found.windows(2).all(|pair| pair[0].1 < pair[1].0));
        }
    }
}
