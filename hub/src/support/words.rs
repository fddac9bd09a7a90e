//! What is said on the hub's own socket: one line of JSON each way, then, after `connect`, the session's bytes.

use std::path::{Path, PathBuf};

use demarc_proto::{
    SiteId,
    support::{GrantId, GrantMessage},
};
use serde::{Deserialize, Serialize};

/// What a command asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub enum Ask {
    /// For a session at a site.
    Connect {
        /// The site.
        connect: SiteId,
        /// Under that grant; the newest where absent.
        grant: Option<GrantId>,
    },
    /// For the live grants.
    Grants {
        /// Of that site; of all where absent.
        grants: Option<SiteId>,
    },
}

/// What the hub answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// As asked.
    Ok(Said),
    /// Not so, in words for whoever asked.
    Error(String),
}

/// What was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Said {
    /// The session is open, under that grant; its bytes follow.
    Grant(GrantId),
    /// The live grants, as the sites signed them.
    Grants(Vec<GrantMessage>),
}

/// Where the socket lies in the data directory.
pub fn path_in(data_dir: &Path) -> PathBuf {
    data_dir.join("support.sock")
}

/// A name for the same place that is short enough for a socket's address, which holds 107 bytes. It is good as long as
/// the returned handle lives.
///
/// # Errors
/// When the directory cannot be opened.
pub fn short(path: &Path) -> std::io::Result<(PathBuf, Option<std::os::fd::OwnedFd>)> {
    use std::os::{fd::AsRawFd, unix::ffi::OsStrExt};

    use rustix::fs::{Mode, OFlags};

    if path.as_os_str().as_bytes().len() <= 107 {
        return Ok((path.to_owned(), None));
    }
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else { return Ok((path.to_owned(), None)) };
    let directory = rustix::fs::open(directory, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    Ok((Path::new("/proc/self/fd").join(directory.as_raw_fd().to_string()).join(name), Some(directory)))
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn golden_vectors() {
        let ask = |text: &str| serde_json::from_str::<Ask>(text).map_err(|_| ());
        let connect = Ask::Connect { connect: "site-one".parse().unwrap(), grant: None };
        expect![[r#"{"connect":"site-one","grant":null}"#]].assert_eq(&serde_json::to_string(&connect).unwrap());
        assert_eq!(ask(r#"{"connect":"site-one"}"#), Ok(connect));
        assert_eq!(ask(r#"{"grants":null}"#), Ok(Ask::Grants { grants: None }));
        for bad in [r#"{"connect":"Site"}"#, r#"{"connect":"site-one","run":"id"}"#, r#"{"grants":1}"#, "[]", ""] {
            assert_eq!(ask(bad), Err(()), "{bad}");
        }
        let answers = [
            Answer::Ok(Said::Grant(GrantId::from_bits([1; 8]))),
            Answer::Ok(Said::Grants(vec![])),
            Answer::Error("no".into()),
        ];
        expect![[r#"[{"ok":{"grant":"0101010101010101"}},{"ok":{"grants":[]}},{"error":"no"}]"#]]
            .assert_eq(&serde_json::to_string(&answers).unwrap());
    }
}
