//! The owner's pages in a real browser.

use std::fs;

use demarc_tests::{
    data,
    desk::{self, Wish, allow, last_session},
    driven::Driven,
    pages::{PAGES, link},
    site::{LIMIT, Setup, Site},
    traffic::Traffic,
    wait,
};

/// A page that asks whether a switch is to be turned.
const QUESTION: &str = "/switches/turn?switch=upload&on=false";
/// The key that goes from one control to the next.
const TAB: char = '\u{e004}';

fn setup() -> Setup {
    Setup { web: "127.0.0.1:0".into(), ..Setup::default() }
}

/// A site that has something to show on every page.
fn full() -> (Site, Traffic) {
    let mut site = Site::new(&setup());
    let (queue_log, tree) = (site.path("pbx/queue_log"), site.path("monitor/2026/11/25"));
    fs::copy(data::file("asterisk22/queue_log"), &queue_log).unwrap();
    fs::create_dir_all(&tree).unwrap();
    for number in 0..20 {
        fs::write(tree.join(format!("in-200-1001-20261125-101010-1795.{number}.wav")), [0; 4096]).unwrap();
    }
    let sections = format!(
        "[[pbx.source]]\ntype = \"queue-log\"\npath = {queue_log:?}\n[recordings]\npaths = [{:?}]\n",
        site.path("monitor")
    );
    site.configure(&Setup { sections, ..setup() });
    site.start();
    let mut traffic = Traffic::new(8);
    traffic.feed_at(&site, 100, wait::now() - 86_400);
    traffic.feed(&site, 300);
    site.wait_for_calls(traffic.oracle.calls(), "direction", LIMIT);
    (site, traffic)
}

fn every_page() -> impl Iterator<Item = &'static str> {
    PAGES.into_iter().chain([QUESTION, "/health?days=7", "/queues?from=2026-11-20&to=2026-11-24"])
}

/// Logs a browser in; gives what the addresses of the pages begin with.
fn enter(browser: &Driven, site: &Site) -> String {
    let url = link(site);
    browser.go(&url);
    // A page may be shown before the last of it has come.
    wait::until_true(LIMIT, "the page behind the link", || browser.source().contains("Log out"));
    url.split("/enter").next().unwrap().to_owned()
}

#[test]
fn every_page_is_for_everybody() {
    let (site, _) = full();
    let browser = Driven::start();
    let place = enter(&browser, &site);
    browser.console();
    browser.requests();
    let mut faults = Vec::new();
    for (width, height) in [(390, 844), (1280, 800)] {
        browser.resize(width, height);
        for scheme in ["light", "dark"] {
            browser.prefer(scheme);
            for page in every_page() {
                browser.go(&format!("{place}{page}"));
                let title = browser.script("return document.querySelector('h1').textContent");
                assert!(!["Not Found", "Log in", "Trouble"].contains(&title.as_str().unwrap()), "{page}: {title}");
                let wide = browser.script("return document.documentElement.scrollWidth").as_u64();
                if wide > Some(width.into()) {
                    faults.push(format!("{page} is {wide:?} wide at {width}"));
                }
                let found = browser.violations().into_iter().chain(browser.console());
                faults.extend(found.map(|fault| format!("{page}, {scheme}, {width}: {fault}")));
                let foreign = browser.requests().into_iter();
                let foreign = foreign.filter(|url| !url.starts_with(&place) && !url.starts_with("data:"));
                faults.extend(foreign.map(|url| format!("{page} asked for {url}")));
            }
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
    // Without scripts nothing is missing: no page but that of a running session has one.
    for page in every_page() {
        browser.go(&format!("{place}{page}"));
        assert_eq!(browser.script("return document.scripts.length"), 0, "{page}");
    }
}

#[test]
fn a_keyboard_reaches_everything_and_shows_where_it_is() {
    let (site, _) = full();
    let browser = Driven::start();
    let place = enter(&browser, &site);
    for page in every_page() {
        browser.go(&format!("{place}{page}"));
        let all = "a[href], button, input:not([type=hidden]), select, summary";
        let controls = browser.script(&format!("return document.querySelectorAll('{all}').length")).as_u64().unwrap();
        browser.script("window.seen = new Set()");
        // A field for a day has several stops.
        for _ in 0..controls * 4 + 10 {
            browser.press(TAB);
            let shown = browser.script(
                "const now = document.activeElement; if (now === document.body) return true; window.seen.add(now); \
                 const style = getComputedStyle(now); \
                 return style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) > 0",
            );
            assert_eq!(shown, true, "{page}: {}", browser.script("return document.activeElement.outerHTML"));
        }
        let missed = browser.script(&format!(
            "return [...document.querySelectorAll('{all}')].filter(one => !window.seen.has(one)).map(one => one.outerHTML)"
        ));
        assert_eq!(missed, serde_json::json!([]), "{page}");
    }
}

#[test]
fn switches_are_turned_by_clicking() {
    let (_hub, mut site) = demarc_tests::site::enrolled(&setup());
    let text = site.read_config().replace("upload = true", "upload = true  # as agreed with the vendor");
    site.write_config(&format!("# Of the owner.\n{text}"));
    site.start();
    site.wait_for_tunnel();
    let browser = Driven::start();
    let place = enter(&browser, &site);
    let switches = ["upload", "tunnel"].map(|switch| [(switch, false), (switch, true)]);
    for (switch, on) in switches.into_iter().chain([[("health", true), ("health", false)]]).flatten() {
        browser.go(&format!("{place}/switches"));
        browser.click(&format!("a[href='/switches/turn?switch={switch}&on={on}']"));
        let question = |source: &str| on || source.contains("What stops") && source.contains("What goes on");
        wait::until_true(LIMIT, "the question", || question(&browser.source()));
        browser.click("main button");
        let title = "return document.title + document.readyState";
        wait::until_true(LIMIT, "the answer", || browser.script(title) == "Switches - Demarccomplete");
        assert_eq!(browser.url(), format!("{place}/switches"));
        let config = site.read_config();
        assert!(config.contains("# Of the owner.") && config.contains("# as agreed with the vendor"), "{config}");
        if switch == "upload" {
            assert!(config.contains(&format!("upload = {on}")), "{config}");
            wait::until_true(LIMIT, "the daemon to follow", || site.uploads() == on);
        } else if switch == "health" {
            assert!(config.contains(&format!("[health]\nupload = {on}")), "{config}");
            wait::until_true(LIMIT, "the daemon to follow", || site.status()["health_upload"] == on);
        } else {
            wait::until_true(LIMIT, "the tunnel to follow", || site.is_connected() == on);
        }
        // The switch that is off hides nothing of what is the owner's.
        for page in every_page() {
            browser.go(&format!("{place}{page}"));
            wait::until_true(LIMIT, &format!("{page} with {switch} {on}"), || browser.source().contains("Log out"));
        }
    }
    let entries_of = |switch: &str| -> Vec<serde_json::Value> {
        site.ledger_entries("consent").into_iter().filter(|entry| entry["about"]["switch"] == switch).collect()
    };
    wait::until_true(LIMIT, "the entries", || entries_of("tunnel").len() == 2 && entries_of("upload").len() >= 2);
    // The collector enters what becomes of reports, by the settings that it is told.
    let tunnel = entries_of("tunnel");
    assert!(tunnel.iter().all(|entry| entry["about"]["by"] == "page"), "{tunnel:#?}");
}

#[test]
fn support_is_let_in_watched_and_ended_on_a_page() {
    let (hub, desk, site) = desk::opened(&setup());
    let browser = Driven::start();
    let place = enter(&browser, &site);
    browser.go(&format!("{place}/support"));
    browser.type_into("select[name=scope]", "shell");
    browser.type_into("input[name=ticket]", "T-1");
    browser.click("form[action='/support/allow'] button");
    wait::until_true(LIMIT, "the grant", || browser.source().contains("T-1"));
    let grant = desk::listed(&site)["grants"][0]["grant"]["id"].as_str().unwrap().to_owned();
    wait::until_true(LIMIT, "the hub to know", || desk::listed(&site)["grants"][0]["announced"] == true);
    let key = desk.engineer("ada", &Wish::proper(&grant));
    let script = "i=0; while :; do i=$((i+1)); echo \"line-$i<b>\"; sleep 0.2; done";
    let mut ssh = desk.start(&hub, &key, &["site-one", script], "engineer.log");
    wait::until_true(LIMIT, "the session", || ssh.log().contains("line-3"));
    browser.go(&format!("{place}/support"));
    browser.click("p.warn a");
    let shown = || browser.script("return document.querySelector('pre').textContent").as_str().unwrap().to_owned();
    let lines = shown().matches("line-").count();
    // The page goes on by itself.
    wait::until_true(LIMIT, "more lines", || shown().matches("line-").count() > lines + 5);
    assert!(shown().contains("<b>"), "what is shown is text");
    assert!(browser.violations().is_empty(), "{:?}", browser.violations());
    browser.click("button.stop");
    assert!(ssh.ended(LIMIT).is_some(), "the session was ended");
    let session = last_session(&site);
    browser.go(&format!("{place}/support/{}", session["session"].as_str().unwrap()));
    assert!(shown().contains("line-3") && browser.source().contains("It is over"), "{}", shown());
    // A grant that the command made is there, too.
    let other = allow(&site, "5m", "diagnose");
    browser.go(&format!("{place}/support"));
    assert!(browser.source().contains(&other));
}

#[test]
fn pages_say_that_the_call_records_are_missing() {
    let mut site = Site::new(&setup());
    std::fs::remove_file(site.master()).unwrap();
    site.start();
    wait::until_true(LIMIT, "the trouble", || site.source_trouble().is_some());
    let browser = Driven::start();
    let place = enter(&browser, &site);
    browser.go(&format!("{place}/"));
    wait::until_true(LIMIT, "the page", || browser.source().contains("Master.csv does not exist"));
}
