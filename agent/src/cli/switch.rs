//! What `stats on|off` and `tunnel on|off` have in common: the config file, the ledger, the running daemon.

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
    supervisor::derive::{self, Upload},
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
    /// Whether uploads will be on when a daemon is started in this environment, and what decides it.
    pub(super) fn at_next_start(&self, loaded: &Loaded, on: bool) -> Upload {
        let mut loaded = loaded.clone();
        if self.overridden_by.is_none() {
            loaded.settings.stats.upload = on;
        }
        derive::upload(&loaded, std::env::var_os("DO_NOT_TRACK").as_deref())
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
