//! What support sessions try: their workers, and the shell that one starts.

use std::{fs, num::NonZeroU16, path::PathBuf};

use demarc_proto::support::Scope;

use super::{Attempts, Expected, NOBODYS_ADDRESS, Profile, Proof, Stage, prove};
use crate::{
    cgroup,
    confine::{
        Subject,
        layout::{self, covers},
        prove::{Attempt, Reach, Way},
    },
};

/// Lets a worker of each kind try, and a shell. A scope that is refused on this machine is no proof and no failure: the
/// checks say why it is refused.
pub(super) fn all(stage: &Stage) -> anyhow::Result<Vec<Proof>> {
    let scratch = stage.room().join("scratch");
    fs::create_dir_all(&scratch)?;
    let session = |scope| layout::session(&stage.ground, &stage.settings, scope, &scratch).ok();
    let mut proofs = Vec::new();
    for (role, scope) in [("session diagnose", Scope::Diagnose), ("session files", Scope::Files)] {
        if let Some(profile) = session(scope) {
            let attempts = stage.attempts(&profile);
            proofs.extend(prove(role, profile, None, attempts)?);
        }
    }
    let port = stage.listener.local_addr()?.port();
    if let Some(profile) = NonZeroU16::new(port).and_then(|port| session(Scope::Forward(port))) {
        let attempts = stage.attempts(&profile);
        proofs.extend(prove("session forward", profile, None, attempts)?);
    }
    let shell = layout::shell(&stage.ground, &stage.settings, &scratch).ok();
    if let (Some(worker), Some(shell)) = (session(Scope::Shell), shell) {
        let attempts = stage.attempts(&worker);
        proofs.extend(prove("session shell", worker.clone(), None, attempts)?);
        let attempts = stage.attempts(&shell);
        proofs.extend(prove("shell", worker, Some(shell), attempts)?);
    }
    Ok(proofs)
}

/// What a worker or a shell tries beyond what everybody tries.
pub(super) fn attempts(stage: &Stage, profile: &Profile, attempts: &mut Attempts) {
    let state = &stage.state;
    let mut refused = |what: &str, attempt| attempts.push((what.to_owned(), attempt, Expected::Refused));
    for (what, path) in [
        ("read the config file", stage.config.clone()),
        ("read the site's private key", state.link().join("key.pem")),
        ("read the key that signs grants", state.host_key()),
        ("open the ledger", state.ledger()),
        ("open the collector's store", state.store()),
    ] {
        refused(what, Attempt::Read(path));
    }
    refused("list recordings of sessions", Attempt::List(state.session_recordings()));
    for path in stage.sources().filter(|path| path.exists() && !covers(&profile.grants, path)) {
        refused("read call records", Attempt::Read(path.to_owned()));
    }
    refused("list the directory of a recording", Attempt::List(stage.room().join("monitor")));
    refused("be told of new recordings", Attempt::Reach(Reach::Watch(stage.room().join("monitor"))));
    refused("make namespaces of its own", Attempt::Reach(Reach::Namespaces));
    if profile.landlock.is_some_and(|version| version >= 4) {
        refused("listen on a port", Attempt::Listen);
    }
    if let Some(Scope::Forward(_)) = profile.scope {
        forward(stage, profile, attempts);
    } else if profile.scope == Some(Scope::Diagnose) {
        // Which sockets it may make is decided by what it asks Asterisk, and the way to the hub.
        refused("make a raw socket", Attempt::Socket(libc::AF_INET, libc::SOCK_RAW));
        refused("make a TCP socket", Attempt::Socket(libc::AF_INET, libc::SOCK_STREAM));
        refused("make a packet socket", Attempt::Socket(libc::AF_PACKET, libc::SOCK_RAW));
        refused("make a netlink socket", Attempt::Socket(libc::AF_NETLINK, libc::SOCK_RAW));
    } else {
        let mut refused = |what: &str, attempt| attempts.push((what.to_owned(), attempt, Expected::Refused));
        refused("make a unix socket", Attempt::Socket(libc::AF_UNIX, libc::SOCK_STREAM));
        refused("speak to the daemon", Attempt::Reach(Reach::Unix(state.control_socket())));
        stage.no_internet(attempts);
    }
    let starts_programs = matches!(profile.scope, Some(Scope::Shell | Scope::Diagnose));
    let scopes_signals = profile.landlock.is_some_and(|version| version >= layout::SCOPED_SIGNALS);
    // An older Landlock does not, and then a filter does, for whoever need not end what it started.
    if profile.subject == Subject::Shell || !starts_programs || scopes_signals {
        signals(scopes_signals, attempts);
    }
    if profile.subject == Subject::Shell {
        shell(stage, attempts);
    }
}

fn forward(stage: &Stage, profile: &Profile, attempts: &mut Attempts) {
    if let Ok(address) = stage.listener.local_addr() {
        attempts.push((
            "connect to the port that was granted".to_owned(),
            Attempt::Connect(address),
            Expected::Allowed,
        ));
    }
    let mut refused = |what: &str, attempt| attempts.push((what.to_owned(), attempt, Expected::Refused));
    if profile.landlock.is_some_and(|version| version >= 4) {
        refused("connect to another port", Attempt::Connect(NOBODYS_ADDRESS));
    }
    refused("make a UDP socket", Attempt::Socket(libc::AF_INET, libc::SOCK_DGRAM));
    refused("make a unix socket", Attempt::Socket(libc::AF_UNIX, libc::SOCK_STREAM));
    refused("make a raw socket", Attempt::Socket(libc::AF_INET, libc::SOCK_RAW));
    refused("make a socket past the rule for ports", Attempt::Reach(Reach::ManyPaths));
}

fn shell(stage: &Stage, attempts: &mut Attempts) {
    let scratch = stage.room().join("scratch").display().to_string();
    let recording = stage.recording.display().to_string();
    let mut allowed = |what: &str, script: String| {
        attempts.push((what.to_owned(), Attempt::Shell(script), Expected::Allowed));
    };
    allowed("start a real shell", "true".to_owned());
    allowed(
        "have a shell write into the scratch directory",
        format!("echo x > '{scratch}/note' && cat '{scratch}/note'"),
    );
    let mut refused = |what: &str, attempt| attempts.push((what.to_owned(), attempt, Expected::Refused));
    for (what, script) in [
        ("have a shell read a recording", format!("cat '{recording}'")),
        ("have a shell copy a recording", format!("cp '{recording}' '{scratch}/copy'")),
        (
            "have a shell follow a link to a recording",
            format!("ln -s '{recording}' '{scratch}/link'; cat '{scratch}/link'"),
        ),
        ("have a shell write outside of the scratch directory", format!("echo x > '{}/new'", stage.room().display())),
    ] {
        refused(what, Attempt::Shell(script));
    }
    if let Some(own) = cgroup::own() {
        refused("have a shell leave its cgroup", Attempt::Shell(format!("echo $$ > '{}/cgroup.procs'", own.display())));
    }
    let second = PathBuf::from(format!("{scratch}/second"));
    let doctor = doctor();
    for (what, reach) in [
        ("give a recording a second name", Reach::HardLink(stage.recording.clone(), second)),
        ("signal its worker", Reach::SignalTheWorker),
        ("look into its worker's memory", Reach::OfTheWorker("mem".into())),
        ("change another process's limits", Reach::Limit(doctor)),
        ("change another process's priority", Reach::Priority(doctor)),
        ("make memory that is shared by number", Reach::SharedMemory),
        ("make a pair of sockets", Reach::Datagram(stage.state.control_socket())),
    ] {
        refused(what, Attempt::Reach(reach));
    }
    refused("make a terminal", Attempt::Read(PathBuf::from("/dev/ptmx")));
}

/// Every way to signal a process that is not of the session.
fn signals(scopes_signals: bool, attempts: &mut Attempts) {
    let doctor = doctor();
    let mut refused = |what: &str, reach| attempts.push((what.to_owned(), Attempt::Reach(reach), Expected::Refused));
    refused("signal another process", Reach::Signal(doctor));
    for way in Way::ANSWERED {
        refused("signal another process in another way", Reach::SignalBy(way, doctor));
    }
    if !scopes_signals {
        refused("have a file signal another process", Reach::SignalBy(Way::Owner, doctor));
    }
}

fn doctor() -> i32 {
    i32::try_from(std::process::id()).unwrap_or(0)
}
