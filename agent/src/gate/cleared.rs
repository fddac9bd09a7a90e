//! What passed the gate.

use demarc_proto::{Report, ReportId, Window};
use serde::{Deserialize, Serialize};

/// A report that passed the gate: its exact bytes stand in the ledger, durably. Only [`crate::gate::clear`] makes
/// one, and only this goes into the outbox.
#[derive(Debug)]
pub struct Cleared {
    id: ReportId,
    window: Window,
    body: String,
}

impl Cleared {
    /// To be called once the ledger has the entry.
    pub(in crate::gate) fn seal(report: &Report, body: String) -> Self {
        Self { id: report.id, window: report.window, body }
    }

    /// The report's name.
    pub fn id(&self) -> ReportId {
        self.id
    }

    /// The window it is about.
    pub fn window(&self) -> Window {
        self.window
    }

    /// The exact bytes that leave.
    pub fn body(&self) -> &str {
        &self.body
    }
}

/// A report of the machine's health that passed the gate: its exact bytes stand in the ledger, durably. Only
/// [`crate::gate::clear_health`] makes one. It goes to the link past the outbox, since one that could not leave at once is
/// worth nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClearedHealth {
    payload: String,
}

impl ClearedHealth {
    /// To be called once the ledger has the entry.
    pub(in crate::gate) fn seal(payload: String) -> Self {
        Self { payload }
    }

    /// The exact payload of the frame that leaves.
    pub fn payload(&self) -> &str {
        &self.payload
    }
}
