//! What `stats on|off`, `health on|off` and `tunnel on|off` have in common: the config file, the ledger, the running daemon.

use std::path::Path;

use anyhow::Context;

use crate::{
    control::{Answer, Reloaded, Request, client},
    gate::{
        entry::{By, Draft, Switch as Entered},
        ledger::Ledger,
    },
    settings::{
        Settings,
        edit::{self, Switch},
        load::{self, Loaded},
    },
    state::StateDir,
    supervisor::derive::{self, Upload, Uploads},
};

/// What came of turning a switch.
#[derive(Debug)]
pub(super) struct Turned {
    /// What the running daemon answered; `None` when none runs.
    pub(super) daemon: Option<Reloaded>,
    /// The variable of this command's environment that overrules the file.
    pub(super) overridden_by: Option<String>,
}

/// Sets the switch in the config file and makes the running daemon follow it. When this returns, the daemon has.
pub(super) fn turn(config: &Path, loaded: &Loaded, switch: Switch, on: bool) -> anyhow::Result<Turned> {
    let changed = edit::set(config, switch, on)?;
    let overridden_by = loaded.overridden_by(switch.key()).map(str::to_owned);
    let state = StateDir::new(&loaded.settings.state_dir);
    let daemon = match client::ask(&state.control_socket(), Request::Reload) {
        Ok(Answer::Reloaded(reloaded)) => {
            if let Some(error) = reloaded.error {
                anyhow::bail!("the config file was changed, but the running demarc does not take it: {error}");
            }
            Some(reloaded)
        }
        Ok(Answer::Refused { reason }) => {
            anyhow::bail!("the config file was changed, but the running demarc refuses: {reason}")
        }
        Ok(_) => {
            anyhow::bail!("the config file was changed, but the running demarc gives another answer")
        }
        Err(client::AskError::NotRunning) => None,
        Err(error) => {
            return Err(error)
                .context("the config file was changed, but the running demarc could not be told to follow it");
        }
    };
    // The collector enters what becomes of reports; the tunnel's switch is no business of its.
    if changed && overridden_by.is_none() && switch == Switch::Tunnel && state.collector().is_dir() {
        state.become_owner()?;
        let draft = Draft::consent(Entered::Tunnel, !on, on, By::Command);
        let entered = Ledger::open(&state).and_then(|mut ledger| ledger.append(super::now(), draft));
        entered.context("the switch was turned, but that could not be entered in the ledger")?;
    }
    super::end_quietly_with_the_reader();
    Ok(Turned { daemon, overridden_by })
}

impl Turned {
    /// What may leave from now on, or from the next start of a daemon in this environment.
    pub(super) fn uploads(&self, loaded: &Loaded, switch: Switch, on: bool) -> Uploads {
        if let Some(daemon) = &self.daemon {
            // The daemon's environment counts where there is a daemon, and our own tells nothing about it.
            let upload = |on, by: &String| Upload { on, decided_by: by.clone() };
            return Uploads {
                stats: upload(daemon.upload, &daemon.upload_decided_by),
                health: upload(daemon.health_upload, &daemon.health_upload_decided_by),
            };
        }
        let mut loaded = loaded.clone();
        match switch {
            _ if self.overridden_by.is_some() => {}
            Switch::Upload => loaded.settings.stats.upload = on,
            Switch::Health => loaded.settings.health.upload = on,
            Switch::Tunnel => loaded.settings.tunnel.enabled = on,
        }
        derive::uploads(&loaded, std::env::var_os("DO_NOT_TRACK").as_deref())
    }

    /// Tells what the owner has to know beyond the switch itself. What the settings alone say is no news here.
    pub(super) fn print_remarks(&self, settings: &Settings) {
        match &self.daemon {
            None => println!("demarc is not running; this counts from its next start."),
            Some(reloaded) => {
                let known = load::warnings(settings);
                let news = reloaded.notices.iter().filter(|notice| !known.contains(notice));
                news.for_each(|notice| println!("{notice}"));
            }
        }
    }
}

/// Off that something else keeps on is no success.
pub(super) fn must_be_off(switch: Switch, decided: &Upload) -> anyhow::Result<()> {
    if decided.on {
        anyhow::bail!(
            "{} is false in the config file now, but {} keeps it on; change that where demarc is started",
            switch.key(),
            decided.decided_by
        );
    }
    Ok(())
}
