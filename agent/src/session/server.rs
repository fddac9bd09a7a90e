//! The SSH server of one session: who is let in, and what each channel and request becomes.
//!
//! Nothing here waits for a program, a port or the disk: each channel has a task of its own.

use std::{collections::HashMap, ffi::c_int, num::NonZeroU16, sync::Arc};

use demarc_proto::support::Scope;
use russh::{
    Channel, ChannelId, ChannelOpenFailure, ChannelWriteHalf, Pty, Sig,
    keys::Certificate,
    server::{Auth, ChannelOpenHandle, Handler, Msg, PublicKeyOffer, Session, VerifiedPublicKey},
};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::{
    certificate::{self, Terms},
    channel::{Served, Size, Terminal, signal_number},
    context::{Context, shortened},
    files, forward, prompt,
    queue::{Lane, NotTaken, Queue},
    shell,
};
use crate::support::cast::Code;

/// The most channels at a time.
pub(super) const MOST_CHANNELS: usize = 32;
/// The size of a window before its client has said one.
pub(super) const USUAL_SIZE: Size = Size { columns: 80, rows: 24 };
/// No window is larger.
const LARGEST: u32 = 1000;
/// The longest value of `TERM` that is passed on.
const LONGEST_TERM: usize = 32;
/// Signals that wait for a program that is being started.
const WAITING_SIGNALS: usize = 8;

/// One engineer at the door, and then inside.
pub(super) struct Server {
    context: Arc<Context>,
    let_in: mpsc::Sender<String>,
    channels: HashMap<ChannelId, Held>,
    connections: u64,
}

/// An open channel, as the side sees it that hears of packets.
struct Held {
    input: Queue,
    closed: CancellationToken,
    size: watch::Sender<Size>,
    signals: mpsc::Sender<c_int>,
    terminal: Option<Terminal>,
    /// Taken by the task that serves the channel.
    waiting: Option<Waiting>,
}

struct Waiting {
    write: ChannelWriteHalf<Msg>,
    signals: mpsc::Receiver<c_int>,
}

/// What a channel is to become.
enum Task {
    /// A shell, a command, or a prompt.
    Words(Option<Vec<u8>>),
    /// File transfer.
    Files,
    /// Words of refusal.
    Refusal(String),
}

impl Server {
    /// A server for one engineer, whose key id goes to `let_in` once he is inside.
    pub(super) fn new(context: Arc<Context>, let_in: mpsc::Sender<String>) -> Self {
        Self { context, let_in, channels: HashMap::new(), connections: 0 }
    }

    fn scope(&self) -> Scope {
        self.context.settings.grant.scope
    }

    /// Takes in a channel, where there is room for one more.
    fn hold(&mut self, channel: Channel<Msg>) -> Option<ChannelId> {
        self.channels.retain(|_, held| !held.closed.is_cancelled());
        if self.channels.len() >= MOST_CHANNELS {
            self.context.refuse(&format!("a channel beyond {MOST_CHANNELS}"));
            return None;
        }
        // The half that reads is dropped: it would bring the whole connection to a halt when nobody reads it.
        let (_, write) = channel.split();
        let id = write.id();
        let (signals, theirs) = mpsc::channel(WAITING_SIGNALS);
        let held = Held {
            input: Queue::default(),
            closed: self.context.over.child_token(),
            size: watch::Sender::new(USUAL_SIZE),
            signals,
            terminal: None,
            waiting: Some(Waiting { write, signals: theirs }),
        };
        self.channels.insert(id, held);
        Some(id)
    }

    /// What the task of a channel needs; it can be had once.
    fn serve(&mut self, id: ChannelId, session: &Session) -> Option<Served> {
        let held = self.channels.get_mut(&id)?;
        let Waiting { write, signals } = held.waiting.take()?;
        Some(Served {
            context: Arc::clone(&self.context),
            write,
            handle: session.handle(),
            input: held.input.clone(),
            terminal: held.terminal.clone(),
            size: held.size.subscribe(),
            signals,
            closed: held.closed.clone(),
        })
    }

    fn start(&mut self, id: ChannelId, task: Task, session: &mut Session) -> Result<(), russh::Error> {
        let Some(served) = self.serve(id, session) else {
            self.context.refuse("a second command in one channel");
            return session.channel_failure(id);
        };
        session.channel_success(id)?;
        let scope = self.scope();
        let closed = served.closed.clone();
        self.context.tasks.spawn(async move {
            match (task, scope) {
                (Task::Words(command), Scope::Diagnose) => prompt::serve(served, command).await,
                (Task::Words(command), Scope::Shell) => shell::serve(served, command).await,
                (Task::Files, Scope::Files) => files::serve(served).await,
                (Task::Words(_), Scope::Files) => served.answer(Lane::Error, ONLY_FILES, 1).await,
                (Task::Words(_), Scope::Forward(port)) => served.answer(Lane::Error, &only_forward(port), 1).await,
                (Task::Files, _) => served.answer(Lane::Error, shell::NO_FILES, 1).await,
                (Task::Refusal(words), _) => served.answer(Lane::Error, &words, 1).await,
            }
            closed.cancel();
        });
        Ok(())
    }

    fn words(&mut self, id: ChannelId, command: Option<Vec<u8>>, session: &mut Session) -> Result<(), russh::Error> {
        if matches!(self.scope(), Scope::Files | Scope::Forward(_)) {
            let words = command.as_deref().map_or("a shell".into(), String::from_utf8_lossy);
            self.context.refuse(&format!("{} (scope {})", shortened(&words), self.scope()));
        }
        self.start(id, Task::Words(command), session)
    }

    /// A request that is never granted, whatever the scope.
    fn never(&mut self, what: &str) {
        self.context.refuse(&shortened(what));
    }
}

const ONLY_FILES: &str = "demarc: this grant is for file transfer only (scope files): use sftp or scp.\n";

fn only_forward(port: NonZeroU16) -> String {
    format!(
        "demarc: this grant is for port {port} only (scope forward={port}): use `ssh -N -L 8443:localhost:{port} …`.\n"
    )
}

/// The size that a client said, within reason.
fn size(columns: u32, rows: u32) -> Size {
    let within = |length: u32, usual: u16| match length.min(LARGEST) {
        0 => usual,
        length => u16::try_from(length).unwrap_or(usual),
    };
    Size { columns: within(columns, USUAL_SIZE.columns), rows: within(rows, USUAL_SIZE.rows) }
}

/// A value of `TERM` that is a plain word; else one that every program knows.
fn plain_term(term: &str) -> String {
    let is_plain = (1..=LONGEST_TERM).contains(&term.len())
        && term.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-+._".contains(&byte))
        && !term.starts_with(['.', '-']);
    if is_plain { term.to_owned() } else { "vt100".to_owned() }
}

impl Handler for Server {
    type Error = russh::Error;

    async fn auth_publickey_offered(&mut self, _: &str, offer: PublicKeyOffer<'_>) -> Result<Auth, russh::Error> {
        // A certificate is not told from a bare key here: that comes once the signature was checked.
        Ok(if certificate::is_taken(offer.algorithm) { Auth::Accept } else { Auth::reject() })
    }

    async fn auth_publickey(&mut self, _: &str, key: VerifiedPublicKey<'_>) -> Result<Auth, russh::Error> {
        let kind = key.algorithm.to_string();
        self.context.refuse(&format!("a bare key ({kind}), without a certificate"));
        Ok(Auth::reject())
    }

    async fn auth_openssh_certificate(&mut self, _: &str, shown: &Certificate) -> Result<Auth, russh::Error> {
        let settings = &self.context.settings;
        let terms = Terms { grant: &settings.grant, authorities: &settings.authorities };
        let (who, serial) = (shortened(shown.key_id()), shown.serial());
        if let Err(why) = certificate::check(shown, &terms, crate::session::clock()) {
            self.context.refuse(&format!("the certificate of {who} (serial {serial}): {why}"));
            return Ok(Auth::reject());
        }
        let fingerprint = certificate::fingerprint(shown);
        self.context.recorder.mark(&format!("let in: {who} (certificate {serial}, key {fingerprint})"));
        // Nobody is inside before it stands in the recording.
        if self.context.recorder.durable().await.is_err() {
            return Ok(Auth::reject());
        }
        self.context.tally.let_in(shown.key_id());
        let _ = self.let_in.try_send(shown.key_id().to_owned());
        Ok(Auth::Accept)
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        match self.hold(channel) {
            Some(_) => reply.accept().await,
            None => reply.reject(ChannelOpenFailure::ResourceShortage).await,
        }
        Ok(())
    }

    async fn channel_open_direct_tcpip(
        &mut self,
        channel: Channel<Msg>,
        host: &str,
        port: u32,
        _: &str,
        _: u32,
        reply: ChannelOpenHandle,
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        let granted = match self.scope() {
            Scope::Forward(granted) => forward::is_granted(granted, host, port),
            _ => None,
        };
        let Some(address) = granted else {
            self.context.refuse(&format!("a forward to {}:{port} (scope {})", shortened(host), self.scope()));
            reply.reject(ChannelOpenFailure::AdministrativelyProhibited).await;
            return Ok(());
        };
        let Some(id) = self.hold(channel) else {
            reply.reject(ChannelOpenFailure::ResourceShortage).await;
            return Ok(());
        };
        let Some(served) = self.serve(id, session) else { return Ok(()) };
        self.connections += 1;
        let (number, host) = (self.connections, host.to_owned());
        let context = Arc::clone(&self.context);
        self.context.tasks.spawn(async move {
            let closed = served.closed.clone();
            context.recorder.mark(&format!("forward {number} to {address}"));
            let connected = tokio::select! {
                connected = forward::connect(address, &host) => connected,
                () = closed.cancelled() => return,
            };
            match connected {
                // The recording has the connection before the engineer has it.
                Ok(port) if context.recorder.durable().await.is_ok() => {
                    context.tally.forward();
                    reply.accept().await;
                    forward::serve(served, port, number).await;
                }
                Ok(_) => {}
                Err(error) => {
                    context.recorder.mark(&format!("forward {number} failed: {error}"));
                    reply.reject(ChannelOpenFailure::ConnectFailed).await;
                }
            }
            closed.cancel();
        });
        Ok(())
    }

    async fn channel_open_x11(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        _: u32,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        self.never("an X11 channel");
        reply.reject(ChannelOpenFailure::AdministrativelyProhibited).await;
        Ok(())
    }

    async fn channel_open_forwarded_tcpip(
        &mut self,
        _: Channel<Msg>,
        host: &str,
        port: u32,
        _: &str,
        _: u32,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        self.never(&format!("a forwarded connection from {host}:{port}"));
        reply.reject(ChannelOpenFailure::AdministrativelyProhibited).await;
        Ok(())
    }

    async fn channel_open_direct_streamlocal(
        &mut self,
        _: Channel<Msg>,
        path: &str,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        self.never(&format!("a forward to the socket {path}"));
        reply.reject(ChannelOpenFailure::AdministrativelyProhibited).await;
        Ok(())
    }

    async fn data(&mut self, id: ChannelId, data: &[u8], session: &mut Session) -> Result<(), russh::Error> {
        let Some(held) = self.channels.get(&id) else { return Ok(()) };
        // What comes before any request has nowhere to go.
        if held.waiting.is_some() {
            return Ok(());
        }
        self.context.tally.came(data.len());
        if held.input.feed(data).await == Err(NotTaken::Stuck) {
            self.context.recorder.mark("a channel was closed: what it leads to took nothing for too long");
            held.closed.cancel();
            session.close(id)?;
        }
        Ok(())
    }

    async fn channel_eof(&mut self, id: ChannelId, _: &mut Session) -> Result<(), russh::Error> {
        if let Some(held) = self.channels.get(&id) {
            held.input.end();
        }
        Ok(())
    }

    async fn channel_close(&mut self, id: ChannelId, _: &mut Session) -> Result<(), russh::Error> {
        if let Some(held) = self.channels.remove(&id) {
            held.closed.cancel();
        }
        Ok(())
    }

    async fn pty_request(
        &mut self,
        id: ChannelId,
        term: &str,
        columns: u32,
        rows: u32,
        _: u32,
        _: u32,
        modes: &[(Pty, u32)],
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        let has_terminals = matches!(self.scope(), Scope::Shell | Scope::Diagnose);
        let Some(held) = self.channels.get_mut(&id).filter(|held| has_terminals && held.waiting.is_some()) else {
            // Every client asks for one, even where only a port or files are wanted: that is no try to break out.
            return session.channel_failure(id);
        };
        held.terminal = Some(Terminal { name: plain_term(term), modes: modes.to_vec() });
        self.resize(id, size(columns, rows));
        session.channel_success(id)
    }

    async fn window_change_request(
        &mut self,
        id: ChannelId,
        columns: u32,
        rows: u32,
        _: u32,
        _: u32,
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        self.resize(id, size(columns, rows));
        session.channel_success(id)
    }

    async fn shell_request(&mut self, id: ChannelId, session: &mut Session) -> Result<(), russh::Error> {
        self.words(id, None, session)
    }

    async fn exec_request(&mut self, id: ChannelId, data: &[u8], session: &mut Session) -> Result<(), russh::Error> {
        self.words(id, Some(data.to_vec()), session)
    }

    async fn subsystem_request(
        &mut self,
        id: ChannelId,
        name: &str,
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        match (name, self.scope()) {
            ("sftp", Scope::Files) => {}
            ("sftp", scope) => self.context.refuse(&format!("file transfer (scope {scope})")),
            (name, _) => {
                let name = shortened(name);
                self.context.refuse(&format!("the subsystem {name}"));
                let words = format!("demarc: there is no subsystem {name} here.\n");
                return self.start(id, Task::Refusal(words), session);
            }
        }
        self.start(id, Task::Files, session)
    }

    async fn signal(&mut self, id: ChannelId, signal: Sig, _: &mut Session) -> Result<(), russh::Error> {
        if let Some(held) = self.channels.get(&id)
            && let Some(number) = signal_number(&signal)
        {
            self.context.recorder.mark(&format!("signal {signal:?}"));
            // Who sends so many signals at once can spare one.
            let _ = held.signals.try_send(number);
        }
        Ok(())
    }

    async fn x11_request(
        &mut self,
        id: ChannelId,
        _: bool,
        _: &str,
        _: &str,
        _: u32,
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        self.never("X11 forwarding");
        session.channel_failure(id)
    }

    async fn env_request(
        &mut self,
        id: ChannelId,
        _: &str,
        _: &str,
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        // Most clients send their language unasked; nothing of it is taken over, and nothing is to be noted.
        session.channel_failure(id)
    }

    async fn agent_request(&mut self, _: ChannelId, _: &mut Session) -> Result<bool, russh::Error> {
        self.never("agent forwarding");
        Ok(false)
    }

    async fn tcpip_forward(&mut self, address: &str, port: &mut u32, _: &mut Session) -> Result<bool, russh::Error> {
        self.never(&format!("a listener at {address}:{port}"));
        Ok(false)
    }

    async fn cancel_tcpip_forward(&mut self, _: &str, _: u32, _: &mut Session) -> Result<bool, russh::Error> {
        Ok(false)
    }

    async fn streamlocal_forward(&mut self, path: &str, _: &mut Session) -> Result<bool, russh::Error> {
        self.never(&format!("a listener at the socket {path}"));
        Ok(false)
    }

    async fn cancel_streamlocal_forward(&mut self, _: &str, _: &mut Session) -> Result<bool, russh::Error> {
        Ok(false)
    }
}

impl Server {
    fn resize(&mut self, id: ChannelId, size: Size) {
        if let Some(held) = self.channels.get(&id) {
            let changed = held.size.send_replace(size) != size;
            if held.terminal.is_some() && (changed || held.waiting.is_some()) {
                let words = format!("{}x{}", size.columns, size.rows);
                self.context.recorder.note(Code::Resize, words.as_bytes());
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.channels.values().for_each(|held| held.closed.cancel());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_client_says_of_its_terminal_is_kept_within_reason() {
        assert_eq!(size(0, 0), USUAL_SIZE);
        assert_eq!(size(u32::MAX, 3), Size { columns: 1000, rows: 3 });
        assert_eq!(plain_term("xterm-256color"), "xterm-256color");
        for odd in ["", "../../etc", "-x", "a b", "x\n", "()", &"x".repeat(33)] {
            assert_eq!(plain_term(odd), "vt100");
        }
    }
}
