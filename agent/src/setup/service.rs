//! Starting the daemon: by systemd where it has a unit for it, and by nobody else.

use std::{
    os::unix::net::UnixStream,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};

use crate::{
    control::{Answer, Request, client},
    settings::load::DEFAULT_CONFIG,
    state::StateDir,
};

/// The unit that the packages bring.
const UNIT: &str = "demarc.service";
/// How long the daemon may take until it answers.
const PATIENCE: Duration = Duration::from_secs(30);

/// What became of the daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Service {
    /// It ran already and has taken up what changed; with what it says of that.
    Reloaded(Vec<String>),
    /// systemd has started it, and will at every start of the machine.
    Started,
    /// Nobody starts it here by itself.
    ByHand,
}

/// Whether systemd has a unit that runs demarc with that config file.
pub fn has_unit(config: &Path) -> bool {
    let shown = Command::new("systemctl").args(["cat", UNIT]).stdin(Stdio::null()).stderr(Stdio::null()).output();
    shown.is_ok_and(|shown| {
        let text = String::from_utf8_lossy(&shown.stdout);
        shown.status.success() && (config == Path::new(DEFAULT_CONFIG) || text.contains(&*config.to_string_lossy()))
    })
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
            return Ok(Service::Reloaded(reloaded.notices));
        }
        Ok(_) => bail!("the running demarc gives another answer; restart it (systemctl restart demarc)"),
        Err(client::AskError::NotRunning) => {}
        Err(error) => return Err(error.into()),
    }
    if !has_unit(config) {
        return Ok(Service::ByHand);
    }
    let status = Command::new("systemctl")
        .args(["enable", "--now", UNIT])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()
        .context("systemctl cannot be run")?;
    if !status.success() {
        bail!("systemd could not start demarc; journalctl -u demarc -n 20 says why");
    }
    let end = Instant::now() + PATIENCE;
    while !answers(state) {
        if Instant::now() > end {
            bail!("demarc was started and does not answer; journalctl -u demarc -n 20 says why");
        }
        thread::sleep(Duration::from_millis(100));
    }
    Ok(Service::Started)
}
