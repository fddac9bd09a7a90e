//! The worker of one support session: speaks SSH with the engineer, records everything, and can reach nothing else.
//!
//! One process serves one SSH connection. What it is connected to comes over an inherited descriptor, what it records goes
//! to another; it opens neither. The order is always the same: what happens is noted, what is shown is on the disk first,
//! and only then does a byte of it go to the engineer.
//!
//! * [`certificate`] decides who is let in, [`server`] what each request becomes;
//! * [`shell`], [`prompt`], [`forward`] and [`files`] serve one channel each, by the grant's scope;
//! * [`recorder`] writes, [`queue`] keeps what waits within bounds, [`scratch`] keeps files in their place, [`context`] is what they share.

pub mod certificate;
mod channel;
mod child;
mod config;
mod context;
pub mod diagnose;
mod files;
mod forward;
pub(crate) mod processes;
mod prompt;
mod queue;
mod recorder;
mod scratch;
mod server;
mod shell;
mod terminal;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod trials;

use std::{
    fs::File,
    future::pending,
    net::Shutdown,
    os::unix::net::UnixStream,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use russh::{Disconnect, Limits, server::Handle};
use tokio::{
    sync::{broadcast, mpsc},
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    ipc::{
        FromSession, SessionSettings, ToSession,
        channel::{Receiver, SessionChannel},
    },
    support::{End, SessionReport, boot},
};
use context::{Context, Tally};
use recorder::{Ending, Recorder};
use server::{Server, USUAL_SIZE};

/// How long whoever connects has to prove who he is.
const TO_LET_IN: Duration = Duration::from_secs(30);
/// When the engineer is told that the time is nearly over: seconds left.
const WARNINGS: [u64; 2] = [300, 60];
/// How long the last words may take on their way to the engineer.
const LAST_WORDS: Duration = Duration::from_millis(100);
/// The clock is looked at so often: a timer of this process does not count the time that the machine sleeps.
const LOOK: Duration = Duration::from_secs(1);
/// How often orphans that have died are taken note of.
const BURIAL: Duration = Duration::from_secs(20);

/// Speaks with the engineer until either side, the owner or the clock ends it.
///
/// # Errors
/// When the session cannot begin.
pub async fn run(channel: SessionChannel, ssh: UnixStream, recording: File) -> anyhow::Result<()> {
    let (mut sender, mut receiver) = channel.split();
    let Some(ToSession::Begin(settings)) = receiver.recv().await? else {
        anyhow::bail!("a session begins with its settings");
    };
    // Orphans of what the session starts become children of this process, which ends them.
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    let (let_in, mut engineers) = mpsc::channel(1);
    let confined = settings.confined.clone();
    let limits = Limits::new(config::REKEY_BYTES, config::REKEY_BYTES, config::REKEY_AFTER);
    let serving = serve(*settings, limits, receiver, ssh, recording, let_in);
    tokio::pin!(serving);
    let report = loop {
        tokio::select! {
            report = &mut serving => break report?,
            Some(engineer) = engineers.recv() => sender.send(&FromSession::LetIn { engineer }).await?,
            () = sleep(BURIAL) => processes::bury(),
        }
    };
    // Its tasks have ended what they started; this is for what hid from them.
    processes::end_domain(&confined);
    processes::end_all();
    while let Ok(engineer) = engineers.try_recv() {
        sender.send(&FromSession::LetIn { engineer }).await?;
    }
    Ok(sender.send(&FromSession::Ended(Box::new(report))).await?)
}

/// Serves one connection to its end; the recording is complete when this returns.
async fn serve(
    settings: SessionSettings,
    limits: Limits,
    orders: Receiver<ToSession>,
    ssh: UnixStream,
    recording: File,
    let_in: mpsc::Sender<String>,
) -> anyhow::Result<SessionReport> {
    let began = Instant::now();
    let config = Arc::new(config::server(&settings, limits)?);
    let Ok((recorder, ending)) = Recorder::begin(recording, &header(&settings)) else {
        return Ok(Tally::default().report(&settings, End::NotRecorded, 0));
    };
    let context = Arc::new(Context {
        settings,
        recorder,
        tally: Tally::default(),
        notices: broadcast::Sender::new(4),
        tasks: TaskTracker::new(),
        over: CancellationToken::new(),
    });
    let hung_up = ssh.try_clone()?;
    ssh.set_nonblocking(true)?;
    let stream = tokio::net::UnixStream::from_std(ssh)?;
    let server = Server::new(Arc::clone(&context), let_in);
    let (handle, mut handles) = mpsc::channel(1);
    let talking = async {
        // Whether the connection ended in good order makes no difference here.
        if let Ok(session) = russh::server::run_stream(config, stream, server).await {
            let _ = handle.try_send(session.handle());
            let _ = session.await;
        }
    };
    let end = tokio::select! {
        () = talking => if context.tally.engineer().is_some() { End::Closed } else { End::NotLetIn },
        end = ordered(orders) => end,
        () = out_of_time(&context) => End::Expired,
        () = not_let_in(&context) => End::NotLetIn,
        () = context.recorder.failed() => End::NotRecorded,
    };
    finish(&context, ending, handles.try_recv().ok(), end).await;
    // Whatever task of the SSH library still holds the connection finds it shut.
    let _ = hung_up.shutdown(Shutdown::Both);
    Ok(context.tally.report(&context.settings, end_of(end, &context), began.elapsed().as_secs()))
}

/// Tells the engineer, ends everything that runs, and writes the last line.
async fn finish(context: &Context, ending: Ending, handle: Option<Handle>, end: End) {
    let words = farewell(end);
    if let Some(handle) = handle {
        if context.notices.send(words.into()).is_ok() {
            // Terminals get to show it: it is recorded like everything else.
            sleep(LAST_WORDS / 2).await;
        }
        let farewell = handle.disconnect(Disconnect::ByApplication, words.to_owned(), String::new());
        let _ = timeout(LAST_WORDS, farewell).await;
    }
    context.over.cancel();
    context.tasks.close();
    let _ = timeout(LAST_WORDS, context.tasks.wait()).await;
    let last = format!("end: {}", end.in_words());
    // It waits for the disk, and nothing else is left to do.
    let _ = tokio::task::spawn_blocking(move || ending.end(&last)).await;
}

/// A session whose recording failed in its last moment was not recorded, whatever ended it.
fn end_of(end: End, context: &Context) -> End {
    if context.recorder.has_failed() { End::NotRecorded } else { end }
}

/// What the engineer is told at the end.
fn farewell(end: End) -> &'static str {
    match end {
        End::Expired => "The time that the customer granted is over. This session has ended.",
        End::Revoked => "The customer ended this session.",
        End::SwitchedOff => "The customer switched support off. This session has ended.",
        End::Stopped | End::Reboot | End::Died => "demarc is ending. This session has ended.",
        End::NotRecorded => "This session cannot be recorded any more, and has ended.",
        End::Closed => "Goodbye.",
        End::NotLetIn => "Nobody was let in.",
    }
}

/// Waits for the supervisor's order to end. A supervisor that is gone is an order too.
async fn ordered(mut orders: Receiver<ToSession>) -> End {
    loop {
        match orders.recv().await {
            Ok(Some(ToSession::End { end })) => return end,
            Ok(Some(ToSession::Begin(_))) => {}
            Ok(None) | Err(_) => return End::Stopped,
        }
    }
}

/// Returns when the grant is over by the boot clock; says so before.
async fn out_of_time(context: &Context) {
    let ends = Duration::from_millis(context.settings.ends);
    let mut warnings = WARNINGS.into_iter().peekable();
    let begun_with = ends.saturating_sub(boot::now()).as_secs();
    while warnings.next_if(|warning| *warning >= begun_with).is_some() {}
    loop {
        let left = ends.saturating_sub(boot::now());
        if left.is_zero() {
            return;
        }
        if warnings.next_if(|warning| left.as_secs() < *warning).is_some() {
            let minutes = left.as_secs().div_ceil(60);
            let unit = if minutes == 1 { "minute" } else { "minutes" };
            // Nobody may sit at a terminal.
            let _ = context.notices.send(format!("This session ends in {minutes} {unit}.").into());
        }
        sleep(left.min(LOOK)).await;
    }
}

/// Returns when nobody was let in within the time for that.
async fn not_let_in(context: &Context) {
    sleep(TO_LET_IN).await;
    if context.tally.engineer().is_some() {
        pending::<()>().await;
    }
}

/// The first line of the recording.
fn header(settings: &SessionSettings) -> serde_json::Value {
    let grant = &settings.grant;
    serde_json::json!({
        "version": 2,
        "width": USUAL_SIZE.columns,
        "height": USUAL_SIZE.rows,
        "timestamp": clock(),
        "title": format!("support session {} ({})", settings.session, grant.scope),
        "demarc": {
            "session": settings.session,
            "grant": grant.id,
            "site": grant.site,
            "scope": grant.scope,
            "ticket": grant.ticket,
            "expected": grant.engineer,
            "until": grant.until,
            "confined": settings.confined,
            "cgroup": settings.cgroup.as_deref().unwrap_or("none"),
        },
    })
}

/// Seconds since 1970 in UTC.
fn clock() -> u64 {
    SystemTime::UNIX_EPOCH.elapsed().map_or(0, |elapsed| elapsed.as_secs())
}
