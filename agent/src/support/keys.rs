//! The site's SSH host key, which also signs grants, and the certificate by which an engineer knows the site.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use demarc_proto::{
    SiteId,
    support::{GRANT_OPTION, Grant, GrantMessage},
};
use russh::keys::{
    Certificate, PrivateKey, PublicKey,
    ssh_key::{self, HashAlg, LineEnding, certificate::CertType, private::Ed25519Keypair},
};

use crate::{staged::Staged, state::StateDir};

/// What the supervisor holds for sessions.
#[derive(Debug)]
pub struct HostKey {
    key: PrivateKey,
}

/// A key or a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file cannot be read or written.
    #[error("{} cannot be used", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file does not hold what it should.
    #[error("{} does not hold an OpenSSH key", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: ssh_key::Error,
    },
    /// The machine has no randomness to make a key from.
    #[error("this machine has no randomness to make a key from")]
    NoRandomness,
    /// The certificate is not for this site, or not by whom the owner trusts.
    #[error("this host certificate cannot be used: {0}")]
    Unfit(&'static str),
}

impl HostKey {
    /// Loads the site's key; makes it where there is none yet.
    ///
    /// # Errors
    /// When the file cannot be read, written or understood.
    pub fn load_or_make(state: &StateDir) -> Result<Self, KeyError> {
        let path = state.host_key();
        match fs::read(&path) {
            Ok(pem) => match PrivateKey::from_openssh(&pem) {
                Ok(key) => Ok(Self { key }),
                Err(source) => Err(KeyError::Damaged { path, source }),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => Self::make(&path, &state.host_key_public()),
            Err(source) => Err(KeyError::File { path, source }),
        }
    }

    fn make(path: &Path, public: &Path) -> Result<Self, KeyError> {
        let mut seed = [0; 32];
        aws_lc_rs::rand::fill(&mut seed).map_err(|_| KeyError::NoRandomness)?;
        let key = PrivateKey::from(Ed25519Keypair::from_seed(&seed));
        let damaged = |source| KeyError::Damaged { path: path.to_owned(), source };
        let pem = key.to_openssh(LineEnding::LF).map_err(damaged)?;
        write_private(path, pem.as_bytes())?;
        let made = Self { key };
        write_private(public, format!("{}\n", made.public_line()).as_bytes())?;
        Ok(made)
    }

    /// The private key as an OpenSSH file has it: for the worker of a session.
    pub fn to_pem(&self) -> String {
        self.key.to_openssh(LineEnding::LF).map(|pem| pem.as_str().to_owned()).unwrap_or_default()
    }

    /// The public key on one line, without a comment.
    pub fn public_line(&self) -> String {
        self.key.public_key().to_openssh().unwrap_or_default().trim().to_owned()
    }

    /// Signs a grant: the message for the hub.
    ///
    /// # Errors
    /// When the key cannot sign.
    pub fn sign(&self, grant: &Grant) -> Result<GrantMessage, ssh_key::Error> {
        let body = grant.to_body();
        let signature = self.key.sign(GRANT_OPTION, HashAlg::Sha512, body.as_bytes())?;
        Ok(GrantMessage { grant: body, signature: signature.to_pem(LineEnding::LF)? })
    }
}

/// Checks a host certificate: for this key and this site, for hosts, by an authority that the owner trusts, and good now.
///
/// # Errors
/// When it is not.
pub fn check_host_certificate(
    line: &str,
    host_key: &str,
    site: &SiteId,
    authorities: &[String],
    now: u64,
) -> Result<Certificate, KeyError> {
    let certificate = Certificate::from_openssh(line.trim())
        .map_err(|_| KeyError::Unfit("it is not an OpenSSH certificate (the file ends with -cert.pub)"))?;
    let key = PublicKey::from_openssh(host_key).map_err(|_| KeyError::Unfit("this site has no host key yet"))?;
    let trusted = authorities.iter().filter_map(|line| PublicKey::from_openssh(line).ok());
    let fingerprints: Vec<_> = trusted.map(|key| key.fingerprint(HashAlg::Sha256)).collect();
    if certificate.cert_type() != CertType::Host {
        return Err(KeyError::Unfit("it is a user's certificate, not a host's"));
    }
    if certificate.public_key() != key.key_data() {
        return Err(KeyError::Unfit("it is for another key; `demarc support key` prints this site's"));
    }
    if certificate.valid_principals() != [site.to_string()] {
        return Err(KeyError::Unfit("it does not name this site, and this site alone"));
    }
    if !fingerprints.contains(&certificate.signature_key().fingerprint(HashAlg::Sha256)) {
        return Err(KeyError::Unfit("it was signed by a key that is not in support.authorities"));
    }
    if certificate.validate_at(now, &fingerprints).is_err() {
        return Err(KeyError::Unfit(
            "its time is over, its signature is wrong, or it has options that hosts do not have",
        ));
    }
    Ok(certificate)
}

/// Writes a file in one step, for its owner alone.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> Result<(), KeyError> {
    let written = Staged::write(path, bytes).and_then(Staged::commit);
    written.map_err(|source| KeyError::File { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use russh::keys::ssh_key::{SshSig, certificate::Builder};

    use super::*;

    fn state() -> (tempfile::TempDir, StateDir) {
        let root = tempfile::tempdir().unwrap();
        let state = StateDir::new(root.path().join("state"));
        state.create().unwrap();
        (root, state)
    }

    #[test]
    fn the_key_is_made_once_and_signs_grants() {
        let (_root, state) = state();
        let key = HostKey::load_or_make(&state).unwrap();
        assert_eq!(HostKey::load_or_make(&state).unwrap().public_line(), key.public_line());
        let grant = Grant {
            id: "0000000000000001".parse().unwrap(),
            site: "site-one".parse().unwrap(),
            scope: "shell".parse().unwrap(),
            issued: 1,
            until: 2,
            ticket: None,
            engineer: None,
            host_key: key.public_line(),
        };
        let message = key.sign(&grant).unwrap();
        let public = PublicKey::from_openssh(&grant.host_key).unwrap();
        let signature = SshSig::from_pem(&message.signature).unwrap();
        public.verify(GRANT_OPTION, message.grant.as_bytes(), &signature).unwrap();
        assert!(public.verify("file", message.grant.as_bytes(), &signature).is_err());
        fs::write(state.host_key(), "no key").unwrap();
        assert!(matches!(HostKey::load_or_make(&state), Err(KeyError::Damaged { .. })));
    }

    #[test]
    fn only_a_certificate_for_this_host_by_a_trusted_authority_is_taken() {
        let (_root, state) = state();
        let key = HostKey::load_or_make(&state).unwrap();
        let authority = PrivateKey::from(Ed25519Keypair::from_seed(&[1; 32]));
        let stranger = PrivateKey::from(Ed25519Keypair::from_seed(&[2; 32]));
        let trusted = [authority.public_key().to_openssh().unwrap()];
        let site: SiteId = "site-one".parse().unwrap();
        let make = |public: &PublicKey, kind, principal: &str, by: &PrivateKey| {
            let mut builder = Builder::new([0; 16], public.key_data().clone(), 10, 1_000).unwrap();
            builder.cert_type(kind).unwrap().valid_principal(principal).unwrap();
            builder.sign(by).unwrap().to_openssh().unwrap()
        };
        let own = key.key.public_key();
        let check = |line: &str, now| check_host_certificate(line, &key.public_line(), &site, &trusted, now);
        let good = make(own, CertType::Host, "site-one", &authority);
        assert!(check(&good, 500).is_ok());
        assert!(check(&good, 2_000).is_err() && check(&good, 5).is_err());
        for bad in [
            make(own, CertType::User, "site-one", &authority),
            make(own, CertType::Host, "site-two", &authority),
            make(own, CertType::Host, "site-one", &stranger),
            make(stranger.public_key(), CertType::Host, "site-one", &authority),
            key.public_line(),
        ] {
            assert!(check(&bad, 500).is_err());
        }
    }
}
