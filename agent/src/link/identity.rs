//! Who this site is: its private key and its certificate, as files that only the link reads.

use std::{fs, io, path::PathBuf};

use demarc_proto::{SiteId, bytes64::Bytes64};
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, pem::PemObject};

use super::certificate::Facts;
use crate::staged::Staged;
use crate::state::StateDir;

/// The key and the chain.
pub(crate) struct Identity {
    key: KeyPair,
    chain: Vec<CertificateDer<'static>>,
    facts: Facts,
}

/// The files of the identity cannot be used. Each message names the file and ends with the way out.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A file cannot be read.
    #[error("{path} cannot be read ({kind}): if it is lost, enroll again (demarc enroll --again TOKEN)")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's words.
        kind: io::ErrorKind,
    },
    /// A file holds something else.
    #[error("{path} is damaged: restore it from a backup, or enroll again (demarc enroll --again TOKEN)")]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// Key and certificate are not a pair.
    #[error("{path} is for another key than the one beside it: enroll again (demarc enroll --again TOKEN)")]
    NotAPair {
        /// The file.
        path: PathBuf,
    },
    /// A file cannot be written.
    #[error("{path} cannot be written ({kind}): check the disk and the owner of the state directory")]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// The system's words.
        kind: io::ErrorKind,
    },
    /// The cryptographic library failed.
    #[error("making a key or a certificate request failed: {0}")]
    Cryptography(String),
}

/// The private key (PKCS #8 in PEM).
pub(crate) fn key_file(state: &StateDir) -> PathBuf {
    state.link().join("key.pem")
}

/// The certificate chain (PEM, the site's own first).
pub(crate) fn chain_file(state: &StateDir) -> PathBuf {
    state.link().join("cert.pem")
}

impl Identity {
    /// Reads the files and checks that they are a pair.
    pub(crate) fn load(state: &StateDir) -> Result<Self, IdentityError> {
        let read = |path: &PathBuf| {
            fs::read_to_string(path).map_err(|e| IdentityError::Unreadable { path: path.clone(), kind: e.kind() })
        };
        let (key_path, chain_path) = (key_file(state), chain_file(state));
        let key =
            KeyPair::from_pem(&read(&key_path)?).map_err(|_| IdentityError::Damaged { path: key_path.clone() })?;
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(read(&chain_path)?.as_bytes()).collect();
        let damaged = || IdentityError::Damaged { path: chain_path.clone() };
        let chain = chain.map_err(|_| damaged())?;
        let facts = Facts::read(chain.first().ok_or_else(damaged)?).ok_or_else(damaged)?;
        if facts.public_key != key.subject_public_key_info() {
            return Err(IdentityError::NotAPair { path: chain_path });
        }
        Ok(Self { key, chain, facts })
    }

    /// What TLS shows.
    pub(crate) fn chain(&self) -> Vec<CertificateDer<'static>> {
        self.chain.clone()
    }

    /// What TLS signs with.
    pub(crate) fn private_key(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.key.serialize_der()).into()
    }

    /// The public key (SubjectPublicKeyInfo in DER).
    pub(crate) fn public_key(&self) -> Vec<u8> {
        self.key.subject_public_key_info()
    }

    /// What the certificate says.
    pub(crate) fn facts(&self) -> &Facts {
        &self.facts
    }

    /// A certificate request for the key in use.
    pub(crate) fn request(&self, site: &SiteId) -> Result<Bytes64, IdentityError> {
        request(&self.key, site)
    }
}

/// A new key, on the curve that every TLS stack knows.
pub(crate) fn new_key() -> Result<KeyPair, IdentityError> {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(|e| IdentityError::Cryptography(e.to_string()))
}

/// A certificate request (PKCS #10) in DER: the site's name and the public key, nothing else.
pub(crate) fn request(key: &KeyPair, site: &SiteId) -> Result<Bytes64, IdentityError> {
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name = DistinguishedName::new();
    parameters.distinguished_name.push(DnType::CommonName, site.as_str());
    let request = parameters.serialize_request(key).map_err(|e| IdentityError::Cryptography(e.to_string()))?;
    Ok(Bytes64(request.der().to_vec()))
}

/// Stages a private key beside its place.
pub(crate) fn stage_key(state: &StateDir, key: &KeyPair) -> Result<Staged, IdentityError> {
    let path = key_file(state);
    Staged::write(&path, key.serialize_pem().as_bytes()).map_err(|e| IdentityError::Unwritable { path, kind: e.kind() })
}

/// Stages a chain beside its place.
pub(crate) fn stage_chain(state: &StateDir, chain: &[CertificateDer<'_>]) -> Result<Staged, IdentityError> {
    let path = chain_file(state);
    let pem: String = chain.iter().map(|certificate| pem_of(certificate)).collect();
    Staged::write(&path, pem.as_bytes()).map_err(|e| IdentityError::Unwritable { path, kind: e.kind() })
}

/// Writes a renewed chain; a crash leaves the old one or the new one.
pub(crate) fn store_chain(state: &StateDir, chain: &[CertificateDer<'_>]) -> Result<(), IdentityError> {
    let staged = stage_chain(state, chain)?;
    staged.commit().map_err(|e| IdentityError::Unwritable { path: chain_file(state), kind: e.kind() })
}

/// The PEM form of a certificate (RFC 7468).
fn pem_of(der: &[u8]) -> String {
    let text = data_encoding::BASE64.encode(der);
    let mut pem = String::from("-----BEGIN CERTIFICATE-----\n");
    for line in text.as_bytes().chunks(64) {
        pem.extend(line.iter().map(|&byte| char::from(byte)));
        pem.push('\n');
    }
    pem.push_str("-----END CERTIFICATE-----\n");
    pem
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::testing::{Authority, now};

    #[test]
    fn what_was_stored_is_loaded_and_odd_files_are_told_apart() {
        let directory = tempfile::tempdir().unwrap();
        let state = StateDir::new(directory.path());
        crate::staged::private_directory(&state.link()).unwrap();
        assert!(matches!(Identity::load(&state), Err(IdentityError::Unreadable { .. })));

        let (ca, key) = (Authority::new("CA"), new_key().unwrap());
        let certificate = CertificateDer::from(ca.site_certificate("site-one", &key, now() - 60, now() + 600));
        stage_key(&state, &key).unwrap().commit().unwrap();
        store_chain(&state, &[certificate.clone(), ca.der().into()]).unwrap();
        let identity = Identity::load(&state).unwrap();
        assert_eq!(identity.chain(), [certificate, ca.der().into()]);
        assert_eq!(identity.facts().renew_at(), identity.facts().from + 440);
        let request = identity.request(&"site-one".parse().unwrap()).unwrap();
        let read = rcgen::CertificateSigningRequestParams::from_der(&request.0.into()).unwrap();
        assert_eq!(read.public_key.subject_public_key_info(), identity.public_key());

        stage_key(&state, &new_key().unwrap()).unwrap().commit().unwrap();
        assert!(matches!(Identity::load(&state), Err(IdentityError::NotAPair { .. })));
        fs::write(chain_file(&state), "nothing").unwrap();
        assert!(matches!(Identity::load(&state), Err(IdentityError::Damaged { .. })));
    }
}
