//! What this machine can do, found out by trying.

use std::{ffi::CString, path::Path, process::Command, sync::OnceLock, time::Duration};

use crate::process;

/// Whether Landlock really keeps a thread from opening a file: some kernels report it and then fail.
pub fn has_landlock() -> bool {
    static ANSWER: OnceLock<bool> = OnceLock::new();
    // The thread restricts itself alone, and ends.
    *ANSWER.get_or_init(|| std::thread::spawn(landlock_stops_a_read).join().unwrap_or(false))
}

fn landlock_stops_a_read() -> bool {
    /// `LANDLOCK_ACCESS_FS_READ_FILE`
    const READ_FILE: u64 = 1 << 2;
    let path = CString::new("/proc/self/status").expect("no zero byte in it");
    let rules = [READ_FILE];
    unsafe {
        let ruleset = libc::syscall(libc::SYS_landlock_create_ruleset, rules.as_ptr(), size_of_val(&rules), 0);
        if ruleset < 0 || libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 {
            return false;
        }
        let restricted = libc::syscall(libc::SYS_landlock_restrict_self, ruleset, 0);
        libc::close(i32::try_from(ruleset).expect("descriptors are small"));
        restricted == 0 && libc::open(path.as_ptr(), libc::O_RDONLY) < 0
    }
}

/// Whether the test runs as root, so that it can become somebody else.
pub fn is_root() -> bool {
    unsafe { libc::geteuid() == 0 }
}

/// A port of 127.0.0.1 that nobody listens on, outside the range from which the kernel takes ports for outgoing
/// connections, so that none of these takes it before the program that it is meant for.
pub fn free_port() -> u16 {
    use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let base = std::process::id().wrapping_mul(61);
    for _ in 0..2000 {
        let port = 18_000 + (base.wrapping_add(NEXT.fetch_add(1, SeqCst)) % 14_000) as u16;
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no free port on 127.0.0.1");
}

/// Copies a program to a place that every user can reach.
///
/// Another process does it: were the copy open for writing here while another test starts a program, that child would
/// hold it open too, and a program that is open for writing cannot be started.
pub fn copy_program(from: &Path, to: &Path) {
    let limit = Duration::from_secs(60);
    process::run(Command::new("install").args(["-m", "755"]).arg(from).arg(to), limit).ok();
}
