//! The machine's health: measured under the collector's own confinement, judged, and shown.

use std::time::Duration;

use demarc_proto::HealthReport;
use demarc_tests::{
    hub::Hub,
    relay::Relay,
    site::{LIMIT, Setup, Site},
    wait,
};
use serde_json::Value;

#[test]
fn the_confined_collector_measures_the_machine_and_raises_an_alert() {
    let sections = "[health]\ndisk_free_percent = 100\n".to_owned();
    let mut site = Site::new(&Setup { sections, ..Setup::default() });
    site.start();
    wait::until_true(LIMIT, "a sample", || !site.status()["collected"]["health"].is_null());
    let health = site.status()["collected"]["health"].take();
    let sample = &health["sample"];
    assert!(sample["memory"]["total_mib"].as_u64() > Some(0), "{health}");
    assert!(sample["uptime_seconds"].as_u64() > Some(0), "{health}");
    let roles: Vec<&str> =
        sample["disks"].as_array().unwrap().iter().map(|disk| disk["role"].as_str().unwrap()).collect();
    assert!(roles.contains(&"state") && roles.contains(&"root"), "{health}");
    // No file system has all of its room free.
    assert_eq!(health["alerts"][0]["kind"], "disk_low", "{health}");
    let screen = site.run(&["status"]).ok();
    assert!(screen.contains("ALERT since") && screen.contains("health      load"), "{screen}");
    let log = site.log();
    assert!(log.contains("an alert was raised") && log.contains("disk_low"), "{log}");
    // It goes on after a crash, and is not raised anew.
    site.kill();
    site.start();
    wait::until_true(LIMIT, "a sample", || !site.status()["collected"]["health"].is_null());
    let again = site.status()["collected"]["health"].take();
    assert_eq!(again["alerts"], health["alerts"]);
    assert_eq!(site.log().matches("an alert was raised").count(), 1);
}

/// The payloads of health reports that stand in the ledger.
fn entered(site: &Site) -> Vec<String> {
    site.ledger_entries("health").iter().map(|entry| entry["bytes"].as_str().unwrap().to_owned()).collect()
}

/// The health reports that the hub has, and nothing else that it keeps.
fn stored(hub: &Hub) -> Vec<Value> {
    let shown: Value = serde_json::from_str(&hub.show("site-one")).unwrap();
    shown["health"].as_array().cloned().unwrap_or_default()
}

#[test]
fn a_health_report_leaves_only_by_its_own_switch_and_stands_in_the_ledger_first() {
    let hub = Hub::start();
    let relay = Relay::to(hub.address());
    let setup = |health: &str| Setup {
        hub: Some(relay.address().to_string()),
        sections: format!("[health]\nupload = {health}\n"),
        ..Setup::default()
    };
    let mut site = Site::new(&Setup { sections: String::new(), ..setup("false") });
    site.enroll(&hub.token("site-one")).ok();
    site.start();
    site.wait_for_tunnel();
    wait::until_true(LIMIT, "a sample", || !site.status()["collected"]["health"].is_null());
    wait::throughout(Duration::from_secs(5), "silence until the owner says yes", || entered(&site).is_empty());
    assert!(stored(&hub).is_empty());
    let preview = site.run(&["health", "preview"]).ok();
    let report = HealthReport::from_payload(preview.as_bytes()).expect("what leaves, byte for byte");
    assert!(report.memory.total_mib > 0 && report.alerts.is_empty());

    assert!(site.run(&["health", "on"]).ok().contains("Health reports are on."));
    wait::until_true(LIMIT, "a report at the hub", || !stored(&hub).is_empty());
    let entries = entered(&site);
    assert_eq!(entries.len(), 1);
    let report = HealthReport::from_payload(entries[0].as_bytes()).unwrap();
    let mut at_hub: Value = serde_json::from_str(&entries[0]).unwrap();
    at_hub["type"] = Value::Null;
    let mut kept = stored(&hub)[0]["report"].clone();
    kept["type"] = Value::Null;
    assert_eq!(kept, at_hub);
    wait::until_true(LIMIT, "the answer", || site.status()["linked"]["health_noted"] == report.at);
    assert!(
        site.run(&["status"])
            .ok()
            .contains("reports to the vendor are on, by health.upload in the config file; the last")
    );
    let turned = site.ledger_entries("consent");
    let turned = turned.iter().filter(|entry| entry["about"]["switch"] == "health").count();
    assert_eq!(turned, 1, "on, and not the off that it always was");

    // Off is off, over a restart too, and nothing of it is kept for later.
    assert!(site.run(&["health", "off"]).ok().contains("Health reports are off"));
    let (bytes, connections) = (relay.bytes_up(), relay.connections_made());
    wait::throughout(Duration::from_secs(5), "silence", || entered(&site).len() == 1);
    assert!(relay.bytes_up() - bytes < 300, "an idle tunnel, and no report");
    assert_eq!(relay.connections_made(), connections, "nothing was under way, so nothing was cut");
    site.kill();
    site.start();
    site.wait_for_tunnel();
    wait::until_true(LIMIT, "a sample", || !site.status()["collected"]["health"].is_null());
    wait::throughout(Duration::from_secs(3), "silence", || entered(&site).len() == 1);
    site.run(&["sent", "verify"]).ok();

    // Nor does DO_NOT_TRACK let any leave.
    site.stop();
    site.configure(&setup("true"));
    site.set_env("DO_NOT_TRACK", "1");
    site.start();
    site.wait_for_tunnel();
    wait::until_true(LIMIT, "a sample", || !site.status()["collected"]["health"].is_null());
    wait::throughout(Duration::from_secs(3), "silence", || entered(&site).len() == 1);
    assert_eq!(site.status()["health_upload_decided_by"], "DO_NOT_TRACK in the environment");
    let refused = site.run(&["health", "preview"]);
    assert!(refused.stderr.contains("They would not leave"), "{}", refused.stderr);
}

#[test]
fn a_health_report_that_is_on_its_way_is_cut_off() {
    let hub = Hub::start();
    let relay = Relay::narrow(hub.address());
    let setup = Setup { hub: Some(relay.address().to_string()), ..Setup::default() };
    let mut site = Site::new(&setup);
    site.enroll(&hub.token("site-one")).ok();
    site.start();
    site.wait_for_tunnel();
    wait::until_true(LIMIT, "a sample", || !site.status()["collected"]["health"].is_null());
    relay.stall_after(0);
    site.run(&["health", "on"]).ok();
    wait::until_true(LIMIT, "a report on its way", || !entered(&site).is_empty());
    let asked = std::time::Instant::now();
    site.run(&["health", "off"]).ok();
    assert!(asked.elapsed() < Duration::from_secs(3), "{:?}", asked.elapsed());
    assert!(!site.is_connected() || stored(&hub).is_empty());
    wait::throughout(Duration::from_secs(3), "nothing at the hub", || stored(&hub).is_empty());
}

/// A program that sends a line to that port about what it was told, and about what it could do.
fn teller(site: &Site, port: u16) -> std::path::PathBuf {
    let recording = site.path("monitor/in-1.wav");
    std::fs::create_dir_all(recording.parent().unwrap()).unwrap();
    std::fs::write(&recording, "RIFF").unwrap();
    let script = format!(
        "#!/bin/bash\nexec 3<>/dev/tcp/127.0.0.1/{port}\ncan() {{ \"$@\" > /dev/null 2>&1 && echo can || echo cannot; }}\n\
         echo \"$DEMARC_ALERT $DEMARC_STATE $DEMARC_VALUE; $(can cat {recording}) $(can cat {ledger}) $(can cat {config}) \
         $(can touch {new}) $(can cat /etc/services); $(env | cut -d= -f1 | sort | tr '\\n' ' ')\" >&3\n",
        recording = recording.display(),
        ledger = site.ledger().display(),
        config = site.config().display(),
        new = site.path("new").display(),
    );
    let path = site.path("teller");
    std::fs::write(&path, script).unwrap();
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    path
}

#[test]
fn the_owners_program_is_told_of_alerts_and_can_open_nothing_of_ours() {
    use std::io::{BufRead, BufReader};
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let mut site = Site::new(&Setup::default());
    let program = teller(&site, listener.local_addr().unwrap().port());
    let sections = |program: &std::path::Path| {
        format!("[health]\ndisk_free_percent = 100\nalert_command = \"{}\"\n", program.display())
    };
    site.configure(&Setup { sections: sections(&program), ..Setup::default() });
    site.start();
    let (stream, _) = listener.accept().unwrap();
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).unwrap();
    let (told, rest) = line.split_once("; ").unwrap();
    let (could, variables) = rest.split_once("; ").unwrap();
    assert!(told.starts_with("disk_low raised "), "{line}");
    assert_eq!(could, "cannot cannot cannot cannot can", "recording, ledger, config file, a new file, /etc/services");
    assert!(!variables.contains("HOME") && variables.contains("DEMARC_TEXT"), "{line}");
    wait::until_true(LIMIT, "the program's end", || site.roles("messenger").is_empty());
    assert!(!site.log().contains("was not told"), "{}", site.log());

    // One that fails is heard of, and the confinement of the program is among the proofs.
    let doctor = site.run(&["doctor"]);
    assert!(doctor.stdout.contains("messenger"), "{}", doctor.stdout);
    site.stop();
    std::fs::write(&program, "#!/bin/sh\necho no route >&2\nexit 4\n").unwrap();
    std::fs::remove_dir_all(site.state()).unwrap();
    site.start();
    wait::until_true(LIMIT, "the failure in the status", || {
        let notices = site.status()["notices"].to_string();
        notices.contains("The last alert was not told") && notices.contains("no route")
    });
}
