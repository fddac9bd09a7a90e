//! Runs a program as if the kernel had an older Landlock, or none.
//!
//! `old_kernel VERSION PROGRAM ARGUMENT…`: VERSION is what Landlock reports (1 to 8), `absent` for a kernel that was built
//! without it, `off` for one that was started without it.
//!
//! A filter has the kernel ask before anybody below makes a ruleset. Whoever answers refuses what that version did not
//! know, and lets the kernel of this machine do the rest: a ruleset that handles no more than an older one could is held to
//! no more. The program keeps this process's number; who answers is a grandchild, and ends with it.

use std::{
    ffi::CString,
    fs::File,
    io,
    mem::zeroed,
    os::{
        fd::{AsRawFd, FromRawFd, OwnedFd},
        unix::{fs::FileExt, process::CommandExt},
    },
    process::Command,
};

use anyhow::{Context, bail};

/// What kind of kernel is played.
#[derive(Clone, Copy)]
enum Kernel {
    Absent,
    Off,
    Version(i64),
}

/// What is answered to one call.
enum Answer {
    Value(i64),
    Error(i32),
    /// Let this machine's kernel do it.
    GoOn,
}

/// `LANDLOCK_CREATE_RULESET_VERSION`
const ASKS_FOR_VERSION: u64 = 1;

fn main() -> anyhow::Result<()> {
    const USAGE: &str = "old_kernel VERSION PROGRAM ARGUMENT…";
    let mut words = std::env::args_os().skip(1);
    let kernel = match words.next().context(USAGE)?.to_str().context(USAGE)? {
        "absent" => Kernel::Absent,
        "off" => Kernel::Off,
        version => Kernel::Version(version.parse().context(USAGE)?),
    };
    let program = words.next().context(USAGE)?;
    let questions = filter().context("the filter cannot be put in force")?;
    leave_one_to_answer(&questions, kernel).context("nobody can be left to answer")?;
    Err(Command::new(&program).args(words).exec()).context(format!("cannot start {}", program.to_string_lossy()))
}

/// Puts the filter in force for this process and all it will start; gives the descriptor at which the kernel asks.
fn filter() -> io::Result<OwnedFd> {
    const LOAD: u16 = 0x20;
    const JUMP_IF_EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    let line = |code, jf, k| libc::sock_filter { code, jt: 0, jf, k };
    let mut lines = [
        // The number of the call comes first in what the filter sees.
        line(LOAD, 0, 0),
        line(JUMP_IF_EQUAL, 1, u32::try_from(libc::SYS_landlock_create_ruleset).expect("numbers of calls are small")),
        line(RETURN, 0, libc::SECCOMP_RET_USER_NOTIF),
        line(RETURN, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog { len: 4, filter: lines.as_mut_ptr() };
    unsafe {
        check(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0).into())?;
        let (mode, flags) = (libc::SECCOMP_SET_MODE_FILTER, libc::SECCOMP_FILTER_FLAG_NEW_LISTENER);
        let listener = check(libc::syscall(libc::SYS_seccomp, mode, flags, &raw const program))?;
        Ok(OwnedFd::from_raw_fd(i32::try_from(listener).expect("descriptors are small")))
    }
}

/// A grandchild: a child of its own would look to the program like something that it started itself.
fn leave_one_to_answer(questions: &OwnedFd, kernel: Kernel) -> io::Result<()> {
    unsafe {
        let asking = check(libc::syscall(libc::SYS_pidfd_open, libc::getpid(), 0))?;
        let asking = OwnedFd::from_raw_fd(i32::try_from(asking).expect("descriptors are small"));
        match check(libc::fork().into())? {
            0 => {
                if libc::fork() == 0 {
                    // Whoever waits for the program's output must not wait for this process.
                    let nothing = CString::new("/dev/null").expect("no zero byte in it");
                    let nothing = libc::open(nothing.as_ptr(), libc::O_RDWR);
                    for number in 0..3 {
                        libc::dup2(nothing, number);
                    }
                    answer_all(questions, &asking, kernel);
                }
                libc::_exit(0)
            }
            child => check(libc::waitpid(child as libc::pid_t, std::ptr::null_mut(), 0).into()).map(drop),
        }
    }
}

/// Answers until the program has ended.
fn answer_all(questions: &OwnedFd, asking: &OwnedFd, kernel: Kernel) {
    loop {
        let wait = |descriptor: &OwnedFd| libc::pollfd { fd: descriptor.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        let mut waits = [wait(questions), wait(asking)];
        if unsafe { libc::poll(waits.as_mut_ptr(), 2, -1) } < 0 {
            continue;
        }
        if waits[1].revents != 0 {
            return;
        }
        unsafe {
            let mut question: libc::seccomp_notif = zeroed();
            // Whoever asked may be gone by now; then there is nothing to answer.
            if libc::ioctl(questions.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_RECV, &raw mut question) != 0 {
                continue;
            }
            let mut response: libc::seccomp_notif_resp = zeroed();
            response.id = question.id;
            match answer(kernel, question.pid, &question.data.args) {
                Answer::Value(value) => response.val = value,
                Answer::Error(error) => response.error = -error,
                Answer::GoOn => response.flags = libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32,
            }
            libc::ioctl(questions.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SEND, &raw mut response);
        }
    }
}

/// What a kernel of that kind says to `landlock_create_ruleset(attributes, size, flags)`.
fn answer(kernel: Kernel, pid: u32, [attributes, size, flags, ..]: &[u64; 6]) -> Answer {
    let version = match kernel {
        Kernel::Absent => return Answer::Error(libc::ENOSYS),
        Kernel::Off => return Answer::Error(libc::EOPNOTSUPP),
        Kernel::Version(version) => version,
    };
    if *flags != 0 {
        let asks = (*attributes, *size, *flags) == (0, 0, ASKS_FOR_VERSION);
        return if asks { Answer::Value(version) } else { Answer::Error(libc::EINVAL) };
    }
    match read(pid, *attributes, *size) {
        Ok(bytes) => judge(version, &bytes),
        Err(_) => Answer::Error(libc::EFAULT),
    }
}

fn judge(version: i64, bytes: &[u8]) -> Answer {
    // How many rights each version knew: of files, of the network, and scopes.
    let known: [u32; 3] = match version {
        1 => [13, 0, 0],
        2 => [14, 0, 0],
        3 => [15, 0, 0],
        4 => [15, 2, 0],
        5 => [16, 2, 0],
        _ => [16, 2, 2],
    };
    let words = known.iter().filter(|count| **count > 0).count();
    if bytes.len() < size_of::<u64>() {
        return Answer::Error(libc::EINVAL);
    }
    let (ours, beyond) = bytes.split_at(bytes.len().min(words * size_of::<u64>()));
    if beyond.iter().any(|byte| *byte != 0) {
        return Answer::Error(libc::E2BIG);
    }
    let handled = ours.chunks_exact(size_of::<u64>()).map(|word| u64::from_ne_bytes(word.try_into().expect("eight")));
    if handled.zip(known).any(|(handled, count)| handled >> count != 0) {
        return Answer::Error(libc::EINVAL);
    }
    Answer::GoOn
}

/// From the memory of whoever asks, which waits meanwhile.
fn read(pid: u32, address: u64, size: u64) -> anyhow::Result<Vec<u8>> {
    const PAGE: u64 = 4096;
    if size > PAGE {
        bail!("a ruleset's attributes take less than a page");
    }
    let mut bytes = vec![0; usize::try_from(size)?];
    File::open(format!("/proc/{pid}/mem"))?.read_exact_at(&mut bytes, address)?;
    Ok(bytes)
}

fn check(result: libc::c_long) -> io::Result<libc::c_long> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
