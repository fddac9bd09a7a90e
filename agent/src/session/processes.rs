//! The processes that a session started, found in `/proc`, so that none outlives it.

use std::{fs, time::Duration};

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
    for process in list().into_iter().filter(|process| process.session == leader.as_raw_pid()) {
        kill(process.pid);
    }
}

/// Ends everything below this process, whatever session it may have made for itself. Orphans below this process become its
/// own children, if it asked the kernel for that.
pub(super) fn end_all() {
    let own = rustix::process::getpid().as_raw_pid();
    for _ in 0..ROUNDS {
        let all = list();
        let mut below = vec![own];
        let mut place = 0;
        while let Some(parent) = below.get(place).copied() {
            below.extend(all.iter().filter(|process| process.parent == parent).map(|process| process.pid));
            place += 1;
        }
        let living =
            all.iter().filter(|process| !process.is_dead && process.pid != own && below.contains(&process.pid));
        let living: Vec<i32> = living.map(|process| process.pid).collect();
        if living.is_empty() {
            break;
        }
        living.into_iter().for_each(kill);
        std::thread::sleep(ROUND);
    }
}

/// Takes note of orphans that have died. Those that this process started itself are left to whoever waits for them: they
/// lead a session of their own, and what is left of an orphan does not.
pub(super) fn bury() {
    let own = rustix::process::getpid().as_raw_pid();
    let is_orphan = |process: &Process| process.is_dead && process.parent == own && process.session != process.pid;
    for process in list().into_iter().filter(is_orphan) {
        if let Some(pid) = Pid::from_raw(process.pid) {
            // It is dead already; nothing waits here.
            let _ = waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
        }
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
}
