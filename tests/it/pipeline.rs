//! The whole way: a call record goes in at one end, and a report that its owner can read byte for byte comes out at
//! the other.

use std::time::Duration;

use data_encoding::HEXLOWER;
use demarc_proto::{Receipt, Report};
use demarc_tests::{
    hub::Hub,
    relay::Relay,
    site::{self, Setup, Site},
    traffic::{Traffic, wait_for_room_in_the_minute},
    wait,
};
use sha2::{Digest, Sha256};

/// A window, the quiet time after it, and a margin for a busy machine.
const ONE_WINDOW: Duration = Duration::from_secs(120);

#[test]
fn a_report_arrives_and_is_in_the_ledger_byte_for_byte() {
    let hub = Hub::start();
    let relay = Relay::to(hub.address());
    let mut site = Site::new(&Setup { hub: Some(relay.address().to_string()), ..Setup::default() });
    site.enroll(&hub.token("site-one")).ok();
    site.start();
    site.wait_for_tunnel();
    let mut traffic = Traffic::new(7);
    wait_for_room_in_the_minute(20);
    let fed = wait::now();
    for _ in 0..8 {
        traffic.feed(&site, 5);
        std::thread::sleep(Duration::from_millis(200));
    }
    let bodies = hub.wait_for_reports("site-one", 1, ONE_WINDOW);
    assert!(wait::now() - fed < 120, "within two minutes");

    // At the hub: a report of schema 1 that keeps its floor and counts what was fed.
    let body = &bodies[0];
    let report = Report::from_body(body).unwrap();
    report.check(10).unwrap();
    assert_eq!((report.floor, report.window.seconds), (10, 60));
    assert!(fed / 60 * 60 == report.window.start, "{fed} lies in {:?}", report.window);
    traffic.oracle.assert_reported(&report);
    assert_eq!(body.len() % 4096, 0);

    // In the ledger: the same bytes, before the receipt.
    let entries = site.ledger_entries("report");
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0]["bytes"].as_str().unwrap(), body);
    let seq = entries[0]["seq"].to_string();
    assert_eq!(&site.run(&["sent", "show", &seq]).ok(), body);
    wait::until_true(ONE_WINDOW, "the receipt", || site.ledger_entries("receipt").len() == 1);
    let receipt = &site.ledger_entries("receipt")[0];
    assert!(receipt["seq"].as_u64() > entries[0]["seq"].as_u64());
    let receipt: Receipt = serde_json::from_str(receipt["bytes"].as_str().unwrap()).unwrap();
    assert!(receipt.covers(body.as_bytes()));
    assert_eq!(receipt.sha256, HEXLOWER.encode(&Sha256::digest(body.as_bytes())));
    assert_eq!(receipt.report, report.id);

    // The outbox is empty again, the chain holds, the local figures are whole.
    wait::until_true(ONE_WINDOW, "an empty outbox", || site.outbox().is_empty());
    site.run(&["sent", "verify"]).ok();
    assert_eq!(site.report("direction")["calls"], 40);
    assert!(relay.bytes_up() > 4096);
    // Everything that left is in the ledger: the enrollment, the greeting, the report.
    for kind in ["enroll", "hello"] {
        assert_eq!(site.ledger_entries(kind).len(), 1, "{kind}");
    }
    site.stop();
    site.run(&["sent", "verify"]).ok();
}

#[test]
fn too_few_calls_ride_along_in_the_next_window() {
    let (hub, mut site) = site::enrolled(&Setup::default());
    site.start();
    let mut traffic = Traffic::new(8);
    wait_for_room_in_the_minute(15);
    traffic.feed(&site, 6);
    let first = wait::now() / 60;
    wait::until_true(Duration::from_secs(90), "the window to close and its calls to be quiet", || {
        wait::now() >= (first + 1) * 60 + 15
    });
    assert!(hub.bodies("site-one").is_empty(), "six calls are no report");
    traffic.feed(&site, 7);
    let bodies = hub.wait_for_reports("site-one", 1, ONE_WINDOW);
    let report = Report::from_body(&bodies[0]).unwrap();
    traffic.oracle.assert_reported(&report);
    assert_eq!(report.calls(), 13);
}

#[test]
fn the_example_of_the_readme_is_enough() {
    let hub = Hub::start();
    let site = Site::new(&Setup::default());
    let confinement = if demarc_tests::machine::has_landlock() { "" } else { "confinement = \"best-effort\"\n" };
    site.write_config(&format!(
        "state_dir = {:?}\n{confinement}[pbx]\ntrunks = [\"provider1\"]\n[[pbx.source]]\ntype = \"asterisk-csv\"\npath = {:?}\n",
        site.path("state"),
        site.master(),
    ));
    let mut site = site;
    site.enroll(&hub.token("site-two")).ok();
    site.start();
    site.wait_for_tunnel();
    assert!(hub.bodies("site-two").is_empty());
    assert!(hub.run(&["sites"]).ok().contains("site-two"));
}
