//! The closed words of call statistics: direction, outcome, and the fixed tree that orders them.

use serde::{Deserialize, Serialize};

/// Where a call came from and went to, as told by its trunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// Came in over a trunk (forwarded calls included).
    Inbound,
    /// Went out over a trunk.
    Outbound,
    /// Touched no trunk.
    Internal,
}

impl Direction {
    /// Every direction, in the order of the tree.
    pub const ALL: [Self; 3] = [Self::Inbound, Self::Outbound, Self::Internal];

    /// The word used in reports, on the command line and in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Inbound => "inbound",
            Self::Outbound => "outbound",
            Self::Internal => "internal",
        }
    }
}

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Somebody or something outside the PBX's own applications picked up.
    Answered,
    /// The caller reached a mailbox.
    Voicemail,
    /// Only the PBX answered: menu, announcement, conference, own mailbox.
    System,
    /// The caller left a queue.
    Abandoned,
    /// Nobody picked up.
    NoAnswer,
    /// The called party was busy.
    Busy,
    /// The call could not be set up.
    Failed,
}

impl Outcome {
    /// Every outcome, in the order of the tree.
    pub const ALL: [Self; 7] =
        [Self::Answered, Self::Voicemail, Self::System, Self::Abandoned, Self::NoAnswer, Self::Busy, Self::Failed];

    /// The word used in reports, on the command line and in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Voicemail => "voicemail",
            Self::System => "system",
            Self::Abandoned => "abandoned",
            Self::NoAnswer => "no_answer",
            Self::Busy => "busy",
            Self::Failed => "failed",
        }
    }
}

/// A direction with an outcome; its JSON form is `"inbound.answered"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cell {
    /// Where the call came from and went to.
    pub direction: Direction,
    /// How it ended.
    pub outcome: Outcome,
}

impl Cell {
    /// How many cells there are.
    pub const COUNT: usize = Direction::ALL.len() * Outcome::ALL.len();

    /// Every cell, in the order of the tree: by direction, then by outcome.
    pub fn all() -> impl Iterator<Item = Self> {
        Direction::ALL
            .into_iter()
            .flat_map(|direction| Outcome::ALL.into_iter().map(move |outcome| Self { direction, outcome }))
    }

    /// The place of this cell in [`Cell::all`], from 0 to [`Cell::COUNT`] - 1.
    pub fn index(self) -> usize {
        self.direction as usize * Outcome::ALL.len() + self.outcome as usize
    }

    /// The cell at that place, if there is one.
    pub fn from_index(index: usize) -> Option<Self> {
        let direction = *Direction::ALL.get(index / Outcome::ALL.len())?;
        let outcome = *Outcome::ALL.get(index % Outcome::ALL.len())?;
        Some(Self { direction, outcome })
    }

    /// Cells by their direction, in the order of the tree, for words about a group. A direction that is there with all its
    /// outcomes has none beside it: it is named alone.
    pub fn by_direction(cells: &[Self]) -> Vec<(Direction, Vec<Outcome>)> {
        let of = |direction| -> Vec<Outcome> {
            cells.iter().filter(|cell| cell.direction == direction).map(|cell| cell.outcome).collect()
        };
        let found = Direction::ALL.into_iter().map(|direction| (direction, of(direction)));
        let found = found.filter(|(_, outcomes)| !outcomes.is_empty());
        let whole = |outcomes: &Vec<Outcome>| outcomes.len() == Outcome::ALL.len();
        found.map(|(direction, outcomes)| (direction, if whole(&outcomes) { Vec::new() } else { outcomes })).collect()
    }

    /// Which branch of the fixed tree an outcome hangs on. Siblings share a branch: a person answered;
    /// a machine answered; nobody answered; nobody could be reached.
    pub fn branch(outcome: Outcome) -> usize {
        match outcome {
            Outcome::Answered => 0,
            Outcome::Voicemail | Outcome::System => 1,
            Outcome::Abandoned | Outcome::NoAnswer => 2,
            Outcome::Busy | Outcome::Failed => 3,
        }
    }
}

impl Serialize for Cell {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{}.{}", self.direction.as_str(), self.outcome.as_str()))
    }
}

impl<'de> Deserialize<'de> for Cell {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        Self::all()
            .find(|cell| {
                text.split_once('.').is_some_and(|(direction, outcome)| {
                    direction == cell.direction.as_str() && outcome == cell.outcome.as_str()
                })
            })
            .ok_or_else(|| serde::de::Error::custom("no such direction.outcome"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_direction_with_all_its_outcomes_is_named_alone() {
        let all: Vec<Cell> = Cell::all().collect();
        assert_eq!(Cell::by_direction(&all), Direction::ALL.map(|direction| (direction, Vec::new())));
        let some = [all[Outcome::ALL.len()], all[0], all[1]];
        assert_eq!(
            Cell::by_direction(&some),
            [
                (Direction::Inbound, vec![Outcome::Answered, Outcome::Voicemail]),
                (Direction::Outbound, vec![Outcome::Answered])
            ]
        );
        assert_eq!(Cell::by_direction(&[]), []);
    }

    #[test]
    fn index_is_the_place_in_all_and_json_goes_both_ways() {
        for (place, cell) in Cell::all().enumerate() {
            assert_eq!(cell.index(), place);
            assert_eq!(Cell::from_index(place), Some(cell));
            let json = serde_json::to_string(&cell).unwrap();
            assert_eq!(serde_json::from_str::<Cell>(&json).unwrap(), cell);
        }
        assert_eq!(Cell::from_index(Cell::COUNT), None);
        assert!(serde_json::from_str::<Cell>("\"inbound.5551234\"").is_err());
    }
}
