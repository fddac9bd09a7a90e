//! The program that a session starts: the owner's shell, or one command in it.

use std::{
    ffi::OsStr,
    io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::{ffi::OsStrExt, process::CommandExt},
    },
    process::Stdio,
};

use rustix::process::{Pid, Resource, Rlimit, Signal};
use tokio::process::{Child, Command};

use super::channel::Terminal;
use crate::{
    confine::shell::{self, Prepared},
    ipc::SessionSettings,
};

/// Where programs are looked for.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Telephone calls come first: what support runs gets the processor when they leave it.
const NICE: libc::c_int = 10;
/// The most a session's programs may use of this machine.
const LIMITS: [(Resource, u64); 4] =
    [(Resource::Core, 0), (Resource::Nproc, 512), (Resource::Nofile, 1024), (Resource::Fsize, 1 << 30)];

/// What to start.
pub(super) struct Program<'a> {
    /// The settings of the session.
    pub(super) settings: &'a SessionSettings,
    /// A command for the shell; without one the shell asks for them itself.
    pub(super) command: Option<&'a [u8]>,
    /// The engineer's terminal, if he has one.
    pub(super) terminal: Option<&'a Terminal>,
}

impl Program<'_> {
    /// Starts it at a pseudo-terminal.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(super) fn start_at(&self, terminal: OwnedFd) -> io::Result<Child> {
        let mut command = self.prepare();
        let confined = self.confinement(Some(terminal.as_fd()))?;
        command.stdin(Stdio::from(terminal.try_clone()?));
        command.stdout(Stdio::from(terminal.try_clone()?));
        command.stderr(Stdio::from(terminal));
        // SAFETY: between fork and exec only system calls are made, which are safe there.
        unsafe {
            command.pre_exec(|| {
                become_leader()?;
                // The terminal is standard input by now.
                let standard_input = BorrowedFd::borrow_raw(libc::STDIN_FILENO);
                Ok(rustix::process::ioctl_tiocsctty(standard_input)?)
            });
        }
        confine(&mut command, confined);
        Command::from(command).spawn()
    }

    /// Starts it with three pipes.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(super) fn start(&self) -> io::Result<Child> {
        let mut command = self.prepare();
        let confined = self.confinement(None)?;
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // SAFETY: as above.
        unsafe {
            command.pre_exec(become_leader);
        }
        confine(&mut command, confined);
        Command::from(command).spawn()
    }

    /// The confinement of the program, ready to be put in force. Nothing starts without one, but in unit tests.
    fn confinement(&self, terminal: Option<BorrowedFd<'_>>) -> io::Result<Option<Prepared>> {
        match &self.settings.programs {
            Some(profile) => shell::prepare(profile, terminal).map(Some).map_err(io::Error::other),
            None if cfg!(test) => Ok(None),
            None => Err(io::Error::other("the supervisor did not say what it may do")),
        }
    }

    fn prepare(&self) -> std::process::Command {
        let settings = self.settings;
        let mut command = std::process::Command::new(&settings.shell);
        if let Some(line) = self.command {
            command.arg("-c").arg(OsStr::from_bytes(line));
        }
        command.env_clear();
        command.env("PATH", PATH).env("LANG", "C.UTF-8").env("USER", "support").env("LOGNAME", "support");
        command.env("HOME", &settings.scratch).env("TMPDIR", &settings.scratch).env("SHELL", &settings.shell);
        command.env("DEMARC_SESSION", settings.session.to_string());
        if let Some(terminal) = self.terminal {
            command.env("TERM", &terminal.name);
        }
        command.current_dir(&settings.scratch);
        command
    }
}

/// A session and a process group of its own, which end with this process, and with less of the machine than others have.
fn become_leader() -> io::Result<()> {
    rustix::process::setsid()?;
    // Whoever started demarc may have had it ignore Ctrl-C, as shells do for what runs in the background; a program would
    // inherit that.
    for signal in 1..=libc::SIGSYS {
        // SAFETY: sets what the kernel does by itself. It fails for the two signals that nobody can change.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    // SAFETY: both sets are on the stack, and the first is made before it is used.
    unsafe {
        let mut none = std::mem::zeroed();
        libc::sigemptyset(&mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &none, std::ptr::null_mut());
    }
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    for (resource, most) in LIMITS {
        let now = rustix::process::getrlimit(resource);
        let most = now.maximum.map_or(most, |maximum| maximum.min(most));
        rustix::process::setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) })?;
    }
    // SAFETY: a system call without pointers. A program that runs at the usual priority is no failure.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, NICE) };
    Ok(())
}

/// Puts the program's own confinement in force as the last step before it starts.
fn confine(command: &mut std::process::Command, confined: Option<Prepared>) {
    if let Some(confined) = confined {
        // SAFETY: between fork and exec only system calls are made, which are safe there.
        unsafe { command.pre_exec(move || confined.enter()) };
    }
}

/// The process, as a number that signals go to.
pub(super) fn pid(child: &Child) -> Option<Pid> {
    child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw)
}
