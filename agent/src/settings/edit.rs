//! Turns one switch in the config file and leaves everything else in it as it is, comments included.

use std::{
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use toml_edit::{DocumentMut, Item, Table, Value};

use super::load::{LoadError, load_text};

/// A switch in the config file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Switch {
    /// `stats.upload`
    Upload,
    /// `tunnel.enabled`
    Tunnel,
    /// `health.upload`
    Health,
}

impl Switch {
    /// The key, as messages name it.
    pub fn key(self) -> &'static str {
        match self {
            Self::Upload => "stats.upload",
            Self::Tunnel => "tunnel.enabled",
            Self::Health => "health.upload",
        }
    }

    /// The command that turns it.
    pub fn command(self) -> &'static str {
        match self {
            Self::Upload => "stats",
            Self::Tunnel => "tunnel",
            Self::Health => "health",
        }
    }

    fn section_and_name(self) -> (&'static str, &'static str) {
        match self {
            Self::Upload => ("stats", "upload"),
            Self::Tunnel => ("tunnel", "enabled"),
            Self::Health => ("health", "upload"),
        }
    }
}

/// The file was not changed.
#[derive(Debug, thiserror::Error)]
pub enum EditError {
    /// It cannot be used as it is, or could not be after the change.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// It cannot be read or replaced.
    #[error("the config file {} cannot be changed", file.display())]
    Unwritable {
        /// The file.
        file: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Somebody else changed it in the same moment.
    #[error("the config file {} was changed by somebody else in this moment; try again", file.display())]
    Raced {
        /// The file.
        file: PathBuf,
    },
}

/// Sets the switch. The file is replaced in one step, keeps its mode and its owner, and is only touched if that
/// changes something. Returns whether it did.
///
/// # Errors
/// When the file cannot be read or replaced, or would not load afterwards. It is then as it was.
pub fn set(file: &Path, switch: Switch, on: bool) -> Result<bool, EditError> {
    let (section, name) = switch.section_and_name();
    set_key(file, section, name, on.into())
}

/// Sets one key of a section, likewise.
///
/// # Errors
/// As [`set`].
pub fn set_key(file: &Path, section: &str, name: &str, value: Value) -> Result<bool, EditError> {
    let fail = |source| EditError::Unwritable { file: file.to_owned(), source };
    let before = fs::read_to_string(file).map_err(fail)?;
    let after = amended(file, &before, |document| put(document, section, name, value))?;
    replace(file, &before, &after)
}

/// Replaces the file, which holds `before`, in one step; it keeps its mode and its owner, and is only touched if that
/// changes something. Returns whether it did.
///
/// # Errors
/// When the file cannot be read or replaced, or somebody else has changed it. It is then as it was.
pub fn replace(file: &Path, before: &str, after: &str) -> Result<bool, EditError> {
    if after == before {
        return Ok(false);
    }
    // A link to the file stays a link.
    let real = fs::canonicalize(file).unwrap_or_else(|_| file.to_owned());
    let fail = |source| EditError::Unwritable { file: file.to_owned(), source };
    let directory = real.parent().unwrap_or(Path::new("/"));
    let mut staged = tempfile::Builder::new().prefix(".demarc.toml.").tempfile_in(directory).map_err(fail)?;
    staged.write_all(after.as_bytes()).map_err(fail)?;
    let original = fs::metadata(&real).map_err(fail)?;
    keep_owner(staged.as_file(), &original).map_err(fail)?;
    staged.as_file().set_permissions(original.permissions()).map_err(fail)?;
    staged.as_file().sync_all().map_err(fail)?;
    if fs::read_to_string(&real).map_err(fail)? != before {
        return Err(EditError::Raced { file: file.to_owned() });
    }
    staged.persist(&real).map_err(|error| fail(error.error))?;
    // The change must outlive a power loss: "off" is off across crashes.
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(fail)?;
    Ok(true)
}

/// The text with changes made to it. It must load by itself before and afterwards: what the environment says today may not
/// be there tomorrow.
///
/// # Errors
/// When it does not.
pub fn amended(file: &Path, text: &str, change: impl FnOnce(&mut DocumentMut)) -> Result<String, EditError> {
    let nothing = std::iter::empty();
    load_text(file, text, nothing.clone())?;
    let mut document: DocumentMut = text.parse().map_err(|error: toml_edit::TomlError| EditError::Unwritable {
        file: file.to_owned(),
        source: io::Error::other(error.message().to_owned()),
    })?;
    change(&mut document);
    let edited = document.to_string();
    load_text(file, &edited, nothing)?;
    Ok(edited)
}

/// Sets a key of a section, and leaves everything around it as it is. A section that is missing is added.
pub fn put(document: &mut DocumentMut, section: &str, name: &str, new: Value) {
    if document.get(section).is_none() {
        let mut table = Table::new();
        if !document.as_table().is_empty() {
            table.decor_mut().set_prefix("\n");
        }
        document.insert(section, Item::Table(table));
    }
    if let Some(section) = document.get_mut(section).and_then(Item::as_table_like_mut) {
        match section.get_mut(name).and_then(Item::as_value_mut) {
            // Taking over the decor keeps the comment at the end of the line.
            Some(old) => {
                let decor = old.decor().clone();
                *old = new;
                *old.decor_mut() = decor;
            }
            None => drop(section.insert(name, Item::Value(new))),
        }
    }
}

/// Gives the file the owner of the one that it replaces. For anybody but root that is the same already, or refused.
fn keep_owner(file: &File, original: &fs::Metadata) -> io::Result<()> {
    let now = file.metadata()?;
    if (now.uid(), now.gid()) == (original.uid(), original.gid()) {
        return Ok(());
    }
    std::os::unix::fs::fchown(file, Some(original.uid()), Some(original.gid()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use expect_test::{Expect, expect};

    use super::*;

    /// The text with the switch set.
    fn edited(file: &Path, text: &str, switch: Switch, on: bool) -> Result<String, EditError> {
        let (section, name) = switch.section_and_name();
        amended(file, text, |document| put(document, section, name, on.into()))
    }

    fn check(text: &str, switch: Switch, on: bool, expected: Expect) {
        expected.assert_eq(&edited(Path::new("demarc.toml"), text, switch, on).unwrap());
    }

    #[test]
    fn comments_stay_where_they_are() {
        let text = "# top\nstate_dir = \"A\" # here\n\n# what leaves\n[stats]\n# the switch\nupload   =  true   # asked 3 May\n\
                    window = \"1h\"\n\n[tunnel] # to the vendor\nhub = \"h:1\"\n# end\n";
        let expected = expect![[r#"
            # top
            state_dir = "A" # here

            # what leaves
            [stats]
            # the switch
            upload   =  false   # asked 3 May
            window = "1h"

            [tunnel] # to the vendor
            hub = "h:1"
            # end
        "#]];
        check(text, Switch::Upload, false, expected);
        let expected = expect![[r#"
            # top
            state_dir = "A" # here

            # what leaves
            [stats]
            # the switch
            upload   =  true   # asked 3 May
            window = "1h"

            [tunnel] # to the vendor
            hub = "h:1"
            enabled = false
            # end
        "#]];
        check(text, Switch::Tunnel, false, expected);
    }

    #[test]
    fn a_missing_section_is_added() {
        check("", Switch::Upload, false, expect!["[stats]\nupload = false\n"]);
        let expected = expect![[r#"
            state_dir = "A"

            [stats]
            upload = false
        "#]];
        check("state_dir = \"A\"\n", Switch::Upload, false, expected);
    }

    #[test]
    fn other_ways_to_write_a_section() {
        check("stats.upload = true # x\n", Switch::Upload, false, expect!["stats.upload = false # x\n"]);
        check("stats = { floor = 10 }\n", Switch::Upload, false, expect!["stats = { floor = 10 , upload = false }\n"]);
        check("stats = {upload=true}\n", Switch::Upload, false, expect!["stats = {upload=false}\n"]);
    }

    #[test]
    fn a_file_that_does_not_load_is_not_touched() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("demarc.toml");
        fs::write(&file, "[stats]\nflor = 1\n").unwrap();
        assert!(matches!(set(&file, Switch::Upload, false), Err(EditError::Load(_))));
        assert_eq!(fs::read_to_string(&file).unwrap(), "[stats]\nflor = 1\n");
        assert!(set(&root.path().join("absent"), Switch::Upload, false).is_err());
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
    }

    #[test]
    fn mode_and_link_are_kept_and_nothing_is_left_behind() {
        let root = tempfile::tempdir().unwrap();
        let (file, link) = (root.path().join("demarc.toml"), root.path().join("link.toml"));
        fs::write(&file, "[stats]\nupload = true\n").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        assert!(set(&link, Switch::Upload, false).unwrap());
        assert!(!set(&link, Switch::Upload, false).unwrap());
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o640);
        assert_eq!(fs::read_to_string(&file).unwrap(), "[stats]\nupload = false\n");
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 2);
    }
}
