//! The processes that a session started, found in `/proc`, so that none outlives it.

use std::{fs, time::Duration};

use crate::{confine::layout, ipc::Confined};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, kill_process_group, waitid};

/// How often the dead are looked after while the living are being killed.
const ROUNDS: u32 = 50;
const ROUND: Duration = Duration::from_millis(2);

#[derive(Clone, Copy, Debug)]
struct Process {
    pid: i32,
    parent: i32,
    session: i32,
    is_dead: bool,
}

/// Sends a signal to a process group.
pub(super) fn signal_group(leader: Pid, signal: i32) {
    if let Some(signal) = Signal::from_named_raw(signal) {
        // A group that is gone needs no signal.
        let _ = kill_process_group(leader, signal);
    }
}

/// Ends everything in the session (in the kernel's sense) of that leader: what it runs in the foreground and what it was told
/// to run in the background.
pub(super) fn end_session(leader: Pid) {
    let _ = kill_process_group(leader, Signal::HUP);
    let _ = kill_process_group(leader, Signal::KILL);
    end_those(|all| all.iter().filter(|process| process.session == leader.as_raw_pid()).copied().collect());
}

/// Ends everything that this process has started, and what that has started, in one step that nothing can run away from by
/// starting others all the time: the file rules keep signals within the domain of this process, so that "every process"
/// means every process of this session. Does nothing, and says so, unless the kernel shows that it is kept in.
pub(super) fn end_domain(confined: &Confined) -> bool {
    let has_rules = confined.landlock.is_some_and(|version| version >= layout::SCOPED_SIGNALS);
    // The supervisor is of the same user, and outside. Were it gone, its place would be taken by somebody else's process.
    let is_kept_in = || {
        let parent = rustix::process::getppid().filter(|parent| !parent.is_init());
        parent.is_some_and(|parent| rustix::process::test_kill_process(parent) == Err(rustix::io::Errno::PERM))
    };
    // SAFETY: takes numbers.
    has_rules && is_kept_in() && unsafe { libc::kill(-1, libc::SIGKILL) } == 0
}

/// Ends everything below this process, whatever session it may have made for itself. Orphans below this process become its
/// own children, if it asked the kernel for that.
pub(super) fn end_all() {
    end_all_but(&[]);
}

/// Ends everything below this process but these children of it and what is below them.
pub(crate) fn end_all_but(known: &[u32]) {
    let own = rustix::process::getpid().as_raw_pid();
    let is_known = |process: &Process| known.iter().any(|pid| i32::try_from(*pid) == Ok(process.pid));
    end_those(|all| {
        let mut below = vec![own];
        let mut place = 0;
        while let Some(parent) = below.get(place).copied() {
            let children = all.iter().filter(|process| process.parent == parent && !is_known(process));
            below.extend(children.map(|process| process.pid));
            place += 1;
        }
        all.iter().filter(|process| process.pid != own && below.contains(&process.pid)).copied().collect()
    });
}

/// Ends those that are meant among all processes, looking again until none of them lives: one may have started another
/// between the look and its end.
fn end_those(meant: impl Fn(&[Process]) -> Vec<Process>) {
    for _ in 0..ROUNDS {
        let mut living = meant(&list());
        living.retain(|process| !process.is_dead);
        if living.is_empty() {
            break;
        }
        living.iter().for_each(|process| kill(process.pid));
        std::thread::sleep(ROUND);
    }
}

/// Takes note of the dead among the children of this process that nobody waits for, these being waited for.
pub(crate) fn bury_all_but(known: &[u32]) {
    let own = rustix::process::getpid().as_raw_pid();
    let is_stray = |process: &Process| {
        process.is_dead && process.parent == own && !known.iter().any(|pid| i32::try_from(*pid) == Ok(process.pid))
    };
    list().into_iter().filter(is_stray).for_each(|process| note(process.pid));
}

/// Takes note of orphans that have died. Those that this process started itself are left to whoever waits for them: they
/// lead a session of their own, and what is left of an orphan does not.
pub(super) fn bury() {
    let own = rustix::process::getpid().as_raw_pid();
    let is_orphan = |process: &Process| process.is_dead && process.parent == own && process.session != process.pid;
    list().into_iter().filter(is_orphan).for_each(|process| note(process.pid));
}

fn note(pid: i32) {
    if let Some(pid) = Pid::from_raw(pid) {
        // It is dead already; nothing waits here.
        let _ = waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
    }
}

fn kill(pid: i32) {
    if let Some(pid) = Pid::from_raw(pid) {
        let _ = kill_process(pid, Signal::KILL);
    }
}

fn list() -> Vec<Process> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let numbers = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    numbers.filter_map(|pid: i32| parse(pid, &fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)).collect()
}

/// The fields after the name, which may hold any sign, a bracket too.
fn parse(pid: i32, stat: &str) -> Option<Process> {
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    let state = fields.next()?;
    let parent = fields.next()?.parse().ok()?;
    let _group = fields.next()?;
    let session = fields.next()?.parse().ok()?;
    Some(Process { pid, parent, session, is_dead: matches!(state, "Z" | "X") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_and_spaces_is_no_obstacle() {
        let process = parse(7, "7 (a) b) c) S 3 7 5 34816 7 4194304 1").unwrap();
        assert_eq!((process.parent, process.session, process.is_dead), (3, 5, false));
        assert!(parse(7, "7 (x) Z 1 7 7 0").unwrap().is_dead);
        assert!(parse(7, "7 (x").is_none());
    }

    /// What the test below starts in a process of its own, since everything below that process ends.
    #[test]
    fn a_process_with_children() {
        if std::env::var_os("DEMARC_TEST_CHILDREN").is_none() {
            return;
        }
        rustix::process::set_child_subreaper(Some(rustix::process::getpid())).unwrap();
        let start = |script: &str| {
            let mut shell = std::process::Command::new("sh");
            shell.args(["-c", script]).stdout(std::process::Stdio::piped()).spawn().unwrap()
        };
        let mut known = start("exec sleep 600");
        let stray = start("(setsid sleep 601 > /dev/null & echo $!) && exit 0").wait_with_output().unwrap();
        let stray: i32 = String::from_utf8(stray.stdout).unwrap().trim().parse().unwrap();
        let is_there = |pid: i32| list().iter().any(|process| process.pid == pid);
        assert!(is_there(stray));
        end_all_but(&[known.id()]);
        bury_all_but(&[known.id()]);
        assert!(!is_there(stray) && known.try_wait().unwrap().is_none());
        known.kill().unwrap();
        known.wait().unwrap();
    }

    #[test]
    fn strays_end_and_children_that_are_known_do_not() {
        let mut anew = std::process::Command::new(std::env::current_exe().unwrap());
        anew.args(["--exact", "session::processes::tests::a_process_with_children"]).env("DEMARC_TEST_CHILDREN", "1");
        let output = anew.output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && said.contains("1 passed"), "{said}");
    }

    /// What the test below starts in a process of its own: a worker, and a shell that starts one process after the other,
    /// each of which ends at once.
    #[test]
    fn a_worker_with_a_runaway() {
        let Some(room) = std::env::var_os("DEMARC_TEST_RUNAWAY") else { return };
        let room = std::path::PathBuf::from(room);
        let profiles = fs::read(room.join("profiles")).unwrap();
        let (worker, shell): (crate::confine::Profile, crate::confine::Profile) =
            serde_json::from_slice(&profiles).unwrap();
        let mut confined = crate::confine::enter(&worker).unwrap();
        rustix::process::set_child_subreaper(Some(rustix::process::getpid())).unwrap();
        let prepared = crate::confine::shell::prepare(&shell, None).unwrap();
        let mut runaway = std::process::Command::new("/bin/bash");
        runaway.args(["-c", "run() { echo >> ran; (run &) ; }; run"]).current_dir(room.join("scratch"));
        // SAFETY: between fork and exec only system calls are made.
        unsafe {
            std::os::unix::process::CommandExt::pre_exec(&mut runaway, move || {
                rustix::process::setsid()?;
                prepared.enter()
            });
        }
        assert!(runaway.status().unwrap().success());
        let length = || fs::metadata(room.join("scratch/ran")).map_or(0, |file| file.len());
        while length() < 20 {
            std::thread::sleep(ROUND);
        }
        // Without rules that keep signals in, everybody would be meant.
        let landlock = confined.landlock.take();
        assert!(!end_domain(&confined));
        confined.landlock = landlock;
        assert!(end_domain(&confined));
        let ended = length();
        std::thread::sleep(ROUND * 50);
        assert_eq!(length(), ended);
    }

    #[test]
    fn nothing_runs_away_from_the_end_of_its_session() {
        let room = tempfile::tempdir().unwrap();
        let scratch = room.path().join("scratch");
        fs::create_dir(&scratch).unwrap();
        let mut settings: crate::settings::Settings = toml::from_str("").unwrap();
        settings.state_dir = room.path().join("state");
        settings.support.authorities = vec!["somebody".to_owned()];
        let ground = layout::Ground::survey(&settings, &room.path().join("demarc.toml")).unwrap();
        let scope = demarc_proto::support::Scope::Shell;
        let profiles = layout::session(&ground, &settings, scope, &scratch)
            .and_then(|worker| Ok((worker, layout::shell(&ground, &settings, &scratch)?)));
        fs::write(room.path().join("profiles"), serde_json::to_vec(&profiles.unwrap()).unwrap()).unwrap();
        let mut bystander = std::process::Command::new("sleep").arg("600").spawn().unwrap();
        let mut anew = std::process::Command::new(std::env::current_exe().unwrap());
        anew.args(["--exact", "session::processes::tests::a_worker_with_a_runaway"]);
        let output = anew.env("DEMARC_TEST_RUNAWAY", room.path()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && said.contains("1 passed"), "{said}");
        assert!(bystander.try_wait().unwrap().is_none());
        bystander.kill().unwrap();
        bystander.wait().unwrap();
    }
}
