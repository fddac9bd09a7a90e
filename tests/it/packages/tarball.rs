//! The tarball with its installer, on a machine whose daemons are started by scripts.

use demarc_tests::{appliance::Appliance, machine, packed, wait};

use super::{LIMIT, RECORDING, put_pbx_on, set_up};

#[test]
fn installed_started_and_purged_without_a_package_manager() {
    assert!(machine::is_root(), "a machine of one's own takes root");
    let machine = Appliance::fresh();
    put_pbx_on(&machine);
    machine.run(&["apt-get", "-qq", "-y", "-o", "Acquire::http::Proxy=http://127.0.0.1:9", "install", "acl"]).ok();
    let mut before = machine.everything();
    let tarball = machine.bring(&packed::current("demarc-0", ".tar.gz"));
    let installer =
        |word: &str| machine.shell(&format!("cd /root && tar xzf {tarball} && ./demarc-*-linux-*/install.sh {word}"));
    assert!(installer("").ok().contains("Installed demarc 0."));
    assert_eq!(machine.run(&["id", "-Gn", "demarc"]).ok(), "demarc\n");
    let script = |word: &str| machine.run(&["/etc/init.d/demarc", word]);
    assert_eq!(script("status").code, Some(3), "what is not set up is not started");
    set_up(&machine, "confinment = \"strict\"");
    let refused = script("start");
    assert_ne!(refused.code, Some(0), "{refused:?}");
    assert!(
        refused.stderr.contains("/etc/demarc/demarc.toml:2") && refused.stderr.contains("confinment"),
        "{refused:?}"
    );
    assert_eq!(script("status").code, Some(3));
    set_up(&machine, "");
    script("start").ok();
    assert!(script("status").ok().contains("demarc runs"));
    wait::until_true(LIMIT, "the daemon", || machine.run(&["demarc", "status"]).code == Some(0));
    let pid: i32 = machine.shell("cat /var/run/demarc.pid").ok().trim().parse().unwrap();
    let owner = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let id = machine.run(&["id", "-u", "demarc"]).ok();
    let line = owner.lines().find(|line| line.starts_with("Uid:")).unwrap();
    assert!(
        line.split_whitespace().skip(1).all(|uid| uid == id.trim()),
        "started by root, it goes on as its own user: {line}"
    );
    let opens =
        machine.run(&["setpriv", "--reuid=demarc", "--regid=demarc", "--clear-groups", "head", "-c", "1", RECORDING]);
    assert_ne!(opens.code, Some(0));

    // What runs is not ended for settings that cannot be used.
    set_up(&machine, "confinment = \"strict\"");
    assert_ne!(script("restart").code, Some(0));
    assert!(script("status").ok().contains(&format!("process {pid}")));
    set_up(&machine, "");

    // Once more, over what runs.
    installer("").ok();
    assert!(script("status").ok().contains("demarc runs"));
    assert_ne!(machine.shell("cat /var/run/demarc.pid").ok().trim(), pid.to_string(), "an upgrade restarts it");
    installer("--remove").ok();
    assert!(!machine.path("/usr/bin/demarc").exists() && machine.path("/etc/demarc/demarc.toml").is_file());
    installer("").ok();
    installer("--purge").ok();
    let mut after = machine.everything();
    for list in [&mut before, &mut after] {
        list.retain(|path, _| !(path.starts_with("/etc/") && path.ends_with('-')));
    }
    assert_eq!(after, before);
    assert_eq!(machine.run(&["getfacl", "--skip-base", "-R", "-p", "/var/spool/asterisk"]).ok(), "");
}
