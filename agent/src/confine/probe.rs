//! Which version of Landlock really works here, found by trying.
//!
//! Some kernels report a version and refuse to make a ruleset, some containers answer with other errors, and a
//! later version may be there in name only. So a child process confines itself and tries what must then fail.

use std::{
    ffi::CString,
    io::{self, Read},
    net::TcpListener,
    os::fd::AsRawFd,
};

use super::{Access, Grant, Profile, Subject, canary, rules};

/// The newest version whose rights this program knows how to grant.
const NEWEST: u32 = 9;
/// The child's exit codes are this plus the version that worked.
const EXIT_BASE: i32 = 100;

/// The version of Landlock that works; absent where none does. Call it while the process has one thread.
///
/// # Errors
/// When no child can be made to try it.
pub fn landlock() -> io::Result<Option<u32>> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).ok();
    let (reader, writer) = io::pipe()?;
    // SAFETY: the process has one thread, so that the child may use everything that it inherits.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            drop(reader);
            let version = try_versions(listener.as_ref());
            drop(writer);
            // SAFETY: ends the child at once; nothing of the parent's is flushed or run twice.
            unsafe { libc::_exit(EXIT_BASE + i32::try_from(version).unwrap_or(0)) }
        }
        child => {
            drop(writer);
            wait(child, reader)
        }
    }
}

fn wait(child: libc::pid_t, mut until_end: impl Read) -> io::Result<Option<u32>> {
    let _ = until_end.read(&mut [0]);
    let mut status = 0;
    loop {
        // SAFETY: the pointer is to a live integer; the child is ours.
        if unsafe { libc::waitpid(child, &raw mut status, 0) } == child {
            break;
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
    // A child that was killed (by a filter around this program, for example) has shown nothing to work.
    let version = if libc::WIFEXITED(status) { libc::WEXITSTATUS(status) - EXIT_BASE } else { 0 };
    Ok(u32::try_from(version).ok().filter(|version| *version > 0))
}

/// In the child: the newest version that can be enforced and then does what it says.
fn try_versions(listener: Option<&TcpListener>) -> u32 {
    let Ok(secret) = tempfile::tempfile() else { return 0 };
    let again = format!("/proc/self/fd/{}", secret.as_raw_fd());
    if canary::open(again.as_ref()).is_err() {
        return 0;
    }
    let enforced = (1..=reported().min(NEWEST)).rev().find(|version| {
        let profile = Profile {
            subject: Subject::Link,
            scope: None,
            landlock: Some(*version),
            best_effort: false,
            // Something must be granted, for a ruleset that grants nothing is easier to get right.
            grants: vec![Grant::new("/dev/null", Access::Device)],
            ports: Some(Vec::new()),
            forbidden: Vec::new(),
            gaps: Vec::new(),
        };
        rules::enforce(&profile, *version).is_ok()
    });
    match enforced {
        Some(version) => what_holds(version, &again, listener),
        None => 0,
    }
}

/// The newest version up to that one whose restriction is felt.
fn what_holds(version: u32, again: &str, listener: Option<&TcpListener>) -> u32 {
    let refused = |error: &io::Error| error.kind() == io::ErrorKind::PermissionDenied;
    if !canary::open(again.as_ref()).is_err_and(|error| refused(&error)) || canary::open("/dev/null".as_ref()).is_err()
    {
        return 0;
    }
    if version >= 3 && truncate(again).is_ok() {
        return 2;
    }
    let address = listener.and_then(|listener| listener.local_addr().ok());
    let connects = || address.is_some_and(|address| !std::net::TcpStream::connect(address).is_err_and(|e| refused(&e)));
    if version >= 4 && connects() {
        return 3;
    }
    // SAFETY: signal 0 only asks whether the parent could be signalled.
    if version >= 6 && unsafe { libc::kill(libc::getppid(), 0) } == 0 {
        return 5;
    }
    version
}

/// The version that the kernel claims: never believed, and never exceeded.
fn reported() -> u32 {
    const VERSION: libc::c_uint = 1;
    // SAFETY: with this flag the call takes no pointer.
    let version =
        unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, std::ptr::null::<libc::c_void>(), 0_usize, VERSION) };
    u32::try_from(version).unwrap_or(0)
}

/// By name, without opening the file: opening it for writing is refused for another reason.
fn truncate(path: &str) -> io::Result<()> {
    let path = CString::new(path)?;
    // SAFETY: the text ends in a zero byte and lives through the call.
    if unsafe { libc::truncate(path.as_ptr(), 0) } == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    /// Whether this kernel confines is not known to a test; that asking twice answers the same is.
    #[test]
    fn asking_changes_nothing_for_the_one_who_asks() {
        let first = super::landlock().unwrap();
        assert_eq!(super::landlock().unwrap(), first);
        assert!(std::fs::read_dir("/").is_ok());
    }
}
