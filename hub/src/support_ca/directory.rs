//! The support authority's directory: its key, and the record of what it signed.

use std::{
    fs::{self, DirBuilder},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{Path, PathBuf},
};

use demarc_proto::{SiteId, support::GrantMessage};
use ssh_key::{
    Algorithm, Certificate, HashAlg, LineEnding, PrivateKey, PublicKey,
    certificate::{Builder, CertType},
    private::Ed25519Keypair,
};

use super::{Believed, Entry, HostOrder, Record, RecordError, Refused, Signed, Terms, UserOrder, line_of, user};
use crate::keys::{self, KeyFileError};

/// What only a hub's directory holds.
const MARKS_OF_A_HUB: [&str; 3] = ["hub.toml", "hub.db", "support.sock"];

/// The authority.
pub struct Directory {
    key: PrivateKey,
    record: Record,
}

/// The authority cannot do its work, or does not want to.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// The directory is a hub's.
    #[error(
        "{0} belongs to a hub: whoever takes the hub over must not find this key; use another machine, or at least another directory and user"
    )]
    Hub(PathBuf),
    /// Others can look into the directory or at the key.
    #[error("others can read {path}: `chmod {mode:o} {path}`, and see who had it meanwhile")]
    Open {
        /// The directory or the file.
        path: PathBuf,
        /// How it should be.
        mode: u32,
    },
    /// There is an authority already.
    #[error("{0} exists already; init overwrites nothing")]
    Exists(PathBuf),
    /// There is none.
    #[error("there is no support authority in {0}; `demarc-hub support-ca init --dir {0}` makes one")]
    Missing(PathBuf),
    /// The key is not one that this program can use.
    #[error("{path}: {reason}")]
    Key {
        /// The file.
        path: PathBuf,
        /// What it is instead.
        reason: &'static str,
    },
    /// Something cannot be read or written.
    #[error("cannot use {path}")]
    File {
        /// What.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file cannot be written.
    #[error(transparent)]
    Written(#[from] KeyFileError),
    /// The record cannot be used.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The order is not as it should be.
    #[error("nothing was signed: {0}")]
    Refused(#[from] Refused),
    /// The machine has no randomness.
    #[error("this machine has no randomness")]
    NoRandomness,
    /// The certificate cannot be made.
    #[error("cannot make a certificate: {0}")]
    Certificate(#[from] ssh_key::Error),
}

impl Directory {
    /// Makes a new authority.
    ///
    /// # Errors
    /// When there is one already, or the directory is not fit for it.
    pub fn create(path: &Path) -> Result<Self, DirectoryError> {
        not_a_hubs(path)?;
        let fail = |source| DirectoryError::File { path: path.to_owned(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(fail)?;
        closed(path, 0o700)?;
        let (private, public) = (key_in(path), public_in(path));
        for existing in [&private, &public, &record_in(path)] {
            if existing.exists() {
                return Err(DirectoryError::Exists(existing.clone()));
            }
        }
        let mut key = PrivateKey::from(Ed25519Keypair::from_seed(&random::<32>()?));
        key.set_comment("demarc support");
        keys::write_new(&private, &key.to_openssh(LineEnding::LF)?, 0o600)?;
        keys::write_new(&public, &(key.public_key().to_openssh()? + "\n"), 0o644)?;
        Ok(Self { record: Record::open(&record_in(path))?, key })
    }

    /// Opens an authority that was made before.
    ///
    /// # Errors
    /// When there is none, or it is not fit for use.
    pub fn open(path: &Path) -> Result<Self, DirectoryError> {
        not_a_hubs(path)?;
        let private = key_in(path);
        if !private.exists() {
            return Err(DirectoryError::Missing(path.to_owned()));
        }
        closed(path, 0o700)?;
        closed(&private, 0o600)?;
        let wrong = |reason| DirectoryError::Key { path: private.clone(), reason };
        let key = PrivateKey::from_openssh(keys::read(&private)?.as_bytes())
            .map_err(|_| wrong("not a private key of OpenSSH; restore it from your backup"))?;
        if key.is_encrypted() {
            return Err(wrong("it has a passphrase, which only `ssh-keygen -s` can ask for (see docs/support.md)"));
        }
        if key.algorithm() != Algorithm::Ed25519 {
            return Err(wrong("not an Ed25519 key, and sites take no other"));
        }
        Ok(Self { record: Record::open(&record_in(path))?, key })
    }

    /// The authority's public key, on one line without a comment.
    pub fn public_line(&self) -> String {
        line_of(self.key.public_key())
    }

    /// The fingerprint of the authority's key.
    pub fn fingerprint(&self) -> String {
        self.key.fingerprint(HashAlg::Sha256).to_string()
    }

    /// Everything that was signed.
    pub fn entries(&self) -> &[Entry] {
        self.record.entries()
    }

    /// Signs a site's host key.
    ///
    /// # Errors
    /// When the order is not as it should be, or cannot be carried out.
    pub fn sign_host(&mut self, order: HostOrder, now: u64) -> Result<(Entry, Certificate), DirectoryError> {
        let site = order.site.clone();
        let line = line_of(&order.key);
        let terms = order.terms(self.record.host_key_of(&site), self.record.holder_of(&line), now)?;
        self.sign(&site, &terms, now)
    }

    /// Says whether a grant is real and good, and signs nothing.
    ///
    /// # Errors
    /// When it is not.
    pub fn check(&self, grant: &GrantMessage, now: u64) -> Result<Believed, Refused> {
        Believed::read(grant, |grant| self.record.host_key_of(&grant.site).cloned(), now)
    }

    /// Signs an engineer's key for a grant.
    ///
    /// # Errors
    /// When the order is not as it should be, or cannot be carried out.
    pub fn sign_user(&mut self, order: UserOrder, now: u64) -> Result<(Entry, Certificate), DirectoryError> {
        if order.key.key_data() == self.key.public_key().key_data() {
            return Err(Refused::because("this is the authority's own key, not an engineer's").into());
        }
        let (terms, believed) = order.terms(|grant| self.record.host_key_of(&grant.site).cloned(), now)?;
        self.sign(&believed.grant.site, &terms, now)
    }

    fn sign(&mut self, site: &SiteId, terms: &Terms, now: u64) -> Result<(Entry, Certificate), DirectoryError> {
        let nonce = random::<32>()?;
        let mut builder = Builder::new(nonce, &terms.key, terms.valid_after, terms.valid_before)?;
        builder.valid_principal(site.as_str())?;
        match &terms.signed {
            Signed::Host { .. } => {
                builder.cert_type(CertType::Host)?.key_id(site.as_str())?;
            }
            Signed::User { grant, scope, engineer, .. } => {
                let (name, value) = user::critical_option(grant);
                builder.cert_type(CertType::User)?.key_id(engineer.as_str())?.critical_option(name, value)?;
                if let Some(extension) = user::extension(*scope) {
                    builder.extension(extension, "")?;
                }
            }
        }
        builder.comment(terms.key.comment().as_str_lossy())?;
        // On disk first: a certificate that nobody knows of cannot leave this machine.
        let entry = self.record.enter(site, terms, now)?;
        builder.serial(entry.serial)?;
        Ok((entry, builder.sign(&self.key)?))
    }
}

/// Reads what `demarc-hub grants --export` printed.
///
/// # Errors
/// When it is something else.
pub(crate) fn read_grant(text: &str) -> Result<GrantMessage, Refused> {
    serde_json::from_str(text).map_err(|_| Refused::because("this is not what `demarc-hub grants --export ID` prints"))
}

/// Reads a public key: the text of a `.pub` file.
///
/// # Errors
/// When it is something else.
pub(crate) fn read_key(text: &str) -> Result<PublicKey, Refused> {
    PublicKey::from_openssh(text.trim()).map_err(|_| {
        Refused::because("this is not a public key as a .pub file has it: one line such as `ssh-ed25519 AAAA…`")
    })
}

fn key_in(directory: &Path) -> PathBuf {
    directory.join("ca_key")
}

fn public_in(directory: &Path) -> PathBuf {
    directory.join("ca_key.pub")
}

fn record_in(directory: &Path) -> PathBuf {
    directory.join("signed.jsonl")
}

fn random<const N: usize>() -> Result<[u8; N], DirectoryError> {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| DirectoryError::NoRandomness)?;
    Ok(bytes)
}

/// Refuses a hub's directory, and whatever lies in one.
fn not_a_hubs(path: &Path) -> Result<(), DirectoryError> {
    let fail = |source| DirectoryError::File { path: path.to_owned(), source };
    let mut whole = std::path::absolute(path).map_err(fail)?;
    // A link must not hide where it leads; of what does not exist yet, the parents do.
    let existing = whole.ancestors().find(|ancestor| ancestor.exists()).map(Path::to_path_buf);
    if let Some(existing) = existing {
        whole = fs::canonicalize(existing).map_err(fail)?;
    }
    match whole.ancestors().find(|place| MARKS_OF_A_HUB.iter().any(|mark| place.join(mark).exists())) {
        Some(hub) => Err(DirectoryError::Hub(hub.to_owned())),
        None => Ok(()),
    }
}

/// Refuses what others can read.
fn closed(path: &Path, mode: u32) -> Result<(), DirectoryError> {
    let metadata = fs::metadata(path).map_err(|source| DirectoryError::File { path: path.to_owned(), source })?;
    if metadata.mode() & 0o077 == 0 { Ok(()) } else { Err(DirectoryError::Open { path: path.to_owned(), mode }) }
}
