//! The rows of a call by their names, so that a row read twice is known.

use std::num::NonZeroU64;

/// So many names need no memory beside the set: most calls have one row, many two, a ring group some more.
const FEW: usize = 3;

/// A set of row names, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rows {
    /// The names where they are few, in order, none behind them.
    few: [Option<NonZeroU64>; FEW],
    /// All of them, where they are more.
    #[expect(clippy::box_collection, reason = "it is one word where there is nothing, which is nearly always")]
    many: Option<Box<Vec<NonZeroU64>>>,
}

impl Rows {
    /// Adds a name; says whether it is new.
    #[inline]
    pub fn add(&mut self, row: NonZeroU64) -> bool {
        if self.few[0].is_none() && self.many.is_none() {
            self.few[0] = Some(row);
            return true;
        }
        self.add_further(row)
    }

    fn add_further(&mut self, row: NonZeroU64) -> bool {
        if let Some(many) = &mut self.many {
            let place = many.binary_search(&row);
            if let Err(place) = place {
                many.insert(place, row);
            }
            return place.is_err();
        }
        let count = self.few.iter().flatten().count();
        let place = self.few.iter().flatten().filter(|&&other| other < row).count();
        if self.few.get(place) == Some(&Some(row)) {
            return false;
        }
        if count == FEW {
            let mut many: Vec<_> = self.few.iter().flatten().copied().collect();
            many.insert(place, row);
            *self = Self { few: [None; FEW], many: Some(Box::new(many)) };
            return true;
        }
        self.few[place..=count].rotate_right(1);
        self.few[place] = Some(row);
        true
    }

    /// Adds all names of another set; says how many are not new.
    pub fn add_all(&mut self, other: &Self) -> u64 {
        other.iter().map(|row| u64::from(!self.add(row))).sum()
    }

    /// The names, in order.
    pub fn iter(&self) -> impl Iterator<Item = NonZeroU64> {
        self.few.iter().flatten().chain(self.many.iter().flat_map(|many| many.iter())).copied()
    }

    /// How many there are.
    #[inline]
    pub fn len(&self) -> u64 {
        match &self.many {
            Some(many) => many.len() as u64,
            None => self.few.iter().flatten().count() as u64,
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn names_stand_once_and_in_order(names in prop::collection::vec(1_u64..9, 0..10), others in prop::collection::vec(1_u64..9, 0..10)) {
            let name = |&number: &u64| NonZeroU64::new(number).unwrap();
            let (mut rows, mut expected) = (Rows::default(), BTreeSet::new());
            for number in &names {
                prop_assert_eq!(rows.add(name(number)), expected.insert(*number));
                prop_assert_eq!(rows.len(), expected.len() as u64);
                prop_assert!(rows.iter().map(NonZeroU64::get).eq(expected.iter().copied()));
            }
            let mut more = Rows::default();
            others.iter().for_each(|number| _ = more.add(name(number)));
            let known = more.iter().filter(|row| expected.contains(&row.get())).count();
            prop_assert_eq!(rows.clone().add_all(&more), known as u64);
            // A set is the same however it came to be.
            let (mut left, mut right) = (rows.clone(), more.clone());
            left.add_all(&more);
            right.add_all(&rows);
            prop_assert_eq!(left, right);
        }
    }
}
