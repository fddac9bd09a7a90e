//! Hashes that the store keeps: the same in every process, on every machine, whatever came before.

/// No text that a PBX writes looks like these: the first digits of pi.
const KEYS: [u64; 4] = [0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344, 0xa409_3822_299f_31d0, 0x082e_fa98_ec4e_6c89];

/// The hash of a text, in two halves that depend on all of it.
///
/// Words are multiplied with each other and the product is folded: a few cycles for an id. Whoever can choose ids could
/// make two of them collide; they come from the PBX itself.
#[inline(always)]
pub(super) fn hash(text: &[u8]) -> [u64; 2] {
    let mut halves = [KEYS[0] ^ text.len() as u64, KEYS[1]];
    let mut take_in = |[first, second]: [u64; 2]| {
        let [left, right] = halves;
        halves = [mix(first ^ left, second ^ KEYS[2]), mix(second ^ right, first ^ KEYS[3])];
    };
    let mut rest = text;
    while let Some((chunk, more)) = rest.split_first_chunk::<16>() {
        take_in(words(chunk, 8));
        rest = more;
    }
    // The length is in the hash, so that bytes may be taken in twice here.
    match (text.last_chunk::<16>(), rest.len()) {
        (_, 0) => {}
        (Some(last), _) => take_in(words(last, 8)),
        (None, 8..) => take_in(words(rest, rest.len() - 8)),
        // Up to seven bytes, one by one: to copy them would take a call.
        (None, _) => take_in([rest.iter().fold(0, |word, &byte| word << 8 | u64::from(byte)), 0]),
    }
    let [left, right] = halves;
    [mix(left ^ KEYS[3], right ^ KEYS[0]), mix(right ^ KEYS[2], left ^ KEYS[1])]
}

/// A hash of a hash and a number.
#[inline]
pub(super) fn with_number([left, right]: [u64; 2], number: u64) -> u64 {
    mix(left ^ number, right ^ KEYS[2])
}

/// The eight bytes at the start of a text, and those at another place.
#[inline]
fn words(text: &[u8], second: usize) -> [u64; 2] {
    [0, second].map(|at| text[at..].first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes)))
}

/// Both halves of a product, put together.
#[inline]
fn mix(left: u64, right: u64) -> u64 {
    let product = u128::from(left) * u128::from(right);
    (product >> 64) as u64 ^ product as u64
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn stored_hashes_stay_what_they_are() {
        expect_test::expect![[r"[6fd9371aadb2755f, d9344ab31c16b9d0] [a6c2cfa35e84273a, c7519a5e38b0b3c5] [5ff8c3d7dd3ff6a8, 1b38812210ab78dd] [be7831566816a535, b945e1aeb1b9a994]"]].assert_eq(&format!(
            "{:x?} {:x?} {:x?} {:x?}",
            hash(b""),
            hash(b"201"),
            hash(b"1736121600.4"),
            hash(b"hq-pbx-01-1795311318.12")
        ));
    }

    #[test]
    fn ids_of_a_busy_year_are_all_told_apart() {
        let mut seen = [0, 1, 2].map(|_| HashSet::new());
        let mut places = vec![0_u32; 1024];
        for number in 0..200_000_u64 {
            let id = format!("{}.{}", 1_736_121_600 + number / 7, number * 4);
            let halves = hash(id.as_bytes());
            places[(halves[1] % 1024) as usize] += 1;
            assert!(seen[0].insert(halves[0]) && seen[1].insert(halves[1]), "{id}");
            assert!(seen[2].insert(with_number(hash(b"1736121600.4"), number)), "{number}");
        }
        assert!(places.iter().all(|&count| (100..300).contains(&count)), "{places:?}");
    }

    #[test]
    fn every_byte_counts() {
        for length in 0..70 {
            let mut text = vec![b'1'; length];
            let whole = hash(&text);
            assert_ne!(hash(&[&text[..], b"1"].concat()), whole);
            for place in 0..length {
                text[place] = b'2';
                let other = hash(&text);
                assert!(other[0] != whole[0] && other[1] != whole[1], "{place} of {length}");
                text[place] = b'1';
            }
        }
    }
}
