//! What the owner has said about the phone system: which channels are trunks, which numbers lead abroad.

use demarc_proto::report::Destination;

use crate::{call::channel::Channel, settings::Pbx};

/// A line to the outside, as the phone system itself names it.
#[derive(Clone, PartialEq, Eq)]
pub struct Trunk {
    /// The technology of its channels.
    pub technology: String,
    /// Their device.
    pub device: String,
    /// The name under which it is counted.
    pub name: String,
}

impl std::fmt::Debug for Trunk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Trunk")
    }
}

/// How to tell a trunk from an extension, and home from abroad.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallRules {
    trunks: Vec<TrunkRule>,
    outside_line: Box<[u8]>,
    international: Vec<Box<[u8]>>,
}

#[derive(Clone, PartialEq, Eq)]
struct TrunkRule {
    /// As it stands in the settings: the name under which the trunk is counted.
    name: Box<str>,
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

    /// The rules that the settings give, with the trunks that the phone system has told of.
    pub fn knowing<'a>(pbx: &Pbx, told: impl IntoIterator<Item = &'a Trunk>) -> Self {
        let named = pbx.trunks.iter().filter(|name| !name.trim().is_empty()).map(|name| TrunkRule::new(name.trim()));
        let mut trunks: Vec<_> = named.collect();
        for trunk in told {
            let rule = TrunkRule::told(trunk);
            // The owner's own name for it comes first.
            if !trunks.iter().any(|other| other.covers(&rule)) {
                trunks.push(rule);
            }
        }
        // `PJSIP/provider1` says more than `provider1`, so it is asked first.
        trunks.sort_by_key(|rule| rule.technology.is_none());
        let international = pbx.international.iter().filter(|prefix| !prefix.is_empty());
        Self {
            trunks,
            outside_line: pbx.outside_line.as_bytes().into(),
            international: international.map(|prefix| prefix.as_bytes().into()).collect(),
        }
    }

    /// The trunk that a channel is on, by its name in the settings.
    pub fn trunk<'a>(&'a self, channel: Channel<'a>) -> Option<&'a str> {
        if channel.is_local() {
            return None;
        }
        if let Some(gateway) = channel.gateway() {
            return Some(gateway);
        }
        self.trunks.iter().find(|rule| rule.holds(channel)).map(|rule| &*rule.name)
    }

    /// Where a number that was dialled to the outside leads.
    pub fn destination(&self, dialled: &[u8]) -> Destination {
        let number = dialled.strip_prefix(&*self.outside_line).unwrap_or(dialled);
        let abroad = self.international.iter().any(|prefix| number.starts_with(prefix));
        if abroad { Destination::International } else { Destination::National }
    }
}

impl TrunkRule {
    fn new(name: &str) -> Self {
        match name.split_once('/') {
            Some((technology, device)) => Self {
                name: name.into(),
                technology: Some(technology.as_bytes().into()),
                device: device.as_bytes().into(),
            },
            None => Self { name: name.into(), technology: None, device: name.as_bytes().into() },
        }
    }

    fn told(trunk: &Trunk) -> Self {
        Self {
            name: trunk.name.as_str().into(),
            technology: Some(trunk.technology.as_bytes().into()),
            device: trunk.device.as_bytes().into(),
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
        rules.trunk(Channel::parse(name.as_bytes())?)
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
