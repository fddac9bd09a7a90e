//! A real Asterisk that places real calls over SIP on loopback, by way of `deploy/lab/asterisk`.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use tempfile::TempDir;

use crate::process;

/// A customer's Asterisk, and another one that plays telephones and network. Both end when this is dropped.
pub struct Asterisk {
    directory: TempDir,
    /// Where its packages were unpacked.
    root: String,
}

/// The kinds of calls that it can place, with the direction and the outcome that each has by its nature.
pub const KINDS: [(&str, &str, &str); 10] = [
    ("inbound", "inbound", "answered"),
    ("group", "inbound", "answered"),
    ("outbound", "outbound", "answered"),
    ("internal", "internal", "answered"),
    ("voicemail", "inbound", "voicemail"),
    ("menu", "inbound", "system"),
    ("queue", "inbound", "abandoned"),
    ("noanswer", "inbound", "no_answer"),
    ("busy", "inbound", "busy"),
    ("failed", "outbound", "failed"),
];

impl Asterisk {
    /// Fetches it where that was not done before, and starts it. A missing part is a failure, not a reason to skip.
    pub fn start() -> Self {
        let root = process::run(Command::new(script()).arg("fetch"), Duration::from_secs(600)).ok();
        let asterisk = Self { root, directory: tempfile::Builder::new().prefix("demarc-asterisk-").tempdir().unwrap() };
        asterisk.script(&["start"]).ok();
        asterisk
    }

    /// Where it writes its call records.
    pub fn master(&self) -> PathBuf {
        self.directory.path().join("pbx/log/cdr-csv/Master.csv")
    }

    /// Where its manager interface listens. Users are `demarc`, with the rights that suffice, and `everything`; the secret of
    /// both is `right`.
    pub fn manager(&self) -> String {
        let port = fs::read_to_string(self.directory.path().join("pbx/manager.port")).unwrap();
        format!("127.0.0.1:{}", port.trim())
    }

    /// Has it do what an administrator types at its console.
    pub fn console_command(&self, command: &str) {
        self.script_after("cli", &[command]).ok();
    }

    /// Stops it and starts it again.
    pub fn restart(&self) {
        self.script(&["restart"]).ok();
    }

    /// Its program and its config file, to be asked from outside. The packages bring a loader and libraries of their own, so
    /// the program is a script that starts it with them.
    pub fn console(&self) -> (PathBuf, PathBuf) {
        let root = PathBuf::from(self.root.trim());
        let is_libraries = |path: &PathBuf| path.to_string_lossy().ends_with("-linux-gnu");
        let libraries = entries(&root.join("usr/lib")).find(is_libraries).expect("libraries");
        let is_loader =
            |path: &PathBuf| path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"ld-linux"));
        let loader = entries(&libraries).find(is_loader).expect("a loader");
        let (loader, libraries, program) = (loader.display(), libraries.display(), root.join("usr/sbin/asterisk"));
        let text = format!("#!/bin/sh\nexec {loader} --library-path {libraries} {} \"$@\"\n", program.display());
        // Beside the program: a session may read what belongs to it.
        let script = root.join("usr/sbin").join(self.directory.path().file_name().expect("a name"));
        fs::write(&script, text).unwrap();
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
        (script, self.directory.path().join("pbx/etc/asterisk.conf"))
    }

    /// Places calls; returns when they are on their way.
    pub fn call(&self, kind: &str, count: u32) {
        let count = count.to_string();
        self.script_after("call", &[kind, &count]).ok();
    }

    fn script(&self, words: &[&str]) -> process::Finished {
        self.script_after(words[0], &words[1..])
    }

    fn script_after(&self, word: &str, rest: &[&str]) -> process::Finished {
        let mut command = Command::new(script());
        command.arg(word).arg(self.directory.path()).args(rest);
        process::run(&mut command, Duration::from_secs(120))
    }
}

impl Drop for Asterisk {
    fn drop(&mut self) {
        self.script(&["stop"]);
        let script =
            PathBuf::from(self.root.trim()).join("usr/sbin").join(self.directory.path().file_name().expect("a name"));
        // There is none where nobody asked for one.
        let _ = fs::remove_file(script);
    }
}

fn entries(directory: &Path) -> impl Iterator<Item = PathBuf> {
    fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path())
}

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/lab/asterisk")
}
