//! A fresh Debian machine of the test's own: a root that it may change, with systemd as the first process if it wants one.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::OnceLock,
    time::Duration,
};

use tempfile::TempDir;

use crate::{
    data,
    process::{self, Daemon, Finished},
};

const LIMIT: Duration = Duration::from_secs(120);
/// Making the first one downloads a system.
const FETCHING: Duration = Duration::from_secs(1200);
/// Where packaging tools and the system itself take notes, which are nothing of ours.
const NOTES: [&str; 13] = [
    "/proc",
    "/sys",
    "/dev",
    "/run",
    "/tmp",
    "/root",
    "/var/tmp",
    "/var/cache",
    "/var/lib/apt",
    "/var/lib/dpkg",
    "/var/log",
    "/var/lib/systemd",
    // Copies that are made before each change of users.
    "/var/backups",
];

/// The machine. It ends, and is removed, when dropped.
pub struct Appliance {
    directory: TempDir,
    booted: Option<Booted>,
}

struct Booted {
    script: Child,
    first_process: i32,
}

impl Appliance {
    /// A fresh one, without a first process.
    pub fn fresh() -> Self {
        static FETCHED: OnceLock<()> = OnceLock::new();
        FETCHED.get_or_init(|| drop(process::run(script().arg("fetch"), FETCHING).ok()));
        let directory = tempfile::Builder::new().prefix("demarc-machine-").tempdir().unwrap();
        let machine = Self { directory, booted: None };
        process::run(script().arg("copy").arg(machine.root()), LIMIT).ok();
        machine
    }

    /// Its root directory, as this machine sees it.
    pub fn root(&self) -> PathBuf {
        self.directory.path().join("root")
    }

    /// A file of it, as this machine sees it.
    pub fn path(&self, path: &str) -> PathBuf {
        self.root().join(path.trim_start_matches('/'))
    }

    /// The processes that live in it.
    fn inhabitants(&self) -> Vec<i32> {
        let name = self.directory.path().file_name().and_then(|name| name.to_str()).expect("made by us").to_owned();
        let lives_here = |pid: &i32| {
            let mounts = fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap_or_default();
            // The fifth word is where something is mounted.
            mounts.lines().any(|mount| mount.split(' ').nth(4) == Some("/") && mount.contains(&name))
        };
        let entries = fs::read_dir("/proc").unwrap().flatten();
        entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(lives_here).collect()
    }

    /// Starts systemd in it, and waits until the machine is up.
    pub fn boot(&mut self) {
        let mut command = script();
        // A test that is killed must not leave a machine behind.
        unsafe {
            command.pre_exec(|| {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM);
                Ok(())
            });
        }
        let mut script =
            command.arg("boot").arg(self.root()).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(script.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let first_process = line.trim().parse();
        let first_process =
            first_process.unwrap_or_else(|_| panic!("systemd does not run in a namespace of this machine: {script:?}"));
        self.booted = Some(Booted { script, first_process });
    }

    /// A command that runs there as root.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = script();
        match &self.booted {
            Some(booted) => command.arg("in").arg(booted.first_process.to_string()),
            None => command.arg("run"),
        };
        command.arg(self.root()).args(words);
        command
    }

    /// Runs a command there as root.
    pub fn run(&self, words: &[&str]) -> Finished {
        process::run(&mut self.command(words), LIMIT)
    }

    /// Has a shell do something there as root.
    pub fn shell(&self, text: &str) -> Finished {
        self.run(&["sh", "-c", text])
    }

    /// Starts a program there that stays up.
    pub fn start(&self, words: &[&str]) -> Daemon {
        Daemon::spawn(&mut self.command(words), &self.directory.path().join("daemon.log"))
    }

    /// Writes a file there, with the directories above it.
    pub fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Copies a file to root's home there, and says where that is.
    pub fn bring(&self, file: &Path) -> String {
        let name = file.file_name().unwrap().to_str().unwrap();
        fs::copy(file, self.root().join("root").join(name)).unwrap();
        format!("/root/{name}")
    }

    /// Copies a directory to the same place there.
    pub fn bring_directory(&self, directory: &Path) {
        let there = self.path(directory.to_str().unwrap());
        fs::create_dir_all(there.parent().unwrap()).unwrap();
        process::run(Command::new("cp").arg("-a").arg(directory).arg(there), LIMIT).ok();
    }

    /// Everything that lies there but for notes: kind, mode, owner, size, and what a link leads to.
    pub fn everything(&self) -> BTreeMap<String, String> {
        let left_out: String = NOTES.map(|path| format!(" -path {path} -prune -o")).concat();
        // The size of a directory tells only how many entries it once had.
        let listed = self.shell(&format!(
            "find / -xdev{left_out} -type d -printf '%p\\t%y %m %U %G\\n' -o -printf '%p\\t%y %m %U %G %s %l\\n'"
        ));
        let list = listed.ok();
        list.lines().filter_map(|line| line.split_once('\t')).map(|(path, what)| (path.into(), what.into())).collect()
    }
}

impl Drop for Appliance {
    fn drop(&mut self) {
        if let Some(mut booted) = self.booted.take() {
            process::signal(i32::try_from(booted.script.id()).unwrap(), libc::SIGTERM);
            let _ = booted.script.wait();
        }
        // Of a test that failed a daemon may be left, which has a mount of this machine for its root.
        for pid in self.inhabitants() {
            process::signal(pid, libc::SIGKILL);
        }
    }
}

fn script() -> Command {
    Command::new(data::root().join("../../../deploy/lab/debian"))
}
