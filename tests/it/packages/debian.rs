//! The .deb through its whole life, on a machine without a first process: what maintainer scripts do there they do anywhere.

use std::{collections::BTreeMap, io::Write, path::Path};

use demarc_tests::{
    appliance::Appliance,
    cdr::{Caller, Layout},
    machine, packed, wait,
};

use super::{LIMIT, MASTER, RECORDING, apt_install, put_pbx_on, set_up};

/// Copies of lists of users that each change of them makes anew.
fn without_copies(mut everything: BTreeMap<String, String>) -> BTreeMap<String, String> {
    everything.retain(|path, _| !(path.starts_with("/etc/") && path.ends_with('-')));
    everything
}

fn version(machine: &Appliance) -> String {
    machine.run(&["dpkg-query", "-W", "-f", "${Version} ${Status}", "demarc"]).ok()
}

/// What an owner would miss: settings and state, with their owners and modes.
fn kept(machine: &Appliance) -> String {
    machine.shell("cd / && find etc/demarc var/lib/demarc -printf '%p %m %u %g\\n' | sort; sha256sum etc/demarc/demarc.toml var/lib/demarc/collector/ledger.jsonl").ok()
}

/// Who opens a recording as demarc's user, without anything around it.
fn opens(machine: &Appliance, path: &str) -> bool {
    machine.run(&["setpriv", "--reuid=demarc", "--regid=demarc", "--clear-groups", "head", "-c", "1", path]).code
        == Some(0)
}

#[test]
fn installed_upgraded_gone_back_removed_and_purged() {
    assert!(machine::is_root(), "a machine of one's own takes root");
    let machine = Appliance::fresh();
    put_pbx_on(&machine);
    let before = without_copies(machine.everything());
    let lists = machine.shell("stat -c '%n %a %U %G' /var/spool/asterisk /var/spool/asterisk/*").ok();

    apt_install(&machine, &packed::current("demarc_", ".deb"));
    assert!(version(&machine).ends_with("install ok installed"));
    assert_eq!(
        machine
            .shell(
                "stat -c '%n %a %U %G' /usr/bin/demarc /usr/lib/demarc/access /etc/demarc /var/lib/demarc \
        /lib/systemd/system/demarc.service"
            )
            .ok(),
        "\
        /usr/bin/demarc 755 root root\n/usr/lib/demarc/access 755 root root\n/etc/demarc 750 demarc demarc\n\
        /var/lib/demarc 750 demarc demarc\n/lib/systemd/system/demarc.service 644 root root\n"
    );
    assert_eq!(machine.run(&["id", "-Gn", "demarc"]).ok(), "demarc\n");
    assert_eq!(
        machine.shell("getent group | grep -w demarc | cut -d: -f1,4").ok(),
        "demarc:\n",
        "nobody else is in its group"
    );
    assert_eq!(
        machine
            .run(&["dpkg-query", "-W", "-f", "${Conffiles}", "demarc"])
            .ok()
            .lines()
            .filter(|line| !line.is_empty())
            .count(),
        1
    );
    assert_eq!(
        machine.shell("ls -A /etc/demarc /var/lib/demarc").ok(),
        "/etc/demarc:\n\n/var/lib/demarc:\n",
        "nothing that a choice would be made by"
    );
    for file in
        ["copyright", "changelog.Debian.gz", "README.md", "install.md", "examples/sysv", "examples/recordings.toml"]
    {
        assert!(machine.path(&format!("/usr/share/doc/demarc/{file}")).is_file(), "{file}");
    }
    assert!(!opens(&machine, RECORDING));

    // The daemon by its own command line, as the user that the package made.
    set_up(&machine, "");
    let mut daemon = machine.start(&["setpriv", "--reuid=demarc", "--regid=demarc", "--clear-groups", "demarc", "run"]);
    let status = || machine.run(&["demarc", "status", "--json"]);
    wait::until_true(LIMIT, "the collector", || {
        let told = status();
        told.code == Some(0) && told.json()["daemon"]["collector"]["confined"].is_object()
    });
    let row = Caller::new(1).inbound_answered(wait::now() as i64 - 60, 5, 30).line(Layout::ALL[0]);
    std::fs::File::options().append(true).open(machine.path(MASTER)).unwrap().write_all(&row).unwrap();
    let report = || machine.run(&["demarc", "report", "--by", "direction", "--json"]).json();
    wait::until_true(LIMIT, "the call to be counted", || report()["calls"] == 1);
    daemon.stop();

    let first = kept(&machine);
    assert!(first.contains("var/lib/demarc/collector/calls.db 600 demarc demarc"), "{first}");
    apt_install(&machine, &packed::later("demarc_", ".deb"));
    assert!(version(&machine).starts_with(packed::LATER));
    assert_eq!(kept(&machine), first);
    // An upgrade that another package's failure cut short is told so.
    machine.run(&["/var/lib/dpkg/info/demarc.postinst", "abort-upgrade", "0.0.1"]).ok();
    apt_install(&machine, &packed::current("demarc_", ".deb"));
    assert!(!version(&machine).starts_with(packed::LATER));
    assert_eq!(kept(&machine), first);
    assert_eq!(report()["calls"], 1);

    machine.run(&["apt-get", "-qq", "-y", "remove", "demarc"]).ok();
    assert!(!machine.path("/usr/bin/demarc").exists() && !machine.path("/usr/lib/demarc").exists());
    assert_eq!(kept(&machine), first);
    assert!(!opens(&machine, RECORDING), "while the user is there, recordings stay shut to it");
    apt_install(&machine, &packed::current("demarc_", ".deb"));
    assert_eq!(kept(&machine), first);

    // Once while it is installed, and once more after it was removed.
    for remove_first in [false, true] {
        if remove_first {
            apt_install(&machine, &packed::current("demarc_", ".deb"));
            set_up(&machine, "");
            machine.run(&["apt-get", "-qq", "-y", "remove", "demarc"]).ok();
        }
        machine.run(&["apt-get", "-qq", "-y", "purge", "demarc"]).ok();
        let access =
            machine.run(&["getfacl", "--skip-base", "-R", "-p", "/var/spool/asterisk", "/var/log/asterisk"]).ok();
        assert_eq!(access, "", "access lists are taken back");
        assert_eq!(machine.shell("stat -c '%n %a %U %G' /var/spool/asterisk /var/spool/asterisk/*").ok(), lists);
        machine.run(&["apt-get", "-qq", "-y", "purge", "--autoremove", "acl"]).ok();
        machine.write(MASTER, "");
        let after = without_copies(machine.everything());
        let gone: Vec<_> = before.iter().filter(|(path, _)| !after.contains_key(*path)).collect();
        let left: Vec<_> = after.iter().filter(|(path, what)| before.get(*path) != Some(what)).collect();
        assert!(gone.is_empty() && left.is_empty(), "gone: {gone:#?}\nleft or changed: {left:#?}");
        let names = machine.shell("find / -xdev -name '*demarc*' -not -path '/root/*' -not -path '/var/cache/*'").ok();
        assert_eq!(names, "", "and not a name is left, not even with the packaging tools");
    }
}

#[test]
fn the_hub_is_made_by_hand_and_goes_with_its_package() {
    assert!(machine::is_root(), "a machine of one's own takes root");
    let machine = Appliance::fresh();
    let before = without_copies(machine.everything());
    apt_install(&machine, &packed::current("demarc-hub_", ".deb"));
    let as_hub = ["setpriv", "--reuid=demarc-hub", "--regid=demarc-hub", "--clear-groups"];
    let init = [
        "demarc-hub",
        "init",
        "--dir",
        "/var/lib/demarc-hub",
        "--listen",
        "0.0.0.0:443",
        "--address",
        "hub.example.com:443",
    ];
    machine.run(&[&as_hub[..], &init[..]].concat()).ok();
    let token =
        [&as_hub[..], &["demarc-hub", "--config", "/var/lib/demarc-hub/hub.toml", "token", "site-one"]].concat();
    assert!(machine.run(&token).ok().starts_with("demarc1."));
    assert_eq!(
        machine.shell("stat -c '%a %U' /var/lib/demarc-hub /var/lib/demarc-hub/ca-key.pem").ok(),
        "700 demarc-hub\n600 demarc-hub\n"
    );
    machine.run(&["apt-get", "-qq", "-y", "remove", "demarc-hub"]).ok();
    assert!(machine.path("/var/lib/demarc-hub/ca-key.pem").is_file());
    machine.run(&["apt-get", "-qq", "-y", "purge", "demarc-hub"]).ok();
    assert!(!Path::new(&machine.path("/var/lib/demarc-hub")).exists());
    assert_eq!(without_copies(machine.everything()), before);
}
