//! The attempts of each process, and how they went.

mod sessions;

use std::{
    fs, io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    os::{
        fd::AsRawFd,
        unix::{fs::PermissionsExt, net::UnixStream, process::CommandExt},
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::Context;

use super::{Expected, Proof};
use crate::{
    backup::places,
    confine::{
        Access, Profile, Subject, canary,
        layout::{self, Ground},
        prove::{Attempt, Entered, Reach, Task, Verdict},
    },
    ipc::{
        ROLE_FD,
        channel::{recv_blocking, send_blocking},
    },
    recordings::{
        TreeKind,
        trees::{self, Tree},
    },
    settings::{
        Settings, Source,
        load::{Loaded, endpoint},
    },
    state::StateDir,
    supervisor::derive,
};

/// An address that nobody has (RFC 5737): a connection to it must be refused before anything is sent.
const NOBODYS_ADDRESS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 443);
/// Known recordings tried by each process.
const MOST_RECORDINGS: usize = 5;
/// A child that says nothing for so long hangs.
const PATIENCE: Duration = Duration::from_secs(20);

/// What the attempts are made on.
struct Stage {
    settings: Settings,
    config: PathBuf,
    state: StateDir,
    ground: Ground,
    /// A readable file that no process was granted, in a directory of its own.
    recording: PathBuf,
    /// Somebody who would take a connection.
    listener: TcpListener,
    port: u16,
    _room: tempfile::TempDir,
}

type Attempts = Vec<(String, Attempt, Expected)>;

/// Lets a child of each kind try to break out.
pub(super) fn all(loaded: &Loaded, config: &Path, state: &StateDir, ground: &Ground) -> anyhow::Result<Vec<Proof>> {
    let stage = Stage::set(loaded, config, state, ground)?;
    let (settings, ground) = (&stage.settings, &stage.ground);
    let roles = [
        layout::supervisor(ground, settings, config),
        layout::collector(ground, settings),
        layout::link(ground, settings, config, stage.port),
        layout::web(ground, settings, config),
        layout::command(ground, settings),
        stage.keeper(),
        layout::archivist(ground, settings, &places::find(settings).0),
    ];
    let messenger = settings.health.alert_command.is_some().then(|| layout::messenger(ground, settings));
    let mut proofs = Vec::new();
    for profile in roles.into_iter().chain(messenger) {
        let attempts = stage.attempts(&profile);
        proofs.extend(prove(profile.subject.name(), profile, None, attempts)?);
    }
    if layout::is_open(settings) {
        proofs.extend(sessions::all(&stage)?);
    }
    Ok(proofs)
}

impl Stage {
    fn set(loaded: &Loaded, config: &Path, state: &StateDir, ground: &Ground) -> anyhow::Result<Self> {
        let room =
            tempfile::Builder::new().prefix("demarc-doctor-").tempdir().context("there is no room for a canary")?;
        let recordings = room.path().join("monitor");
        fs::create_dir(&recordings)?;
        let recording = recordings.join("recording.wav");
        fs::write(&recording, "RIFF")?;
        // Open to everybody, so that nothing but the confinement can be what keeps it shut.
        fs::set_permissions(room.path(), fs::Permissions::from_mode(0o755))?;
        fs::set_permissions(&recordings, fs::Permissions::from_mode(0o755))?;
        fs::set_permissions(&recording, fs::Permissions::from_mode(0o644))?;
        std::os::unix::fs::symlink(&recording, room.path().join("link.csv"))?;
        let mut settings = loaded.settings.clone();
        let mut state = state.clone();
        // A state directory that is not there yet is not made by looking, and one that cannot be written was said above.
        let usable = state.root().is_dir() && state.create().and_then(|()| canary::plant(&state)).is_ok();
        if !usable {
            state = StateDir::new(room.path().join("state"));
            settings.state_dir = state.root().to_owned();
            state.create()?;
            canary::plant(&state)?;
        }
        let site = derive::read_site(&state.site_file()).ok().flatten();
        let uploads = derive::uploads(loaded, None);
        let port = derive::link(loaded, &uploads, site.as_ref(), |name| std::env::var(name).ok(), 0)
            .map(|(_, port)| port)
            .ok()
            .or_else(|| Some(endpoint(settings.tunnel.hub.as_ref()?)?.port))
            .unwrap_or(443);
        Ok(Self {
            settings,
            config: config.to_owned(),
            state,
            ground: ground.clone(),
            recording,
            listener: TcpListener::bind(("127.0.0.1", 0))?,
            port,
            _room: room,
        })
    }

    /// What a process with that profile tries. What would replace or end it comes last.
    fn attempts(&self, profile: &Profile) -> Attempts {
        let mut attempts = self.content(profile);
        let mut refused = |what: &str, attempt| attempts.push((what.to_owned(), attempt, Expected::Refused));
        refused("write a file outside of its own directories", Attempt::Write(self.room().join("new")));
        // One of its own, since the attempt may succeed where nothing is enforced.
        let spare = self.recording.with_file_name("spare.wav");
        let _ = fs::write(&spare, "RIFF");
        if profile.subject != Subject::Keeper {
            refused("remove a recording", Attempt::Remove(spare.clone()));
        }
        refused("cut a recording off by its name", Attempt::Reach(Reach::CutOff(self.recording.clone())));
        refused("open a recording and have it cut off", Attempt::Reach(Reach::OpenCutOff(self.recording.clone())));
        refused("attach to another process", Attempt::Trace);
        refused("read the memory of another process", Attempt::ReadMemory);
        refused("mount a file system", Attempt::Mount);
        refused("set up an io_uring", Attempt::IoUring);
        refused("open a file by its handle", Attempt::OpenByHandle);
        refused("move into namespaces of its own", Attempt::Unshare);
        if !matches!(profile.subject, Subject::Supervisor | Subject::Command) {
            refused("change the mode of a recording", Attempt::Reach(Reach::Mode(self.recording.clone())));
            refused("change the owner of a recording", Attempt::Reach(Reach::Owner(self.recording.clone())));
        }
        match profile.subject {
            Subject::Supervisor => self.supervisor(profile, &mut attempts),
            Subject::Collector => self.collector(&mut attempts),
            Subject::Link => self.link(profile, &mut attempts),
            Subject::Web => self.web(&mut attempts),
            Subject::Command => self.no_internet(&mut attempts),
            Subject::Keeper => self.keeps(spare, &mut attempts),
            Subject::Messenger => self.messenger(&mut attempts),
            Subject::Archivist => self.archivist(profile, &mut attempts),
            Subject::Session | Subject::Shell => sessions::attempts(self, profile, &mut attempts),
        }
        if matches!(
            profile.subject,
            Subject::Collector | Subject::Link | Subject::Web | Subject::Keeper | Subject::Archivist
        ) {
            attempts.push(("make another process".to_owned(), Attempt::Fork, Expected::Refused));
        }
        // Sessions start programs, and the supervisor holds what it hands on to them.
        let shell = PathBuf::from("/bin/sh");
        let starts = profile.grants.iter().filter(|grant| matches!(grant.access, Access::Execute | Access::Programs));
        if !layout::covers(&starts.cloned().collect::<Vec<_>>(), &shell) {
            attempts.push(("start a shell".to_owned(), Attempt::Execute(shell), Expected::Refused));
        }
        attempts
    }

    /// Call content, by every way that leads to it.
    fn content(&self, profile: &Profile) -> Attempts {
        let by_process = format!("/proc/{}/root{}", std::process::id(), self.recording.display());
        let mut ways = vec![
            ("open a recording".to_owned(), self.recording.clone()),
            ("open a recording by a symbolic link".to_owned(), self.room().join("link.csv")),
            ("open a recording by the root of another process".to_owned(), PathBuf::from(by_process)),
            ("open the canary recording".to_owned(), canary::planted(&self.state)[0].clone()),
            ("open the canary voicemail".to_owned(), canary::planted(&self.state)[1].clone()),
            ("open root's own file /etc/shadow".to_owned(), PathBuf::from("/etc/shadow")),
        ];
        let known = self.ground.recordings.iter().take(MOST_RECORDINGS).enumerate();
        ways.extend(known.map(|(number, path)| (format!("open known recording {}", number + 1), path.clone())));
        // Where the supervisor has to be able to read, its status says so as a gap.
        let ways = ways.into_iter().filter(|(_, path)| !layout::covers(&profile.grants, path));
        ways.map(|(what, path)| (what, Attempt::Read(path), Expected::Refused)).collect()
    }

    fn supervisor(&self, profile: &Profile, attempts: &mut Attempts) {
        attempts.push(("read the config file".to_owned(), Attempt::Read(self.config.clone()), Expected::Allowed));
        if profile.landlock.is_some_and(|version| version >= 4) {
            attempts.push(("listen on a port".to_owned(), Attempt::Listen, Expected::Refused));
        }
    }

    fn collector(&self, attempts: &mut Attempts) {
        for path in self.sources().filter(|path| path.exists()) {
            attempts.push(("read call records".to_owned(), Attempt::Read(path.to_owned()), Expected::Allowed));
        }
        let own = Attempt::List(self.state.collector());
        attempts.push(("look into its own directory".to_owned(), own, Expected::Allowed));
        let mut refused = |what: &str, attempt| attempts.push((what.to_owned(), attempt, Expected::Refused));
        refused("look at the link's keys", Attempt::List(self.state.link()));
        refused("read the site's private key", Attempt::Read(self.state.link().join("key.pem")));
        refused("read the config file", Attempt::Read(self.config.clone()));
        refused("listen on a port", Attempt::Listen);
        self.no_internet(attempts);
    }

    fn web(&self, attempts: &mut Attempts) {
        let own = Attempt::List(self.state.collector());
        attempts.push(("look at the figures".to_owned(), own, Expected::Allowed));
        let mut refused = |what: &str, attempt| attempts.push((what.to_owned(), attempt, Expected::Refused));
        for path in self.sources().filter(|path| path.exists()) {
            refused("read call records", Attempt::Read(path.to_owned()));
        }
        refused("change the figures", Attempt::Write(self.state.collector().join("doctor")));
        refused("put a file into the outbox", Attempt::Write(self.state.outbox().join("doctor.json")));
        refused("look at the link's keys", Attempt::List(self.state.link()));
        refused("read the site's private key", Attempt::Read(self.state.link().join("key.pem")));
        refused("read the site's SSH host key", Attempt::Read(self.state.host_key()));
        refused("read the config file", Attempt::Read(self.config.clone()));
        refused("listen on a port", Attempt::Listen);
        self.no_internet(attempts);
    }

    /// The keeper's profile, with one more tree of recordings: it may list that and remove files there, and no more.
    fn keeper(&self) -> Profile {
        let real = fs::canonicalize(self.room().join("monitor")).unwrap_or_default();
        let (mut trees, _) = trees::find(&self.settings);
        trees.push(Tree { path: real.clone(), real, kind: TreeKind::Calls });
        layout::keeper(&self.ground, &self.settings, &trees)
    }

    fn keeps(&self, spare: PathBuf, attempts: &mut Attempts) {
        let recordings = self.room().join("monitor");
        let mut allowed = |what: &str, attempt| attempts.push((what.to_owned(), attempt, Expected::Allowed));
        allowed("list recordings", Attempt::List(recordings.clone()));
        allowed("remove a recording", Attempt::Remove(spare));
        let mut refused = |what: &str, attempt| attempts.push((what.to_owned(), attempt, Expected::Refused));
        refused("make a file among recordings", Attempt::Write(recordings.join("new.wav")));
        refused("write into a recording", Attempt::Write(self.recording.clone()));
        let copy = self.state.recordings().join("doctor.wav");
        refused("give a recording a second name", Attempt::Reach(Reach::HardLink(self.recording.clone(), copy)));
        refused("read the config file", Attempt::Read(self.config.clone()));
        refused("look at the link's keys", Attempt::List(self.state.link()));
        refused("look at the collector's store", Attempt::List(self.state.collector()));
        for path in self.sources().filter(|path| path.exists()) {
            refused("read call records", Attempt::Read(path.to_owned()));
        }
        refused("make a unix socket", Attempt::Socket(libc::AF_UNIX, libc::SOCK_STREAM));
        self.no_internet(attempts);
    }

    fn archivist(&self, profile: &Profile, attempts: &mut Attempts) {
        let own = Attempt::List(self.state.backups());
        attempts.push(("look at its own backups".to_owned(), own, Expected::Allowed));
        let mut refused = |what: &str, attempt| attempts.push((what.to_owned(), attempt, Expected::Refused));
        let record = self.sources().filter(|path| path.exists() && !layout::covers(&profile.grants, path));
        for path in record {
            refused("read call records", Attempt::Read(path.to_owned()));
        }
        if !layout::covers(&profile.grants, &self.config) {
            refused("read the config file", Attempt::Read(self.config.clone()));
        }
        refused("list the directory of a recording", Attempt::List(self.room().join("monitor")));
        let copy = self.state.backups().join("doctor.wav");
        refused("give a recording a second name", Attempt::Reach(Reach::HardLink(self.recording.clone(), copy)));
        refused("look at the collector's store", Attempt::List(self.state.collector()));
        refused("look at the link's keys", Attempt::List(self.state.link()));
        refused("put a file into the outbox", Attempt::Write(self.state.outbox().join("doctor.json")));
        refused("make a unix socket", Attempt::Socket(libc::AF_UNIX, libc::SOCK_STREAM));
        self.no_internet(attempts);
    }

    fn messenger(&self, attempts: &mut Attempts) {
        let mut refused = |what: &str, attempt| attempts.push((what.to_owned(), attempt, Expected::Refused));
        for path in self.sources().filter(|path| path.exists()) {
            refused("read call records", Attempt::Read(path.to_owned()));
        }
        refused("list the directory of a recording", Attempt::List(self.room().join("monitor")));
        refused("look at the collector's store", Attempt::List(self.state.collector()));
        refused("open the ledger", Attempt::Read(self.state.ledger()));
        refused("put a file into the outbox", Attempt::Write(self.state.outbox().join("doctor.json")));
        refused("look at the link's keys", Attempt::List(self.state.link()));
        refused("read the config file", Attempt::Read(self.config.clone()));
        refused("make a raw socket", Attempt::Socket(libc::AF_INET, libc::SOCK_RAW));
        refused("make a packet socket", Attempt::Socket(libc::AF_PACKET, libc::SOCK_RAW));
    }

    fn no_internet(&self, attempts: &mut Attempts) {
        let mut refused = |what: &str, attempt| attempts.push((what.to_owned(), attempt, Expected::Refused));
        if let Ok(address) = self.listener.local_addr() {
            refused("connect to a port of this machine", Attempt::Connect(address));
        }
        refused("connect to another machine", Attempt::Connect(NOBODYS_ADDRESS));
        refused("make a UDP socket", Attempt::Socket(libc::AF_INET, libc::SOCK_DGRAM));
        refused("make an IPv6 socket", Attempt::Socket(libc::AF_INET6, libc::SOCK_STREAM));
        refused("make a raw socket", Attempt::Socket(libc::AF_INET, libc::SOCK_RAW));
        refused("make a packet socket", Attempt::Socket(libc::AF_PACKET, libc::SOCK_RAW));
        refused("make a netlink socket", Attempt::Socket(libc::AF_NETLINK, libc::SOCK_RAW));
        refused("make a virtual machine socket", Attempt::Socket(libc::AF_VSOCK, libc::SOCK_STREAM));
    }

    fn link(&self, profile: &Profile, attempts: &mut Attempts) {
        let outbox = Attempt::List(self.state.outbox());
        attempts.push(("look into the outbox".to_owned(), outbox, Expected::Allowed));
        let name = Attempt::LookUp("localhost".to_owned());
        attempts.push(("look up a name".to_owned(), name, Expected::Allowed));
        let mut refused = |what: &str, attempt| attempts.push((what.to_owned(), attempt, Expected::Refused));
        for path in self.sources().filter(|path| path.exists()) {
            refused("read call records", Attempt::Read(path.to_owned()));
        }
        for directory in self.sources().filter_map(|path| path.parent()) {
            refused("list the directory of the call records", Attempt::List(directory.to_owned()));
        }
        refused("look at the collector's store", Attempt::List(self.state.collector()));
        refused("open the collector's store", Attempt::Read(self.state.store()));
        refused("open the ledger", Attempt::Read(self.state.ledger()));
        refused("read the config file", Attempt::Read(self.config.clone()));
        refused("put a file into the outbox", Attempt::Write(self.state.outbox().join("doctor.json")));
        refused("make a unix socket", Attempt::Socket(libc::AF_UNIX, libc::SOCK_STREAM));
        refused("make a raw socket", Attempt::Socket(libc::AF_INET, libc::SOCK_RAW));
        refused("make a packet socket", Attempt::Socket(libc::AF_PACKET, libc::SOCK_RAW));
        // Older kernels cannot limit ports, and trying would send something.
        if profile.landlock.is_some_and(|version| version >= 4) {
            if let Ok(address) = self.listener.local_addr().as_ref() {
                refused("connect to another port than the hub's", Attempt::Connect(*address));
            }
            let other = SocketAddr::new(NOBODYS_ADDRESS.ip(), if self.port == 9 { 10 } else { 9 });
            refused("connect to another port of another machine", Attempt::Connect(other));
            refused("listen on a port", Attempt::Listen);
        }
    }

    fn sources(&self) -> impl Iterator<Item = &Path> {
        self.settings.pbx.source.iter().filter_map(Source::followed)
    }

    fn room(&self) -> &Path {
        self._room.path()
    }
}

/// Has a child confine itself by that profile, and one of its own by the second, if there is one, and make the attempts.
fn prove(
    role: &'static str,
    profile: Profile,
    shell: Option<Profile>,
    attempts: Attempts,
) -> anyhow::Result<Vec<Proof>> {
    let (mut ours, theirs) = UnixStream::pair()?;
    ours.set_read_timeout(Some(PATIENCE))?;
    let mut child = start(theirs).with_context(|| format!("the child that tries for the {role} cannot be started"))?;
    let task = Task {
        profile: Some(profile),
        shell,
        attempts: attempts.iter().map(|(_, attempt, _)| attempt.clone()).collect(),
    };
    send_blocking(&mut ours, &task)?;
    let entered: Entered = recv_blocking(&mut ours)?;
    let proofs = match entered {
        Entered::Failed(why) => vec![Proof {
            role,
            tried: "confine itself".to_owned(),
            expected: Expected::Allowed,
            kernel: why,
            holds: Some(false),
        }],
        Entered::Confined(_) => attempts
            .into_iter()
            .map(|(tried, attempt, expected)| {
                // A child that started another program says nothing any more.
                let verdict = recv_blocking(&mut ours).unwrap_or_else(|_| match attempt {
                    Attempt::Execute(_) => Verdict::Succeeded,
                    _ => Verdict::Inconclusive("the child ended".to_owned()),
                });
                let (kernel, refused) = match verdict {
                    Verdict::Succeeded => ("allowed it".to_owned(), Some(false)),
                    Verdict::Refused(error) => (error, Some(true)),
                    Verdict::Inconclusive(why) => (why, None),
                };
                let holds = refused.map(|refused| refused == (expected == Expected::Refused));
                Proof { role, tried, expected, kernel, holds }
            })
            .collect(),
    };
    drop(ours);
    child.wait()?;
    Ok(proofs)
}

fn start(socket: UnixStream) -> io::Result<std::process::Child> {
    let mut command = Command::new("/proc/self/exe");
    command.arg0("demarc").args(["role", "prove"]).env_clear();
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // SAFETY: between fork and exec this calls only what a signal handler may call, and allocates nothing.
    unsafe {
        command.pre_exec(move || {
            let socket = socket.as_raw_fd();
            let result =
                if socket == ROLE_FD { libc::fcntl(socket, libc::F_SETFD, 0) } else { libc::dup2(socket, ROLE_FD) };
            if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
        });
    }
    let child = command.spawn();
    // Our copy of the child's end goes with the command, so that its end is seen here.
    drop(command);
    child
}
