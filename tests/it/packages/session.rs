//! A support session under the unit: what it starts inherits the unit's filters and mounts, and must work all the same.

use std::{fs, process::Stdio, time::Duration};

use demarc_tests::{
    appliance::Appliance,
    desk::{Desk, Wish},
    hub::Hub,
    process, wait,
};
use serde_json::Value;

use super::{LIMIT, RECORDING, service, set_up};

fn status(machine: &Appliance) -> Value {
    machine.run(&["demarc", "status", "--json"]).json()["daemon"].clone()
}

fn allow(machine: &Appliance, scope: &str) -> String {
    let granted = machine.run(&["demarc", "support", "allow", "--for", "10m", "--scope", scope, "--json"]).json();
    let id = granted["grant"]["id"].as_str().unwrap().to_owned();
    wait::until_true(LIMIT, "the hub to know of the grant", || {
        let listed = machine.run(&["demarc", "support", "list", "--json"]).json();
        listed["grants"].as_array().unwrap().iter().any(|live| live["grant"]["id"] == id && live["announced"] == true)
    });
    id
}

#[test]
fn support_works_under_the_unit_and_reaches_no_recording() {
    let (hub, desk) = (Hub::start(), Desk::new());
    let machine = service::installed();
    machine.write("/etc/asterisk/asterisk.conf", "[files]\nastctl = asterisk.ctl\n");
    machine.write("/etc/asterisk/pjsip.conf", "password=hunter2\n");
    machine.write("/var/lib/asterisk/astdb.sqlite3", "x");
    machine.shell("chmod 640 /etc/asterisk/pjsip.conf; /usr/lib/demarc/access open /etc/asterisk").ok();
    set_up(&machine, "");
    let config = machine.path("/etc/demarc/demarc.toml");
    let text = fs::read_to_string(&config).unwrap();
    // Written in place, so that it goes on belonging to whom it belongs.
    fs::write(&config, format!("{text}[support]\nauthorities = [{:?}]\n", desk.authority())).unwrap();
    // A token in a file that is root's alone: the service's start has it enroll, and the file goes.
    machine.write("/etc/demarc/token", &hub.token("site-one"));
    machine.shell("chown root: /etc/demarc/token; chmod 600 /etc/demarc/token; systemctl start demarc").ok();
    wait::until_true(LIMIT, "the enrollment", || !machine.path("/etc/demarc/token").exists());
    wait::until_true(LIMIT, "the tunnel", || status(&machine)["linked"]["connected"] == true);
    fs::write(desk.path("host.pub"), machine.run(&["demarc", "support", "key"]).ok()).unwrap();
    desk.keygen(&["-s", "authority", "-h", "-I", "site-one", "-n", "site-one", "-V", "-15m:+1d", "host.pub"]).ok();
    fs::copy(desk.path("host-cert.pub"), machine.path("/tmp/host-cert.pub")).unwrap();
    machine.shell("chmod 644 /tmp/host-cert.pub && demarc support host-certificate /tmp/host-cert.pub").ok();

    // The unit hands over a part of its cgroup, and no other is written.
    let support = status(&machine)["support"].clone();
    assert!(support["no_cgroup"].is_null() && support["cgroup"].is_string(), "{support}");

    let key = desk.engineer("ada", &Wish::proper(&allow(&machine, "diagnose")));
    assert!(desk.run(&hub, &key, &["disk"]).ok().contains('%'));
    assert!(desk.run(&hub, &key, &["services"]).ok().contains("demarc"));

    let key = desk.engineer("ada", &Wish::proper(&allow(&machine, "shell")));
    let shell = |words: &str| desk.run(&hub, &key, &[words]);
    // Ordinary programs, threads, pipes, and limits that are asked for.
    let worked = shell(
        "id -un; ulimit -n; seq 100000 | sort -rn --parallel=2 | head -n 1; tar c /etc/hostname 2> /dev/null | wc -c; \
        perl -e 'print 6 * 7'; echo; cat /proc/self/cgroup",
    )
    .ok();
    let lines: Vec<&str> = worked.lines().collect();
    assert_eq!((lines[0], lines[2], lines[4]), ("demarc", "100000", "42"), "{worked}");
    assert!(worked.contains("/system.slice/demarc.service/demarc-"), "in a cgroup of its own: {worked}");
    assert_ne!(shell(&format!("cat {RECORDING}")).code, Some(0));
    // What demarc's user may read for backups alone, an engineer may not.
    assert!(machine.shell("runuser -u demarc -- cat /etc/asterisk/pjsip.conf").ok().contains("hunter2"));
    let read = shell("cat /etc/asterisk/asterisk.conf /etc/asterisk/pjsip.conf");
    assert!(read.stdout.contains("astctl") && !read.stdout.contains("hunter2"), "{read:?}");
    assert_ne!(shell(&format!("ls {}", RECORDING.rsplit_once('/').unwrap().0)).code, Some(0));
    let terminal =
        process::run(desk.ssh(&hub, &key).args(["-tt", "site-one", "tty; stty size"]), Duration::from_secs(30));
    assert!(terminal.ok().contains("/dev/pts/"));

    // A restart would cut an engineer off, so it is left to the owner while one is in.
    let mut engineer = desk.ssh(&hub, &key);
    let mut engineer = engineer.args(["site-one", "sleep 60"]).stdin(Stdio::piped()).spawn().unwrap();
    wait::until_true(LIMIT, "the engineer", || status(&machine)["support"]["sessions"][0]["engineer"].is_string());
    let main = service::property(&machine, "MainPID");
    machine.run(&["demarc", "backup", "key"]).ok();
    let told = machine.run(&["demarc", "backup", "on"]).ok();
    assert!(told.contains("cannot make a whole one yet"), "{told}");
    assert!(
        told.contains("restart demarc (a support session runs, which that would cut off): systemctl restart demarc")
    );
    assert_eq!(service::property(&machine, "MainPID"), main);
    assert!(engineer.try_wait().unwrap().is_none());
    assert!(machine.run(&["demarc", "backup", "now"]).ok().contains("astdb.sqlite3 was not to be backed up"));
    engineer.kill().unwrap();
    engineer.wait().unwrap();
    wait::until_true(LIMIT, "the end of the session", || {
        status(&machine)["support"]["sessions"].as_array().unwrap().is_empty()
    });
    // Said once more, it is done.
    let told = machine.run(&["demarc", "backup", "on"]).ok();
    assert!(told.contains("demarc was restarted") && told.contains("Backups are on"), "{told}");
    assert_ne!(service::property(&machine, "MainPID"), main);
}
