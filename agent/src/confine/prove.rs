//! Tries to break out of a confinement, and tells what the kernel said.
//!
//! `demarc doctor` starts a child for each kind of process. The child gets a profile and a list of attempts, confines
//! itself exactly as the real process does, makes the attempts, and sends back one verdict each. For what a session starts
//! it confines itself as the session's worker, and a child of its own as the shell.

mod reach;
mod signals;

use std::{
    ffi::CString,
    fs::{self, File, OpenOptions},
    io::{self, Read},
    net::{SocketAddr, TcpStream, ToSocketAddrs},
    os::{
        fd::{AsRawFd, FromRawFd, OwnedFd},
        unix::net::UnixStream,
    },
    path::PathBuf,
    process::{Command, Stdio},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::{Confined, Profile, canary, enter, shell};
use crate::ipc::channel::{ChannelError, recv_blocking, send_blocking};

pub use reach::Reach;
pub use signals::Way;

/// What the child is told.
#[derive(Debug, Serialize, Deserialize)]
pub struct Task {
    /// How to confine itself. Absent: not at all, to see that an attempt would succeed.
    pub profile: Option<Profile>,
    /// How to confine a child of its own, which then makes the attempts.
    pub shell: Option<Profile>,
    /// What to try then, in this order.
    pub attempts: Vec<Attempt>,
}

/// One thing to try.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Attempt {
    /// Open a file for reading.
    Read(PathBuf),
    /// Make a new file, or open one for writing.
    Write(PathBuf),
    /// List a directory.
    List(PathBuf),
    /// Remove a file.
    Remove(PathBuf),
    /// Look up a host's name.
    LookUp(String),
    /// Connect by TCP.
    Connect(SocketAddr),
    /// Listen on a TCP port of the loopback interface.
    Listen,
    /// Make a socket of a family and a type.
    Socket(i32, i32),
    /// Make another process.
    Fork,
    /// Attach to the process that started this one, as a debugger does.
    Trace,
    /// Read the memory of the process that started this one.
    ReadMemory,
    /// Mount a file system.
    Mount,
    /// Set up an io_uring, whose operations no filter sees.
    IoUring,
    /// Open a file by its handle, past the file rules.
    OpenByHandle,
    /// Move into namespaces of its own.
    Unshare,
    /// Start a program.
    Execute(PathBuf),
    /// Have a shell do something: it succeeded if the shell says so.
    Shell(String),
    /// Reach something that is not open to reading or writing.
    Reach(Reach),
}

/// What came of an attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It succeeded.
    Succeeded,
    /// The kernel refused it, with this error.
    Refused(String),
    /// It failed for another reason, so that it shows nothing: there is no such file, for example.
    Inconclusive(String),
}

/// What the child answers first.
#[derive(Debug, Serialize, Deserialize)]
pub enum Entered {
    /// It is confined.
    Confined(Confined),
    /// It could not be, in words.
    Failed(String),
}

/// The child's part: one task, one answer after each attempt, so that an attempt which ends the child is known.
///
/// # Errors
/// When the doctor is gone.
pub fn serve(socket: &mut UnixStream) -> Result<(), ChannelError> {
    let task: Task = recv_blocking(socket)?;
    let confined = match task.profile.as_ref().map(enter) {
        None => Ok(Confined::default()),
        Some(confined) => confined.map_err(anyhow::Error::from),
    };
    let ready = confined
        .and_then(|confined| Ok((confined, task.shell.as_ref().map(|one| shell::prepare(one, None)).transpose()?)));
    let (confined, shell) = match ready {
        Ok(ready) => ready,
        Err(error) => return send_blocking(socket, &Entered::Failed(format!("{error:#}"))),
    };
    send_blocking(socket, &Entered::Confined(confined))?;
    if shell.is_none() && task.profile.is_some() {
        return attempt_all(&task.attempts, socket);
    }
    // SAFETY: this process has one thread, so that the child may use everything that it inherits.
    match unsafe { libc::fork() } {
        0 => {
            rustix::process::setsid().map_err(io::Error::from)?;
            shell.as_ref().map_or(Ok(()), shell::Prepared::enter)?;
            attempt_all(&task.attempts, socket)
        }
        child => {
            check(child)?;
            // The worker, for the child to try itself on, until the child has done.
            // SAFETY: the child is ours; how it ended is of no interest.
            Ok(check(unsafe { libc::waitpid(child, std::ptr::null_mut(), 0) })?)
        }
    }
}

fn attempt_all(attempts: &[Attempt], socket: &mut UnixStream) -> Result<(), ChannelError> {
    attempts.iter().try_for_each(|attempt| send_blocking(socket, &attempt.verdict()))
}

impl Attempt {
    /// Tries, and tells what the kernel said.
    pub fn verdict(&self) -> Verdict {
        if let Self::Shell(script) = self {
            return in_shell(script);
        }
        match self.make() {
            Ok(()) => Verdict::Succeeded,
            Err(error) => match error.raw_os_error() {
                Some(libc::EACCES) => Verdict::Refused("EACCES".to_owned()),
                Some(libc::EPERM) => Verdict::Refused("EPERM".to_owned()),
                _ => Verdict::Inconclusive(error.to_string()),
            },
        }
    }

    fn make(&self) -> io::Result<()> {
        match self {
            Self::Read(path) => canary::open(path).and_then(|mut file| {
                // A directory opens, and cannot be read.
                if file.metadata()?.is_file() { file.read(&mut [0]).map(drop) } else { Ok(()) }
            }),
            Self::Write(path) => OpenOptions::new().append(true).create(true).open(path).map(drop),
            Self::List(path) => fs::read_dir(path).map(drop),
            Self::Remove(path) => fs::remove_file(path),
            Self::LookUp(name) => (name.as_str(), 0).to_socket_addrs().map(drop),
            Self::Connect(address) => TcpStream::connect_timeout(address, Duration::from_secs(2)).map(drop),
            Self::Listen => std::net::TcpListener::bind(("127.0.0.1", 0)).map(drop),
            Self::Socket(family, kind) => socket(*family, *kind).map(drop),
            Self::Fork => fork(),
            Self::Trace => trace(),
            Self::ReadMemory => read_memory(),
            Self::Mount => mount(),
            Self::IoUring => io_uring(),
            Self::OpenByHandle => open_by_handle(),
            // SAFETY: takes a number, and changes only this process, which ends soon.
            Self::Unshare => check(unsafe { libc::unshare(libc::CLONE_NEWNS | libc::CLONE_NEWUSER) }),
            Self::Execute(path) => execute(path),
            Self::Reach(reach) => reach.make(),
            Self::Shell(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn socket(family: i32, kind: i32) -> io::Result<OwnedFd> {
    // SAFETY: takes numbers; the descriptor that it returns is nobody else's.
    unsafe {
        let descriptor = libc::socket(family, kind | libc::SOCK_CLOEXEC, 0);
        check(descriptor)?;
        Ok(OwnedFd::from_raw_fd(descriptor))
    }
}

/// What a real shell says. It fails in its own words, so that these are looked at.
fn in_shell(script: &str) -> Verdict {
    const REFUSALS: &[&str] =
        &["Permission denied", "Operation not permitted", "permission denied", "must be superuser"];
    let mut command = Command::new("/bin/sh");
    command.arg("-c").arg(script).env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("LC_ALL", "C");
    let output = match command.stdin(Stdio::null()).output() {
        Ok(output) => output,
        Err(error) => return Verdict::Inconclusive(format!("there is no shell: {error}")),
    };
    if output.status.success() {
        return Verdict::Succeeded;
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    match REFUSALS.iter().find(|refusal| said.contains(*refusal)) {
        Some(refusal) => Verdict::Refused((*refusal).to_owned()),
        None => Verdict::Inconclusive(said),
    }
}

fn fork() -> io::Result<()> {
    // SAFETY: this process has one thread; the child ends at once, and is waited for.
    unsafe {
        match libc::fork() {
            -1 => Err(io::Error::last_os_error()),
            0 => libc::_exit(0),
            child => check(libc::waitpid(child, std::ptr::null_mut(), 0)),
        }
    }
}

fn trace() -> io::Result<()> {
    // SAFETY: takes numbers. Attaching by SEIZE does not stop the other process, and ends with this one.
    let result = unsafe { libc::ptrace(libc::PTRACE_SEIZE, libc::getppid(), 0, 0) };
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn read_memory() -> io::Result<()> {
    static HERE: u8 = 0;
    let mut byte = 0_u8;
    let local = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
    // Any address tells whether the call is allowed: a bad one makes it fail with another error.
    let remote = libc::iovec { iov_base: (&raw const HERE).cast_mut().cast(), iov_len: 1 };
    // SAFETY: the kernel checks both addresses, and writes at most one byte into `byte`.
    let read = unsafe { libc::process_vm_readv(libc::getppid(), &raw const local, 1, &raw const remote, 1, 0) };
    if read == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn mount() -> io::Result<()> {
    let (kind, place) = (c"tmpfs", c"/mnt");
    // SAFETY: the texts end in zero bytes and live through the call.
    unsafe {
        check(libc::mount(kind.as_ptr(), place.as_ptr(), kind.as_ptr(), 0, std::ptr::null()))?;
        check(libc::umount(place.as_ptr()))
    }
}

fn io_uring() -> io::Result<()> {
    let mut parameters = [0_u8; 256];
    // SAFETY: the kernel fills at most 120 bytes of the buffer.
    let descriptor = unsafe { libc::syscall(libc::SYS_io_uring_setup, 1, parameters.as_mut_ptr()) };
    if descriptor == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn open_by_handle() -> io::Result<()> {
    let root = rustix::fs::open("/", rustix::fs::OFlags::PATH, rustix::fs::Mode::empty())?;
    // An empty handle is no handle; whether the call is allowed is decided before it is looked at.
    let mut handle = [0_u32; 4];
    // SAFETY: the kernel reads the eight bytes of the header, which say that nothing follows.
    let opened = unsafe { libc::syscall(libc::SYS_open_by_handle_at, root.as_raw_fd(), handle.as_mut_ptr(), 0) };
    if opened == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Replaces this process: the doctor takes its end for a success.
fn execute(path: &std::path::Path) -> io::Result<()> {
    use std::os::unix::ffi::OsStrExt;
    let path = CString::new(path.as_os_str().as_bytes())?;
    let arguments = [path.as_ptr(), c"--version".as_ptr(), std::ptr::null()];
    let environment = [std::ptr::null()];
    if let Ok(null) = File::options().write(true).open("/dev/null") {
        // SAFETY: both descriptors are open; what the program prints is of no interest.
        unsafe { libc::dup2(null.as_raw_fd(), 1) };
    }
    // SAFETY: both lists end in a null pointer, and their texts live through the call.
    unsafe { libc::execve(path.as_ptr(), arguments.as_ptr(), environment.as_ptr()) };
    Err(io::Error::last_os_error())
}
