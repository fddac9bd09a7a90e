//! The hub's own small certificate authority: one root, short-lived certificates for sites and for the server.

use std::{net::IpAddr, path::Path, time::Duration};

use data_encoding::HEXLOWER;
use demarc_proto::SiteId;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, PublicKey,
    PublicKeyData, SanType, SerialNumber,
};
use rustls_pki_types::{CertificateDer, CertificateSigningRequestDer};
use sha2::{Digest, Sha256};

use crate::{
    clock,
    keys::{self, KeyFileError},
    peer::{PeerCertificate, site_dns_name},
};

/// Certificates begin this much in the past, so that a site whose clock is a little late accepts them.
pub const BACKDATED: Duration = Duration::from_secs(15 * 60);
/// How long the authority itself lives. Replacing it means enrolling every site again.
const AUTHORITY_LIFETIME: Duration = Duration::from_secs(20 * 365 * 86_400);
/// How long the server's certificate lives; it is renewed at two thirds.
pub const SERVER_LIFETIME: Duration = Duration::from_secs(90 * 86_400);

/// The authority: its certificate and its key.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
}

/// The texts of a fresh authority's files.
pub struct FreshAuthority {
    /// The certificate in PEM.
    pub certificate: String,
    /// The key in PEM.
    pub key: String,
}

/// A certificate for a site, just made.
#[derive(Clone)]
pub struct Issued {
    /// The certificate.
    pub der: CertificateDer<'static>,
    /// Its serial number in hexadecimal.
    pub serial: String,
    /// SHA-256 of its public key in hexadecimal.
    pub key_sha256: String,
    /// When it was made, seconds since 1970 in UTC.
    pub issued: u64,
    /// Its last second.
    pub ends: u64,
}

/// The public key of a certificate request that proved to own it. Nothing else of the request is used: a site
/// does not choose its own name or rights.
pub struct RequestedKey(PublicKey);

/// A certificate request cannot be used.
#[derive(Debug, thiserror::Error)]
#[error(
    "the certificate request cannot be read, is not signed by its own key, or its key is neither P-256 nor Ed25519"
)]
pub struct BadRequest;

/// The authority cannot do its work.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// A file is missing or damaged.
    #[error(transparent)]
    File(#[from] KeyFileError),
    /// Certificate and key do not belong together.
    #[error("{0} is not the certificate of the authority's key; restore both from the same backup")]
    Mismatch(std::path::PathBuf),
    /// A certificate cannot be made.
    #[error("cannot make a certificate: {0}")]
    Certificate(#[from] rcgen::Error),
}

impl RequestedKey {
    /// Reads a request (PKCS #10 in DER) and checks that its own key signed it.
    ///
    /// # Errors
    /// When it is not such a request, or its key is of another kind than P-256 or Ed25519.
    pub fn from_request(der: &[u8]) -> Result<Self, BadRequest> {
        let request = CertificateSigningRequestParams::from_der(&CertificateSigningRequestDer::from(der))
            .map_err(|_| BadRequest)?;
        let key = request.public_key;
        // The kind is told by the signature's name, which does not name the curve: the key's own form does.
        let point = key.der_bytes();
        let uncompressed_p256 = key.algorithm() == &PKCS_ECDSA_P256_SHA256 && point.len() == 65 && point[0] == 4;
        let ed25519 = key.algorithm() == &PKCS_ED25519 && point.len() == 32;
        if uncompressed_p256 || ed25519 { Ok(Self(key)) } else { Err(BadRequest) }
    }

    /// SHA-256 of the key (SubjectPublicKeyInfo, RFC 5280) in hexadecimal.
    pub fn sha256(&self) -> String {
        HEXLOWER.encode(&Sha256::digest(self.0.subject_public_key_info()))
    }
}

impl Authority {
    /// Makes the files of a new authority.
    ///
    /// # Errors
    /// When the machine has no randomness.
    pub fn create(now: u64) -> Result<FreshAuthority, AuthorityError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        // Two authorities of the same name would confuse whoever looks for the right one: the key names it.
        let mark = HEXLOWER.encode(&Sha256::digest(key.subject_public_key_info())[..4]);
        let mut params = params(&format!("Demarc hub authority {mark}"), now, AUTHORITY_LIFETIME)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key)?;
        Ok(FreshAuthority { certificate: certificate.pem(), key: key.serialize_pem() })
    }

    /// Reads the authority's files.
    ///
    /// # Errors
    /// When one is missing or damaged, or they do not belong together.
    pub fn load(certificate: &Path, key: &Path) -> Result<Self, AuthorityError> {
        let der = keys::certificate(certificate)?;
        let key = keys::signing_key(key)?;
        let belongs = x509_parser::parse_x509_certificate(&der)
            .is_ok_and(|(_, parsed)| parsed.public_key().raw == key.subject_public_key_info());
        if !belongs {
            return Err(AuthorityError::Mismatch(certificate.to_owned()));
        }
        Ok(Self { issuer: Issuer::from_ca_cert_der(&der, key)?, certificate: der })
    }

    /// The authority's certificate.
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// SHA-256 of the authority's certificate: what tokens carry and sites pin.
    pub fn fingerprint(&self) -> [u8; 32] {
        Sha256::digest(&self.certificate).into()
    }

    /// Makes a certificate for a site.
    ///
    /// # Errors
    /// When the certificate cannot be made; nothing that a site sends can cause that.
    pub fn issue_site(
        &self,
        site: &SiteId,
        key: &RequestedKey,
        now: u64,
        lifetime: Duration,
    ) -> Result<Issued, AuthorityError> {
        let mut params = params(site.as_str(), now, lifetime)?;
        params.subject_alt_names = vec![SanType::DnsName(site_dns_name(site).try_into()?)];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let der = params.signed_by(&key.0, &self.issuer)?.der().clone();
        let read = PeerCertificate::read(&der).ok_or(rcgen::Error::CouldNotParseCertificate)?;
        Ok(Issued { der, serial: read.serial, key_sha256: read.key_sha256, issued: now, ends: read.ends })
    }

    /// Makes a key and a certificate for the server, both as PEM.
    ///
    /// # Errors
    /// When a name cannot stand in a certificate.
    pub fn issue_server(&self, names: &[String], now: u64) -> Result<(String, String), AuthorityError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = params("Demarc hub", now, SERVER_LIFETIME)?;
        params.subject_alt_names = names
            .iter()
            .map(|name| {
                Ok(match name.parse::<IpAddr>() {
                    Ok(address) => SanType::IpAddress(address),
                    Err(_) => SanType::DnsName(name.as_str().try_into()?),
                })
            })
            .collect::<Result<_, rcgen::Error>>()?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok((certificate.pem(), key.serialize_pem()))
    }
}

/// What all certificates have in common.
fn params(common_name: &str, now: u64, lifetime: Duration) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    let begins = clock::moment(now).checked_sub(BACKDATED).unwrap_or(std::time::UNIX_EPOCH);
    params.not_before = begins.into();
    params.not_after = (clock::moment(now) + lifetime).into();
    params.serial_number = Some(random_serial()?);
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    Ok(params)
}

/// 127 random bits: positive, and never repeated.
fn random_serial() -> Result<SerialNumber, rcgen::Error> {
    let mut bits = [0u8; 16];
    aws_lc_rs::rand::fill(&mut bits).map_err(|_| rcgen::Error::RingUnspecified)?;
    bits[0] = bits[0] & 0x7f | 0x40;
    Ok(SerialNumber::from_slice(&bits))
}

#[cfg(test)]
mod tests {
    use rcgen::PKCS_ECDSA_P384_SHA384;

    use super::*;

    fn authority() -> Authority {
        let directory = tempfile::tempdir().unwrap();
        let fresh = Authority::create(1_800_000_000).unwrap();
        let (certificate, key) = (directory.path().join("ca.pem"), directory.path().join("ca-key.pem"));
        keys::write_new(&certificate, &fresh.certificate, 0o644).unwrap();
        keys::write_new(&key, &fresh.key, 0o600).unwrap();
        Authority::load(&certificate, &key).unwrap()
    }

    fn request(key: &KeyPair) -> Vec<u8> {
        CertificateParams::default().serialize_request(key).unwrap().der().to_vec()
    }

    #[test]
    fn a_site_gets_a_certificate_for_its_key_and_nothing_else_of_its_request() {
        let authority = authority();
        for kind in [&PKCS_ECDSA_P256_SHA256, &PKCS_ED25519] {
            let key = KeyPair::generate_for(kind).unwrap();
            let mut wishes = CertificateParams::new(vec!["site-two.site.demarc".into()]).unwrap();
            wishes.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            let requested = RequestedKey::from_request(wishes.serialize_request(&key).unwrap().der()).unwrap();
            let site = "site-one".parse().unwrap();
            let issued = authority.issue_site(&site, &requested, 1_800_000_000, Duration::from_secs(86_400)).unwrap();
            let read = PeerCertificate::read(&issued.der).unwrap();
            assert_eq!(read.site, site);
            assert_eq!(read.key_sha256, requested.sha256());
            assert_eq!(read.ends, 1_800_086_400);
            let (_, parsed) = x509_parser::parse_x509_certificate(&issued.der).unwrap();
            assert!(!parsed.is_ca());
            assert_eq!(parsed.validity().not_before.timestamp(), 1_800_000_000 - 900);
        }
    }

    #[test]
    fn requests_that_prove_nothing_are_refused() {
        let good = request(&KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap());
        assert!(RequestedKey::from_request(&good).is_ok());
        let mut forged = good.clone();
        let last = forged.len() - 1;
        forged[last] ^= 1;
        assert!(RequestedKey::from_request(&forged).is_err());
        let other_curve = request(&KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap());
        assert!(RequestedKey::from_request(&other_curve).is_err());
        assert!(RequestedKey::from_request(b"garbage").is_err());
        assert!(RequestedKey::from_request(b"").is_err());
    }
}
