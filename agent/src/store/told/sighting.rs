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
    /// The row may be new: it is the n-th of this source that was not counted by its name.
    New(u64),
}

impl Sighting {
    /// Takes in a row that the source tells of; says what that is beside what was counted.
    pub(super) fn tell(&mut self, row: Option<NonZeroU64>, counted: &Self) -> Telling {
        let Some(name) = row else {
            self.nameless += 1;
            let known = self.nameless <= counted.nameless + counted.names.len();
            return if known { Telling::Known } else { Telling::New(self.nameless) };
        };
        if !self.names.add(name) {
            return Telling::Again;
        }
        if counted.has(name) {
            return Telling::Known;
        }
        let ordinal = self.names.iter().filter(|&name| !counted.has(name)).count() as u64;
        // Of what was counted without a name, this source has told by other names already.
        if ordinal <= counted.nameless { Telling::Known } else { Telling::New(ordinal) }
    }

    /// Whether a row of that number, told of by some source, is none of those that were counted (which these are).
    pub(super) fn lacks(&self, row: Option<NonZeroU64>, ordinal: u64) -> bool {
        match row {
            Some(name) => !self.has(name) && ordinal > self.nameless,
            None => ordinal > self.nameless + self.names.len(),
        }
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
        assert!(counted.lacks(Y, 1));
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
        assert!(!counted.lacks(None, 2) && counted.lacks(None, 3));
    }

    #[test]
    fn the_store_gives_back_what_it_got() {
        let mut sighting = Sighting::default();
        [X, None, Y].into_iter().for_each(|row| sighting.count(row));
        assert_eq!(Sighting::of_store(1, &sighting.names_to_bytes()), sighting);
    }
}
