//! Each role is confined by the kernel, as root and as an ordinary user, and says where the kernel cannot do it.

use std::{fs, os::unix::fs::chown, path::Path};

use demarc_tests::{
    hub::Hub,
    machine, programs,
    site::{LIMIT, Setup, Site},
    traffic::Traffic,
    wait,
};
use serde_json::Value;

/// Somebody without any right of his own.
const NOBODY: u32 = 65_534;

/// Reading files whatever their mode says (`capabilities(7)`).
const CAP_DAC_READ_SEARCH: u64 = 1 << 2;

/// A site that can be run by an ordinary user: programs, files and directories within his reach.
fn site_of_an_ordinary_user(hub: &Hub) -> Site {
    let mut site = Site::new(&Setup::default());
    let program = site.path("demarc");
    machine::copy_program(programs::agent(), &program);
    site.use_program(&program);
    for path in [site.path(""), site.path("pbx"), site.master(), site.config()] {
        chown(&path, Some(NOBODY), Some(NOBODY)).unwrap();
    }
    site.wrap_in(&["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]);
    site.enroll(&hub.token("site-one")).ok();
    site
}

/// What children of `doctor`, confined like the roles, were refused by the kernel.
fn assert_proven(site: &Site) {
    let finished = site.run(&["doctor", "--json"]);
    let found: Value = serde_json::from_str(&finished.stdout)
        .unwrap_or_else(|error| panic!("{error}: {} {}", finished.stdout, finished.stderr));
    assert_eq!((finished.code, found["good"].as_bool()), (Some(0), Some(true)), "{found:#}");
    let proofs = found["proofs"].as_array().unwrap();
    assert!(proofs.iter().all(|proof| proof["holds"] != false), "{found:#}");
    let content = ["open a recording", "open a recording by a symbolic link", "open the canary voicemail"];
    let link = ["read call records", "open the collector's store", "open the ledger", "put a file into the outbox"];
    let collector = ["connect to another machine", "make a UDP socket", "read the site's private key"];
    let both = content.into_iter().flat_map(|tried| [("link", tried), ("collector", tried)]);
    let own = link.map(|tried| ("link", tried)).into_iter().chain(collector.map(|tried| ("collector", tried)));
    for (role, tried) in both.chain(own) {
        let proof = proofs.iter().find(|proof| proof["role"] == role && proof["tried"] == tried);
        let proof = proof.unwrap_or_else(|| panic!("the {role} did not try to {tried}: {found:#}"));
        assert_eq!((&proof["expected"], &proof["holds"]), (&Value::from("refused"), &Value::from(true)), "{proof}");
    }
}

/// From outside: what the kernel says of a role.
fn assert_confined(site: &Site, role: &str) {
    let pid = wait::until(LIMIT, role, || site.role(role));
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned();
    assert_eq!(field("NoNewPrivs:"), "1", "{role}");
    assert_eq!(field("Seccomp:"), "2", "{role}");
    // As root the collector keeps the one right to read what belongs to the PBX's user; Landlock says which files.
    let capabilities = u64::from_str_radix(&field("CapEff:"), 16).unwrap();
    let allowed = if role == "collector" { CAP_DAC_READ_SEARCH } else { 0 };
    assert_eq!(capabilities & !allowed, 0, "{role} keeps capabilities: {capabilities:x}");
    let told = &site.status()[role]["confined"];
    assert!(told["landlock"].as_u64().is_some_and(|version| version > 0), "{role}: {told}");
    assert_eq!(told["seccomp"], true);
    assert!(told["refused"].as_u64().is_some_and(|count| count > 0), "{role} tried its canaries: {told}");
    // The descriptors it holds: no call record in the link, no internet socket in the collector.
    for descriptor in fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten() {
        let Ok(target) = fs::read_link(descriptor.path()) else { continue };
        let target = target.to_string_lossy().into_owned();
        if role == "link" {
            assert!(!target.contains("/pbx/") && !target.contains("/collector/"), "the link holds {target}");
        }
    }
    if role == "collector" {
        assert_eq!(internet_sockets(pid), 0, "the collector holds an internet socket");
    }
}

/// How many of a process's descriptors are internet sockets.
fn internet_sockets(pid: i32) -> usize {
    let tables = ["tcp", "tcp6", "udp", "udp6"].map(|table| fs::read_to_string(format!("/proc/net/{table}")).unwrap());
    let sockets = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten().filter_map(|entry| {
        let target = fs::read_link(entry.path()).ok()?.to_string_lossy().into_owned();
        Some(target.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned())
    });
    sockets
        .filter(|inode| tables.iter().flat_map(|t| t.lines()).any(|line| line.split_whitespace().nth(9) == Some(inode)))
        .count()
}

#[test]
fn every_role_is_confined_as_root() {
    assert!(machine::has_landlock(), "this kernel has no working Landlock: promises 1 and 3 cannot be tested here");
    let hub = Hub::start();
    let mut site = Site::new(&Setup::default());
    site.enroll(&hub.token("site-one")).ok();
    site.start();
    site.wait_for_tunnel();
    for role in ["collector", "link"] {
        assert_confined(&site, role);
    }
    assert_proven(&site);
    site.stop();
    assert_proven(&site);
}

#[test]
fn every_role_is_confined_as_an_ordinary_user() {
    assert!(machine::has_landlock(), "this kernel has no working Landlock: promises 1 and 3 cannot be tested here");
    assert!(machine::is_root(), "this test becomes another user: run the tests as root");
    let hub = Hub::start();
    let mut site = site_of_an_ordinary_user(&hub);
    site.start();
    site.wait_for_tunnel();
    for role in ["collector", "link"] {
        assert_confined(&site, role);
    }
    assert_proven(&site);
    let mut traffic = Traffic::new(51);
    traffic.feed(&site, 10);
    site.wait_for_calls(10, "direction", LIMIT);
    // Root may use the commands too, and leaves no file that the user cannot write.
    site.wrap_in(&[]);
    site.report("direction");
    site.run(&["stats", "off"]).ok();
    assert!(!site.uploads());
    for file in demarc_tests::hub::files_below(&site.state()) {
        use std::os::unix::fs::MetadataExt;
        assert_eq!(file.metadata().unwrap().uid(), NOBODY, "{}", file.display());
    }
}

#[test]
fn everything_kept_is_closed_to_others() {
    use std::os::unix::fs::PermissionsExt;
    let hub = Hub::start();
    let mut site = Site::new(&Setup::default());
    site.enroll(&hub.token("site-one")).ok();
    site.start();
    site.wait_for_tunnel();
    site.stop();
    for home in [site.state(), hub.home()] {
        for file in demarc_tests::hub::files_below(&home) {
            // A file is closed by its own mode, or by that of a directory on the way to it.
            let way = file.ancestors().take_while(|path| path.starts_with(&home));
            let closed = way.clone().any(|path| path.metadata().unwrap().permissions().mode() & 0o077 == 0);
            let mode = file.metadata().unwrap().permissions().mode() & 0o777;
            assert!(closed || !is_secret(&file) && mode & 0o022 == 0, "{} has mode {mode:o}", file.display());
            let is_agents = home == site.state();
            assert!(!is_agents || mode & 0o077 == 0, "{} has mode {mode:o}", file.display());
            assert!(!is_secret(&file) || mode & 0o077 == 0, "{} has mode {mode:o}", file.display());
        }
    }
}

fn is_secret(file: &Path) -> bool {
    fs::read(file).is_ok_and(|bytes| String::from_utf8_lossy(&bytes).contains("PRIVATE KEY"))
}
