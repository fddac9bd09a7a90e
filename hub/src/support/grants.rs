//! The grants that a site told us of, for picking one and for showing them. Nothing is decided by them.

use std::sync::Arc;

use demarc_proto::{
    SiteId,
    support::{GRANT_OPTION, Grant, GrantId, GrantMessage, LONGEST_GRANT},
};
use ssh_key::{Algorithm, PublicKey, SshSig};

/// So many grants of one site are kept; of more, those that end last.
const MOST: usize = 32;
/// A grant ends by the site's clock, which may be this much, in seconds, behind ours.
pub const SKEW: u64 = 15 * 60;
/// A grant and its signature have a few hundred bytes each.
const LONGEST_TEXT: usize = 2048;

/// A grant whose signature is by the host key that it names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announced {
    /// What it says.
    pub grant: Grant,
    /// What was signed, byte for byte.
    pub message: GrantMessage,
}

/// What a site sent is not a grant of its own.
#[derive(Debug, thiserror::Error)]
#[error("it announced a grant that {0}")]
pub struct Forged(&'static str);

impl Announced {
    /// Reads what a site says.
    ///
    /// # Errors
    /// When it is not a grant, not the site's, or not signed by the host key in it.
    pub fn read(message: GrantMessage, site: &SiteId) -> Result<Self, Forged> {
        if message.grant.len().max(message.signature.len()) > LONGEST_TEXT {
            return Err(Forged("is longer than any grant"));
        }
        let grant = Grant::from_body(&message.grant).map_err(|_| Forged("cannot be read"))?;
        if grant.site != *site {
            return Err(Forged("opens another site"));
        }
        if !grant.until.checked_sub(grant.issued).is_some_and(|seconds| (1..=LONGEST_GRANT).contains(&seconds)) {
            return Err(Forged("lasts longer than any grant may, or ends before it begins"));
        }
        verify(&grant, &message)?;
        Ok(Self { grant, message })
    }
}

/// Checks that a grant is signed by the host key that it names. Who has that key is another question.
pub(crate) fn verify(grant: &Grant, message: &GrantMessage) -> Result<PublicKey, Forged> {
    let key = PublicKey::from_openssh(&grant.host_key).map_err(|_| Forged("names no host key"))?;
    if key.algorithm() != Algorithm::Ed25519 {
        return Err(Forged("names a host key that is not Ed25519"));
    }
    let signature = SshSig::from_pem(&message.signature).map_err(|_| Forged("has no signature"))?;
    key.verify(GRANT_OPTION, message.grant.as_bytes(), &signature)
        .map_err(|_| Forged("is not signed by its host key"))?;
    Ok(key)
}

/// The grants of a connected site.
#[derive(Debug, Default)]
pub struct Grants(Vec<Arc<Announced>>);

impl Grants {
    /// Keeps a grant, unless its time is over. One with the same name is replaced.
    pub fn note(&mut self, announced: Announced, now: u64) {
        self.end(announced.grant.id);
        self.0.retain(|known| is_live(known, now));
        if is_live(&announced, now) {
            self.0.push(Arc::new(announced));
        }
        if self.0.len() > MOST {
            let first = (0..self.0.len()).min_by_key(|at| self.0[*at].grant.until);
            self.0.remove(first.unwrap_or_default());
        }
    }

    /// Forgets a grant.
    pub fn end(&mut self, grant: GrantId) {
        self.0.retain(|known| known.grant.id != grant);
        if self.0.is_empty() {
            // Most sites have no grant most of the time, and then nothing is kept of them.
            self.0 = Vec::new();
        }
    }

    /// Those whose time is not over.
    pub fn live(&self, now: u64) -> impl Iterator<Item = &Arc<Announced>> {
        self.0.iter().filter(move |known| is_live(known, now))
    }

    /// The one to use where nobody chose: the newest, and one whose time is over by our clock only where there is no
    /// other.
    pub fn newest(&self, now: u64) -> Option<GrantId> {
        self.live(now).max_by_key(|known| (known.grant.until > now, known.grant.issued)).map(|known| known.grant.id)
    }
}

fn is_live(announced: &Announced, now: u64) -> bool {
    now <= announced.grant.until.saturating_add(SKEW)
}

#[cfg(test)]
mod tests {
    use ssh_key::{HashAlg, LineEnding, PrivateKey, private::Ed25519Keypair};

    use super::*;

    fn key(seed: u8) -> PrivateKey {
        PrivateKey::from(Ed25519Keypair::from_seed(&[seed; 32]))
    }

    fn grant(number: u8, issued: u64, until: u64) -> Grant {
        Grant {
            id: GrantId::from_bits([number; 8]),
            site: "site-one".parse().unwrap(),
            scope: "shell".parse().unwrap(),
            issued,
            until,
            ticket: None,
            engineer: None,
            host_key: key(1).public_key().to_openssh().unwrap(),
        }
    }

    fn sign(grant: &Grant, by: &PrivateKey, namespace: &str) -> GrantMessage {
        let body = grant.to_body();
        let signature = by.sign(namespace, HashAlg::Sha512, body.as_bytes()).unwrap();
        GrantMessage { grant: body, signature: signature.to_pem(LineEnding::LF).unwrap() }
    }

    fn announced(number: u8, issued: u64, until: u64) -> Announced {
        let grant = grant(number, issued, until);
        let message = sign(&grant, &key(1), GRANT_OPTION);
        Announced::read(message, &grant.site).unwrap()
    }

    #[test]
    fn what_is_not_a_grant_of_the_site_is_told_apart() {
        let site: SiteId = "site-one".parse().unwrap();
        let good = grant(1, 100, 200);
        let words = |message: GrantMessage| Announced::read(message, &site).unwrap_err().to_string();
        let signed = |grant: &Grant| sign(grant, &key(1), GRANT_OPTION);
        assert!(Announced::read(signed(&good), &site).is_ok());
        let mut changed = signed(&good);
        changed.grant = changed.grant.replace("shell", "files");
        let mut spaced = signed(&good);
        spaced.grant.push(' ');
        for (message, reason) in [
            (changed, "not signed"),
            (spaced, "not signed"),
            (sign(&good, &key(2), GRANT_OPTION), "not signed"),
            (sign(&good, &key(1), "file"), "not signed"),
            (GrantMessage { grant: good.to_body(), signature: "none".into() }, "no signature"),
            (GrantMessage { grant: "{}".into(), signature: signed(&good).signature }, "cannot be read"),
            (GrantMessage { grant: " ".repeat(4096), signature: String::new() }, "longer than any"),
            (signed(&Grant { site: "site-two".parse().unwrap(), ..good.clone() }), "another site"),
            (signed(&Grant { until: 100, ..good.clone() }), "lasts longer"),
            (signed(&Grant { until: 99, ..good.clone() }), "lasts longer"),
            (signed(&Grant { until: 101 + LONGEST_GRANT, ..good.clone() }), "lasts longer"),
            (signed(&Grant { issued: 0, until: u64::MAX, ..good.clone() }), "lasts longer"),
            (signed(&Grant { host_key: "ssh-ed25519 AAAA".into(), ..good.clone() }), "no host key"),
        ] {
            assert!(words(message.clone()).contains(reason), "{message:?}");
        }
    }

    #[test]
    fn nothing_that_was_changed_is_taken() {
        let site: SiteId = "site-one".parse().unwrap();
        let good = sign(&grant(1, 100, 200), &key(1), GRANT_OPTION);
        let changed = |text: &str, at: usize, to: u8| {
            let mut bytes = text.as_bytes().to_vec();
            bytes[at] = to;
            String::from_utf8(bytes).unwrap()
        };
        for to in [b'A', b'0', b'"', b'}', b'\n', b' '] {
            for at in 0..good.grant.len() {
                let message = GrantMessage { grant: changed(&good.grant, at, to), ..good.clone() };
                assert!(message == good || Announced::read(message, &site).is_err(), "{at}");
            }
            for at in 0..good.signature.len() {
                let message = GrantMessage { signature: changed(&good.signature, at, to), ..good.clone() };
                // Spaces in its armor do not matter; nothing in it may bring us down.
                if let Ok(read) = Announced::read(message, &site) {
                    assert_eq!(read.message.grant, good.grant);
                }
            }
        }
        for length in 0..good.signature.len() {
            let message = GrantMessage { signature: good.signature[..length].to_owned(), ..good.clone() };
            assert!(Announced::read(message, &site).is_err() || length + 1 == good.signature.len());
        }
    }

    #[test]
    fn grants_drop_out_and_the_newest_is_picked() {
        let mut grants = Grants::default();
        for (number, issued, until) in [(1, 100, 5000), (2, 300, 4000), (3, 200, 9000)] {
            grants.note(announced(number, issued, until), 400);
        }
        let newest = |grants: &Grants, now| grants.newest(now).map(|id| id.to_string());
        assert_eq!(newest(&grants, 400).as_deref(), Some("0202020202020202"));
        // Over by our clock, though perhaps not by the site's: only where there is no other.
        assert_eq!(newest(&grants, 4000).as_deref(), Some("0303030303030303"));
        assert_eq!(grants.live(4000 + SKEW).count(), 3);
        assert_eq!(grants.live(4001 + SKEW).count(), 2);
        grants.note(announced(3, 200, 9000), 4001 + SKEW);
        assert_eq!(grants.0.len(), 2, "the same grant again, and the one that is over is gone");
        grants.note(announced(4, 200, 300), 9000);
        grants.end(GrantId::from_bits([3; 8]));
        assert_eq!((newest(&grants, 9000), grants.0.len()), (None, 0));
    }

    #[test]
    fn a_site_cannot_fill_the_memory() {
        let mut grants = Grants::default();
        for number in 0..100 {
            grants.note(announced(number, 100, 500 + u64::from(number)), 200);
        }
        assert_eq!(grants.0.len(), MOST);
        assert!(grants.live(200).all(|known| known.grant.until >= 500 + 68));
    }
}
