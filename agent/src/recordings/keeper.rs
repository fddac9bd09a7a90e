//! The keeper: a process that does one job on the trees of recordings, and ends.

use std::{
    io,
    os::{fd::AsFd, unix::net::UnixStream},
    process::ExitCode,
    time::{Duration, Instant, SystemTime},
};

use super::{
    FromKeeper, Job, Old, Outcome, Progress, Sum, ToKeeper,
    disk::{self, Share},
    files::{Desk, List, Pruning},
    round::Round,
    walk,
};
use crate::{
    confine::Profile,
    ipc::{
        Confined, EXIT_NOT_CONFINED,
        channel::{recv_blocking, send_blocking},
    },
    state::StateDir,
};

/// How often the progress is told.
const TELL_EVERY: Duration = Duration::from_millis(200);
/// How often a pruning that goes on is noted: what is cut short is known to this.
const NOTE_EVERY: Duration = Duration::from_secs(5);
/// The class of processes that get the disk when nobody else wants it, as `ioprio_set` takes it.
const IDLE_CLASS: libc::c_int = 3 << 13;

/// Does one job for whoever is at the other end.
///
/// # Errors
/// When the other end is gone.
pub fn serve(socket: &mut UnixStream, profile: &Profile, confined: Confined) -> anyhow::Result<ExitCode> {
    step_back();
    send_blocking(socket, &FromKeeper::Ready(confined))?;
    let job: ToKeeper = recv_blocking(socket)?;
    let mut told = Instant::now();
    let done = work(&job, clock(), &mut |progress| {
        if told.elapsed() >= TELL_EVERY {
            told = Instant::now();
            // Whoever asked may be gone; the job is done all the same.
            let _ = send_blocking(socket, &FromKeeper::Progress(*progress));
        }
    });
    let mut is_shut = true;
    let answer = match done {
        Ok(outcome) => {
            is_shut = outcome.trees.iter().all(|tree| tree.cannot_open != Some(false));
            FromKeeper::Done(Box::new(outcome))
        }
        Err(error) => FromKeeper::Failed(format!("{error:#}")),
    };
    send_blocking(socket, &answer)?;
    if !is_shut && !profile.best_effort {
        tracing::error!("the keeper is not confined: it could open a recording");
        return Ok(ExitCode::from(EXIT_NOT_CONFINED));
    }
    Ok(ExitCode::SUCCESS)
}

/// Calls come first: this process gets processor and disk when nobody else wants them.
fn step_back() {
    // SAFETY: both calls take numbers, and mean this process. Where they fail, the job is done faster.
    unsafe {
        libc::setpriority(libc::PRIO_PROCESS, 0, 19);
        libc::syscall(libc::SYS_ioprio_set, 1, 0, IDLE_CLASS);
    }
}

fn clock() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Does the job.
fn work(job: &Job, now: u64, tell: &mut dyn FnMut(&Progress)) -> anyhow::Result<Outcome> {
    let state = StateDir::new(&job.state_dir);
    let Some(desk) = Desk::take(&state)? else {
        anyhow::bail!("recordings are being counted or removed already; try again in a while");
    };
    let list = match &job.old {
        Some(old) if !old.remove => Some(List::begin(&state.recordings_list(), old.names)?),
        _ => None,
    };
    let mut pruning = job.old.as_ref().filter(|old| old.remove).map(|old| begun(old, now));
    // What cannot be noted is not done.
    pruning.iter().try_for_each(|pruning| desk.note_pruning(pruning))?;
    let mut noted = Instant::now();
    let mut tell_and_note = |progress: &Progress| {
        tell(progress);
        if let Some(pruning) = &mut pruning
            && noted.elapsed() >= NOTE_EVERY
        {
            noted = Instant::now();
            (pruning.files, pruning.bytes) = (progress.removed.files, progress.removed.bytes);
            // It is noted once more at the end.
            let _ = desk.note_pruning(pruning);
        }
    };
    let outcome = Outcome { looked: now, older_than: job.old.as_ref().map(|old| old.older_than), ..Outcome::default() };
    let progress = Progress::default();
    let mut round = Round { job, now, outcome, list, progress, tell: &mut tell_and_note };
    let trees = look_at_all(job, &mut round);
    let Round { mut outcome, list, .. } = round;
    outcome.trees = trees;
    if let Some(list) = list {
        outcome.listed = list.end()?;
    }
    if let Some(mut pruning) = pruning {
        let Sum { files, bytes } = outcome.removed;
        pruning = Pruning { ended: Some(clock().max(now)), files, bytes, failed: outcome.failed, ..pruning };
        desk.note_pruning(&pruning)?;
        tracing::info!(
            "{files} recordings were removed ({bytes} bytes) that had not changed for {} days; {} could not be removed",
            pruning.older_than / disk::DAY,
            pruning.failed
        );
    }
    outcome.last_pruning = desk.last_pruning()?;
    desk.note_day(now, &outcome.trees)?;
    Ok(outcome)
}

fn begun(old: &Old, now: u64) -> Pruning {
    Pruning { began: now, ended: None, by: old.by, older_than: old.older_than, files: 0, bytes: 0, failed: 0 }
}

fn look_at_all(job: &Job, round: &mut Round<'_>) -> Vec<super::TreeStatus> {
    let identities: Vec<Option<(u64, u64)>> = job.trees.iter().map(|tree| identity(&tree.real).ok()).collect();
    let mut seen = Vec::new();
    for (tree, own) in job.trees.iter().zip(&identities) {
        let others: Vec<_> = identities.iter().flatten().copied().filter(|one| Some(*one) != *own).collect();
        seen.push(round.tree(tree, &others));
    }
    let shares: Vec<Share> = seen.iter().filter_map(|(_, share)| *share).collect();
    let forecast = |(mut status, share): (super::TreeStatus, Option<Share>)| {
        status.full_in_days = share.and_then(|share| disk::full_in_days(share.device, &shares, job.retention));
        status
    };
    seen.into_iter().map(forecast).collect()
}

fn identity(tree: &std::path::Path) -> io::Result<(u64, u64)> {
    walk::identity(walk::open(tree)?.as_fd())
}

#[cfg(test)]
mod tests;
