//! What the owner's program gets that is told of alerts.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{Access, Grant, Ground, LINK_KEY, Profile, Subject, ZONES, devices, forbidden_to_roles, profile, resolver};
use crate::{
    settings::{Settings, Source},
    state::StateDir,
};

/// Where the system's log listens.
const LOG: &str = "/run/systemd/journal";

/// The profile of the messenger and of the program: programs and libraries of the system, what everybody may read in `/etc`,
/// and the network. Nothing may be written, and nothing of ours, of the PBX's or of recordings be opened.
pub fn messenger(ground: &Ground, settings: &Settings) -> Profile {
    let state = StateDir::new(&settings.state_dir);
    let mut profile = profile(Subject::Messenger, ground, settings, grants(ground, settings), Vec::new());
    profile.forbidden = forbidden_to_roles(ground, &state);
    profile.forbidden.extend([state.store(), state.ledger(), state.link().join(LINK_KEY), state.host_key()]);
    profile.forbidden.extend(ground.config.clone());
    profile.forbidden.extend(settings.pbx.source.iter().filter_map(Source::some_file));
    profile
}

/// What the supervisor holds so that it can hand it on.
pub(super) fn supervisors(ground: &Ground, settings: &Settings) -> Vec<Grant> {
    if settings.health.alert_command.is_some() { grants(ground, settings) } else { Vec::new() }
}

fn grants(ground: &Ground, settings: &Settings) -> Vec<Grant> {
    let mut grants: Vec<Grant> = devices().into();
    grants.extend(ground.system.iter().cloned());
    grants.extend(ground.etc.iter().cloned());
    grants.extend(resolver(false));
    grants.extend(ZONES.iter().map(|path| Grant::new(path, Access::Read)));
    grants.push(Grant::new(LOG, Access::Connect));
    if let Some(program) = settings.health.alert_command.as_deref().and_then(|path| fs::canonicalize(path).ok()) {
        grants.extend(interpreter(&program).map(|interpreter| Grant::new(interpreter, Access::Execute)));
        grants.push(Grant::new(program, Access::Execute));
    }
    grants
}

/// The program that runs a script.
pub(super) fn interpreter(program: &Path) -> Option<PathBuf> {
    use std::io::Read;
    let mut head = [0; 256];
    let length = fs::File::open(program).ok()?.read(&mut head).ok()?;
    let line = std::str::from_utf8(head[..length].strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?).ok()?;
    fs::canonicalize(line.split_whitespace().next()?).ok()
}
