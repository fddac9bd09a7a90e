//! The units by themselves: what systemd's own checks say of them, and that no known tree of recordings was forgotten.

use std::{fs, path::PathBuf};

use demarc_tests::{appliance::Appliance, data, machine, packed};

use super::apt_install;

/// What a unit may expose at most, by the reckoning of `systemd-analyze security`.
const MOST: [(&str, f32); 4] = [
    ("demarc.service", 1.5),
    ("demarc-hub.service", 1.5),
    ("demarc-access.service", 1.5),
    ("demarc-enroll.service", 1.5),
];

fn package(name: &str) -> PathBuf {
    data::root().join("../../../deploy/package").join(name)
}

fn read(name: &str) -> String {
    fs::read_to_string(package(name)).unwrap()
}

#[test]
fn units_pass_systemds_own_checks() {
    assert!(machine::is_root(), "a machine of one's own takes root");
    let machine = Appliance::fresh();
    // With the programs in place that they start.
    apt_install(&machine, &packed::current("demarc_", ".deb"));
    apt_install(&machine, &packed::current("demarc-hub_", ".deb"));
    for (unit, most) in MOST {
        let path = format!("/lib/systemd/system/{unit}");
        let verified = machine.run(&["systemd-analyze", "verify", &path]);
        assert_eq!((verified.code, verified.stderr.as_str()), (Some(0), ""), "{unit}: {}", verified.stdout);
        let table = machine.run(&["systemd-analyze", "security", "--offline=true", "--no-pager", &path]).ok();
        let line = table.lines().last().unwrap();
        let exposure: f32 = line.split(": ").nth(1).and_then(|rest| rest.split(' ').next()?.parse().ok()).unwrap();
        println!("{unit}: exposure {exposure} (at most {most})");
        assert!(exposure <= most, "{unit}: {table}");
    }
    // Old keys of EL7 are named by a new systemd, and nothing else is.
    machine.write("/etc/systemd/system/demarc.service", &read("units/demarc-el7.service"));
    let verified = machine.run(&["systemd-analyze", "verify", "/etc/systemd/system/demarc.service"]);
    for line in verified.stderr.lines().filter(|line| !line.trim().is_empty()) {
        assert!(line.contains("CPUShares=") || line.contains("MemoryLimit=") || line.contains("BlockIO"), "{line}");
    }
}

/// The trees that the agent knows, as its source lists them.
fn known_trees() -> Vec<String> {
    let source = fs::read_to_string(data::root().join("../../../agent/src/confine/known.rs")).unwrap();
    let list = source.split("TREES: &[&str] = &[").nth(1).unwrap().split("];").next().unwrap();
    list.lines().filter_map(|line| Some(line.trim().strip_prefix('"')?.strip_suffix("\",")?.to_owned())).collect()
}

/// The words after that key in a unit, on all its lines.
fn words<'a>(unit: &'a str, key: &str) -> Vec<&'a str> {
    let lines = unit.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    lines.flat_map(str::split_whitespace).map(|word| word.trim_start_matches('-')).collect()
}

fn is_below(path: &str, tree: &str) -> bool {
    path == tree || path.strip_prefix(tree).is_some_and(|rest| rest.starts_with('/'))
}

#[test]
fn no_known_tree_of_recordings_was_forgotten() {
    let trees = known_trees();
    assert!(trees.len() > 20, "{trees:?}");
    let unit = read("units/demarc.service");
    let mut absent: Vec<&str> =
        words(&unit, "TemporaryFileSystem").iter().map(|word| word.trim_end_matches(":ro")).collect();
    absent.extend(words(&unit, "InaccessiblePaths"));
    absent.push("/home"); // ProtectHome
    assert!(unit.contains("\nProtectHome=yes"));
    let there: Vec<&str> = ["BindPaths", "BindReadOnlyPaths"]
        .iter()
        .flat_map(|key| words(&unit, key))
        .map(|word| word.rsplit(':').next().unwrap())
        .collect();
    let el7 = read("units/demarc-el7.service");
    let mut absent_el7 = words(&el7, "InaccessibleDirectories");
    absent_el7.push("/home");
    let access = read("agent/access");
    for tree in &trees {
        // What was built there from source keeps logs in the same directory; recordings have two of their own.
        let parts = match tree.as_str() {
            "/usr/local/freeswitch" => vec![format!("{tree}/recordings"), format!("{tree}/storage")],
            "/var/www/db/fax.db" => vec!["/var/www/db".to_owned()],
            _ => vec![tree.clone()],
        };
        for part in parts {
            assert!(absent.iter().any(|path| is_below(&part, path)), "{part} is open in demarc.service");
            assert!(!there.iter().any(|path| is_below(&part, path)), "{part} is bound back in demarc.service");
            assert!(absent_el7.iter().any(|path| is_below(&part, path)), "{part} is open in demarc-el7.service");
            assert!(access.lines().any(|line| line == part), "{part} gets no access list");
        }
    }
}
