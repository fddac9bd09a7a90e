//! Everything that was ever signed, a line of JSON each, on disk before the certificate is handed out.
//!
//! It is also the memory of which host key is whose, so that there is nothing beside it that could disagree with it.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use demarc_proto::{
    SiteId,
    support::{GrantId, Label, Scope},
};
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use ssh_key::HashAlg;

use super::{Terms, line_of};

/// One certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its serial number, counted from 1.
    pub serial: u64,
    /// When it was signed, seconds since 1970 in UTC.
    pub at: u64,
    /// The site: its only principal.
    pub site: SiteId,
    /// What it is.
    #[serde(flatten)]
    pub signed: Signed,
    /// The fingerprint of the key.
    pub key: String,
    /// The key, as its file has it, without a comment.
    pub public_key: String,
    /// From when on it is good.
    pub valid_after: u64,
    /// Until when.
    pub valid_before: u64,
}

/// What a certificate is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Signed {
    /// A site's.
    Host {
        /// The fingerprint of the key that was the site's before.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        replaces: Option<String>,
    },
    /// An engineer's.
    User {
        /// The grant.
        grant: GrantId,
        /// What the grant is for.
        scope: Scope,
        /// The engineer.
        engineer: Label,
        /// The ticket, as the customer typed it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ticket: Option<Label>,
    },
}

/// The file, held by this process alone.
pub struct Record {
    file: File,
    path: PathBuf,
    entries: Vec<Entry>,
}

/// The file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// It cannot be read or written.
    #[error("cannot use {path}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A line is not what this program writes.
    #[error("{path}:{line}: this is not a line that this program wrote; restore the file from your backup")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
    },
}

impl Record {
    /// Opens the file, and makes it where there is none. Waits while another process has it.
    ///
    /// # Errors
    /// When it cannot be used.
    pub fn open(path: &Path) -> Result<Self, RecordError> {
        let fail = |source| RecordError::File { path: path.to_owned(), source };
        let mut file = File::options().read(true).append(true).create(true).mode(0o600).open(path).map_err(fail)?;
        flock(&file, FlockOperation::LockExclusive).map_err(|error| fail(error.into()))?;
        let mut text = Vec::new();
        file.read_to_end(&mut text).map_err(fail)?;
        let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        if whole < text.len() {
            // The machine went down while a line was written. Its certificate was not handed out.
            file.set_len(whole as u64).map_err(fail)?;
            file.seek(SeekFrom::End(0)).map_err(fail)?;
        }
        let mut entries = Vec::new();
        for (at, line) in text[..whole].split(|byte| *byte == b'\n').enumerate().filter(|(_, line)| !line.is_empty()) {
            let entry = serde_json::from_slice(line);
            entries.push(entry.map_err(|_| RecordError::Damaged { path: path.to_owned(), line: at + 1 })?);
        }
        Ok(Self { file, path: path.to_owned(), entries })
    }

    /// Everything that was signed, in order.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// What was said about a site's host key last.
    pub fn host_key_of(&self, site: &SiteId) -> Option<&Entry> {
        self.hosts().find(|entry| entry.site == *site)
    }

    /// Who has that host key now.
    pub fn holder_of(&self, public_key: &str) -> Option<&Entry> {
        let mut holders = self.hosts().filter(|entry| entry.public_key == public_key);
        holders.find(|entry| self.host_key_of(&entry.site).is_some_and(|last| last.public_key == public_key))
    }

    /// Host certificates, the last first.
    fn hosts(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().rev().filter(|entry| matches!(entry.signed, Signed::Host { .. }))
    }

    /// Enters what is about to be signed, with the next serial number; on disk when this returns.
    ///
    /// # Errors
    /// When it cannot be written. Then nothing must be signed.
    pub fn enter(&mut self, site: &SiteId, terms: &Terms, now: u64) -> Result<Entry, RecordError> {
        let entry = Entry {
            serial: self.entries.last().map_or(0, |last| last.serial) + 1,
            at: now,
            site: site.clone(),
            signed: terms.signed.clone(),
            key: terms.key.fingerprint(HashAlg::Sha256).to_string(),
            public_key: line_of(&terms.key),
            valid_after: terms.valid_after,
            valid_before: terms.valid_before,
        };
        let fail = |source: io::Error| RecordError::File { path: self.path.clone(), source };
        let mut line = serde_json::to_vec(&entry).map_err(|error| fail(error.into()))?;
        line.push(b'\n');
        self.file.write_all(&line).and_then(|()| self.file.sync_all()).map_err(fail)?;
        self.entries.push(entry.clone());
        Ok(entry)
    }
}
