//! Tells systemd how the daemon is (`Type=notify`, `WatchdogSec=`): that it is ready, alive, and about to end.

use std::{
    env,
    ffi::{OsStr, OsString},
    io,
    os::{
        linux::net::SocketAddrExt,
        unix::{
            ffi::OsStrExt,
            net::{SocketAddr, UnixDatagram},
        },
    },
    time::{Duration, Instant},
};

/// How long the roles may take until the daemon counts as ready without them: it answers the command line by then, which
/// says what they lack.
const PATIENCE: Duration = Duration::from_secs(20);

/// The line to systemd. Where nobody listens, nothing is said.
pub(super) struct Notifier {
    /// Connected before this process confined itself, so that no rule has to let it reach the socket.
    socket: Option<UnixDatagram>,
    started: Instant,
    said: Said,
    /// How often a sign of life is due.
    every: Option<Duration>,
    last: Option<Instant>,
}

/// The furthest that was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Said {
    Nothing,
    Ready,
    Stopping,
}

impl Notifier {
    /// Connects to whoever started this process, if it wants to be told.
    pub(super) fn connect() -> Self {
        Self::new(
            env::var_os("NOTIFY_SOCKET"),
            watchdog(env::var("WATCHDOG_USEC").ok().as_deref(), env::var("WATCHDOG_PID").ok().as_deref()),
            Instant::now(),
        )
    }

    fn new(socket: Option<OsString>, every: Option<Duration>, started: Instant) -> Self {
        let socket = socket.filter(|name| !name.is_empty()).and_then(|name| match connected(&name) {
            Ok(socket) => Some(socket),
            Err(error) => {
                tracing::warn!("systemd cannot be told that demarc is ready: {error}");
                None
            }
        });
        Self { socket, started, said: Said::Nothing, every, last: None }
    }

    /// Called at each turn of the main loop, and by nothing else: a loop that hangs gives no sign of life.
    pub(super) fn turn(&mut self, is_ready: bool, is_ending: bool, now: Instant) {
        if is_ending && self.said < Said::Stopping {
            self.said = Said::Stopping;
            self.tell("STOPPING=1");
        }
        if self.said == Said::Nothing && (is_ready || now.duration_since(self.started) >= PATIENCE) {
            self.said = Said::Ready;
            self.tell("READY=1");
        }
        let Some(every) = self.every else { return };
        if self.last.is_none_or(|last| now.duration_since(last) >= every) {
            self.last = Some(now);
            self.tell("WATCHDOG=1");
        }
    }

    fn tell(&self, message: &str) {
        // A supervisor that cannot be told works as well, until it asks why it was not.
        let _ = self.socket.as_ref().map(|socket| socket.send(message.as_bytes()));
    }
}

fn connected(name: &OsStr) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    match name.as_bytes().strip_prefix(b"@") {
        Some(name) => socket.connect_addr(&SocketAddr::from_abstract_name(name)?)?,
        None => socket.connect(name)?,
    }
    Ok(socket)
}

/// How often a sign of life is due, by what systemd says in the environment: thrice in the time that it waits.
fn watchdog(microseconds: Option<&str>, process: Option<&str>) -> Option<Duration> {
    if process.is_some_and(|process| process.parse() != Ok(std::process::id())) {
        return None;
    }
    let patience: u64 = microseconds?.parse().ok()?;
    Some(Duration::from_micros(patience) / 3)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(every: Option<Duration>) -> (Notifier, UnixDatagram, tempfile::TempDir) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let systemd = UnixDatagram::bind(&path).unwrap();
        systemd.set_nonblocking(true).unwrap();
        (Notifier::new(Some(path.into_os_string()), every, Instant::now()), systemd, directory)
    }

    fn heard(systemd: &UnixDatagram) -> Vec<String> {
        let mut bytes = [0; 64];
        std::iter::from_fn(|| {
            systemd.recv(&mut bytes).ok().map(|count| String::from_utf8_lossy(&bytes[..count]).into())
        })
        .collect()
    }

    #[test]
    fn ready_once_alive_often_and_stopping_last() {
        let (mut notifier, systemd, _directory) = pair(Some(Duration::from_secs(10)));
        let start = notifier.started;
        let at = |seconds| start + Duration::from_secs(seconds);
        notifier.turn(false, false, at(0));
        assert_eq!(heard(&systemd), ["WATCHDOG=1"]);
        notifier.turn(true, false, at(1));
        notifier.turn(true, false, at(9));
        assert_eq!(heard(&systemd), ["READY=1"]);
        notifier.turn(true, false, at(10));
        assert_eq!(heard(&systemd), ["WATCHDOG=1"]);
        notifier.turn(true, true, at(11));
        notifier.turn(true, true, at(12));
        assert_eq!(heard(&systemd), ["STOPPING=1"]);
    }

    #[test]
    fn a_role_that_does_not_come_holds_the_start_up_for_a_while_only() {
        let (mut notifier, systemd, _directory) = pair(None);
        let start = notifier.started;
        notifier.turn(false, false, start + PATIENCE - Duration::from_millis(1));
        assert!(heard(&systemd).is_empty());
        notifier.turn(false, false, start + PATIENCE);
        assert_eq!(heard(&systemd), ["READY=1"]);
    }

    #[test]
    fn who_ends_before_it_was_ready_says_only_that() {
        let (mut notifier, systemd, _directory) = pair(None);
        let start = notifier.started;
        notifier.turn(false, true, start);
        notifier.turn(true, true, start);
        assert_eq!(heard(&systemd), ["STOPPING=1"]);
    }

    #[test]
    fn the_watchdog_is_for_the_process_that_it_names() {
        let own = std::process::id().to_string();
        assert_eq!(watchdog(Some("30000000"), Some(&own)), Some(Duration::from_secs(10)));
        assert_eq!(watchdog(Some("30000000"), None), Some(Duration::from_secs(10)));
        assert_eq!(watchdog(Some("30000000"), Some("1")), None);
        assert_eq!(watchdog(None, Some(&own)), None);
        assert_eq!(watchdog(Some("often"), None), None);
    }

    #[test]
    fn where_nobody_listens_nothing_is_said() {
        let mut notifier = Notifier::new(Some("/nowhere/at/all".into()), None, Instant::now());
        notifier.turn(true, true, Instant::now());
        assert!(notifier.socket.is_none());
    }
}
