//! Calls by how they ended, as the parts of bars.

use demarc_proto::Outcome;

use super::Series;
use crate::figures::Amounts;

/// The parts of a bar, from the bottom up: outcomes as a person who called would tell them.
pub(crate) fn outcomes<'a>(places: impl Iterator<Item = &'a Amounts> + Clone) -> Vec<Series> {
    let part = |name, class, outcomes: &[Outcome]| Series {
        name,
        class,
        values: places.clone().map(|amounts| outcomes.iter().map(|outcome| amounts.ended(*outcome)).sum()).collect(),
    };
    vec![
        part("answered", "answered", &[Outcome::Answered]),
        part("voicemail", "voicemail", &[Outcome::Voicemail]),
        part("menu or announcement", "system", &[Outcome::System]),
        part("nobody answered", "missed", &[Outcome::Abandoned, Outcome::NoAnswer]),
        part("busy or failed", "failed", &[Outcome::Busy, Outcome::Failed]),
    ]
}
