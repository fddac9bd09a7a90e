//! Cgroups of support sessions: what runs in one cannot leave it, takes no more than its share, and ends at one stroke.
//!
//! The supervisor settles where it was started, before it confines itself: it makes a directory of its own below its
//! cgroup, and from then on may write there and nowhere else. Only version 2 of cgroups is of use here, and only where
//! whoever started demarc left it the right to make some (systemd: `Delegate=yes`).

use std::{
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    thread::sleep,
    time::Duration,
};

use crate::{
    confine::{Access, Grant},
    state::StateDir,
    support::SessionId,
};

/// The most processes and threads of a session at a time.
const MOST_PROCESSES: u32 = 256;
/// The most memory of a session, in MiB.
const MOST_MEMORY_MIB: u64 = 512;
/// How often it is looked whether the dead have left their cgroup.
const ROUNDS: u32 = 50;
const ROUND: Duration = Duration::from_millis(2);

/// Writing zero moves whoever writes.
pub const MYSELF: &[u8] = b"0";

/// Where the supervisor makes the cgroups of its sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Home {
    /// The cgroup that demarc was started in.
    started_in: PathBuf,
    directory: PathBuf,
    limits: Limits,
}

/// Which of a session's limits can be set here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Limits {
    processes: bool,
    memory: bool,
}

/// Sessions get no cgroup.
#[derive(Debug, thiserror::Error)]
pub enum NoHome {
    /// None is there, or none of version 2.
    #[error("this machine has no cgroup version 2, or demarc cannot see its own")]
    NotThere,
    /// The kernel is too old.
    #[error("this kernel cannot end a cgroup at one stroke (Linux 5.14)")]
    NoKill,
    /// It is somebody else's.
    #[error("demarc may not make cgroups in {} ({source}); a systemd unit with Delegate=yes lets it", path.display())]
    NotOurs {
        /// The cgroup that demarc was started in.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Home {
    /// Settles in the cgroup that this process was started in. Call it before this process is confined, and while it has
    /// one thread; and hold the lock of the state directory, for what is found there of it is ended.
    ///
    /// # Errors
    /// When there is no cgroup that this process could make others in.
    pub fn settle(state: &StateDir) -> Result<Self, NoHome> {
        let own = own().ok_or(NoHome::NotThere)?;
        let home = Self::settle_in(&own, state.root()).map_err(|source| NoHome::NotOurs { path: own, source })?;
        if !home.directory.join("cgroup.kill").exists() {
            home.leave();
            return Err(NoHome::NoKill);
        }
        let note = state.cgroup_note();
        if let Err(error) = fs::write(&note, home.directory.as_os_str().as_encoded_bytes()) {
            tracing::warn!("{} cannot be written: {error}", note.display());
        }
        Ok(home)
    }

    fn settle_in(own: &Path, state: &Path) -> io::Result<Self> {
        let state = fs::metadata(state)?;
        // Another daemon on this machine has another state directory, whose number is another one while ours is there.
        let directory = own.join(format!("demarc-{:x}-{:x}", state.dev(), state.ino()));
        match fs::create_dir(&directory) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let mut home = Self { started_in: own.to_owned(), directory, limits: Limits::default() };
        let settled = end_sessions_in(&home.directory).and_then(|()| home.try_out());
        settled.inspect_err(|_| home.leave())?;
        home.share_out();
        Ok(home)
    }

    /// Has a child move: whether that is allowed depends on more than the modes of files.
    fn try_out(&self) -> io::Result<()> {
        let trial = Cgroup { directory: self.directory.join("trial") };
        fs::create_dir(&trial.directory)?;
        let moved = trial.entrance().and_then(moves);
        trial.remove();
        moved
    }

    /// Hands the controllers on that the sessions' limits need. The kernel lets only a cgroup do that which holds no process
    /// itself: where demarc is alone in its own, it moves one floor down.
    fn share_out(&mut self) {
        let is_alone = fs::read_to_string(self.started_in.join("cgroup.procs"))
            .is_ok_and(|inside| inside.trim() == std::process::id().to_string());
        // The machine's first cgroup, which alone has no such file, is nobody's to change.
        if is_alone && self.started_in.join("cgroup.events").exists() && has_controllers(&self.started_in) {
            let daemon = self.directory.join("daemon");
            let moved = fs::create_dir(&daemon).and_then(|()| tell(&daemon.join("cgroup.procs"), MYSELF));
            if moved.is_ok() {
                hand_on(&self.started_in);
            }
        }
        hand_on(&self.directory);
        let given = fs::read_to_string(self.directory.join("cgroup.subtree_control")).unwrap_or_default();
        let has = |controller| given.split_whitespace().any(|one| one == controller);
        self.limits = Limits { processes: has("pids"), memory: has("memory") };
    }

    /// What the confined supervisor needs: to write here, and to remove the directory itself at the end.
    pub fn grants(&self) -> [Grant; 2] {
        [Grant::new(&self.directory, Access::Cgroups), Grant::new(&self.started_in, Access::RemoveDirectories)]
    }

    /// Makes the cgroup of a session.
    ///
    /// # Errors
    /// When the kernel has no room for another, or a limit is refused.
    pub fn begin(&self, session: SessionId) -> io::Result<Cgroup> {
        let cgroup = Cgroup { directory: self.directory.join(session.to_string()) };
        fs::create_dir(&cgroup.directory)?;
        let limited = cgroup.limit(self.limits);
        if limited.is_err() {
            cgroup.remove();
        }
        limited.map(|()| cgroup)
    }

    /// Removes it where that is possible. In a cgroup of demarc's own the daemon is in it itself, and whoever made that removes
    /// it; in the machine's first cgroup that takes a right that the supervisor gave up. It is empty then, and found again.
    pub fn leave(&self) {
        let _ = fs::remove_dir(&self.directory);
    }

    /// What the sessions get, in words.
    pub fn in_words(&self) -> String {
        let most = match self.limits {
            Limits { processes: true, memory: true } => {
                format!("at most {MOST_PROCESSES} processes and {MOST_MEMORY_MIB} MiB of memory")
            }
            Limits { processes: true, memory: false } => {
                format!("at most {MOST_PROCESSES} processes; demarc was not handed the controller memory")
            }
            Limits { processes: false, memory: true } => {
                format!("at most {MOST_MEMORY_MIB} MiB of memory; demarc was not handed the controller pids")
            }
            Limits { processes: false, memory: false } => {
                "without limits: demarc was not handed the controllers pids and memory".to_owned()
            }
        };
        format!("a cgroup of its own ({most})")
    }
}

/// The cgroup of one session.
#[derive(Debug)]
pub struct Cgroup {
    directory: PathBuf,
}

impl Cgroup {
    fn limit(&self, limits: Limits) -> io::Result<()> {
        if limits.processes {
            tell(&self.directory.join("pids.max"), MOST_PROCESSES.to_string().as_bytes())?;
        }
        if limits.memory {
            tell(&self.directory.join("memory.max"), (MOST_MEMORY_MIB << 20).to_string().as_bytes())?;
        }
        Ok(())
    }

    /// What a process writes [`MYSELF`] to, to be in it from then on.
    ///
    /// # Errors
    /// When it is not there any more.
    pub fn entrance(&self) -> io::Result<File> {
        File::options().write(true).open(self.directory.join("cgroup.procs"))
    }

    /// Ends everything in it, whoever's child it is.
    ///
    /// # Errors
    /// When the kernel refuses, or it is gone.
    pub fn kill(&self) -> io::Result<()> {
        tell(&self.directory.join("cgroup.kill"), b"1")
    }

    /// Removes it, if the dead leave it within a moment.
    pub fn remove(&self) -> bool {
        for _ in 0..ROUNDS {
            match fs::remove_dir(&self.directory) {
                Err(error) if error.kind() == io::ErrorKind::ResourceBusy => sleep(ROUND),
                removed => return removed.is_ok(),
            }
        }
        false
    }
}

/// Ends what an earlier supervisor of that state directory left running when it was killed, wherever that was started.
/// Call it as [`Home::settle`].
pub fn end_what_was_left(state: &StateDir) {
    let Ok(earlier) = fs::read_to_string(state.cgroup_note()) else { return };
    // It is long gone, as a rule.
    let _ = end_sessions_in(Path::new(&earlier));
    let _ = fs::remove_dir(&earlier);
}

fn end_sessions_in(home: &Path) -> io::Result<()> {
    for entry in fs::read_dir(home)?.flatten().filter(|entry| entry.path().is_dir()) {
        let left = Cgroup { directory: entry.path() };
        left.kill()?;
        if !left.remove() {
            tracing::warn!("{} is left from an earlier run and cannot be removed yet", left.directory.display());
        }
    }
    Ok(())
}

/// The cgroup of this process.
pub fn own() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    place(&mounts, &fs::read_to_string("/proc/self/cgroup").ok()?)
}

/// Where the cgroup that `/proc/self/cgroup` names lies, by what `/proc/self/mountinfo` says.
fn place(mounts: &str, cgroups: &str) -> Option<PathBuf> {
    let name = cgroups.lines().find_map(|line| line.strip_prefix("0::"))?;
    let (root, point) = mounts.lines().find_map(|line| {
        let (mount, kind) = line.split_once(" - ")?;
        let mut fields = mount.split(' ').skip(3);
        (kind.split(' ').next() == Some("cgroup2")).then_some((fields.next()?, fields.next()?))
    })?;
    // What is mounted may be a part only: then names begin with that part's name.
    let below = Path::new(name).strip_prefix(root).ok()?;
    Some(Path::new(point).join(below))
}

/// Writes to a file of a cgroup, which is there, cannot be made, and need not be emptied first.
fn tell(file: &Path, text: &[u8]) -> io::Result<()> {
    File::options().write(true).open(file)?.write_all(text)
}

/// Whether a child of this process can move through that entrance.
fn moves(mut entrance: File) -> io::Result<()> {
    // SAFETY: the process has one thread, so that the child may use everything that it inherits.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            let code = match entrance.write(MYSELF) {
                Ok(_) => 0,
                Err(error) => error.raw_os_error().unwrap_or(libc::EIO),
            };
            // SAFETY: ends the child at once; nothing of the parent's is flushed or run twice.
            unsafe { libc::_exit(code) }
        }
        child => {
            let mut status = 0;
            // SAFETY: the pointer is to a live integer; the child is ours.
            while unsafe { libc::waitpid(child, &raw mut status, 0) } != child {
                let error = io::Error::last_os_error();
                if error.kind() != io::ErrorKind::Interrupted {
                    return Err(error);
                }
            }
            match (libc::WIFEXITED(status), libc::WEXITSTATUS(status)) {
                (true, 0) => Ok(()),
                (true, error) => Err(io::Error::from_raw_os_error(error)),
                (false, _) => Err(io::Error::from_raw_os_error(libc::EPERM)),
            }
        }
    }
}

const CONTROLLERS: [&str; 2] = ["pids", "memory"];

fn has_controllers(cgroup: &Path) -> bool {
    let has = fs::read_to_string(cgroup.join("cgroup.controllers")).unwrap_or_default();
    has.split_whitespace().any(|one| CONTROLLERS.contains(&one))
}

/// Lets the cgroups below that one use its controllers, each by itself: one may be missing.
fn hand_on(cgroup: &Path) {
    for controller in CONTROLLERS {
        // What then can be limited is looked up.
        let _ = tell(&cgroup.join("cgroup.subtree_control"), format!("+{controller}").as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_cgroup_is_found_in_every_layout() {
        let unified = "25 30 0:22 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
        let hybrid = "30 22 0:26 / /sys/fs/cgroup ro - tmpfs tmpfs ro\n31 30 0:38 / /sys/fs/cgroup/unified rw - cgroup2 c rw\n\
                      32 30 0:27 / /sys/fs/cgroup/pids rw shared:9 - cgroup cgroup rw,pids\n";
        let part = "9 8 0:22 /docker/ab /sys/fs/cgroup ro - cgroup2 cgroup rw\n";
        for (mounts, cgroups, found) in [
            (unified, "0::/system.slice/demarc.service\n", Some("/sys/fs/cgroup/system.slice/demarc.service")),
            (hybrid, "9:pids:/\n1:name=systemd:/a\n0::/a\n", Some("/sys/fs/cgroup/unified/a")),
            (hybrid, "0::/\n", Some("/sys/fs/cgroup/unified/")),
            (part, "0::/docker/ab/x\n", Some("/sys/fs/cgroup/x")),
            (part, "0::/elsewhere\n", None),
            (unified, "9:pids:/\n", None),
            ("30 22 0:26 / /sys/fs/cgroup ro - tmpfs tmpfs ro\n", "0::/\n", None),
        ] {
            assert_eq!(place(mounts, cgroups).as_deref(), found.map(Path::new), "{cgroups}");
        }
    }

    #[test]
    fn limits_are_set_where_their_controllers_are() {
        for (processes, memory) in [(true, true), (true, false), (false, true), (false, false)] {
            // With the files of a cgroup alone: not every kernel has these controllers where a test can use them.
            let room = tempfile::tempdir().unwrap();
            let cgroup = Cgroup { directory: room.path().to_owned() };
            ["pids.max", "memory.max"].iter().for_each(|name| fs::write(room.path().join(name), "").unwrap());
            cgroup.limit(Limits { processes, memory }).unwrap();
            let file = |name: &str| fs::read_to_string(room.path().join(name)).unwrap();
            assert_eq!(file("pids.max"), if processes { "256" } else { "" });
            assert_eq!(file("memory.max"), if memory { "536870912" } else { "" });
            let home = Home { started_in: "/".into(), directory: "/".into(), limits: Limits { processes, memory } };
            let words = home.in_words();
            assert_eq!((words.contains("256 processes"), words.contains("512 MiB")), (processes, memory), "{words}");
        }
    }
}
