//! A shell at a terminal, under the confinement that a session gives it: the terminal works, and no other does.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    env,
    fs::{self, File},
    io::{Read, Write},
    os::{
        fd::AsFd,
        unix::{fs::OpenOptionsExt, process::CommandExt},
    },
    path::Path,
    process::{Command, Stdio},
};

use demarc::{
    confine::{
        self, Profile,
        layout::{self, Ground},
        shell,
    },
    settings::Settings,
};
use demarc_proto::support::Scope;

/// Names the file with the profiles of a worker and its shell, for which this program is started anew.
const PROFILES: &str = "DEMARC_TEST_TERMINAL";

/// A new terminal: the end that a program writes the keys to, and the name of the other.
fn terminal() -> (File, String) {
    let ours = File::options().read(true).write(true).open("/dev/ptmx").unwrap();
    rustix::pty::grantpt(&ours).unwrap();
    rustix::pty::unlockpt(&ours).unwrap();
    let name = rustix::pty::ptsname(&ours, Vec::new()).unwrap().into_string().unwrap();
    (ours, name)
}

/// Not a test by itself: what a worker does, in a process of its own.
#[test]
fn worker() {
    let Some(profiles) = env::var_os(PROFILES) else { return };
    let (worker, inner, commands): (Profile, Profile, String) =
        serde_json::from_slice(&fs::read(profiles).unwrap()).unwrap();
    confine::enter(&worker).unwrap();
    let (mut ours, name) = terminal();
    let theirs = File::options().read(true).write(true).custom_flags(libc::O_NOCTTY).open(&name).unwrap();
    let prepared = shell::prepare(&inner, Some(theirs.as_fd())).unwrap();
    let mut command = Command::new("/bin/bash");
    command.args(["--norc", "-i"]).env_clear().env("TERM", "xterm").env("OWN", &name).env("PATH", "/usr/bin:/bin");
    command.stdin(Stdio::from(theirs.try_clone().unwrap()));
    command.stdout(Stdio::from(theirs.try_clone().unwrap())).stderr(Stdio::from(theirs));
    // SAFETY: between fork and exec only system calls are made.
    unsafe {
        command.pre_exec(move || {
            libc::setsid();
            if libc::ioctl(0, libc::TIOCSCTTY, 0) == -1 {
                return Err(std::io::Error::last_os_error());
            }
            prepared.enter()
        });
    }
    let mut child = command.spawn().unwrap();
    drop(command);
    ours.write_all(commands.as_bytes()).unwrap();
    let mut said = Vec::new();
    // The other end is closed once the shell is gone, and that is an error here.
    let _ = ours.read_to_end(&mut said);
    child.wait().unwrap();
    println!("{}", String::from_utf8_lossy(&said));
}

#[test]
fn a_shell_has_its_own_terminal_and_no_other() {
    let room = tempfile::tempdir().unwrap();
    let mut settings: Settings = toml::from_str("").unwrap();
    settings.state_dir = room.path().join("state");
    settings.support.authorities = vec!["somebody".to_owned()];
    let ground = Ground::survey(&settings, &room.path().join("demarc.toml")).unwrap();
    let scratch = room.path().join("scratch");
    fs::create_dir(&scratch).unwrap();
    let worker = layout::session(&ground, &settings, Scope::Shell, &scratch).unwrap();
    let shell = layout::shell(&ground, &settings, &scratch).unwrap();
    let (_other, others_name) = terminal();
    assert!(File::options().write(true).open(&others_name).is_ok());
    let commands = format!(
        "stty rows 33 cols 99 && stty size\necho own > /dev/tty && echo \"TTY\"ok\necho x > $OWN && echo \"OWN\"ok\n\
         echo x > {others_name} || echo \"OTHER\"refused\n: < /dev/ptmx || echo \"NEW\"refused\n\
         sleep 50 & kill %1 && echo \"JOB\"ok\nexit\n"
    );
    let file = room.path().join("profiles");
    fs::write(&file, serde_json::to_vec(&(worker, shell, commands)).unwrap()).unwrap();
    let mut worker = Command::new(env::current_exe().unwrap());
    worker.args(["--exact", "worker", "--nocapture", "--test-threads=1"]).env(PROFILES, &file).stdin(Stdio::null());
    let output = worker.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    for expected in ["33 99", "TTYok", "OWNok", "OTHERrefused", "NEWrefused", "JOBok"] {
        assert!(said.contains(expected), "{expected}: {said}{}", String::from_utf8_lossy(&output.stderr));
    }
    assert!(Path::new(&others_name).exists());
}
