//! The socket in the data directory through which `demarc-hub connect` and `grants` ask a hub that runs.

use std::{
    fs::{File, Permissions},
    io,
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::BytesMut;
use rustix::fs::{FlockOperation, flock};
use tokio::{
    net::{UnixListener, UnixStream},
    sync::Semaphore,
    time::{sleep, timeout},
};
use tracing::{error, info};

use super::{
    reach::{self, NotOpened},
    relay::{self, Over, Traffic, write_all},
    words::{Answer, Ask, Said, path_in, short},
};
use crate::{clock, heap::Kept, hub::Hub, metrics::SupportResult};

/// A question is a line of at most so many bytes.
const LONGEST_ASK: usize = 1024;
/// A question must come, and its answer be taken, within this time, which is shorter than a stop may take.
const PROMPT: Duration = Duration::from_secs(5);
/// So many commands may be asking, beside those that have a session.
const ASKING: usize = 64;
/// How long to wait when the machine has no descriptors for another command.
const EXHAUSTED: Duration = Duration::from_millis(250);

/// The listening socket. While it lives, no other hub can take its place.
pub struct Socket {
    listener: UnixListener,
    path: PathBuf,
    _lock: File,
}

impl Socket {
    /// Makes the socket, in place of one that a hub left behind. Needs a runtime.
    ///
    /// # Errors
    /// When another hub has it, or the directory cannot be written.
    pub fn bind(data_dir: &Path) -> io::Result<Self> {
        let path = path_in(data_dir);
        let lock =
            File::options().write(true).create(true).truncate(false).mode(0o600).open(data_dir.join("support.lock"))?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)
            .map_err(|_| io::Error::other("another hub that runs has it"))?;
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let (name, _directory) = short(&path)?;
        let listener = UnixListener::bind(&name)?;
        // Whoever may open it may open sessions, as far as that is up to the hub. The umask of `run` has kept
        // everybody else out until now.
        std::fs::set_permissions(&path, Permissions::from_mode(0o600))?;
        Ok(Self { listener, path, _lock: lock })
    }

    /// Answers until the hub stops.
    pub async fn serve(self, hub: Arc<Hub>) {
        let room = Arc::new(Semaphore::new(hub.support_room.available_permits() + ASKING));
        while let Some(permit) = hub.stop.run_until_cancelled(room.clone().acquire_owned()).await {
            let Some(accepted) = hub.stop.run_until_cancelled(self.listener.accept()).await else { break };
            match accepted {
                Ok((command, _)) => {
                    let served = hub.clone();
                    hub.tasks.spawn(async move {
                        let _permit = permit;
                        serve_one(&served, &command).await;
                    });
                }
                Err(error) => {
                    error!(%error, "cannot answer a command; trying again");
                    sleep(EXHAUSTED).await;
                }
            }
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // Before the lock goes, so that it cannot be another hub's. Whoever cannot remove it leaves a stale one, which
        // the next hub replaces.
        std::fs::remove_file(&self.path).ok();
    }
}

/// One command from question to end. One that does not know how to ask gets no answer.
async fn serve_one(hub: &Hub, command: &UnixStream) {
    let asked = hub.stop.run_until_cancelled(timeout(PROMPT, question(command))).await;
    let Some(Ok(Some((ask, early)))) = asked else { return };
    match ask {
        Ask::Grants { grants: site } => {
            let known = hub.registry.grants(site.as_ref(), clock::now());
            let answer = match (site, known) {
                (Some(site), None) => Answer::Error(NotOpened::NotConnected(site).to_string()),
                (_, known) => Answer::Ok(Said::Grants(known.unwrap_or_default())),
            };
            say(command, &answer).await;
        }
        Ask::Connect { connect: site, grant } => {
            let opened = tokio::select! {
                opened = reach::open(hub, &site, grant) => opened,
                // The engineer did not want to wait.
                () = gone(command) => return,
            };
            let user = command.peer_cred().ok().map(|credentials| credentials.uid());
            let stream = match opened {
                Ok(stream) => stream,
                Err(error) => {
                    hub.metrics.support(error.result());
                    info!(%site, ?user, why = %error, "no support session");
                    say(command, &Answer::Error(error.to_string())).await;
                    return;
                }
            };
            let grant = stream.grant;
            hub.metrics.support(SupportResult::Opened);
            if !say(command, &Answer::Ok(Said::Grant(grant))).await {
                return;
            }
            info!(%site, %grant, ?user, "support session");
            hub.metrics.support_streams.inc();
            let _kept = Kept::begin();
            let (begin, traffic) = (Instant::now(), Traffic::default());
            let over: Over = relay::relay(hub, command, early, stream, &traffic).await;
            hub.metrics.support_streams.dec();
            let seconds = begin.elapsed().as_secs();
            let (to_site, from_site) = (traffic.sent(), traffic.received());
            info!(%site, %grant, why = ?over, seconds, to_site, from_site, "support session ended");
        }
    }
}

/// Reads the question, and what came right behind it. `None` when it is none.
async fn question(command: &UnixStream) -> Option<(Ask, BytesMut)> {
    let mut buffer = BytesMut::with_capacity(LONGEST_ASK);
    loop {
        command.readable().await.ok()?;
        match command.try_read_buf(&mut buffer) {
            Ok(0) => return None,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(_) => return None,
        }
        if let Some(end) = buffer.iter().position(|byte| *byte == b'\n') {
            let line = buffer.split_to(end + 1);
            return Some((serde_json::from_slice(&line).ok()?, buffer));
        }
        if buffer.len() >= LONGEST_ASK {
            return None;
        }
    }
}

/// Ends when the command has left. It says nothing before it has its answer.
async fn gone(command: &UnixStream) {
    loop {
        match command.ready(tokio::io::Interest::READABLE).await {
            Ok(ready) if !ready.is_read_closed() => sleep(EXHAUSTED).await,
            _ => return,
        }
    }
}

/// Says something in a line; false when nobody took it.
async fn say(command: &UnixStream, answer: &Answer) -> bool {
    let mut line = serde_json::to_vec(answer).expect("an answer is made of texts");
    line.push(b'\n');
    matches!(timeout(PROMPT, write_all(command, &line)).await, Ok(Ok(())))
}
