//! Attempts that reach past files: at other processes, at what a file is rather than what it holds, at sockets and mounts.

use std::{
    ffi::CString,
    fs::{self, File},
    io::{self, Read},
    mem::MaybeUninit,
    os::{
        fd::AsRawFd,
        linux::net::SocketAddrExt,
        unix::{
            ffi::OsStrExt,
            net::{SocketAddr, UnixDatagram, UnixStream},
        },
    },
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{Way, check};

/// Something to reach.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reach {
    /// Give a file a second name.
    HardLink(PathBuf, PathBuf),
    /// Mount a directory once more, elsewhere.
    BindMount(PathBuf, PathBuf),
    /// Read a file below `/proc/N` of the process that started this one.
    OfTheWorker(PathBuf),
    /// Signal the process that started this one.
    SignalTheWorker,
    /// Signal a process.
    Signal(i32),
    /// Signal a process in another way than by `kill`.
    SignalBy(Way, i32),
    /// Cut a file off by its name, to the length that it has.
    CutOff(PathBuf),
    /// Open a file for neither reading nor writing, and have it cut off by that.
    OpenCutOff(PathBuf),
    /// Change a process's limits.
    Limit(i32),
    /// Change a process's priority.
    Priority(i32),
    /// Change a file's mode.
    Mode(PathBuf),
    /// Change a file's owner.
    Owner(PathBuf),
    /// Change a file's times.
    Times(PathBuf),
    /// Change a file's flags.
    Flags(PathBuf),
    /// Make everybody wait who opens a file.
    Lease(PathBuf),
    /// Be told the names of files that come and go.
    Watch(PathBuf),
    /// Make memory that is shared by number.
    SharedMemory,
    /// Make a queue of messages.
    MessageQueue,
    /// Make a process in namespaces of its own.
    Namespaces,
    /// Become another user.
    User(u32),
    /// Look at the kernel's keys.
    Keys,
    /// Connect to a unix socket.
    Unix(PathBuf),
    /// Connect to a unix socket that has no file.
    Abstract(String),
    /// Make a socket whose protocol takes many paths, and no account of rules for TCP.
    ManyPaths,
    /// Send a datagram to a unix socket, by a socket that was made as one of a pair.
    Datagram(PathBuf),
}

impl Reach {
    pub(super) fn make(&self) -> io::Result<()> {
        match self {
            Self::HardLink(from, to) => fs::hard_link(from, to).map_err(|error| match error.raw_os_error() {
                // What the file rules answer where the two lie in different directories.
                Some(libc::EXDEV) => io::Error::from_raw_os_error(libc::EACCES),
                _ => error,
            }),
            Self::BindMount(from, to) => bind_mount(from, to),
            Self::OfTheWorker(path) => {
                // SAFETY: takes nothing, and cannot fail.
                let parent = unsafe { libc::getppid() };
                let mut file = File::open(Path::new("/proc").join(parent.to_string()).join(path))?;
                // Nothing is mapped at the beginning of a memory: a failure there is no refusal.
                if path == Path::new("mem") { Ok(()) } else { file.read(&mut [0]).map(drop) }
            }
            // SAFETY: both take numbers. A process that is told to go on goes on.
            Self::SignalTheWorker => check(unsafe { libc::kill(libc::getppid(), libc::SIGCONT) }),
            Self::Signal(pid) => check(unsafe { libc::kill(*pid, libc::SIGCONT) }),
            Self::SignalBy(way, pid) => way.signal(*pid),
            Self::CutOff(path) => {
                let length = i64::try_from(fs::metadata(path)?.len()).unwrap_or(0);
                let path = text(path)?;
                // SAFETY: the text ends in a zero byte and lives through the call.
                check(unsafe { libc::truncate(path.as_ptr(), length) })
            }
            Self::OpenCutOff(path) => {
                let path = text(path)?;
                // SAFETY: as above; the descriptor is closed.
                unsafe {
                    let file = libc::open(path.as_ptr(), libc::O_ACCMODE | libc::O_TRUNC | libc::O_CLOEXEC);
                    check(file)?;
                    check(libc::close(file))
                }
            }
            Self::Limit(pid) => limit(*pid),
            Self::Priority(pid) => {
                // SAFETY: takes numbers.
                check(unsafe { libc::setpriority(libc::PRIO_PROCESS, pid.unsigned_abs(), 15) })
            }
            Self::Mode(path) => {
                let permissions = fs::metadata(path)?.permissions();
                fs::set_permissions(path, permissions)
            }
            Self::Owner(path) => {
                // SAFETY: takes nothing, and cannot fail.
                let user = unsafe { libc::geteuid() };
                std::os::unix::fs::chown(path, Some(user), None)
            }
            Self::Times(path) => {
                let path = text(path)?;
                // SAFETY: the text ends in a zero byte; without times, now is meant.
                check(unsafe { libc::utimensat(libc::AT_FDCWD, path.as_ptr(), std::ptr::null(), 0) })
            }
            Self::Flags(path) => {
                let file = File::open(path)?;
                let flags = rustix::fs::ioctl_getflags(&file)?;
                Ok(rustix::fs::ioctl_setflags(&file, flags)?)
            }
            Self::Lease(path) => {
                let file = File::open(path)?;
                // SAFETY: the descriptor is open.
                check(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, libc::F_RDLCK) })
            }
            Self::Watch(path) => watch(path),
            Self::SharedMemory => {
                // SAFETY: takes numbers; what it made is removed.
                unsafe {
                    let made = libc::shmget(libc::IPC_PRIVATE, 4096, 0o600);
                    check(made)?;
                    check(libc::shmctl(made, libc::IPC_RMID, std::ptr::null_mut()))
                }
            }
            Self::MessageQueue => {
                // SAFETY: as above.
                unsafe {
                    let made = libc::msgget(libc::IPC_PRIVATE, 0o600);
                    check(made)?;
                    check(libc::msgctl(made, libc::IPC_RMID, std::ptr::null_mut()))
                }
            }
            Self::Namespaces => namespaces(),
            Self::User(user) => {
                // By number, since the C library would do it to every thread; this one alone is enough to see.
                // SAFETY: takes a number, and changes only this process.
                check_long(unsafe { libc::syscall(libc::SYS_setresuid, -1, *user, -1) })?;
                // Back again, so that what follows is tried as before.
                // SAFETY: as above.
                check_long(unsafe { libc::syscall(libc::SYS_setresuid, -1, libc::getuid(), -1) })
            }
            Self::Keys => {
                const GET_KEYRING_ID: libc::c_int = 0;
                const PROCESS_KEYRING: libc::c_int = -2;
                // SAFETY: takes numbers.
                check_long(unsafe { libc::syscall(libc::SYS_keyctl, GET_KEYRING_ID, PROCESS_KEYRING, 1) })
            }
            Self::Unix(path) => UnixStream::connect(path).map(drop),
            Self::Abstract(name) => UnixStream::connect_addr(&SocketAddr::from_abstract_name(name)?).map(drop),
            Self::ManyPaths => {
                // SAFETY: takes numbers; the descriptor is closed.
                unsafe {
                    let socket = libc::socket(libc::AF_INET, libc::SOCK_STREAM, libc::IPPROTO_MPTCP);
                    check(socket)?;
                    check(libc::close(socket))
                }
            }
            Self::Datagram(path) => {
                let (one, _other) = UnixDatagram::pair()?;
                one.send_to(b"x", path).map(drop)
            }
        }
    }
}

fn text(path: &Path) -> io::Result<CString> {
    Ok(CString::new(path.as_os_str().as_bytes())?)
}

fn check_long(result: libc::c_long) -> io::Result<()> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn bind_mount(from: &Path, to: &Path) -> io::Result<()> {
    let (from, to) = (text(from)?, text(to)?);
    // SAFETY: the texts end in zero bytes and live through the calls.
    unsafe {
        check(libc::mount(from.as_ptr(), to.as_ptr(), std::ptr::null(), libc::MS_BIND, std::ptr::null()))?;
        check(libc::umount(to.as_ptr()))
    }
}

/// To what they are already: whether the call is allowed does not depend on that.
fn limit(pid: libc::pid_t) -> io::Result<()> {
    let mut now = MaybeUninit::<libc::rlimit>::uninit();
    // SAFETY: the kernel fills the struct, or the call fails; it is then read only.
    unsafe {
        check(libc::prlimit(pid, libc::RLIMIT_NOFILE, std::ptr::null(), now.as_mut_ptr()))?;
        check(libc::prlimit(pid, libc::RLIMIT_NOFILE, now.as_ptr(), std::ptr::null_mut()))
    }
}

fn watch(path: &Path) -> io::Result<()> {
    let path = text(path)?;
    // SAFETY: the text ends in a zero byte; the descriptor is closed.
    unsafe {
        let watcher = libc::inotify_init1(libc::IN_CLOEXEC);
        check(watcher)?;
        let watched = check(libc::inotify_add_watch(watcher, path.as_ptr(), libc::IN_CREATE));
        libc::close(watcher);
        watched
    }
}

fn namespaces() -> io::Result<()> {
    let flags = libc::CLONE_NEWUSER | libc::CLONE_NEWNS | libc::SIGCHLD;
    // SAFETY: without a stack this is a fork; the child ends at once, and is waited for.
    unsafe {
        match libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) {
            -1 => Err(io::Error::last_os_error()),
            0 => libc::_exit(0),
            child => check(libc::waitpid(child as libc::pid_t, std::ptr::null_mut(), 0)),
        }
    }
}
