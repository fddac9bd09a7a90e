//! What a certificate says, and whether one that a hub issued fits this site.

use std::{sync::Arc, time::Duration};

use demarc_proto::{SiteId, bytes64::Bytes64};
use rustls::{
    RootCertStore,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, UnixTime},
    server::WebPkiClientVerifier,
};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// A chain longer than this is not one of ours.
const MAX_CHAIN: usize = 4;
/// No hub gives certificates for longer.
const MAX_LIFETIME: u64 = 400 * 86_400;

/// The parts of a certificate that matter here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    /// First good second, since 1970 in UTC.
    pub(crate) from: u64,
    /// Last good second.
    pub(crate) until: u64,
    /// Common name of the subject.
    pub(crate) subject: Option<String>,
    /// Common name (or organization) of the issuer.
    pub(crate) issuer: Option<String>,
    /// Names that a server certificate is for.
    pub(crate) names: Vec<String>,
    /// The public key (SubjectPublicKeyInfo in DER).
    pub(crate) public_key: Vec<u8>,
}

/// Why a certificate from the hub is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// Not a chain of certificates.
    #[error("it cannot be read")]
    Unreadable,
    /// For another key.
    #[error("it is for another key")]
    OtherKey,
    /// For another site.
    #[error("it is for another site")]
    OtherSite,
    /// Another authority issued it.
    #[error("another authority issued it")]
    OtherAuthority,
    /// It is over already, or good for absurdly long.
    #[error("its validity makes no sense")]
    Validity,
}

impl Facts {
    /// Reads a certificate in DER.
    pub(crate) fn read(der: &[u8]) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let name = |name: &x509_parser::x509::X509Name<'_>| {
            let common = name.iter_common_name().chain(name.iter_organization()).next();
            common.and_then(|value| value.as_str().ok()).map(plain)
        };
        let moment = |time: x509_parser::time::ASN1Time| u64::try_from(time.timestamp()).unwrap_or(0);
        let names = certificate.subject_alternative_name().ok().flatten();
        let names = names.into_iter().flat_map(|names| &names.value.general_names).filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(plain(name)),
            GeneralName::IPAddress(bytes) => address(bytes),
            _ => None,
        });
        Some(Self {
            from: moment(certificate.validity().not_before),
            until: moment(certificate.validity().not_after),
            subject: name(certificate.subject()),
            issuer: name(certificate.issuer()),
            names: names.take(8).collect(),
            public_key: certificate.public_key().raw.to_vec(),
        })
    }

    /// When two thirds of the lifetime are over.
    pub(crate) fn renew_at(&self) -> u64 {
        self.from + self.until.saturating_sub(self.from) / 3 * 2
    }
}

/// What a stranger wrote into a certificate, safe for a terminal and a log.
fn plain(text: &str) -> String {
    text.chars().filter(|c| c.is_ascii_graphic() || *c == ' ').take(64).collect()
}

fn address(bytes: &[u8]) -> Option<String> {
    let four = <[u8; 4]>::try_from(bytes).map(|b| std::net::Ipv4Addr::from(b).to_string());
    four.or_else(|_| <[u8; 16]>::try_from(bytes).map(|b| std::net::Ipv6Addr::from(b).to_string())).ok()
}

/// Checks a chain that the hub issued for this site's key; its own certificate comes first.
pub(crate) fn check_issued(
    chain: &[Bytes64],
    public_key: &[u8],
    site: &SiteId,
    ca: &[u8],
    now: u64,
) -> Result<Vec<CertificateDer<'static>>, Unfit> {
    let own = chain.first().filter(|_| chain.len() <= MAX_CHAIN).ok_or(Unfit::Unreadable)?;
    let facts = Facts::read(&own.0).ok_or(Unfit::Unreadable)?;
    if facts.public_key != public_key {
        return Err(Unfit::OtherKey);
    }
    if facts.subject.as_deref() != Some(site.as_str()) {
        return Err(Unfit::OtherSite);
    }
    if facts.until <= now.max(facts.from) || facts.until - facts.from > MAX_LIFETIME {
        return Err(Unfit::Validity);
    }
    let chain: Vec<_> = chain.iter().map(|link| CertificateDer::from(link.0.clone())).collect();
    // A clock that is behind the hub's must not keep this machine from a certificate that the hub takes.
    let moment = UnixTime::since_unix_epoch(Duration::from_secs(now.max(facts.from)));
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(ca.to_vec())).map_err(|_| Unfit::OtherAuthority)?;
    let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider())
        .build()
        .map_err(|_| Unfit::OtherAuthority)?;
    verifier.verify_client_cert(&chain[0], &chain[1..], moment).map_err(|_| Unfit::OtherAuthority)?;
    Ok(chain)
}

/// The one provider of cryptography that is used anywhere in the link.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::testing::{Authority, now};

    #[test]
    fn only_a_certificate_that_fits_is_taken() {
        let (ca, other_ca) = (Authority::new("Demarc test CA"), Authority::new("Demarc test CA"));
        let site: SiteId = "site-one".parse().unwrap();
        let key = rcgen::KeyPair::generate().unwrap();
        let now = now();
        let check = |chain: &[Bytes64]| {
            check_issued(chain, &rcgen::PublicKeyData::subject_public_key_info(&key), &site, &ca.der(), now)
                .map(|c| c.len())
        };
        let issued = |ca: &Authority, name, key: &rcgen::KeyPair, from, until| {
            Bytes64(ca.site_certificate(name, key, from, until))
        };
        let good = issued(&ca, "site-one", &key, now - 900, now + 86_400 * 90);
        assert_eq!(check(std::slice::from_ref(&good)), Ok(1));
        assert_eq!(check(&[good.clone(), Bytes64(ca.der())]), Ok(2));
        assert_eq!(check(&[]), Err(Unfit::Unreadable));
        assert_eq!(check(&[Bytes64(vec![1, 2, 3])]), Err(Unfit::Unreadable));
        assert_eq!(check(&vec![good; MAX_CHAIN + 1]), Err(Unfit::Unreadable));
        let other_key = rcgen::KeyPair::generate().unwrap();
        let cases = [
            (issued(&ca, "site-one", &other_key, now - 900, now + 86_400), Unfit::OtherKey),
            (issued(&ca, "site-two", &key, now - 900, now + 86_400), Unfit::OtherSite),
            (issued(&other_ca, "site-one", &key, now - 900, now + 86_400), Unfit::OtherAuthority),
            (issued(&ca, "site-one", &key, now - 900, now - 1), Unfit::Validity),
            (issued(&ca, "site-one", &key, now, now + 86_400 * 3650), Unfit::Validity),
        ];
        for (certificate, unfit) in cases {
            assert_eq!(check(&[certificate]), Err(unfit));
        }
        // Our clock an hour behind.
        assert_eq!(check(&[issued(&ca, "site-one", &key, now + 3600, now + 86_400)]), Ok(1));
    }
}
