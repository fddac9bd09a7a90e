//! Looking for traces of secret values in whatever left or was written down: as they are, and in disguise.

use data_encoding::{BASE64_NOPAD, BASE64URL_NOPAD, HEXLOWER};

/// Digits in a row that count as a trace of a number.
const FRAGMENT: usize = 6;

/// The values to look for.
#[derive(Clone, Debug, Default)]
pub struct Traces {
    needles: Vec<(String, Vec<u8>)>,
    fragments: Vec<String>,
}

impl Traces {
    /// Looks for this value from now on.
    pub fn of(mut self, value: &str) -> Self {
        let bytes = value.as_bytes();
        let mut add = |form: &str, needle: Vec<u8>| self.needles.push((format!("{value} {form}"), needle));
        add("as it is", bytes.to_vec());
        add("in lower case", value.to_lowercase().into_bytes());
        add("in upper case", value.to_uppercase().into_bytes());
        add("backwards", bytes.iter().rev().copied().collect());
        let hexadecimal = HEXLOWER.encode(bytes);
        add("in hexadecimal", hexadecimal.to_uppercase().into_bytes());
        add("in hexadecimal", hexadecimal.into_bytes());
        // Base64 depends on where in a text the value begins: the ends, which neighbours decide, are left off.
        for lead in 0..3 {
            let mut padded = vec![0u8; lead];
            padded.extend_from_slice(bytes);
            let from = (lead * 8).div_ceil(6);
            let to = padded.len() * 8 / 6;
            for code in [&BASE64_NOPAD, &BASE64URL_NOPAD] {
                add("in base64", code.encode(&padded).as_bytes()[from..to].to_vec());
            }
        }
        if value.bytes().all(|byte| byte.is_ascii_digit()) {
            let digits = value.as_bytes().windows(FRAGMENT);
            self.fragments.extend(digits.map(|part| String::from_utf8(part.to_vec()).unwrap()));
        }
        self
    }

    /// What is found, in words; empty is good.
    pub fn found_in(&self, place: &str, haystack: &[u8]) -> Vec<String> {
        let whole = self.needles.iter().filter(|(_, needle)| contains(haystack, needle));
        let mut found: Vec<String> = whole.map(|(name, _)| format!("{place}: {name}")).collect();
        // A fragment counts in a run of digits that stands by itself: a hash is full of digits, and means nothing.
        for run in haystack.split(|byte| !byte.is_ascii_alphanumeric()).filter(|run| run.len() >= FRAGMENT) {
            if run.iter().all(u8::is_ascii_digit) {
                let hit = self.fragments.iter().find(|fragment| contains(run, fragment.as_bytes()));
                found.extend(
                    hit.map(|fragment| format!("{place}: fragment {fragment} in {}", String::from_utf8_lossy(run))),
                );
            }
        }
        found
    }
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use data_encoding::BASE64;

    use super::*;

    #[test]
    fn every_disguise_is_seen_through() {
        let traces = Traces::default().of("86213597405318").of("Quetzalcoatlus");
        let seen = |text: &[u8]| !traces.found_in("here", text).is_empty();
        assert!(seen(b"number 86213597405318."));
        assert!(seen(b"number 213597."));
        assert!(seen(b"81350479531268"));
        assert!(seen(b"QUETZALCOATLUS"));
        for lead in ["", "x", "xy"] {
            assert!(seen(BASE64.encode(format!("{lead}86213597405318 and more").as_bytes()).as_bytes()), "{lead}");
            assert!(seen(BASE64.encode(format!("{lead}Quetzalcoatlus").as_bytes()).as_bytes()), "{lead}");
        }
        assert!(seen(HEXLOWER.encode(b"a Quetzalcoatlus").as_bytes()));
        assert!(!seen(b"1795309295 a213597b 862135"[..22].as_ref()));
    }
}
