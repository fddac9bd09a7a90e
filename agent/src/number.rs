//! Telephone numbers of people outside: when two are the same number, and how one is shown.
//!
//! The same telephone is written `+49 30 1234567`, `0049301234567`, `0301234567` or, behind an outside line, `90301234567`.
//! Two numbers are the same if their last nine digits are; a shorter one, of seven digits or more without zeros at its front, if
//! the other ends with it. Still shorter ones must be equal.

use crate::{local_report::printable, private::OutsideNumber};

/// No number is kept longer: a longer one is cut.
pub const MAX_BYTES: usize = 64;
/// The digits by which two numbers are compared.
const COMPARED: usize = 9;
/// A number of fewer digits is only the same as itself.
const LEAST: usize = 7;
/// How many of the last characters are hidden.
const HIDDEN: usize = 4;
/// What phone systems write for a caller who does not show a number.
const WITHHELD: [&str; 9] =
    ["anonymous", "unknown", "<unknown>", "unavailable", "restricted", "private", "withheld", "none", "null"];

/// A number in the form in which numbers are compared.
#[derive(Clone, PartialEq, Eq)]
pub struct Normal(Box<str>);

impl std::fmt::Debug for Normal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Normal")
    }
}

impl Normal {
    /// The form of a number; none where the caller showed none.
    pub fn of(number: &OutsideNumber) -> Option<Self> {
        let text = number.expose().trim();
        let digits: String = text.chars().filter(char::is_ascii_digit).collect();
        if digits.is_empty() || text.chars().any(char::is_alphabetic) {
            let name = text.to_lowercase();
            return (!name.is_empty() && !WITHHELD.contains(&&*name)).then(|| Self(name.into()));
        }
        let digits = digits.trim_start_matches('0');
        Some(Self(if digits.is_empty() { "0" } else { digits }.into()))
    }

    /// What the forms of the same number have in common: to find them by.
    pub fn key(&self) -> &str {
        if self.is_digits() { &self.0[self.0.len().saturating_sub(LEAST)..] } else { &self.0 }
    }

    /// Whether both are the same number.
    pub fn is_same(&self, other: &Self) -> bool {
        if self == other {
            return true;
        }
        let (short, long) = if self.0.len() <= other.0.len() { (self, other) } else { (other, self) };
        let both_are_digits = short.is_digits() && long.is_digits();
        both_are_digits && short.0.len() >= LEAST && long.0.ends_with(short.end())
    }

    fn end(&self) -> &str {
        &self.0[self.0.len().saturating_sub(COMPARED)..]
    }

    fn is_digits(&self) -> bool {
        self.0.bytes().all(|byte| byte.is_ascii_digit())
    }
}

/// How a number is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// Without its last four digits.
    Masked,
    /// As it is.
    Whole,
}

impl Shown {
    /// The number as people and scripts may read it; none where the caller showed none.
    pub fn text(self, number: &OutsideNumber) -> Option<String> {
        Normal::of(number)?;
        let text = printable(number.expose().trim());
        Some(match self {
            Self::Whole => text,
            Self::Masked => {
                let counting = |c: char| c.is_alphanumeric() || c == char::REPLACEMENT_CHARACTER;
                let places = text.char_indices().rev().filter(|(_, c)| counting(*c)).map(|(place, _)| place);
                let from = places.take(HIDDEN).last().unwrap_or(0);
                text.char_indices().map(|(place, c)| if place < from { c } else { '*' }).collect()
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn number(text: &str) -> OutsideNumber {
        OutsideNumber::new(text)
    }

    fn same(left: &str, right: &str) -> bool {
        Normal::of(&number(left)).unwrap().is_same(&Normal::of(&number(right)).unwrap())
    }

    #[test]
    fn one_telephone_is_written_in_many_ways() {
        let forms = ["+49 30 1234567", "0049301234567", "0301234567", "90301234567", "(030) 123-4567", "1234567"];
        for left in forms {
            for right in forms {
                assert!(same(left, right), "{left} {right}");
            }
        }
        assert!(same("+49 30 123456", "030123456"), "nine digits would reach into the country's code");
        assert!(same("Alice", "alice"));
        for (left, right) in [
            ("0301234567", "0401234567"),
            ("1001", "51001"),
            ("123456", "0301123456"),
            ("0301234567", "0301234568"),
            ("alice", "bob"),
            ("0", "1"),
        ] {
            assert!(!same(left, right), "{left} {right}");
        }
    }

    #[test]
    fn a_caller_who_shows_no_number_is_nobody() {
        for text in ["", "  ", "anonymous", "Anonymous", "Restricted", "<unknown>"] {
            assert_eq!(Normal::of(&number(text)), None, "{text}");
            assert_eq!(Shown::Whole.text(&number(text)), None);
        }
    }

    #[test]
    fn the_last_four_are_hidden() {
        let shown = |text| Shown::Masked.text(&number(text)).unwrap();
        assert_eq!(shown("+4930123456789"), "+493012345****");
        assert_eq!(shown("123"), "***");
        assert_eq!(shown("1234"), "****");
        assert_eq!(shown("030 123-45 67"), "030 123******".replacen("******", "-*****", 1));
        assert_eq!(Shown::Whole.text(&number("5551234")).unwrap(), "5551234");
        assert_eq!(Shown::Whole.text(&number("1\r\nX: 2\u{202e}")).unwrap(), "1\u{fffd}\u{fffd}X: 2\u{fffd}");
    }

    proptest! {
        #[test]
        fn the_same_numbers_have_the_same_key(left in "[0-9+ ]{0,14}", right in "[0-9]{0,5}", cut in 0_usize..6) {
            let forms = [left.clone(), format!("{right}{left}"), left.chars().skip(cut).collect()];
            let forms: Vec<_> = forms.iter().filter_map(|text| Normal::of(&number(text))).collect();
            for one in &forms {
                for other in &forms {
                    prop_assert_eq!(one.is_same(other), other.is_same(one));
                    prop_assert!(!one.is_same(other) || one.key() == other.key());
                }
            }
        }

        #[test]
        fn nothing_of_the_last_four_is_seen(text in "[0-9 +()-]{5,20}") {
            if let Some(shown) = Shown::Masked.text(&number(&text)) {
                let digits = |text: &str| text.chars().filter(char::is_ascii_digit).count();
                prop_assert_eq!(digits(&shown), digits(&text).saturating_sub(4));
                prop_assert_eq!(shown.chars().count(), text.trim().chars().count());
            }
        }
    }
}
