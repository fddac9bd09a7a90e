//! What the service's unit hides of the machine, and the lines that show it a directory again.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::staged::Staged;

/// The unit that the packages bring.
pub const UNIT: &str = "demarc.service";
/// What is added to it here; it goes when the package is purged.
pub const DROP_IN: &str = "/etc/systemd/system/demarc.service.d/paths.conf";
/// What old systemds call it.
const INACCESSIBLE: &str = "InaccessibleDirectories";
const HEAD: &str =
    "# Directories that demarc's unit hides, and that demarc reads. Written by demarc; yours to change.\n[Service]\n";

/// The unit as it is in force, drop-ins included, if there is one.
pub fn text() -> Option<String> {
    systemctl(&["cat", UNIT]).ok()
}

/// Runs `systemctl` with these words, and gives what it prints.
///
/// # Errors
/// When it cannot be run, or fails: with what it says about that.
pub(super) fn systemctl(words: &[&str]) -> io::Result<String> {
    let run = Command::new("systemctl").args(words).stdin(Stdio::null()).output()?;
    if !run.status.success() {
        let said = String::from_utf8_lossy(&run.stderr);
        return Err(io::Error::other(format!("systemctl {} failed: {}", words.join(" "), said.trim())));
    }
    Ok(String::from_utf8_lossy(&run.stdout).into_owned())
}

/// Whether a drop-in can show a part of what that unit hides: systemd 219 knows only how to shut.
pub fn can_show(unit: &str) -> bool {
    !unit.lines().any(|line| line.starts_with(INACCESSIBLE))
}

/// Whether that unit hides a path from what it starts: the nearest line above it counts.
pub fn hides(unit: &str, path: &Path) -> bool {
    let (mut hidden, mut shown): (Vec<PathBuf>, Vec<PathBuf>) = Default::default();
    for (key, value) in unit.lines().filter_map(|line| line.trim().split_once('=')) {
        let words = value.split_whitespace().map(|word| word.trim_start_matches(['-', '+']));
        match key {
            // An empty value takes back what stood before.
            "TemporaryFileSystem" | "InaccessiblePaths" | INACCESSIBLE if value.is_empty() => hidden.clear(),
            "BindPaths" | "BindReadOnlyPaths" if value.is_empty() => shown.clear(),
            "TemporaryFileSystem" | "InaccessiblePaths" | INACCESSIBLE => {
                hidden.extend(words.filter_map(|word| word.split(':').next()).map(PathBuf::from));
            }
            "BindPaths" | "BindReadOnlyPaths" => shown.extend(words.map(|word| {
                let mut parts = word.split(':');
                let source = parts.next().unwrap_or_default();
                PathBuf::from(parts.next().filter(|place| !place.is_empty()).unwrap_or(source))
            })),
            "ProtectHome" if !matches!(value, "no" | "false" | "read-only") => {
                hidden.extend(["/home", "/root", "/run/user"].map(PathBuf::from));
            }
            _ => {}
        }
    }
    let nearest = |list: &[PathBuf]| {
        list.iter().filter(|above| path.starts_with(above)).map(|above| above.components().count()).max().unwrap_or(0)
    };
    nearest(&hidden) > nearest(&shown)
}

/// The drop-in that shows these paths, beside those that it shows already.
pub fn drop_in(before: Option<&str>, paths: &[PathBuf]) -> String {
    let mut text = before.unwrap_or(HEAD).to_owned();
    if !text.ends_with('\n') {
        text.push('\n');
    }
    for path in paths {
        text += &format!("BindReadOnlyPaths=-{}\n", quoted(path));
    }
    text
}

/// Writes it, and has systemd read it. It counts from the next start of the service.
///
/// # Errors
/// When it cannot be written, or systemd does not read it.
pub fn show(paths: &[PathBuf]) -> io::Result<()> {
    let file = Path::new(DROP_IN);
    let before = fs::read_to_string(file).ok();
    if let Some(directory) = file.parent() {
        fs::create_dir_all(directory)?;
    }
    Staged::write(file, drop_in(before.as_deref(), paths).as_bytes()).and_then(Staged::commit)?;
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(file, fs::Permissions::from_mode(0o644))?;
    systemctl(&["daemon-reload"]).map(drop)
}

/// A path as a list of paths in a unit has it.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string().replace('%', "%%");
    if text.contains([' ', '"', ':']) { format!("\"{}\"", text.replace('"', "\\\"").replace(':', "\\:")) } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHIPPED: &str = include_str!("../../../deploy/package/units/demarc.service");

    #[test]
    fn the_nearest_line_above_a_path_counts() {
        for (path, is_hidden) in [
            ("/var/log/asterisk/cdr-csv/Master.csv", false),
            ("/var/log/freeswitch", false),
            ("/var/lib/asterisk/astdb.sqlite3", false),
            ("/var/lib/asterisk/agi-bin", true),
            ("/var/logs", true),
            ("/srv/pbx/cdr/Master.csv", true),
            ("/opt/alarm", true),
            ("/home/pbx/Master.csv", true),
            ("/etc/asterisk", false),
            ("/usr/local/freeswitch/recordings/x", true),
            ("/usr/local/freeswitch/log", false),
        ] {
            assert_eq!(hides(SHIPPED, Path::new(path)), is_hidden, "{path}");
        }
        let open = format!("{SHIPPED}\n[Service]\nTemporaryFileSystem=\nInaccessiblePaths=\nProtectHome=no\n");
        assert!(!hides(&open, Path::new("/srv/pbx")));
        assert!(!hides("", Path::new("/srv/pbx")));
        let old = include_str!("../../../deploy/package/units/demarc-el7.service");
        assert!(hides(old, Path::new("/srv/pbx")) && !hides(old, Path::new("/var/log/asterisk")));
        assert!(!can_show(old) && can_show(SHIPPED));
    }

    #[test]
    fn what_the_drop_in_shows_is_shown() {
        let first = drop_in(None, &["/srv/pbx/cdr".into()]);
        assert_eq!(first, format!("{HEAD}BindReadOnlyPaths=-/srv/pbx/cdr\n"));
        let second = drop_in(Some(&first), &["/opt/alarm".into()]);
        let unit = format!("{SHIPPED}\n{second}");
        assert!(!hides(&unit, Path::new("/srv/pbx/cdr/Master.csv")) && !hides(&unit, Path::new("/opt/alarm/tell")));
        assert!(hides(&unit, Path::new("/srv/pbx/monitor")));
        assert_eq!(quoted(Path::new("/srv/a b:c")), "\"/srv/a b\\:c\"");
    }
}
