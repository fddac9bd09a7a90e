//! What the owner has said about the phone system: which channels are trunks, which numbers lead abroad.

use demarc_proto::report::Destination;

use super::{channel::Channel, name::NameId};
use crate::settings::Pbx;

/// A line to the outside, as the phone system itself tells of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Line {
    /// The technology of its channels.
    pub technology: String,
    /// Their device.
    pub device: String,
    /// The name under which it is counted.
    pub name: String,
}

impl std::fmt::Debug for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Line")
    }
}

/// How to tell a trunk from an extension, and home from abroad.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallRules {
    trunks: Vec<TrunkRule>,
    /// Bit n is set where the device of a trunk has n bytes (or 64 more, and so on): most telephones are told from all
    /// trunks by that alone.
    lengths: u64,
    outside_line: Box<[u8]>,
    international: Vec<Box<[u8]>>,
}

/// A trunk.
#[derive(Clone, PartialEq, Eq)]
pub struct Trunk {
    /// As it stands in the settings: the name under which the trunk is counted.
    pub(super) name: Box<str>,
    pub(super) id: NameId,
}

#[derive(Clone, PartialEq, Eq)]
struct TrunkRule {
    trunk: Trunk,
    technology: Option<Box<[u8]>>,
    device: Box<[u8]>,
}

impl std::fmt::Debug for TrunkRule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TrunkRule")
    }
}

impl CallRules {
    /// The rules that the settings give.
    pub fn new(pbx: &Pbx) -> Self {
        Self::knowing(pbx, [])
    }

    /// The rules that the settings give, with the lines that the phone system has told of.
    pub fn knowing<'a>(pbx: &Pbx, lines: impl IntoIterator<Item = &'a Line>) -> Self {
        let named = pbx.trunks.iter().filter(|name| !name.trim().is_empty()).map(|name| TrunkRule::new(name.trim()));
        let mut trunks: Vec<_> = named.collect();
        for line in lines {
            let rule = TrunkRule::of(line);
            // The owner's own name for it comes first.
            if !trunks.iter().any(|other| other.covers(&rule)) {
                trunks.push(rule);
            }
        }
        // `PJSIP/provider1` says more than `provider1`, so it is asked first.
        trunks.sort_by_key(|rule| rule.technology.is_none());
        let international = pbx.international.iter().filter(|prefix| !prefix.is_empty());
        Self {
            lengths: trunks.iter().fold(0, |lengths, rule| lengths | length_bit(&rule.device)),
            trunks,
            outside_line: pbx.outside_line.as_bytes().into(),
            international: international.map(|prefix| prefix.as_bytes().into()).collect(),
        }
    }

    /// The trunk that a channel is on.
    #[inline]
    pub(super) fn trunk(&self, channel: Channel<'_>) -> Option<&Trunk> {
        if self.lengths & length_bit(channel.device) == 0 || channel.is_local() {
            return None;
        }
        self.trunks.iter().find(|rule| rule.holds(channel)).map(|rule| &rule.trunk)
    }

    /// Whether a channel, by its whole name, is on a trunk.
    pub fn is_on_trunk(&self, channel: &[u8]) -> bool {
        Channel::parse(channel).is_some_and(|channel| self.trunk(channel).is_some())
    }

    /// Where a number that was dialled to the outside leads.
    pub fn destination(&self, dialled: &[u8]) -> Destination {
        let number = without_prefix(dialled, &self.outside_line).unwrap_or(dialled);
        let abroad = self.international.iter().any(|prefix| without_prefix(number, prefix).is_some());
        if abroad { Destination::International } else { Destination::National }
    }
}

/// What stands behind a prefix. Most numbers are told by their first byte, which spares the call that compares texts.
#[inline]
fn without_prefix<'a>(number: &'a [u8], prefix: &[u8]) -> Option<&'a [u8]> {
    match prefix.first() {
        None => Some(number),
        Some(first) if number.first() == Some(first) => number.strip_prefix(prefix),
        Some(_) => None,
    }
}

fn length_bit(device: &[u8]) -> u64 {
    1 << (device.len() % 64)
}

impl TrunkRule {
    fn new(name: &str) -> Self {
        let trunk = Trunk { name: name.into(), id: NameId::of(name.as_bytes()) };
        match name.split_once('/') {
            Some((technology, device)) => {
                Self { trunk, technology: Some(technology.as_bytes().into()), device: device.as_bytes().into() }
            }
            None => Self { trunk, technology: None, device: name.as_bytes().into() },
        }
    }

    fn of(line: &Line) -> Self {
        Self {
            trunk: Trunk { name: line.name.as_str().into(), id: NameId::of(line.name.as_bytes()) },
            technology: Some(line.technology.as_bytes().into()),
            device: line.device.as_bytes().into(),
        }
    }

    /// Whether it holds for every channel that the other holds for.
    fn covers(&self, other: &Self) -> bool {
        self.device == other.device
            && match (&self.technology, &other.technology) {
                (None, _) => true,
                (Some(this), Some(that)) => this.eq_ignore_ascii_case(that),
                (Some(_), None) => false,
            }
    }

    fn holds(&self, channel: Channel<'_>) -> bool {
        *self.device == *channel.device
            && self.technology.as_ref().is_none_or(|technology| technology.eq_ignore_ascii_case(channel.technology))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(trunks: &[&str], outside_line: &str) -> CallRules {
        CallRules::new(&Pbx {
            trunks: trunks.iter().map(|&name| name.into()).collect(),
            outside_line: outside_line.into(),
            ..Pbx::default()
        })
    }

    fn trunk<'a>(rules: &'a CallRules, name: &str) -> Option<&'a str> {
        rules.trunk(Channel::parse(name.as_bytes())?).map(|trunk| &*trunk.name)
    }

    #[test]
    fn trunks_match_by_name_or_by_technology_and_name() {
        let rules = rules(&["provider1", "my-trunk", "PJSIP/shared", "shared", "DAHDI/i1", "special"], "");
        assert_eq!(trunk(&rules, "PJSIP/provider1-0000002a"), Some("provider1"));
        assert_eq!(trunk(&rules, "SIP/provider1-0000002a"), Some("provider1"));
        assert_eq!(trunk(&rules, "PJSIP/my-trunk-0000002a"), Some("my-trunk"));
        assert_eq!(trunk(&rules, "PJSIP/my-0000002a"), None);
        assert_eq!(trunk(&rules, "PJSIP/provider12-0000002a"), None);
        assert_eq!(trunk(&rules, "PJSIP/shared-0000002a"), Some("PJSIP/shared"));
        assert_eq!(trunk(&rules, "IAX2/shared-2041"), Some("shared"));
        assert_eq!(trunk(&rules, "DAHDI/i1/5551234-3"), Some("DAHDI/i1"));
        assert_eq!(trunk(&rules, "Local/special-0000002a;1"), None, "a Local half is never a trunk");
        assert_eq!(trunk(&rules, ""), None);
    }

    #[test]
    fn the_owners_name_for_a_line_comes_before_the_phone_systems() {
        let pbx = Pbx { trunks: vec!["provider1".into()], ..Pbx::default() };
        let line =
            |device: &str, name: &str| Line { technology: "PJSIP".into(), device: device.into(), name: name.into() };
        let lines = [line("provider1", "Acme"), line("gw-2", "Other")];
        let rules = CallRules::knowing(&pbx, &lines);
        assert_eq!(trunk(&rules, "PJSIP/provider1-0000002a"), Some("provider1"));
        assert_eq!(trunk(&rules, "PJSIP/gw-2-0000002a"), Some("Other"));
        assert_eq!(trunk(&rules, "SIP/gw-2-0000002a"), None, "another technology");
    }

    #[test]
    fn numbers_lead_abroad_by_their_prefix_behind_the_outside_line() {
        let nine = rules(&[], "9");
        for (dialled, class) in [
            ("900441632960000", Destination::International),
            ("00441632960000", Destination::International),
            ("9+441632960000", Destination::International),
            ("901632960000", Destination::National),
            ("9112", Destination::National),
            ("", Destination::National),
        ] {
            assert_eq!(nine.destination(dialled.as_bytes()), class, "{dialled}");
        }
        assert_eq!(rules(&[], "").destination(b"0115551234"), Destination::International);
    }
}
