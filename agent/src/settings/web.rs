//! The owner's own pages.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::Secret;

/// The owner's own pages.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Web {
    /// Where browsers find them.
    #[serde(default)]
    pub listen: Listen,
    /// Further names by which browsers may call this machine; every other name is refused.
    #[serde(default)]
    pub hosts: Vec<String>,
    /// The certificate chain of the pages, in PEM: needed where they can be reached from the network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<PathBuf>,
    /// Its private key, in PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<PathBuf>,
    /// The hash of a password that lets in beside the links of `demarc web`: see `demarc web password`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<Secret>,
}

/// Where browsers find the pages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Listen {
    /// Nowhere.
    Off,
    /// At an address and port.
    Address(SocketAddr),
    /// At a unix socket, for a web server in front of it.
    Socket(PathBuf),
}

impl Listen {
    /// Whether other machines can reach it.
    pub fn is_open_to_the_network(&self) -> bool {
        matches!(self, Self::Address(address) if !address.ip().is_loopback())
    }
}

impl TryFrom<String> for Listen {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        if text == "off" {
            return Ok(Self::Off);
        }
        if let Some(path) = text.strip_prefix("unix:").filter(|path| Path::new(path).is_absolute()) {
            return Ok(Self::Socket(path.into()));
        }
        text.parse().map(Self::Address).map_err(|_| "allowed is address:port, unix:/path, or off")
    }
}

impl From<Listen> for String {
    fn from(listen: Listen) -> Self {
        match listen {
            Listen::Off => "off".to_owned(),
            Listen::Address(address) => address.to_string(),
            Listen::Socket(path) => format!("unix:{}", path.display()),
        }
    }
}

impl Default for Listen {
    fn default() -> Self {
        Self::Address(SocketAddr::from(([127, 0, 0, 1], 8427)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_what_they_look_like() {
        let listen = |text: &str| Listen::try_from(text.to_owned());
        assert_eq!(listen("off"), Ok(Listen::Off));
        assert_eq!(listen("unix:/run/demarc/web.sock"), Ok(Listen::Socket("/run/demarc/web.sock".into())));
        assert!(!listen("127.0.0.1:8427").unwrap().is_open_to_the_network());
        assert!(!listen("[::1]:8427").unwrap().is_open_to_the_network());
        assert!(listen("0.0.0.0:8427").unwrap().is_open_to_the_network());
        assert!(listen("192.0.2.1:8427").unwrap().is_open_to_the_network());
        for nonsense in ["", "8427", "localhost:8427", "unix:web.sock", "unix:", "on", "127.0.0.1"] {
            assert!(listen(nonsense).is_err(), "{nonsense}");
        }
    }
}
