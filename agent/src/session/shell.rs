//! A channel that is connected to a program: the owner's shell, or one command in it.

use std::{os::unix::process::ExitStatusExt, process::ExitStatus, sync::Arc, time::Duration};

use rustix::process::Pid;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    process::{Child, ChildStdin},
    sync::broadcast::error::RecvError,
    time::{sleep, timeout},
};
use tokio_util::task::AbortOnDropHandle;

use super::{
    channel::{Closed, Served, Terminal},
    child::{self, Program},
    context::shortened,
    processes,
    queue::{Lane, Queue},
    terminal::{self, Master},
};
use crate::{confine::layout::SCOPED_SIGNALS, support::cast::Code};

/// How much is read from a program at a time.
const PIECE: usize = 16 << 10;
/// How long what a command left in the background may go on, once it has ended itself.
const GRACE: Duration = Duration::from_millis(100);
/// An output that was silent for so long after its program has ended is at its end.
const REST: Duration = Duration::from_millis(300);
/// The status with which a shell says that it could not start a program.
const CANNOT_START: u32 = 126;

/// Serves a channel with a program, until either ends.
pub(super) async fn serve(mut served: Served, command: Option<Vec<u8>>) {
    let words = command.as_deref().map_or("shell".to_owned(), |line| shortened(&String::from_utf8_lossy(line)));
    if let Some(refusal) = command.as_deref().and_then(refusal) {
        served.context.refuse(&format!("command: {words}"));
        served.answer(Lane::Error, refusal, 1).await;
        return;
    }
    served.context.tally.command(&words);
    match &command {
        Some(line) => served.context.recorder.mark(&format!("command: {}", String::from_utf8_lossy(line))),
        None => served.context.recorder.mark("shell"),
    }
    // Nothing runs that does not stand in the recording first.
    if served.context.recorder.durable().await.is_err() {
        return;
    }
    let started = start(&served, command.as_deref());
    let (running, ends) = match started {
        Ok(started) => started,
        Err(error) => {
            let words = format!("demarc: the shell cannot be started: {error}\n");
            served.answer(Lane::Error, &words, CANNOT_START).await;
            return;
        }
    };
    let ended = running.until_end(&mut served, ends).await;
    match ended.map(|status| (status.code(), status.signal())) {
        Some((_, Some(signal))) => served.finish_by_signal(signal).await,
        Some((code, None)) => served.finish(code.and_then(|code| code.try_into().ok()).unwrap_or(1)).await,
        None => served.hang_up().await,
    }
}

/// What is refused in words, because it would only confuse: the programs at the far end of a file transfer.
fn refusal(line: &[u8]) -> Option<&'static str> {
    let line = String::from_utf8_lossy(line);
    let mut words = line.split_ascii_whitespace();
    let program = words.next()?.rsplit('/').next()?;
    let is_transfer = matches!(program, "scp" | "sftp-server" | "internal-sftp")
        || (program == "rsync" && words.next() == Some("--server"));
    is_transfer.then_some(NO_FILES)
}

/// What is said to who tries to transfer files under another grant.
pub(super) const NO_FILES: &str =
    "demarc: file transfer needs a grant with --scope files; ask the owner of this system for one.\n";

/// A program that runs.
struct Running {
    child: Child,
    leader: Option<Pid>,
    output: Queue,
}

/// The tasks that read what it says.
type Readers = Vec<AbortOnDropHandle<()>>;

/// What its input goes to.
enum Ends {
    Terminal(Arc<Master>),
    Pipe(Option<ChildStdin>),
}

fn start(served: &Served, command: Option<&[u8]>) -> std::io::Result<(Running, (Ends, Readers))> {
    let settings = &served.context.settings;
    let program = Program { settings, command, terminal: served.terminal.as_ref() };
    let output = Queue::default();
    let mut readers = Vec::new();
    let mut read = |task: tokio::task::JoinHandle<()>| readers.push(AbortOnDropHandle::new(task));
    let (child, ends) = match &served.terminal {
        Some(Terminal { modes, .. }) => {
            let version = settings.programs.as_ref().and_then(|profile| profile.landlock);
            let signals = version.is_none_or(|version| version >= SCOPED_SIGNALS);
            let (master, theirs) = terminal::open(*served.size.borrow(), modes, signals)?;
            let master = Arc::new(master);
            let child = program.start_at(theirs)?;
            read(tokio::spawn(read_terminal(Arc::clone(&master), output.clone())));
            (child, Ends::Terminal(master))
        }
        None => {
            let mut child = program.start()?;
            for (lane, pipe) in [
                (Lane::Main, child.stdout.take().map(|pipe| Box::new(pipe) as Box<dyn AsyncRead + Send + Unpin>)),
                (Lane::Error, child.stderr.take().map(|pipe| Box::new(pipe) as Box<dyn AsyncRead + Send + Unpin>)),
            ] {
                if let Some(pipe) = pipe {
                    read(tokio::spawn(read_pipe(pipe, lane, output.clone())));
                }
            }
            let input = child.stdin.take();
            (child, Ends::Pipe(input))
        }
    };
    let leader = child::pid(&child);
    Ok((Running { child, leader, output }, (ends, readers)))
}

async fn read_terminal(master: Arc<Master>, output: Queue) {
    let mut buffer = vec![0; PIECE];
    loop {
        let count = master.read(&mut buffer).await;
        if count == 0 || output.say(Lane::Main, &buffer[..count]).await.is_err() {
            return;
        }
    }
}

async fn read_pipe(mut pipe: Box<dyn AsyncRead + Send + Unpin>, lane: Lane, output: Queue) {
    let mut buffer = vec![0; PIECE];
    loop {
        let count = pipe.read(&mut buffer).await.unwrap_or(0);
        if count == 0 || output.say(lane, &buffer[..count]).await.is_err() {
            return;
        }
    }
}

impl Running {
    /// Passes bytes until the program has ended and all it said is shown, or until the channel is closed. Nothing of it
    /// is left running then.
    async fn until_end(mut self, served: &mut Served, (ends, readers): (Ends, Readers)) -> Option<ExitStatus> {
        let (leader, output, child) = (self.leader, self.output.clone(), &mut self.child);
        let closed = served.closed.clone();
        let mut signals = std::mem::replace(&mut served.signals, tokio::sync::mpsc::channel(1).1);
        let served = &*served;
        let terminal = match &ends {
            Ends::Terminal(master) => Some(Arc::clone(master)),
            Ends::Pipe(_) => None,
        };
        let controls = async {
            let mut sizes = served.size.clone();
            loop {
                tokio::select! {
                    Ok(()) = sizes.changed() => {
                        let size = *sizes.borrow_and_update();
                        terminal.iter().for_each(|master| master.resize(size));
                    }
                    Some(signal) = signals.recv() => {
                        leader.into_iter().for_each(|leader| processes::signal_group(leader, signal));
                    }
                    else => std::future::pending().await,
                }
            }
        };
        let ending = async {
            let status = child.wait().await.ok();
            sleep(GRACE).await;
            leader.into_iter().for_each(processes::end_session);
            let mut reading = std::pin::pin!(async {
                for reader in readers {
                    let _ = reader.await;
                }
            });
            // All it said is shown, however slowly the engineer takes it. What ran away from its session may keep the output
            // open and say nothing for hours: nobody waits for that.
            while timeout(REST, &mut reading).await.is_err() && !output.rests(REST) {}
            output.end();
            status
        };
        let shown = show_all(served, &output, terminal.is_some());
        let status = tokio::select! {
            (status, Ok(())) = async { tokio::join!(ending, shown) } => status,
            () = type_all(served, ends) => None,
            () = controls => None,
            () = closed.cancelled() => None,
            else => None,
        };
        output.close();
        leader.into_iter().for_each(processes::end_session);
        status
    }
}

/// Shows what the program says, and on a terminal what the owner's side has to say in between.
async fn show_all(served: &Served, output: &Queue, has_terminal: bool) -> Result<(), Closed> {
    let mut notices = served.context.notices.subscribe();
    loop {
        tokio::select! {
            said = output.take() => match said {
                Some((lane, bytes)) => served.show(lane, &bytes).await?,
                None => return Ok(()),
            },
            notice = notices.recv(), if has_terminal => match notice {
                Ok(notice) => served.show(Lane::Main, format!("\r\n[demarc] {notice}\r\n").as_bytes()).await?,
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return Err(Closed),
            },
        }
    }
}

/// Types what comes from the engineer. Never returns before the channel ends: a program goes on without input.
async fn type_all(served: &Served, mut ends: Ends) {
    let recorder = &served.context.recorder;
    let mut was_hidden = false;
    while let Some((_, bytes)) = served.input.take().await {
        match &mut ends {
            Ends::Terminal(master) => {
                let hides = master.hides();
                if !hides {
                    recorder.note(Code::Input, &bytes);
                } else if !was_hidden {
                    recorder.mark("input hidden");
                }
                was_hidden = hides;
                if master.write(&bytes).await.is_err() {
                    break;
                }
            }
            Ends::Pipe(pipe) => {
                recorder.note(Code::Input, &bytes);
                if recorder.is_behind() && recorder.durable().await.is_err() {
                    break;
                }
                let Some(input) = pipe else { continue };
                if input.write_all(&bytes).await.is_err() {
                    // The program reads nothing more; that is its own affair.
                    *pipe = None;
                }
            }
        }
    }
    match &mut ends {
        Ends::Terminal(master) => {
            if let Some(sign) = master.end_of_input() {
                let _ = master.write(&[sign]).await;
            }
        }
        Ends::Pipe(pipe) => *pipe = None,
    }
    std::future::pending().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_transfer_is_refused_in_words() {
        for line in ["scp -t /tmp", "/usr/lib/openssh/sftp-server", "rsync --server -e.x . /tmp", "scp"] {
            assert!(refusal(line.as_bytes()).is_some(), "{line}");
        }
        for line in ["ls", "rsync --version", "echo scp", "", "scpx"] {
            assert!(refusal(line.as_bytes()).is_none(), "{line}");
        }
    }
}
