//! A cgroup that was handed to the agent, as systemd does it with `Delegate=yes`, and what is left of others.

use std::{
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::chown,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering::SeqCst},
    time::Duration,
};

use crate::wait;

/// Where cgroups of version 2 are mounted here. A machine without them is a failure, not a reason to skip.
pub fn mount() -> PathBuf {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let line = mounts.lines().find(|line| line.contains(" - cgroup2 "));
    let line =
        line.expect("this machine has no cgroups of version 2: what a session's cgroup does cannot be tested here");
    PathBuf::from(line.split(' ').nth(4).expect("a line of mountinfo has a mount point"))
}

/// The name of a process's cgroup, from the mount on.
pub fn of(pid: i32) -> PathBuf {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default();
    mount().join(name)
}

/// Has a process move.
pub fn enter(cgroup: &Path, pid: i32) -> io::Result<()> {
    File::options().write(true).open(cgroup.join("cgroup.procs"))?.write_all(pid.to_string().as_bytes())
}

/// A cgroup of the agent's own; removed when dropped, with all that runs in it.
pub struct Delegated(PathBuf);

impl Delegated {
    /// Makes one that this user may use.
    pub fn to(user: u32) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, SeqCst);
        let path = mount().join(format!("demarc-test-{}-{number}", std::process::id()));
        fs::create_dir(&path).unwrap();
        for name in ["", "cgroup.procs", "cgroup.threads", "cgroup.subtree_control"] {
            chown(path.join(name), Some(user), Some(user)).unwrap();
        }
        Self(path)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Words before a command that have it begin there; elsewhere once the cgroup has given its limits on, since no process
    /// may be in it then.
    pub fn words(&self) -> Vec<String> {
        let script = format!("echo $$ 2> /dev/null > {}/cgroup.procs; exec \"$@\"", self.0.display());
        ["sh", "-c", &script, "sh"].map(str::to_owned).into()
    }
}

impl Drop for Delegated {
    fn drop(&mut self) {
        let _ = fs::write(self.0.join("cgroup.kill"), "1");
        wait::until_true(Duration::from_secs(10), "a cgroup to be empty", || remove(&self.0));
    }
}

/// Removes the cgroups that the daemon of a state directory left: it was killed, or may not remove its own.
pub fn forget(state: &Path) {
    let Ok(left) = fs::read_to_string(state.join("support/cgroup")) else { return };
    let left = Path::new(&left);
    if left.is_dir() {
        let _ = fs::write(left.join("cgroup.kill"), "1");
        wait::until_true(Duration::from_secs(10), "a cgroup to be empty", || remove(left));
    }
}

/// With the cgroups below it, which are the only directories there.
fn remove(cgroup: &Path) -> bool {
    let below = fs::read_dir(cgroup).into_iter().flatten().flatten().map(|entry| entry.path());
    for path in below.filter(|path| path.is_dir()) {
        remove(&path);
    }
    fs::remove_dir(cgroup).is_ok() || !cgroup.exists()
}
