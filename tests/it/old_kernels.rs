//! Kernels with an older Landlock than this machine's, and with none: what can be enforced is, what cannot is refused or said.

use std::{io::Write, net::TcpListener};

use demarc_tests::{
    desk::{Desk, Wish, allow, last_session, recording, trusting},
    hub::Hub,
    machine, process,
    site::{LIMIT, Setup, Site},
    traffic::Traffic,
};
use serde_json::Value;

/// Words before a command that have it run as if on such a kernel.
fn kernel(version: &str) -> [&str; 2] {
    [env!("CARGO_BIN_EXE_old_kernel"), version]
}

/// A site on a kernel with that version of Landlock, a hub, and a desk that both know.
fn opened(version: u64) -> (Hub, Desk, Site) {
    assert!(machine::is_root(), "who answers for the kernel looks into other processes, and so needs root");
    let (hub, desk) = (Hub::start(), Desk::new());
    let mut site = Site::new(&trusting(&desk, &Setup::default()));
    site.wrap_in(&kernel(&version.to_string()));
    site.enroll(&hub.token("site-one")).ok();
    site.start();
    site.wait_for_tunnel();
    desk.certify_host(&site);
    (hub, desk, site)
}

/// What confined the worker of the last session, as its recording says.
fn last_confinement(site: &Site) -> Value {
    let session = last_session(site);
    recording(site, session["session"].as_str().unwrap())[0]["demarc"]["confined"].clone()
}

fn says(gaps: &Value, words: &str) -> bool {
    gaps.as_array().unwrap().iter().any(|gap| gap.as_str().unwrap().contains(words))
}

fn works_with(version: u64) {
    let (hub, desk, site) = opened(version);
    let holds_ports = version >= 4;
    let status = site.status();
    for role in ["supervisor", "collector", "link"] {
        let confined = &status[role]["confined"];
        assert_eq!(confined["landlock"], version, "{role}: {confined}");
        assert!(confined["refused"].as_u64().unwrap() >= 1, "{role}: {confined}");
    }
    assert_ne!(says(&status["link"]["confined"]["gaps"], "limit the link to the hub's port"), holds_ports, "{status}");
    let mut traffic = Traffic::new(52);
    traffic.feed(&site, 10);
    site.wait_for_calls(10, "direction", LIMIT);

    // What cannot be held is refused, in words that say what would be needed and what can be had.
    for scope in ["shell", "files"] {
        let refused = site.run(&["support", "allow", "--for", "1h", "--scope", scope]).fails_with(1);
        for words in [format!("the scope {scope} is refused"), format!("Landlock {version}"), "Linux 6.12".to_owned()] {
            assert!(refused.contains(&words), "{words:?} is missing: {refused}");
        }
        assert!(refused.contains("diagnose and forward=PORT can be granted"), "{refused}");
    }

    let grant = allow(&site, "5m", "diagnose");
    let key = desk.engineer("ada", &Wish::proper(&grant));
    assert!(desk.run(&hub, &key, &["disk"]).ok().contains('%'));
    assert_eq!(last_confinement(&site)["landlock"], version);

    let page = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = page.local_addr().unwrap().port();
    std::thread::spawn(move || page.incoming().flatten().for_each(|mut one| drop(one.write_all(b"the page\n"))));
    let grant = allow(&site, "5m", &format!("forward={port}"));
    let key = desk.engineer("ada", &Wish::proper(&grant));
    let reach = |port: u16| {
        let mut ssh = desk.ssh(&hub, &key);
        process::run(ssh.args(["-W", &format!("127.0.0.1:{port}"), "site-one"]), LIMIT)
    };
    assert_eq!(reach(port).ok(), "the page\n");
    let confined = last_confinement(&site);
    assert_eq!(confined["landlock"], version);
    assert_ne!(says(&confined["gaps"], "limit a session to one port"), holds_ports, "{confined}");
    // By the worker's own word, where the kernel has none in it.
    let refused = reach(machine::free_port());
    assert!(refused.code != Some(0) && refused.stdout.is_empty(), "{refused:?}");

    // The doctor says why, and the rest holds: what cannot be enforced is not tried as if it were.
    let doctor = site.run(&["doctor", "--json"]).json();
    let checks = doctor["checks"].to_string();
    for words in [
        format!("Support is held back: the scope shell is refused on this kernel: it has Landlock {version}"),
        format!("Support is held back: the scope files is refused on this kernel: it has Landlock {version}"),
        "Support can be let in by a grant, and is confined then: diagnose, forward=443.".to_owned(),
        format!("Landlock {version} works"),
    ] {
        assert!(checks.contains(&words), "{words:?} is missing: {checks}");
    }
    let proofs = doctor["proofs"].as_array().unwrap();
    for role in ["supervisor", "collector", "link", "session diagnose", "session forward"] {
        let tried = proofs.iter().filter(|proof| proof["role"] == role && proof["holds"] == true).count();
        assert!(tried > 5, "{role}: {doctor:#}");
    }
}

/// What Debian 12 has.
#[test]
fn landlock_2_confines_the_roles_and_what_it_cannot_hold_is_refused() {
    works_with(2);
}

#[test]
fn landlock_4_holds_ports_as_well() {
    works_with(4);
}

#[test]
fn the_versions_around_them_do_what_theirs_can() {
    [1, 3, 5].into_iter().for_each(works_with);
}

#[test]
fn without_landlock_it_refuses_or_says_so_loudly() {
    let desk = Desk::new();
    let setup = trusting(&desk, &Setup::default());
    for version in ["absent", "off"] {
        let mut site = Site::new(&Setup { top: "confinement = \"required\"\n".into(), ..setup.clone() });
        site.wrap_in(&kernel(version));
        site.launch();
        assert_eq!(site.daemon().ended(LIMIT), Some(1), "{}", site.log());
        let log = site.log();
        for words in ["Landlock is missing or does not work", "demarc does not run like that", "best-effort"] {
            assert!(log.contains(words), "{words:?} is missing: {log}");
        }
        let doctor = site.run(&["doctor"]);
        assert_eq!(doctor.code, Some(1), "{}", doctor.stdout);
        assert!(doctor.stdout.contains("demarc does not run without it"), "{}", doctor.stdout);
        site.stop();

        site.configure(&Setup { top: "confinement = \"best-effort\"\n".into(), ..setup.clone() });
        site.start();
        let mut traffic = Traffic::new(52);
        traffic.feed(&site, 10);
        site.wait_for_calls(10, "direction", LIMIT);
        assert!(site.log().contains("THIS KERNEL CANNOT CONFINE DEMARC"), "{}", site.log());
        let status = site.status();
        assert!(status["collector"]["confined"]["landlock"].is_null(), "{status}");
        assert!(says(&status["collector"]["confined"]["gaps"], "Landlock"), "{status}");
        assert!(site.run(&["status"]).ok().contains("NO LANDLOCK"));
        // What Landlock does not do, seccomp still does.
        assert_eq!(status["collector"]["confined"]["seccomp"], true);
        let checks = site.run(&["doctor", "--json"]).stdout;
        for scope in ["shell", "files"] {
            let words = format!("the scope {scope} is refused on this kernel: Landlock is missing");
            assert!(checks.contains(&words), "{words:?} is missing: {checks}");
        }
    }
}
