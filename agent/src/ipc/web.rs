//! What the supervisor and the role that serves the owner's pages say to each other.
//!
//! The role reads figures itself and asks the supervisor for everything else. It can change nothing by itself: each request
//! carries the secret of a browser that logged in, and the supervisor looks whether it knows it.

use std::{net::SocketAddr, path::PathBuf};

use serde::{Deserialize, Serialize};

use crate::{
    control::{Answer, Request},
    gate::Consent,
    ipc::Confined,
    settings::{Secret, edit::Switch},
};

/// What the role is told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ToWeb {
    /// The settings in force from now on.
    Settings(Box<WebSettings>),
    /// The answer to [`FromWeb::Ask`] with that number.
    Reply {
        /// Chosen by the role.
        number: u64,
        /// The answer.
        reply: Box<Reply>,
    },
    /// End in good order.
    Stop,
}

/// What the role says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum FromWeb {
    /// Confined, self-test passed; what the confinement is.
    Ready(Confined),
    /// A browser wants something; answered by [`ToWeb::Reply`].
    Ask {
        /// Comes back in the answer.
        number: u64,
        /// What.
        question: Question,
    },
    /// Nobody has looked at a page for a while: the process is not needed.
    Idle,
}

/// What a browser can want of the supervisor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Question {
    /// To log in, by the key of a link that `demarc web` printed.
    Enter {
        /// The key.
        key: Secret,
    },
    /// To log in, by the password.
    Admit {
        /// What was typed.
        password: Secret,
    },
    /// To know how everything is, for the owner's monitoring. Where other machines can ask, the password must come with it.
    Monitor {
        /// What was sent.
        password: Option<Secret>,
    },
    /// To log out.
    Leave {
        /// The browser's secret.
        session: Secret,
    },
    /// What the command line asks, too. Only requests that a page has are answered.
    Control {
        /// The browser's secret.
        session: Secret,
        /// The request.
        request: Request,
    },
    /// To turn a switch in the config file.
    Turn {
        /// The browser's secret.
        session: Secret,
        /// Which.
        switch: Switch,
        /// Whether it is to be on.
        on: bool,
    },
}

/// What the supervisor answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Reply {
    /// Logged in: the secret that the browser shows from now on.
    Entered {
        /// The secret.
        session: Secret,
    },
    /// The browser is not logged in, the key is not known (any more), or the password is wrong.
    Unknown,
    /// Logged out.
    Left,
    /// As the command line would be answered.
    Control(Answer),
    /// The switch was not turned: the config file cannot be changed, in words.
    Unchanged {
        /// Why.
        reason: String,
    },
}

/// What the role needs to know.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WebSettings {
    /// The state directory.
    pub state_dir: PathBuf,
    /// Where it listens; absent at a unix socket.
    pub address: Option<SocketAddr>,
    /// Further names by which browsers may call this machine.
    pub hosts: Vec<String>,
    /// The certificate chain and its key, in PEM, where pages are encrypted.
    pub tls: Option<(String, Secret)>,
    /// Whether a password lets in, too.
    pub has_password: bool,
    /// Whether reports may leave.
    pub consent: Consent,
}
