//! `demarc support key` and `host-certificate`: how an engineer knows that he speaks with this site.

use std::{fs, path::Path};

use anyhow::{Context, bail};

use super::ask;
use crate::{
    control::{Answer, Request},
    settings::Settings,
    state::{Site, StateDir},
    support::keys::{check_host_certificate, write_private},
};

pub(super) fn key(state: &StateDir) -> anyhow::Result<()> {
    let Answer::Support(status) = ask(state, Request::Support)? else {
        bail!("the running demarc gives another answer");
    };
    let Some(key) = status.host_key else {
        bail!("this site has no host key: {}", status.closed.unwrap_or_default());
    };
    super::super::end_quietly_with_the_reader();
    println!("{key}");
    Ok(())
}

pub(super) fn install(file: &Path, settings: &Settings) -> anyhow::Result<()> {
    // Read as whoever asks: the file may lie in his own directory.
    let line = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let state = StateDir::new(&settings.state_dir);
    state.become_owner()?;
    let Some(site) = Site::load(&state)? else { bail!("this site is not enrolled; `demarc enroll TOKEN` comes first") };
    let public = state.host_key_public();
    let key = fs::read_to_string(&public)
        .with_context(|| format!("cannot read {}; `demarc run` makes it at its first start", public.display()))?;
    let certificate =
        check_host_certificate(&line, key.trim(), &site.site, &settings.support.authorities, super::super::now())?;
    write_private(&state.host_certificate(), format!("{}\n", line.trim()).as_bytes())?;
    let until = crate::gate::entry::utc(certificate.valid_before());
    println!("Engineers of the vendor know this site by its certificate from now on, until {until}.");
    Ok(())
}
