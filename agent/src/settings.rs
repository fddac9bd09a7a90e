//! The settings: one struct a section of `demarc.toml`, every value checked when it is read.

pub mod backup;
pub mod edit;
pub mod health;
pub mod load;
pub mod loopback;
pub mod recordings;
#[cfg(test)]
mod reference;
pub mod source;
pub mod updates;
mod web;

use std::path::PathBuf;

use demarc_proto::WindowLength;
use serde::{Deserialize, Serialize};

pub use self::{
    recordings::Recordings,
    source::Source,
    web::{Listen, Web},
};

/// Everything that an owner can set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The directory that holds everything the agent keeps.
    #[serde(default = "default_state_dir")]
    pub state_dir: PathBuf,
    /// What to do on a kernel that cannot confine the roles.
    #[serde(default)]
    pub confinement: Confinement,
    /// The phone system.
    #[serde(default)]
    pub pbx: Pbx,
    /// The tunnel to the vendor's hub.
    #[serde(default)]
    pub tunnel: Tunnel,
    /// Call statistics for the vendor.
    #[serde(default)]
    pub stats: Stats,
    /// The machine's health.
    #[serde(default)]
    pub health: health::Health,
    /// Sessions of the vendor's support.
    #[serde(default)]
    pub support: Support,
    /// Call recordings: what must stay out of reach, and how long it is kept.
    #[serde(default)]
    pub recordings: Recordings,
    /// The owner's own pages.
    #[serde(default)]
    pub web: Web,
    /// Updates of demarc, which the machine's own package manager fetches, checks and installs.
    #[serde(default)]
    pub updates: updates::Updates,
    /// Backups of the phone system's configuration.
    #[serde(default)]
    pub backup: backup::Backup,
}

/// What to do on a kernel that cannot confine the roles.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Confinement {
    /// Do not run.
    #[default]
    Required,
    /// Run with what the kernel can do, and say loudly what it cannot.
    BestEffort,
}

/// The phone system.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pbx {
    /// Names of the trunks: `provider1`, or `PJSIP/provider1` where two technologies share a name.
    #[serde(default)]
    pub trunks: Vec<String>,
    /// How long a call must be without a new leg before it enters a report: two minutes, or a sixth of the window
    /// where that is shorter.
    #[serde(default, with = "duration::optional", skip_serializing_if = "Option::is_none")]
    pub quiet: Option<std::time::Duration>,
    /// How long a row of a further source waits for the first source to tell of it, before it counts.
    #[serde(default = "default_patience", with = "duration")]
    pub patience: std::time::Duration,
    /// How soon a caller in a queue should be answered: the T of the service level.
    #[serde(default = "default_queue_target", with = "duration")]
    pub queue_target: std::time::Duration,
    /// How long the list of callers who reached no person is kept; `"0s"` keeps none.
    #[serde(default = "default_keep_missed", with = "duration")]
    pub keep_missed: std::time::Duration,
    /// What is dialled before an outside number, such as `9`.
    #[serde(default)]
    pub outside_line: String,
    /// What an international number begins with, after the outside line.
    #[serde(default = "default_international")]
    pub international: Vec<String>,
    /// Where call records come from.
    #[serde(default)]
    pub source: Vec<Source>,
}

/// The tunnel to the vendor's hub.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tunnel {
    /// Whether the agent may connect at all. Nothing happens before enrollment.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// The hub, `host:port`, where it is not the one that the enrollment token named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hub: Option<String>,
    /// A proxy, `http://[user:password@]host:port` or `socks5://…`; empty for none. Where this is absent, `HTTPS_PROXY`
    /// and `NO_PROXY` from the environment count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy: Option<Secret>,
}

/// Call statistics for the vendor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stats {
    /// Whether aggregated reports are sent.
    #[serde(default = "yes")]
    pub upload: bool,
    /// The length of a report window.
    #[serde(default = "default_window", with = "window_text")]
    pub window: WindowLength,
    /// The least number of calls in any published group: k.
    #[serde(default = "default_floor")]
    pub floor: u32,
    /// How long after enrollment the first report waits.
    #[serde(default = "default_grace", with = "duration")]
    pub grace: std::time::Duration,
    /// The newest report schema that the owner has accepted.
    #[serde(default = "default_schema")]
    pub schema: u32,
}

/// Sessions of the vendor's support.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Support {
    /// Whether the owner can let support in at all.
    #[serde(default)]
    pub mode: SupportMode,
    /// The vendor's support authorities: public keys as in a `.pub` file. An engineer's certificate must be signed by one
    /// of them.
    #[serde(default)]
    pub authorities: Vec<String>,
    /// The longest that a grant may last.
    #[serde(default = "default_longest", with = "duration")]
    pub longest: std::time::Duration,
    /// The shell that the scope `shell` opens.
    #[serde(default = "default_shell")]
    pub shell: PathBuf,
    /// Asterisk's program, which `diagnose` asks.
    #[serde(default = "default_asterisk")]
    pub asterisk: PathBuf,
    /// Its config file, where it is not the one that the program finds by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asterisk_conf: Option<PathBuf>,
    /// Log files whose last lines `diagnose` may show, with numbers masked.
    #[serde(default = "default_logs")]
    pub logs: Vec<PathBuf>,
}

/// Whether the owner can let support in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SupportMode {
    /// By a grant, each time: `demarc support allow`.
    #[default]
    Ask,
    /// Never.
    Never,
}

/// A text that prints as `***`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Wraps a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            state_dir: default_state_dir(),
            confinement: Confinement::default(),
            pbx: Pbx::default(),
            tunnel: Tunnel::default(),
            stats: Stats::default(),
            health: health::Health::default(),
            support: Support::default(),
            recordings: Recordings::default(),
            web: Web::default(),
            updates: updates::Updates::default(),
            backup: backup::Backup::default(),
        }
    }
}

impl Settings {
    /// How long a call must be without a new leg before it enters a report.
    pub fn quiet(&self) -> std::time::Duration {
        let sixth = std::time::Duration::from_secs(u64::from(self.stats.window.seconds()) / 6);
        self.pbx.quiet.unwrap_or_else(|| sixth.min(std::time::Duration::from_secs(120)))
    }
}

fn default_state_dir() -> PathBuf {
    PathBuf::from("/var/lib/demarc")
}

fn default_longest() -> std::time::Duration {
    std::time::Duration::from_secs(86_400)
}

fn default_shell() -> PathBuf {
    PathBuf::from("/bin/bash")
}

fn default_asterisk() -> PathBuf {
    PathBuf::from("/usr/sbin/asterisk")
}

fn default_logs() -> Vec<PathBuf> {
    ["/var/log/asterisk/full", "/var/log/asterisk/messages.log", "/var/log/asterisk/messages"]
        .map(PathBuf::from)
        .to_vec()
}

fn default_patience() -> std::time::Duration {
    std::time::Duration::from_secs(60)
}

fn default_queue_target() -> std::time::Duration {
    std::time::Duration::from_secs(20)
}

fn default_keep_missed() -> std::time::Duration {
    std::time::Duration::from_secs(30 * 86_400)
}

fn default_international() -> Vec<String> {
    ["+", "00", "011"].map(String::from).to_vec()
}

fn default_window() -> WindowLength {
    WindowLength::DAY
}

fn default_floor() -> u32 {
    10
}

fn default_grace() -> std::time::Duration {
    std::time::Duration::from_secs(86_400)
}

fn default_schema() -> u32 {
    demarc_proto::SCHEMA
}

fn yes() -> bool {
    true
}

impl Default for Pbx {
    fn default() -> Self {
        Self {
            trunks: Vec::new(),
            quiet: None,
            patience: default_patience(),
            queue_target: default_queue_target(),
            keep_missed: default_keep_missed(),
            outside_line: String::new(),
            international: default_international(),
            source: Vec::new(),
        }
    }
}

impl Default for Tunnel {
    fn default() -> Self {
        Self { enabled: true, hub: None, proxy: None }
    }
}

impl Default for Support {
    fn default() -> Self {
        Self {
            mode: SupportMode::default(),
            authorities: Vec::new(),
            longest: default_longest(),
            shell: default_shell(),
            asterisk: default_asterisk(),
            asterisk_conf: None,
            logs: default_logs(),
        }
    }
}

impl Default for Stats {
    fn default() -> Self {
        Self {
            upload: true,
            window: default_window(),
            floor: default_floor(),
            grace: default_grace(),
            schema: default_schema(),
        }
    }
}

/// A duration as people write it: `90s`, `5m`, `24h`, `7d`.
pub fn parse_duration(text: &str) -> Option<std::time::Duration> {
    duration::parse(text)
}

/// Durations as people write them: `"0s"`, `"90s"`, `"5m"`, `"24h"`, `"7d"`.
mod duration {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer, de::Error as _};

    pub(super) fn parse(text: &str) -> Option<Duration> {
        let unit = match text.as_bytes().last()? {
            b's' => 1,
            b'm' => 60,
            b'h' => 3600,
            b'd' => 86_400,
            _ => return None,
        };
        let number: u64 = text[..text.len() - 1].parse().ok()?;
        number.checked_mul(unit).map(Duration::from_secs)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse(&text).ok_or_else(|| D::Error::custom("a duration is a number with s, m, h or d, such as \"24h\""))
    }

    pub(super) fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{}s", duration.as_secs()))
    }

    pub(super) mod optional {
        use std::time::Duration;

        use serde::{Deserializer, Serializer};

        pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
            super::deserialize(deserializer).map(Some)
        }

        pub(crate) fn serialize<S: Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
            match duration {
                Some(duration) => super::serialize(duration, serializer),
                None => serializer.serialize_none(),
            }
        }
    }
}

/// Window lengths as people write them: `"1m"`, `"1h"`, `"1d"`, `"7d"`.
mod window_text {
    use demarc_proto::WindowLength;
    use serde::{Deserialize, Deserializer, Serializer, de::Error as _};

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<WindowLength, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }

    pub(super) fn serialize<S: Serializer>(length: &WindowLength, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(length)
    }
}
