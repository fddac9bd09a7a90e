//! The tarball on a machine whose daemons OpenRC starts and starts again.

use std::fs;

use demarc_tests::{appliance::Appliance, machine, packed, process::Finished, wait};

use super::{LIMIT, MASTER, RECORDING, put_pbx_on, set_up};

/// Where what is said to the system's log ends up on this machine.
const LOG: &str = "/var/log/told";

/// A machine with a PBX, and with OpenRC beside an init that does not run.
fn with_openrc() -> Appliance {
    let machine = Appliance::fresh();
    put_pbx_on(&machine);
    let no_network = "Acquire::http::Proxy=http://127.0.0.1:9";
    machine
        .run(&["apt-get", "-qq", "-y", "--no-install-recommends", "-o", no_network, "install", "acl", "openrc"])
        .ok();
    // It believes that it started the machine.
    machine.shell("mkdir -p /run/openrc && touch /run/openrc/softlevel && rc-update -q --update").ok();
    // There is no daemon to take what is logged.
    machine.write("/usr/bin/logger", &format!("#!/bin/sh\necho \"logger $*\" >> {LOG}\nexec cat >> {LOG}\n"));
    machine
}

/// The daemon's process there; its number is the same here.
fn daemon(machine: &Appliance) -> Option<i32> {
    let status = machine.run(&["demarc", "status", "--json"]).json();
    status["daemon"]["supervisor"]["pid"].as_i64().map(|pid| i32::try_from(pid).unwrap())
}

#[test]
fn openrc_starts_it_starts_it_again_and_ends_it() {
    assert!(machine::is_root(), "a machine of one's own takes root");
    let machine = with_openrc();
    let mut before = machine.everything();
    let tarball = machine.bring(&packed::current("demarc-0", ".tar.gz"));
    let installer =
        |word: &str| machine.shell(&format!("cd /root && tar xzf {tarball} && ./demarc-*-linux-*/install.sh {word}"));
    assert!(installer("").ok().contains("Installed demarc 0."));
    assert!(machine.run(&["rc-update", "show", "default"]).ok().contains("demarc"));
    let service = |word: &str| -> Finished { machine.run(&["rc-service", "demarc", word]) };
    let is_up = || service("status").code == Some(0);

    // What is not set up is not started, and neither is what was set up wrongly: that is told with the key and the line.
    let refused = service("start");
    assert!(refused.code != Some(0) && refused.stderr.contains("is not there yet"), "{refused:?}");
    set_up(&machine, "confinment = \"strict\"");
    let refused = service("start");
    assert_ne!(refused.code, Some(0), "{refused:?}");
    assert!(
        refused.stderr.contains("/etc/demarc/demarc.toml:2") && refused.stderr.contains("confinment"),
        "{refused:?}"
    );
    assert_eq!(service("status").code, Some(3));

    // The runlevel starts it, as at every start of the machine.
    set_up(&machine, "");
    machine.run(&["openrc", "default"]).ok();
    assert!(is_up());
    wait::until_true(LIMIT, "the daemon", || machine.run(&["demarc", "status"]).code == Some(0));
    let first = daemon(&machine).expect("it runs");
    let status = fs::read_to_string(format!("/proc/{first}/status")).unwrap();
    let id = machine.run(&["id", "-u", "demarc"]).ok();
    for line in status.lines().filter(|line| line.starts_with("Uid:") || line.starts_with("CapEff:")) {
        let expected = if line.starts_with("Uid:") { id.trim() } else { "0000000000000000" };
        assert!(line.split_whitespace().skip(1).all(|value| value == expected), "{line}");
    }
    let score = fs::read_to_string(format!("/proc/{first}/oom_score_adj")).unwrap();
    assert_eq!(score.trim(), "500", "when memory is short, it goes before calls do");
    let words = ["setpriv", "--reuid=demarc", "--regid=demarc", "--clear-groups", "head", "-c", "1", RECORDING];
    assert_ne!(machine.run(&words).code, Some(0));
    let told = || fs::read_to_string(machine.path(LOG)).unwrap_or_default();
    wait::until_true(LIMIT, "the log", || {
        told().contains("logger -t demarc -p daemon.info") && told().contains(" INFO ")
    });

    // A line in the settings is heeded when it is told to read them, and it stays the same process.
    set_up(&machine, "confinment = \"strict\"");
    service("reload").ok();
    wait::until_true(LIMIT, "the refusal", || told().contains("confinment"));
    assert_eq!(service("restart").code, Some(1), "what runs is not ended for settings that cannot be used");
    assert!(is_up());
    set_up(&machine, "");

    // What dies is started again; what is restarted is another process; what is ended is gone, and stays so.
    assert_eq!(daemon(&machine), Some(first));
    demarc_tests::process::signal(first, libc::SIGKILL);
    let another = |than: i32| daemon(&machine).filter(|now| *now != than);
    let second = wait::until(LIMIT, "the daemon to be started again", || another(first));
    service("restart").ok();
    let third = wait::until(LIMIT, "the restarted daemon", || another(second));
    // An upgrade.
    installer("").ok();
    let fourth = wait::until(LIMIT, "the upgraded daemon", || another(third));
    service("stop").ok();
    assert_eq!((service("status").code, daemon(&machine)), (Some(3), None));
    assert!(!fs::exists(format!("/proc/{fourth}")).unwrap());

    service("start").ok();
    installer("--purge").ok();
    assert!(!is_up());
    let mut after = machine.everything();
    for list in [&mut before, &mut after] {
        // Copies of the lists of users, and what OpenRC itself notes and the log.
        list.retain(|path, _| !(path.starts_with("/etc/") && path.ends_with('-')) && path != LOG && path != MASTER);
    }
    assert_eq!(after, before);
    assert_eq!(machine.run(&["getfacl", "--skip-base", "-R", "-p", "/var/spool/asterisk"]).ok(), "");
}
