//! A certificate authority for peers that the tests play: it signs whatever a test wants, valid or not.

use std::time::{Duration, SystemTime};

use aws_lc_rs::signature::Ed25519KeyPair;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SanType,
};
use rustls_pki_types::{CertificateDer, CertificateSigningRequestDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use sha2::{Digest, Sha256};

/// The authority, with the key that signs receipts.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    receipt_key: Ed25519KeyPair,
}

/// A certificate's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validity {
    /// Good now.
    Now,
    /// Over since yesterday.
    Expired,
    /// From tomorrow on.
    NotYet,
}

/// A chain with its private key.
pub struct Identity {
    /// The own certificate first.
    pub chain: Vec<CertificateDer<'static>>,
    /// The key of the first.
    pub key: PrivateKeyDer<'static>,
}

const DAY: Duration = Duration::from_secs(86_400);

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

impl Authority {
    /// A fresh one.
    pub fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "An authority of the tests");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key).unwrap().der().clone();
        Self { issuer: Issuer::new(params, key), certificate, receipt_key: Ed25519KeyPair::generate().unwrap() }
    }

    /// Its own certificate.
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// What a token carries.
    pub fn fingerprint(&self) -> Vec<u8> {
        Sha256::digest(&self.certificate).to_vec()
    }

    /// The key that signs receipts.
    pub fn receipt_key(&self) -> &Ed25519KeyPair {
        &self.receipt_key
    }

    /// A server's identity; `name` is what stands in it.
    pub fn server(&self, name: &str, validity: Validity) -> Identity {
        let key = KeyPair::generate().unwrap();
        let mut params = params("A server of the tests", validity);
        params.subject_alt_names = vec![match name.parse() {
            Ok(address) => SanType::IpAddress(address),
            Err(_) => SanType::DnsName(name.try_into().unwrap()),
        }];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let own = params.signed_by(&key, &self.issuer).unwrap().der().clone();
        Identity { chain: vec![own, self.certificate.clone()], key: private(&key) }
    }

    /// A site's identity that this authority vouches for.
    pub fn site(&self, site: &str, validity: Validity) -> Identity {
        let key = KeyPair::generate().unwrap();
        let own = site_params(site, validity).signed_by(&key, &self.issuer).unwrap().der().clone();
        Identity { chain: vec![own], key: private(&key) }
    }

    /// The certificate that a site asks for in its request.
    pub fn answer(&self, site: &str, request: &[u8]) -> CertificateDer<'static> {
        let request = CertificateSigningRequestParams::from_der(&CertificateSigningRequestDer::from(request)).unwrap();
        site_params(site, Validity::Now).signed_by(&request.public_key, &self.issuer).unwrap().der().clone()
    }
}

fn private(key: &KeyPair) -> PrivateKeyDer<'static> {
    PrivatePkcs8KeyDer::from(key.serialize_der()).into()
}

fn site_params(site: &str, validity: Validity) -> CertificateParams {
    let mut params = params(site, validity);
    params.subject_alt_names = vec![SanType::DnsName(format!("{site}.site.demarc").try_into().unwrap())];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params
}

fn params(name: &str, validity: Validity) -> CertificateParams {
    let now = SystemTime::now();
    let (from, to) = match validity {
        Validity::Now => (now - DAY, now + 80 * DAY),
        Validity::Expired => (now - 90 * DAY, now - DAY),
        Validity::NotYet => (now + DAY, now + 90 * DAY),
    };
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = from.into();
    params.not_after = to.into();
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params
}
