//! The worker of a session as the supervisor starts it, confined for real: it greets, and it ends when it is told to.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    fs::File,
    io::Read,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::{net::UnixStream, process::CommandExt},
    },
    process::{Command, Stdio},
    time::Duration,
};

use demarc::{
    confine::layout::{self, Ground},
    ipc::{
        FromSession, RECORDING_FD, ROLE_FD, SESSION_FD, SessionSettings, ToSession,
        channel::{recv_blocking, send_blocking},
    },
    settings::{Secret, Settings},
    state::StateDir,
    support::{End, boot, keys::HostKey},
};
use demarc_proto::support::Scope;

#[test]
fn a_confined_worker_of_each_scope_greets_and_ends() {
    let room = tempfile::tempdir().unwrap();
    let mut settings: Settings = toml::from_str("").unwrap();
    settings.state_dir = room.path().join("state");
    let state = StateDir::new(&settings.state_dir);
    state.create().unwrap();
    let key = HostKey::load_or_make(&state).unwrap();
    settings.support.authorities = vec![key.public_line()];
    let ground = Ground::survey(&settings, &room.path().join("demarc.toml")).unwrap();
    for scope in ["shell", "files", "diagnose", "forward=443"] {
        let scope: Scope = scope.parse().unwrap();
        let scratch = state.scratch().join(scope.to_string());
        std::fs::create_dir(&scratch).unwrap();
        let profile = layout::session(&ground, &settings, scope, &scratch).unwrap();
        let recording_path = state.session_recordings().join(format!("{scope}.cast"));
        let recording = File::options().append(true).create_new(true).open(&recording_path).unwrap();
        let (mut supervisor, theirs) = UnixStream::pair().unwrap();
        let (mut engineer, served) = UnixStream::pair().unwrap();
        for socket in [&supervisor, &engineer] {
            socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        }
        let given: [(OwnedFd, i32); 3] =
            [(theirs.into(), ROLE_FD), (served.into(), SESSION_FD), (recording.into(), RECORDING_FD)];
        let given =
            given.map(|(descriptor, number)| (rustix::io::fcntl_dupfd_cloexec(descriptor, 10).unwrap(), number));
        let mut command = Command::new(env!("CARGO_BIN_EXE_demarc"));
        command.args(["role", "session"]).stdin(Stdio::null()).stdout(Stdio::null());
        // SAFETY: between fork and exec only calls that are safe there.
        unsafe {
            command.pre_exec(move || {
                let all = given.iter().all(|(descriptor, number)| libc::dup2(descriptor.as_raw_fd(), *number) != -1);
                if all { Ok(()) } else { Err(std::io::Error::last_os_error()) }
            });
        }
        let mut worker = command.spawn().unwrap();
        drop(command);
        send_blocking(&mut supervisor, &profile).unwrap();
        let FromSession::Ready(confined) = recv_blocking(&mut supervisor).unwrap() else { panic!("{scope}") };
        assert!(confined.seccomp && confined.gaps.is_empty() && confined.refused > 2, "{confined:?}");
        let programs = (scope == Scope::Shell).then(|| layout::shell(&ground, &settings, &scratch).unwrap());
        let grant = serde_json::json!({
            "id": "0123456789abcdef", "site": "site1", "scope": scope, "issued": 1, "until": u64::from(u32::MAX),
            "host_key": key.public_line(),
        });
        let begin = SessionSettings {
            session: "0123456789abcdef-1".parse().unwrap(),
            grant: serde_json::from_value(grant).unwrap(),
            ends: u64::try_from(boot::now().as_millis()).unwrap() + 600_000,
            host_key: Secret::new(key.to_pem()),
            host_certificate: None,
            authorities: settings.support.authorities.clone(),
            confined,
            cgroup: None,
            programs,
            scratch,
            shell: "/bin/sh".into(),
            asterisk: "/usr/sbin/asterisk".into(),
            asterisk_conf: None,
            logs: Vec::new(),
            hub: "localhost:443".to_owned(),
        };
        send_blocking(&mut supervisor, &ToSession::Begin(Box::new(begin))).unwrap();
        let mut greeting = [0; 8];
        engineer.read_exact(&mut greeting).unwrap();
        assert_eq!(&greeting, b"SSH-2.0-", "{scope}");
        send_blocking(&mut supervisor, &ToSession::End { end: End::Revoked }).unwrap();
        let FromSession::Ended(report) = recv_blocking(&mut supervisor).unwrap() else { panic!("{scope}") };
        assert_eq!(report.end, End::Revoked, "{scope}");
        assert!(worker.wait().unwrap().success(), "{scope}");
        assert!(std::fs::read_to_string(recording_path).unwrap().contains("\"landlock\""), "{scope}");
    }
}
