//! The socket at which browsers come in. It is bound before the supervisor confines itself, which can bind no other later.

use std::{
    fs, io,
    net::{SocketAddr, TcpListener},
    os::{
        fd::{AsFd, OwnedFd},
        unix::{fs::PermissionsExt, net::UnixListener},
    },
    path::PathBuf,
};

use rustix::event::{PollFd, PollFlags, poll};

use crate::settings::Listen;

/// The socket, bound.
#[derive(Debug)]
pub(in crate::supervisor) enum Listener {
    Address(TcpListener, SocketAddr),
    Socket(UnixListener, PathBuf),
}

impl Listener {
    /// Binds what the settings name.
    ///
    /// # Errors
    /// Why there are no pages, in words.
    pub(in crate::supervisor) fn bind(listen: &Listen) -> Result<Self, String> {
        match listen {
            Listen::Off => Err("the pages are off: web.listen is \"off\"".to_owned()),
            Listen::Address(wanted) => {
                let bound = TcpListener::bind(wanted).and_then(|listener| {
                    listener.set_nonblocking(true)?;
                    let address = listener.local_addr()?;
                    Ok(Self::Address(listener, address))
                });
                bound.map_err(|error| format!("there are no pages at {wanted} (web.listen): {error}"))
            }
            Listen::Socket(path) => {
                let bound = bind_socket(path).map(|listener| Self::Socket(listener, path.clone()));
                bound.map_err(|error| format!("there are no pages at {} (web.listen): {error}", path.display()))
            }
        }
    }

    /// The address, with the port that it really has.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Address(_, address) => Some(*address),
            Self::Socket(..) => None,
        }
    }

    /// Another descriptor of the same socket.
    ///
    /// # Errors
    /// When the process has no descriptors left.
    pub(super) fn descriptor(&self) -> io::Result<OwnedFd> {
        match self {
            Self::Address(listener, _) => listener.as_fd().try_clone_to_owned(),
            Self::Socket(listener, _) => listener.as_fd().try_clone_to_owned(),
        }
    }

    /// Whether this is what the settings name.
    pub(super) fn is_at(&self, listen: &Listen) -> bool {
        match (self, listen) {
            (Self::Address(_, address), Listen::Address(wanted)) => {
                address.ip() == wanted.ip() && (wanted.port() == 0 || address.port() == wanted.port())
            }
            (Self::Socket(_, path), Listen::Socket(wanted)) => path == wanted,
            _ => false,
        }
    }
}

fn bind_socket(path: &PathBuf) -> io::Result<UnixListener> {
    // A socket that an earlier daemon left is nobody's; any other file is somebody's.
    if UnixListener::bind(path).is_err_and(|error| error.kind() == io::ErrorKind::AddrInUse) {
        use std::os::unix::fs::FileTypeExt;
        if !fs::symlink_metadata(path)?.file_type().is_socket() || std::os::unix::net::UnixStream::connect(path).is_ok()
        {
            return Err(io::Error::from(io::ErrorKind::AddrInUse));
        }
    }
    let _ = fs::remove_file(path);
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o660))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Whether a connection waits to be taken.
pub(super) fn is_waiting(listener: &OwnedFd) -> bool {
    let mut descriptors = [PollFd::new(listener, PollFlags::IN)];
    let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut descriptors, Some(&now)).is_ok_and(|ready| ready > 0)
}
