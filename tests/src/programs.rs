//! Where the programs under test lie: beside the test binary, built by the same profile.

use std::{
    path::{Path, PathBuf},
    sync::OnceLock,
};

/// The agent, `demarc`.
pub fn agent() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| find("demarc"))
}

/// The hub, `demarc-hub`.
pub fn hub() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| find("demarc-hub"))
}

/// The generator of call records, `cdrgen`.
pub fn cdrgen() -> PathBuf {
    find("cdrgen")
}

/// The directory of the build, where caches of the tests may lie too.
pub fn target_dir() -> PathBuf {
    profile_dir().parent().unwrap().to_owned()
}

fn find(name: &str) -> PathBuf {
    let path = profile_dir().join(name);
    assert!(
        path.is_file(),
        "{} is missing: build the programs first with `cargo build -p demarc -p demarc-hub` (`make test` does it)",
        path.display()
    );
    path
}

/// A test binary lies in `target/<profile>/deps`, other programs above.
fn profile_dir() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let place = test.parent().unwrap();
    if place.ends_with("deps") { place.parent().unwrap().to_owned() } else { place.to_owned() }
}
