//! Call records that belong to the phone system alone: the packages bring a program that lets demarc's user read them, by
//! access lists.

use std::{
    ffi::CString,
    fs,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, bail};

use crate::settings::Source;

/// The program, where a package was installed.
const PROGRAM: &str = "/usr/lib/demarc/access";
/// The user that the package's service runs as.
const USER: &str = "demarc";

/// What of these sources the service's user cannot read as things are: directories that hold nothing else, or single files.
/// Nothing where there is no such user, or where we could not change it.
pub fn shut(sources: &[Source]) -> Vec<PathBuf> {
    let Some((uid, gid)) = user().filter(|_| rustix::process::geteuid().is_root() && Path::new(PROGRAM).exists())
    else {
        return Vec::new();
    };
    let mut shut: Vec<PathBuf> =
        sources.iter().filter_map(Source::path).filter_map(|path| needed(path, uid, gid)).collect();
    shut.sort();
    shut.dedup();
    shut
}

/// The line that does it.
pub fn line(path: &Path) -> String {
    format!("{PROGRAM} open {}", path.display())
}

/// Lets the service's user read it, and what takes its place.
///
/// # Errors
/// When that is refused: recordings lie there, or the file system has no access lists.
pub fn open(path: &Path) -> anyhow::Result<()> {
    let output = Command::new(PROGRAM).arg("open").arg(path).stdin(Stdio::null()).output();
    let output = output.with_context(|| format!("{PROGRAM} cannot be run"))?;
    if !output.status.success() {
        bail!("{}", String::from_utf8_lossy(&output.stderr).trim().trim_start_matches("demarc: "));
    }
    Ok(())
}

fn needed(path: &Path, uid: u32, gid: u32) -> Option<PathBuf> {
    // A file that is not there yet is looked for in its directory.
    let there = if path.exists() { path } else { path.parent().filter(|directory| directory.exists())? };
    if reads(there, uid, gid) {
        return None;
    }
    let directory = if path.is_dir() { path } else { path.parent()? };
    Some(if holds_files_only(directory) { directory.to_owned() } else { path.to_owned() })
}

/// Whether that user could read it.
fn reads(path: &Path, uid: u32, gid: u32) -> bool {
    let mut test = Command::new("/usr/bin/test");
    // Without the groups of root, which the library leaves behind with its user.
    test.arg("-r").arg(path).uid(uid).gid(gid).stdin(Stdio::null());
    test.status().is_ok_and(|status| status.success())
}

fn holds_files_only(directory: &Path) -> bool {
    let entries = fs::read_dir(directory);
    entries.is_ok_and(|entries| !entries.flatten().any(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())))
}

fn user() -> Option<(u32, u32)> {
    let name = CString::new(USER).ok()?;
    // SAFETY: the name ends with a zero, and what is pointed to is read before anybody asks for another user.
    unsafe {
        let entry = libc::getpwnam(name.as_ptr());
        (!entry.is_null()).then(|| ((*entry).pw_uid, (*entry).pw_gid))
    }
}
