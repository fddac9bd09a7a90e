//! Support sessions as the owner's side keeps them: keys, grants, recordings. The worker that speaks SSH is
//! [`crate::session`].
//!
//! Who may do what:
//!
//! * the **supervisor** holds the host key and the book of grants, and decides whether a session may begin;
//! * the **link** carries bytes that it cannot read, and only after the supervisor's yes;
//! * the **worker** of one session gets the host key in its settings, over a descriptor; it can open none of the files
//!   here, and writes its recording to a descriptor that was opened for it;
//! * the **command line** asks the supervisor, and reads recordings.

pub mod book;
pub mod boot;
pub mod cast;
pub mod keys;
pub mod past;
pub mod plain;

use std::{fmt, str::FromStr};

use demarc_proto::support::GrantId;
use serde::{Deserialize, Serialize};

/// A session's name: its grant's, and a number that counts the sessions of that grant from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SessionId {
    /// The grant.
    pub grant: GrantId,
    /// The number.
    pub number: u32,
}

/// A text is not a session's name.
#[derive(Debug, thiserror::Error)]
#[error("a session's name is its grant's name, a dash and a number, such as 0123456789abcdef-1")]
pub struct NotASession;

impl FromStr for SessionId {
    type Err = NotASession;

    fn from_str(text: &str) -> Result<Self, NotASession> {
        let (grant, number) = text.split_once('-').ok_or(NotASession)?;
        let is_plain = number.bytes().all(|byte| byte.is_ascii_digit()) && !number.starts_with('0');
        let number = number.parse().ok().filter(|_| is_plain).ok_or(NotASession)?;
        Ok(Self { grant: grant.parse().map_err(|_| NotASession)?, number })
    }
}

impl TryFrom<String> for SessionId {
    type Error = NotASession;

    fn try_from(text: String) -> Result<Self, NotASession> {
        text.parse()
    }
}

impl From<SessionId> for String {
    fn from(id: SessionId) -> Self {
        id.to_string()
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.grant, self.number)
    }
}

/// Why a session, or a grant, is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// The grant's time is over.
    Expired,
    /// The owner ended it.
    Revoked,
    /// The owner switched the tunnel or support off.
    SwitchedOff,
    /// demarc itself ended, or was started anew.
    Stopped,
    /// The machine was started anew since.
    Reboot,
    /// It could not be recorded.
    NotRecorded,
    /// The engineer, or the connection, ended it.
    Closed,
    /// Who came was not let in.
    NotLetIn,
    /// The process that spoke SSH died.
    Died,
}

impl End {
    /// As a sentence goes on after "ended: ".
    pub fn in_words(self) -> &'static str {
        match self {
            Self::Expired => "the grant's time was over",
            Self::Revoked => "the owner ended it",
            Self::SwitchedOff => "the owner switched the tunnel or support off",
            Self::Stopped => "demarc ended",
            Self::Reboot => "the machine was started anew",
            Self::NotRecorded => "it could not be recorded",
            Self::Closed => "the engineer or the connection ended it",
            Self::NotLetIn => "whoever came was not let in",
            Self::Died => "its process died",
        }
    }
}

/// What a session was, for the owner: his receipt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionReport {
    /// The session.
    pub session: SessionId,
    /// Why it ended.
    pub end: End,
    /// The key id in the engineer's certificate; absent where nobody was let in.
    pub engineer: Option<String>,
    /// How long it took, in seconds.
    pub seconds: u64,
    /// The commands that were run, and `shell` for each shell that was opened.
    pub commands: Vec<String>,
    /// Bytes that came from the engineer.
    pub bytes_in: u64,
    /// Bytes that the engineer was shown or sent.
    pub bytes_out: u64,
    /// Connections that were forwarded.
    pub forwards: u64,
    /// Files that were transferred: `put NAME (BYTES bytes)` or `get NAME (BYTES bytes)`.
    pub files: Vec<String>,
    /// Requests that were refused.
    pub refused: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_named_after_its_grant() {
        let id: SessionId = "0123456789abcdef-12".parse().unwrap();
        assert_eq!(id.to_string(), "0123456789abcdef-12");
        for bad in ["", "0123456789abcdef", "0123456789abcdef-", "0123456789abcdef-0", "0123456789abcdef-+1", "../x-1"]
        {
            assert!(bad.parse::<SessionId>().is_err(), "{bad}");
        }
    }
}
