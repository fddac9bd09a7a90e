//! The confinement, tried with the real program: as root and as an ordinary user, on this kernel and on kernels that
//! have no Landlock or only say that they have.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod daemon;

use std::{fs, path::Path};

use daemon::{Kernel, World, wait};
use serde_json::Value;

/// Settings that let support in.
const SUPPORT: &str = "[support]\nauthorities = [\"ssh-ed25519 \
    AAAAC3NzaC1lZDI1NTE5AAAAIGq0K9y1zv8e4iZQ5nG8iVn4pQ0i7mJ0kqkq0n1yQb9e vendor\"]\n";

/// Whether this kernel has Landlock at all, asked in the plainest way.
fn has_landlock() -> bool {
    // SAFETY: with this flag the call takes no pointer.
    unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, std::ptr::null::<u8>(), 0_usize, 1_u32) > 0 }
}

fn is_root() -> bool {
    // SAFETY: takes nothing, and cannot fail.
    unsafe { libc::geteuid() == 0 }
}

fn alive(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    !stat.is_empty() && !stat.contains(") Z ")
}

/// Every attempt went as it must, and those that matter most were conclusive.
fn assert_proven(code: Option<i32>, found: &Value) {
    assert_eq!(code, Some(0), "{found:#}");
    assert_eq!(found["good"], true);
    let proofs = found["proofs"].as_array().unwrap();
    assert!(proofs.iter().all(|proof| proof["holds"] != false), "{found:#}");
    for (role, tried) in [
        ("collector", "open a recording"),
        ("collector", "open the canary recording"),
        ("collector", "read call records"),
        ("collector", "read the site's private key"),
        ("collector", "connect to a port of this machine"),
        ("collector", "connect to another machine"),
        ("collector", "start a shell"),
        ("link", "open a recording"),
        ("link", "open a recording by the root of another process"),
        ("link", "read call records"),
        ("link", "open the collector's store"),
        ("link", "open the ledger"),
        ("link", "start a shell"),
        ("link", "change the mode of a recording"),
        ("collector", "change the owner of a recording"),
        ("supervisor", "open a recording"),
        ("command", "open a recording"),
        ("keeper", "open a recording"),
        ("keeper", "open a recording by the root of another process"),
        ("keeper", "list recordings"),
        ("keeper", "remove a recording"),
        ("keeper", "make a file among recordings"),
        ("keeper", "give a recording a second name"),
        ("keeper", "read call records"),
        ("keeper", "make a unix socket"),
        ("keeper", "start a shell"),
        ("session diagnose", "open a recording"),
        ("session diagnose", "make a TCP socket"),
        ("session files", "open a recording"),
        ("session files", "start a shell"),
        ("session shell", "open a recording by the root of another process"),
        ("session shell", "read the site's private key"),
        ("session shell", "make a unix socket"),
        ("shell", "start a real shell"),
        ("shell", "have a shell read a recording"),
        ("shell", "have a shell follow a link to a recording"),
        ("shell", "signal its worker"),
        ("shell", "change another process's limits"),
        ("shell", "change the mode of a recording"),
        ("shell", "read the key that signs grants"),
    ] {
        let proof = proofs.iter().find(|proof| proof["role"] == role && proof["tried"] == tried);
        assert!(proof.is_some_and(|proof| proof["holds"] == true), "{role}: {tried} in {found:#}");
    }
}

#[test]
fn nobody_breaks_out_as_root_or_as_an_ordinary_user() {
    assert!(has_landlock(), "this kernel has no Landlock: the confinement cannot be tested here");
    let mut world = World::new(SUPPORT);
    world.furnish();
    let (code, found) = world.doctor();
    assert_proven(code, &found);
    if is_root() {
        world.give_away();
        let (code, found) = world.doctor();
        assert_proven(code, &found);
    }
}

#[test]
fn the_doctor_fails_where_nothing_is_enforced() {
    for kernel in [Kernel::Old, Kernel::Boastful] {
        let mut world = World::new(&format!("confinement = \"best-effort\"\n{SUPPORT}"));
        world.furnish();
        world.kernel = kernel;
        let (code, found) = world.doctor();
        assert_eq!((code, &found["good"]), (Some(1), &Value::Bool(false)));
        let proofs = found["proofs"].as_array().unwrap();
        let held = |role: &str, tried: &str| {
            let proof = proofs.iter().find(|proof| proof["role"] == role && proof["tried"] == tried);
            proof.map(|proof| proof["holds"].clone())
        };
        assert_eq!(held("link", "open a recording"), Some(Value::Bool(false)), "{found:#}");
        // What cannot be confined is not let in.
        assert!(proofs.iter().all(|proof| proof["role"] != "shell"), "{found:#}");
        let checks = found["checks"].to_string();
        assert!(
            checks.contains("the scope shell is refused") && checks.contains("the scope files is refused"),
            "{checks}"
        );
        // The filter of system calls needs no Landlock.
        assert_eq!(held("collector", "connect to another machine"), Some(Value::Bool(true)), "{found:#}");
        assert_eq!(held("link", "start a shell"), Some(Value::Bool(true)), "{found:#}");
    }
}

#[test]
fn without_landlock_it_refuses_or_says_so_loudly() {
    for kernel in [Kernel::Old, Kernel::Boastful] {
        let mut world = World::new("");
        world.kernel = kernel;
        let (code, log) = world.start().ended();
        assert_eq!(code, Some(1), "{log}");
        assert!(log.contains("Landlock") && log.contains("best-effort"), "{log}");
        world.configure("confinement = \"best-effort\"\n");
        let mut daemon = world.start();
        daemon.wait_for_line("THIS KERNEL CANNOT CONFINE DEMARC");
        let status = world.wait_for_collector();
        let confined = &status["collector"]["confined"];
        assert!(confined["landlock"].is_null() && confined["seccomp"] == true, "{status:#}");
        assert!(confined["gaps"].to_string().contains("could open"), "{status:#}");
    }
}

#[test]
fn support_that_is_let_in_later_waits_for_a_restart() {
    let world = World::new("");
    let daemon = world.start();
    let status = world.wait_for_collector();
    assert!(!status["notices"].to_string().contains("support"), "{status:#}");
    world.configure(SUPPORT);
    wait("the notice", || world.status()["notices"].to_string().contains("restart demarc").then_some(()));
    drop(daemon);
    let _daemon = world.start();
    let status = world.wait_for_collector();
    assert!(!status["notices"].to_string().contains("restart"), "{status:#}");
    assert!(status["supervisor"]["confined"]["refused"].as_u64() > Some(0), "{status:#}");
}

#[test]
fn a_recording_that_opens_ends_the_daemon_for_good() {
    // The call record file is said to be a recording, so that the collector can open what it must not.
    let world = World::new("[recordings]\npaths = [\"cdr\"]\n");
    let mut daemon = world.start();
    let (code, log) = daemon.ended();
    assert_eq!(code, Some(70), "{log}");
    assert!(log.contains("the collector is not confined") && log.contains("Master.csv"), "{log}");
    assert!(!log.contains(" ms"), "{log}");
    // A recording below its directory is none of the files that the collector was granted.
    fs::create_dir(world.at("cdr/voice")).unwrap();
    fs::write(world.at("cdr/voice/0.wav"), "RIFF").unwrap();
    world.configure("[recordings]\npaths = [\"cdr/voice\"]\n");
    let _daemon = world.start();
    let status = world.wait_for_collector();
    assert!(status["supervisor"]["confined"]["gaps"].to_string().contains("restart demarc"), "{status:#}");
}

#[test]
fn where_nothing_is_enforced_recordings_are_counted_and_that_is_said() {
    for (kernel, top, shut) in
        [(Kernel::Old, "confinement = \"best-effort\"\n", false), (Kernel::Real, "", has_landlock())]
    {
        let mut world = World::new(&format!("{top}[recordings]\npaths = [\"monitor\"]\n"));
        world.kernel = kernel;
        fs::create_dir(world.at("monitor")).unwrap();
        fs::write(world.at("monitor/a.wav"), "RIFF").unwrap();
        let _daemon = world.start();
        let kept = wait("the recordings to be counted", || {
            let kept = world.status()["kept"].take();
            (!kept["looked"].is_null()).then_some(kept)
        });
        assert_eq!(
            (&kept["trees"][0]["files"], &kept["trees"][0]["cannot_open"]),
            (&1.into(), &shut.into()),
            "{kept:#}"
        );
    }
}

#[test]
fn everything_in_one_directory_is_confined_and_still_follows_its_config_file() {
    let world = World::new("");
    let daemon = world.start();
    let status = world.wait_for_collector();
    assert_eq!(status["upload"], true);
    assert_eq!(status["supervisor"]["confined"]["gaps"], Value::Array(Vec::new()), "{status:#}");
    for role in ["supervisor", "collector"] {
        assert!(status[role]["confined"]["refused"].as_u64() > Some(0), "{status:#}");
    }
    let changed = fs::read_to_string(world.at("A/demarc.toml")).unwrap().replace("upload = true", "upload = false");
    fs::write(world.at("A/new"), changed).unwrap();
    fs::rename(world.at("A/new"), world.at("A/demarc.toml")).unwrap();
    wait("the new file to count", || (world.status()["upload"] == false).then_some(()));
    drop(daemon);
}

#[test]
fn roles_come_back_and_never_outlive_the_supervisor() {
    let world = World::new("");
    let mut daemon = world.start();
    let pid = |status: &Value| i32::try_from(status["collector"]["pid"].as_i64().unwrap()).unwrap();
    let mut last = pid(&world.wait_for_collector());
    for _ in 0..5 {
        // SAFETY: the process belongs to the daemon that this test started.
        unsafe { libc::kill(last, libc::SIGKILL) };
        last = wait("another collector", || {
            let status = world.status();
            let ready = status["collector"]["confined"].is_object() && pid(&status) != last;
            ready.then(|| pid(&status))
        });
    }
    assert_eq!(world.status()["collector"]["restarts"], 5);
    let second = world.run(&["run"]);
    assert_eq!(second.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&second.stderr).contains("another demarc"));
    assert!(world.at("A/control.sock").exists());
    daemon.signal(libc::SIGKILL);
    assert_eq!(daemon.ended().0, Some(-libc::SIGKILL));
    wait("the collector to end", || (!alive(last)).then_some(()));
    // What the dead one left behind is no obstacle.
    let mut daemon = world.start();
    let last = pid(&world.wait_for_collector());
    daemon.signal(libc::SIGTERM);
    assert_eq!(daemon.ended().0, Some(0));
    assert!(!alive(last) && !world.at("A/control.sock").exists());
    assert!(Path::new(&world.at("A/lock")).exists());
}
