//! The sessions that there were, as the ledger tells of them.

use std::{collections::BTreeMap, io};

use anyhow::Context;
use demarc_proto::support::{GrantId, Scope};
use serde::Serialize;

use super::{End, SessionId, SessionReport};
use crate::{
    gate::{
        entry::{About, LineHash},
        lines::Entries,
    },
    state::StateDir,
};

/// A session as the ledger tells of it.
#[derive(Debug, Serialize)]
pub struct Past {
    /// Its name.
    pub session: SessionId,
    /// What the grant was for.
    pub scope: Option<Scope>,
    /// When it began, in UTC.
    pub began: String,
    /// When it ended. Absent while it runs, or where its end is not in the ledger.
    pub ended: Option<String>,
    /// Why it ended.
    pub end: Option<End>,
    /// The last hash of its recording.
    pub head: Option<LineHash>,
    /// What was done in it.
    pub report: Option<SessionReport>,
}

/// Every session in the ledger, the oldest first.
///
/// # Errors
/// When the ledger cannot be read.
pub fn sessions(state: &StateDir) -> anyhow::Result<Vec<Past>> {
    let path = state.ledger();
    let entries = match Entries::open(&path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(|| format!("cannot read the ledger {}", path.display())),
    };
    let mut scopes = BTreeMap::<GrantId, Scope>::new();
    let mut sessions = Vec::<Past>::new();
    for placed in entries {
        let entry = placed?.entry;
        match entry.about {
            About::Grant { grant, scope, .. } => {
                scopes.insert(grant, scope);
            }
            About::SessionBegan { session } => sessions.push(Past {
                session,
                scope: scopes.get(&session.grant).copied(),
                began: entry.time,
                ended: None,
                end: None,
                head: None,
                report: None,
            }),
            About::Session { session, end, head } => {
                if let Some(past) = sessions.iter_mut().rev().find(|past| past.session == session) {
                    (past.ended, past.end, past.head) = (Some(entry.time), Some(end), Some(head));
                    past.report = serde_json::from_str(&entry.bytes).ok();
                }
            }
            _ => {}
        }
    }
    Ok(sessions)
}
