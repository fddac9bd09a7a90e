//! The whole life of an installation, in order: installed, set up, calls of a real Asterisk counted, a report at a hub, upgraded
//! through the tunnel by apt itself, gone back, and gone without a trace.

use std::{fs, io::Write, time::Duration};

use demarc_proto::Report;
use demarc_tests::{appliance::Appliance, asterisk::Asterisk, hub::Hub, packed, repository::Repository, wait};

use super::{LIMIT, MASTER, debian::without_copies, service::installed};

const CALLS: u32 = 12;
/// A window of a minute closes, and its calls have to become quiet.
const ONE_WINDOW: Duration = Duration::from_secs(150);

/// apt on that machine, with the vendor's repository as its only source.
fn apt(machine: &Appliance, words: &[&str]) -> demarc_tests::process::Finished {
    let only = ["-o", "Dir::Etc::sourcelist=sources.list.d/demarc.sources", "-o", "Dir::Etc::sourceparts=-"];
    let quiet = ["apt-get", "-q", "-y", "--allow-downgrades", "-o", "APT::Get::List-Cleanup=0"];
    machine.run(&[&quiet[..], &only[..], words].concat())
}

fn version(machine: &Appliance) -> String {
    machine.run(&["demarc", "--version"]).ok().trim().to_owned()
}

fn packaged(machine: &Appliance) -> String {
    machine.run(&["dpkg-query", "-W", "-f", "${Version}", "demarc"]).ok()
}

/// Brings the records that Asterisk wrote since to where the machine's own would write them; says how many bytes there are.
fn bring_records(asterisk: &Asterisk, machine: &Appliance, already: usize) -> usize {
    // There is none before the first call ended.
    let all = fs::read(asterisk.master()).unwrap_or_default();
    let mut file = fs::File::options().append(true).open(machine.path(MASTER)).unwrap();
    file.write_all(&all[already..]).unwrap();
    all.len()
}

#[test]
fn from_the_first_apt_install_to_the_purge() {
    let repository = Repository::new();
    repository.add_file(&packed::current("demarc_", ".deb"));
    repository.publish(None);
    let mut hub = Hub::init();
    let mut config = fs::read_to_string(hub.config()).unwrap();
    config.push_str(&format!("\n[updates]\ndir = \"{}\"\n", repository.root().display()));
    fs::write(hub.config(), config).unwrap();
    hub.serve();
    let asterisk = Asterisk::start();
    let machine = installed();

    // Set up by an answers file, as for one of many machines.
    let answers = format!(
        "stats = true\nhealth = true\nsupport = false\nupdates = true\ntoken = \"{}\"\ntrunks = [\"provider1\", \"provider2\"]\n",
        hub.token("site-one").trim()
    );
    machine.write("/root/answers.toml", &answers);
    let done = machine.run(&["demarc", "setup", "--answers", "/root/answers.toml"]).ok();
    assert!(done.contains("runs since") && done.contains("site-one"), "it ends with the screen of the status: {done}");
    let status = || machine.run(&["demarc", "status", "--json"]).json()["daemon"].clone();
    wait::until_true(LIMIT, "the tunnel", || status()["linked"]["connected"] == true);
    // For a test, a window of a minute in place of a day, and no day of grace.
    let text = fs::read_to_string(machine.path("/etc/demarc/demarc.toml")).unwrap();
    assert!(text.contains("[stats]"), "{text}");
    fs::write(
        machine.path("/etc/demarc/demarc.toml"),
        text.replacen("[stats]", "[stats]\nwindow = \"1m\"\ngrace = \"0s\"", 1),
    )
    .unwrap();
    wait::until_true(LIMIT, "the change", || status()["collected"]["window_closes"].as_u64() < Some(wait::now() + 200));

    asterisk.call("inbound", CALLS);
    let mut brought = 0;
    wait::until_true(Duration::from_secs(90), "the calls of Asterisk", || {
        brought = bring_records(&asterisk, &machine, brought);
        let counted = machine.run(&["demarc", "report", "--by", "direction", "--json"]).json();
        counted["calls"].as_u64() == Some(CALLS.into())
    });
    let bodies = hub.wait_for_reports("site-one", 1, ONE_WINDOW);
    let report = Report::from_body(&bodies[0]).unwrap();
    assert_eq!(report.volume.iter().map(|group| group.calls).sum::<u32>(), CALLS);
    let verified = machine.run(&["demarc", "sent", "verify"]).ok();
    assert!(verified.contains("The ledger is whole"), "{verified}");

    // The vendor's list, as the administrator adds it by docs/updates.md.
    machine.write("/etc/apt/keyrings/vendor.asc", &fs::read_to_string(repository.keyring()).unwrap());
    machine.write("/etc/apt/sources.list.d/demarc.sources", include_str!("../../../deploy/examples/demarc.sources"));
    machine.write("/etc/apt/apt.conf.d/99demarc", include_str!("../../../deploy/examples/99demarc"));
    apt(&machine, &["update"]).ok();
    let first = packaged(&machine);
    repository.add_file(&packed::later("demarc_", ".deb"));
    // Somebody else's signature: nothing is upgraded.
    repository.publish_forged();
    let forged = apt(&machine, &["update"]);
    assert!(forged.stderr.contains("NO_PUBKEY") || forged.stderr.contains("not signed"), "{forged:?}");
    apt(&machine, &["install", "--only-upgrade", "demarc"]).ok();
    assert_eq!(packaged(&machine), first);
    // The vendor's: apt fetches it through the very daemon that it replaces.
    repository.publish(None);
    apt(&machine, &["update"]).ok();
    apt(&machine, &["install", "--only-upgrade", "demarc"]).ok();
    assert!(packaged(&machine).starts_with(packed::LATER), "{}", packaged(&machine));
    wait::until_true(LIMIT, "the tunnel after the upgrade", || status()["linked"]["connected"] == true);
    let counted = || machine.run(&["demarc", "report", "--by", "direction", "--json"]).json()["calls"].as_u64();
    assert_eq!(counted(), Some(CALLS.into()));
    // And back, by the package manager as well.
    apt(&machine, &["install", &format!("demarc={first}")]).ok();
    assert_eq!((packaged(&machine), counted()), (first, Some(CALLS.into())));
    assert!(version(&machine).starts_with("demarc "));
    wait::until_true(LIMIT, "the tunnel after going back", || status()["linked"]["connected"] == true);
    let fetched = machine.shell("grep -c '\"kind\":\"fetch\"' /var/lib/demarc/collector/ledger.jsonl").ok();
    assert!(fetched.trim().parse::<u32>().unwrap() >= 6, "each request stands in the ledger: {fetched}");

    machine.run(&["apt-get", "-qq", "-y", "purge", "demarc"]).ok();
    let lines = without_copies(machine.everything());
    let left: Vec<_> = lines.keys().filter(|path| path.contains("demarc")).collect();
    let added = ["/etc/apt/apt.conf.d/99demarc", "/etc/apt/sources.list.d/demarc.sources"];
    assert_eq!(left, added, "nothing but what the administrator added by hand");
    assert_eq!(machine.shell("getent passwd demarc; ps -e -o args= | grep '[d]emarc'; true").ok(), "");
}
