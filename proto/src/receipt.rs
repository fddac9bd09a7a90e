//! Receipts: the hub's signed word that it stored a report.

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, UnparsedPublicKey};
use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{ReportId, SiteId, bytes64::Bytes64};

/// Separates these signatures from any other use of the key.
const CONTEXT: &str = "demarc receipt 1";

/// The hub's signed word that it stored a report: which, with which bytes, when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Receipt {
    /// Whose report.
    pub site: SiteId,
    /// Which report.
    pub report: ReportId,
    /// SHA-256 of the body, in hexadecimal.
    pub sha256: String,
    /// When it was stored first: seconds since 1970 in UTC by the hub's clock.
    pub received: u64,
    /// Ed25519 (RFC 8032) over the four fields above.
    pub signature: Bytes64,
}

/// A receipt's signature is not the hub's.
#[derive(Debug, thiserror::Error)]
#[error("the receipt was not signed by the hub's key")]
pub struct BadSignature;

impl Receipt {
    /// Signs a receipt for those bytes.
    pub fn sign(key: &Ed25519KeyPair, site: SiteId, report: ReportId, body: &[u8], received: u64) -> Self {
        let sha256 = body_hash(body);
        let signature = key.sign(&signed_bytes(&site, report, &sha256, received));
        Self { site, report, sha256, received, signature: Bytes64(signature.as_ref().to_vec()) }
    }

    /// Checks the signature against the hub's public key (32 bytes).
    ///
    /// # Errors
    /// When somebody else signed, or a field was changed.
    pub fn verify(&self, public_key: &[u8]) -> Result<(), BadSignature> {
        let bytes = signed_bytes(&self.site, self.report, &self.sha256, self.received);
        UnparsedPublicKey::new(&ED25519, public_key).verify(&bytes, &self.signature.0).map_err(|_| BadSignature)
    }

    /// Whether the receipt is about these very bytes.
    pub fn covers(&self, body: &[u8]) -> bool {
        self.sha256 == body_hash(body)
    }
}

/// SHA-256 of a body, in hexadecimal.
pub fn body_hash(body: &[u8]) -> String {
    HEXLOWER.encode(&Sha256::digest(body))
}

/// No field can hold a line feed, so the text has one reading.
fn signed_bytes(site: &SiteId, report: ReportId, sha256: &str, received: u64) -> Vec<u8> {
    format!("{CONTEXT}\n{site}\n{report}\n{sha256}\n{received}\n").into_bytes()
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::KeyPair;

    use super::*;

    #[test]
    fn only_the_hubs_own_word_counts() {
        let key = Ed25519KeyPair::generate().unwrap();
        let other = Ed25519KeyPair::generate().unwrap();
        let report = "00112233445566778899aabbccddeeff".parse().unwrap();
        let receipt = Receipt::sign(&key, "site-one".parse().unwrap(), report, b"body", 7);
        assert!(receipt.verify(key.public_key().as_ref()).is_ok());
        assert!(receipt.covers(b"body") && !receipt.covers(b"Body"));
        assert!(receipt.verify(other.public_key().as_ref()).is_err());
        assert!(receipt.verify(b"short").is_err());
        let moved = Receipt { site: "site-two".parse().unwrap(), ..receipt.clone() };
        assert!(moved.verify(key.public_key().as_ref()).is_err());
        let later = Receipt { received: 8, ..receipt };
        assert!(later.verify(key.public_key().as_ref()).is_err());
    }
}
