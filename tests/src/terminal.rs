//! A terminal with a program on it: what it shows is read, and each key that is pressed is counted.

use std::{
    fs::File,
    io::{Read, Write},
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::process::CommandExt,
    },
    process::{Child, Command, ExitStatus},
    sync::{Arc, Mutex},
    time::Duration,
};

use rustix::{
    fs::{Mode, OFlags},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{Winsize, tcsetwinsize},
};

use crate::wait;

/// The terminal; its program ends when it is dropped.
pub struct Terminal {
    master: File,
    shown: Arc<Mutex<String>>,
    /// How much of what was shown was waited for already.
    seen: usize,
    keys: usize,
    child: Child,
}

impl Terminal {
    /// Starts a program on a terminal of its own.
    pub fn start(command: &mut Command) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let slave: OwnedFd =
            rustix::fs::open(name, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty()).unwrap();
        let number = slave.as_raw_fd();
        // SAFETY: between fork and exec only system calls are made.
        unsafe {
            command.pre_exec(move || {
                libc::setsid();
                libc::ioctl(number, libc::TIOCSCTTY, 0);
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM);
                Ok(())
            });
        }
        command.stdin(slave.try_clone().unwrap()).stdout(slave.try_clone().unwrap()).stderr(slave);
        let child = command.spawn().unwrap();
        // The command keeps the program's end open otherwise, and the end would not be seen.
        command.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::null());
        command.stderr(std::process::Stdio::null());
        let master = File::from(master);
        let shown = Arc::new(Mutex::new(String::new()));
        let (mut reader, out) = (master.try_clone().unwrap(), shown.clone());
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            // EIO says that the program's end was closed.
            while let Ok(read @ 1..) = reader.read(&mut bytes) {
                out.lock().unwrap().push_str(&String::from_utf8_lossy(&bytes[..read]));
            }
        });
        Self { master, shown, seen: 0, keys: 0, child }
    }

    /// Waits until that is shown, behind what was waited for before.
    pub fn expect(&mut self, text: &str, limit: Duration) {
        let (shown, seen) = (self.shown.clone(), self.seen);
        let found = std::panic::catch_unwind(move || {
            wait::until(limit, text, || shown.lock().unwrap()[seen..].find(text).map(|at| seen + at + text.len()))
        });
        self.seen = found.unwrap_or_else(|_| panic!("{text:?} was not shown, but:\n{}", &self.shown()[self.seen..]));
    }

    /// Presses one key.
    pub fn press(&mut self, key: char) {
        self.keys += 1;
        write!(self.master, "{key}").unwrap();
    }

    /// Pastes a text, which counts as no key.
    pub fn paste(&mut self, text: &str) {
        self.master.write_all(text.as_bytes()).unwrap();
    }

    /// Makes it another size, of which the program on it is told.
    pub fn resize(&self, rows: u16, columns: u16) {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&self.master, size).unwrap();
    }

    /// How many keys were pressed.
    pub fn keys(&self) -> usize {
        self.keys
    }

    /// Everything that was shown.
    pub fn shown(&self) -> String {
        self.shown.lock().unwrap().clone()
    }

    /// Waits for the program's end.
    pub fn ended(&mut self, limit: Duration) -> ExitStatus {
        wait::until(limit, "the program to end", || self.child.try_wait().unwrap())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
