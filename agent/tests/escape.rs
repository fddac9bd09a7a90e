//! The shell of a support session tries to get out, as root and as an ordinary user: with a real shell, and with the calls
//! that lie below one. Each attempt is made without the confinement first, where it must succeed; then with it, where it
//! must not.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod daemon;
#[path = "escape/tries.rs"]
mod tries;

use std::{
    fs::{self, File},
    io::Write,
    net::TcpListener,
    os::{
        fd::AsRawFd,
        linux::net::SocketAddrExt,
        unix::{
            fs::{PermissionsExt, chown},
            net::{SocketAddr, UnixDatagram, UnixListener, UnixStream},
            process::CommandExt,
        },
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use daemon::World;
use demarc::{
    confine::{
        Profile,
        layout::{self, Ground, SCOPED_SIGNALS},
        prove::{Attempt, Entered, Reach, Task, Verdict, Way},
    },
    ipc::{
        ROLE_FD,
        channel::{recv_blocking, send_blocking},
    },
    settings::Settings,
};
use demarc_proto::support::Scope;

const NOBODY: u32 = 65_534;

/// What is tried, and whether it can succeed without the confinement: for whom.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Possible {
    ForAll,
    ForRoot,
    /// It depends on this machine, whose kernel may refuse it to everybody.
    Perhaps,
}

struct Prison {
    world: World,
    settings: Settings,
    user: u32,
    /// Another process of the same user, which holds a recording open.
    victim: Child,
    console: UnixListener,
    listener: TcpListener,
    terminal: String,
    _sockets: (UnixListener, UnixDatagram, File),
}

impl Drop for Prison {
    fn drop(&mut self) {
        let _ = self.victim.kill();
        let _ = self.victim.wait();
    }
}

impl Prison {
    fn build(user: u32) -> Self {
        let mut world = World::new("");
        world.furnish();
        for (file, text) in [
            ("monitor/recording.wav", "RIFF of a call"),
            ("voicemail/default/1001/INBOX/msg0000.wav", "RIFF of a voice"),
            ("A/support/host_key", "the key"),
            ("A/support/grants.json", "{}"),
            ("A/support/recordings/0-1.cast", "{}"),
            ("log/full", "[Nov 22 08:52:28] NOTICE[1] a line\n"),
            ("log/other", "a line\n"),
            ("elsewhere/note", "a line\n"),
        ] {
            let file = world.at(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(&file, text).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        }
        for directory in ["scratch", "mount"] {
            fs::create_dir(world.at(directory)).unwrap();
        }
        let sockets = (
            UnixListener::bind_addr(
                &SocketAddr::from_abstract_name(world.at("x").as_os_str().as_encoded_bytes()).unwrap(),
            ),
            UnixDatagram::bind(world.at("datagrams")).unwrap(),
        );
        let console = UnixListener::bind(world.at("asterisk.ctl")).unwrap();
        if user != 0 {
            world.give_away();
        }
        let mut settings: Settings = toml::from_str("").unwrap();
        settings.state_dir = world.at("A");
        settings.support.authorities = vec!["somebody".to_owned()];
        settings.support.logs = vec![world.at("log/full"), world.at("log/other")];
        settings.recordings.paths = vec![world.at("monitor"), world.at("voicemail")];
        let recording = File::open(world.at("monitor/recording.wav")).unwrap();
        let mut sleeping = Command::new("sleep");
        sleeping.arg("600").uid(user).gid(user).stdin(recording).stdout(Stdio::null());
        let victim = sleeping.spawn().unwrap();
        let (terminal, master) = terminal(user);
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let _sockets = (sockets.0.unwrap(), sockets.1, master);
        Self { world, settings, user, victim, console, listener, terminal, _sockets }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.world.at(path)
    }

    fn text(&self, path: &str) -> String {
        self.at(path).display().to_string()
    }

    /// The profiles of a worker and of its shell, with that version of Landlock: no more of it is used then.
    fn profiles(&self, version: u32) -> (Profile, Profile) {
        let mut ground = Ground::survey(&self.settings, &self.at("A/demarc.toml")).unwrap();
        ground.landlock = Some(version);
        let worker = layout::session(&ground, &self.settings, Scope::Shell, &self.at("scratch")).unwrap();
        (worker, layout::shell(&ground, &self.settings, &self.at("scratch")).unwrap())
    }

    /// Has a child of that user make the attempts.
    fn make(&self, attempts: &[Attempt], profiles: Option<(Profile, Profile)>) -> Vec<Verdict> {
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        ours.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut command = Command::new(self.at("demarc"));
        command.args(["role", "prove"]).stdin(Stdio::null()).stdout(Stdio::null()).uid(self.user).gid(self.user);
        // SAFETY: between fork and exec only a call that is safe there; the socket lives as long as the command.
        unsafe {
            command.pre_exec(move || {
                let socket = theirs.as_raw_fd();
                let given =
                    if socket == ROLE_FD { libc::fcntl(socket, libc::F_SETFD, 0) } else { libc::dup2(socket, ROLE_FD) };
                if given == -1 { Err(std::io::Error::last_os_error()) } else { Ok(()) }
            });
        }
        let mut child = command.spawn().unwrap();
        drop(command);
        let (profile, shell) = profiles.unzip();
        send_blocking(&mut ours, &Task { profile, shell, attempts: attempts.to_vec() }).unwrap();
        let entered: Entered = recv_blocking(&mut ours).unwrap();
        assert!(matches!(&entered, Entered::Confined(_)), "{entered:?}");
        let verdicts = attempts
            .iter()
            .map(|attempt| recv_blocking(&mut ours).unwrap_or_else(|error| panic!("{attempt:?}: {error}")));
        let verdicts = verdicts.collect();
        drop(ours);
        child.wait().unwrap();
        verdicts
    }
}

#[test]
fn nobody_gets_out_as_root() {
    if is_root() {
        try_all(0);
    }
}

#[test]
fn nobody_gets_out_as_an_ordinary_user() {
    // Somebody who is not root can be nobody but himself.
    try_all(if is_root() { NOBODY } else { own_user() });
}

fn try_all(user: u32) {
    let prison = Prison::build(user);
    prison.console.set_nonblocking(true).unwrap();
    let file = prison.at("scratch/note");
    File::create(&file).unwrap().write_all(b"x").unwrap();
    chown(&file, Some(user), Some(user)).unwrap();
    let escapes = prison.escapes();
    let attempts: Vec<Attempt> = escapes.iter().map(|(attempt, _)| attempt.clone()).collect();
    let free = prison.make(&attempts, None);
    for ((attempt, possible), verdict) in escapes.iter().zip(&free) {
        let must = *possible == Possible::ForAll || (*possible == Possible::ForRoot && user == 0);
        assert!(!must || *verdict == Verdict::Succeeded, "without confinement {attempt:?}: {verdict:?}");
    }
    // Every version that this kernel can play: where the rules hold less, filters hold it.
    let newest = Ground::survey(&prison.settings, &prison.at("A/demarc.toml")).unwrap().landlock;
    for version in 1..=newest.expect("this kernel has Landlock") {
        hold(&prison, version, &attempts, &free);
    }
}

/// A shell on a kernel with that version of Landlock gets nowhere, and works.
fn hold(prison: &Prison, version: u32, attempts: &[Attempt], free: &[Verdict]) {
    for file in ["log/other", "elsewhere/note"] {
        fs::write(prison.at(file), "a line\n").unwrap();
    }
    let _ = fs::remove_file(prison.at("scratch/hard"));
    let (worker, shell) = prison.profiles(version);
    assert!(worker.forbidden.iter().any(|path| path.ends_with("recording.wav")));
    assert!(worker.forbidden.iter().any(|path| path.ends_with("msg0000.wav")));
    let mut failed = Vec::new();
    for ((attempt, free), verdict) in
        attempts.iter().zip(free).zip(prison.make(attempts, Some((worker.clone(), shell.clone()))))
    {
        // What this machine refuses anyway, or does not have, shows nothing; it must not succeed all the same.
        let holds = match verdict {
            Verdict::Refused(_) => true,
            Verdict::Succeeded => false,
            Verdict::Inconclusive(_) => *free != Verdict::Succeeded,
        };
        if !holds {
            failed.push(format!("{attempt:?}: {verdict:?}"));
        }
    }
    assert!(failed.is_empty(), "with Landlock {version}: {failed:#?}");
    for (file, text) in
        [("monitor/recording.wav", "RIFF of a call"), ("log/other", "a line"), ("elsewhere/note", "a line")]
    {
        assert!(fs::read_to_string(prison.at(file)).unwrap().starts_with(text), "with Landlock {version}: {file}");
    }
    let mut work = prison.work();
    let signals = version >= SCOPED_SIGNALS;
    if signals {
        work.push(Attempt::Shell("sleep 60 & kill $!".to_owned()));
    } else {
        // Its own process group is all that a shell may signal there.
        work.push(Attempt::Shell("kill -CONT 0".to_owned()));
        work.push(Attempt::Shell("! kill -CONT -1 2> /dev/null".to_owned()));
        // The answer tells nothing where the signal itself is refused.
        let by_file = Attempt::Reach(Reach::SignalBy(Way::Owner, i32::try_from(prison.victim.id()).unwrap()));
        let told = prison.make(std::slice::from_ref(&by_file), Some((worker.clone(), shell.clone())));
        assert!(matches!(told[..], [Verdict::Refused(_)]), "with Landlock {version} {by_file:?}: {told:?}");
    }
    for (attempt, verdict) in work.iter().zip(prison.make(&work, Some((worker, shell)))) {
        assert_eq!(verdict, Verdict::Succeeded, "with Landlock {version} {attempt:?}");
    }
}

/// Somebody else's terminal, of the same user.
fn terminal(user: u32) -> (String, File) {
    let master = File::options().read(true).write(true).open("/dev/ptmx").unwrap();
    rustix::pty::grantpt(&master).unwrap();
    rustix::pty::unlockpt(&master).unwrap();
    let name = rustix::pty::ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
    if user != own_user() {
        chown(Path::new(&name), Some(user), Some(user)).unwrap();
    }
    (name, master)
}

fn own_user() -> u32 {
    // SAFETY: takes nothing, and cannot fail.
    unsafe { libc::geteuid() }
}

fn is_root() -> bool {
    own_user() == 0
}
