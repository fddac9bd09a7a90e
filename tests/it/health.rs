//! The machine's health: measured under the collector's own confinement, judged, and shown.

use demarc_tests::{
    site::{LIMIT, Setup, Site},
    wait,
};

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
