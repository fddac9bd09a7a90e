//! Backups under the unit: what belongs to the phone system is in them, and what the unit hides stays hidden.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use demarc_tests::{
    appliance::Appliance,
    cdr::{Caller, Layout},
    hub::{Hub, files_below},
    site::{Setup, Site},
    wait,
};
use serde_json::Value;

use super::{LIMIT, MASTER, service, set_up};

const CONF: &str = "/etc/asterisk/pjsip.conf";
const KEY: &str = "/etc/asterisk/keys/asterisk.pem";
const SECRET: &str = "hunter2-trunk-password";
/// Everything that a backup is to hold.
const CONFIGURATION: [&str; 5] =
    [CONF, KEY, "/etc/asterisk/.dot.conf", "/etc/freepbx.conf", "/var/lib/asterisk/astdb.sqlite3"];
/// What lies around it, and is none.
const GREETING: &str = "/var/lib/asterisk/sounds/custom/greeting.wav";

/// The configuration as FreePBX leaves it: its own, and its keys even closed to its group.
fn put_configuration_on(machine: &Appliance) {
    for path in CONFIGURATION {
        machine.write(path, &format!("{path}: {SECRET}\n"));
    }
    machine.write(GREETING, "RIFF");
    machine.shell("cd /etc/asterisk && chown -R root:asterisk . /etc/freepbx.conf && chmod -R u=rwX,g=rX,o= . /etc/freepbx.conf").ok();
    machine.shell(&format!("chown asterisk: {KEY} && chmod 600 {KEY} && chmod 700 /etc/asterisk/keys")).ok();
    machine.shell("chown -R asterisk: /var/lib/asterisk; chmod 750 /var/lib/asterisk; chmod 640 /var/lib/asterisk/astdb.sqlite3").ok();
}

/// Modes, owners and access lists of the configuration.
fn rights(machine: &Appliance) -> String {
    machine.shell("getfacl -R -p /etc/asterisk /etc/freepbx.conf /var/lib/asterisk").ok()
}

fn now(machine: &Appliance) -> Value {
    machine.run(&["demarc", "backup", "now", "--json"]).json()
}

fn at_hub(hub: &Hub) -> Vec<PathBuf> {
    let mut files = files_below(&hub.home().join("data/backups/site-one"));
    files.retain(|file| file.extension().is_some_and(|ending| ending == "age"));
    files.sort();
    files
}

/// Appends call records until told to stop; says how many.
fn call(master: &Path, enough: &AtomicBool) -> u64 {
    let mut calls = 0;
    while !enough.load(Ordering::Relaxed) {
        calls += 1;
        let row = Caller::new(calls).inbound_answered(wait::now() as i64 - 60, 5, 30).line(Layout::ALL[0]);
        fs::File::options().append(true).open(master).unwrap().write_all(&row).unwrap();
        std::thread::sleep(Duration::from_millis(30));
    }
    calls
}

#[test]
fn a_backup_under_the_unit_holds_what_belongs_to_the_phone_system() {
    let hub = Hub::start();
    let machine = service::installed();
    put_configuration_on(&machine);
    let before = rights(&machine);
    set_up(&machine, "");
    machine.write("/etc/demarc/token", &hub.token("site-one"));
    machine.shell("chown root: /etc/demarc/token; chmod 600 /etc/demarc/token; systemctl start demarc").ok();
    let is_connected = || machine.run(&["demarc", "status", "--json"]).json()["daemon"]["linked"]["connected"] == true;
    wait::until_true(LIMIT, "the tunnel", is_connected);
    let key = machine.run(&["demarc", "backup", "key"]).ok();

    // The running daemon holds none of the rights that it takes. Root's command sees to it, says so, and no call is lost.
    let main = service::property(&machine, "MainPID");
    let enough = AtomicBool::new(false);
    let (told, calls) = std::thread::scope(|scope| {
        let caller = scope.spawn(|| call(&machine.path(MASTER), &enough));
        let told = machine.run(&["demarc", "backup", "on"]).ok();
        enough.store(true, Ordering::Relaxed);
        (told, caller.join().unwrap())
    });
    assert_ne!(service::property(&machine, "MainPID"), main, "{told}");
    for words in [
        "/usr/lib/demarc/access open /etc/asterisk)",
        "/usr/lib/demarc/access open /var/lib/asterisk/astdb.sqlite3)",
        "demarc was restarted",
        "Backups are on",
        "They cover /etc/asterisk, /etc/freepbx.conf, /var/lib/asterisk/astdb.sqlite3.",
    ] {
        assert!(told.contains(words), "{words}: {told}");
    }
    assert!(!told.contains("Left for you"), "{told}");
    let counted = || machine.run(&["demarc", "report", "--by", "direction", "--json"]).json()["calls"] == calls;
    wait::until_true(LIMIT, "every call once", counted);
    // Said once more, there is nothing to do.
    let main = service::property(&machine, "MainPID");
    let again = machine.run(&["demarc", "backup", "on"]).ok();
    assert!(again.contains("Backups are on") && !again.contains("restart"), "{again}");
    assert_eq!(service::property(&machine, "MainPID"), main);

    wait::until_true(LIMIT, "the tunnel", is_connected);
    let made = now(&machine);
    assert_eq!((&made["packed"]["files"], &made["packed"]["skipped_count"]), (&5.into(), &0.into()), "{made}");
    assert!(made["at_hub"].as_object().unwrap().contains_key("Ok"), "{made}");
    // Elsewhere, by the key alone.
    let elsewhere = Site::new(&Setup::default());
    let (file, to) = (elsewhere.path("key"), elsewhere.path("restored"));
    fs::write(&file, key).unwrap();
    let sealed = at_hub(&hub).pop().unwrap();
    let words =
        ["backup", "restore", sealed.to_str().unwrap(), "--key", file.to_str().unwrap(), "--to", to.to_str().unwrap()];
    elsewhere.run(&words).ok();
    for path in CONFIGURATION {
        let out = fs::read_to_string(to.join(path.trim_start_matches('/'))).unwrap();
        assert_eq!(out, format!("{path}: {SECRET}\n"));
    }
    assert!(!to.join(GREETING.trim_start_matches('/')).exists());
    let main = service::property(&machine, "MainPID");
    let seen =
        machine.shell(&format!("ls /proc/{main}/root/var/lib/asterisk /proc/{main}/root/var/spool/asterisk; true"));
    assert_eq!(seen.stdout.matches("sqlite3").count(), 1, "{seen:?}");
    assert!(!seen.stdout.contains("sounds") && !seen.stdout.contains("monitor"), "{seen:?}");

    // What is made there is read likewise; what was moved there has no list, and the command that gives it one is told.
    machine.shell("umask 027; echo new > /etc/asterisk/new.conf").ok();
    machine.shell("umask 077; echo moved > /etc/moved; mv /etc/moved /etc/asterisk/moved.conf").ok();
    let made = machine.run(&["demarc", "backup", "now"]).ok();
    assert!(made.contains("6 files") && made.contains("Left out: /etc/asterisk/moved.conf"), "{made}");
    let command = "/usr/lib/demarc/access open /etc/asterisk";
    assert!(made.lines().any(|line| line.ends_with(command)), "{made}");
    assert!(machine.run(&["demarc", "status"]).ok().contains(command));
    machine.shell(command).ok();
    assert_eq!(now(&machine)["packed"]["files"], 7);
    assert!(!machine.run(&["demarc", "status"]).ok().contains(command));

    // Purged, the phone system's files have the rights that they had.
    machine.shell("rm /etc/asterisk/new.conf /etc/asterisk/moved.conf; chmod 600 /etc/freepbx.conf").ok();
    machine.run(&["apt-get", "-qq", "-y", "purge", "demarc"]).ok();
    // Of one, its owner took more away meanwhile.
    assert_eq!(machine.shell("stat -c %a /etc/freepbx.conf; chmod 640 /etc/freepbx.conf").ok(), "600\n");
    assert_eq!(rights(&machine), before);
}
