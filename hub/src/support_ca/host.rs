//! A site's host certificate: by it an engineer's ssh tells the PBX from a hub that poses as one.

use demarc_proto::SiteId;
use ssh_key::{Algorithm, HashAlg, PublicKey};

use super::{BACKDATED, Entry, Refused, Signed, Terms, line_of};

/// What is to be signed.
#[derive(Clone, Debug)]
pub struct HostOrder {
    /// The site.
    pub site: SiteId,
    /// Its host key.
    pub key: PublicKey,
    /// How many seconds the certificate is to be good.
    pub valid: u64,
    /// Whether it may be another key than before.
    pub replace: bool,
}

impl HostOrder {
    /// Decides. `certified` is what this authority said about the site's host key last, `holder` which site has this key.
    ///
    /// # Errors
    /// When something about the order is not as it should be.
    pub fn terms(self, certified: Option<&Entry>, holder: Option<&Entry>, now: u64) -> Result<Terms, Refused> {
        let site = &self.site;
        if self.key.algorithm() != Algorithm::Ed25519 {
            return Err(Refused::because("a site's host key is ssh-ed25519; `demarc support key` prints it there"));
        }
        if let Some(other) = holder.filter(|entry| entry.site != *site) {
            return Err(Refused(format!(
                "this is the host key of {}: a machine that was copied needs a key of its own",
                other.site
            )));
        }
        let before = certified.filter(|entry| entry.public_key != line_of(&self.key));
        if let Some(before) = before
            && !self.replace
        {
            return Err(Refused(format!(
                "the host key of {site} is {}, and this is {}: ask the customer by another way than the hub, and then \
                 say --replace",
                before.key,
                self.key.fingerprint(HashAlg::Sha256)
            )));
        }
        Ok(Terms {
            key: self.key,
            signed: Signed::Host { replaces: before.map(|entry| entry.key.clone()) },
            valid_after: now.saturating_sub(BACKDATED),
            valid_before: now.saturating_add(self.valid),
        })
    }
}

#[cfg(test)]
mod tests {
    use ssh_key::{PrivateKey, private::Ed25519Keypair};

    use super::*;

    fn key(seed: u8) -> PublicKey {
        PrivateKey::from(Ed25519Keypair::from_seed(&[seed; 32])).public_key().clone()
    }

    fn entry(site: &str, key: &PublicKey) -> Entry {
        Entry {
            serial: 1,
            at: 1,
            site: site.parse().unwrap(),
            signed: Signed::Host { replaces: None },
            key: key.fingerprint(HashAlg::Sha256).to_string(),
            public_key: line_of(key),
            valid_after: 0,
            valid_before: 1,
        }
    }

    #[test]
    fn a_key_is_replaced_only_when_somebody_says_so() {
        let order =
            |seed, replace| HostOrder { site: "site-one".parse().unwrap(), key: key(seed), valid: 100, replace };
        let known = entry("site-one", &key(1));
        let terms = order(1, false).terms(None, None, 1000).unwrap();
        assert_eq!((terms.valid_after, terms.valid_before), (100, 1100));
        assert!(order(1, false).terms(Some(&known), Some(&known), 1000).is_ok(), "the same key again");
        assert!(order(2, false).terms(Some(&known), None, 1000).unwrap_err().0.contains("say --replace"));
        let replaced = order(2, true).terms(Some(&known), None, 1000).unwrap();
        assert_eq!(replaced.signed, Signed::Host { replaces: Some(known.key.clone()) });
        let other = entry("site-two", &key(2));
        assert!(order(2, true).terms(Some(&known), Some(&other), 1000).unwrap_err().0.contains("host key of site-two"));
    }
}
