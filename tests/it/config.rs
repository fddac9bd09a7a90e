//! The config file: a change counts within a second, a bad one is refused in words, and comments stay.

use std::{
    fs,
    time::{Duration, Instant},
};

use demarc_tests::{
    process, programs,
    site::{LIMIT, Setup, Site},
    traffic::Traffic,
    wait,
};
use serde_json::Value;

/// How soon an edit has to be in force. The promise is one second; the rest is for a busy machine.
const SOON: Duration = Duration::from_secs(10);

fn site() -> Site {
    Site::new(&Setup { window: "1d".into(), grace: "24h".into(), ..Setup::default() })
}

#[test]
fn a_good_edit_is_in_force_within_a_second_however_it_is_made() {
    let mut site = site();
    site.start();
    assert!(site.uploads());
    let off = site.read_config().replace("upload = true", "upload = false");
    // Replaced by rename, as careful editors do, and back in place, as careless ones do.
    site.write_config(&off);
    wait::until_true(SOON, "the renamed file to count", || !site.uploads());
    fs::write(site.config(), off.replace("upload = false", "upload = true")).unwrap();
    wait::until_true(SOON, "the rewritten file to count", || site.uploads());
    assert!(site.daemon().is_up());
}

#[test]
fn an_edit_made_while_demarc_starts_is_not_missed() {
    let mut site = site();
    site.launch();
    // The socket is there before the daemon is confined, let alone looks at the file again: no time must be lost here.
    let (socket, started) = (site.state().join("control.sock"), Instant::now());
    while !socket.exists() {
        assert!(started.elapsed() < LIMIT, "no socket");
        std::hint::spin_loop();
    }
    site.write_config(&site.read_config().replace("upload = true", "upload = false"));
    wait::until_true(SOON, "the edit to count", || site.answers() && !site.uploads());
}

#[test]
fn a_bad_edit_is_refused_with_file_line_and_key_and_changes_nothing() {
    let mut site = site();
    site.start();
    let good = site.read_config();
    // A command cannot read a bad file either: the daemon is watched by way of a copy of the good one.
    let copy = site.path("copy.toml");
    fs::write(&copy, &good).unwrap();
    let daemon = || -> Value {
        let mut command = std::process::Command::new(programs::agent());
        command.arg("--config").arg(&copy).args(["status", "--json"]);
        process::run(&mut command, LIMIT).json()["daemon"].take()
    };
    let line_of = |text: &str, key: &str| text.lines().position(|line| line.contains(key)).unwrap() + 1;
    let bad = [
        (good.replace("upload = true", "uplaod = true"), "uplaod"),
        (good.replace("upload = true", "upload = \"yes\""), "upload"),
        (good.replace("window = \"1d\"", "window = \"7m\""), "window"),
        (good.replace("floor = 10", "floor = 1"), "floor"),
        (good.replace("floor = 10", "floor = "), "floor"),
        (good.clone() + "[nonsense]\nx = 1\n", "nonsense"),
    ];
    for (text, key) in &bad {
        site.write_config(text);
        let line = line_of(text, key);
        let told = wait::until(SOON, &format!("{key} to be refused"), || {
            daemon()["config_error"].as_str().filter(|told| told.contains(key)).map(str::to_owned)
        });
        assert!(told.contains("demarc.toml") && told.contains(&line.to_string()), "{key} in line {line}: {told}");
        assert_eq!(daemon()["upload"], true, "{key}: the last good settings stay");
        // A command says the same, in the agreed way.
        for words in [&["stats", "preview"][..], &["run", "--check"]] {
            let complaint = site.run(words).fails_with(64);
            assert!(complaint.contains(key) && complaint.contains(&line.to_string()), "{complaint}");
        }
    }
    // The daemon goes on counting meanwhile, and takes the mended file.
    let mut traffic = Traffic::new(31);
    traffic.feed(&site, 5);
    site.write_config(&good.replace("upload = true", "upload = false"));
    wait::until_true(SOON, "the mended file to count", || !site.uploads() && site.status()["config_error"].is_null());
    site.wait_for_calls(5, "direction", LIMIT);
    // What does not start does not start: the same words, the same exit code.
    site.stop();
    let checked = site.run(&["run", "--check"]);
    assert_eq!((checked.code, checked.stdout, checked.stderr), (Some(0), String::new(), String::new()));
    site.write_config(&bad[0].0);
    let complaint = site.run(&["run"]).fails_with(64);
    assert!(complaint.contains("uplaod"), "{complaint}");
}

#[test]
fn a_switch_edits_its_line_and_nothing_else() {
    let mut site = site();
    let text = site
        .read_config()
        .replace("upload = true", "upload   =   true   # our decision of 3 May\n# next line stays")
        .replace("[stats]", "# about statistics\n[stats]   # section");
    site.write_config(&text);
    // Without a daemon first, then with one.
    for running in [false, true] {
        if running {
            site.start();
        }
        site.run(&["stats", "off"]).ok();
        let off = site.read_config();
        assert!(off.contains("# our decision of 3 May\n# next line stays"), "{off}");
        assert!(off.contains("# about statistics\n[stats]   # section"), "{off}");
        assert!(!off.contains("upload   =   true") && off.contains("false"), "{off}");
        site.run(&["stats", "on"]).ok();
        let expected: Vec<&str> = text.split_whitespace().collect();
        assert_eq!(site.read_config().split_whitespace().collect::<Vec<_>>(), expected);
    }
    site.run(&["tunnel", "off"]).ok();
    assert!(site.read_config().contains("enabled = false"));
    site.run(&["tunnel", "on"]).ok();
    // Wrong usage has its own exit code, and help is a success.
    site.run(&["stats", "sideways"]).fails_with(2);
    site.run(&["no-such-command"]).fails_with(2);
    assert!(site.run(&["--help"]).ok().contains("demarc"));
}

#[test]
fn the_environment_overrides_the_file_and_is_checked_as_well() {
    let mut site = site();
    site.set_env("DEMARC__STATS__UPLOAD", "perhaps");
    let complaint = site.run(&["run"]).fails_with(64);
    assert!(complaint.contains("DEMARC__STATS__UPLOAD"), "{complaint}");
    site.set_env("DEMARC__STATS__UPLOAD", "false");
    site.start();
    assert!(!site.uploads());
    assert!(site.status()["upload_decided_by"].as_str().unwrap().contains("DEMARC__STATS__UPLOAD"));
    site.stop();
    site.unset_env("DEMARC__STATS__UPLOAD");
    // The signal of the whole machine wins over everything.
    site.set_env("DEMARC__STATS__UPLOAD", "true");
    site.set_env("DO_NOT_TRACK", "1");
    site.start();
    assert!(!site.uploads());
    assert!(site.status()["upload_decided_by"].as_str().unwrap().contains("DO_NOT_TRACK"));
}

#[test]
fn a_missing_or_unreadable_file_is_said_in_words() {
    let site = site();
    fs::remove_file(site.config()).unwrap();
    let complaint = site.run(&["status"]).fails_with(64);
    assert!(complaint.contains("demarc.toml"), "{complaint}");
}
