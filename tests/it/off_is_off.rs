//! Off is off: bytes are counted at a socket, and the hub's own store is asked, but no log line is believed.

use std::time::Duration;

use demarc_proto::Report;
use demarc_tests::{
    hub::Hub,
    relay::Relay,
    site::{LIMIT, Setup, Site},
    traffic::{Traffic, wait_for_room_in_the_minute},
    wait,
};

const ONE_WINDOW: Duration = Duration::from_secs(120);
/// No report is smaller than its padding; keeping an idle connection alive takes far less.
const LESS_THAN_A_REPORT: u64 = 2048;

/// A site whose way to its hub leads through a relay that counts.
struct Watched {
    hub: Hub,
    relay: Relay,
    site: Site,
    traffic: Traffic,
}

impl Watched {
    fn new(narrow: bool) -> Self {
        let hub = Hub::start();
        let relay = if narrow { Relay::narrow(hub.address()) } else { Relay::to(hub.address()) };
        let site = Site::new(&Self::setup(&relay));
        site.enroll(&hub.token("site-one")).ok();
        Self { hub, relay, site, traffic: Traffic::new(11) }
    }

    fn setup(relay: &Relay) -> Setup {
        Setup { hub: Some(relay.address().to_string()), ..Setup::default() }
    }

    /// Started, connected, and with one report delivered: what is off afterwards did work before.
    fn delivering() -> Self {
        let mut watched = Self::new(false);
        watched.site.start();
        watched.site.wait_for_tunnel();
        wait_for_room_in_the_minute(15);
        watched.traffic.feed(&watched.site, 20);
        let bodies = watched.hub.wait_for_reports("site-one", 1, ONE_WINDOW);
        watched.traffic.oracle.assert_reported(&Report::from_body(&bodies[0]).unwrap());
        wait::until_true(LIMIT, "the receipt", || watched.site.outbox().is_empty());
        watched
    }

    /// Started, connected, and in the middle of its first report: what did not fit waits in the agent's own kernel.
    fn with_a_report_stuck() -> Self {
        let mut watched = Self::new(true);
        watched.site.start();
        watched.site.wait_for_tunnel();
        // What an idle tunnel says for itself still passes.
        let idle = watched.relay.bytes_up();
        watched.relay.stall_after(1200);
        wait_for_room_in_the_minute(15);
        watched.traffic.feed(&watched.site, 20);
        wait::until_true(ONE_WINDOW, "the report to be on its way and stuck", || watched.relay.is_stalled());
        let mut before = u64::MAX;
        wait::until_true(LIMIT, "the stall to be complete", || {
            std::mem::replace(&mut before, watched.relay.bytes_up()) == watched.relay.bytes_up()
        });
        let taken = watched.relay.bytes_up() - idle;
        assert!(taken < 4096, "some of the report has to be still under way, but {taken} bytes came");
        watched
    }

    fn reports(&self) -> usize {
        self.hub.bodies("site-one").len()
    }

    /// Feeds enough for a report, waits until its window is over and quiet, and insists that none was made,
    /// sent or kept for later.
    fn a_window_passes_in_silence(&mut self) {
        let (reports, connections, bytes) = (self.reports(), self.relay.connections_made(), self.relay.bytes_up());
        let entries = self.site.ledger_entries("report").len();
        let calls = self.site.report("direction")["calls"].as_u64().unwrap();
        wait_for_room_in_the_minute(10);
        self.traffic.feed(&self.site, 20);
        let closes = (wait::now() / 60 + 1) * 60;
        self.site.wait_for_calls(calls + 20, "direction", LIMIT);
        wait::until_true(ONE_WINDOW, "the window to be over", || {
            assert!(self.site.outbox().is_empty(), "nothing waits in the outbox");
            wait::now() > closes + 20
        });
        assert_eq!(self.reports(), reports, "no report at the hub");
        assert_eq!(self.site.ledger_entries("report").len(), entries, "no report in the ledger");
        assert_eq!(self.relay.connections_made(), connections, "no new connection");
        let sent = self.relay.bytes_up() - bytes;
        assert!(sent < LESS_THAN_A_REPORT, "{sent} bytes went up");
    }

    /// Feeds calls and insists that a report of them arrives, and of them alone.
    fn a_report_of_what_is_fed_now_arrives(&mut self) {
        let reports = self.reports();
        wait_for_room_in_the_minute(15);
        self.traffic.forget();
        self.traffic.feed(&self.site, 15);
        let bodies = self.hub.wait_for_reports("site-one", reports + 1, ONE_WINDOW);
        self.traffic.oracle.assert_reported(&Report::from_body(&bodies[reports]).unwrap());
    }
}

#[test]
fn stats_off_by_command_across_a_crash_and_on_again() {
    let mut watched = Watched::delivering();
    watched.site.run(&["stats", "off"]).ok();
    let (connections, bytes) = (watched.relay.connections_made(), watched.relay.bytes_up());
    watched.a_window_passes_in_silence();
    assert_eq!(watched.relay.connections_made(), connections, "the tunnel itself stayed up");
    assert!(watched.relay.bytes_up() - bytes < LESS_THAN_A_REPORT);

    watched.site.kill();
    watched.site.start();
    watched.site.wait_for_tunnel();
    watched.a_window_passes_in_silence();

    watched.site.run(&["stats", "on"]).ok();
    watched.a_report_of_what_is_fed_now_arrives();
    let turned: Vec<bool> =
        watched.site.ledger_entries("consent").iter().map(|e| e["about"]["to"].as_bool().unwrap()).collect();
    assert!(turned.ends_with(&[false, true]), "both turns of the switch are in the ledger: {turned:?}");
    watched.site.run(&["sent", "verify"]).ok();
}

#[test]
fn stats_off_by_an_edit_of_the_file() {
    let mut watched = Watched::delivering();
    let setup = Watched::setup(&watched.relay);
    watched.site.configure(&Setup { upload: false, ..setup.clone() });
    wait::until_true(Duration::from_secs(2), "the edit to be in force", || !watched.site.uploads());
    watched.a_window_passes_in_silence();
    watched.site.configure(&setup);
    wait::until_true(Duration::from_secs(2), "the edit to be in force", || watched.site.uploads());
    watched.a_report_of_what_is_fed_now_arrives();
}

#[test]
fn the_environment_keeps_reports_at_home() {
    let variables = [("DEMARC__STATS__UPLOAD", "false"), ("DO_NOT_TRACK", "1")];
    let mut all: Vec<Watched> = variables
        .into_iter()
        .map(|(name, value)| {
            let mut watched = Watched::new(false);
            watched.site.set_env(name, value);
            watched.site.start();
            watched.site.wait_for_tunnel();
            watched
        })
        .collect();
    std::thread::scope(|scope| {
        for watched in &mut all {
            scope.spawn(|| watched.a_window_passes_in_silence());
        }
    });
    for (watched, (name, _)) in all.iter_mut().zip(variables) {
        assert_eq!(watched.reports(), 0, "{name}");
        // The file says `true`, and the command cannot overrule the environment.
        let told = watched.site.run(&["stats", "on"]);
        assert!(told.code != Some(0) || (told.stdout + &told.stderr).contains(name), "{name} has to be named");
        assert!(!watched.site.uploads(), "{name}");
        watched.site.stop();
    }
}

#[test]
fn stats_off_in_the_middle_of_an_upload() {
    let mut watched = Watched::with_a_report_stuck();
    watched.site.run(&["stats", "off"]).ok();
    let at_return = watched.relay.bytes_up();
    watched.relay.flow();
    // The old connection is gone with everything that waited in it; a new one holds no report.
    watched.site.wait_for_tunnel();
    wait::throughout(Duration::from_secs(5), "no report came through", || watched.reports() == 0);
    let since = watched.relay.bytes_up() - at_return;
    assert!(since < 4096, "a handshake at most: {since} bytes");
    assert!(watched.site.outbox().is_empty());
    assert_eq!(watched.site.ledger_entries("report").len(), 1, "what was on its way stands in the ledger");
    assert_eq!(watched.site.ledger_entries("withdrawn").len(), 1, "and so does its withdrawal");

    watched.site.kill();
    watched.site.start();
    watched.site.wait_for_tunnel();
    watched.a_window_passes_in_silence();
    watched.site.run(&["stats", "on"]).ok();
    watched.a_report_of_what_is_fed_now_arrives();
    watched.site.run(&["sent", "verify"]).ok();
}

#[test]
fn tunnel_off_means_not_one_byte() {
    let mut watched = Watched::delivering();
    watched.site.run(&["tunnel", "off"]).ok();
    let bytes = watched.relay.bytes_up();
    let connections = watched.relay.connections_made();
    assert!(watched.site.role("link").is_none(), "the process with the network is gone");
    let silent =
        |watched: &Watched| watched.relay.bytes_up() == bytes && watched.relay.connections_made() == connections;
    wait_for_room_in_the_minute(10);
    watched.traffic.forget();
    watched.traffic.feed(&watched.site, 20);
    let over = (wait::now() / 60 + 1) * 60 + 20;
    wait::until_true(ONE_WINDOW, "the window to be over", || {
        assert!(silent(&watched));
        wait::now() > over
    });
    watched.site.kill();
    watched.site.start();
    wait::throughout(Duration::from_secs(5), "silence after a crash", || silent(&watched));
    assert!(watched.site.role("link").is_none());

    // Uploading was on all the time: the report waited, and arrives once there is a way again.
    watched.site.run(&["tunnel", "on"]).ok();
    let bodies = watched.hub.wait_for_reports("site-one", 2, LIMIT);
    watched.traffic.oracle.assert_reported(&Report::from_body(&bodies[1]).unwrap());
}

#[test]
fn tunnel_off_in_the_middle_of_an_upload() {
    let watched = Watched::with_a_report_stuck();
    watched.site.run(&["tunnel", "off"]).ok();
    let at_return = watched.relay.bytes_up();
    watched.relay.flow();
    wait::throughout(Duration::from_secs(5), "not a byte, from no buffer either", || {
        watched.relay.bytes_up() == at_return && watched.reports() == 0
    });
    watched.site.run(&["tunnel", "on"]).ok();
    watched.hub.wait_for_reports("site-one", 1, LIMIT);
}
