//! A real Asterisk that places real calls over SIP on loopback, by way of `deploy/lab/asterisk`.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use tempfile::TempDir;

use crate::process;

/// A customer's Asterisk, and another one that plays telephones and network. Both end when this is dropped.
pub struct Asterisk {
    directory: TempDir,
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
        process::run(Command::new(script()).arg("fetch"), Duration::from_secs(600)).ok();
        let asterisk = Self { directory: tempfile::Builder::new().prefix("demarc-asterisk-").tempdir().unwrap() };
        asterisk.script(&["start"]).ok();
        asterisk
    }

    /// Where it writes its call records.
    pub fn master(&self) -> PathBuf {
        self.directory.path().join("pbx/log/cdr-csv/Master.csv")
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
    }
}

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/lab/asterisk")
}
