//! Stretches of time, kept apart: their union is what a call's talk time is.

/// The union of half-open stretches `[from, to)`, in order, none touching the next.
///
/// Nearly every call has one stretch or none. Such a union needs no memory beside itself, which is what lets an import
/// keep a hundred thousand calls open.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spans {
    /// The only stretch; without length where there is none, or more than one.
    only: (i64, i64),
    /// All of them, where there are more than one.
    #[expect(clippy::box_collection, reason = "it is one word where there is nothing, which is nearly always")]
    many: Option<Box<Vec<(i64, i64)>>>,
}

impl Spans {
    /// Adds one stretch; one without length adds nothing.
    pub fn add(&mut self, from: i64, to: i64) {
        if to <= from {
            return;
        }
        if let Some(many) = &mut self.many {
            insert(many, from, to);
            if let [only] = many[..] {
                *self = Self { only, many: None };
            }
            return;
        }
        let (first, last) = self.only;
        if first == last {
            self.only = (from, to);
        } else if from <= last && first <= to {
            self.only = (first.min(from), last.max(to));
        } else {
            let mut both = [(first, last), (from, to)];
            both.sort_unstable();
            *self = Self { only: (0, 0), many: Some(Box::new(both.to_vec())) };
        }
    }

    /// Adds all of another union.
    pub fn add_all(&mut self, other: &Self) {
        other.iter().for_each(|(from, to)| self.add(from, to));
    }

    /// How many seconds they cover.
    pub fn seconds(&self) -> u64 {
        self.iter().fold(0, |sum: u64, (from, to)| sum.saturating_add(to.abs_diff(from)))
    }

    /// The stretches, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (i64, i64)> {
        let stretches = match &self.many {
            Some(many) => many.as_slice(),
            None if self.only.0 == self.only.1 => &[],
            None => std::slice::from_ref(&self.only),
        };
        stretches.iter().copied()
    }
}

/// Everything from the first stretch that reaches `from` to the last that begins by `to` becomes one.
fn insert(stretches: &mut Vec<(i64, i64)>, from: i64, to: i64) {
    let first = stretches.partition_point(|&(_, end)| end < from);
    let last = stretches.partition_point(|&(start, _)| start <= to);
    if first == last {
        stretches.insert(first, (from, to));
    } else {
        let joined = (from.min(stretches[first].0), to.max(stretches[last - 1].1));
        stretches.splice(first..last, [joined]);
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
        let mut same = Spans::default();
        same.add(5, 60);
        assert_eq!(spans, same, "one stretch is the same however it came to be");
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
