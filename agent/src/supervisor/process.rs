//! One role as a running process: its messages in, its messages out, its end.

use std::{
    fs::File,
    io::{self, Write},
    os::{
        fd::{AsRawFd, OwnedFd, RawFd},
        unix::net::UnixStream,
    },
    process::{ExitStatus, Stdio},
    sync::Arc,
    time::Duration,
};

use serde::{Serialize, de::DeserializeOwned};
use tokio::{
    process::{Child, Command},
    sync::{Notify, mpsc},
};

use crate::{
    cgroup,
    confine::Profile,
    ipc::{
        Confined, ROLE_FD,
        channel::{Channel, ChannelError, Receiver, Sender, send_blocking},
    },
    log,
};

/// Messages that wait for a role; one that takes none for so long is stuck, and is ended.
const MOST_WAITING: usize = 1_024;
/// How long the last messages of a dead process are waited for.
const LAST_WORDS: Duration = Duration::from_millis(200);
/// What a role sees of the supervisor's environment.
const PASSED_ON: &[&str] = &[log::VARIABLE, log::JOURNAL, "RUST_BACKTRACE", "LANG", "TZ"];

/// What a role does, as the supervisor sees it.
#[derive(Debug)]
pub(super) enum Event<In> {
    /// It said something.
    Said(In),
    /// It is gone.
    Ended(io::Result<ExitStatus>),
}

/// A role that was started and whose end has not been seen.
#[derive(Debug)]
pub(super) struct Process<Out> {
    /// Its number in the system.
    pub(super) pid: u32,
    /// Counts the processes of this role, so that a late word of an earlier one is not taken for the present one's.
    pub(super) incarnation: u64,
    /// What confines it, once it said that it is ready.
    pub(super) ready: Option<Confined>,
    /// The newest settings that it has applied.
    pub(super) applied: u64,
    outgoing: mpsc::Sender<Out>,
    kill: Arc<Notify>,
}

impl<Out: Serialize + Send + Sync + 'static> Process<Out> {
    /// Starts `demarc role NAME`, confined by that profile, with these descriptors under these numbers beside its channel.
    /// What it does arrives as events that carry `incarnation`. It begins in the cgroup behind the entrance, if there is one.
    pub(super) fn start<In: DeserializeOwned + Send + 'static>(
        role: &'static str,
        incarnation: u64,
        profile: &Profile,
        descriptors: Vec<(OwnedFd, RawFd)>,
        entrance: Option<File>,
        events: mpsc::Sender<(u64, Event<In>)>,
    ) -> io::Result<Self> {
        let (mut ours, theirs) = UnixStream::pair()?;
        let mut given = vec![(OwnedFd::from(theirs), ROLE_FD)];
        given.extend(descriptors);
        let child = command(role, given, entrance)?.spawn()?;
        let pid = child.id().unwrap_or_default();
        send_blocking(&mut ours, profile).map_err(io::Error::other)?;
        let (sender, receiver) = Channel::<In, Out>::new(ours)?.split();
        let (outgoing, waiting) = mpsc::channel(MOST_WAITING);
        let kill = Arc::new(Notify::new());
        tokio::spawn(write(sender, waiting));
        tokio::spawn(watch(incarnation, child, receiver, events, Arc::clone(&kill)));
        Ok(Self { pid, incarnation, ready: None, applied: 0, outgoing, kill })
    }

    /// Sends it a message. A process that takes none any more is ended.
    pub(super) fn tell(&self, message: Out) {
        if let Err(mpsc::error::TrySendError::Full(_)) = self.outgoing.try_send(message) {
            self.kill();
        }
    }

    /// Ends it at once; its end arrives as an event.
    pub(super) fn kill(&self) {
        self.kill.notify_one();
    }
}

/// The command that becomes the role: our own program, with the descriptors that it is given and nothing else of ours.
fn command(role: &str, given: Vec<(OwnedFd, RawFd)>, entrance: Option<File>) -> io::Result<Command> {
    // Out of the way of the numbers that they are to get, so that none takes the place of another.
    let above = given.iter().map(|(_, number)| *number).max().unwrap_or(0) + 1;
    let mut moved = Vec::new();
    for (descriptor, number) in given {
        moved.push((rustix::io::fcntl_dupfd_cloexec(descriptor, above)?, number));
    }
    let mut command = Command::new("/proc/self/exe");
    command.arg0("demarc").arg("role").arg(role).stdin(Stdio::null()).stdout(Stdio::null()).kill_on_drop(true);
    command.env_clear();
    command.envs(PASSED_ON.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
    let supervisor = std::process::id();
    // SAFETY: between fork and exec this calls only what a signal handler may call, and allocates nothing.
    unsafe {
        command.pre_exec(move || {
            // First of all: what follows may put something else in place of this descriptor.
            if let Some(mut entrance) = entrance.as_ref() {
                entrance.write_all(cgroup::MYSELF)?;
            }
            // The descriptors live in this closure, so that they are open until the role has them.
            for (descriptor, number) in &moved {
                check(libc::dup2(descriptor.as_raw_fd(), *number))?;
            }
            check(libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL))?;
            // The supervisor may have died before the line above.
            if libc::getppid().unsigned_abs() != supervisor {
                return Err(io::Error::from_raw_os_error(libc::ESRCH));
            }
            Ok(())
        });
    }
    Ok(command)
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

async fn write<Out: Serialize>(mut sender: Sender<Out>, mut waiting: mpsc::Receiver<Out>) {
    while let Some(message) = waiting.recv().await {
        // A role that is gone is seen by its end.
        if sender.send(&message).await.is_err() {
            return;
        }
    }
}

async fn watch<In: DeserializeOwned>(
    incarnation: u64,
    mut child: Child,
    mut receiver: Receiver<In>,
    events: mpsc::Sender<(u64, Event<In>)>,
    kill: Arc<Notify>,
) {
    let mut open = true;
    let ended = loop {
        tokio::select! {
            message = receiver.recv(), if open => match message {
                Ok(Some(message)) => { let _ = events.send((incarnation, Event::Said(message))).await; }
                // Closing its end is a role's last act, in good order or not.
                Ok(None) | Err(ChannelError::Broken(_)) => open = false,
                Err(error) => {
                    tracing::error!("{:#}", anyhow::Error::from(error));
                    open = false;
                    let _ = child.start_kill();
                }
            },
            ended = child.wait() => break ended,
            () = kill.notified() => { let _ = child.start_kill(); }
        }
    };
    while open {
        match tokio::time::timeout(LAST_WORDS, receiver.recv()).await {
            Ok(Ok(Some(message))) => {
                let _ = events.send((incarnation, Event::Said(message))).await;
            }
            _ => open = false,
        }
    }
    let _ = events.send((incarnation, Event::Ended(ended))).await;
}
