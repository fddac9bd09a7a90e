//! Enrollment tokens: one text that an operator hands to a customer, good for one site, once.

use std::{fmt, str::FromStr};

use data_encoding::BASE64URL_NOPAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{SiteId, bytes64::Bytes64};

const PREFIX: &str = "demarc1.";
const CHECKSUM: usize = 4;

/// Everything that a site needs to find its hub, know it, and be let in. Its text form is `demarc1.` and
/// base64url of the JSON form with a checksum, so that a slip in copying is noticed on the spot.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnrollmentToken {
    /// The site that is let in.
    pub site: SiteId,
    /// Where the hub listens: `host:port`, `[v6]:port`.
    pub hub: String,
    /// SHA-256 of the hub's CA certificate (DER).
    pub ca_sha256: Bytes64,
    /// The one-time secret.
    pub secret: Bytes64,
    /// The last second in which it is good, since 1970 in UTC.
    pub expires: u64,
}

/// A text is not a token.
#[derive(Debug, thiserror::Error)]
pub enum NotAToken {
    /// It does not begin like one.
    #[error("an enrollment token begins with \"demarc1.\"; this text does not")]
    Prefix,
    /// Some of it is missing or mistyped.
    #[error("the enrollment token is damaged: copy it again, whole and on one line")]
    Damaged,
}

impl fmt::Display for EnrollmentToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = crate::frame::encode(self);
        let sum = Sha256::digest(&bytes);
        bytes.extend_from_slice(&sum[..CHECKSUM]);
        write!(f, "{PREFIX}{}", BASE64URL_NOPAD.encode(&bytes))
    }
}

impl fmt::Debug for EnrollmentToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EnrollmentToken({}, {}, ***)", self.site, self.hub)
    }
}

impl FromStr for EnrollmentToken {
    type Err = NotAToken;

    fn from_str(text: &str) -> Result<Self, NotAToken> {
        let encoded = text.trim().strip_prefix(PREFIX).ok_or(NotAToken::Prefix)?;
        let bytes = BASE64URL_NOPAD.decode(encoded.as_bytes()).map_err(|_| NotAToken::Damaged)?;
        let split = bytes.len().checked_sub(CHECKSUM).ok_or(NotAToken::Damaged)?;
        let (json, sum) = bytes.split_at(split);
        if Sha256::digest(json)[..CHECKSUM] != *sum {
            return Err(NotAToken::Damaged);
        }
        serde_json::from_slice(json).map_err(|_| NotAToken::Damaged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_goes_both_ways_and_slips_are_noticed() {
        let token = EnrollmentToken {
            site: "site-one".parse().unwrap(),
            hub: "127.0.0.1:8443".into(),
            ca_sha256: Bytes64(vec![1; 32]),
            secret: Bytes64(vec![2; 32]),
            expires: 1_800_000_000,
        };
        let text = token.to_string();
        assert_eq!(text.parse::<EnrollmentToken>().unwrap(), token);
        assert_eq!(format!(" {text}\n").parse::<EnrollmentToken>().unwrap(), token);
        assert!(matches!("hello".parse::<EnrollmentToken>(), Err(NotAToken::Prefix)));
        assert!(text[..text.len() - 1].parse::<EnrollmentToken>().is_err());
        let flipped = text.replacen('a', "b", 1);
        assert!(flipped == text || flipped.parse::<EnrollmentToken>().is_err());
    }
}
