//! Which of the found sources to read, and what the settings would say.

use std::fmt::Write;

use super::{Finding, Rank, State};
use crate::settings::Source;

/// What the settings should say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recommendation {
    /// Why, in words.
    pub words: Vec<String>,
    /// The sources, the one that counts first.
    pub sources: Vec<Source>,
}

/// Says of each source which other one tells of the same calls.
pub(super) fn mark_doubles(found: &mut [Finding]) {
    let tells = |finding: &Finding| {
        finding.rank <= Rank::Live && finding.source.is_some() && !matches!(finding.state, State::Off | State::Missing)
    };
    let best = best(found).map(|finding| finding.name.clone());
    for finding in found.iter_mut().filter(|finding| tells(finding)) {
        if let Some(best) = best.as_ref().filter(|best| **best != finding.name) {
            finding.words.push(format!(
                "tells of the same calls as {best}: as a further source it is a witness and counts nothing twice"
            ));
        }
    }
}

/// The source whose rows should count.
fn best(found: &[Finding]) -> Option<&Finding> {
    let usable =
        |finding: &&Finding| finding.source.is_some() && finding.rank <= Rank::Good && hope(finding.state).is_some();
    let usable = found.iter().filter(usable);
    usable.min_by_key(|finding| (hope(finding.state), is_other_pbx(finding), finding.rank, order(finding)))
}

/// How sure it is that rows will come from there, the least number first; none where they will not. A phone system that is
/// new has written nothing yet, and one that was closed for some weeks nothing of late.
fn hope(state: State) -> Option<u8> {
    match state {
        State::Fresh | State::Server | State::Empty => Some(0),
        State::Stale => Some(1),
        State::Missing => Some(2),
        State::Unreadable | State::Off => None,
    }
}

/// What tells of the calls of a FreePBX best is its database, of a FusionPBX likewise; of a bare Asterisk it is Master.csv.
fn order(finding: &Finding) -> u8 {
    match finding.source {
        Some(Source::FreepbxDb { .. } | Source::FusionpbxDb { .. }) => 0,
        Some(Source::AsteriskCsv { .. }) => 1,
        Some(Source::CdrCustom { .. } | Source::FreeswitchCsv { .. }) => 2,
        _ => 3,
    }
}

/// FreeSWITCH comes after Asterisk on a machine that has both, unless it is a FusionPBX.
fn is_other_pbx(finding: &Finding) -> bool {
    matches!(finding.source, Some(Source::FreeswitchCsv { .. } | Source::FreeswitchJson { .. }))
}

/// Chooses: the best source counts, the manager interface is its witness and tells what goes on, a second file that is
/// fresh is another witness where the first is a server, and the queue log tells of queues.
pub fn recommend(found: &[Finding]) -> Recommendation {
    let mut recommendation = Recommendation::default();
    let Some(best) = best(found) else {
        recommendation.words.push("No source of call records was found that could be used.".to_owned());
        return recommendation;
    };
    // Of one alone there is nothing to say.
    if found.iter().filter(|finding| finding.source.is_some()).count() > 1 {
        recommendation.words.push(format!("{} knows most: it should come first.", best.name));
    }
    let first = best.source.clone();
    let is_server = best.state == State::Server;
    recommendation.sources.extend(first);
    let witness = found.iter().find(|finding| {
        is_server && finding.name != best.name && finding.state == State::Fresh && finding.rank <= Rank::Good
    });
    let live = found.iter().find(|finding| finding.rank == Rank::Live && finding.source.is_some());
    let queues = found.iter().find(|finding| finding.rank == Rank::Queues && finding.state != State::Unreadable);
    for finding in [witness, live, queues].into_iter().flatten() {
        recommendation.sources.extend(finding.source.clone());
    }
    recommendation
}

impl Recommendation {
    /// As it would stand in the config file.
    pub fn to_toml(&self) -> String {
        let mut text = String::new();
        for source in &self.sources {
            // A source is plain data; what it cannot say is left for the owner to see in the words.
            if let Ok(body) = toml::to_string(source) {
                let _ = writeln!(text, "[[pbx.source]]\n{body}");
            }
        }
        text
    }
}
