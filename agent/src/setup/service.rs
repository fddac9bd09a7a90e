//! Starting the daemon: by systemd where it has a unit for it, and by nobody else.

use std::{
    os::unix::net::UnixStream,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};

use crate::{
    control::{Answer, Request, Wait, client},
    settings::load::DEFAULT_CONFIG,
    setup::unit::{self, UNIT},
    state::StateDir,
};

/// How long the daemon may take until it answers.
const PATIENCE: Duration = Duration::from_secs(30);

/// What became of the daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Service {
    /// It ran already and has taken up what changed; with what it says of that, and what waits for a restart.
    Reloaded(Vec<String>, Vec<Wait>),
    /// systemd has started it, and will at every start of the machine.
    Started,
    /// Nobody starts it here by itself.
    ByHand,
}

/// Whether systemd has a unit that runs demarc with that config file.
pub fn has_unit(config: &Path) -> bool {
    unit_of(config).is_some()
}

/// The text of that unit.
pub fn unit_of(config: &Path) -> Option<String> {
    unit::text().filter(|text| config == Path::new(DEFAULT_CONFIG) || text.contains(&*config.to_string_lossy()))
}

/// Whether a daemon answers there.
pub fn answers(state: &StateDir) -> bool {
    UnixStream::connect(state.control_socket()).is_ok()
}

/// Has a daemon that runs take up what changed, or starts one.
///
/// # Errors
/// When it does not come up, or does not take the settings.
pub fn bring_up(config: &Path, state: &StateDir) -> anyhow::Result<Service> {
    match client::ask(&state.control_socket(), Request::Reload) {
        Ok(Answer::Reloaded(reloaded)) => {
            if let Some(error) = reloaded.error {
                bail!("the running demarc does not take the config file: {error}");
            }
            return Ok(Service::Reloaded(reloaded.notices, reloaded.waits));
        }
        Ok(_) => bail!("the running demarc gives another answer; restart it (systemctl restart demarc)"),
        Err(client::AskError::NotRunning) => {}
        Err(error) => return Err(error.into()),
    }
    if !has_unit(config) {
        return Ok(Service::ByHand);
    }
    unit::systemctl(&["enable", "--now", UNIT])
        .context("demarc was not started; journalctl -u demarc -n 20 says why")?;
    wait_for_answers(state)?;
    Ok(Service::Started)
}

/// What became of a restart that something waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Restart {
    /// systemd did it, and the daemon answers again.
    Done,
    /// It is left to the owner, and why, in words.
    Left(&'static str),
}

/// The command that restarts demarc here.
pub fn restart_line(config: &Path) -> &'static str {
    if has_unit(config) {
        "systemctl restart demarc"
    } else if Path::new("/etc/init.d/demarc").exists() {
        "/etc/init.d/demarc restart"
    } else {
        "restart demarc"
    }
}

/// Has systemd restart the daemon, where it is systemd's and nobody is cut off by that. No call is lost: the daemon goes on
/// where it stopped reading.
///
/// # Errors
/// When it does not come up again.
pub fn restart(config: &Path, state: &StateDir) -> anyhow::Result<Restart> {
    if !rustix::process::geteuid().is_root() {
        return Ok(Restart::Left("root alone can"));
    }
    let Ok(Answer::Status(status)) = client::ask(&state.control_socket(), Request::Status) else {
        return Ok(Restart::Left("it does not run"));
    };
    if !has_unit(config) || main_process() != status.supervisor.pid {
        return Ok(Restart::Left("nobody here restarts it by itself"));
    }
    if !status.support.sessions.is_empty() {
        return Ok(Restart::Left("a support session runs, which that would cut off"));
    }
    unit::systemctl(&["try-restart", UNIT]).context("demarc was not restarted; journalctl -u demarc -n 20 says why")?;
    wait_for_answers(state)?;
    Ok(Restart::Done)
}

/// The process that systemd has started for the unit.
fn main_process() -> Option<u32> {
    let shown = unit::systemctl(&["show", UNIT, "--property=MainPID"]).ok()?;
    shown.trim().strip_prefix("MainPID=")?.parse().ok()
}

fn wait_for_answers(state: &StateDir) -> anyhow::Result<()> {
    let end = Instant::now() + PATIENCE;
    while !answers(state) {
        if Instant::now() > end {
            bail!("demarc was started and does not answer; journalctl -u demarc -n 20 says why");
        }
        thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}
