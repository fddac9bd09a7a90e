//! The manager interface of a real Asterisk: the witness of the file, and how the PBX is right now.

use std::{fs, time::Duration};

use demarc_tests::{
    asterisk::{Asterisk, KINDS},
    oracle,
    site::{Setup, Site},
    wait,
};
use serde_json::Value;

const LIMIT: Duration = Duration::from_secs(90);

/// A site whose first source is that Asterisk's file, and whose second is its manager interface.
fn site(asterisk: &Asterisk, user: &str, secret: &str) -> Site {
    let site = Site::new(&Setup { upload: false, ..Setup::default() });
    let manager = format!(
        "[[pbx.source]]\ntype = \"ami\"\naddress = {:?}\nuser = {user:?}\nsecret = {secret:?}\n[stats]\n",
        asterisk.manager()
    );
    let text = site.read_config().replace(site.master().to_str().unwrap(), asterisk.master().to_str().unwrap());
    let text = text.replace("[stats]\n", &manager).replace("[pbx]\n", "[pbx]\npatience = \"5s\"\n");
    site.write_config(&text);
    site
}

fn source(site: &Site, kind: &str) -> Value {
    let sources = site.status()["collected"]["sources"].take();
    let is_it = |source: &&Value| source["name"].as_str().is_some_and(|name| name.starts_with(kind));
    sources.as_array().into_iter().flatten().find(is_it).cloned().unwrap_or_default()
}

fn wait_until_connected(site: &Site) {
    wait::until_true(LIMIT, "the manager interface", || site.status()["collected"]["pbx"]["connected"] == true);
}

fn count(source: &Value, key: &str) -> u64 {
    source[key].as_u64().unwrap_or_default()
}

#[test]
fn a_record_counts_once_whoever_tells_of_it() {
    let asterisk = Asterisk::start();
    let mut site = site(&asterisk, "demarc", "right");
    site.start();
    wait_until_connected(&site);
    let mut calls = 0;
    for (round, (kind, ..)) in KINDS.into_iter().enumerate() {
        let count = 1 + round as u32 % 2;
        asterisk.call(kind, count);
        calls += u64::from(count);
    }
    let report = site.wait_for_calls(calls, "direction,outcome", LIMIT);
    let by_file = oracle::printed(&report, "direction,outcome");

    // All that the file told, the witness told too, and nothing beside it, also after it has lost its patience.
    wait::until_true(LIMIT, "the witness", || {
        let (file, witness) = (source(&site, "asterisk-csv"), source(&site, "ami"));
        count(&file, "rows") > 0 && count(&file, "rows") == count(&witness, "rows")
    });
    std::thread::sleep(Duration::from_secs(7));
    let witness = source(&site, "ami");
    assert_eq!((count(&witness, "rescued"), count(&witness, "malformed")), (0, 0), "{witness}");
    assert_eq!(
        count(&witness, "confirmed") + count(&source(&site, "asterisk-csv"), "confirmed"),
        count(&witness, "rows")
    );
    let report = site.report("direction,outcome");
    assert_eq!(report["calls"].as_u64(), Some(calls));
    assert_eq!(oracle::printed(&report, "direction,outcome"), by_file);

    // The file fails: the witness alone tells of the same kinds of calls, and they count like the others.
    asterisk.console_command("module unload cdr_csv.so");
    let size = fs::metadata(asterisk.master()).unwrap().len();
    for (round, (kind, ..)) in KINDS.into_iter().enumerate() {
        asterisk.call(kind, 1 + round as u32 % 2);
    }
    let report = site.wait_for_calls(2 * calls, "direction,outcome", LIMIT);
    assert_eq!(fs::metadata(asterisk.master()).unwrap().len(), size);
    let twice = oracle::printed(&report, "direction,outcome");
    for (words, figures) in &by_file {
        assert_eq!(twice[words].calls, 2 * figures.calls, "{words:?}");
    }

    // Asterisk is asked every few seconds, and such a call is up for three.
    wait::until_true(LIMIT, "calls that are up", || {
        asterisk.call("inbound", 1);
        site.status()["collected"]["pbx"]["active_calls"].as_u64().is_some_and(|active| active > 0)
    });
    let pbx = site.status()["collected"]["pbx"].take();
    assert!(pbx["peak_today"]["calls"].as_u64().unwrap() > 0, "{pbx}");
    let peak = site.report("direction")["peak"].take();
    assert_eq!(peak["calls"], pbx["peak_today"]["calls"], "{peak}");
}

#[test]
fn whatever_befalls_the_connection_is_said_and_mended() {
    let asterisk = Asterisk::start();
    let mut site = site(&asterisk, "demarc", "wrong");
    site.start();
    let trouble = |site: &Site| source(site, "ami")["trouble"].as_str().unwrap_or_default().to_owned();
    wait::until_true(LIMIT, "words about the secret", || trouble(&site).contains("does not let \"demarc\" in"));
    let doctor = site.run(&["doctor"]).stdout;
    assert!(doctor.contains("BAD") && doctor.contains("does not let \"demarc\" in"), "{doctor}");

    // The owner mends it while demarc runs.
    site.write_config(&site.read_config().replace("\"wrong\"", "\"right\""));
    wait_until_connected(&site);
    assert_eq!(trouble(&site), "");
    let pbx = site.status()["collected"]["pbx"].take();
    assert!(!pbx["version"].as_str().unwrap().is_empty());
    let up_since = pbx["up_since"].as_u64().unwrap();
    wait::until_true(LIMIT, "the registration", || {
        let registrations = site.status()["collected"]["pbx"]["registrations"].take();
        registrations[0]["name"] == "provider1-reg" && registrations[0]["state"] != "registered"
    });
    let screen = site.run(&["status"]).stdout;
    assert!(screen.contains("registration provider1-reg: "), "{screen}");

    // Asterisk is reloaded, then restarted; the first call after it is counted, by the witness too.
    asterisk.console_command("core reload");
    wait::until_true(LIMIT, "the reload", || {
        site.status()["collected"]["pbx"]["reloaded"].as_u64().is_some_and(|reloaded| reloaded > up_since)
    });
    asterisk.restart();
    wait::until_true(LIMIT, "the restarted Asterisk", || {
        let pbx = site.status()["collected"]["pbx"].take();
        pbx["connected"] == true && pbx["up_since"].as_u64().is_some_and(|since| since > up_since)
    });
    asterisk.call("internal", 1);
    site.wait_for_calls(1, "direction", LIMIT);
    wait::until_true(LIMIT, "the witness", || count(&source(&site, "ami"), "rows") == 1);

    // A user that may do everything works, and is warned of.
    let doctor = site.run(&["doctor"]).stdout;
    assert!(doctor.contains("\"demarc\" gets in, and may do no more than it needs"), "{doctor}");
    site.write_config(&site.read_config().replace("user = \"demarc\"", "user = \"everything\""));
    wait_until_connected(&site);
    let doctor = site.run(&["doctor"]).stdout;
    assert!(
        doctor.contains("\"everything\" may do more than demarc needs") && doctor.contains("originate"),
        "{doctor}"
    );
}
