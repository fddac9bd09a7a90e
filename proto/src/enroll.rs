//! The two messages of an enrollment, over TLS whose server is known by its CA's fingerprint.

use serde::{Deserialize, Serialize};

use crate::{SiteId, bytes64::Bytes64};

/// The site asks for its first certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnrollRequest {
    /// The site that the token names.
    pub site: SiteId,
    /// The token's secret.
    pub secret: Bytes64,
    /// A certificate request (PKCS #10) in DER; the hub takes only the public key from it.
    pub request: Bytes64,
}

/// The hub's answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub enum EnrollResponse {
    /// The site is enrolled.
    Enrolled(Enrolled),
    /// The site is not enrolled.
    Refused(EnrollRefused),
}

/// What a site needs from its hub.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Enrolled {
    /// The site's certificate chain in DER, its own first.
    pub chain: Vec<Bytes64>,
    /// The hub's CA certificate in DER: from now on the only one that the site trusts.
    pub ca: Bytes64,
    /// The Ed25519 public key that signs receipts (32 bytes).
    pub receipt_key: Bytes64,
}

/// Why a site is not enrolled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnrollRefused {
    /// The reason.
    pub reason: EnrollReason,
}

/// The reasons there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EnrollReason {
    /// The hub never gave out this token, or it belongs to another site.
    UnknownToken,
    /// The token was used before.
    UsedToken,
    /// The token's time is over.
    ExpiredToken,
    /// The certificate request cannot be read or is not signed by its own key.
    BadRequest,
}
