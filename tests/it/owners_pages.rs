//! The owner's pages: what they show is what the reports say, and an independent reading too.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use data_encoding::BASE64;
use demarc_tests::{
    cdr::{Caller, Layout},
    data,
    driven::Driven,
    oracle::{Oracle, printed},
    pages::{Pages, link, part},
    site::{Setup, Site},
    wait,
};

const LIMIT: Duration = Duration::from_secs(60);

/// A site with pages at a free port, and real calls.
fn site(setup: &Setup) -> Site {
    let mut site = Site::new(setup);
    site.set_env("DEMARC__WEB__LISTEN", "127.0.0.1:0");
    site
}

/// A site that has counted the records of a real Asterisk 22, and what an independent reading says of them.
fn with_calls() -> (Site, Oracle) {
    let bytes = data::custom_as_21(&data::file(data::CUSTOM_FILES[1]));
    let mut oracle = Oracle::new(&data::TRUNKS);
    oracle.read(&bytes);
    let mut site = site(&Setup::default());
    site.start();
    site.feed(&bytes);
    site.wait_for_calls(oracle.calls(), "direction", LIMIT);
    (site, oracle)
}

#[test]
fn figures_are_those_of_the_report_and_of_an_independent_reading() {
    let (site, oracle) = with_calls();
    let pages = Pages::enter(&site);
    let by = "day,direction,outcome";
    let period = "from=2026-11-20&to=2026-11-24";
    let answer = pages.get(&format!("/calls.json?{period}&by={by}"));
    let report: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(printed(&report, by), oracle.table(by));
    let command =
        site.run(&["report", "--json", "--by", by, "--timezone", "UTC", "--from", "2026-11-20", "--to", "2026-11-25"]);
    let command: serde_json::Value = serde_json::from_str(&command.ok()).unwrap();
    assert_eq!(command["rows"], report["rows"]);

    // The table of directions and outcomes on the page.
    let page = pages.get(&format!("/calls?{period}")).body;
    let by = "direction,outcome";
    for (words, figures) in oracle.table(by) {
        let (direction, outcome) = (&words[0].1, words[1].1.replace('_', " "));
        let row = page.split(&format!("<th scope=\"row\">{outcome}</th>")).nth(1).unwrap();
        let place = ["inbound", "outbound", "internal"].iter().position(|word| word == direction).unwrap();
        let cell = row.split("<td>").nth(place + 1).unwrap().split('<').next().unwrap().replace('\u{202f}', "");
        assert_eq!(cell, figures.calls.to_string(), "{words:?}");
    }
    let sheet = pages.get(&format!("/calls.csv?{period}&by={by}"));
    assert!(sheet.header("content-disposition").unwrap().starts_with("attachment"));
    assert_eq!(sheet.body.lines().count(), 1 + oracle.table(by).len());
    for nonsense in ["by=name", "from=2026-13-01&to=2026-11-24", "from=x&to=y&by=day"] {
        assert_eq!(pages.get(&format!("/calls.csv?{nonsense}")).status, 400, "{nonsense}");
    }
    // A period that is not understood is said, and the page is shown all the same.
    let page = pages.get("/calls?from=2026-11-24&to=2026-11-20");
    assert!(page.status == 200 && page.body.contains("the last day lies before the first"), "{}", page.body);
}

#[test]
fn waiting_times_are_those_of_an_independent_reading() {
    let (site, oracle) = with_calls();
    let pages = Pages::enter(&site);
    let period = "from=2026-11-20&to=2026-11-24";
    let report: serde_json::Value =
        serde_json::from_str(&pages.get(&format!("/calls/waits.json?{period}")).body).unwrap();
    assert_eq!(report["waits"], oracle.waits());
    let inbound: u64 = report["waits"]
        .as_array()
        .unwrap()
        .iter()
        .map(|group| group["answered"].as_u64().unwrap() + group["unanswered"].as_u64().unwrap())
        .sum();
    assert_eq!(report["calls"].as_u64(), Some(inbound));
    let command =
        site.run(&["report", "--waits", "--json", "--timezone", "UTC", "--from", "2026-11-20", "--to", "2026-11-25"]);
    assert_eq!(command.json()["waits"], report["waits"]);
    let sheet = pages.get(&format!("/calls/waits.csv?{period}"));
    assert_eq!(sheet.body.lines().count(), 8, "{}", sheet.body);
    let page = pages.get(&format!("/calls?{period}")).body;
    assert!(page.contains("How long callers waited") && page.contains("120 s and more"), "{page}");
    assert_eq!(pages.get("/calls/waits.csv?from=x&to=y").status, 400);

    // An import packs what it counts, and comes to the same.
    let other = self::site(&Setup::default());
    let file = other.path("old.csv");
    std::fs::write(&file, data::custom_as_21(&data::file(data::CUSTOM_FILES[1]))).unwrap();
    other.run(&["import", file.to_str().unwrap()]).ok();
    assert_eq!(other.run(&["report", "--waits", "--json"]).json()["waits"], oracle.waits());
    let table = other.run(&["report", "--waits"]).ok();
    assert!(table.contains("120 s and more") && !table.contains("before waiting times"), "{table}");
}

#[test]
fn many_calls_abroad_in_a_night_are_said_and_the_first_screen_can_be_chosen() {
    let mut site = site(&Setup::default());
    site.set_env("TZ", "UTC");
    site.start();
    let (mut caller, now) = (Caller::new(2), wait::now() as i64);
    let midnight = now - now.rem_euclid(86_400);
    for day in 1..=30 {
        site.feed(&caller.inbound_answered(midnight - day * 86_400 + 43_200, 3, 20).line(Layout::New21));
    }
    // The night that is, or was last.
    let evening = if now - midnight >= 20 * 3600 { midnight + 20 * 3600 } else { midnight - 4 * 3600 };
    let mut abroad = |calls: i64| {
        for call in 0..calls {
            let mut row = caller.inbound_answered(evening + 60 + call, 3, 20);
            std::mem::swap(&mut row.channel, &mut row.dstchannel);
            row.dst = "0088216000001".to_owned();
            site.feed(&row.line(Layout::New21));
        }
    };
    abroad(2);
    site.wait_for_calls(32, "direction", LIMIT);
    let pages = Pages::enter(&site);
    let said = "calls went abroad in the night after";
    assert!(!pages.get("/").body.contains(said), "two are no alarm");
    abroad(4);
    site.wait_for_calls(36, "direction", LIMIT);
    let page = pages.get("/").body;
    assert!(page.contains(&format!("6 {said}")), "{page}");
    for (first, heading) in [("trunks", "Trunks in 13 weeks"), ("queues", "No caller was in a queue on this day")] {
        assert!(!page.contains(heading));
        let page = pages.get(&format!("/?first={first}")).body;
        assert!(page.contains(heading), "{page}");
    }
    assert_eq!(pages.get("/?first=nonsense").status, 200);
}

#[test]
fn the_network_gets_in_by_tls_and_password_alone() {
    let mut site = site(&Setup::default());
    site.set_env("DEMARC__WEB__LISTEN", "0.0.0.0:0");
    let refused = site.run(&["status"]);
    assert!(
        refused.code == Some(64) && refused.stderr.contains("web.certificate, web.key and web.password"),
        "{refused:?}"
    );

    let made = rcgen::generate_simple_self_signed(["pbx.example.com".to_owned()]).unwrap();
    std::fs::write(site.path("web.pem"), made.cert.pem()).unwrap();
    std::fs::write(site.path("web.key"), made.signing_key.serialize_pem()).unwrap();
    std::fs::write(site.path("password"), "a long password of ours\n").unwrap();
    let mut hash = site.command();
    hash.args(["web", "password"]).stdin(std::fs::File::open(site.path("password")).unwrap());
    let line = String::from_utf8(hash.output().unwrap().stdout).unwrap();
    let lines = format!(
        "hosts = [\"pbx.example.com\"]\ncertificate = {:?}\nkey = {:?}\n{line}",
        site.path("web.pem"),
        site.path("web.key")
    );
    site.write_config(&site.read_config().replace("[web]\n", &format!("[web]\n{lines}")));
    site.start();
    let listen = site.status()["web"]["listen"].as_str().unwrap().to_owned();
    let port: u16 = listen.rsplit_once(':').unwrap().1.parse().unwrap();
    let mut pages = Pages::at(&format!("127.0.0.1:{port}"));
    pages.host = format!("pbx.example.com:{port}");
    pages.certificate = Some(made.cert.der().clone());
    assert_eq!(pages.get("/").status, 401);
    let began = Instant::now();
    let wrong = pages.ask("POST", "/password", &pages.origin(), "password=not+the+password");
    assert_eq!((wrong.status, wrong.header("set-cookie")), (403, None));
    assert!(began.elapsed() >= Duration::from_secs(1), "guessing takes its time");
    let right = pages.ask("POST", "/password", &pages.origin(), "password=a+long+password+of+ours");
    let cookie = right.header("set-cookie").unwrap_or_else(|| panic!("{right:?}"));
    assert!(right.status == 303 && cookie.contains("Secure") && cookie.contains("HttpOnly"), "{cookie}");
    let inside = Pages { cookie: right.cookie(), ..pages.clone() };
    assert_eq!(inside.get("/").status, 200);

    // Figures for monitoring take the password, too.
    let basic = |both: &str| format!("Authorization: Basic {}\r\n", BASE64.encode(both.as_bytes()));
    assert_eq!(pages.get("/metrics").status, 401);
    assert_eq!(pages.ask("GET", "/metrics", &basic("any:wrong"), "").status, 401);
    let metrics = pages.ask("GET", "/metrics", &basic("any:a long password of ours"), "");
    assert!(metrics.status == 200 && metrics.body.contains("demarc_calls{"), "{metrics:?}");
    // Without TLS there is nothing to be had.
    let plain = Pages::at(&pages.address);
    assert!(plain.send(&plain.request("GET", "/", "", "")).is_err());
}

#[test]
fn figures_for_monitoring_are_those_of_the_report() {
    let (site, oracle) = with_calls();
    let pages = Pages::at(&part(&link(&site)).0);
    let answer = pages.get("/metrics");
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(answer.header("content-type").unwrap().starts_with("application/openmetrics-text"));
    assert!(answer.body.ends_with("# EOF\n"), "{}", answer.body);
    for (words, figures) in oracle.table("direction,outcome") {
        let labels = format!("direction=\"{}\",outcome=\"{}\"", words[0].1, words[1].1);
        for (name, figure) in [
            ("demarc_calls", figures.calls as i64),
            ("demarc_call_talk_seconds", figures.talk_seconds),
            ("demarc_call_wait_seconds", figures.wait_seconds),
        ] {
            let line = format!("{name}{{{labels}}} {figure}\n");
            assert!(answer.body.contains(&line), "{line}: {}", answer.body);
        }
    }
    for word in ["demarc_build_info", "demarc_tunnel_up 0", "demarc_stats_upload_enabled 1", "demarc_web_browsers 0"] {
        assert!(answer.body.contains(word), "{word}: {}", answer.body);
    }
    // Every name has its help, and no telephone number is in it.
    let helped = |name: &str| answer.body.contains(&format!("# HELP {name}"));
    for line in answer.body.lines().filter(|line| !line.starts_with('#')) {
        let name = line.split(['{', ' ']).next().unwrap();
        let base = name.strip_suffix("_total").or(name.strip_suffix("_info")).unwrap_or(name);
        assert!(helped(base), "{line}");
    }
}

/// The dashboard and the document are about these figures, and the document tells of all of them.
#[test]
fn dashboard_and_document_name_the_figures_that_there_are() {
    let (site, _) = with_calls();
    let text = Pages::at(&part(&link(&site)).0).get("/metrics").body;
    let there: BTreeSet<&str> =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    // Those that only a phone system which can be asked has, or a tunnel that is up.
    let further = [
        "demarc_pbx_up",
        "demarc_pbx_start_timestamp_seconds",
        "demarc_active_calls",
        "demarc_peak_calls_today",
        "demarc_trunk_registered",
        "demarc_tunnel_certificate_expiry_timestamp_seconds",
    ];
    let known: BTreeSet<&str> = there.iter().copied().chain(further).collect();
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let named = |file: &str| -> BTreeSet<String> {
        let text = std::fs::read_to_string(root.join(file)).unwrap();
        let words = text.split(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '_'));
        let names = words.filter(|word| word.starts_with("demarc_"));
        names.map(|name| name.trim_end_matches("_total").trim_end_matches("_info").to_owned()).collect()
    };
    let document = named("docs/metrics.md");
    for name in &there {
        assert!(document.contains(*name), "docs/metrics.md does not tell of {name}");
    }
    for name in document.iter().chain(&named("deploy/grafana/demarc.json")) {
        assert!(known.contains(name.as_str()), "there is no {name}");
    }
    let dashboard: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(root.join("deploy/grafana/demarc.json")).unwrap()).unwrap();
    assert!(dashboard["panels"].as_array().is_some_and(|panels| panels.len() > 5), "{dashboard}");
}

#[test]
fn the_report_for_paper_is_one_sheet_that_loads_nothing() {
    let (site, oracle) = with_calls();
    let file = site.path("week.html");
    let days = ["--from", "2026-11-17", "--to", "2026-11-24", "--timezone", "UTC"];
    site.run(&[&["report", "--html", file.to_str().unwrap()], &days[..]].concat()).ok();
    let text = std::fs::read_to_string(&file).unwrap();
    for word in ["src=", "href=", "url(", "@import", "<script", "http:"] {
        assert!(!text.contains(word), "{word}: {text}");
    }
    let inbound: u64 = oracle.table("direction").iter().find(|(words, _)| words[0].1 == "inbound").unwrap().1.calls;
    assert!(text.contains(&format!("{inbound} calls came in")), "{text}");
    let browser = Driven::start();
    browser.go(&format!("file://{}", file.display()));
    assert_eq!(browser.sheets(), 1);
    let page = Pages::enter(&site).get("/report?from=2026-11-17&to=2026-11-23").body;
    assert!(page.contains(&format!("{inbound} calls came in")), "{page}");
    for nonsense in [&["--to", "2026-11-24"][..], &["--from", "today"], &["--from", "2026-11-24", "--to", "2026-11-20"]]
    {
        let refused = site.run(&[&["report", "--html", file.to_str().unwrap()], nonsense].concat());
        assert_eq!(refused.code, Some(2), "{nonsense:?}: {}", refused.stderr);
    }
}
