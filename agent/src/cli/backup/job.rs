//! A job that the daemon does about backups, and how far it is.

use std::{io::IsTerminal, time::Duration};

use indicatif::{ProgressBar, ProgressStyle};

use crate::{
    backup::{JobState, Order, Outcome, Told},
    control::{Answer, Request, client},
    recordings::size,
    settings::load::Loaded,
    state::StateDir,
};

/// How often the daemon is asked.
const PAUSE: Duration = Duration::from_millis(100);

/// Has the daemon do it, and waits.
pub(super) fn run(loaded: &Loaded, order: Order) -> anyhow::Result<Outcome> {
    let state = StateDir::new(&loaded.settings.state_dir);
    let ask = |order| match client::ask(&state.control_socket(), Request::Backup { order }) {
        Ok(Answer::Backup(told)) => Ok(told),
        Ok(Answer::Refused { reason }) => anyhow::bail!(reason),
        Ok(_) => anyhow::bail!("the running demarc gives another answer"),
        Err(error) => Err(error.into()),
    };
    let Told::Job { job } = ask(order)? else { anyhow::bail!("the running demarc gives another answer") };
    let bar = if std::io::stderr().is_terminal() { ProgressBar::new_spinner() } else { ProgressBar::hidden() };
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
        bar.set_style(style);
    }
    loop {
        let Told::State(state) = ask(Order::Look { job })? else {
            anyhow::bail!("the running demarc gives another answer")
        };
        match state {
            JobState::Waiting => bar.set_message("waiting"),
            JobState::Packing { files, bytes } => bar.set_message(format!("{files} files read, {}", size(bytes))),
            JobState::Carrying { bytes } => bar.set_message(format!("{} between here and the hub", size(bytes))),
            JobState::Done(outcome) => {
                bar.finish_and_clear();
                return Ok(*outcome);
            }
            JobState::Failed { reason } => {
                bar.finish_and_clear();
                anyhow::bail!(reason);
            }
        }
        bar.tick();
        std::thread::sleep(PAUSE);
    }
}
