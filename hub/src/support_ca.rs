//! The support authority: says which engineer may use which grant, and which host key is which site's.
//!
//! It lives apart from the hub, in a directory of its own, on a machine that the hub cannot reach. A grant that a hub made
//! up does not pass here, since only a host key that this authority certified itself is believed.

mod directory;
mod host;
mod record;
mod user;

use ssh_key::PublicKey;

pub(crate) use self::directory::{read_grant, read_key};
pub use self::{
    directory::{Directory, DirectoryError},
    host::HostOrder,
    record::{Entry, Record, RecordError, Signed},
    user::{Believed, UserOrder},
};

/// Certificates begin this much in the past, in seconds, so that a machine whose clock is late takes them.
pub const BACKDATED: u64 = 15 * 60;

/// Nothing is signed, for a reason that whoever keeps the authority should know.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refused(String);

impl Refused {
    fn because(words: impl Into<String>) -> Self {
        Self(words.into())
    }
}

/// What a certificate says, but for its serial number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Whose key.
    pub key: PublicKey,
    /// What becomes of it.
    pub signed: Signed,
    /// From when on it is good, seconds since 1970 in UTC.
    pub valid_after: u64,
    /// Until when.
    pub valid_before: u64,
}

/// A public key as every file has it: one line, without its comment.
fn line_of(key: &PublicKey) -> String {
    PublicKey::from(key.key_data().clone()).to_openssh().unwrap_or_default()
}
