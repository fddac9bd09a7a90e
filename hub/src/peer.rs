//! Who is at the other end: what a site's certificate says.

use data_encoding::HEXLOWER;
use demarc_proto::SiteId;
use sha2::{Digest, Sha256};
use x509_parser::extensions::GeneralName;

const SUFFIX: &str = ".site.demarc";

/// The DNS name in the certificate of a site.
pub fn site_dns_name(site: &SiteId) -> String {
    format!("{site}{SUFFIX}")
}

/// What a site's certificate says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerCertificate {
    /// Whose it is.
    pub site: SiteId,
    /// Its serial number in hexadecimal.
    pub serial: String,
    /// SHA-256 of its public key in hexadecimal.
    pub key_sha256: String,
    /// Its last second, since 1970 in UTC.
    pub ends: u64,
}

impl PeerCertificate {
    /// Reads a certificate whose signature was checked before. `None` when it is none of a site.
    pub fn read(der: &[u8]) -> Option<Self> {
        let (_, certificate) = x509_parser::parse_x509_certificate(der).ok()?;
        let mut common_names = certificate.subject().iter_common_name();
        let site: SiteId = common_names.next()?.as_str().ok()?.parse().ok()?;
        let names = certificate.subject_alternative_name().ok()??;
        // Both names must agree and be the only ones, so that no reader of the certificate can see another site.
        let agree = match names.value.general_names.as_slice() {
            [GeneralName::DNSName(name)] => name.strip_suffix(SUFFIX) == Some(site.as_str()),
            _ => false,
        };
        if !agree || common_names.next().is_some() {
            return None;
        }
        Some(Self {
            site,
            serial: HEXLOWER.encode(certificate.raw_serial()),
            key_sha256: HEXLOWER.encode(&Sha256::digest(certificate.public_key().raw)),
            ends: u64::try_from(certificate.validity().not_after.timestamp()).ok()?,
        })
    }

    /// Whether its time is over.
    pub fn is_expired(&self, now: u64) -> bool {
        self.ends < now
    }
}
