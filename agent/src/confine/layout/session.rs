//! What support sessions get, and what the supervisor must hold for them.

use std::{
    fs,
    path::{Path, PathBuf},
};

use demarc_proto::support::Scope;

use super::{
    Access, Grant, Ground, Profile, Subject, ZONES, covers, devices, forbidden_to_roles,
    messenger::interpreter,
    profile, resolver,
    trees::{self, ETC},
};
use crate::{
    settings::{Settings, Source, SupportMode},
    state::StateDir,
};

/// From this version on a process can be kept from signalling others.
pub const SCOPED_SIGNALS: u32 = 6;
/// What a shell does without before that.
const NO_SIGNALS: &str = "This kernel cannot keep signals within a session (Landlock 6, Linux 6.12): nothing in the shell may \
                          send one to another process, so that kill does not work there, and Ctrl-Z is off; Ctrl-C works.";
/// Where Asterisk keeps its settings.
const ASTERISK: &str = "/etc/asterisk";
/// What lies there and opens more than settings: private keys, and the numbers by which voicemail is listened to.
const NOT_OF_ASTERISK: &[&str] = &["keys", "voicemail.conf", "voicemail.conf.template"];
/// Where it listens for its console, by its own settings or the distribution's.
const CONSOLES: &[&str] = &["/run/asterisk", "/var/run/asterisk"];
/// Where pseudo-terminals are made, and lie.
const TERMINALS: &[&str] = &["/dev/ptmx", "/dev/pts"];

/// Whether the owner can let support in at all.
pub fn is_open(settings: &Settings) -> bool {
    settings.support.mode == SupportMode::Ask && !settings.support.authorities.is_empty()
}

/// Tells one boot of the machine from the next: grants end with it.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// What the supervisor holds so that it can hand it on to sessions: a confinement can only get narrower. `directories` are
/// those of log files, which rotation replaces.
pub(super) fn supervisors(ground: &Ground, settings: &Settings) -> Vec<Grant> {
    let state = StateDir::new(&settings.state_dir);
    let mut grants = vec![
        Grant::new(state.support(), Access::Own),
        Grant::new(state.scratch(), Access::Scratch),
        Grant::new(BOOT_ID, Access::Read),
    ];
    if !is_open(settings) {
        return grants;
    }
    grants.extend(ground.system.iter().cloned());
    grants.extend(ground.etc.iter().cloned());
    grants.extend(ground.cgroups.iter().cloned());
    // Which of its files everybody may read is looked at anew for each session.
    grants.push(Grant::new(ETC, Access::List));
    grants.push(Grant::new("/proc", Access::Read));
    grants.extend(shells_devices());
    grants.extend(TERMINALS.iter().map(|path| Grant::new(path, Access::Terminal)));
    grants.extend(asterisk(ground, settings));
    // Files there are replaced while demarc runs; which of them a session gets is looked at anew for each.
    let own = settings.support.asterisk_conf.as_deref().and_then(Path::parent);
    let directories = [Path::new(ASTERISK)].into_iter().chain(own);
    grants.extend(directories.flat_map(|directory| trees::without(directory, &ground.shut, Access::Read)));
    grants.push(Grant::new(&settings.support.shell, Access::Execute));
    grants
}

/// Whether a session of that scope must have a cgroup of its own here: programs of an engineer's that start others all the
/// time run away from whoever looks for them one by one. From [`SCOPED_SIGNALS`] on one signal reaches all of them.
pub fn needs_cgroup(ground: &Ground, scope: Scope) -> bool {
    scope == Scope::Shell && ground.landlock.is_some_and(|version| version < SCOPED_SIGNALS)
}

/// The profile of a session's worker.
///
/// # Errors
/// When this machine cannot confine the scope as it must be, in words.
pub fn session(ground: &Ground, settings: &Settings, scope: Scope, scratch: &Path) -> Result<Profile, String> {
    let is_strict = matches!(scope, Scope::Shell | Scope::Files);
    if is_strict && ground.landlock.is_none() {
        return Err(format!(
            "the scope {scope} is refused on this kernel: Landlock is missing or does not work, so that a session could open \
             recordings"
        ));
    }
    if needs_cgroup(ground, scope) && ground.cgroups.is_empty() {
        return Err(format!(
            "the scope {scope} is refused: with the Landlock of this kernel only a cgroup ends all that a session started, and \
             demarc could make none, as `demarc status` says (Landlock {SCOPED_SIGNALS}, Linux 6.12, would do as well)"
        ));
    }
    let needs_system = matches!(scope, Scope::Shell | Scope::Diagnose);
    if needs_system && !ground.sessions {
        return Err(
            "demarc was started while support could not be let in, and cannot be widened while it runs: restart \
                    demarc"
                .to_owned(),
        );
    }
    let state = StateDir::new(&settings.state_dir);
    let mut grants: Vec<Grant> = devices().into();
    let mut ports = Vec::new();
    match scope {
        Scope::Shell => {
            grants.extend(shells(ground, settings, scratch));
            grants.extend(TERMINALS.iter().map(|path| Grant::new(path, Access::Terminal)));
        }
        Scope::Diagnose => grants.extend(diagnoses(ground, settings)),
        Scope::Files => grants.push(Grant::new(scratch, Access::Scratch)),
        Scope::Forward(port) => ports.push(port.get()),
    }
    grants.extend(ZONES.iter().map(|path| Grant::new(path, Access::Read)));
    let readable = grants.iter().filter(|grant| grant.access.reads());
    let readable: Vec<PathBuf> = readable.filter_map(|grant| fs::canonicalize(&grant.path).ok()).collect();
    let is_reached = |tree: &PathBuf| readable.iter().any(|path| path.starts_with(tree) || tree.starts_with(path));
    if let Some(tree) = trees::recordings(settings).find(is_reached) {
        return Err(format!(
            "the scope {scope} is refused: recordings lie in {}, which a session would reach; keep them elsewhere, or restart \
             demarc if they are new there",
            tree.display()
        ));
    }
    let mut gaps = Vec::new();
    let older_than = |version| ground.landlock.is_some_and(|have| have < version);
    if matches!(scope, Scope::Forward(_)) && older_than(4) {
        gaps.push("This kernel cannot limit a session to one port (Landlock 4, Linux 6.7).".to_owned());
    }
    if scope == Scope::Shell && older_than(SCOPED_SIGNALS) {
        gaps.push(NO_SIGNALS.to_owned());
    }
    let mut profile = profile(Subject::Session, ground, settings, grants, gaps);
    profile.scope = Some(scope);
    // Whoever takes orders is confined in full or not at all.
    profile.best_effort &= !is_strict;
    profile.ports = Some(ports);
    profile.forbidden = forbidden(ground, &state);
    let sources = settings.pbx.source.iter().filter_map(Source::path).map(Path::to_owned);
    // The owner may have named a file of call records as a log.
    profile.forbidden.extend(sources.filter(|path| !covers(&profile.grants, path)));
    Ok(profile)
}

/// The profile of what a session starts: its worker's without the terminals of others.
///
/// # Errors
/// As for its worker.
pub fn shell(ground: &Ground, settings: &Settings, scratch: &Path) -> Result<Profile, String> {
    let mut profile = session(ground, settings, Scope::Shell, scratch)?;
    profile.subject = Subject::Shell;
    profile.grants.retain(|grant| grant.access != Access::Terminal);
    // The one that controls the process, whichever that is.
    profile.grants.push(Grant::new("/dev/tty", Access::Terminal));
    Ok(profile)
}

/// What the owner changed that the running supervisor, which holds `granted`, cannot hand on, in words.
pub fn waits_for_restart(ground: &Ground, settings: &Settings, granted: &[Grant]) -> Option<String> {
    if !is_open(settings) {
        return None;
    }
    if !ground.sessions {
        return Some("support can be let in from now on: restart demarc for the scopes diagnose and shell.".to_owned());
    }
    let support = &settings.support;
    let asterisk = support.asterisk_conf.iter().chain([&support.asterisk]);
    let missing = asterisk.chain(&support.logs).find(|path| path.exists() && !covers(granted, path));
    missing.map(|path| {
        format!(
            "{} was not known or not there when demarc was started, and support sessions cannot use it; restart demarc.",
            path.display()
        )
    })
}

/// What an engineer's shell may use.
fn shells(ground: &Ground, settings: &Settings, scratch: &Path) -> Vec<Grant> {
    let mut grants = vec![Grant::new(scratch, Access::Scratch), Grant::new("/proc", Access::Read)];
    grants.extend(ground.system.iter().cloned());
    grants.extend(trees::etc(&ground.shut));
    grants.extend(shells_devices());
    grants.push(Grant::new(&settings.support.shell, Access::Execute));
    grants.push(Grant::new("/etc/ld.so.cache", Access::Read));
    grants.extend(asterisks_settings(Path::new(ASTERISK), ground));
    grants.extend(logs(settings));
    grants
}

fn shells_devices() -> [Grant; 5] {
    let device = |path| Grant::new(path, Access::Device);
    let terminal = Grant::new("/dev/tty", Access::Terminal);
    [device("/dev/zero"), device("/dev/full"), device("/dev/random"), device("/dev/urandom"), terminal]
}

/// What the menu reads, and Asterisk's program as it asks a running Asterisk.
fn diagnoses(ground: &Ground, settings: &Settings) -> Vec<Grant> {
    let mut grants = vec![Grant::new("/proc", Access::Read)];
    let read_only = ground.system.iter().map(|grant| Grant::new(&grant.path, Access::Read));
    grants.extend(read_only);
    grants.extend(ground.program.iter().filter(|grant| grant.access == Access::Execute).cloned());
    grants.extend(resolver(false));
    grants.extend(asterisk(ground, settings));
    grants.extend(logs(settings));
    grants
}

/// Asterisk's program, settings and console.
fn asterisk(ground: &Ground, settings: &Settings) -> Vec<Grant> {
    let support = &settings.support;
    let mut grants = asterisks_settings(Path::new(ASTERISK), ground);
    if let Some(directory) = support.asterisk_conf.as_deref().and_then(Path::parent) {
        grants.extend(asterisks_settings(directory, ground));
    }
    if let Ok(program) = fs::canonicalize(&support.asterisk) {
        grants.extend(interpreter(&program).map(|interpreter| Grant::new(interpreter, Access::Execute)));
        // One that was not installed by the system brings its libraries along: /opt/asterisk/sbin, /opt/asterisk/lib.
        if !covers(&ground.system, &program)
            && let Some(prefix) = program.ancestors().nth(2).filter(|prefix| prefix.components().count() > 2)
        {
            grants.extend(trees::without(prefix, &ground.shut, Access::Programs));
        }
        grants.push(Grant::new(program, Access::Execute));
    }
    let own = support.asterisk_conf.as_deref().unwrap_or(Path::new("/etc/asterisk/asterisk.conf"));
    let consoles = CONSOLES.iter().map(PathBuf::from).chain(run_directory(own));
    grants.extend(consoles.map(|directory| Grant::new(directory, Access::Connect)));
    grants
}

/// The settings in that directory, whose names are no secret.
fn asterisks_settings(directory: &Path, ground: &Ground) -> Vec<Grant> {
    let mut shut = ground.shut.clone();
    shut.extend(NOT_OF_ASTERISK.iter().map(|name| directory.join(name)));
    let mut grants = trees::by_modes(directory, &shut);
    if !grants.is_empty() && !ground.shut.touches(directory) {
        grants.push(Grant::new(directory, Access::List));
    }
    grants
}

/// Where the config file says that Asterisk listens.
fn run_directory(config: &Path) -> Option<PathBuf> {
    let text = fs::read_to_string(config).ok()?;
    let line = text.lines().find(|line| line.trim_start().starts_with("astrundir"))?;
    let value = line.split_once('=')?.1.trim_start_matches('>').split(';').next()?.trim();
    Some(PathBuf::from(value)).filter(|path| path.is_absolute())
}

/// The log files that are there.
fn logs(settings: &Settings) -> impl Iterator<Item = Grant> + '_ {
    let real = settings.support.logs.iter().filter_map(|path| fs::canonicalize(path).ok());
    real.filter(|path| path.is_file()).map(|path| Grant::new(path, Access::Read))
}

/// What no session may open, whatever it was granted.
fn forbidden(ground: &Ground, state: &StateDir) -> Vec<PathBuf> {
    let mut forbidden = forbidden_to_roles(ground, state);
    forbidden.extend([state.link().join(super::LINK_KEY), state.host_key(), state.grants()]);
    forbidden.extend([state.store(), state.ledger(), state.session_recordings()]);
    forbidden.extend(ground.config.clone());
    forbidden
}
