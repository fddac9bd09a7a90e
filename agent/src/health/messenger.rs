//! Tells the owner's own program of an alert: a role that starts it, waits for its end, and ends.

use std::{
    io::Read,
    os::unix::{net::UnixStream, process::CommandExt},
    path::PathBuf,
    process::{Command, ExitCode, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal};
use serde::{Deserialize, Serialize};

use super::{Alert, words};
use crate::{
    gate::entry::utc,
    ipc::{
        Confined,
        channel::{recv_blocking, send_blocking},
    },
};

/// How long the program has.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// Where programs are looked for.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// So many bytes of what it complains about are told.
const MOST_WORDS: u64 = 400;

/// What the messenger is to do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Errand {
    /// The owner's program.
    pub command: PathBuf,
    /// What it is told of.
    pub alert: Alert,
}

/// What the messenger says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum FromMessenger {
    /// Confined, self-test passed; what the confinement is.
    Ready(Confined),
    /// The program ended well.
    Done,
    /// It could not be started, or ended badly; in words.
    Failed(String),
}

/// Does one errand for the supervisor.
///
/// # Errors
/// When the supervisor is gone.
pub fn serve(socket: &mut UnixStream, confined: Confined) -> anyhow::Result<ExitCode> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    send_blocking(socket, &FromMessenger::Ready(confined))?;
    let errand: Errand = recv_blocking(socket)?;
    let said = match run(&errand, PATIENCE) {
        Ok(()) => FromMessenger::Done,
        Err(why) => FromMessenger::Failed(format!("{} {why}", errand.command.display())),
    };
    send_blocking(socket, &said)?;
    Ok(ExitCode::SUCCESS)
}

/// The program's whole environment.
fn environment(alert: &Alert) -> Vec<(&'static str, String)> {
    let mut variables = vec![
        ("PATH", PATH.to_owned()),
        ("LANG", "C.UTF-8".to_owned()),
        ("DEMARC_ALERT", alert.kind.as_str().to_owned()),
        ("DEMARC_STATE", if alert.until.is_none() { "raised" } else { "cleared" }.to_owned()),
        ("DEMARC_SINCE", utc(alert.since)),
        ("DEMARC_VALUE", alert.value.to_string()),
        ("DEMARC_TEXT", words::of(alert)),
    ];
    variables.extend(alert.until.map(|until| ("DEMARC_UNTIL", utc(until))));
    variables
}

/// Runs the program to its end, or until it has had its time.
fn run(errand: &Errand, patience: Duration) -> Result<(), String> {
    let mut command = Command::new(&errand.command);
    command.env_clear().envs(environment(&errand.alert)).current_dir("/");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).process_group(0);
    // SAFETY: between fork and exec this makes one system call, which is safe there.
    unsafe {
        command.pre_exec(|| Ok(rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?));
    }
    let mut child = command.spawn().map_err(|error| format!("cannot be started: {error}"))?;
    let began = Instant::now();
    let complaint = child.stderr.take().map(|mut stderr| {
        std::thread::spawn(move || {
            let mut words = Vec::new();
            // What it says beyond that is read, so that it does not wait for a reader, and dropped.
            let _ = (&mut stderr).take(MOST_WORDS).read_to_end(&mut words);
            let _ = std::io::copy(&mut stderr, &mut std::io::sink());
            String::from_utf8_lossy(&words).split_whitespace().collect::<Vec<_>>().join(" ")
        })
    });
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if began.elapsed() < patience => std::thread::sleep(Duration::from_millis(20)),
            _ => {
                // The group is its own, so that what it started ends with it.
                let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
                group.map(|group| rustix::process::kill_process_group(group, Signal::KILL));
                let _ = child.wait();
                return Err(format!("did not end within {} s and was ended", patience.as_secs()));
            }
        }
    };
    if status.success() {
        return Ok(());
    }
    // Something that it left running may hold the pipe open.
    let said = complaint.filter(|thread| {
        let until = Instant::now() + Duration::from_millis(200);
        while !thread.is_finished() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
        thread.is_finished()
    });
    let said = said.and_then(|thread| thread.join().ok()).filter(|said| !said.is_empty());
    Err(match said {
        Some(said) => format!("failed ({status}): {said}"),
        None => format!("failed ({status})"),
    })
}

#[cfg(test)]
mod tests {
    use demarc_proto::health::AlertKind;

    use super::*;

    fn errand(command: &str) -> Errand {
        let alert = Alert { kind: AlertKind::DiskLow, since: 0, until: Some(60), value: 3 };
        Errand { command: command.into(), alert }
    }

    #[test]
    fn the_program_is_told_by_its_environment_and_ends_in_time() {
        let variables = environment(&errand("/x").alert);
        assert!(variables.contains(&("DEMARC_ALERT", "disk_low".to_owned())), "{variables:?}");
        assert!(variables.contains(&("DEMARC_STATE", "cleared".to_owned())));
        assert!(variables.contains(&("DEMARC_UNTIL", "1970-01-01T00:01:00Z".to_owned())));
        let directory = tempfile::tempdir().unwrap();
        let script = |name: &str, text: &str| {
            use std::os::unix::fs::PermissionsExt;
            let path = directory.path().join(name);
            std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
            errand(path.to_str().unwrap())
        };
        assert_eq!(run(&script("good", "test \"$DEMARC_VALUE $HOME\" = '3 '"), PATIENCE), Ok(()));
        let bad = run(&script("bad", "echo 'no  such host' >&2; exit 3"), PATIENCE).unwrap_err();
        assert_eq!(bad, "failed (exit status: 3): no such host");
        let slow = run(&script("slow", "sleep 30 & sleep 30"), Duration::from_millis(100)).unwrap_err();
        assert!(slow.starts_with("did not end"), "{slow}");
        assert!(run(&errand("/no/such"), PATIENCE).unwrap_err().starts_with("cannot be started"));
    }
}
