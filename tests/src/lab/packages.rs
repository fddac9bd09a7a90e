//! The programs of the laboratory: Debian's packages, fetched and unpacked by the scripts in `deploy/lab`.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use crate::process;

/// Which Asterisk plays the PBX.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// Asterisk 16, of Debian bullseye.
    Asterisk16,
    /// Asterisk 22, of Debian sid.
    Asterisk22,
}

impl Version {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Asterisk16, Self::Asterisk22];

    fn suite(self) -> &'static str {
        match self {
            Self::Asterisk16 => "bullseye",
            Self::Asterisk22 => "sid",
        }
    }

    /// What its own version number begins with.
    pub(super) fn major(self) -> &'static str {
        match self {
            Self::Asterisk16 => "16.",
            Self::Asterisk22 => "22.",
        }
    }
}

/// Where the programs lie.
#[derive(Clone, Debug)]
pub(super) struct Packages {
    /// The tree that Asterisk's packages were unpacked into.
    pub(super) root: PathBuf,
    /// A directory with `sipp`, `mariadbd` and `mariadb` in it.
    tools: PathBuf,
}

impl Packages {
    /// Fetches what was not fetched before.
    pub(super) fn fetch(version: Version) -> Self {
        let mut asterisk = Command::new(script("asterisk"));
        let root = fetch(asterisk.env("DEMARC_LAB_SUITE", version.suite()));
        Self { root, tools: fetch(&mut Command::new(script("tools"))) }
    }

    /// Asterisk itself, started through its own loader.
    pub(super) fn asterisk(&self) -> PathBuf {
        self.root.with_file_name("bin").join("asterisk")
    }

    /// `sipp`, `mariadbd` or `mariadb`.
    pub(super) fn tool(&self, name: &str) -> PathBuf {
        self.tools.join(name)
    }

    /// Where the unpacked tools keep the statements that make a new database server's own tables.
    pub(super) fn mariadb_share(&self) -> PathBuf {
        self.tools.with_file_name("root").join("usr/share/mariadb")
    }

    /// A file somewhere below Asterisk's `usr/lib`: the suites differ in where they put their modules.
    pub(super) fn library(&self, name: &str) -> PathBuf {
        let usr_lib = self.root.join("usr/lib");
        find(&usr_lib, name).unwrap_or_else(|| panic!("no {name} below {}", usr_lib.display()))
    }
}

fn find(directory: &Path, name: &str) -> Option<PathBuf> {
    std::fs::read_dir(directory).ok()?.flatten().find_map(|entry| {
        // Links are not followed: some lead out of the tree.
        if entry.file_type().ok()?.is_dir() {
            find(&entry.path(), name)
        } else {
            (entry.file_name() == name).then(|| entry.path())
        }
    })
}

fn fetch(script: &mut Command) -> PathBuf {
    PathBuf::from(process::run(script.arg("fetch"), Duration::from_secs(600)).ok().trim())
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/lab").join(name)
}
