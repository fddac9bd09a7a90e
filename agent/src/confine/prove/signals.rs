//! Ways to signal another process, beside `kill`.

use std::{
    io,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
};

use serde::{Deserialize, Serialize};

use super::check;

/// One of them. Each tells the process to go on, which a process that goes on does not notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// `tkill`: a thread.
    Thread,
    /// `tgkill`: a thread of that process.
    ThreadOfProcess,
    /// `rt_sigqueueinfo`: with a message.
    Message,
    /// `rt_tgsigqueueinfo`: a thread, with a message.
    MessageToThread,
    /// `pidfd_send_signal`: by a descriptor of the process.
    Descriptor,
    /// `fcntl`: have it signalled when a pipe has something to say. Where it is the signal that is refused and not this, nobody
    /// here sees it.
    Owner,
}

impl Way {
    /// Those whose answer tells whether the signal was sent.
    pub const ANSWERED: [Self; 5] =
        [Self::Thread, Self::ThreadOfProcess, Self::Message, Self::MessageToThread, Self::Descriptor];

    pub(super) fn signal(self, pid: i32) -> io::Result<()> {
        const SIGNAL: libc::c_int = libc::SIGCONT;
        // What another process may not pretend: a code that is the kernel's.
        // SAFETY: all bytes zero are a siginfo.
        let mut message: libc::siginfo_t = unsafe { std::mem::zeroed() };
        (message.si_signo, message.si_code) = (SIGNAL, libc::SI_QUEUE);
        let message = &raw const message;
        // SAFETY: takes numbers, and a message that lives through the call.
        let result = unsafe {
            match self {
                Self::Thread => libc::syscall(libc::SYS_tkill, pid, SIGNAL),
                Self::ThreadOfProcess => libc::syscall(libc::SYS_tgkill, pid, pid, SIGNAL),
                Self::Message => libc::syscall(libc::SYS_rt_sigqueueinfo, pid, SIGNAL, message),
                Self::MessageToThread => libc::syscall(libc::SYS_rt_tgsigqueueinfo, pid, pid, SIGNAL, message),
                Self::Descriptor => {
                    let process = libc::syscall(libc::SYS_pidfd_open, pid, 0);
                    if process == -1 {
                        return Err(io::Error::last_os_error());
                    }
                    let process = OwnedFd::from_raw_fd(process as libc::c_int);
                    libc::syscall(libc::SYS_pidfd_send_signal, process.as_raw_fd(), SIGNAL, std::ptr::null::<u8>(), 0)
                }
                Self::Owner => {
                    let (reader, _writer) = io::pipe()?;
                    return check(libc::fcntl(reader.as_raw_fd(), libc::F_SETOWN, pid));
                }
            }
        };
        if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}
