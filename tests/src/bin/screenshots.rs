//! Takes the pictures in `docs/screenshots`: `deploy/screenshots/run` builds and runs it.
//!
//! A hub, a site that is enrolled at it, generated calls of 90 days and live ones, a queue log, a tree of recordings, a day of
//! the machine's figures and a support session: every page has something to show.

// A panic is how it fails: the message and the line are what its reader needs.
#![allow(clippy::unwrap_used)]

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, SystemTime},
};

use demarc_tests::{
    cdr::Random,
    data,
    desk::{self, Desk, Wish},
    driven::Driven,
    hub::Hub,
    pages::link,
    process, programs,
    site::{LIMIT, Setup, Site},
    traffic::Traffic,
    wait,
};

/// The pages, by the names of their pictures.
const PICTURES: [(&str, &str); 8] = [
    ("overview", "/"),
    ("calls", "/calls"),
    ("queues", "/queues"),
    ("sent", "/sent"),
    ("switches", "/switches"),
    ("support", "/support"),
    ("health", "/health"),
    ("recordings", "/recordings"),
];
/// What is seen of a page.
const WIDTH: u32 = 1100;
const HEIGHT: u32 = 1200;
/// A picture that is larger does not belong into a repository.
const LARGEST: usize = 150_000;
const DAYS: u64 = 90;
const ROWS: u64 = 40_000;
const DAY: u64 = 86_400;

fn main() {
    let target = PathBuf::from(std::env::args().nth(1).expect("screenshots DIRECTORY"));
    fs::create_dir_all(&target).unwrap();
    let desk = Desk::new();
    let hub = Hub::start();
    let mut site = site(&hub, &desk);
    site.start();
    site.wait_for_tunnel();
    // The store is there, and what lay in its files is counted.
    let begun = Duration::from_secs(300);
    wait::until_true(begun, "the history", || site.report("direction")["calls"].as_u64() > Some(ROWS / 2));
    measured(&site);
    visited(&hub, &desk, &site);
    reported(&site);
    let browser = Driven::start();
    let url = link(&site);
    browser.go(&url);
    wait::until_true(LIMIT, "the first page", || browser.source().contains("Log out"));
    let place = url.split("/enter").next().unwrap();
    browser.resize(WIDTH, HEIGHT);
    for scheme in ["light", "dark"] {
        browser.prefer(scheme);
        for (name, page) in PICTURES {
            browser.go(&format!("{place}{page}"));
            let title = browser.script("return document.title");
            let picture = browser.picture();
            assert!(picture.len() < LARGEST, "{name}-{scheme} has {} bytes", picture.len());
            println!("{name}-{scheme}.png: {title}, {} bytes", picture.len());
            fs::write(target.join(format!("{name}-{scheme}.png")), picture).unwrap();
        }
    }
    site.stop();
}

/// A site with three months of calls, queues and recordings, that is enrolled and does not run yet.
fn site(hub: &Hub, desk: &Desk) -> Site {
    let site = Site::new(&Setup::default());
    let queue_log = site.path("pbx/queue_log");
    let setup = Setup {
        web: "127.0.0.1:0".into(),
        sections: format!(
            "[[pbx.source]]\ntype = \"queue-log\"\npath = {queue_log:?}\n\
             [recordings]\npaths = [{:?}]\nretention = \"180d\"\n",
            site.path("spool/monitor")
        ),
        ..Setup::default()
    };
    site.configure(&desk::trusting(desk, &setup));
    let trunks = ["provider1", "provider2", "sip-backup"];
    site.write_config(&site.read_config().replace(&format!("{:?}", data::TRUNKS), &format!("{trunks:?}")));
    let mut generate = Command::new(programs::cdrgen());
    generate.arg(site.master()).args(["--rows", &ROWS.to_string(), "--days", &DAYS.to_string()]);
    generate.args(["--until", &(wait::now() - 60).to_string(), "--queue-log"]).arg(queue_log);
    process::run(&mut generate, LIMIT).ok();
    recordings(&site.path("spool/monitor"));
    site.enroll(&hub.token("site-one")).ok();
    site
}

/// Recordings as FreePBX names them, of half a year.
fn recordings(tree: &Path) {
    let mut random = Random::new(3);
    for day in 0..170 {
        let directory = tree.join(format!("2026/{:02}/{:02}", 11 - day / 30, 28 - day % 28));
        fs::create_dir_all(&directory).unwrap();
        for number in 0..12 {
            let extension = 201 + random.below(180);
            let file = File::create(directory.join(format!("in-200-{extension}-{day}-1795.{number}.wav"))).unwrap();
            // Its size is all that anybody looks at.
            file.set_len(200_000 + random.below(3_000_000)).unwrap();
            file.set_modified(SystemTime::now() - Duration::from_secs(day * DAY + random.below(DAY))).unwrap();
        }
    }
}

/// A day of the machine, as the collector would have kept it.
fn measured(site: &Site) {
    let store = rusqlite::Connection::open(site.state().join("collector/calls.db")).unwrap();
    store.busy_timeout(LIMIT).unwrap();
    let now = wait::now();
    let mut random = Random::new(4);
    for quarter in 1..=96 {
        let at = (now / 900 - quarter) * 900;
        let hour = at / 3600 % 24;
        let busy = if (7..18).contains(&hour) { 160 } else { 25 };
        let mean = (busy + random.below(60)) as i64;
        let used = (2100 + random.below(120) + busy) as i64;
        for (kind, cpu) in [(0, mean / 3), (1, mean), (2, mean * 2 + 30)] {
            let free = 61_000 - (97 - quarter as i64) * 12;
            store
                .execute(
                    "INSERT OR REPLACE INTO health VALUES (900, ?1, ?2, ?3, ?4, 7936, ?5, 0, 100000, ?6, 100000, ?6, 100000, ?6,
                     ?7, 1, 3, 3, 2, 40)",
                    (at as i64, kind, cpu, cpu / 8, used, free, 44 + cpu / 40),
                )
                .unwrap();
        }
    }
}

/// An engineer was here, and may come again.
fn visited(hub: &Hub, desk: &Desk, site: &Site) {
    desk.certify_host(site);
    let grant = desk::allow(site, "1h", "diagnose");
    let key = desk.engineer("ada", &Wish::proper(&grant));
    desk.run(hub, &key, &["status"]);
    desk::last_session(site);
    site.run(&["support", "end"]);
    desk::allow(site, "2h", "shell");
}

/// A report left, and the hub has signed for it.
fn reported(site: &Site) {
    let mut traffic = Traffic::new(5);
    wait::until_true(Duration::from_secs(300), "a receipt", || {
        traffic.feed(site, 2);
        std::thread::sleep(Duration::from_millis(500));
        !site.ledger_entries("receipt").is_empty()
    });
}
