//! The state directory: where each thing that the agent keeps lies, and who may touch it.

use std::path::{Path, PathBuf};

use demarc_proto::{SiteId, bytes64::Bytes64};
use serde::{Deserialize, Serialize};

/// The layout of `state_dir`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateDir(PathBuf);

impl StateDir {
    /// The layout below that directory.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self(root.into())
    }

    /// The directory itself.
    pub fn root(&self) -> &Path {
        &self.0
    }

    /// The collector's own: store and ledger.
    pub fn collector(&self) -> PathBuf {
        self.0.join("collector")
    }

    /// The store of call figures (SQLite).
    pub fn store(&self) -> PathBuf {
        self.collector().join("calls.db")
    }

    /// The ledger of everything that left.
    pub fn ledger(&self) -> PathBuf {
        self.collector().join("ledger.jsonl")
    }

    /// Cleared reports that wait for the tunnel: written by the collector, read by the link.
    pub fn outbox(&self) -> PathBuf {
        self.0.join("outbox")
    }

    /// The link's own: the private key and its certificate.
    pub fn link(&self) -> PathBuf {
        self.0.join("link")
    }

    /// What is known of the enrollment, without any secret.
    pub fn site(&self) -> PathBuf {
        self.0.join("site")
    }

    /// The file in [`StateDir::site`].
    pub fn site_file(&self) -> PathBuf {
        self.site().join("site.json")
    }

    /// Files that no role may be able to open; each tries at its start.
    pub fn canary(&self) -> PathBuf {
        self.0.join("canary")
    }

    /// Where the supervisor listens for the command line.
    pub fn control_socket(&self) -> PathBuf {
        self.0.join("control.sock")
    }
}

/// What is known of the enrollment, without any secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Site {
    /// The vendor's name for this site.
    pub site: SiteId,
    /// The hub that the token named, `host:port`.
    pub hub: String,
    /// The hub's CA certificate in DER: the only one that the link trusts.
    pub ca: Bytes64,
    /// The Ed25519 public key that signs the hub's receipts (32 bytes).
    pub receipt_key: Bytes64,
    /// When the site was enrolled: seconds since 1970 in UTC.
    pub enrolled: u64,
}
