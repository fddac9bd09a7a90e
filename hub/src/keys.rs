//! Private keys and certificates as files: written once, readable by their owner alone.

use std::{
    fs::{File, OpenOptions, Permissions},
    io::{self, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use aws_lc_rs::signature::Ed25519KeyPair;
use rcgen::KeyPair;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};

/// A key or certificate cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// The file cannot be read or written.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file holds something else.
    #[error("{path} is not {wanted}; restore it from your backup, it cannot be made again")]
    Not {
        /// The file.
        path: PathBuf,
        /// What it should be.
        wanted: &'static str,
    },
}

impl KeyFileError {
    fn not(path: &Path, wanted: &'static str) -> Self {
        Self::Not { path: path.to_owned(), wanted }
    }
}

/// Writes a new file with exactly that mode; an existing one is an error, never overwritten.
///
/// # Errors
/// When the file exists or cannot be written.
pub fn write_new(path: &Path, text: &str, mode: u32) -> Result<(), KeyFileError> {
    let write = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        file.set_permissions(Permissions::from_mode(mode))?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    };
    write().map_err(|source| KeyFileError::File { path: path.to_owned(), source })
}

/// Puts a file in place of another in one step, so that no reader ever sees half of it.
///
/// # Errors
/// When it cannot be written.
pub fn replace(path: &Path, text: &str, mode: u32) -> Result<(), KeyFileError> {
    let fresh = path.with_extension("new");
    let file_error = |source| KeyFileError::File { path: path.to_owned(), source };
    match std::fs::remove_file(&fresh) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(file_error(error)),
        _ => {}
    }
    write_new(&fresh, text, mode)?;
    std::fs::rename(&fresh, path).map_err(file_error)?;
    if let Some(directory) = path.parent() {
        // The parent of a bare name is nothing, and means where we stand.
        let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
        File::open(directory).and_then(|directory| directory.sync_all()).map_err(file_error)?;
    }
    Ok(())
}

/// A file as text.
///
/// # Errors
/// When it cannot be read.
pub fn read(path: &Path) -> Result<String, KeyFileError> {
    std::fs::read_to_string(path).map_err(|source| KeyFileError::File { path: path.to_owned(), source })
}

/// Reads a key that signs certificates.
///
/// # Errors
/// When the file cannot be read or holds something else.
pub fn signing_key(path: &Path) -> Result<KeyPair, KeyFileError> {
    KeyPair::from_pem(&read(path)?).map_err(|_| KeyFileError::not(path, "a private key in PEM"))
}

/// Reads a certificate.
///
/// # Errors
/// When the file cannot be read or holds something else.
pub fn certificate(path: &Path) -> Result<CertificateDer<'static>, KeyFileError> {
    CertificateDer::from_pem_slice(read(path)?.as_bytes()).map_err(|_| KeyFileError::not(path, "a certificate in PEM"))
}

/// Reads the key that signs receipts.
///
/// # Errors
/// When the file cannot be read or holds something else.
pub fn receipt_key(path: &Path) -> Result<Ed25519KeyPair, KeyFileError> {
    let not = |_| KeyFileError::not(path, "an Ed25519 private key in PEM (PKCS #8)");
    let key = PrivateKeyDer::from_pem_slice(read(path)?.as_bytes()).map_err(|error| not(error.to_string()))?;
    Ed25519KeyPair::from_pkcs8(key.secret_der()).map_err(|error| not(error.to_string()))
}
