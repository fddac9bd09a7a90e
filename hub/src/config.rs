//! The settings of the hub: one struct a section of `hub.toml`, refused before anything starts.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Deserializer, de::Error as _};

/// Everything that an operator can set. Paths are relative to the directory of the file.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where to listen.
    pub listen: SocketAddr,
    /// What sites connect to, `host:port`; the listening address where absent.
    pub address: Option<String>,
    /// Where the database and the server's own certificate lie.
    #[serde(default = "default_data_dir")]
    pub data_dir: PathBuf,
    /// How many threads serve connections.
    #[serde(default = "default_workers", deserialize_with = "workers")]
    pub workers: usize,
    /// Keys made by `init`.
    #[serde(default)]
    pub keys: Keys,
    /// Certificates for sites.
    #[serde(default)]
    pub certificates: Certificates,
    /// What reports are held to.
    #[serde(default)]
    pub reports: Reports,
    /// What sites can fetch.
    #[serde(default)]
    pub updates: Updates,
    /// Encrypted backups of sites' configurations.
    #[serde(default)]
    pub backups: Backups,
    /// What strangers and sites may ask of this machine.
    #[serde(default)]
    pub limits: Limits,
}

/// What sites can fetch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(deny_unknown_fields, default)]
pub struct Updates {
    /// A directory with a package repository, made and signed by ordinary tools; none where absent.
    pub dir: Option<PathBuf>,
}

/// Encrypted backups of sites' configurations. Only the sites can read them.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(deny_unknown_fields, default)]
pub struct Backups {
    /// Whether they are kept.
    pub enabled: bool,
    /// So many bytes of one site, all its backups together.
    pub most_bytes_per_site: std::num::NonZeroU64,
    /// So many backups of one site; a site that keeps more loses the oldest.
    pub keep: std::num::NonZeroU16,
}

/// Keys made by `init`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(deny_unknown_fields, default)]
pub struct Keys {
    /// The authority's certificate.
    pub ca_certificate: PathBuf,
    /// The authority's private key.
    pub ca_key: PathBuf,
    /// The private key that signs receipts.
    pub receipt_key: PathBuf,
}

/// Certificates for sites.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(deny_unknown_fields, default)]
pub struct Certificates {
    /// How long each is good.
    #[serde(deserialize_with = "duration")]
    #[cfg_attr(test, serde(serialize_with = "reference::written"))]
    pub lifetime: Duration,
}

/// What reports are held to.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(deny_unknown_fields, default)]
pub struct Reports {
    /// The least privacy floor that is accepted.
    #[serde(deserialize_with = "floor")]
    pub min_floor: u32,
}

/// What strangers and sites may ask of this machine.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Connections that have not yet shown who they are, at the same time.
    pub handshakes: std::num::NonZeroU16,
    /// Messages that one site may send in the long run.
    pub messages_per_minute: std::num::NonZeroU32,
    /// Messages that one site may send at once.
    pub message_burst: std::num::NonZeroU32,
    /// Enrollments that may fail from one address before it has to wait.
    pub failed_enrollments_per_minute: std::num::NonZeroU32,
    /// Support sessions at one site, at the same time.
    #[serde(deserialize_with = "sessions_per_site")]
    pub support_streams_per_site: u8,
    /// Support sessions at all sites together.
    pub support_streams: std::num::NonZeroU16,
}

/// The settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error(
        "cannot read {path}: {source}; `demarc-hub init --dir DIR` writes a first one, `--config FILE` names another"
    )]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file says something that is no setting.
    #[error("{path}:{line}: {key}: {message}")]
    Wrong {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// The key as a dotted path, as far as it can be told.
        key: String,
        /// What is wrong with it.
        message: String,
    },
}

impl Config {
    /// Reads a file.
    ///
    /// # Errors
    /// With file, line and key of the first thing that is wrong.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let unreadable = |source| ConfigError::Unreadable { path: path.to_owned(), source };
        let text = std::fs::read_to_string(path).map_err(unreadable)?;
        // An absolute base, so that a later change of directory moves nothing.
        let base = std::path::absolute(path).map_err(unreadable)?;
        Self::parse(&text, path, base.parent().unwrap_or(Path::new("/")))
    }

    /// Reads the text of a file; relative paths count from `base`.
    ///
    /// # Errors
    /// With file, line and key of the first thing that is wrong.
    pub fn parse(text: &str, path: &Path, base: &Path) -> Result<Self, ConfigError> {
        let mut config: Self = toml::from_str(text).map_err(|error| {
            let (line, key) = place(text, error.span().map_or(0, |span| span.start));
            let message = error.message().trim().replace('\n', "; ");
            ConfigError::Wrong { path: path.to_owned(), line, key, message }
        })?;
        let wrong = |key: &str, message: &str| {
            let at = text.lines().position(|line| line.trim_start().starts_with(key)).unwrap_or(0);
            ConfigError::Wrong { path: path.to_owned(), line: at + 1, key: key.to_owned(), message: message.to_owned() }
        };
        match &config.address {
            Some(address) if Address::parse(address).is_none() => {
                return Err(wrong("address", "this is not host:port; such as \"hub.example.com:443\""));
            }
            None if config.listen.ip().is_unspecified() => {
                return Err(wrong(
                    "listen",
                    "a hub that listens on every address needs `address = \"host:port\"` too: what sites connect to",
                ));
            }
            _ => {}
        }
        for path in [
            &mut config.data_dir,
            &mut config.keys.ca_certificate,
            &mut config.keys.ca_key,
            &mut config.keys.receipt_key,
        ] {
            *path = base.join(&*path);
        }
        Ok(config)
    }

    /// What sites connect to, `host:port`.
    pub fn address(&self) -> String {
        self.address.clone().unwrap_or_else(|| self.listen.to_string())
    }

    /// The names that the server's certificate must carry.
    pub fn server_names(&self) -> Vec<String> {
        let public = Address::parse(&self.address()).map(|address| address.host);
        // A hub on a fixed address can be reached by that too, and on loopback by its usual name.
        let listen = (!self.listen.ip().is_unspecified()).then(|| self.listen.ip().to_string());
        let local = self.listen.ip().is_loopback().then(|| "localhost".to_owned());
        let mut names: Vec<String> = public.into_iter().chain(listen).chain(local).collect();
        let mut seen = std::collections::BTreeSet::new();
        names.retain(|name| seen.insert(name.clone()));
        names
    }
}

/// An address with a port, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub struct Address {
    /// A name, or an IP address without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl Address {
    /// Takes `host:port`, `1.2.3.4:port` or `[v6]:port` apart.
    pub fn parse(text: &str) -> Option<Self> {
        if let Ok(address) = text.parse::<SocketAddr>() {
            return Some(Self { host: address.ip().to_string(), port: address.port() });
        }
        let (host, port) = text.rsplit_once(':')?;
        let label = |label: &str| {
            !label.is_empty() && label.len() <= 63 && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        };
        let fits = host.len() <= 253 && host.split('.').all(label);
        Some(Self { host: fits.then(|| host.to_ascii_lowercase())?, port: port.parse().ok()? })
    }
}

/// The line and the dotted key in which a byte of the text lies. `toml` tells the place, but not the section.
fn place(text: &str, byte: usize) -> (usize, String) {
    let byte = (0..=byte.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    let line = text[..byte].matches('\n').count();
    let section = text.lines().take(line + 1).filter_map(|line| {
        let name = line.trim().strip_prefix('[')?.split(']').next()?;
        Some(name.trim().to_owned())
    });
    let section = section.last();
    let key = text.lines().nth(line).and_then(|line| line.split_once('=')).map(|(key, _)| key.trim().to_owned());
    let path: Vec<String> = section.into_iter().chain(key).collect();
    (line + 1, if path.is_empty() { "the file".to_owned() } else { path.join(".") })
}

/// Reads a duration as people write it: `90s`, `5m`, `24h`, `7d`.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no duration: write a number with s, m, h or d, such as 24h");
    let unit = match text.as_bytes().last() {
        Some(b's') => 1,
        Some(b'm') => 60,
        Some(b'h') => 3600,
        Some(b'd') => 86_400,
        _ => return Err(wrong()),
    };
    let number: u64 = text[..text.len() - 1].parse().map_err(|_| wrong())?;
    // Ten years are more than anything here can mean, and keep every sum of times in range.
    let seconds =
        number.checked_mul(unit).filter(|seconds| (1..=10 * 366 * 86_400).contains(seconds)).ok_or_else(wrong)?;
    Ok(Duration::from_secs(seconds))
}

fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    parse_duration(&String::deserialize(deserializer)?).map_err(D::Error::custom)
}

fn floor<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    let floor = u32::deserialize(deserializer)?;
    if floor < 2 { Err(D::Error::custom("a floor is at least 2: a group of one call is that call")) } else { Ok(floor) }
}

fn workers<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    let workers = usize::deserialize(deserializer)?;
    if (1..=256).contains(&workers) { Ok(workers) } else { Err(D::Error::custom("between 1 and 256 threads")) }
}

/// A site has room for five streams beside the control stream, and takes four sessions.
fn sessions_per_site<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u8, D::Error> {
    let sessions = u8::deserialize(deserializer)?;
    if (1..=5).contains(&sessions) { Ok(sessions) } else { Err(D::Error::custom("between 1 and 5 sessions")) }
}

fn default_data_dir() -> PathBuf {
    "data".into()
}

fn default_workers() -> usize {
    2
}

impl Default for Keys {
    fn default() -> Self {
        Self { ca_certificate: "ca.pem".into(), ca_key: "ca-key.pem".into(), receipt_key: "receipt-key.pem".into() }
    }
}

impl Default for Backups {
    fn default() -> Self {
        Self {
            enabled: true,
            most_bytes_per_site: std::num::NonZeroU64::new(256 << 20).expect("the default is not zero"),
            keep: std::num::NonZeroU16::new(30).expect("the default is not zero"),
        }
    }
}

impl Default for Certificates {
    fn default() -> Self {
        Self { lifetime: Duration::from_secs(90 * 86_400) }
    }
}

impl Default for Reports {
    fn default() -> Self {
        Self { min_floor: 2 }
    }
}

impl Default for Limits {
    fn default() -> Self {
        let number = |n: u32| std::num::NonZeroU32::new(n).expect("the defaults are not zero");
        Self {
            handshakes: std::num::NonZeroU16::new(512).expect("the default is not zero"),
            messages_per_minute: number(60),
            message_burst: number(600),
            failed_enrollments_per_minute: number(30),
            support_streams_per_site: 4,
            support_streams: std::num::NonZeroU16::new(200).expect("the default is not zero"),
        }
    }
}

#[cfg(test)]
mod reference;

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Config, String> {
        Config::parse(text, Path::new("hub.toml"), Path::new("/srv/hub")).map_err(|error| error.to_string())
    }

    #[test]
    fn a_small_file_is_enough_and_paths_count_from_it() {
        let config = parse("listen = \"127.0.0.1:8443\"\n").unwrap();
        assert_eq!(config.data_dir, Path::new("/srv/hub/data"));
        assert_eq!(config.keys.ca_key, Path::new("/srv/hub/ca-key.pem"));
        assert_eq!(config.address(), "127.0.0.1:8443");
        assert_eq!(config.server_names(), ["127.0.0.1", "localhost"]);
        assert_eq!(config.reports.min_floor, 2);
    }

    #[test]
    fn what_is_wrong_is_named_with_file_line_and_key() {
        for (text, words) in [
            ("listen = \"127.0.0.1:8443\"\n\n[reports]\nmin_flor = 3\n", "hub.toml:4: reports.min_flor: unknown field"),
            (
                "listen = \"127.0.0.1:8443\"\n[reports]\nmin_floor = 1\n",
                "hub.toml:3: reports.min_floor: a floor is at least 2",
            ),
            ("listen = 8443\n", "hub.toml:1: listen: invalid type"),
            ("listen = \"127.0.0.1:8443\"\naddress = \"hub\"\n", "hub.toml:2: address: this is not host:port"),
            ("listen = \"0.0.0.0:443\"\n", "hub.toml:1: listen: a hub that listens on every address"),
            ("listen = \"127.0.0.1:8443\"\n[limits]\nhandshakes = 0\n", "hub.toml:3: limits.handshakes: "),
            ("listen = \"127.0.0.1:8443\"\n[certificates]\nlifetime = \"90\"\n", "hub.toml:3: certificates.lifetime: "),
            (
                "listen = \"127.0.0.1:8443\"\n[limits]\nsupport_streams_per_site = 6\n",
                "hub.toml:3: limits.support_streams_per_site: between 1 and 5",
            ),
            ("", "hub.toml:1: the file: missing field `listen`"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.starts_with(words), "{error}");
        }
    }

    #[test]
    fn addresses_are_taken_apart() {
        let parsed = |text| Address::parse(text).map(|address| (address.host, address.port));
        assert_eq!(parsed("Hub.example.com:443"), Some(("hub.example.com".into(), 443)));
        assert_eq!(parsed("[2001:db8::1]:443"), Some(("2001:db8::1".into(), 443)));
        assert_eq!(parsed("10.0.0.1:8443"), Some(("10.0.0.1".into(), 8443)));
        for bad in ["hub", "hub:", ":443", "hub:99999", "a b:1", "http://hub:1", "2001:db8::1:443", "a..b:1"] {
            assert_eq!(parsed(bad), None, "{bad}");
        }
    }
}
