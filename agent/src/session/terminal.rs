//! A pseudo-terminal, from the side of whoever types on it.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
};

use russh::Pty;
use rustix::{
    pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt},
    termios::{InputModes, LocalModes, OptionalActions, SpecialCodeIndex, Winsize, tcgetattr, tcsetattr, tcsetwinsize},
};
use tokio::io::unix::AsyncFd;

use super::channel::Size;

/// The end that a person would sit at.
#[derive(Debug)]
pub(super) struct Master {
    descriptor: AsyncFd<OwnedFd>,
}

/// Opens a new pseudo-terminal: the end for the engineer, and the end for the program. Without `stops` no sign stops a
/// program, which a shell could not have go on where it may send no signals.
///
/// # Errors
/// When the machine has none left, or this process may not open one.
pub(super) fn open(size: Size, modes: &[(Pty, u32)], stops: bool) -> io::Result<(Master, OwnedFd)> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let master = openpt(flags)?;
    grantpt(&master)?;
    unlockpt(&master)?;
    let program = ioctl_tiocgptpeer(&master, flags)?;
    apply(&program, modes, stops)?;
    tcsetwinsize(&master, winsize(size))?;
    rustix::io::ioctl_fionbio(&master, true)?;
    // SAFETY: the descriptor is open, owned by what is registered, and never replaced.
    let descriptor = unsafe { AsyncFd::register(master) }?;
    Ok((Master { descriptor }, program))
}

/// Takes over the signs that the engineer's own terminal has for erasing, interrupting and so on.
fn apply(terminal: &OwnedFd, modes: &[(Pty, u32)], stops: bool) -> io::Result<()> {
    let mut attributes = tcgetattr(terminal)?;
    for (mode, value) in modes {
        let index = match mode {
            Pty::VINTR => SpecialCodeIndex::VINTR,
            Pty::VQUIT => SpecialCodeIndex::VQUIT,
            Pty::VERASE => SpecialCodeIndex::VERASE,
            Pty::VKILL => SpecialCodeIndex::VKILL,
            Pty::VEOF => SpecialCodeIndex::VEOF,
            Pty::VSUSP => SpecialCodeIndex::VSUSP,
            Pty::VWERASE => SpecialCodeIndex::VWERASE,
            Pty::VLNEXT => SpecialCodeIndex::VLNEXT,
            Pty::VREPRINT => SpecialCodeIndex::VREPRINT,
            Pty::IUTF8 => {
                attributes.input_modes.set(InputModes::IUTF8, *value != 0);
                continue;
            }
            _ => continue,
        };
        // 255 means that there is none.
        attributes.special_codes[index] = u8::try_from(*value).ok().filter(|code| *code != u8::MAX).unwrap_or(0);
    }
    if !stops {
        // Zero: there is none.
        attributes.special_codes[SpecialCodeIndex::VSUSP] = 0;
    }
    Ok(tcsetattr(terminal, OptionalActions::Now, &attributes)?)
}

fn winsize(size: Size) -> Winsize {
    Winsize { ws_col: size.columns, ws_row: size.rows, ws_xpixel: 0, ws_ypixel: 0 }
}

impl Master {
    /// Waits for what the program says; nothing when the last program has left the terminal.
    pub(super) async fn read(&self, buffer: &mut [u8]) -> usize {
        loop {
            let Ok(mut ready) = self.descriptor.readable().await else { return 0 };
            let read = ready.try_io(|descriptor| Ok(rustix::io::read(descriptor.as_fd(), &mut *buffer)?));
            match read {
                Ok(Ok(count)) => return count,
                Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                // Linux says EIO once nobody has the other end open.
                Ok(Err(_)) => return 0,
                Err(_would_block) => {}
            }
        }
    }

    /// Types all of it.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub(super) async fn write(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let mut ready = self.descriptor.writable().await?;
            match ready.try_io(|descriptor| Ok(rustix::io::write(descriptor.as_fd(), bytes)?)) {
                Ok(Ok(count)) => bytes = &bytes[count..],
                Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(Err(error)) => return Err(error),
                Err(_would_block) => {}
            }
        }
        Ok(())
    }

    /// Tells the program of a new size.
    pub(super) fn resize(&self, size: Size) {
        // A terminal that is gone needs no size.
        let _ = tcsetwinsize(self.descriptor.get_ref(), winsize(size));
    }

    /// Whether the program asks for a line that must not be seen: it shows no echo and waits for whole lines, as for a
    /// password. An editor or a shell that shows every key itself does not wait for lines.
    pub(super) fn hides(&self) -> bool {
        let modes = tcgetattr(self.descriptor.get_ref()).map(|attributes| attributes.local_modes);
        modes.is_ok_and(|modes| modes.contains(LocalModes::ICANON) && !modes.contains(LocalModes::ECHO))
    }

    /// The sign that means the end of input, where the program waits for lines.
    pub(super) fn end_of_input(&self) -> Option<u8> {
        let attributes = tcgetattr(self.descriptor.get_ref()).ok()?;
        attributes.local_modes.contains(LocalModes::ICANON).then(|| attributes.special_codes[SpecialCodeIndex::VEOF])
    }
}
