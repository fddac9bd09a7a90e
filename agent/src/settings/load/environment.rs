//! Overrides from the environment, such as `DEMARC__STATS__UPLOAD=false`.

use std::{collections::HashMap, ffi::OsString};

use config::{Config, Environment, File, FileFormat};

use super::{LoadError, check, locate};
use crate::settings::Settings;

const PREFIX: &str = "DEMARC__";

/// Keys that hold a list; in a variable its elements are parted by commas.
pub(in crate::settings) const LISTS: &[&str] = &[
    "backup.paths",
    "health.business_hours",
    "pbx.trunks",
    "pbx.international",
    "recordings.paths",
    "recordings.holds.paths",
    "recordings.holds.extensions",
    "support.authorities",
    "support.logs",
    "web.hosts",
];

/// A variable that overrules the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Override {
    /// The key, such as `stats.upload`.
    pub key: String,
    /// The variable, such as `DEMARC__STATS__UPLOAD`.
    pub variable: String,
}

/// Lays the variables over the file, one after the other, so that an error names the variable that made it.
pub(super) fn apply(
    text: &str,
    in_file: Settings,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<(Settings, Vec<Override>), LoadError> {
    let mut variables: Vec<(String, OsString)> = environment
        .into_iter()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
        .filter(|(name, _)| name.starts_with(PREFIX))
        .collect();
    variables.sort();
    let mut settings = in_file;
    let mut overrides = Vec::new();
    let mut used: HashMap<String, String> = HashMap::new();
    for (variable, value) in variables {
        let refused = |problem: String| LoadError::Variable { variable: variable.clone(), problem };
        let key = variable[PREFIX.len()..].to_ascii_lowercase().replace("__", ".");
        let value = value.into_string().map_err(|_| refused("its value is not written in UTF-8".to_owned()))?;
        let is_section = locate::ALLOWED.iter().any(|(known, _)| known.starts_with(&format!("{key}.")));
        if locate::allowed(&key).is_none() {
            return Err(refused(locate::unknown_key(key.rsplit('.').next().unwrap_or(&key), &key)));
        }
        if is_section || key.starts_with("pbx.source") {
            return Err(refused("this can be set in the config file only".to_owned()));
        }
        used.insert(variable.clone(), value);
        let allowed = locate::allowed(&key).unwrap_or("another value");
        settings = layer(text, &used).map_err(|_| refused(format!("allowed is {allowed}")))?;
        check::check(&settings).map_err(|fault| refused(format!("{}: {}", fault.key, fault.problem)))?;
        overrides.push(Override { key, variable });
    }
    Ok((settings, overrides))
}

fn layer(text: &str, variables: &HashMap<String, String>) -> Result<Settings, config::ConfigError> {
    let mut environment = Environment::with_prefix("DEMARC")
        .prefix_separator("__")
        .separator("__")
        .list_separator(",")
        .try_parsing(true)
        .source(Some(variables.clone()));
    for list in LISTS {
        environment = environment.with_list_parse_key(list);
    }
    Config::builder()
        .add_source(File::from_str(text, FileFormat::Toml))
        .add_source(environment)
        .build()?
        .try_deserialize()
}
