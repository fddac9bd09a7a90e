//! Who is on a channel: a trunk, a telephone, or nobody outside of the PBX.

use super::{
    channel::Channel,
    name::{NameId, Names},
    rules::CallRules,
};

/// Who is on a channel, by the channel's name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Party {
    pub(super) place: PartyPlace,
    /// Of the trunk or the telephone.
    pub(super) name: NameId,
}

/// What kind of place a channel leads to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum PartyPlace {
    /// There is no channel, or it is half of one inside the PBX: no telephone.
    #[default]
    Nowhere,
    Telephone,
    Trunk,
}

/// So many parties of late are known without a look at the rules.
const RECENT: usize = 2048;

/// Parties of late by the names of their channels, each at the place that a hash of the name says.
pub(crate) struct Parties(Box<[Known; RECENT]>);

#[derive(Clone, Copy, Default)]
struct Known {
    text: Short,
    party: Party,
}

/// All of a text of 8 to 24 bytes: its first eight, the eight behind them, or its last if they begin earlier, and its
/// last, all of which may overlap; and its length.
#[derive(Clone, Copy, Default)]
struct Short {
    words: [u64; 3],
    length: u64,
}

impl Party {
    /// Who is on the channel of that name. The party's name is noted.
    pub(crate) fn of(channel: &[u8], rules: &CallRules, names: &mut Names) -> Self {
        match Channel::parse(channel).filter(|channel| !channel.is_local()) {
            None => Self::default(),
            Some(channel) => match rules.trunk(channel) {
                Some(trunk) => Self { place: PartyPlace::Trunk, name: names.note_trunk(trunk) },
                None => Self { place: PartyPlace::Telephone, name: names.note(channel.device) },
            },
        }
    }
}

impl Default for Parties {
    fn default() -> Self {
        Self(Box::new([Known::default(); RECENT]))
    }
}

impl Parties {
    /// The same as [`Party::of`], as long as the rules are the same and nobody forgets names that were noted.
    #[inline(always)]
    pub(crate) fn of(&mut self, channel: &[u8], rules: &CallRules, names: &mut Names) -> Party {
        if channel.is_empty() {
            return Party::default();
        }
        let Some(text) = Channel::plain_front(channel).and_then(Short::of) else {
            return Party::of(channel, rules, names);
        };
        let known = &mut self.0[text.place()];
        if !known.text.is(&text) {
            *known = Known { text, party: Party::of(channel, rules, names) };
        }
        known.party
    }
}

impl Short {
    #[inline(always)]
    fn of(text: &[u8]) -> Option<Self> {
        let word = |at: usize| Some(u64::from_le_bytes(*text.get(at..)?.first_chunk()?));
        let last = text.len().checked_sub(8).filter(|last| *last <= 16)?;
        Some(Self { words: [word(0)?, word(last.min(8))?, word(last)?], length: text.len() as u64 })
    }

    /// Whether both are one text. Word by word: none of them has to be put into memory for it.
    #[inline(always)]
    fn is(&self, other: &Self) -> bool {
        let differ = |at: usize| self.words[at] ^ other.words[at];
        differ(0) | differ(1) | differ(2) | self.length ^ other.length == 0
    }

    #[inline(always)]
    fn place(&self) -> usize {
        let [first, middle, last] = self.words;
        let mixed = (first ^ middle.rotate_left(24) ^ last.rotate_left(47)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed >> 32) as usize % RECENT
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::settings::Pbx;

    proptest! {
        #[test]
        fn parties_of_late_are_who_they_are(channels in prop::collection::vec(
            ("(PJSIP|SIP|Local|IAX2|Parked/SIP|)", "/?[a-c0-2-]{0,3}(trunk|a-name-that-is-longer)?", "(-[0-9a-fg]{8})?", "(;1|<ZOMBIE>)?"),
            1..200,
        )) {
            let trunks = ["trunk", "PJSIP/1trunk", "a-name-that-is-longer"].map(String::from).to_vec();
            let rules = CallRules::new(&Pbx { trunks, ..Pbx::default() });
            let (mut parties, mut names, mut expected) = (Parties::default(), Names::default(), Names::default());
            for (technology, device, counter, mark) in channels {
                let channel = format!("{technology}{device}{counter}{mark}");
                let party = parties.of(channel.as_bytes(), &rules, &mut names);
                prop_assert_eq!(party, Party::of(channel.as_bytes(), &rules, &mut expected), "{}", channel);
                prop_assert_eq!(names.text(party.name), expected.text(party.name));
            }
            prop_assert_eq!(names.len(), expected.len());
        }
    }
}
