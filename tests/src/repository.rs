//! A vendor's package repository, made and signed by ordinary tools, and the machine's own package manager with rooms of its
//! own, so that it sees that repository alone and installs nothing.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use tempfile::TempDir;

use crate::{
    data,
    process::{self, Finished},
};

const LIMIT: Duration = Duration::from_secs(60);
const FETCHING: Duration = Duration::from_secs(600);

/// A repository for one architecture, with one suite `stable` and its packages in `pool`.
#[derive(Debug)]
pub struct Repository {
    directory: TempDir,
    tools: PathBuf,
}

impl Repository {
    /// An empty one, with a key.
    pub fn new() -> Self {
        let script = data::root().join("../../../deploy/lab/repository");
        let tools = process::run(Command::new(script).arg("fetch"), FETCHING).ok();
        let directory = tempfile::Builder::new().prefix("demarc-repository-").tempdir().unwrap();
        let repository = Self { directory, tools: tools.trim().into() };
        fs::create_dir_all(repository.root().join("pool")).unwrap();
        repository.new_key("key.pem");
        let certificate = repository.sop(&["extract-cert"], &fs::read_to_string(repository.path("key.pem")).unwrap());
        fs::write(repository.keyring(), certificate).unwrap();
        repository
    }

    /// What the hub is to serve.
    pub fn root(&self) -> PathBuf {
        self.path("repository")
    }

    /// The vendor's public key, as the machine's administrator gets it.
    pub fn keyring(&self) -> PathBuf {
        self.path("vendor.asc")
    }

    /// Adds a version of a package that holds one file and does nothing.
    pub fn add(&self, package: &str, version: &str) {
        let tree = self.path(&format!("{package}-{version}"));
        fs::create_dir_all(tree.join("DEBIAN")).unwrap();
        fs::create_dir_all(tree.join("usr/share/doc").join(package)).unwrap();
        fs::write(tree.join("usr/share/doc").join(package).join("version"), version).unwrap();
        let control = format!(
            "Package: {package}\nVersion: {version}\nArchitecture: all\nMaintainer: Vendor <vendor@example.com>\n\
             Description: a package\n"
        );
        fs::write(tree.join("DEBIAN/control"), control).unwrap();
        let mut build = Command::new("dpkg-deb");
        build.args(["--root-owner-group", "--build"]).arg(&tree).arg(self.root().join("pool"));
        process::run(&mut build, LIMIT).ok();
    }

    /// Lists everything in it, and signs the list; `seconds` is for how long that is good.
    pub fn publish(&self, seconds: Option<u32>) {
        self.publish_by("key.pem", seconds);
    }

    /// The same, by somebody who is not the vendor.
    pub fn publish_forged(&self) {
        self.new_key("other.pem");
        self.publish_by("other.pem", None);
    }

    fn publish_by(&self, key: &str, seconds: Option<u32>) {
        let binary = "dists/stable/main/binary-amd64";
        fs::create_dir_all(self.root().join(binary)).unwrap();
        let packages = self.ftparchive(&["packages", "pool"]);
        fs::write(self.root().join(binary).join("Packages"), packages).unwrap();
        for old in ["InRelease", "Release"] {
            let _ = fs::remove_file(self.root().join("dists/stable").join(old));
        }
        let mut options: Vec<String> = [("Suite", "stable"), ("Components", "main"), ("Architectures", "amd64")]
            .iter()
            .map(|(name, value)| format!("APT::FTPArchive::Release::{name}={value}"))
            .collect();
        options.extend(seconds.map(|seconds| format!("APT::FTPArchive::Release::ValidTime={seconds}")));
        let mut arguments: Vec<&str> = options.iter().flat_map(|option| ["-o", option]).collect();
        arguments.extend(["release", "dists/stable"]);
        let release = self.ftparchive(&arguments);
        let key = self.path(key).display().to_string();
        let signed = self.sop(&["inline-sign", "--as=clearsigned", &key], &release);
        fs::write(self.root().join("dists/stable/InRelease"), signed).unwrap();
    }

    fn new_key(&self, name: &str) {
        fs::write(self.path(name), self.sop(&["generate-key", "Vendor"], "")).unwrap();
    }

    fn ftparchive(&self, arguments: &[&str]) -> String {
        let mut command = Command::new(self.tools.join("apt-ftparchive"));
        process::run(command.args(arguments).current_dir(self.root()), LIMIT).ok()
    }

    fn sop(&self, arguments: &[&str], input: &str) -> String {
        let file = self.path("input");
        fs::write(&file, input).unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "exec \"$0\" \"$@\" < \"$INPUT\""]).env("INPUT", file);
        process::run(command.arg(self.tools.join("sqop")).args(arguments), LIMIT).ok()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
}

impl Default for Repository {
    fn default() -> Self {
        Self::new()
    }
}

/// `apt-get` as the administrator of a machine would have it, with that one source.
#[derive(Debug)]
pub struct Apt {
    directory: TempDir,
}

impl Apt {
    /// One that looks for packages there, signed by that key.
    pub fn new(url: &str, keyring: &Path) -> Self {
        let directory = tempfile::Builder::new().prefix("demarc-apt-").tempdir().unwrap();
        let root = directory.path();
        for place in [
            "etc/apt/apt.conf.d",
            "etc/apt/preferences.d",
            "etc/apt/sources.list.d",
            "var/lib/apt/lists/partial",
            "var/cache/apt/archives/partial",
            "var/lib/dpkg",
        ] {
            fs::create_dir_all(root.join(place)).unwrap();
        }
        fs::write(root.join("var/lib/dpkg/status"), "").unwrap();
        fs::write(root.join("apt.conf"), "").unwrap();
        let source = format!(
            "Types: deb\nURIs: {url}\nSuites: stable\nComponents: main\nArchitectures: amd64\nSigned-By: {}\n",
            keyring.display()
        );
        fs::write(root.join("etc/apt/sources.list.d/demarc.sources"), source).unwrap();
        Self { directory }
    }

    /// Runs it.
    pub fn run(&self, arguments: &[&str]) -> Finished {
        self.program("apt-get", arguments)
    }

    /// The newest version of a package that it knows of.
    pub fn candidate(&self, package: &str) -> String {
        let told = self.program("apt-cache", &["policy", package]).ok();
        let line = told.lines().find_map(|line| line.trim().strip_prefix("Candidate: "));
        line.unwrap_or_default().to_owned()
    }

    /// A directory into which it downloads.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    fn program(&self, name: &str, arguments: &[&str]) -> Finished {
        let root = self.directory.path();
        let mut command = Command::new(name);
        command.current_dir(root).env("APT_CONFIG", root.join("apt.conf")).env("LC_ALL", "C").env_remove("http_proxy");
        command.arg("-o").arg(format!("Dir={}", root.display()));
        command.arg("-o").arg(format!("Dir::State::status={}/var/lib/dpkg/status", root.display()));
        for option in [
            "APT::Sandbox::User=",
            "Debug::NoLocking=1",
            "Acquire::Languages=none",
            "APT::Architecture=amd64",
            "Acquire::http::Proxy::127.0.0.1=DIRECT",
        ] {
            command.args(["-o", option]);
        }
        process::run(command.args(arguments), LIMIT)
    }
}
