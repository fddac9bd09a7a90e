//! An engineer's certificate: for one grant, at one site, and not a second longer than the grant.

use demarc_proto::support::{GRANT_OPTION, Grant, GrantMessage, LONGEST_GRANT, Label, Scope};
use ssh_key::{Algorithm, EcdsaCurve, HashAlg, PublicKey};

use super::{BACKDATED, Entry, Refused, Signed, Terms, line_of};
use crate::support::verify;

/// What is to be signed.
#[derive(Clone, Debug)]
pub struct UserOrder {
    /// The grant, as the site signed it.
    pub grant: GrantMessage,
    /// The engineer's key.
    pub key: PublicKey,
    /// The engineer: the certificate's key id.
    pub engineer: Label,
    /// How many seconds it is to be good.
    pub valid: u64,
}

/// A grant that is really the site's, and good now.
#[derive(Clone, Debug)]
pub struct Believed {
    /// The grant.
    pub grant: Grant,
    /// What this authority said about the site's host key.
    pub host: Entry,
}

impl Believed {
    /// Decides whether a grant is real. `certified` is what this authority said about the site's host key last.
    ///
    /// # Errors
    /// When it is not, or not good now.
    pub fn read(
        message: &GrantMessage,
        certified: impl FnOnce(&Grant) -> Option<Entry>,
        now: u64,
    ) -> Result<Self, Refused> {
        let Ok(grant) = Grant::from_body(&message.grant) else {
            return Err(Refused::because("this is not a grant that this version knows"));
        };
        let host_key = verify(&grant, message).map_err(|forged| Refused(format!("a forged grant: {forged}")))?;
        let site = &grant.site;
        let Some(host) = certified(&grant) else {
            return Err(Refused(format!(
                "no host key of {site} was certified here, so nobody can tell whether this grant is real: \
                 `demarc-hub support-ca sign-host` first, with the key that the customer's `demarc support key` prints"
            )));
        };
        if host.public_key != line_of(&host_key) {
            return Err(Refused(format!(
                "this grant is signed by {}, but the host key of {site} is {}: ask the customer by another way than the \
                 hub; if the machine is new, `demarc-hub support-ca sign-host --replace`",
                host_key.fingerprint(HashAlg::Sha256),
                host.key
            )));
        }
        if grant.until <= now {
            return Err(Refused::because("this grant is over: ask the customer to run `demarc support allow` again"));
        }
        if grant.issued > now + BACKDATED {
            return Err(Refused::because("this grant begins in the future: a clock is wrong, here or at the site"));
        }
        if grant.until.saturating_sub(grant.issued) > LONGEST_GRANT {
            return Err(Refused::because("this grant lasts longer than any may"));
        }
        Ok(Self { grant, host })
    }
}

impl UserOrder {
    /// Decides.
    ///
    /// # Errors
    /// When the grant is not one to believe, or something else about the order is not as it should be.
    pub fn terms(
        self,
        certified: impl FnOnce(&Grant) -> Option<Entry>,
        now: u64,
    ) -> Result<(Terms, Believed), Refused> {
        let believed = Believed::read(&self.grant, certified, now)?;
        let grant = &believed.grant;
        if let Some(expected) = &grant.engineer
            && *expected != self.engineer
        {
            return Err(Refused(format!("the customer expects {expected}, not {}", self.engineer)));
        }
        if !matches!(self.key.algorithm(), Algorithm::Ed25519 | Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 }) {
            return Err(Refused::because("the engineer's key must be ssh-ed25519 or ecdsa-sha2-nistp256"));
        }
        if line_of(&self.key) == believed.host.public_key {
            return Err(Refused::because("this is the site's own host key, not an engineer's"));
        }
        let signed =
            Signed::User { grant: grant.id, scope: grant.scope, engineer: self.engineer, ticket: grant.ticket.clone() };
        let valid_before = grant.until.min(now.saturating_add(self.valid));
        let terms = Terms { key: self.key, signed, valid_after: now.saturating_sub(BACKDATED), valid_before };
        Ok((terms, believed))
    }
}

/// The critical option of a user certificate.
pub(super) fn critical_option(grant: &demarc_proto::support::GrantId) -> (&'static str, String) {
    (GRANT_OPTION, grant.to_string())
}

/// The extensions that ssh wants to see for a scope. The site goes by the grant alone.
pub(super) fn extension(scope: Scope) -> Option<&'static str> {
    match scope {
        Scope::Diagnose | Scope::Shell => Some("permit-pty"),
        Scope::Forward(_) => Some("permit-port-forwarding"),
        Scope::Files => None,
    }
}

#[cfg(test)]
mod tests {
    use demarc_proto::support::GrantId;
    use ssh_key::{LineEnding, PrivateKey, private::Ed25519Keypair};

    use super::*;

    const NOW: u64 = 1_795_338_000;
    const P256: &str = "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBHI8TBOzaMKfIgpCSrmKq/2tyycq5JUkPFoDG4B+Vhkk4AOzwKDTA+duljE31Stj/f8Wj1AWjxHF8rf2FctNWiw=";
    const P384: &str = "ecdsa-sha2-nistp384 AAAAE2VjZHNhLXNoYTItbmlzdHAzODQAAAAIbmlzdHAzODQAAABhBD2tHBA5F+5vmE5VV1TMtzx4+hu9WguqxwK+uiKWL+fTLa59r46bVp4NHbwLi/g6tqUxF+LLgAFkxvwkF2gnb6tocSvzr9xpmZHFK5D+G5xZT1ZUDAh8Aax/ueslIGzyAQ==";

    fn key(seed: u8) -> PrivateKey {
        PrivateKey::from(Ed25519Keypair::from_seed(&[seed; 32]))
    }

    fn grant() -> Grant {
        Grant {
            id: GrantId::from_bits([1; 8]),
            site: "site-one".parse().unwrap(),
            scope: "shell".parse().unwrap(),
            issued: NOW - 60,
            until: NOW + 7200,
            ticket: None,
            engineer: Some("anna".parse().unwrap()),
            host_key: line_of(key(1).public_key()),
        }
    }

    fn signed(grant: &Grant) -> GrantMessage {
        let body = grant.to_body();
        let signature = key(1).sign(GRANT_OPTION, HashAlg::Sha512, body.as_bytes()).unwrap();
        GrantMessage { grant: body, signature: signature.to_pem(LineEnding::LF).unwrap() }
    }

    fn certified(by: &PrivateKey) -> Entry {
        Entry {
            serial: 1,
            at: NOW,
            site: "site-one".parse().unwrap(),
            signed: Signed::Host { replaces: None },
            key: by.public_key().fingerprint(HashAlg::Sha256).to_string(),
            public_key: line_of(by.public_key()),
            valid_after: 0,
            valid_before: u64::MAX,
        }
    }

    fn order(grant: GrantMessage) -> UserOrder {
        UserOrder { grant, key: key(2).public_key().clone(), engineer: "anna".parse().unwrap(), valid: 3600 }
    }

    fn decide(order: UserOrder) -> Result<Terms, String> {
        order.terms(|_| Some(certified(&key(1))), NOW).map(|(terms, _)| terms).map_err(|refused| refused.0)
    }

    #[test]
    fn a_certificate_lasts_as_long_as_asked_and_never_longer_than_its_grant() {
        let lasts = |valid| {
            let terms = decide(UserOrder { valid, ..order(signed(&grant())) }).unwrap();
            assert_eq!(terms.valid_after, NOW - 900);
            terms.valid_before - NOW
        };
        assert_eq!(lasts(3600), 3600);
        assert_eq!(lasts(1_000_000), 7200);
        assert_eq!(lasts(u64::MAX), 7200);
    }

    #[test]
    fn what_is_not_in_order_is_not_signed() {
        let good = grant();
        let mut changed = signed(&good);
        changed.grant = changed.grant.replace("shell", "files");
        let other_kind = |line| UserOrder { key: PublicKey::from_openssh(line).unwrap(), ..order(signed(&good)) };
        assert!(decide(other_kind(P256)).is_ok());
        for (order, words) in [
            (order(changed), "a forged grant"),
            (order(signed(&Grant { until: NOW, ..good.clone() })), "is over"),
            (order(signed(&Grant { issued: NOW + 901, ..good.clone() })), "in the future"),
            (order(signed(&Grant { until: NOW + 8 * 86_400, ..good.clone() })), "longer than any"),
            (UserOrder { engineer: "berta".parse().unwrap(), ..order(signed(&good)) }, "expects anna, not berta"),
            (UserOrder { key: key(1).public_key().clone(), ..order(signed(&good)) }, "own host key"),
            (other_kind(P384), "must be ssh-ed25519"),
        ] {
            let refused = decide(order).unwrap_err();
            assert!(refused.contains(words), "{refused}");
        }
        let unknown = order(signed(&good)).terms(|_| None, NOW).unwrap_err();
        assert!(unknown.0.contains("no host key of site-one was certified here"), "{unknown}");
        let other = order(signed(&good)).terms(|_| Some(certified(&key(3))), NOW).unwrap_err();
        assert!(other.0.contains("but the host key of site-one is SHA256:"), "{other}");
    }
}
