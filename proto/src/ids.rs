//! Names of sites and reports.

use std::{fmt, str::FromStr};

use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};

/// Gives a type that has a text form (`Display`, `FromStr`) the same form in JSON and when it is debugged.
macro_rules! text_form {
    ($type:ty, $error:ty) => {
        impl TryFrom<String> for $type {
            type Error = $error;

            fn try_from(text: String) -> Result<Self, $error> {
                text.parse()
            }
        }

        impl From<$type> for String {
            fn from(value: $type) -> Self {
                value.to_string()
            }
        }

        impl std::fmt::Debug for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                std::fmt::Display::fmt(self, f)
            }
        }
    };
}
pub(crate) use text_form;

/// The vendor's name for a customer's site: 1 to 63 of `a-z 0-9 -`, neither first nor last a dash (an RFC 1123 label).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SiteId(String);

/// A text is not a site name.
#[derive(Debug, thiserror::Error)]
#[error("a site name is 1 to 63 of a-z, 0-9 and dashes, with no dash first or last")]
pub struct NotASite;

impl SiteId {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for SiteId {
    type Err = NotASite;

    fn from_str(text: &str) -> Result<Self, NotASite> {
        let fits = (1..=63).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && !text.starts_with('-')
            && !text.ends_with('-');
        fits.then(|| Self(text.to_owned())).ok_or(NotASite)
    }
}

impl fmt::Display for SiteId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A report's name: 128 random bits, written as 32 hexadecimal digits. The hub keeps one report per name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ReportId([u8; 16]);

/// A text is not a report's name.
#[derive(Debug, thiserror::Error)]
#[error("a report's name is 32 lower-case hexadecimal digits")]
pub struct NotAReport;

impl ReportId {
    /// A name made of these bits.
    pub fn from_bits(bits: [u8; 16]) -> Self {
        Self(bits)
    }
}

impl FromStr for ReportId {
    type Err = NotAReport;

    fn from_str(text: &str) -> Result<Self, NotAReport> {
        let bits = HEXLOWER.decode(text.as_bytes()).map_err(|_| NotAReport)?;
        bits.try_into().map(Self).map_err(|_| NotAReport)
    }
}

impl fmt::Display for ReportId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

text_form!(SiteId, NotASite);
text_form!(ReportId, NotAReport);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_site_is_a_host_label() {
        for good in ["site-one", "a", "0", &"x".repeat(63)] {
            assert!(good.parse::<SiteId>().is_ok(), "{good}");
        }
        for bad in ["", "-a", "a-", "A", "a.b", "a b", "a/..", "é", &"x".repeat(64)] {
            assert!(bad.parse::<SiteId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_report_name_is_32_digits() {
        let text = "00112233445566778899aabbccddeeff";
        assert_eq!(text.parse::<ReportId>().unwrap().to_string(), text);
        for bad in ["", "0011", "00112233445566778899AABBCCDDEEFF", "zz112233445566778899aabbccddeeff"] {
            assert!(bad.parse::<ReportId>().is_err(), "{bad}");
        }
    }
}
