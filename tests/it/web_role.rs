//! The process behind the owner's pages: it can die, its files can be replaced, and it is not for the network by accident.

use std::{fs, process::Command};

use demarc_tests::{
    driven::Driven,
    pages::{Pages, link, part},
    process,
    site::{LIMIT, Setup, Site},
    traffic::Traffic,
    wait,
};

fn setup() -> Setup {
    Setup { web: "127.0.0.1:0".into(), ..Setup::default() }
}

#[test]
fn it_starts_for_the_first_browser_and_again_after_it_was_killed() {
    let mut site = Site::new(&setup());
    site.start();
    let url = link(&site);
    assert!(site.role("web").is_none(), "nobody looks");
    let (address, path) = part(&url);
    assert_eq!(Pages::at(&address).get(&path).status, 303);
    let owner = Pages::enter(&site);
    let (role, collector) = (site.role("web").unwrap(), site.role("collector").unwrap());
    process::signal(role, libc::SIGKILL);
    wait::until_true(LIMIT, "the role to be gone", || site.role("web") != Some(role));
    wait::until_true(LIMIT, "another role to answer", || {
        owner.send(&owner.request("GET", "/calls", "", "")).is_ok_and(|answer| answer.status == 200)
    });
    assert_eq!(site.role("collector"), Some(collector), "counting was not disturbed");
}

#[test]
fn it_reads_on_while_calls_come_and_after_the_store_began_anew() {
    let mut site = Site::new(&setup());
    site.start();
    let mut traffic = Traffic::new(3);
    let owner = Pages::enter(&site);
    for _ in 0..10 {
        traffic.feed(&site, 30);
        let page = owner.get("/calls").body;
        assert!(!page.contains("cannot be read"), "{page}");
    }
    site.wait_for_calls(traffic.oracle.calls(), "direction", LIMIT);
    let shows = |owner: &Pages, calls: u64| {
        let page = owner.get("/calls.json?by=direction");
        page.status == 200 && serde_json::from_str::<serde_json::Value>(&page.body).unwrap()["calls"] == calls
    };
    assert!(shows(&owner, traffic.oracle.calls()));
    // The collector ends, finds its store damaged, sets it aside and begins another, while the role stays.
    let store = site.state().join("collector/calls.db");
    let collector = site.role("collector").unwrap();
    process::signal(collector, libc::SIGSTOP);
    for file in [&store, &site.state().join("collector/calls.db-wal")] {
        let length = fs::metadata(file).unwrap().len() as usize;
        fs::write(file, vec![b'x'; length]).unwrap();
    }
    process::signal(collector, libc::SIGKILL);
    wait::until_true(LIMIT, "another store", || {
        fs::read(&store).is_ok_and(|bytes| bytes.starts_with(b"SQLite format 3"))
    });
    let mut later = Traffic::new(4);
    later.feed(&site, 10);
    wait::until_true(LIMIT, "the pages to show the new store", || {
        let Ok(answer) = owner.send(&owner.request("GET", "/calls.json?by=direction", "", "")) else { return false };
        answer.status == 200
            && serde_json::from_str::<serde_json::Value>(&answer.body)
                .is_ok_and(|report| report["calls"].as_u64() >= Some(later.oracle.calls()))
    });
}

#[test]
fn a_password_lets_in_over_tls_and_nothing_else_does() {
    const RIGHT: &str = "correct horse battery";
    let mut site = Site::new(&setup());
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    fs::write(site.path("web.pem"), certified.cert.pem()).unwrap();
    fs::write(site.path("web.key"), certified.signing_key.serialize_pem()).unwrap();
    fs::write(site.path("typed"), format!("{RIGHT}\n")).unwrap();
    let mut hash = Command::new(demarc_tests::programs::agent());
    hash.arg("--config")
        .arg(site.config())
        .args(["web", "password"])
        .stdin(fs::File::open(site.path("typed")).unwrap());
    let output = hash.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let line = String::from_utf8(output.stdout).unwrap();
    assert!(line.starts_with("password = ") && !line.contains("horse"));
    let of_web = format!(
        "[web]\nlisten = \"127.0.0.1:0\"\ncertificate = {:?}\nkey = {:?}\n{line}",
        site.path("web.pem"),
        site.path("web.key")
    );
    site.write_config(&site.config_text(&setup()).replace("[web]\nlisten = \"127.0.0.1:0\"\n", &of_web));
    site.start();
    let url = link(&site);
    assert!(url.starts_with("https://"), "{url}");
    let place = url.split("/enter").next().unwrap().to_owned();
    let browser = Driven::start();
    browser.go(&format!("{place}/"));
    let began = std::time::Instant::now();
    browser.type_into("input[name=password]", "wrong horse battery");
    browser.click("button");
    wait::until_true(LIMIT, "the refusal", || browser.source().contains("This is not the password"));
    assert!(began.elapsed() >= std::time::Duration::from_secs(1), "guessing is slow");
    browser.go(&format!("{place}/"));
    browser.type_into("input[name=password]", RIGHT);
    browser.click("button");
    wait::until_true(LIMIT, "the way in", || browser.source().contains("Log out"));
    let cookies = browser.cookies();
    let cookie = &cookies[0];
    assert!(cookie["secure"] == true && cookie["httpOnly"] == true && cookie["sameSite"] == "Strict", "{cookies}");
}
