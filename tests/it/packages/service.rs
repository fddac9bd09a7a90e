//! The service as systemd runs it, on a machine whose first process that is.

use std::{fs, io::Write, path::Path, time::Duration};

use demarc_tests::{
    appliance::Appliance,
    cdr::{Caller, Layout},
    data, machine, packed, wait,
};
use serde_json::Value;

use super::{LIMIT, MASTER, MESSAGE, RECORDING, apt_install, put_pbx_on, set_up};

/// A machine with a PBX and the package, up and not set up.
pub(super) fn installed() -> Appliance {
    assert!(machine::is_root(), "a machine of one's own takes root");
    let mut machine = Appliance::fresh();
    put_pbx_on(&machine);
    machine.boot();
    apt_install(&machine, &packed::current("demarc_", ".deb"));
    machine
}

pub(super) fn property(machine: &Appliance, name: &str) -> String {
    machine.run(&["systemctl", "show", "demarc", "--value", "-p", name]).ok().trim().to_owned()
}

fn systemctl(machine: &Appliance, words: &[&str]) {
    machine.run(&[&["systemctl"], words].concat()).ok();
}

/// A line of the status that the kernel has of a process there.
fn of_process(machine: &Appliance, pid: &str, line: &str) -> String {
    let text = machine.run(&["cat", &format!("/proc/{pid}/status")]).ok();
    let found = text.lines().find_map(|one| one.strip_prefix(line)?.strip_prefix(':'));
    found.unwrap_or_else(|| panic!("no {line} in {text}")).trim().to_owned()
}

/// The process of a role there.
fn role(machine: &Appliance, name: &str) -> String {
    let look = format!(
        "for one in /proc/[0-9]*; do tr '\\0' ' ' < $one/cmdline | grep -q '^demarc role {name}' && echo ${{one#/proc/}}; done; true"
    );
    machine.shell(&look).ok().trim().to_owned()
}

/// How many recordings the daemon knows of.
fn recordings(machine: &Appliance) -> String {
    let told = machine.run(&["demarc", "recordings", "--json"]);
    told.stdout + &told.stderr
}

#[test]
fn systemd_starts_watches_upgrades_and_purges_it() {
    let machine = installed();
    assert_eq!(
        (property(&machine, "ActiveState"), property(&machine, "UnitFileState")),
        ("inactive".into(), "enabled".into())
    );
    assert!(!machine.path("/var/lib/demarc/collector").exists(), "what is not set up does nothing");

    // Wrong settings: the start fails, once, and says which key on which line.
    set_up(&machine, "confinment = \"strict\"");
    let refused = machine.run(&["systemctl", "start", "demarc"]);
    assert_ne!(refused.code, Some(0));
    // The journal may hear of it after systemd knows that the process is gone.
    wait::until_true(LIMIT, "the journal to say why", || {
        let status = machine.run(&["systemctl", "status", "demarc", "--no-pager", "--full"]).stdout;
        status.contains("/etc/demarc/demarc.toml:2") && status.contains("confinment")
    });
    assert_eq!((property(&machine, "ExecMainStatus"), property(&machine, "NRestarts")), ("64".into(), "0".into()));

    set_up(&machine, "");
    systemctl(&machine, &["start", "demarc"]);
    // The start returned because the collector is confined, not because a process was there.
    let status = machine.run(&["demarc", "status", "--json"]).json();
    assert!(status["daemon"]["collector"]["confined"].is_object(), "{status}");
    let main = property(&machine, "MainPID");
    assert_eq!(of_process(&machine, &main, "NoNewPrivs"), "1");
    for (pid, who) in [(main.clone(), "supervisor"), (role(&machine, "collector"), "collector")] {
        for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
            assert_eq!(of_process(&machine, &pid, set), "0000000000000000", "{set} of the {who}");
        }
    }
    let id = machine.run(&["id", "-u", "demarc"]).ok();
    assert!(of_process(&machine, &main, "Uid").starts_with(id.trim()));
    // Half of what a start says is of less weight than a warning, and the journal knows.
    let journal = machine.shell("journalctl -u demarc -p info -o json --no-pager DEMARC=agent").ok();
    let messages: Vec<Value> = journal.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(
        messages.iter().any(|one| one["MESSAGE"] == "supervisor: the collector is ready" && one["PRIORITY"] == "6"),
        "{journal}"
    );

    // Settings that are changed are picked up, by the file and by the signal.
    systemctl(&machine, &["reload", "demarc"]);
    machine.run(&["demarc", "tunnel", "off"]).ok();
    assert_eq!(machine.shell("stat -c '%a %U %G' /etc/demarc/demarc.toml").ok(), "640 demarc demarc\n");

    // A main loop that hangs is ended, and started again.
    machine.write("/etc/systemd/system/demarc.service.d/quick.conf", "[Service]\nWatchdogSec=2\nRestartSec=0\n");
    systemctl(&machine, &["daemon-reload"]);
    systemctl(&machine, &["restart", "demarc"]);
    let main = property(&machine, "MainPID");
    // Alive, it outlives the watchdog's patience.
    std::thread::sleep(Duration::from_secs(5));
    assert_eq!(property(&machine, "MainPID"), main);
    machine.shell(&format!("kill -STOP {main}")).ok();
    wait::until_true(LIMIT, "the watchdog", || property(&machine, "NRestarts") == "1");
    wait::until_true(LIMIT, "another supervisor", || {
        property(&machine, "ActiveState") == "active" && property(&machine, "MainPID") != main
    });

    // An upgrade restarts it once the files are there.
    let main = property(&machine, "MainPID");
    apt_install(&machine, &packed::later("demarc_", ".deb"));
    assert_eq!(property(&machine, "ActiveState"), "active");
    assert_ne!(property(&machine, "MainPID"), main);
    machine.run(&["apt-get", "-qq", "-y", "purge", "demarc"]).ok();
    assert_eq!(property(&machine, "LoadState"), "not-found");
    for gone in ["/var/lib/demarc", "/etc/demarc", "/etc/systemd/system/demarc.service.d", "/run/demarc"] {
        assert!(!machine.path(gone).exists(), "{gone}");
    }
    assert_ne!(machine.run(&["id", "demarc"]).code, Some(0));
}

/// The unit without everything but its mounts, with something else to start in them.
fn probe(unit: &str, drop: &[&str], user: Option<&str>, script: &str) -> String {
    const NOT_FOR_A_PROBE: [&str; 14] = [
        "Type",
        "NotifyAccess",
        "ExecStart",
        "ExecReload",
        "WatchdogSec",
        "Restart",
        "RestartSec",
        "RestartPreventExitStatus",
        "User",
        "Group",
        "CapabilityBoundingSet",
        "AmbientCapabilities",
        "Wants",
        "After",
    ];
    let is_out = |line: &str| {
        let key = line.split('=').next().unwrap_or_default();
        NOT_FOR_A_PROBE.contains(&key) || drop.contains(&key)
    };
    let lines: Vec<&str> = unit.lines().filter(|line| !line.starts_with('#') && !is_out(line)).collect();
    let user = user.map(|user| format!("User={user}\n")).unwrap_or_default();
    let service = format!("[Service]\nType=oneshot\n{user}ExecStart=/bin/sh -c '{script}'\n");
    lines.join("\n").replace("[Service]\n", &service).replace("ConditionPathExists=/etc/demarc/demarc.toml", "")
}

/// What of these files such a probe could open.
fn opened(machine: &Appliance, text: &str) -> Vec<String> {
    machine.write("/etc/systemd/system/probe.service", text);
    systemctl(machine, &["daemon-reload"]);
    machine.shell("rm -rf /var/lib/demarc/probe; install -d -m 777 /var/lib/demarc/probe").ok();
    let told = machine.run(&["systemctl", "start", "probe"]);
    let journal = machine.shell("journalctl -u probe --no-pager | tail -n 20").stdout;
    assert_eq!(told.code, Some(0), "{}{journal}", told.stderr);
    let found = machine.shell("cat /var/lib/demarc/probe/opened").ok();
    found.lines().map(str::to_owned).collect()
}

/// Tries to open each, and writes down which opened. What is expected to open is the proof that it tried.
fn tries(paths: &[&str]) -> String {
    format!(
        "for path in {}; do head -c 1 $path > /dev/null 2>&1 && echo $path; done > /var/lib/demarc/probe/opened; true",
        paths.join(" ")
    )
}

const LOG: &str = "/var/log/asterisk/full";
/// Recordings in other places than the usual ones.
const ELSEWHERE: [&str; 4] = ["/srv/rec/a.wav", "/opt/rec/a.wav", "/home/sync/a.wav", "/vpbx_data/a.wav"];

#[test]
fn each_layer_alone_keeps_recordings_shut() {
    let machine = installed();
    for path in ELSEWHERE {
        machine.write(path, "RIFF");
    }
    machine.write(LOG, "x");
    machine.shell("chmod -R a+rX /srv /opt /home /vpbx_data /var/log/asterisk; chmod 755 /var/lib/demarc").ok();
    machine.shell("/usr/lib/demarc/access forget").ok();
    let all: Vec<&str> = [LOG, RECORDING, MESSAGE].into_iter().chain(ELSEWHERE).collect();
    let unit = fs::read_to_string(machine.path("/lib/systemd/system/demarc.service")).unwrap();

    // The mounts alone: for root with every right, without access lists, and without anything of the program's own.
    let mounts = ["TemporaryFileSystem", "BindPaths", "BindReadOnlyPaths", "InaccessiblePaths", "ProtectHome"];
    assert_eq!(opened(&machine, &probe(&unit, &mounts, None, &tries(&all))), all, "without the mounts all of it opens");
    assert_eq!(opened(&machine, &probe(&unit, &[], None, &tries(&all))), [LOG]);
    // Nor by way of another process, for the user that it runs as.
    let around: Vec<String> = all.iter().map(|path| format!("/proc/1/root{path}")).collect();
    let around: Vec<&str> = around.iter().map(String::as_str).chain([LOG]).collect();
    assert_eq!(opened(&machine, &probe(&unit, &[], Some("demarc"), &tries(&around))), [LOG]);
    // A directory and not a file is bound: what is rotated into it is seen.
    let rotated = format!("mv {LOG} {LOG}.1; echo new > {LOG}; sleep 1");
    machine.write("/root/rotate", &rotated);
    let script = format!("exec < {LOG}; sleep 3; {}", tries(&[&format!("{LOG}.1"), LOG]));
    let text = probe(&unit, &[], None, &script);
    let seen = std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_secs(2));
            machine.run(&["sh", "/root/rotate"]).ok();
        });
        opened(&machine, &text)
    });
    assert_eq!(seen, [format!("{LOG}.1"), LOG.to_owned()]);

    // The access lists alone: the user without any unit.
    let opens = |path: &str| {
        machine.run(&["setpriv", "--reuid=demarc", "--regid=demarc", "--clear-groups", "head", "-c", "1", path]).code
            == Some(0)
    };
    assert!(opens(RECORDING) && opens(MESSAGE), "FreePBX leaves them open to all");
    systemctl(&machine, &["start", "demarc-access"]);
    assert!(!opens(RECORDING) && !opens(MESSAGE) && opens(LOG));
    machine.shell("chown -R asterisk:asterisk /var/spool/asterisk; chmod -R a+rX /var/spool/asterisk").ok();
    assert!(!opens(RECORDING) && !opens(MESSAGE), "as fwconsole chown does it");
    machine.shell("mv /var/spool/asterisk/monitor /data; ln -s /data /var/spool/asterisk/monitor").ok();
    let moved = RECORDING.replace("/var/spool/asterisk/monitor", "/data");
    assert!(!opens(RECORDING) && !opens(&moved), "moved to a larger disk");
    machine.shell("rm -rf /data; mkdir -p /data/2026/11/26; echo x > /data/2026/11/26/b.wav; chmod -R a+rX /data").ok();
    assert!(opens("/data/2026/11/26/b.wav"), "a directory that is made anew has no list");
    set_up(&machine, "");
    systemctl(&machine, &["start", "demarc"]);
    assert!(!opens("/data/2026/11/26/b.wav"), "and gets one when the service starts");
    // What the owner lets it read, and never a recording.
    machine.shell("mkdir -p /var/log/asterisk/closed; echo x > /var/log/asterisk/closed/a; chmod -R go= /var/log/asterisk/closed").ok();
    assert!(!opens("/var/log/asterisk/closed/a"));
    machine.run(&["/usr/lib/demarc/access", "open", "/var/log/asterisk/closed"]).ok();
    machine.shell("umask 077; echo x > /var/log/asterisk/closed/b").ok();
    assert!(opens("/var/log/asterisk/closed/a"));
    for path in ["/var/spool/asterisk/monitor", "/var/spool", "/data/2026"] {
        assert!(machine.run(&["/usr/lib/demarc/access", "open", path]).fails_with(1).contains("recordings"), "{path}");
    }
}

#[test]
fn recordings_are_counted_where_the_owner_opens_them() {
    let machine = installed();
    machine.shell(&format!("touch -d '200 days ago' {RECORDING}; chmod -R go= /var/spool/asterisk/monitor")).ok();
    set_up(&machine, "");
    systemctl(&machine, &["start", "demarc"]);
    let told = recordings(&machine);
    assert!(told.contains("knows of no recordings on this machine"), "by default there are none to be seen: {told}");

    let examples = data::root().join("../../../deploy/package/units/recordings.conf");
    let shipped = fs::read_to_string(machine.path("/usr/share/demarc/recordings.conf")).unwrap();
    assert_eq!(shipped, fs::read_to_string(examples).unwrap());
    machine.write("/etc/systemd/system/demarc.service.d/recordings.conf", &shipped);
    systemctl(&machine, &["daemon-reload"]);
    systemctl(&machine, &["restart", "demarc"]);
    wait::until_true(LIMIT, "recordings to be counted", || {
        recordings(&machine).contains("/var/spool/asterisk/monitor")
    });
    // Only who hands it on keeps the capability.
    let main = property(&machine, "MainPID");
    assert_eq!(of_process(&machine, &main, "CapEff"), "0000000000000002");
    assert_eq!(of_process(&machine, &role(&machine, "collector"), "CapEff"), "0000000000000000");
    machine.run(&["demarc", "recordings", "prune", "--older-than", "90d", "--yes"]).ok();
    assert!(!machine.path(RECORDING).exists(), "removed from a directory that belongs to the PBX");
    assert!(Path::new(&machine.path(MESSAGE)).exists());
}

#[test]
fn setup_writes_what_the_service_starts_with() {
    let machine = installed();
    let answers = format!(
        "stats = true\nhealth = false\nsupport = false\nupdates = false\ntoken = \"none\"\ntrunks = [\"provider1\"]\n\
         [[sources]]\ntype = \"asterisk-csv\"\npath = {MASTER:?}\n"
    );
    machine.write("/root/answers.toml", &answers);
    // As Debian's own Asterisk leaves its logs: to itself and its group.
    machine.shell("chown -R asterisk: /var/log/asterisk; chmod -R o= /var/log/asterisk").ok();
    let dry = machine.run(&["demarc", "setup", "--answers", "/root/answers.toml", "--dry-run"]);
    assert!((dry.stdout + &dry.stderr).contains("/usr/lib/demarc/access open /var/log/asterisk/cdr-csv"));
    machine.run(&["demarc", "setup", "--answers", "/root/answers.toml"]).ok();
    let row = Caller::new(1).inbound_answered(wait::now() as i64 - 60, 5, 30).line(Layout::ALL[0]);
    fs::File::options().append(true).open(machine.path(MASTER)).unwrap().write_all(&row).unwrap();
    let counted = || machine.run(&["demarc", "report", "--by", "direction", "--json"]).json()["calls"] == 1;
    wait::until_true(LIMIT, "a call of records that belong to the phone system", counted);
    assert_eq!(property(&machine, "ActiveState"), "active");
    assert_eq!(machine.shell("stat -c '%U %G' /etc/demarc/demarc.toml").ok(), "demarc demarc\n");
    let foreign = machine.shell("find /etc/demarc /var/lib/demarc ! -user demarc").ok();
    assert_eq!(foreign, "", "nothing there is root's, who set it up");
    // Once more, with another answer, which the daemon that runs takes up.
    machine.write("/root/answers.toml", &answers.replace("stats = true", "stats = false"));
    let main = property(&machine, "MainPID");
    machine.run(&["demarc", "setup", "--answers", "/root/answers.toml"]).ok();
    assert_eq!(property(&machine, "MainPID"), main);
    assert_eq!(machine.run(&["demarc", "status", "--json"]).json()["daemon"]["upload"], false);
}
