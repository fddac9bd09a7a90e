//! What the doctor looks at without trying anything.

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::Path,
    time::{Duration, SystemTime},
};

use demarc_proto::support::Scope;
use jiff::{Timestamp, tz::TimeZone};
use x509_parser::pem::Pem;

use super::{Check, State, manager};
use crate::{
    confine::layout::{self, Ground},
    control::{Answer, Request, client},
    settings::{
        Confinement, Source,
        load::{self, Loaded},
    },
    state::StateDir,
    supervisor::derive,
};

/// Less free space than this is worth a word.
const LITTLE_SPACE: u64 = 500 << 20;
/// Less than this cannot be worked with.
const NO_SPACE: u64 = 20 << 20;
/// Call records older than this are worth a word: the file may be the wrong one.
const STALE: Duration = Duration::from_secs(7 * 86_400);
/// A certificate is renewed a month before its end; later than this something keeps it from being renewed.
const ENDS_SOON: u64 = 14 * 86_400;

/// Every check, in the order in which things depend on each other.
pub(super) fn all(loaded: &Loaded, state: &StateDir, ground: &Ground) -> Vec<Check> {
    let mut checks = vec![check("config", State::Good, "The config file and the environment can be used.")];
    checks.extend(load::warnings(&loaded.settings).into_iter().map(|warning| check("config", State::Warning, warning)));
    checks.extend(daemon(state));
    checks.extend(directories(state));
    checks.push(space(state));
    checks.extend(enrollment(loaded, state));
    checks.push(zone());
    checks.extend(loaded.settings.pbx.source.iter().flat_map(sources));
    checks.push(kernel(loaded, ground));
    checks.push(recordings(ground));
    checks.extend(support(loaded, state, ground));
    checks
}

fn check(what: &'static str, state: State, detail: impl Into<String>) -> Check {
    Check { what, state, detail: detail.into() }
}

fn daemon(state: &StateDir) -> Vec<Check> {
    let status = match client::ask(&state.control_socket(), Request::Status) {
        Ok(Answer::Status(status)) => status,
        Ok(_) => return vec![check("daemon", State::Bad, "demarc is running and does not say how it is.")],
        Err(client::AskError::NotRunning) => return vec![check("daemon", State::Warning, "demarc is not running.")],
        Err(error) => return vec![check("daemon", State::Bad, error.to_string())],
    };
    let mut checks = vec![match &status.config_error {
        None => check("daemon", State::Good, "demarc is running."),
        Some(error) => check("daemon", State::Bad, format!("demarc runs with older settings: {error}")),
    }];
    for source in status.collected.iter().flat_map(|collected| &collected.sources) {
        let words = source.trouble.iter().chain(&source.advice);
        checks.extend(words.map(|words| check("source", State::Warning, format!("{}: {words}", source.name))));
    }
    checks
}

fn directories(state: &StateDir) -> Vec<Check> {
    if !state.root().exists() {
        let root = state.root().display();
        return vec![check("state", State::Warning, format!("{root} does not exist yet; `demarc run` makes it."))];
    }
    let parts = [state.collector(), state.outbox(), state.link(), state.site(), state.canary()];
    let mut checks: Vec<Check> = parts.iter().filter_map(|part| too_open(part)).collect();
    let secrets = [state.link().join("key.pem"), state.store(), state.ledger()];
    checks.extend(secrets.iter().filter_map(|file| too_open(file)));
    if let Err(error) = writable(state.root()) {
        let root = state.root().display();
        checks.push(check("state", State::Bad, format!("{root} cannot be written by this user: {error}.")));
    }
    if checks.is_empty() {
        checks.push(check("state", State::Good, format!("{} is closed to others.", state.root().display())));
    }
    checks
}

fn too_open(path: &Path) -> Option<Check> {
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => return Some(check("state", State::Bad, format!("{}: {error}.", path.display()))),
    };
    let (mode, owner) = (metadata.mode() & 0o7777, metadata.uid());
    if owner != rustix::process::geteuid().as_raw() {
        return Some(check(
            "state",
            State::Bad,
            format!("{} belongs to user {owner}, not to demarc's.", path.display()),
        ));
    }
    (mode & 0o077 != 0).then(|| {
        check("state", State::Bad, format!("{} is open to others (mode {mode:o}); take that away.", path.display()))
    })
}

fn writable(directory: &Path) -> io::Result<()> {
    rustix::fs::access(directory, rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK)?;
    Ok(())
}

fn space(state: &StateDir) -> Check {
    let place = state.root().ancestors().find(|place| place.exists()).unwrap_or(Path::new("/"));
    match rustix::fs::statvfs(place) {
        Ok(disk) => {
            let free = disk.f_bavail.saturating_mul(disk.f_frsize);
            let detail = format!("{} MB are free for {}.", free >> 20, state.root().display());
            match free {
                ..NO_SPACE => check("disk", State::Bad, detail),
                NO_SPACE..LITTLE_SPACE => check("disk", State::Warning, detail),
                _ => check("disk", State::Good, detail),
            }
        }
        Err(error) => check("disk", State::Bad, format!("{} cannot be looked at: {error}.", place.display())),
    }
}

fn enrollment(loaded: &Loaded, state: &StateDir) -> Vec<Check> {
    let site = match derive::read_site(&state.site_file()) {
        Ok(Some(site)) => site,
        Ok(None) => return vec![check("enrollment", State::Good, "This site is not enrolled; nothing can leave.")],
        Err(trouble) => return vec![check("enrollment", State::Bad, format!("{trouble}."))],
    };
    let mut checks = vec![check("enrollment", State::Good, format!("Enrolled as {}.", site.site))];
    if !loaded.settings.tunnel.enabled {
        checks.push(check("enrollment", State::Warning, "The tunnel is switched off."));
    }
    checks.push(certificate(&state.link().join("cert.pem")));
    if !state.link().join("key.pem").exists() {
        checks.push(check("enrollment", State::Bad, "The site's private key is missing; enroll this site again."));
    }
    checks
}

fn certificate(file: &Path) -> Check {
    let bad = |detail: String| check("enrollment", State::Bad, detail);
    let bytes = match fs::read(file) {
        Ok(bytes) => bytes,
        Err(error) => return bad(format!("The certificate {} cannot be read: {error}.", file.display())),
    };
    let pem = Pem::iter_from_buffer(&bytes).next();
    let ends = pem.and_then(Result::ok).and_then(|pem| Some(pem.parse_x509().ok()?.validity().not_after.timestamp()));
    let Some(ends) = ends else {
        return bad(format!("{} is no certificate; enroll this site again.", file.display()));
    };
    let now = Timestamp::now().as_second();
    let day = Timestamp::from_second(ends).map(|day| day.strftime("%Y-%m-%d").to_string()).unwrap_or_default();
    match u64::try_from(ends - now) {
        Err(_) => check(
            "enrollment",
            State::Warning,
            format!("The certificate ended on {day}; it is renewed at the next connection."),
        ),
        Ok(left) if left < ENDS_SOON => check(
            "enrollment",
            State::Warning,
            format!("The certificate ends on {day} and should have been renewed; is the tunnel up?"),
        ),
        Ok(_) => check("enrollment", State::Good, format!("The certificate is good until {day}.")),
    }
}

fn zone() -> Check {
    match TimeZone::try_system() {
        Ok(zone) => {
            let name = zone.iana_name().unwrap_or("a zone without a name");
            check("time zone", State::Good, format!("This machine is in {name}."))
        }
        Err(_) => check(
            "time zone",
            State::Warning,
            "The machine's own time zone cannot be found out; set pbx.source.timezone for each source.",
        ),
    }
}

fn sources(one: &Source) -> Vec<Check> {
    match one {
        Source::Ami { address, user, secret, .. } => manager::check(&one.name(), address, user, secret),
        _ => vec![source(one)],
    }
}

fn source(source: &Source) -> Check {
    let Some(path) = source.path() else {
        return check("source", State::Good, format!("{}: `demarc status` says how it goes.", source.name()));
    };
    let place = path.display();
    let looked = fs::symlink_metadata(path).and_then(|metadata| {
        if metadata.is_file() {
            // Opening alone is what may be refused; what stands in the file is no business of the doctor's.
            fs::File::open(path)?;
        }
        Ok(metadata)
    });
    let metadata = match looked {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let hint = "Asterisk makes it with the first call (is cdr_csv loaded?)";
            return check("source", State::Warning, format!("{place} does not exist yet; {hint}."));
        }
        Err(error) => return check("source", State::Bad, format!("{place} cannot be read: {error}.")),
    };
    if !metadata.is_file() {
        return check("source", State::Bad, format!("{place} is not a file."));
    }
    if metadata.nlink() != 1 {
        return check("source", State::Warning, format!("{place} has a second name on this disk (a hard link)."));
    }
    let age = metadata.modified().ok().and_then(|written| SystemTime::now().duration_since(written).ok());
    match age {
        Some(age) if age > STALE => {
            let days = age.as_secs() / 86_400;
            check("source", State::Warning, format!("{place} was last written {days} days ago; is it the right one?"))
        }
        _ => check("source", State::Good, format!("{place} can be read.")),
    }
}

fn kernel(loaded: &Loaded, ground: &Ground) -> Check {
    let best_effort = loaded.settings.confinement == Confinement::BestEffort;
    match ground.landlock {
        Some(version) if version < 4 => check(
            "kernel",
            State::Good,
            format!("Landlock {version} works; from version 4 on the link would be held to one port as well."),
        ),
        Some(version) => check("kernel", State::Good, format!("Landlock {version} works.")),
        None if best_effort => check(
            "kernel",
            State::Bad,
            "Landlock is missing or does not work: nothing but the code keeps the roles from opening recordings.",
        ),
        None => check(
            "kernel",
            State::Bad,
            "Landlock is missing or does not work, and demarc does not run without it unless confinement = \
             \"best-effort\" is set.",
        ),
    }
}

fn recordings(ground: &Ground) -> Check {
    let detail = match ground.recordings.len() {
        0 => "No recording was found in the places where phone systems keep them.".to_owned(),
        count => format!("Recordings were found in {count} places; each process below tries to open one of each."),
    };
    check("recordings", State::Good, detail)
}

/// Whether support can be let in, and for what.
fn support(loaded: &Loaded, state: &StateDir, ground: &Ground) -> Vec<Check> {
    let settings = &loaded.settings;
    if !layout::is_open(settings) {
        return vec![check("support", State::Good, "The settings let no support in.")];
    }
    let scopes = ["diagnose", "shell", "files", "forward=443"].iter().filter_map(|scope| scope.parse().ok());
    let (mut open, mut checks) = (Vec::new(), Vec::new());
    for scope in scopes {
        match layout::session(ground, settings, scope, &state.scratch()) {
            Ok(profile) => {
                open.push(scope.to_string());
                // What the file rules leave to demarc's own word is worth a warning; what a filter refuses in their place is not.
                let state = if scope == Scope::Shell { State::Good } else { State::Warning };
                checks.extend(profile.gaps.iter().map(|gap| check("support", state, format!("Scope {scope}: {gap}"))));
            }
            Err(why) => checks.push(check("support", State::Warning, format!("Support is held back: {why}."))),
        }
    }
    if !open.is_empty() {
        let detail = format!("Support can be let in by a grant, and is confined then: {}.", open.join(", "));
        checks.insert(0, check("support", State::Good, detail));
    }
    // Its own cgroup is another one than the daemon's.
    if let Ok(Answer::Support(support)) = client::ask(&state.control_socket(), Request::Support) {
        let good = |cgroup| check("support", State::Good, format!("Each session gets {cgroup}."));
        let none = |why| check("support", State::Warning, format!("Sessions get no cgroup of their own: {why}."));
        checks.extend(support.cgroup.map(good).into_iter().chain(support.no_cgroup.map(none)));
    }
    checks
}
