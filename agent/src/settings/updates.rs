//! The section `[updates]`: packages of demarc, offered to this machine's own package manager.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

/// Updates of demarc, which the machine's own package manager fetches, checks and installs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Updates {
    /// Whether the vendor's package repository can be reached through the tunnel. demarc itself never installs anything.
    #[serde(default)]
    pub via_tunnel: bool,
    /// Where the package manager finds it: an address of this machine alone.
    #[serde(default = "default_listen")]
    pub listen: SocketAddr,
}

impl Default for Updates {
    fn default() -> Self {
        Self { via_tunnel: false, listen: default_listen() }
    }
}

impl Updates {
    /// The first value that makes no sense: its key, and what is wrong.
    pub(super) fn fault(&self) -> Option<(&'static str, &'static str)> {
        (!self.listen.ip().is_loopback()).then_some((
            "updates.listen",
            "other machines can reach this address; allowed is one of this machine alone, such as \"127.0.0.1:8428\"",
        ))
    }
}

fn default_listen() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 8428))
}
