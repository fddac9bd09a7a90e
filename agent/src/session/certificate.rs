//! Whether the certificate that an engineer shows opens this session: one decision, made from nothing but its arguments.

use demarc_proto::support::{GRANT_OPTION, Grant};
use russh::keys::{
    Algorithm, Certificate, EcdsaCurve, HashAlg, PublicKey,
    ssh_key::{certificate::CertType, public::KeyData},
};

/// Why a certificate does not open a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It certifies a kind of key that is not taken here.
    #[error("it certifies a kind of key that is not taken here (only ssh-ed25519 and ecdsa-sha2-nistp256 are)")]
    KeyType,
    /// It certifies a host.
    #[error("it is a host's certificate, not a user's")]
    NotAUser,
    /// Its issuer is not trusted.
    #[error("it was signed by a key that is not in support.authorities")]
    Authority,
    /// Its signature is not its issuer's.
    #[error("its signature is wrong")]
    Signature,
    /// It names another site, several sites, or none, which would mean any.
    #[error("it does not name this site, and this site alone")]
    Principals,
    /// It is not valid yet.
    #[error("it is not valid yet: the clocks of the vendor and of this site differ too much")]
    TooEarly,
    /// It is no longer valid.
    #[error("its time is over")]
    TooLate,
    /// It is valid for longer than the grant.
    #[error("it is valid for longer than the grant")]
    OutlivesGrant,
    /// It is for no grant.
    #[error("it names no grant")]
    NoGrant,
    /// It is for another grant.
    #[error("it is for another grant")]
    OtherGrant,
    /// It asks for something that this version does not know and must not overlook.
    #[error("it has a critical option that is not known here")]
    CriticalOption,
    /// It is somebody else's.
    #[error("it is not for the engineer whom the owner expects")]
    OtherEngineer,
    /// Its key id cannot stand in a record that people read.
    #[error("its key id is empty, too long, or holds signs that cannot be printed")]
    KeyId,
}

/// What a session must fit: the grant, and whose word counts.
#[derive(Debug)]
pub struct Terms<'a> {
    /// The owner's grant.
    pub grant: &'a Grant,
    /// Public keys of the authorities, a line each.
    pub authorities: &'a [String],
}

/// The longest key id that is taken.
const LONGEST_KEY_ID: usize = 128;

/// Decides whether a certificate opens a session, at that time (seconds since 1970 in UTC). That whoever shows it holds its
/// key was proved before.
///
/// # Errors
/// When it does not; the reason is for the recording, and whoever tries is not told.
pub fn check(certificate: &Certificate, terms: &Terms<'_>, now: u64) -> Result<(), Refused> {
    if !is_taken(&certificate.algorithm()) {
        return Err(Refused::KeyType);
    }
    if certificate.cert_type() != CertType::User {
        return Err(Refused::NotAUser);
    }
    if !terms.authorities.iter().any(|line| is_authority(line, certificate.signature_key())) {
        return Err(Refused::Authority);
    }
    if certificate.verify_signature().is_err() {
        return Err(Refused::Signature);
    }
    if certificate.valid_principals() != [terms.grant.site.to_string()] {
        return Err(Refused::Principals);
    }
    if now < certificate.valid_after() {
        return Err(Refused::TooEarly);
    }
    if now >= certificate.valid_before() {
        return Err(Refused::TooLate);
    }
    if certificate.valid_before() > terms.grant.until {
        return Err(Refused::OutlivesGrant);
    }
    let options = certificate.critical_options();
    match options.get(GRANT_OPTION) {
        None if options.is_empty() => return Err(Refused::NoGrant),
        None => return Err(Refused::CriticalOption),
        Some(_) if options.len() > 1 => return Err(Refused::CriticalOption),
        Some(grant) if *grant != terms.grant.id.to_string() => return Err(Refused::OtherGrant),
        Some(_) => {}
    }
    let key_id = certificate.key_id();
    if key_id.is_empty() || key_id.len() > LONGEST_KEY_ID || key_id.chars().any(char::is_control) {
        return Err(Refused::KeyId);
    }
    if terms.grant.engineer.as_ref().is_some_and(|engineer| engineer.as_str() != key_id) {
        return Err(Refused::OtherEngineer);
    }
    Ok(())
}

/// The kinds of key that an engineer may have.
pub fn is_taken(algorithm: &Algorithm) -> bool {
    matches!(algorithm, Algorithm::Ed25519 | Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 })
}

fn is_authority(line: &str, key: &KeyData) -> bool {
    let trusted = PublicKey::from_openssh(line.trim()).ok();
    trusted.is_some_and(|trusted| trusted.algorithm() == Algorithm::Ed25519 && trusted.key_data() == key)
}

/// The fingerprint of the certified key, as `ssh-keygen -l` prints it.
pub fn fingerprint(certificate: &Certificate) -> String {
    certificate.public_key().fingerprint(HashAlg::Sha256).to_string()
}
