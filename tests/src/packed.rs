//! The packages of the programs under test, in the version that they have and in a later one.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
    time::Duration,
};

use crate::{data, process, programs};

/// A version that is later than every other.
pub const LATER: &str = "99.0.0";
/// Packing the programs of a debug build, on a busy machine; the tools that do it may have to be built first.
const LIMIT: Duration = Duration::from_secs(1200);

/// The script that makes packages.
pub fn build() -> Command {
    let mut command = Command::new(data::root().join("../../../deploy/package/build"));
    // Not those of the last release, but those that the other tests run, too.
    command.arg("--from").arg(programs::agent().parent().unwrap()).args(["--strip", "--quick"]);
    command
}

/// The package of this version whose name begins and ends like that.
pub fn current(begin: &str, end: &str) -> PathBuf {
    static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();
    // Twice, to see whether anything differs.
    find(DIRECTORY.get_or_init(|| made("current", &["--check"])), begin, end)
}

/// The same package of a later version.
pub fn later(begin: &str, end: &str) -> PathBuf {
    static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();
    find(DIRECTORY.get_or_init(|| made("later", &["--version", LATER, "deb", "rpm"])), begin, end)
}

fn made(name: &str, arguments: &[&str]) -> PathBuf {
    let directory = programs::target_dir().join("packages-of-tests").join(name);
    // What an earlier run made is not what is tested.
    let _ = std::fs::remove_dir_all(&directory);
    process::run(build().arg("--out").arg(&directory).args(arguments), LIMIT).ok();
    directory
}

fn find(directory: &Path, begin: &str, end: &str) -> PathBuf {
    let names = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let is_it = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap();
        name.starts_with(begin) && name.ends_with(end)
    };
    names.into_iter().find(is_it).unwrap_or_else(|| panic!("no {begin}*{end} in {}", directory.display()))
}
