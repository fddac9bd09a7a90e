//! Where call records come from: one variant a kind of source, with what that kind needs.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Secret;
use crate::pbx::{columns::Mapping, freeswitch::template::Template};

/// Where call records come from.
///
/// The first source that tells of calls is the one that counts; the others of the same PBX are its witnesses, which
/// are heard where it missed a record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Source {
    /// Asterisk's `cdr_csv`: `Master.csv` in any of its layouts.
    AsteriskCsv {
        /// The file.
        path: PathBuf,
        /// The zone of its times, by its IANA name; the machine's own where absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        timezone: Option<String>,
    },
    /// Asterisk's `cdr_custom`: a file whose columns the administrator chose in `cdr_custom.conf`.
    CdrCustom {
        /// The file.
        path: PathBuf,
        /// What each column holds, in order, by the names that `CDR()` has for them; `-` for one to pass over.
        columns: Vec<String>,
        /// The zone of its times, by its IANA name; the machine's own where absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        timezone: Option<String>,
    },
    /// Asterisk's `cdr_sqlite3_custom`: a table in an SQLite file, with `AcctId` as its key.
    CdrSqlite {
        /// The file.
        path: PathBuf,
        /// The table.
        #[serde(default = "default_table")]
        table: String,
        /// The zone of its times, by its IANA name; the machine's own where absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        timezone: Option<String>,
    },
    /// FreePBX: the table `cdr` in MariaDB or MySQL.
    FreepbxDb {
        /// The server: the path of its unix socket, or `host:port` on loopback.
        #[serde(default = "default_mysql")]
        address: String,
        /// A user that may SELECT and nothing else.
        user: String,
        /// The user's password.
        #[serde(default)]
        password: Option<Secret>,
        /// The database.
        #[serde(default = "default_database")]
        database: String,
        /// The table.
        #[serde(default = "default_table")]
        table: String,
        /// Where FreePBX keeps the names of trunks; empty to go by `pbx.trunks` alone.
        #[serde(default = "default_trunks")]
        trunks: String,
        /// The zone of its times, by its IANA name; the machine's own where absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        timezone: Option<String>,
    },
    /// Asterisk's manager interface: `Cdr` events, live calls, registrations.
    Ami {
        /// The address, `host:port` on loopback.
        #[serde(default = "default_ami")]
        address: String,
        /// The user, with `read=cdr` and `write=reporting`.
        user: String,
        /// The user's secret.
        secret: Secret,
        /// The zone of its times, by its IANA name; the machine's own where absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        timezone: Option<String>,
    },
    /// Asterisk's `queue_log`: what callers and agents of queues did. It tells of queues, not of calls.
    QueueLog {
        /// The file.
        path: PathBuf,
    },
    /// FreeSWITCH's `mod_cdr_csv`, by the administrator's template.
    FreeswitchCsv {
        /// The file.
        path: PathBuf,
        /// What each column holds, in order, by the names of FreeSWITCH's variables; `-` for one to pass over.
        columns: Vec<String>,
        /// The SIP profiles on which the outside is: a leg there is named for its profile where it has no gateway.
        #[serde(default = "default_outside")]
        outside_profiles: Vec<String>,
        /// The zone of its times, by its IANA name; the machine's own where absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        timezone: Option<String>,
    },
    /// FreeSWITCH's `mod_json_cdr`: one file a call leg.
    FreeswitchJson {
        /// The directory.
        path: PathBuf,
        /// The SIP profiles on which the outside is: a leg there is named for its profile where it has no gateway.
        #[serde(default = "default_outside")]
        outside_profiles: Vec<String>,
    },
    /// FusionPBX: the table `v_xml_cdr` in PostgreSQL.
    FusionpbxDb {
        /// The server: the directory of its unix socket, or `host:port` on loopback.
        #[serde(default = "default_postgres")]
        address: String,
        /// A user that may SELECT the columns wanted and nothing else.
        user: String,
        /// The user's password.
        #[serde(default)]
        password: Option<Secret>,
        /// The database.
        #[serde(default = "default_fusionpbx")]
        database: String,
    },
}

impl Source {
    /// The word that the settings have for the kind.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::AsteriskCsv { .. } => "asterisk-csv",
            Self::CdrCustom { .. } => "cdr-custom",
            Self::CdrSqlite { .. } => "cdr-sqlite",
            Self::FreepbxDb { .. } => "freepbx-db",
            Self::Ami { .. } => "ami",
            Self::QueueLog { .. } => "queue-log",
            Self::FreeswitchCsv { .. } => "freeswitch-csv",
            Self::FreeswitchJson { .. } => "freeswitch-json",
            Self::FusionpbxDb { .. } => "fusionpbx-db",
        }
    }

    /// What the store and `demarc status` call it. A source that moves elsewhere is another one.
    pub fn name(&self) -> String {
        let place = match self {
            Self::FreepbxDb { address, database, table, .. } => format!("{database}.{table} at {address}"),
            Self::FusionpbxDb { address, database, .. } => format!("{database}.v_xml_cdr at {address}"),
            Self::Ami { address, .. } => address.clone(),
            _ => self.path().map(|path| path.display().to_string()).unwrap_or_default(),
        };
        format!("{} {place}", self.kind())
    }

    /// The file or directory that it lies in, where it is one.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::AsteriskCsv { path, .. }
            | Self::CdrCustom { path, .. }
            | Self::CdrSqlite { path, .. }
            | Self::QueueLog { path }
            | Self::FreeswitchCsv { path, .. }
            | Self::FreeswitchJson { path, .. } => Some(path),
            Self::FreepbxDb { .. } | Self::Ami { .. } | Self::FusionpbxDb { .. } => None,
        }
    }

    /// [`Source::path`], to be changed.
    pub fn path_mut(&mut self) -> Option<&mut PathBuf> {
        match self {
            Self::AsteriskCsv { path, .. }
            | Self::CdrCustom { path, .. }
            | Self::CdrSqlite { path, .. }
            | Self::QueueLog { path }
            | Self::FreeswitchCsv { path, .. }
            | Self::FreeswitchJson { path, .. } => Some(path),
            Self::FreepbxDb { .. } | Self::Ami { .. } | Self::FusionpbxDb { .. } => None,
        }
    }

    /// The file, where it is one that grows at its end and is rotated.
    pub fn followed(&self) -> Option<&Path> {
        match self {
            Self::AsteriskCsv { path, .. }
            | Self::CdrCustom { path, .. }
            | Self::QueueLog { path }
            | Self::FreeswitchCsv { path, .. } => Some(path),
            _ => None,
        }
    }

    /// Some file of it, there or not: for a directory one that could come to lie in it.
    pub fn some_file(&self) -> Option<PathBuf> {
        let is_directory = matches!(self, Self::FreeswitchJson { .. });
        self.path().map(|path| if is_directory { path.join("leg.cdr.json") } else { path.to_owned() })
    }

    /// What is wrong with its columns, in words.
    pub fn columns_fault(&self) -> Option<String> {
        match self {
            Self::CdrCustom { columns, .. } => Mapping::new(columns).err(),
            Self::FreeswitchCsv { columns, .. } => Template::new(columns).err(),
            _ => None,
        }
    }

    /// What its columns leave unsaid, in words.
    pub fn columns_warning(&self) -> Option<String> {
        match self {
            Self::CdrCustom { columns, path, .. } => {
                let missing =
                    ["dstchannel", "lastapp"].into_iter().filter(|name| columns.iter().all(|column| column != name));
                let missing: Vec<&str> = missing.collect();
                (!missing.is_empty()).then(|| {
                    format!(
                        "The columns of {} do not say {}: whether a person answered, and whether a call went out, cannot be \
                         told without.",
                        path.display(),
                        missing.join(" and ")
                    )
                })
            }
            Self::FreeswitchCsv { columns, path, .. } => {
                let tells = Template::new(columns).is_ok_and(|template| template.tells_of_bridges());
                (!tells).then(|| {
                    format!(
                        "The template of {} does not say whom a caller was put through to, so that menus and voicemail count \
                         as answered and no call as outbound: add ${{channel_name}}, ${{bridge_channel}} and ${{last_app}} to it.",
                        path.display()
                    )
                })
            }
            _ => None,
        }
    }

    /// The zone of its times, where the settings name one.
    pub fn timezone(&self) -> Option<&str> {
        match self {
            Self::AsteriskCsv { timezone, .. }
            | Self::CdrCustom { timezone, .. }
            | Self::CdrSqlite { timezone, .. }
            | Self::FreepbxDb { timezone, .. }
            | Self::Ami { timezone, .. }
            | Self::FreeswitchCsv { timezone, .. } => timezone.as_deref(),
            Self::QueueLog { .. } | Self::FreeswitchJson { .. } | Self::FusionpbxDb { .. } => None,
        }
    }

    /// The address of the server, where it is one on the network: `host:port`.
    pub fn server(&self) -> Option<&str> {
        match self {
            Self::FreepbxDb { address, .. } | Self::FusionpbxDb { address, .. } => {
                Some(address.as_str()).filter(|address| !address.starts_with('/'))
            }
            Self::Ami { address, .. } => Some(address),
            _ => None,
        }
    }

    /// Whether the settings name an address for it that is none of those which they need not name.
    pub(super) fn names_address(&self) -> bool {
        match self {
            Self::FreepbxDb { address, .. } => *address != default_mysql(),
            Self::FusionpbxDb { address, .. } => *address != default_postgres(),
            Self::Ami { address, .. } => *address != default_ami(),
            _ => false,
        }
    }

    /// The directory of the server's unix socket, where it is reached by one.
    pub fn socket_directory(&self) -> Option<&Path> {
        let (address, is_directory) = match self {
            Self::FreepbxDb { address, .. } => (address, false),
            Self::FusionpbxDb { address, .. } => (address, true),
            _ => return None,
        };
        let path = Some(Path::new(address)).filter(|path| path.is_absolute())?;
        if is_directory { Some(path) } else { path.parent() }
    }

    /// Whether it tells which channels are trunks.
    pub fn tells_of_trunks(&self) -> bool {
        match self {
            Self::FreepbxDb { trunks, .. } => !trunks.is_empty(),
            Self::FusionpbxDb { .. } => true,
            _ => false,
        }
    }

    /// Whether it tells of calls; a queue log tells of queues.
    pub fn tells_of_calls(&self) -> bool {
        !matches!(self, Self::QueueLog { .. })
    }
}

fn default_table() -> String {
    "cdr".to_owned()
}

/// The profile that faces the outside in the configuration that FreeSWITCH comes with.
pub(crate) fn default_outside() -> Vec<String> {
    vec!["external".to_owned()]
}

fn default_mysql() -> String {
    "/run/mysqld/mysqld.sock".to_owned()
}

fn default_database() -> String {
    "asteriskcdrdb".to_owned()
}

fn default_trunks() -> String {
    "asterisk.trunks".to_owned()
}

fn default_ami() -> String {
    "127.0.0.1:5038".to_owned()
}

fn default_postgres() -> String {
    "/run/postgresql".to_owned()
}

fn default_fusionpbx() -> String {
    "fusionpbx".to_owned()
}
