//! The second, stricter layer: what a support engineer has a session start.
//!
//! A process may look into others of its own domain and signal them. What an engineer starts therefore gets a domain
//! below the worker's, so that it can do neither to the worker, which holds the connection and the recording.

use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd, OwnedFd},
};

use seccompiler::BpfProgram;

use super::{Access, ConfineError, Profile, Subject, privileges, rules, syscalls};

/// A confinement that is ready to be put in force: everything that needs memory or may fail was done.
#[derive(Debug)]
pub struct Prepared {
    ruleset: OwnedFd,
    filters: Vec<BpfProgram>,
}

/// Prepares the confinement of one program that the worker is about to start, with its end of a terminal if it gets one.
///
/// # Errors
/// When the profile is not a shell's, or this kernel cannot enforce it. There is no best effort here.
pub fn prepare(profile: &Profile, terminal: Option<BorrowedFd<'_>>) -> Result<Prepared, ConfineError> {
    let subject = profile.subject.name();
    let version = profile.landlock.filter(|_| profile.subject == Subject::Shell);
    let version = version.ok_or(ConfineError::NoLandlock { subject })?;
    let refused = |source| ConfineError::Rules { subject, source };
    let mut ruleset = rules::prepare(profile, version).map_err(refused)?;
    if let Some(terminal) = terminal {
        // No other terminal of this machine: an administrator may be typing a password into it.
        ruleset = rules::add(ruleset, terminal, Access::Terminal, version).map_err(refused)?;
    }
    let ruleset = Option::<OwnedFd>::from(ruleset);
    let ruleset = ruleset.ok_or(ConfineError::NoLandlock { subject })?;
    let filters =
        syscalls::filters(profile).map_err(|source| ConfineError::Filter { subject, source: source.into() })?;
    Ok(Prepared { ruleset, filters })
}

impl Prepared {
    /// Puts it in force for this process. It calls only what a signal handler may call and allocates nothing: it is meant
    /// for the moment between fork and exec, once the terminal is set up. Descriptors beyond the first three do not survive
    /// the exec.
    ///
    /// # Errors
    /// When this process does not lead a session of its own, whose members are all that some filters let it signal, or when the
    /// kernel refuses a step; the program must not be started then.
    pub fn enter(&self) -> io::Result<()> {
        if rustix::process::getsid(None)? != rustix::process::getpid() {
            return Err(io::Error::from_raw_os_error(libc::EPERM));
        }
        // SAFETY: takes numbers; descriptors only get a flag.
        check(unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC) })?;
        rustix::thread::set_no_new_privs(true)?;
        // SAFETY: the descriptor is a ruleset, and open.
        check(unsafe { libc::syscall(libc::SYS_landlock_restrict_self, self.ruleset.as_raw_fd(), 0) })?;
        privileges::drop_capabilities(Subject::Shell)?;
        for filter in &self.filters {
            seccompiler::apply_filter(filter).map_err(|_| io::Error::from_raw_os_error(libc::EPERM))?;
        }
        Ok(())
    }
}

fn check(result: libc::c_long) -> io::Result<()> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
