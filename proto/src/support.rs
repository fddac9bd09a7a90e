//! Support grants: the owner's signed word that the vendor's support may open a session, for how long and for what.
//!
//! A grant travels from the site to the hub only; nothing here travels to the site. It is signed in the format of
//! `ssh-keygen -Y sign` (OpenSSH's PROTOCOL.sshsig) with the site's SSH host key, so that whoever keeps the support
//! authority can check it with ordinary tools, and a hub cannot make one up.

use std::{fmt, num::NonZeroU16, str::FromStr};

use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};

use crate::{SiteId, ids::text_form};

/// Paths of support streams, which the hub opens on the agent, begin with this; the grant's name follows.
pub const SUPPORT_PATH: &str = "/support/";
/// The most that a site puts into one record of TLS. It is not quite what TLS allows: a hub keeps buffers of exactly that
/// size for connections that wait, and should not have to take one for each record.
pub const RECORD: u32 = (16 << 10) - 5;
/// The most of a session that travels in one frame of HTTP/2: with the frame's head of 9 bytes it fills four records of TLS.
pub const SESSION_PIECE: u32 = 4 * RECORD - 9;
/// How much of a session may be on its way in one direction, in whole frames: so much is moved in each round trip, and kept
/// for a taker that takes nothing.
pub const SESSION_WINDOW: u32 = 8 * SESSION_PIECE;
/// The critical option of a user certificate that names its grant, and the namespace of a grant's signature.
pub const GRANT_OPTION: &str = "grant@demarc";
/// No grant lasts longer, in seconds.
pub const LONGEST_GRANT: u64 = 7 * 86_400;

/// What the agent tells the hub: a grant was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GrantMessage {
    /// What [`Grant::to_body`] wrote, byte for byte: what the signature covers.
    pub grant: String,
    /// The signature, armored as `ssh-keygen -Y verify` reads it; its namespace is [`GRANT_OPTION`].
    pub signature: String,
}

/// What the agent tells the hub: a grant is over, before its time or at its time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GrantEnded {
    /// The grant.
    pub grant: GrantId,
}

/// A grant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// Its name.
    pub id: GrantId,
    /// The site that it opens.
    pub site: SiteId,
    /// What a session under it may do.
    pub scope: Scope,
    /// When it was made: seconds since 1970 in UTC, by the site's clock.
    pub issued: u64,
    /// When it ends, by the same clock. The site itself goes by its boot clock, which nobody can set.
    pub until: u64,
    /// The vendor's ticket, as the owner typed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket: Option<Label>,
    /// Whom the owner expects, as the owner typed it: the key id of the engineer's certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engineer: Option<Label>,
    /// The site's SSH host key: one line, without comment, as in a `.pub` file.
    pub host_key: String,
}

impl Grant {
    /// The bytes that are signed, entered in the ledger, and sent.
    pub fn to_body(&self) -> String {
        serde_json::to_string(self).expect("a grant is made of texts and integers")
    }

    /// Reads what [`Grant::to_body`] wrote.
    ///
    /// # Errors
    /// When it is no grant.
    pub fn from_body(body: &str) -> Result<Self, NotAGrant> {
        serde_json::from_str(body).map_err(|_| NotAGrant)
    }
}

/// A text is not a grant.
#[derive(Debug, thiserror::Error)]
#[error("not a grant that this version knows")]
pub struct NotAGrant;

/// What a session may do. Written as one word: `diagnose`, `shell`, `files`, `forward=443`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Scope {
    /// A menu of typed commands that only read.
    Diagnose,
    /// A confined shell.
    Shell,
    /// File transfer to and from a scratch directory.
    Files,
    /// Connections to one TCP port of the machine's own loopback address.
    Forward(NonZeroU16),
}

/// A text is not a scope.
#[derive(Debug, thiserror::Error)]
#[error("a scope is diagnose, shell, files, or forward=PORT with a port from 1 to 65535")]
pub struct NotAScope;

impl FromStr for Scope {
    type Err = NotAScope;

    fn from_str(text: &str) -> Result<Self, NotAScope> {
        match text {
            "diagnose" => Ok(Self::Diagnose),
            "shell" => Ok(Self::Shell),
            "files" => Ok(Self::Files),
            _ => {
                let port = text.strip_prefix("forward=").filter(|port| !port.starts_with(['+', '0']));
                port.and_then(|port| port.parse().ok()).map(Self::Forward).ok_or(NotAScope)
            }
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Diagnose => f.write_str("diagnose"),
            Self::Shell => f.write_str("shell"),
            Self::Files => f.write_str("files"),
            Self::Forward(port) => write!(f, "forward={port}"),
        }
    }
}

/// A short name that the owner typed for the vendor to read: 1 to 64 of `A-Z a-z 0-9 . _ @ -`.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Label(String);

/// A text is not a label.
#[derive(Debug, thiserror::Error)]
#[error("a ticket or a name is 1 to 64 of letters, digits, dots, dashes, underscores and @")]
pub struct NotALabel;

impl Label {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Label {
    type Err = NotALabel;

    fn from_str(text: &str) -> Result<Self, NotALabel> {
        let fits = (1..=64).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._@-".contains(&byte));
        fits.then(|| Self(text.to_owned())).ok_or(NotALabel)
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A grant's name: 64 random bits, written as 16 hexadecimal digits. Short enough to be read out on a telephone; it is no
/// secret.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct GrantId([u8; 8]);

/// A text is not a grant's name.
#[derive(Debug, thiserror::Error)]
#[error("a grant's name is 16 lower-case hexadecimal digits")]
pub struct NotAGrantId;

impl GrantId {
    /// A name made of these bits.
    pub fn from_bits(bits: [u8; 8]) -> Self {
        Self(bits)
    }
}

impl FromStr for GrantId {
    type Err = NotAGrantId;

    fn from_str(text: &str) -> Result<Self, NotAGrantId> {
        let bits = HEXLOWER.decode(text.as_bytes()).map_err(|_| NotAGrantId)?;
        bits.try_into().map(Self).map_err(|_| NotAGrantId)
    }
}

impl fmt::Display for GrantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

text_form!(Scope, NotAScope);
text_form!(Label, NotALabel);
text_form!(GrantId, NotAGrantId);

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn golden_vector() {
        let grant = Grant {
            id: "0123456789abcdef".parse().unwrap(),
            site: "site-one".parse().unwrap(),
            scope: "forward=443".parse().unwrap(),
            issued: 1_795_338_000,
            until: 1_795_345_200,
            ticket: Some("T-17".parse().unwrap()),
            engineer: None,
            host_key: "ssh-ed25519 AAAA".into(),
        };
        expect![[r#"{"id":"0123456789abcdef","site":"site-one","scope":"forward=443","issued":1795338000,"until":1795345200,"ticket":"T-17","host_key":"ssh-ed25519 AAAA"}"#]]
            .assert_eq(&grant.to_body());
        assert_eq!(Grant::from_body(&grant.to_body()).unwrap(), grant);
    }

    #[test]
    fn scopes_and_labels_are_closed() {
        for good in ["diagnose", "shell", "files", "forward=1", "forward=65535"] {
            assert_eq!(good.parse::<Scope>().unwrap().to_string(), good);
        }
        for bad in
            ["", "Shell", "forward", "forward=", "forward=0", "forward=65536", "forward=+1", "forward=080", "shell "]
        {
            assert!(bad.parse::<Scope>().is_err(), "{bad}");
        }
        for bad in ["", "a b", "a\nb", "é", "a,b", "a\"", &"x".repeat(65)] {
            assert!(bad.parse::<Label>().is_err(), "{bad}");
        }
        for bad in ["", "0123456789ABCDEF", "0123456789abcde", "0123456789abcdef0", "../../../../../.."] {
            assert!(bad.parse::<GrantId>().is_err(), "{bad}");
        }
    }
}
