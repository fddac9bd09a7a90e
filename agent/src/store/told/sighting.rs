//! How often rows of one identity were told of, or counted.

use std::num::NonZeroU64;

use crate::call::rows::Rows;

/// What one source has told of rows of one identity, or what was counted of them.
///
/// Rows that have a name (see [`crate::call::key`]) are known by it. The others are known by their number only.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Sighting {
    pub(super) nameless: u64,
    pub(super) names: Rows,
}

/// What a telling is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Telling {
    /// The source has told of this very row before.
    Again,
    /// The row was counted.
    Known,
    /// The row is new: it is the n-th of this source that was not counted by its name.
    New(u64),
}

impl Sighting {
    /// Takes in a row that the source tells of; says what that is beside what was counted.
    pub(super) fn tell(&mut self, row: Option<NonZeroU64>, counted: &Self) -> Telling {
        match row {
            Some(name) if !self.names.add(name) => return Telling::Again,
            Some(_) => {}
            None => self.nameless += 1,
        }
        // Rows that were counted by their names stand for themselves. All others of this source want one each of what is left.
        let ordinal = self.nameless + self.names.len() - self.counted_by_name(counted);
        if self.is_new(row, ordinal, counted) { Telling::New(ordinal) } else { Telling::Known }
    }

    /// Whether a row of that number, of which this source has told, is none of those that were counted.
    pub(super) fn is_new(&self, row: Option<NonZeroU64>, ordinal: u64, counted: &Self) -> bool {
        match row {
            Some(name) => !counted.has(name) && ordinal > counted.nameless,
            None => ordinal > counted.nameless + counted.names.len() - self.counted_by_name(counted),
        }
    }

    fn counted_by_name(&self, counted: &Self) -> u64 {
        self.names.iter().filter(|&name| counted.has(name)).count() as u64
    }

    /// Counts a row.
    pub(super) fn count(&mut self, row: Option<NonZeroU64>) {
        match row {
            Some(name) => drop(self.names.add(name)),
            None => self.nameless += 1,
        }
    }

    fn has(&self, name: NonZeroU64) -> bool {
        self.names.iter().any(|other| other == name)
    }

    /// The names as the store keeps them: eight bytes each.
    pub(super) fn names_to_bytes(&self) -> Vec<u8> {
        self.names.iter().flat_map(|name| name.get().to_le_bytes()).collect()
    }

    /// What the store keeps.
    pub(super) fn of_store(nameless: u64, names: &[u8]) -> Self {
        let mut rows = Rows::default();
        for name in names.as_chunks().0.iter().filter_map(|bytes| NonZeroU64::new(u64::from_le_bytes(*bytes))) {
            rows.add(name);
        }
        Self { nameless, names: rows }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const X: Option<NonZeroU64> = NonZeroU64::new(9);
    const Y: Option<NonZeroU64> = NonZeroU64::new(4);

    #[test]
    fn rows_that_look_alike_are_told_apart_by_their_names() {
        let (mut counted, mut first, mut witness) = (Sighting::default(), Sighting::default(), Sighting::default());
        assert_eq!(first.tell(X, &counted), Telling::New(1));
        counted.count(X);
        // The other of the two comes first here, and is not taken for the one that was counted.
        assert_eq!(witness.tell(Y, &counted), Telling::New(1));
        assert_eq!(witness.tell(X, &counted), Telling::Known);
        assert!(witness.is_new(Y, 1, &counted));
        assert_eq!(witness.tell(Y, &counted), Telling::Again);
    }

    #[test]
    fn rows_without_a_name_stand_for_as_many_with_one() {
        let (mut counted, mut live, mut file) = (Sighting::default(), Sighting::default(), Sighting::default());
        assert_eq!(live.tell(None, &counted), Telling::New(1));
        counted.count(None);
        assert_eq!(file.tell(X, &counted), Telling::Known);
        assert_eq!(file.tell(Y, &counted), Telling::New(2));
        counted.count(Y);
        assert_eq!(live.tell(None, &counted), Telling::Known);
        assert_eq!(live.tell(None, &counted), Telling::New(3));
        assert!(!live.is_new(None, 2, &counted) && live.is_new(None, 3, &counted));
    }

    #[test]
    fn a_file_that_changes_its_layout_tells_of_each_row_once() {
        let (mut counted, mut file) = (Sighting::default(), Sighting::default());
        for row in [None, None, X, Y, None] {
            assert!(matches!(file.tell(row, &counted), Telling::New(_)), "{row:?}");
            counted.count(row);
        }
        let mut other = Sighting::default();
        for row in [Y, None, None, X, None] {
            assert_eq!(other.tell(row, &counted), Telling::Known, "{row:?}");
        }
        assert!(matches!(other.tell(None, &counted), Telling::New(_)));
    }

    #[test]
    fn the_store_gives_back_what_it_got() {
        let mut sighting = Sighting::default();
        [X, None, Y].into_iter().for_each(|row| sighting.count(row));
        assert_eq!(Sighting::of_store(1, &sighting.names_to_bytes()), sighting);
    }
}
