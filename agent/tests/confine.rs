//! The confinement, tried with the real program: as root and as an ordinary user, on this kernel and on kernels that
//! have no Landlock or only say that they have.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    os::unix::{
        fs::{PermissionsExt, chown},
        process::{CommandExt, ExitStatusExt},
    },
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use seccompiler::{SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule};
use serde_json::Value;

const NOBODY: u32 = 65_534;
const PATIENCE: Duration = Duration::from_secs(20);

/// What a kernel answers when somebody wants to make a Landlock ruleset.
#[derive(Clone, Copy)]
enum Kernel {
    /// This one.
    Real,
    /// One from before Landlock.
    Old,
    /// One that reports a version, and then makes no ruleset.
    Boastful,
}

/// A machine's worth of files below one directory.
struct World {
    root: tempfile::TempDir,
    user: Option<u32>,
    kernel: Kernel,
}

impl World {
    fn new(top: &str) -> Self {
        let world = Self { root: tempfile::tempdir().unwrap(), user: None, kernel: Kernel::Real };
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

    fn configure(&self, top: &str) {
        let text = format!(
            "state_dir = \"A\"\n{top}[pbx]\ntrunks = [\"provider1\"]\n[[pbx.source]]\ntype = \"asterisk-csv\"\n\
             path = \"cdr/Master.csv\"\ntimezone = \"UTC\"\n[stats]\nupload = true\n"
        );
        fs::write(self.at("A/demarc.toml"), text).unwrap();
    }

    /// Files that a site has once it was enrolled and has counted, so that there is something to open.
    fn furnish(&self) {
        for (file, text) in [("link/key.pem", "key"), ("collector/ledger.jsonl", ""), ("collector/calls.db", "")] {
            let file = self.at("A").join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::set_permissions(file.parent().unwrap(), fs::Permissions::from_mode(0o700)).unwrap();
            fs::write(&file, text).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        }
    }

    /// From now on everything runs as an ordinary user, whose everything is.
    fn give_away(&mut self) {
        self.user = Some(NOBODY);
        let mut left = vec![self.root.path().to_owned()];
        while let Some(path) = left.pop() {
            chown(&path, Some(NOBODY), Some(NOBODY)).unwrap();
            if path.is_dir() {
                left.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            }
        }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.root.path().join(path)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.at("demarc"));
        command.args(["--config", "A/demarc.toml"]).args(arguments).current_dir(self.root.path());
        command.env_remove("DO_NOT_TRACK").env_remove("DEMARC_LOG").stdin(Stdio::null());
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

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    fn doctor(&self) -> (Option<i32>, Value) {
        let output = self.run(&["doctor", "--json"]);
        let text = String::from_utf8_lossy(&output.stdout);
        let found = serde_json::from_str(&text)
            .unwrap_or_else(|error| panic!("{error}: {text} {}", String::from_utf8_lossy(&output.stderr)));
        (output.status.code(), found)
    }

    fn start(&self) -> Daemon {
        let mut child = self.command(&["run"]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        Daemon { child, log: Some(log) }
    }

    fn status(&self) -> Value {
        let output = self.run(&["status", "--json"]);
        serde_json::from_slice(&output.stdout).map_or(Value::Null, |mut shown: Value| shown["daemon"].take())
    }

    fn wait_for_collector(&self) -> Value {
        wait("the collector to be ready", || {
            Some(self.status()).filter(|status| status["collector"]["confined"].is_object())
        })
    }
}

/// A daemon that ends with the test.
struct Daemon {
    child: Child,
    log: Option<BufReader<std::process::ChildStderr>>,
}

impl Daemon {
    fn ended(&mut self) -> (Option<i32>, String) {
        let status = wait("the daemon to end", || self.child.try_wait().unwrap());
        let mut log = String::new();
        self.log.take().unwrap().read_to_string(&mut log).unwrap();
        (status.code().or(status.signal().map(|signal| -signal)), log)
    }

    fn signal(&self, signal: i32) {
        // SAFETY: the process is our child, and has not been waited for.
        unsafe { libc::kill(self.child.id() as libc::pid_t, signal) };
    }

    fn wait_for_line(&mut self, part: &str) -> String {
        let mut log = String::new();
        while !log.contains(part) {
            assert!(self.log.as_mut().unwrap().read_line(&mut log).unwrap() > 0, "no {part:?} in {log}");
        }
        log
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn wait<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
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

/// Whether this kernel has Landlock at all, asked in the plainest way.
fn has_landlock() -> bool {
    // SAFETY: with this flag the call takes no pointer.
    unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, std::ptr::null::<u8>(), 0_usize, 1_u32) > 0 }
}

fn is_root() -> bool {
    // SAFETY: takes nothing, and cannot fail.
    unsafe { libc::geteuid() == 0 }
}

fn alive(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    !stat.is_empty() && !stat.contains(") Z ")
}

/// Every attempt went as it must, and those that matter most were conclusive.
fn assert_proven(code: Option<i32>, found: &Value) {
    assert_eq!(code, Some(0), "{found:#}");
    assert_eq!(found["good"], true);
    let proofs = found["proofs"].as_array().unwrap();
    assert!(proofs.iter().all(|proof| proof["holds"] != false), "{found:#}");
    for (role, tried) in [
        ("collector", "open a recording"),
        ("collector", "open the canary recording"),
        ("collector", "read call records"),
        ("collector", "read the site's private key"),
        ("collector", "connect to a port of this machine"),
        ("collector", "connect to another machine"),
        ("collector", "start a shell"),
        ("link", "open a recording"),
        ("link", "open a recording by the root of another process"),
        ("link", "read call records"),
        ("link", "open the collector's store"),
        ("link", "open the ledger"),
        ("link", "start a shell"),
        ("supervisor", "open a recording"),
        ("command", "open a recording"),
    ] {
        let proof = proofs.iter().find(|proof| proof["role"] == role && proof["tried"] == tried);
        assert!(proof.is_some_and(|proof| proof["holds"] == true), "{role}: {tried} in {found:#}");
    }
}

#[test]
fn nobody_breaks_out_as_root_or_as_an_ordinary_user() {
    assert!(has_landlock(), "this kernel has no Landlock: the confinement cannot be tested here");
    let mut world = World::new("");
    world.furnish();
    let (code, found) = world.doctor();
    assert_proven(code, &found);
    if is_root() {
        world.give_away();
        let (code, found) = world.doctor();
        assert_proven(code, &found);
    }
}

#[test]
fn the_doctor_fails_where_nothing_is_enforced() {
    for kernel in [Kernel::Old, Kernel::Boastful] {
        let mut world = World::new("confinement = \"best-effort\"\n");
        world.furnish();
        world.kernel = kernel;
        let (code, found) = world.doctor();
        assert_eq!((code, &found["good"]), (Some(1), &Value::Bool(false)));
        let proofs = found["proofs"].as_array().unwrap();
        let held = |role: &str, tried: &str| {
            let proof = proofs.iter().find(|proof| proof["role"] == role && proof["tried"] == tried);
            proof.map(|proof| proof["holds"].clone())
        };
        assert_eq!(held("link", "open a recording"), Some(Value::Bool(false)), "{found:#}");
        // The filter of system calls needs no Landlock.
        assert_eq!(held("collector", "connect to another machine"), Some(Value::Bool(true)), "{found:#}");
        assert_eq!(held("link", "start a shell"), Some(Value::Bool(true)), "{found:#}");
    }
}

#[test]
fn without_landlock_it_refuses_or_says_so_loudly() {
    for kernel in [Kernel::Old, Kernel::Boastful] {
        let mut world = World::new("");
        world.kernel = kernel;
        let (code, log) = world.start().ended();
        assert_eq!(code, Some(1), "{log}");
        assert!(log.contains("Landlock") && log.contains("best-effort"), "{log}");
        world.configure("confinement = \"best-effort\"\n");
        let mut daemon = world.start();
        daemon.wait_for_line("THIS KERNEL CANNOT CONFINE DEMARC");
        let status = world.wait_for_collector();
        let confined = &status["collector"]["confined"];
        assert!(confined["landlock"].is_null() && confined["seccomp"] == true, "{status:#}");
        assert!(confined["gaps"].to_string().contains("could open"), "{status:#}");
    }
}

#[test]
fn a_recording_that_opens_ends_the_daemon_for_good() {
    // The call record file is said to be a recording, so that the collector can open what it must not.
    let world = World::new("[recordings]\npaths = [\"cdr\"]\n");
    let mut daemon = world.start();
    let (code, log) = daemon.ended();
    assert_eq!(code, Some(70), "{log}");
    assert!(log.contains("the collector is not confined") && log.contains("Master.csv"), "{log}");
    assert!(!log.contains(" ms"), "{log}");
    // A recording below its directory is none of the files that the collector was granted.
    fs::create_dir(world.at("cdr/voice")).unwrap();
    fs::write(world.at("cdr/voice/0.wav"), "RIFF").unwrap();
    world.configure("[recordings]\npaths = [\"cdr/voice\"]\n");
    let _daemon = world.start();
    let status = world.wait_for_collector();
    assert!(status["supervisor"]["confined"]["gaps"].to_string().contains("restart demarc"), "{status:#}");
}

#[test]
fn everything_in_one_directory_is_confined_and_still_follows_its_config_file() {
    let world = World::new("");
    let daemon = world.start();
    let status = world.wait_for_collector();
    assert_eq!(status["upload"], true);
    assert_eq!(status["supervisor"]["confined"]["gaps"], Value::Array(Vec::new()), "{status:#}");
    for role in ["supervisor", "collector"] {
        assert!(status[role]["confined"]["refused"].as_u64() > Some(0), "{status:#}");
    }
    let changed = fs::read_to_string(world.at("A/demarc.toml")).unwrap().replace("upload = true", "upload = false");
    fs::write(world.at("A/new"), changed).unwrap();
    fs::rename(world.at("A/new"), world.at("A/demarc.toml")).unwrap();
    wait("the new file to count", || (world.status()["upload"] == false).then_some(()));
    drop(daemon);
}

#[test]
fn roles_come_back_and_never_outlive_the_supervisor() {
    let world = World::new("");
    let mut daemon = world.start();
    let pid = |status: &Value| i32::try_from(status["collector"]["pid"].as_i64().unwrap()).unwrap();
    let mut last = pid(&world.wait_for_collector());
    for _ in 0..5 {
        // SAFETY: the process belongs to the daemon that this test started.
        unsafe { libc::kill(last, libc::SIGKILL) };
        last = wait("another collector", || {
            let status = world.status();
            let ready = status["collector"]["confined"].is_object() && pid(&status) != last;
            ready.then(|| pid(&status))
        });
    }
    assert_eq!(world.status()["collector"]["restarts"], 5);
    let second = world.run(&["run"]);
    assert_eq!(second.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&second.stderr).contains("another demarc"));
    assert!(world.at("A/control.sock").exists());
    daemon.signal(libc::SIGKILL);
    assert_eq!(daemon.ended().0, Some(-libc::SIGKILL));
    wait("the collector to end", || (!alive(last)).then_some(()));
    // What the dead one left behind is no obstacle.
    let mut daemon = world.start();
    let last = pid(&world.wait_for_collector());
    daemon.signal(libc::SIGTERM);
    assert_eq!(daemon.ended().0, Some(0));
    assert!(!alive(last) && !world.at("A/control.sock").exists());
    assert!(Path::new(&world.at("A/lock")).exists());
}
