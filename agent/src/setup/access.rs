//! Call records and configuration that belong to the phone system alone: the packages bring a program that lets demarc's user
//! read them, by access lists.

use std::{
    ffi::CString,
    fs,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, bail};

use crate::{
    backup::places,
    settings::{Settings, Source},
};

/// The program, where a package was installed.
const PROGRAM: &str = "/usr/lib/demarc/access";
/// The user that the package's service runs as.
const USER: &str = "demarc";

/// Whether a package brought the program.
pub fn is_there() -> bool {
    Path::new(PROGRAM).exists()
}

/// What of the call records, and of what a backup covers, the service's user cannot read as things are: directories that hold
/// nothing else, or single files. Nothing where there is no such user, or where we are another one than it and not root.
pub fn shut(settings: &Settings) -> Vec<PathBuf> {
    let is_us = |uid| rustix::process::geteuid().is_root() || rustix::process::geteuid().as_raw() == uid;
    let Some((uid, gid)) = user().filter(|(uid, _)| is_us(*uid) && is_there()) else { return Vec::new() };
    let who = Who { uid, gid };
    let records = settings.pbx.source.iter().filter_map(Source::path).filter_map(|path| who.needs(path));
    let backed_up = if settings.backup.is_on() { places::find(settings).0 } else { Vec::new() };
    let mut shut: Vec<PathBuf> = records.chain(backed_up.into_iter().filter(|path| !who.reads_all(path))).collect();
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

/// The service's user.
#[derive(Clone, Copy)]
struct Who {
    uid: u32,
    gid: u32,
}

impl Who {
    /// What is to be opened so that it can follow a file of call records, if anything is.
    fn needs(self, path: &Path) -> Option<PathBuf> {
        // A file that is not there yet is looked for in its directory.
        let there = if path.exists() { path } else { path.parent().filter(|directory| directory.exists())? };
        if self.reads(there) {
            return None;
        }
        let directory = if path.is_dir() { path } else { path.parent()? };
        Some(if holds_files_only(directory) { directory.to_owned() } else { path.to_owned() })
    }

    /// Whether it could read that file or directory.
    fn reads(self, path: &Path) -> bool {
        let mut test = self.run("/usr/bin/test");
        test.arg("-r").arg(path).status().is_ok_and(|status| status.success())
    }

    /// Whether it could read everything there; links are left out, as they are of a backup.
    fn reads_all(self, path: &Path) -> bool {
        let mut find = self.run("/usr/bin/find");
        find.arg(path).args(["-xdev", "!", "-type", "l", "(", "!", "-readable"]);
        find.args(["-o", "-type", "d", "!", "-executable", ")", "-print", "-quit"]).stderr(Stdio::null());
        find.output().is_ok_and(|found| found.status.success() && found.stdout.is_empty())
    }

    /// A program as that user, without the groups of root, which the library leaves behind with its user.
    fn run(self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.stdin(Stdio::null());
        if rustix::process::geteuid().is_root() {
            command.uid(self.uid).gid(self.gid);
        }
        command
    }
}

/// Whether a directory holds files and nothing else.
pub(super) fn holds_files_only(directory: &Path) -> bool {
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
