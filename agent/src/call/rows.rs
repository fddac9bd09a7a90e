//! The rows of a call by their names, so that a row read twice is known.

use std::num::NonZeroU64;

/// A set of row names, in order.
///
/// Most calls are one row: such a set needs no memory beside itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rows {
    /// The only name; none where there is none, or more than one.
    only: Option<NonZeroU64>,
    /// All of them, where there are more than one.
    #[expect(clippy::box_collection, reason = "it is one word where there is nothing, which is nearly always")]
    many: Option<Box<Vec<NonZeroU64>>>,
}

impl Rows {
    /// Adds a name; says whether it is new.
    pub fn add(&mut self, row: NonZeroU64) -> bool {
        if let Some(many) = &mut self.many {
            return match many.binary_search(&row) {
                Ok(_) => false,
                Err(place) => {
                    many.insert(place, row);
                    true
                }
            };
        }
        match self.only {
            Some(only) if only == row => false,
            Some(only) => {
                let mut both = vec![only, row];
                both.sort_unstable();
                *self = Self { only: None, many: Some(Box::new(both)) };
                true
            }
            None => {
                self.only = Some(row);
                true
            }
        }
    }

    /// Adds all names of another set; says how many are not new.
    pub fn add_all(&mut self, other: &Self) -> u64 {
        other.iter().map(|row| u64::from(!self.add(row))).sum()
    }

    /// The names, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = NonZeroU64> {
        match (&self.many, &self.only) {
            (Some(many), _) => many.as_slice(),
            (None, Some(only)) => std::slice::from_ref(only),
            (None, None) => &[],
        }
        .iter()
        .copied()
    }

    /// How many there are.
    pub fn len(&self) -> u64 {
        self.iter().len() as u64
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stand_once_and_in_order() {
        let name = |number| NonZeroU64::new(number).unwrap();
        let mut rows = Rows::default();
        assert!(rows.is_empty());
        for (number, is_new) in [(5, true), (5, false), (3, true), (9, true), (3, false)] {
            assert_eq!(rows.add(name(number)), is_new, "{number}");
        }
        assert_eq!(rows.iter().map(NonZeroU64::get).collect::<Vec<_>>(), [3, 5, 9]);
        let mut others = Rows::default();
        others.add(name(9));
        assert_eq!((others.add_all(&rows), others.len()), (1, 3));
        assert_eq!(others, rows);
    }
}
