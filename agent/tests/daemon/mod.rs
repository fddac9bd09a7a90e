//! The real program in a world of its own: a directory with a config file, call records and a state directory.

#![allow(
    clippy::unwrap_used,
    dead_code,
    reason = "a test that cannot go on fails, and not every test needs everything"
)]

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    os::unix::{
        fs::{PermissionsExt, chown},
        process::{CommandExt, ExitStatusExt},
    },
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use seccompiler::{SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule};
use serde_json::Value;

const NOBODY: u32 = 65_534;
const PATIENCE: Duration = Duration::from_secs(20);

/// What a kernel answers when somebody wants to make a Landlock ruleset.
#[derive(Clone, Copy)]
pub(crate) enum Kernel {
    /// This one.
    Real,
    /// One from before Landlock.
    Old,
    /// One that reports a version, and then makes no ruleset.
    Boastful,
}

/// A machine's worth of files below one directory.
pub(crate) struct World {
    root: tempfile::TempDir,
    pub(crate) user: Option<u32>,
    pub(crate) kernel: Kernel,
    pub(crate) environment: Vec<(&'static str, &'static str)>,
}

impl World {
    pub(crate) fn new(top: &str) -> Self {
        let world =
            Self { root: tempfile::tempdir().unwrap(), user: None, kernel: Kernel::Real, environment: Vec::new() };
        fs::set_permissions(world.root.path(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::create_dir_all(world.at("A")).unwrap();
        fs::create_dir_all(world.at("cdr")).unwrap();
        fs::write(world.at("cdr/Master.csv"), "").unwrap();
        // The program may lie where an ordinary user cannot reach it.
        // By another process: were the copy open for writing here while another test starts a program, that child
        // would hold it open too, and a program that is open for writing cannot be started.
        let copied = Command::new("cp").arg(env!("CARGO_BIN_EXE_demarc")).arg(world.at("demarc")).status().unwrap();
        assert!(copied.success());
        world.configure(top);
        world
    }

    pub(crate) fn configure(&self, top: &str) {
        let text = format!(
            "state_dir = \"A\"\n{top}[pbx]\ntrunks = [\"provider1\"]\n[[pbx.source]]\ntype = \"asterisk-csv\"\n\
             path = \"cdr/Master.csv\"\ntimezone = \"UTC\"\n[stats]\nupload = true\n"
        );
        fs::write(self.at("A/demarc.toml"), text).unwrap();
    }

    /// Files that a site has once it was enrolled and has counted, so that there is something to open.
    pub(crate) fn furnish(&self) {
        let files = ["link/key.pem", "support/host_key", "collector/ledger.jsonl", "collector/calls.db"];
        for (file, text) in files.map(|file| (file, if file.ends_with("key.pem") { "key" } else { "" })) {
            let file = self.at("A").join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::set_permissions(file.parent().unwrap(), fs::Permissions::from_mode(0o700)).unwrap();
            fs::write(&file, text).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        }
    }

    /// From now on everything runs as an ordinary user, whose everything is.
    pub(crate) fn give_away(&mut self) {
        self.user = Some(NOBODY);
        let mut left = vec![self.root.path().to_owned()];
        while let Some(path) = left.pop() {
            chown(&path, Some(NOBODY), Some(NOBODY)).unwrap();
            if path.is_dir() {
                left.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            }
        }
    }

    pub(crate) fn at(&self, path: &str) -> PathBuf {
        self.root.path().join(path)
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.at("demarc"));
        command.args(["--config", "A/demarc.toml"]).args(arguments).current_dir(self.root.path());
        command.env_remove("DO_NOT_TRACK").env_remove("DEMARC_LOG").stdin(Stdio::null());
        command.envs(self.environment.iter().copied());
        if let Some(user) = self.user {
            command.uid(user).gid(user);
        }
        if let Some(program) = filter(self.kernel) {
            // SAFETY: the filter was made before the fork; applying it makes two system calls.
            unsafe {
                command.pre_exec(move || {
                    libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
                    seccompiler::apply_filter(&program).map_err(std::io::Error::other)
                });
            }
        }
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    pub(crate) fn doctor(&self) -> (Option<i32>, Value) {
        let output = self.run(&["doctor", "--json"]);
        let text = String::from_utf8_lossy(&output.stdout);
        let found = serde_json::from_str(&text)
            .unwrap_or_else(|error| panic!("{error}: {text} {}", String::from_utf8_lossy(&output.stderr)));
        (output.status.code(), found)
    }

    pub(crate) fn start(&self) -> Daemon {
        let mut child = self.command(&["run"]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        Daemon { child, log: Some(log) }
    }

    pub(crate) fn status(&self) -> Value {
        let output = self.run(&["status", "--json"]);
        serde_json::from_slice(&output.stdout).map_or(Value::Null, |mut shown: Value| shown["daemon"].take())
    }

    pub(crate) fn wait_for_collector(&self) -> Value {
        wait("the collector to be ready", || {
            Some(self.status()).filter(|status| status["collector"]["confined"].is_object())
        })
    }
}

/// A daemon that ends with the test.
pub(crate) struct Daemon {
    child: Child,
    log: Option<BufReader<std::process::ChildStderr>>,
}

impl Daemon {
    pub(crate) fn ended(&mut self) -> (Option<i32>, String) {
        let status = wait("the daemon to end", || self.child.try_wait().unwrap());
        let mut log = String::new();
        self.log.take().unwrap().read_to_string(&mut log).unwrap();
        (status.code().or(status.signal().map(|signal| -signal)), log)
    }

    pub(crate) fn signal(&self, signal: i32) {
        // SAFETY: the process is our child, and has not been waited for.
        unsafe { libc::kill(self.child.id() as libc::pid_t, signal) };
    }

    pub(crate) fn wait_for_line(&mut self, part: &str) -> String {
        let mut log = String::new();
        while !log.contains(part) {
            assert!(self.log.as_mut().unwrap().read_line(&mut log).unwrap() > 0, "no {part:?} in {log}");
        }
        log
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // The cgroup of its sessions lies elsewhere, where a daemon that runs as root may not always remove it.
        if let Ok(cgroup) = fs::read_to_string(self.at("A/support/cgroup")) {
            let _ = fs::remove_dir(cgroup);
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn wait<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < end, "waited too long for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn filter(kernel: Kernel) -> Option<seccompiler::BpfProgram> {
    let (error, rules) = match kernel {
        Kernel::Real => return None,
        Kernel::Old => (libc::ENOSYS, Vec::new()),
        Kernel::Boastful => {
            let makes = SeccompCondition::new(2, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, 0).unwrap();
            (libc::EINVAL, vec![SeccompRule::new(vec![makes]).unwrap()])
        }
    };
    let filter = SeccompFilter::new(
        [(libc::SYS_landlock_create_ruleset, rules)].into(),
        SeccompAction::Allow,
        SeccompAction::Errno(error as u32),
        std::env::consts::ARCH.try_into().unwrap(),
    );
    Some(filter.unwrap().try_into().unwrap())
}
