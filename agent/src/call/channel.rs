//! Channel names: what is left of them when the part that counts calls is cut off.

/// A channel's name, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Channel<'a> {
    /// The technology, such as `PJSIP`.
    pub technology: &'a [u8],
    /// The device, such as `1001` or `provider1`.
    pub device: &'a [u8],
}

/// What Asterisk sets before the name of a channel that it moves around.
const MOVED: [&[u8]; 6] = [b"AsyncGoto", b"Parked", b"Transfered", b"Surrogate", b"Bridge", b"Masqueraded"];

/// Technologies that end every channel's name with eight hexadecimal digits, and nothing else.
const EIGHT_DIGITS: [&[u8]; 4] = [b"PJSIP", b"SIP", b"SCCP", b"Local"];

impl<'a> Channel<'a> {
    /// Takes a name apart; none for the empty name, or one without a technology.
    ///
    /// `TECH/device-xxxxxxxx` is the rule. What differs: `Local/1001@from-queue-0000002a;1` has halves; IAX2 counts in
    /// decimals (`IAX2/branch-8712`); DAHDI has short counters and, on ISDN, the other party's number behind the span
    /// (`DAHDI/i1/5551234-3`, `DAHDI/4-1`), of which the span alone is the device.
    #[inline]
    pub fn parse(name: &'a [u8]) -> Option<Self> {
        Self::plain(name).or_else(|| Self::any(name))
    }

    /// `PJSIP/1001-0000002a`, as nearly all names are.
    #[inline(always)]
    fn plain(name: &'a [u8]) -> Option<Self> {
        let front = Self::plain_front(name)?;
        let length = if front[0] == b'P' { 5 } else { 3 };
        let device = &front[length + 1..];
        (!device.is_empty()).then_some(Self { technology: &front[..length], device })
    }

    /// The part of such a name that does not count calls: `PJSIP/1001`.
    #[inline(always)]
    pub(super) fn plain_front(name: &'a [u8]) -> Option<&'a [u8]> {
        let (front, [b'-', counter @ ..]) = name.split_last_chunk::<9>()? else { return None };
        let known = front.starts_with(b"PJSIP/") || front.starts_with(b"SIP/");
        (known && are_hexadecimal(*counter)).then_some(front)
    }

    fn any(name: &'a [u8]) -> Option<Self> {
        let (mut technology, mut rest) = split(name)?;
        while MOVED.contains(&technology) {
            (technology, rest) = split(rest)?;
        }
        for mark in [b"<ZOMBIE>".as_slice(), b"<MASQ>", b";1", b";2"] {
            rest = rest.strip_suffix(mark).unwrap_or(rest);
        }
        let device = match technology {
            b"DAHDI" | b"Zap" => {
                let line = without_counter(rest, 1..=8, u8::is_ascii_hexdigit);
                split(line).map_or(line, |(span, _number)| span)
            }
            b"IAX2" => without_counter(rest, 1..=6, u8::is_ascii_digit),
            _ if EIGHT_DIGITS.contains(&technology) => without_counter(rest, 8..=8, u8::is_ascii_hexdigit),
            // Dongle and Quectel write ten digits, Motif four, others a plain number.
            _ => without_counter(rest, 1..=16, u8::is_ascii_hexdigit),
        };
        (!device.is_empty()).then_some(Self { technology, device })
    }

    /// Whether this is one half of a channel that joins two places inside the PBX.
    pub fn is_local(self) -> bool {
        // As a pattern: to compare slices takes a call.
        matches!(self.technology, b"Local")
    }
}

/// Whether all eight bytes are hexadecimal digits, looked at at once.
#[inline(always)]
fn are_hexadecimal(digits: [u8; 8]) -> bool {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x80 * ONES;
    let word = u64::from_le_bytes(digits);
    // The highest bit of each byte says that the byte is at least the given one; all of them are below 0x80.
    let low = word & !HIGH;
    let at_least = |byte: u8| low + (0x80 - u64::from(byte)) * ONES;
    let digit = at_least(b'0') & !at_least(b'9' + 1);
    let upper = at_least(b'A') & !at_least(b'F' + 1);
    let lower = at_least(b'a') & !at_least(b'f' + 1);
    (digit | upper | lower) & !word & HIGH == HIGH
}

/// Whether a called channel is set and leads out of the PBX's own applications.
pub fn leads_out(dstchannel: &[u8]) -> bool {
    !dstchannel.is_empty() && !dstchannel.starts_with(b"Local/")
}

fn split(name: &[u8]) -> Option<(&[u8], &[u8])> {
    let slash = memchr::memchr(b'/', name)?;
    Some((&name[..slash], &name[slash + 1..]))
}

/// Cuts off the last `-` and the digits behind it. Names contain dashes: only what looks like a counter is cut.
fn without_counter(name: &[u8], digits: std::ops::RangeInclusive<usize>, is_digit: fn(&u8) -> bool) -> &[u8] {
    match memchr::memrchr(b'-', name) {
        Some(dash) if digits.contains(&(name.len() - dash - 1)) && name[dash + 1..].iter().all(is_digit) => {
            &name[..dash]
        }
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn both_ways_to_take_a_name_apart_agree(
            technology in "(PJSIP|SIP|Local|Parked/SIP|)",
            device in "[a-f0-9/-]{0,4}",
            counter in "(-[0-9a-fA-Fg]{7,9})?",
            mark in "(<ZOMBIE>|;1)?",
        ) {
            let name = format!("{technology}/{device}{counter}{mark}");
            prop_assert_eq!(Channel::parse(name.as_bytes()), Channel::any(name.as_bytes()));
        }
    }

    #[test]
    fn digits_are_hexadecimal() {
        for byte in 0..=u8::MAX {
            for place in 0..8 {
                let mut digits = *b"09afAF5e";
                digits[place] = byte;
                assert_eq!(are_hexadecimal(digits), byte.is_ascii_hexdigit(), "{byte} at {place}");
            }
        }
    }

    #[test]
    fn names_lose_their_counter_and_nothing_else() {
        for (name, technology, device) in [
            ("PJSIP/1001-0000002a", "PJSIP", "1001"),
            ("PJSIP/provider1-000001d0", "PJSIP", "provider1"),
            ("PJSIP/my-trunk-deadbeef-000001d0", "PJSIP", "my-trunk-deadbeef"),
            ("PJSIP/my-trunk-1234", "PJSIP", "my-trunk-1234"),
            ("SIP/sip.example.net-b7d01f68", "SIP", "sip.example.net"),
            ("Local/1001@from-queue-0000002a;1", "Local", "1001@from-queue"),
            ("Local/comma@special-00000025;2", "Local", "comma@special"),
            ("IAX2/branch-b-8712", "IAX2", "branch-b"),
            ("DAHDI/i1/5551234-3a", "DAHDI", "i1"),
            ("DAHDI/4-1", "DAHDI", "4"),
            ("Zap/1-1", "Zap", "1"),
            ("Dongle/dongle0-0100000001", "Dongle", "dongle0"),
            ("Motif/account-1f2e", "Motif", "account"),
            ("AsyncGoto/PJSIP/provider1-00000012", "PJSIP", "provider1"),
            ("Parked/Transfered/SIP/1002-00000012<ZOMBIE>", "SIP", "1002"),
        ] {
            let found = Channel::parse(name.as_bytes());
            assert_eq!(found, Some(Channel { technology: technology.as_bytes(), device: device.as_bytes() }), "{name}");
            assert_eq!(found, Channel::any(name.as_bytes()), "{name}");
        }
        for name in ["", "no technology", "PJSIP/", "PJSIP/-0000002a"] {
            assert_eq!(Channel::parse(name.as_bytes()), None, "{name}");
            assert_eq!(Channel::any(name.as_bytes()), None, "{name}");
        }
    }

    #[test]
    fn halves_of_local_channels_do_not_lead_out() {
        assert!(leads_out(b"PJSIP/1001-0000002a"));
        assert!(!leads_out(b"Local/1001@from-queue-0000002a;1"));
        assert!(!leads_out(b""));
    }
}
