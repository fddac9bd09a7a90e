//! What the keeper of recordings gets.

use super::{Access, Grant, Ground, LINK_KEY, Profile, Subject, devices, forbidden_to_roles, profile};
use crate::{
    recordings::trees::{self, Tree},
    settings::{Settings, Source},
    state::StateDir,
};

/// The keeper's profile: it may list the trees of recordings and remove files from them. It is granted nothing above
/// them, where a right to read would be one to read recordings.
pub fn keeper(ground: &Ground, settings: &Settings, trees: &[Tree]) -> Profile {
    let state = StateDir::new(&settings.state_dir);
    let mut grants = grants_for(&state, trees);
    grants.extend(devices());
    let mut profile = profile(Subject::Keeper, ground, settings, grants, Vec::new());
    profile.forbidden = forbidden_to_roles(ground, &state);
    profile.forbidden.extend([state.store(), state.ledger(), state.link().join(LINK_KEY), state.host_key()]);
    profile.forbidden.extend(ground.config.clone());
    profile.forbidden.extend(settings.pbx.source.iter().filter_map(Source::some_file));
    profile
}

/// What the supervisor holds so that it can hand it on to the keeper.
pub(super) fn supervisors(settings: &Settings) -> Vec<Grant> {
    let (trees, _) = trees::find(settings);
    grants_for(&StateDir::new(&settings.state_dir), &trees)
}

fn grants_for(state: &StateDir, trees: &[Tree]) -> Vec<Grant> {
    let own = Grant::new(state.recordings(), Access::Own);
    [own].into_iter().chain(trees.iter().map(|tree| Grant::new(&tree.real, Access::Prune))).collect()
}

/// Whether a process that was granted this can hand a tree on to the keeper.
pub fn holds(granted: &[Grant], tree: &Tree) -> bool {
    let may_prune = |grant: &&Grant| grant.access == Access::Prune;
    granted.iter().filter(may_prune).any(|grant| tree.real.starts_with(&grant.path))
}
