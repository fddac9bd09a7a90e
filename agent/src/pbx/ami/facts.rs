//! How the PBX is right now, as it says itself.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What is known while the connection is up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Whether Asterisk has let us in.
    pub connected: bool,
    /// Asterisk's version.
    pub version: Option<String>,
    /// When it was started: seconds since 1970 in UTC.
    pub up_since: Option<i64>,
    /// When its configuration was loaded last, likewise.
    pub reloaded: Option<i64>,
    /// Calls that are up.
    pub active_calls: Option<u64>,
    /// Where it registers itself, as providers want it: none where it has no PJSIP.
    pub registrations: Vec<Registration>,
    /// Call records that were lost since the store could not take them.
    pub lost: u64,
    /// Lines and messages that were dropped for their length.
    pub dropped: u64,
}

/// A registration with a provider.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registration {
    /// Its name in `pjsip.conf`.
    pub name: RegistrationName,
    /// How it stands.
    pub state: RegistrationState,
}

/// The name of a registration, which often is that of a trunk. It is for the owner's own screen.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RegistrationName(pub String);

impl fmt::Debug for RegistrationName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RegistrationName")
    }
}

/// How a registration stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RegistrationState {
    /// The provider has it.
    Registered,
    /// The provider does not have it, or not any more.
    Unregistered,
    /// The provider refused it.
    Rejected,
    /// Something else, such as being stopped.
    Other,
}

impl RegistrationState {
    /// Reads Asterisk's word.
    pub(super) fn parse(word: &[u8]) -> Self {
        match word {
            b"Registered" => Self::Registered,
            b"Unregistered" => Self::Unregistered,
            b"Rejected" => Self::Rejected,
            _ => Self::Other,
        }
    }

    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Registered => "registered",
            Self::Unregistered => "NOT REGISTERED",
            Self::Rejected => "REJECTED",
            Self::Other => "not in use",
        }
    }
}
