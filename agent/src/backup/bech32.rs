//! Bech32 (BIP 173), in which keys of `age` are written: five bits a letter, and a checksum that finds what was mistyped.

const LETTERS: &[u8; 32] = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l";
const CHECKSUM: usize = 6;

/// Bytes under a prefix, in small letters.
pub(super) fn encode(prefix: &str, bytes: &[u8]) -> String {
    let mut data = regroup(bytes, 8, 5, true).unwrap_or_default();
    let mut values = expand(prefix);
    values.extend_from_slice(&data);
    values.extend_from_slice(&[0; CHECKSUM]);
    let sum = polymod(&values) ^ 1;
    data.extend((0..CHECKSUM).map(|at| (sum >> (5 * (CHECKSUM - 1 - at))) as u8 & 31));
    let letters = data.iter().map(|value| char::from(LETTERS[usize::from(*value)]));
    format!("{prefix}1{}", letters.collect::<String>())
}

/// The prefix in small letters and the bytes, where the checksum is right.
pub(super) fn decode(text: &str) -> Option<(String, Vec<u8>)> {
    let is_mixed =
        text.bytes().any(|byte| byte.is_ascii_lowercase()) && text.bytes().any(|byte| byte.is_ascii_uppercase());
    if is_mixed || !text.is_ascii() {
        return None;
    }
    let text = text.to_ascii_lowercase();
    let (prefix, letters) =
        text.rsplit_once('1').filter(|(prefix, letters)| !prefix.is_empty() && letters.len() >= CHECKSUM)?;
    let value = |letter: u8| LETTERS.iter().position(|known| *known == letter).and_then(|at| u8::try_from(at).ok());
    let data: Vec<u8> = letters.bytes().map(value).collect::<Option<_>>()?;
    let values = [expand(prefix), data.clone()].concat();
    (polymod(&values) == 1).then_some(())?;
    Some((prefix.to_owned(), regroup(&data[..data.len() - CHECKSUM], 5, 8, false)?))
}

fn expand(prefix: &str) -> Vec<u8> {
    let high = prefix.bytes().map(|byte| byte >> 5);
    high.chain([0]).chain(prefix.bytes().map(|byte| byte & 31)).collect()
}

fn polymod(values: &[u8]) -> u32 {
    const GENERATOR: [u32; 5] = [0x3b6a_57b2, 0x2650_8e6d, 0x1ea1_19fa, 0x3d42_33dd, 0x2a14_62b3];
    values.iter().fold(1, |sum: u32, value| {
        let top = sum >> 25;
        let next = (sum & 0x1ff_ffff) << 5 ^ u32::from(*value);
        GENERATOR.iter().enumerate().filter(|(bit, _)| top >> bit & 1 == 1).fold(next, |sum, (_, part)| sum ^ part)
    })
}

/// The same bits in groups of another size. What is left over must be padding where nothing is padded.
fn regroup(data: &[u8], from: u32, to: u32, pad: bool) -> Option<Vec<u8>> {
    let (mut bits, mut count, mut out) = (0u32, 0, Vec::new());
    let mask = (1u32 << to) - 1;
    for value in data {
        bits = (bits << from | u32::from(*value)) & 0xfff;
        count += from;
        while count >= to {
            count -= to;
            out.push((bits >> count & mask) as u8);
        }
    }
    if pad {
        if count > 0 {
            out.push((bits << (to - count) & mask) as u8);
        }
    } else if count >= from || bits & ((1 << count) - 1) != 0 {
        return None;
    }
    Some(out)
}
