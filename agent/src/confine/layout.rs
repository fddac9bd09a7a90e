//! Which files each process gets, worked out from the settings and from what lies where on this machine.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

mod archivist;
mod keeper;
mod messenger;
mod session;
mod trees;

use super::{Access, Grant, Profile, Subject, canary, known, probe};
use crate::{
    health::gauge,
    settings::{Confinement, Listen, Settings, Source},
    state::StateDir,
};

pub use archivist::archivist;
pub use keeper::{holds, keeper};
pub use messenger::messenger;
pub use session::{SCOPED_SIGNALS, is_open, needs_cgroup, session, shell, waits_for_restart};

/// The link's private key: the one file of the link that the collector proves it cannot open.
const LINK_KEY: &str = "key.pem";
/// Readable for root alone on every machine.
const ROOTS_OWN: &str = "/etc/shadow";
/// What a resolver reads.
const RESOLVER: &[&str] = &[
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/nsswitch.conf",
    "/etc/host.conf",
    "/etc/gai.conf",
    "/etc/services",
    "/etc/ld.so.cache",
];
/// What tells the time zone.
const ZONES: &[&str] = &["/etc/localtime", "/etc/timezone", "/usr/share/zoneinfo"];
/// Entries of a directory that are looked at before it counts as too full to be known.
const MOST_ENTRIES: usize = 10_000;

/// What is true of this machine, found out while the process could still look everywhere.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ground {
    /// The version of Landlock that works.
    pub landlock: Option<u32>,
    /// This program and the libraries that it is made of.
    pub program: Vec<Grant>,
    /// One recording out of each tree that has any.
    pub recordings: Vec<PathBuf>,
    /// What tells how the machine is.
    pub gauges: Vec<PathBuf>,
    /// The config file.
    pub config: Option<PathBuf>,
    /// What must stay shut in trees of the system.
    pub shut: trees::Shut,
    /// Whether support could be let in, and the rest was looked at for that.
    pub sessions: bool,
    /// Programs and libraries of the system, for sessions and for the owner's program. Empty where there is neither.
    pub system: Vec<Grant>,
    /// The files in `/etc` that everybody may read, likewise.
    pub etc: Vec<Grant>,
    /// Where the supervisor makes the cgroups of sessions, if it can.
    pub cgroups: Vec<Grant>,
}

impl Ground {
    /// Asks the kernel alone, for a process that has nothing to prove.
    ///
    /// # Errors
    /// When no child can be made to try Landlock.
    pub fn of_the_kernel() -> io::Result<Self> {
        Ok(Self { landlock: probe::landlock()?, ..Self::default() })
    }

    /// This, with cgroups for sessions: whether there are any the supervisor alone knows.
    #[must_use]
    pub fn with_cgroups(&self) -> Self {
        Self { cgroups: vec![Grant::new("/sys/fs/cgroup", Access::Cgroups)], ..self.clone() }
    }

    /// Looks around. Call it while the process has one thread and is not confined.
    ///
    /// # Errors
    /// When no child can be made to try Landlock.
    pub fn survey(settings: &Settings, config: &Path) -> io::Result<Self> {
        let ground = Self {
            landlock: probe::landlock()?,
            program: program(),
            recordings: known::first_files(&settings.recordings.paths),
            gauges: gauge::files(),
            config: Some(config.to_owned()),
            ..Self::default()
        };
        let sessions = is_open(settings);
        if !sessions && settings.health.alert_command.is_none() {
            return Ok(ground);
        }
        let shut = trees::Shut::survey(settings, config);
        Ok(Self { sessions, system: trees::system(&shut), etc: trees::etc(&shut), shut, ..ground })
    }
}

/// The supervisor's profile.
pub fn supervisor(ground: &Ground, settings: &Settings, config: &Path) -> Profile {
    let state = StateDir::new(&settings.state_dir);
    let mut gaps = Vec::new();
    let mut grants = ground.program.clone();
    grants.extend([
        Grant::new(state.collector(), Access::Own),
        Grant::new(state.outbox(), Access::Own),
        Grant::new(state.link(), Access::Own),
        Grant::new(state.site(), Access::Read),
        Grant::new(state.root(), Access::Remove),
    ]);
    grants.extend(keeper::supervisors(settings));
    grants.extend(devices());
    grants.extend(ZONES.iter().map(|path| Grant::new(path, Access::Read)));
    grants.extend(resolver(true));
    grants.extend(ground.gauges.iter().map(|file| Grant::new(file, Access::Read)));
    grants.extend(session::supervisors(ground, settings));
    grants.extend(messenger::supervisors(ground, settings));
    grants.extend(archivist::supervisors(settings));
    grants.extend(sockets(settings));
    for (file, what) in files_replaced_by_rename(settings, config) {
        let Some(directory) = file.parent() else { continue };
        let real = fs::canonicalize(directory).unwrap_or_else(|_| directory.to_owned());
        if ground.recordings.iter().any(|recording| recording.starts_with(&real)) {
            grants.extend(named_like(&file, Access::Read));
            grants.push(Grant::new(real, Access::List));
            gaps.push(format!(
                "Recordings lie below {}, so the supervisor was given only the files that are there now: when the \
                 {what} is replaced, restart demarc. Keep recordings elsewhere to mend this.",
                directory.display()
            ));
        } else {
            if holds_more(&real, settings, config) {
                gaps.push(format!(
                    "The supervisor (and it alone) may open any file below {}, because the {what} there may be \
                     replaced at any time; keep recordings out of it.",
                    directory.display()
                ));
            }
            // The pages have switches, and turning one replaces the config file.
            let is_edited = what == "config file" && settings.web.listen != Listen::Off;
            grants.push(Grant::new(real, if is_edited { Access::Own } else { Access::Read }));
        }
    }
    // A renewed certificate is another file.
    let certificates = settings.web.certificate.iter().chain(&settings.web.key).filter_map(|file| file.parent());
    grants.extend(certificates.map(|directory| Grant::new(directory, Access::Read)));
    gaps.dedup();
    let mut profile = profile(Subject::Supervisor, ground, settings, grants, gaps);
    let mut candidates = canary::planted(&state).to_vec();
    candidates.extend(ground.recordings.iter().cloned());
    candidates.push(PathBuf::from(ROOTS_OWN));
    profile.forbidden = candidates.into_iter().filter(|path| !covers(&profile.grants, path)).collect();
    profile
}

/// The collector's profile.
pub fn collector(ground: &Ground, settings: &Settings) -> Profile {
    let state = StateDir::new(&settings.state_dir);
    let mut grants = vec![Grant::new(state.collector(), Access::Own), Grant::new(state.outbox(), Access::Own)];
    grants.extend(devices());
    grants.extend(ZONES.iter().map(|path| Grant::new(path, Access::Read)));
    // How busy the machine is.
    grants.extend(ground.gauges.iter().map(|file| Grant::new(file, Access::Read)));
    let mut gaps = Vec::new();
    for source in &settings.pbx.source {
        match source {
            Source::FreeswitchJson { path, .. } => grants.extend(record_directory(path, ground, settings, &mut gaps)),
            source => grants.extend(source.path().into_iter().flat_map(|path| records(path, ground, settings))),
        }
    }
    grants.extend(sockets(settings));
    let mut profile = profile(Subject::Collector, ground, settings, grants, gaps);
    profile.forbidden = forbidden_to_roles(ground, &state);
    profile.forbidden.push(state.link().join(LINK_KEY));
    profile
}

/// The link's profile; it connects to that port alone.
pub fn link(ground: &Ground, settings: &Settings, config: &Path, port: u16) -> Profile {
    let state = StateDir::new(&settings.state_dir);
    let mut grants = vec![
        Grant::new(state.outbox(), Access::Read),
        Grant::new(state.site(), Access::Read),
        Grant::new(state.link(), Access::Own),
        // Nobody but the owner can read what is in there.
        Grant::new(state.backups(), Access::Read),
    ];
    grants.extend(devices());
    grants.extend(resolver(false));
    // The C library loads the resolver's modules when the first name is looked up.
    grants.extend(ground.program.iter().filter(|grant| grant.access == Access::Read).cloned());
    let mut profile = profile(Subject::Link, ground, settings, grants, Vec::new());
    profile.ports = Some(vec![port]);
    profile.forbidden = forbidden_to_roles(ground, &state);
    profile.forbidden.extend([state.store(), state.ledger(), config.to_owned()]);
    profile.forbidden.extend(settings.pbx.source.iter().filter_map(Source::some_file));
    profile
}

/// The profile of the role that serves the owner's pages: it reads what the owner may see, and writes nothing but the index
/// of the store's log, by which SQLite tells readers and writers of each other.
pub fn web(ground: &Ground, settings: &Settings, config: &Path) -> Profile {
    let state = StateDir::new(&settings.state_dir);
    let mut grants = vec![
        Grant::new(state.collector(), Access::Read),
        Grant::new(state.outbox(), Access::Read),
        Grant::new(state.site(), Access::Read),
        Grant::new(state.session_recordings(), Access::Read),
        Grant::new(state.recordings(), Access::Read),
        Grant::new(state.store_index(), Access::Device),
    ];
    grants.extend(devices());
    grants.extend(ZONES.iter().map(|path| Grant::new(path, Access::Read)));
    let mut profile = profile(Subject::Web, ground, settings, grants, Vec::new());
    profile.forbidden = forbidden_to_roles(ground, &state);
    profile.forbidden.extend([state.link().join(LINK_KEY), state.host_key(), config.to_owned()]);
    profile.forbidden.extend(settings.pbx.source.iter().filter_map(Source::some_file));
    profile.forbidden.extend(settings.web.key.clone());
    profile
}

/// The profile of a short-lived command that works on the state directory and on files that it has opened already.
pub fn command(ground: &Ground, settings: &Settings) -> Profile {
    let state = StateDir::new(&settings.state_dir);
    let mut grants = vec![
        Grant::new(state.collector(), Access::Own),
        Grant::new(state.outbox(), Access::Own),
        Grant::new(state.site(), Access::Read),
        Grant::new(state.lock(), Access::Read),
        Grant::new(state.session_recordings(), Access::Read),
        Grant::new(state.recordings(), Access::Read),
        Grant::new(state.control_socket(), Access::Connect),
        // The memory of each process, for `demarc status`.
        Grant::new("/proc", Access::Read),
    ];
    grants.extend(devices());
    grants.extend(ZONES.iter().map(|path| Grant::new(path, Access::Read)));
    Profile { best_effort: true, ..profile(Subject::Command, ground, settings, grants, Vec::new()) }
}

/// Whether a file there could be opened for reading under those grants.
pub fn covers(grants: &[Grant], path: &Path) -> bool {
    let real = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    grants.iter().filter(|grant| grant.access.reads()).any(|grant| {
        let granted = fs::canonicalize(&grant.path).unwrap_or_else(|_| grant.path.clone());
        real.starts_with(granted)
    })
}

/// What tells that a resolver's file is another one than before: a rule for a file does not follow its name.
pub fn resolver_identity() -> Vec<Option<(u64, u64)>> {
    use std::os::unix::fs::MetadataExt;
    let identity = |path: &&str| fs::metadata(path).ok().map(|metadata| (metadata.dev(), metadata.ino()));
    RESOLVER[..2].iter().map(identity).collect()
}

fn profile(subject: Subject, ground: &Ground, settings: &Settings, grants: Vec<Grant>, gaps: Vec<String>) -> Profile {
    Profile {
        subject,
        scope: None,
        landlock: ground.landlock,
        best_effort: settings.confinement == Confinement::BestEffort,
        grants,
        ports: None,
        forbidden: Vec::new(),
        gaps,
    }
}

fn forbidden_to_roles(ground: &Ground, state: &StateDir) -> Vec<PathBuf> {
    let mut forbidden = canary::planted(state).to_vec();
    forbidden.extend(ground.recordings.iter().cloned());
    forbidden.push(PathBuf::from(ROOTS_OWN));
    forbidden
}

fn devices() -> [Grant; 2] {
    [Grant::new("/dev/null", Access::Device), Grant::new("/dev/urandom", Access::Read)]
}

/// The files that a resolver reads. Most programs that write `/etc/resolv.conf` replace it: the link is started anew
/// when that happens, with a rule for the new file. The supervisor cannot be, so where the file is no link into a
/// directory of its own, the supervisor may read `/etc`.
fn resolver(for_supervisor: bool) -> Vec<Grant> {
    let mut grants: Vec<Grant> = RESOLVER.iter().map(|path| Grant::new(path, Access::Read)).collect();
    let real = fs::canonicalize(RESOLVER[0]).unwrap_or_else(|_| PathBuf::from(RESOLVER[0]));
    match real.parent() {
        Some(directory) if directory != Path::new("/etc") => grants.push(Grant::new(directory, Access::Read)),
        Some(directory) if for_supervisor => grants.push(Grant::new(directory, Access::Read)),
        _ => {}
    }
    grants
}

/// The files that others replace while the daemon runs, and what they are called in a sentence.
fn files_replaced_by_rename(settings: &Settings, config: &Path) -> Vec<(PathBuf, &'static str)> {
    let mut files = vec![(config.to_owned(), "config file")];
    // The config file may be a link to where it really lies.
    if let Ok(real) = fs::canonicalize(config)
        && real != config
    {
        files.push((real, "config file"));
    }
    files.extend(settings.pbx.source.iter().filter_map(Source::some_file).map(|path| (path, "call record file")));
    if is_open(settings) {
        let logs = settings.support.logs.iter().filter(|path| path.parent().is_some_and(Path::is_dir));
        files.extend(logs.map(|path| (path.clone(), "log file")));
    }
    files
}

/// What the collector needs to follow one file of call records: its directory where that holds nothing else, or else
/// the files that are there now, which it must be started anew for when one is rotated.
fn records(file: &Path, ground: &Ground, settings: &Settings) -> Vec<Grant> {
    let Some(directory) = file.parent() else { return Vec::new() };
    let Ok(real) = fs::canonicalize(directory) else { return Vec::new() };
    let holds_recordings = ground.recordings.iter().any(|recording| recording.starts_with(&real));
    let state = fs::canonicalize(&settings.state_dir).unwrap_or_else(|_| settings.state_dir.clone());
    if is_flat(&real) && !holds_recordings && !state.starts_with(&real) {
        return vec![Grant::new(real, Access::Read)];
    }
    let mut grants = named_like(file, Access::Read);
    grants.push(Grant::new(real, Access::List));
    grants
}

/// The directories with the sockets of servers that sources reach by one: a server that starts anew makes its socket anew.
fn sockets(settings: &Settings) -> impl Iterator<Item = Grant> {
    let directories = settings.pbx.source.iter().filter_map(Source::socket_directory);
    directories.map(|directory| Grant::new(directory, Access::Connect))
}

/// What the collector needs to read a directory of call records, however many there are: the directory.
fn record_directory(directory: &Path, ground: &Ground, settings: &Settings, gaps: &mut Vec<String>) -> Option<Grant> {
    let real = fs::canonicalize(directory).ok()?;
    let state = fs::canonicalize(&settings.state_dir).unwrap_or_else(|_| settings.state_dir.clone());
    if state.starts_with(&real) || ground.recordings.iter().any(|recording| recording.starts_with(&real)) {
        gaps.push(format!(
            "Recordings, or Demarc's own files, lie below {}: the collector was not given it, and reads no call records there. \
             Set a log-dir in json_cdr.conf that holds nothing else.",
            directory.display()
        ));
        return None;
    }
    let holds_directories = fs::read_dir(&real)
        .is_ok_and(|entries| entries.flatten().any(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())));
    if holds_directories {
        gaps.push(format!(
            "The collector may open any file below {}, where other directories lie; keep recordings out of it.",
            directory.display()
        ));
    }
    Some(Grant::new(real, Access::Read))
}

/// Whether a directory holds files only, as far as a bounded look tells.
fn is_flat(directory: &Path) -> bool {
    let Ok(entries) = fs::read_dir(directory) else { return false };
    let mut budget = MOST_ENTRIES;
    for entry in entries.flatten() {
        let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if is_directory || budget == 0 {
            return false;
        }
        budget -= 1;
    }
    true
}

/// The regular files beside that one whose names begin with its name: it, and what rotation made of it.
fn named_like(file: &Path, access: Access) -> Vec<Grant> {
    let (Some(directory), Some(name)) = (file.parent(), file.file_name()) else { return Vec::new() };
    let entries = fs::read_dir(directory).into_iter().flatten().flatten().take(MOST_ENTRIES);
    let alike = entries.filter(|entry| entry.file_name().as_encoded_bytes().starts_with(name.as_encoded_bytes()));
    let regular = alike.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()));
    regular.map(|entry| Grant::new(entry.path(), access)).collect()
}

/// Whether a directory that the supervisor may read holds a directory, other than those of the state directory.
fn holds_more(directory: &Path, settings: &Settings, config: &Path) -> bool {
    let state = StateDir::new(fs::canonicalize(&settings.state_dir).unwrap_or_else(|_| settings.state_dir.clone()));
    let mut ours: BTreeSet<PathBuf> = [
        state.collector(),
        state.outbox(),
        state.link(),
        state.site(),
        state.support(),
        state.recordings(),
        state.backups(),
        state.scratch(),
        state.canary(),
    ]
    .into();
    ours.insert(state.root().to_owned());
    let replaced = files_replaced_by_rename(settings, config);
    ours.extend(replaced.iter().filter_map(|(file, _)| fs::canonicalize(file.parent()?).ok()));
    let Ok(entries) = fs::read_dir(directory) else { return false };
    entries
        .flatten()
        .take(MOST_ENTRIES)
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .any(|entry| !ours.contains(&entry.path()))
}

/// This program, its loader and its libraries. Libraries are granted by their directories, since an upgrade of the
/// system replaces them while the daemon runs.
fn program() -> Vec<Grant> {
    let mut grants = Vec::new();
    if let Ok(program) = fs::read_link("/proc/self/exe") {
        grants.push(Grant::new(program, Access::Execute));
    }
    let maps = fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let libraries: BTreeSet<&str> = maps.lines().filter_map(mapped_file).filter(|path| path.contains(".so")).collect();
    for library in libraries {
        let path = Path::new(library);
        let Some(directory) = path.parent() else { continue };
        grants.push(Grant::new(directory, Access::Read));
        let is_loader = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"ld-"));
        if is_loader {
            grants.push(Grant::new(directory, Access::Execute));
        }
    }
    grants.push(Grant::new("/etc/ld.so.cache", Access::Read));
    let mut seen = Vec::new();
    grants.retain(|grant| {
        let fresh = !seen.contains(grant);
        seen.push(grant.clone());
        fresh
    });
    grants
}

/// The file in a line of `/proc/self/maps`.
fn mapped_file(line: &str) -> Option<&str> {
    line.find('/').map(|at| &line[at..])
}

#[cfg(test)]
mod tests;
