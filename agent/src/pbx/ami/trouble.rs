//! What is wrong with the manager interface, and what the owner can do.

/// Why there is no connection, or no good one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// Nobody listens, or may not be asked.
    #[error("{0}; is Asterisk up, and does manager.conf say enabled = yes in [general]?")]
    NotConnected(String),
    /// Something else has the port.
    #[error("what listens there is no manager interface of Asterisk; is the port the one of manager.conf?")]
    NotAManager,
    /// It says nothing.
    #[error("it has not answered for {0} s; the connection is made anew")]
    Silent(u64),
    /// It closed the connection.
    #[error("Asterisk closed the connection: it is being stopped or restarted, or could not wait for us")]
    Closed,
    /// The connection failed.
    #[error("the connection failed: {0}")]
    Broken(String),
    /// It gives no challenge.
    #[error("Asterisk gives no challenge to log in by; demarc does not send the secret itself")]
    NoChallenge,
    /// It does not let us in.
    #[error(
        "Asterisk does not let \"{user}\" in: user and secret of this source must be those of the section [{user}] in \
         manager.conf, whose deny and permit must let 127.0.0.1 in; then `asterisk -rx 'manager reload'`"
    )]
    LoginRefused {
        /// The user.
        user: String,
    },
    /// It answers no questions.
    #[error(
        "Asterisk does not tell \"{user}\" of its state: write = reporting is missing in the section [{user}] of \
         manager.conf; call records come all the same"
    )]
    NoReporting {
        /// The user.
        user: String,
    },
    /// It tells of no call records.
    #[error(
        "calls were made, but no call record came: read = cdr is missing in the section [{user}] of manager.conf, or \
         enabled = yes in [general] of cdr_manager.conf, or the module cdr_manager is not loaded"
    )]
    NoRecords {
        /// The user.
        user: String,
    },
    /// Records were lost.
    #[error(
        "{0} call records were lost, since the store could not take them for too long; the manager interface does not \
         repeat them, only another source can tell of them"
    )]
    Lost(u64),
}

impl Trouble {
    /// Whether trying again soon would only fill Asterisk's log, and may have the address banned.
    pub(super) fn lasts(&self) -> bool {
        matches!(self, Self::LoginRefused { .. } | Self::NoChallenge)
    }
}
