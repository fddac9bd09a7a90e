//! What tells that two sources speak of the same row.

use crate::{call::key::text_hash, pbx::leg::Leg};

/// Zones differ by whole quarters of an hour, so that the second within one is the same in all of them.
const QUARTER: i64 = 900;

/// A row as any source of the same PBX would name it.
///
/// The sources of one PBX share neither ids nor zones: `cdr_csv` may write no `uniqueid`, the manager interface no
/// `sequence`, and one of them may write UTC. What all of them have is the two channels and the start. Two rows of one PBX can
/// be alike in these (`ForkCDR` makes such), so that rows of the same identity are told apart by their number only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity(u64);

impl Identity {
    /// The identity of a row.
    pub fn of(leg: &Leg<'_>) -> Self {
        let mut text = Vec::with_capacity(96);
        match leg.uniqueid.filter(|id| is_uuid(id)) {
            // FreeSWITCH's channels have no counter in their names, but ids that are unique everywhere.
            Some(id) => text.extend_from_slice(id),
            None => {
                text.extend_from_slice(&leg.channel);
                text.push(0);
                text.extend_from_slice(&leg.dstchannel);
                text.push(0);
                text.extend_from_slice(&leg.start.rem_euclid(QUARTER).to_le_bytes());
            }
        }
        Self(text_hash(&text))
    }

    /// The same bits, as SQLite can hold them.
    pub(crate) fn as_i64(self) -> i64 {
        self.0 as i64
    }

    /// What [`Identity::as_i64`] gave.
    pub(crate) fn from_i64(bits: i64) -> Self {
        Self(bits as u64)
    }
}

/// `550e8400-e29b-41d4-a716-446655440000`.
fn is_uuid(id: &[u8]) -> bool {
    id.len() == 36
        && id.iter().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => *byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;
    use crate::pbx::leg::Disposition;

    fn leg<'a>(uniqueid: Option<&'a [u8]>, channel: &'a [u8], dstchannel: &'a [u8], start: i64) -> Leg<'a> {
        Leg {
            uniqueid,
            linkedid: None,
            sequence: None,
            channel: Cow::Borrowed(channel),
            dstchannel: Cow::Borrowed(dstchannel),
            lastapp: Cow::Borrowed(b""),
            lastdata: Cow::Borrowed(b""),
            src: Cow::Borrowed(b""),
            dst: Cow::Borrowed(b""),
            start,
            answer: None,
            end: start,
            disposition: Disposition::NoAnswer,
        }
    }

    #[test]
    fn ids_and_zones_make_no_difference() {
        let row = Identity::of(&leg(None, b"PJSIP/1-00000001", b"PJSIP/2-00000002", 1_795_309_295));
        let kolkata = 1_795_309_295 + 5 * 3600 + 1800;
        let other = leg(Some(b"1795309295.1"), b"PJSIP/1-00000001", b"PJSIP/2-00000002", kolkata);
        assert_eq!(Identity::of(&other), row);
        assert_ne!(Identity::of(&leg(None, b"PJSIP/1-00000001", b"", 1_795_309_295)), row);
        assert_ne!(Identity::of(&leg(None, b"PJSIP/1-00000001", b"PJSIP/2-00000002", 1_795_309_296)), row);
        // The border between the channels counts.
        assert_ne!(
            Identity::of(&leg(None, b"PJSIP/1-00000001P", b"JSIP/2-00000002", 1_795_309_295)),
            Identity::of(&leg(None, b"PJSIP/1-00000001", b"PJSIP/2-00000002", 1_795_309_295))
        );
    }

    #[test]
    fn ids_that_are_unique_everywhere_are_enough() {
        let id: &[u8] = b"550e8400-e29b-41d4-a716-446655440000";
        assert_eq!(Identity::of(&leg(Some(id), b"a", b"b", 1)), Identity::of(&leg(Some(id), b"c", b"", 2)));
    }
}
