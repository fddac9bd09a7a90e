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

#[cfg(test)]
mod tests {
    use demarc_proto::support::Scope;
    use russh::keys::{
        PrivateKey,
        ssh_key::private::{EcdsaKeypair, Ed25519Keypair},
    };

    use super::{
        super::testing::{AUTHORITY, Made, grant, key},
        *,
    };

    fn authorities() -> Vec<String> {
        vec!["no key at all".to_owned(), key(AUTHORITY).public_key().to_openssh().unwrap() + " vendor support"]
    }

    fn decide(grant: &Grant, made: Made, now: u64) -> Result<(), Refused> {
        check(&made.sign(), &Terms { grant, authorities: &authorities() }, now)
    }

    fn ecdsa(curve: EcdsaCurve) -> PrivateKey {
        EcdsaKeypair::random(&mut russh::keys::key::safe_rng(), curve).unwrap().into()
    }

    #[test]
    fn the_certificate_of_the_grant_is_taken_in_its_time_and_no_other() {
        let grant = grant(Scope::Shell);
        let (from, until) = (grant.issued - 900, grant.until);
        for (now, decision) in [
            (grant.issued, Ok(())),
            (from, Ok(())),
            (until - 1, Ok(())),
            (from - 1, Err(Refused::TooEarly)),
            (until, Err(Refused::TooLate)),
            (until + 1, Err(Refused::TooLate)),
            (u64::MAX, Err(Refused::TooLate)),
        ] {
            assert_eq!(decide(&grant, Made::good(&grant), now), decision, "{now}");
        }
    }

    #[test]
    fn everything_else_is_refused() {
        type Spoil = fn(&mut Made);
        let rows: &[(Spoil, Refused)] = &[
            (|made| made.kind = CertType::Host, Refused::NotAUser),
            (|made| made.authority = key(9), Refused::Authority),
            (|made| made.principals = vec![], Refused::Principals),
            (|made| made.principals = vec!["site-two".into()], Refused::Principals),
            (|made| made.principals.push("site-two".into()), Refused::Principals),
            (|made| made.principals.push("site-one".into()), Refused::Principals),
            (|made| made.principals = vec!["site-one,site-two".into()], Refused::Principals),
            (|made| made.principals = vec!["site-one,".into()], Refused::Principals),
            (|made| made.principals = vec!["SITE-ONE".into()], Refused::Principals),
            (|made| made.principals = vec!["*".into()], Refused::Principals),
            (|made| made.principals = vec!["site-one ".into()], Refused::Principals),
            (|made| made.until += 1, Refused::OutlivesGrant),
            (|made| made.until = u64::MAX, Refused::OutlivesGrant),
            (|made| made.options = vec![], Refused::NoGrant),
            (|made| made.options[0].1 = "fedcba9876543210".into(), Refused::OtherGrant),
            (|made| made.options[0].1 = "0123456789ABCDEF".into(), Refused::OtherGrant),
            (|made| made.options[0].1 = String::new(), Refused::OtherGrant),
            (|made| made.options[0].0 = "Grant@demarc".into(), Refused::CriticalOption),
            (|made| made.options.push(("force-command".into(), "id".into())), Refused::CriticalOption),
            (|made| made.options.push(("source-address".into(), "0.0.0.0/0".into())), Refused::CriticalOption),
            (|made| made.options.push(("verify-required".into(), String::new())), Refused::CriticalOption),
            (|made| made.options = vec![("force-command".into(), "id".into())], Refused::CriticalOption),
            (|made| made.key_id = String::new(), Refused::KeyId),
            (|made| made.key_id = "a\nb".into(), Refused::KeyId),
            (|made| made.key_id = "\u{1b}[2J".into(), Refused::KeyId),
            (|made| made.key_id = "x".repeat(129), Refused::KeyId),
        ];
        let grant = grant(Scope::Shell);
        for (row, (spoil, why)) in rows.iter().enumerate() {
            let mut made = Made::good(&grant);
            spoil(&mut made);
            assert_eq!(decide(&grant, made, grant.issued), Err(*why), "row {row}");
        }
    }

    #[test]
    fn a_grant_for_one_engineer_is_for_nobody_else() {
        let mut grant = grant(Scope::Shell);
        grant.engineer = Some("anna".parse().unwrap());
        assert_eq!(decide(&grant, Made::good(&grant), grant.issued), Ok(()));
        for other in ["Anna", "anna ", "bert", "anna@vendor"] {
            let mut made = Made::good(&grant);
            made.key_id = other.to_owned();
            assert_eq!(decide(&grant, made, grant.issued), Err(Refused::OtherEngineer), "{other}");
        }
    }

    #[test]
    fn a_changed_certificate_and_an_authority_of_another_kind_are_refused() {
        let grant = grant(Scope::Shell);
        let (now, authorities) = (grant.issued, authorities());
        let terms = Terms { grant: &grant, authorities: &authorities };
        let mut bytes = Made::good(&grant).sign().to_bytes().unwrap();
        let place = bytes.windows(4).position(|window| window == b"anna").unwrap();
        bytes[place] = b'o';
        let changed = Certificate::from_bytes(&bytes);
        assert!(changed.is_err() || check(&changed.unwrap(), &terms, now) == Err(Refused::Signature));

        let strong = ecdsa(EcdsaCurve::NistP256);
        let mut made = Made::good(&grant);
        made.authority = strong.clone();
        let lines = [strong.public_key().to_openssh().unwrap()];
        let terms = Terms { grant: &grant, authorities: &lines };
        assert_eq!(check(&made.sign(), &terms, now), Err(Refused::Authority));
        let terms = Terms { grant: &grant, authorities: &[] };
        assert_eq!(check(&Made::good(&grant).sign(), &terms, now), Err(Refused::Authority));
    }

    #[test]
    fn only_two_kinds_of_key_are_taken() {
        let grant = grant(Scope::Shell);
        let authorities = authorities();
        let terms = Terms { grant: &grant, authorities: &authorities };
        let decide = |key: &PrivateKey| check(&Made::good(&grant).sign_for(key.public_key()), &terms, grant.issued);
        assert_eq!(decide(&PrivateKey::from(Ed25519Keypair::from_seed(&[3; 32]))), Ok(()));
        assert_eq!(decide(&ecdsa(EcdsaCurve::NistP256)), Ok(()));
        assert_eq!(decide(&ecdsa(EcdsaCurve::NistP384)), Err(Refused::KeyType));
        for other in ["ssh-rsa", "rsa-sha2-512", "ecdsa-sha2-nistp521", "sk-ssh-ed25519@openssh.com", "ssh-dss"] {
            assert!(other.parse::<Algorithm>().is_ok_and(|algorithm| !is_taken(&algorithm)), "{other}");
        }
    }
}
