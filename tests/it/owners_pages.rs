//! The owner's pages: what they show, what they change, and whom they turn away.

use std::{
    collections::BTreeSet,
    io::{Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

use data_encoding::BASE64;
use demarc_tests::{
    browser,
    cdr::{Caller, Layout},
    data,
    oracle::{Oracle, printed},
    pages::{Pages, link},
    process,
    site::{Setup, Site},
    wait,
};

const LIMIT: Duration = Duration::from_secs(60);
/// Every page of the navigation.
const PAGES: &[&str] = &[
    "/",
    "/calls",
    "/queues",
    "/callers",
    "/numbers",
    "/trunks",
    "/completeness",
    "/sent",
    "/switches",
    "/support",
    "/health",
    "/recordings",
];

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
fn a_link_lets_one_browser_in_once() {
    let mut site = site(&Setup::default());
    site.start();
    let (address, path) = link(&site);
    let stranger = Pages::at(address);
    for page in PAGES {
        let answer = stranger.get(page);
        assert_eq!(answer.status, 401, "{page}");
        assert!(answer.body.contains("demarc web") && !answer.body.contains("<nav"), "{}", answer.body);
    }
    // A browser may look at the link before it follows it, and that must not use it up.
    let head = stranger.say(&format!("HEAD {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"));
    assert_ne!(head.status, 303, "{head:?}");
    let entered = stranger.get(&path);
    assert_eq!((entered.status, entered.header("location")), (303, Some("/")));
    let cookie = entered.header("set-cookie").unwrap();
    for word in ["HttpOnly", "SameSite=Strict", "Path=/"] {
        assert!(cookie.contains(word), "{cookie}");
    }
    assert_eq!(stranger.get(&path).status, 403, "a link lets in once");

    let browser = Pages { cookie: Some(cookie.split(';').next().unwrap().to_owned()), ..Pages::at(address) };
    for page in PAGES {
        assert_eq!(browser.get(page).status, 200, "{page}");
    }
    // A secret that the browser brought along is never taken over.
    let (_, path) = link(&site);
    let fixed = Pages { cookie: Some("demarc=chosen-by-somebody-else".to_owned()), ..Pages::at(address) };
    let entered = fixed.get(&path);
    assert!(!entered.header("set-cookie").unwrap().contains("chosen-by-somebody-else"));
    assert_eq!(fixed.get("/").status, 401);

    assert_eq!(browser.post("/leave", "/", "").status, 303);
    assert_eq!(browser.get("/").status, 401);
    // Guessing the key leads nowhere, and the right one still works afterwards.
    let (_, path) = link(&site);
    for number in 0..300 {
        assert_eq!(stranger.get(&format!("/enter?key={number:043}")).status, 403);
    }
    assert_eq!(stranger.get(&path).status, 303);
}

#[test]
fn changes_come_from_the_owner_s_own_pages() {
    let mut site = site(&Setup::default());
    site.start();
    let pages = Pages::enter(&site);
    let token = pages.token("/switches/turn?switch=upload&on=false");
    let ours = pages.origin();
    let off = |token: &str| format!("token={token}&switch=upload&on=false");
    for (headers, body) in [
        (String::new(), off(&token)),
        ("Origin: null\r\n".to_owned(), off(&token)),
        ("Origin: http://evil.example\r\n".to_owned(), off(&token)),
        (format!("{ours}Sec-Fetch-Site: cross-site\r\n"), off(&token)),
        (format!("{ours}Sec-Fetch-Site: same-site\r\n"), off(&token)),
        (ours.clone(), off("0123456789abcdef")),
        (ours.clone(), off("")),
        (ours.clone(), "switch=upload&on=false".to_owned()),
    ] {
        let answer = pages.send("/switches", &headers, &body);
        assert!(matches!(answer.status, 403 | 422), "{headers:?} {body:?}: {answer:?}");
    }
    // Without the browser's secret the right token is worth nothing.
    let stranger = Pages::at(pages.address);
    assert_eq!(stranger.send("/switches", &ours, &off(&token)).status, 401);
    // A link that somebody else made changes nothing either.
    assert_eq!(pages.get("/switches/turn?switch=upload&on=false").status, 200);
    assert!(site.read_config().contains("upload = true"));
    for method in ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"] {
        let request = format!(
            "{method} /switches HTTP/1.1\r\nHost: {}\r\nCookie: {}\r\n{ours}Connection: close\r\n\r\n",
            pages.address,
            pages.cookie.as_ref().unwrap()
        );
        assert!(matches!(pages.say(&request).status, 403 | 405), "{method}");
    }
}

#[test]
fn a_switch_turns_what_the_command_turns() {
    let mut site = site(&Setup::default());
    let text = site.read_config().replace("upload = true", "upload = true # as agreed with the works council");
    site.write_config(&text);
    site.start();
    let pages = Pages::enter(&site);
    let ask = pages.get("/switches/turn?switch=upload&on=false").body;
    assert!(ask.contains("What stops") && ask.contains("What goes on"), "{ask}");
    let page = "/switches/turn?switch=upload&on=false";
    assert_eq!(pages.post("/switches", page, "switch=upload&on=false").status, 303);
    assert!(site.read_config().contains("upload = false # as agreed with the works council"), "{}", site.read_config());
    assert_eq!(site.status()["upload"], false);
    assert!(pages.get("/switches").body.contains("Statistics for the vendor: off"));

    assert_eq!(pages.post("/switches", page, "switch=tunnel&on=false").status, 303);
    wait::until_true(LIMIT, "the entry of the tunnel's switch", || {
        site.run(&["sent", "list"]).stdout.contains("tunnel from on to off by page")
    });
    assert!(site.read_config().contains("enabled = false"));
    // Everything that is for the owner goes on.
    for page in PAGES {
        assert_eq!(pages.get(page).status, 200, "{page}");
    }
    assert_eq!(pages.post("/switches", page, "switch=upload&on=true").status, 303);
    assert_eq!(site.status()["upload"], true);

    // A file that may not be changed is said, with the command that does it.
    let nonsense = pages.post("/switches", page, "switch=everything&on=true");
    assert!(matches!(nonsense.status, 400 | 422), "{nonsense:?}");
}

#[test]
fn names_of_others_are_not_answered() {
    let mut site = site(&Setup::default());
    site.start();
    let pages = Pages::enter(&site);
    let (address, port) = (pages.address, pages.address.port());
    let cookie = pages.cookie.clone().unwrap();
    let ask = |target: &str, hosts: &[&str]| {
        let hosts: String = hosts.iter().map(|host| format!("Host: {host}\r\n")).collect();
        pages.say(&format!("GET {target} HTTP/1.1\r\n{hosts}Cookie: {cookie}\r\nConnection: close\r\n\r\n")).status
    };
    assert_eq!(ask("/", &[&address.to_string()]), 200);
    assert_eq!(ask("/", &[&format!("localhost:{port}")]), 200);
    for host in ["evil.example", "127.0.0.1", "localhost", "127.0.0.1:1", "[::1]"] {
        assert_eq!(ask("/", &[host]), 421, "{host}");
        assert_eq!(ask("/assets/style.css", &[host]), 421, "{host}");
        assert_eq!(ask("/metrics", &[host]), 421, "{host}");
    }
    assert!(matches!(ask("/", &[]), 400 | 421));
    assert!(matches!(ask("/", &[&address.to_string(), "evil.example"]), 400 | 421));
    for target in [
        "/sent/../../etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "//etc/passwd",
        "/assets/../web.rs",
        "/sent/%00",
        "/support/../1",
    ] {
        assert!(matches!(ask(target, &[&address.to_string()]), 400 | 404), "{target}");
    }
    let long = format!("/calls?from={}", "9".repeat(20_000));
    assert!(matches!(ask(&long, &[&address.to_string()]), 400 | 414 | 431));
    let body = "x".repeat(100_000);
    let answer = pages.send("/switches", &format!("Origin: http://{address}\r\n"), &body);
    assert!(matches!(answer.status, 0 | 413), "{}", answer.status);
    // Whatever is answered, the browser is told to keep to itself.
    for answer in [pages.get("/"), pages.get("/nowhere"), pages.get("/sent/x"), pages.get("/calls?from=x&to=y")] {
        let policy = answer.header("content-security-policy").unwrap_or_else(|| panic!("{answer:?}"));
        assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(answer.header("referrer-policy"), Some("same-origin"));
    }
}

#[test]
fn slow_clients_and_many_keep_nobody_waiting() {
    let (site, oracle) = with_calls();
    let pages = Pages::enter(&site);
    let mut idle: Vec<TcpStream> = (0..200).filter_map(|_| TcpStream::connect(pages.address).ok()).collect();
    for stream in idle.iter_mut().take(30) {
        let _ = stream.write_all(b"GET / HTTP/1.1\r\nHos");
    }
    // Calls are counted all the while.
    let row = Caller::new(1).inbound_answered(1_795_400_000, 3, 20);
    site.feed(&row.line(Layout::New21));
    site.wait_for_calls(oracle.calls() + 1, "direction", LIMIT);
    // Who says nothing for ten seconds is turned away, and there is room again.
    wait::until_true(LIMIT, "room for another browser", || pages.get("/").status == 200);
    drop(idle);

    // A reader that takes nothing of a page harms nobody.
    let mut stalled = TcpStream::connect(pages.address).unwrap();
    let request = format!(
        "GET /calls?from=2026-11-22&to=2026-11-22 HTTP/1.1\r\nHost: {}\r\nCookie: {}\r\n\r\n",
        pages.address,
        pages.cookie.as_ref().unwrap()
    );
    stalled.write_all(request.repeat(50).as_bytes()).unwrap();
    let began = Instant::now();
    assert_eq!(pages.get("/").status, 200);
    assert!(began.elapsed() < Duration::from_secs(20));
    let mut some = [0; 64];
    let _ = stalled.read(&mut some);
    // A process that dies is another one at the next request.
    process::signal(site.role("web").expect("the role runs"), libc::SIGKILL);
    wait::until_true(LIMIT, "the pages again", || pages.get("/").status == 200);
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
fn names_of_callers_and_trunks_cannot_become_markup() {
    let mut site = site(&Setup::default());
    let evil = "\"><script>alert(1)</script>";
    let text = site.read_config().replace("trunks = [", &format!("trunks = [{evil:?}, "));
    site.write_config(&text);
    site.start();
    let mut caller = Caller::new(1);
    for channel in [format!("PJSIP/{evil}-00000001"), "PJSIP/=1+1-00000002".to_owned()] {
        let mut row = caller.inbound_answered(1_795_400_000, 3, 20);
        row.clid = format!("\"{evil}\" <{evil}>");
        row.src = evil.to_owned();
        row.channel = channel;
        row.dstchannel = format!("PJSIP/{evil}-00000003");
        site.feed(&row.line(Layout::New21));
    }
    site.wait_for_calls(2, "direction", LIMIT);
    let pages = Pages::enter(&site);
    let by = "trunk,queue,extension";
    for page in PAGES.iter().map(|page| (*page).to_owned()).chain(["/calls?from=2026-11-20&to=2026-11-24".to_owned()]) {
        let body = pages.get(&page).body;
        assert!(!body.contains("<script>alert") && !body.contains("\"><script"), "{page}: {body}");
    }
    let page = pages.get("/calls?from=2026-11-20&to=2026-11-24").body;
    assert!(page.contains("&lt;script&gt;"), "{page}");
    let sheet = pages.get(&format!("/calls.csv?from=2026-11-20&to=2026-11-24&by={by}")).body;
    assert!(sheet.lines().all(|line| !line.starts_with('=') && !line.contains(",=")), "{sheet}");
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
    let mut pages = Pages::at(([127, 0, 0, 1], port).into());
    pages.host = format!("pbx.example.com:{port}");
    pages.certificate = Some(made.cert.der().clone());
    assert_eq!(pages.get("/").status, 401);
    let began = Instant::now();
    let wrong = pages.send("/password", &pages.origin(), "password=not+the+password");
    assert_eq!((wrong.status, wrong.header("set-cookie")), (403, None));
    assert!(began.elapsed() >= Duration::from_secs(1), "guessing takes its time");
    let right = pages.send("/password", &pages.origin(), "password=a+long+password+of+ours");
    let cookie = right.header("set-cookie").unwrap_or_else(|| panic!("{right:?}"));
    assert!(right.status == 303 && cookie.contains("Secure") && cookie.contains("HttpOnly"), "{cookie}");
    let inside = Pages {
        cookie: cookie.split(';').next().map(str::to_owned),
        host: pages.host.clone(),
        certificate: pages.certificate.clone(),
        ..pages
    };
    assert_eq!(inside.get("/").status, 200);

    // Figures for monitoring take the password, too.
    let pages = Pages { cookie: None, ..inside };
    let basic = |both: &str| format!("Authorization: Basic {}\r\n", BASE64.encode(both.as_bytes()));
    assert_eq!(pages.get("/metrics").status, 401);
    assert_eq!(pages.get_with("/metrics", &basic("any:wrong")).status, 401);
    let metrics = pages.get_with("/metrics", &basic("any:a long password of ours"));
    assert!(metrics.status == 200 && metrics.body.contains("demarc_calls{"), "{metrics:?}");
    // Without TLS there is nothing to be had.
    assert_eq!(Pages::at(pages.address).get("/").status, 0);
}

#[test]
fn figures_for_monitoring_are_those_of_the_report() {
    let (site, oracle) = with_calls();
    let pages = Pages::at(link(&site).0);
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
    let text = Pages::at(link(&site).0).get("/metrics").body;
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
    assert_eq!(browser::sheets(&format!("file://{}", file.display())), 1);
    let page = Pages::enter(&site).get("/report?from=2026-11-17&to=2026-11-23").body;
    assert!(page.contains(&format!("{inbound} calls came in")), "{page}");
    for nonsense in [&["--to", "2026-11-24"][..], &["--from", "today"], &["--from", "2026-11-24", "--to", "2026-11-20"]]
    {
        let refused = site.run(&[&["report", "--html", file.to_str().unwrap()], nonsense].concat());
        assert_eq!(refused.code, Some(2), "{nonsense:?}: {}", refused.stderr);
    }
}
