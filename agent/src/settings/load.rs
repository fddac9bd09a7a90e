//! Reads the config file and the environment into checked settings, and says exactly what is wrong where.

mod check;
mod environment;
mod locate;

use std::{
    ffi::OsString,
    io,
    path::{Path, PathBuf},
};

use super::Settings;

pub use check::{Endpoint, endpoint, warnings};
pub use environment::Override;
#[cfg(test)]
pub(super) use {environment::LISTS, locate::ALLOWED};

/// Where the packages put the config file.
pub const DEFAULT_CONFIG: &str = "/etc/demarc/demarc.toml";

/// Settings that may be used, and where they come from.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    /// File and environment taken together; every path is absolute.
    pub settings: Settings,
    /// The variables that overrule the file.
    pub overrides: Vec<Override>,
}

impl Loaded {
    /// The variable that overrules that key, such as `stats.upload`.
    pub fn overridden_by(&self, key: &str) -> Option<&str> {
        self.overrides.iter().find(|one| one.key == key).map(|one| one.variable.as_str())
    }
}

/// The settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// There is no such file.
    #[error("there is no config file {}; create it, or name another one with --config", file.display())]
    Missing {
        /// The file.
        file: PathBuf,
    },
    /// The file is there and cannot be read.
    #[error("the config file {} cannot be read", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file says something that is not allowed.
    #[error("{}:{line}:{column}: {}{problem}", file.display(), key.as_ref().map(|key| format!("{key}: ")).unwrap_or_default())]
    Invalid {
        /// The file.
        file: PathBuf,
        /// The line, counted from one.
        line: usize,
        /// The column, counted from one in characters.
        column: usize,
        /// The key, such as `stats.floor`; absent where the text is no TOML.
        key: Option<String>,
        /// What is wrong, and what is allowed.
        problem: String,
    },
    /// A variable of the environment says something that is not allowed.
    #[error("the environment variable {variable} cannot be used: {problem}")]
    Variable {
        /// Its name.
        variable: String,
        /// What is wrong, and what is allowed.
        problem: String,
    },
}

/// Reads the file and this process's environment.
///
/// # Errors
/// When either says something that is not allowed.
pub fn load(file: &Path) -> Result<Loaded, LoadError> {
    load_with(file, std::env::vars_os())
}

/// Reads the file and that environment.
///
/// # Errors
/// When either says something that is not allowed.
pub fn load_with(
    file: &Path,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Loaded, LoadError> {
    let bytes = std::fs::read(file).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => LoadError::Missing { file: file.to_owned() },
        _ => LoadError::Unreadable { file: file.to_owned(), source },
    })?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let (line, column) = locate::line_and_column_of_bytes(error.as_bytes(), error.utf8_error().valid_up_to());
        let problem = "the file is not written in UTF-8".to_owned();
        LoadError::Invalid { file: file.to_owned(), line, column, key: None, problem }
    })?;
    load_text(file, &text, environment)
}

/// Reads a config file's text and that environment. The file's name serves only for messages.
///
/// # Errors
/// When either says something that is not allowed.
pub fn load_text(
    file: &Path,
    text: &str,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Loaded, LoadError> {
    let in_file = parse(file, text)?;
    check::check(&in_file).map_err(|fault| locate::fault(file, text, fault))?;
    let (mut settings, overrides) = environment::apply(text, in_file, environment)?;
    make_absolute(&mut settings).map_err(|source| LoadError::Unreadable { file: file.to_owned(), source })?;
    Ok(Loaded { settings, overrides })
}

/// Where the state directory lies according to a file that cannot be used otherwise: by its last good settings the
/// daemon still runs there, and can be asked.
pub fn state_dir_despite_errors(file: &Path) -> Option<PathBuf> {
    let text = std::fs::read_to_string(file).ok()?;
    let value = match toml_edit::Document::parse(text.as_str()) {
        Ok(document) => document.get("state_dir").and_then(|item| item.as_str()).map(str::to_owned),
        // Not even TOML: the line alone may be.
        Err(_) => text.lines().take_while(|line| !line.trim_start().starts_with('[')).find_map(|line| {
            let line: toml_edit::DocumentMut = line.parse().ok()?;
            line.get("state_dir")?.as_str().map(str::to_owned)
        }),
    };
    let named = std::env::var_os("DEMARC__STATE_DIR").map(PathBuf::from).or(value.map(PathBuf::from));
    std::path::absolute(named.unwrap_or_else(super::default_state_dir)).ok()
}

/// The file alone, with exact places in its errors: the layering afterwards would name neither line nor file.
fn parse(file: &Path, text: &str) -> Result<Settings, LoadError> {
    toml::from_str(text).map_err(|error| locate::parse_error(file, text, &error))
}

/// A relative path counts from the directory in which the program was started.
fn make_absolute(settings: &mut Settings) -> io::Result<()> {
    settings.state_dir = std::path::absolute(&settings.state_dir)?;
    for path in settings.pbx.source.iter_mut().filter_map(super::Source::path_mut) {
        *path = std::path::absolute(&*path)?;
    }
    for path in settings.web.certificate.iter_mut().chain(&mut settings.web.key) {
        *path = std::path::absolute(&*path)?;
    }
    for path in settings.recordings.paths_mut().chain(&mut settings.backup.paths) {
        *path = std::path::absolute(&*path)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
