//! What the archivist gets.

use std::path::PathBuf;

use super::{Access, Grant, Ground, LINK_KEY, Profile, Subject, covers, devices, forbidden_to_roles, profile};
use crate::{
    backup::places,
    settings::{Settings, Source},
    state::StateDir,
};

/// The archivist's profile: it reads the paths that a backup covers, and writes its own directory. Nothing of the link's can be
/// read by it, and it has no socket: what it makes is carried by somebody who cannot read it.
pub fn archivist(ground: &Ground, settings: &Settings, places: &[PathBuf]) -> Profile {
    let state = StateDir::new(&settings.state_dir);
    let mut grants = grants(&state, places);
    grants.extend(devices());
    let mut profile = profile(Subject::Archivist, ground, settings, grants, Vec::new());
    profile.forbidden = forbidden_to_roles(ground, &state);
    profile.forbidden.extend([state.store(), state.ledger(), state.link().join(LINK_KEY), state.host_key()]);
    profile.forbidden.extend(settings.pbx.source.iter().filter_map(Source::some_file));
    profile.forbidden.extend(ground.config.clone());
    // The owner may keep a config file, or call records, in what he has backed up; never recordings, which `places` refuses.
    profile.forbidden.retain(|path| ground.recordings.contains(path) || !covers(&profile.grants, path));
    profile
}

/// What the supervisor holds so that it can hand it on. Where backups are off, that is nothing of the phone system's.
pub(super) fn supervisors(settings: &Settings) -> Vec<Grant> {
    let places = if settings.backup.is_on() { places::find(settings).0 } else { Vec::new() };
    grants(&StateDir::new(&settings.state_dir), &places)
}

fn grants(state: &StateDir, places: &[PathBuf]) -> Vec<Grant> {
    let own = Grant::new(state.backups(), Access::Own);
    [own].into_iter().chain(places.iter().map(|place| Grant::new(place, Access::Read))).collect()
}
