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
    traffic::{Traffic, wait_for_room_in_the_minute},
    wait,
};

/// The pages, by the names of their pictures.
const PICTURES: [(&str, &str); 7] = [
    ("overview", "/"),
    ("calls", "/calls"),
    ("queues", "/queues"),
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
    // Not below the site: the supervisor could not read a config file that is replaced then.
    let spool = tempfile::Builder::new().prefix("demarc-spool-").tempdir().unwrap();
    let mut site = site(&hub, &desk, spool.path());
    site.start();
    site.wait_for_tunnel();
    // The store is there, and what lay in its files is counted.
    let begun = Duration::from_secs(300);
    wait::until_true(begun, "the history", || site.report("direction")["calls"].as_u64() > Some(ROWS / 2));
    measured(&site);
    visited(&hub, &desk, &site);
    grown(&site);
    reported(&site);
    let browser = Driven::start();
    browser.hide_scrollbars();
    let url = link(&site);
    browser.go(&url);
    wait::until_true(LIMIT, "the first page", || browser.source().contains("Log out"));
    let place = url.split("/enter").next().unwrap();
    browser.resize(WIDTH, HEIGHT);
    let take = |pages: &[(&str, &str)]| {
        for scheme in ["light", "dark"] {
            browser.prefer(scheme);
            for (name, page) in pages {
                browser.go(&format!("{place}{page}"));
                let title = browser.script(&neutral(&site, spool.path()));
                let picture = browser.picture();
                assert!(picture.len() < LARGEST, "{name}-{scheme} has {} bytes", picture.len());
                println!("{name}-{scheme}.png: {title}, {} bytes", picture.len());
                fs::write(target.join(format!("{name}-{scheme}.png")), picture).unwrap();
            }
        }
    };
    take(&[("sent", "/sent")]);
    // Nobody has windows as short as this needed.
    site.write_config(&site.read_config().replace("window = \"1m\"", "window = \"1d\""));
    wait::until_true(LIMIT, "the notice to go", || !site.status()["notices"].to_string().contains("stats.window"));
    take(&PICTURES);
    site.stop();
}

/// A script that names places as an owner would have them, and gives the title of the page.
fn neutral(site: &Site, spool: &Path) -> String {
    format!(
        "const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT); \
         const names = [[{:?}, '/etc/demarc'], [{spool:?}, '/var/spool/asterisk']]; \
         while (walk.nextNode()) for (const [place, name] of names) {{ \
           const text = walk.currentNode; if (text.data.includes(place)) text.data = text.data.replaceAll(place, name); \
         }} \
         return document.title",
        site.config().parent().unwrap()
    )
}

/// A site with three months of calls, queues and recordings, that is enrolled and does not run yet.
fn site(hub: &Hub, desk: &Desk, spool: &Path) -> Site {
    let site = Site::new(&Setup::default());
    let queue_log = site.path("pbx/queue_log");
    let setup = Setup {
        web: "127.0.0.1:0".into(),
        sections: format!(
            "[[pbx.source]]\ntype = \"queue-log\"\npath = {queue_log:?}\n\
             [recordings]\npaths = [{:?}]\nretention = \"180d\"\n",
            spool.join("monitor")
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
    recordings(&spool.join("monitor"));
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

/// How much there was on the days before today.
fn grown(site: &Site) {
    let file = site.state().join("recordings/history.json");
    let history = wait::until(LIMIT, "the first look at the recordings", || {
        serde_json::from_slice::<serde_json::Value>(&fs::read(&file).ok()?).ok()
    });
    let today = &history["days"][0];
    let midnight = wait::now() / DAY * DAY;
    let day = |ago: u64| {
        let date =
            jiff::Timestamp::from_second((midnight - ago * DAY) as i64).unwrap().strftime("%Y-%m-%d").to_string();
        let mut day = today.clone();
        day["day"] = date.into();
        for key in ["bytes", "files"] {
            day["trees"][0][key] = (today["trees"][0][key].as_u64().unwrap() * (170 - ago) / 170).into();
        }
        day
    };
    let days: Vec<_> = (0..60).rev().map(day).collect();
    fs::write(file, serde_json::json!({ "days": days }).to_string()).unwrap();
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
        traffic.feed(site, 1);
        std::thread::sleep(Duration::from_secs(3));
        !site.ledger_entries("receipt").is_empty()
    });
    // The next one has something to tell, too.
    wait_for_room_in_the_minute(30);
    traffic.feed(site, 45);
    wait::until_true(LIMIT, "the next report", || {
        site.run(&["stats", "preview", "--json"]).json()["calls"].as_u64() >= Some(45)
    });
}
