//! Who does the work: the keeper of the running daemon, or one that this command starts.

use std::{
    io,
    os::{
        fd::AsRawFd,
        unix::{net::UnixStream, process::CommandExt},
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, bail};

use crate::{
    confine::{
        canary,
        layout::{self, Ground},
    },
    control::{Answer, Request, client},
    ipc::{
        ROLE_FD,
        channel::{recv_blocking, send_blocking},
    },
    recordings::{By, FromKeeper, Job, JobState, NO_TREES, Outcome, Progress, RecordingsStatus, Work, trees},
    settings::{Settings, load},
    state::StateDir,
};

/// How often a running daemon is asked how far it is.
const PAUSE: Duration = Duration::from_millis(100);

/// Where a keeper comes from.
pub(super) enum Worker {
    /// The running daemon.
    Daemon(StateDir),
    /// This command: no daemon runs.
    Own { settings: Box<Settings>, config: PathBuf, ground: Box<Ground> },
}

impl Worker {
    /// The daemon if one runs. This process can open nothing but the state directory from then on; without a daemon it has
    /// to be able to start keepers, which confine themselves.
    pub(super) fn find(config: &Path, settings: &Settings) -> anyhow::Result<Self> {
        let state = StateDir::new(&settings.state_dir);
        state.become_owner()?;
        match client::ask(&state.control_socket(), Request::Recordings) {
            Err(client::AskError::NotRunning) => {}
            Err(error) => return Err(error.into()),
            Ok(_) => {
                super::super::confine_command(settings)?;
                return Ok(Self::Daemon(state));
            }
        }
        state.create()?;
        canary::plant(&state)?;
        let config = std::path::absolute(config)?;
        let ground = Box::new(Ground::survey(settings, &config)?);
        Ok(Self::Own { settings: Box::new(settings.clone()), config, ground })
    }

    /// Has it done, and tells meanwhile how far it is.
    ///
    /// # Errors
    /// When it cannot be done.
    pub(super) fn work(&self, work: &Work, show: &mut dyn FnMut(&Progress)) -> anyhow::Result<Outcome> {
        match self {
            Self::Daemon(state) => by_daemon(state, work, show),
            Self::Own { settings, config, ground } => {
                // A hold may have been added while somebody was asked whether he means it.
                let recordings = load::load(config)?.settings.recordings;
                by_own(&Settings { recordings, ..(**settings).clone() }, ground, work, show)
            }
        }
    }

    /// How everything is, now that it was counted.
    pub(super) fn status(&self, outcome: Outcome) -> anyhow::Result<RecordingsStatus> {
        match self {
            Self::Daemon(state) => match client::ask(&state.control_socket(), Request::Recordings)? {
                Answer::Recordings(status) => Ok(*status),
                _ => bail!(OTHER_ANSWER),
            },
            Self::Own { settings, .. } => {
                let (_, mut troubles) = trees::find(settings);
                troubles.extend(outcome.troubles);
                Ok(RecordingsStatus {
                    looked: Some(outcome.looked),
                    trees: outcome.trees,
                    retention: settings.recordings.retention.keeps().map(|time| time.as_secs()),
                    voicemail: settings.recordings.voicemail,
                    last_pruning: outcome.last_pruning,
                    next_pruning: None,
                    running: None,
                    troubles,
                })
            }
        }
    }
}

const OTHER_ANSWER: &str = "the running demarc gives another answer; restart it after an upgrade";

fn by_daemon(state: &StateDir, work: &Work, show: &mut dyn FnMut(&Progress)) -> anyhow::Result<Outcome> {
    let socket = state.control_socket();
    let job = match client::ask(&socket, Request::Keep { work: work.clone() })? {
        Answer::Keeping { job } => job,
        Answer::Refused { reason } => bail!(reason),
        _ => bail!(OTHER_ANSWER),
    };
    loop {
        match client::ask(&socket, Request::Kept { job })? {
            Answer::Kept(job) => match *job {
                JobState::Waiting => {}
                JobState::Running(progress) => show(&progress),
                JobState::Done(outcome) => return Ok(*outcome),
                JobState::Failed { reason } => bail!(reason),
            },
            Answer::Refused { reason } => bail!(reason),
            _ => bail!(OTHER_ANSWER),
        }
        std::thread::sleep(PAUSE);
    }
}

fn by_own(
    settings: &Settings,
    ground: &Ground,
    work: &Work,
    show: &mut dyn FnMut(&Progress),
) -> anyhow::Result<Outcome> {
    let (trees, _) = trees::find(settings);
    if trees.is_empty() {
        bail!(NO_TREES);
    }
    let profile = layout::keeper(ground, settings, &trees);
    let job = Job::new(work, By::Command, settings, trees).map_err(anyhow::Error::msg)?;
    let (mut ours, theirs) = UnixStream::pair()?;
    let mut keeper = start(theirs).context("the keeper of recordings cannot be started")?;
    send_blocking(&mut ours, &profile)?;
    let done = converse(&mut ours, &job, show);
    drop(ours);
    let ended = keeper.wait()?;
    let outcome = done.with_context(|| format!("the keeper of recordings ended early ({ended})"))?;
    if !ended.success() {
        bail!("the keeper of recordings could open a recording; see `demarc doctor`");
    }
    outcome.map_err(anyhow::Error::msg)
}

fn converse(
    keeper: &mut UnixStream,
    job: &Job,
    show: &mut dyn FnMut(&Progress),
) -> anyhow::Result<Result<Outcome, String>> {
    loop {
        match recv_blocking(keeper)? {
            FromKeeper::Ready(_) => send_blocking(keeper, job)?,
            FromKeeper::Progress(progress) => show(&progress),
            FromKeeper::Done(outcome) => return Ok(Ok(*outcome)),
            FromKeeper::Failed(why) => return Ok(Err(why)),
        }
    }
}

/// Starts a process that becomes the keeper, and ends with this one.
fn start(socket: UnixStream) -> io::Result<Child> {
    let mut command = Command::new("/proc/self/exe");
    command.arg0("demarc").args(["role", "keeper"]).env_clear().stdin(Stdio::null()).stdout(Stdio::null());
    command.env(crate::log::VARIABLE, std::env::var_os(crate::log::VARIABLE).unwrap_or_else(|| "warn".into()));
    // SAFETY: between fork and exec this calls only what a signal handler may call, and allocates nothing.
    unsafe {
        command.pre_exec(move || {
            let socket = socket.as_raw_fd();
            let kept =
                if socket == ROLE_FD { libc::fcntl(socket, libc::F_SETFD, 0) } else { libc::dup2(socket, ROLE_FD) };
            if kept == -1 || libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) == -1 {
                return Err(io::Error::last_os_error());
            }
            Ok(())
        });
    }
    let child = command.spawn();
    // Our copy of the keeper's end goes with the command, so that its end is seen here.
    drop(command);
    child
}
