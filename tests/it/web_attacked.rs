//! The owner's pages under attack: requests that no page of ours would make.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use demarc_tests::{
    http::Answer,
    pages::{PAGES, Pages, link, part},
    site::{LIMIT, Setup, Site},
    traffic::Traffic,
};

fn site() -> Site {
    let mut site = Site::new(&Setup { web: "127.0.0.1:0".into(), ..Setup::default() });
    site.start();
    site
}

fn has_security_headers(answer: &Answer) {
    let policy = answer.header("content-security-policy").unwrap_or_else(|| panic!("no policy: {answer:?}"));
    assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(answer.header("x-frame-options"), Some("DENY"));
    assert_eq!(answer.header("referrer-policy"), Some("same-origin"));
    assert!(answer.header("cache-control").is_some());
    assert!(answer.header("access-control-allow-origin").is_none());
}

#[test]
fn a_change_comes_from_our_own_page_only() {
    let site = site();
    let owner = Pages::enter(&site);
    let before = site.read_config();
    let (own, token) = (owner.origin(), owner.token());
    let form = format!("token={token}&switch=upload&on=false");
    let refused = [
        (String::new(), form.clone()),
        ("Origin: null\r\n".to_owned(), form.clone()),
        ("Origin: http://evil.example\r\n".to_owned(), form.clone()),
        (format!("{own}Sec-Fetch-Site: cross-site\r\n"), form.clone()),
        (format!("{own}Sec-Fetch-Site: same-site\r\n"), form.clone()),
        (own.clone(), "token=00&switch=upload&on=false".to_owned()),
        (own.clone(), "token=&switch=upload&on=false".to_owned()),
        (own.clone(), "switch=upload&on=false".to_owned()),
    ];
    for (lines, body) in refused {
        for path in ["/switches", "/support/allow", "/support/end", "/leave"] {
            let answer = owner.ask("POST", path, &lines, &body);
            assert!((400..500).contains(&answer.status), "{path} {lines} {body}: {}", answer.status);
            has_security_headers(&answer);
        }
    }
    // Without the browser's secret the right token is worth nothing, and a link that somebody else made changes nothing.
    assert_eq!(Pages::at(&owner.address).ask("POST", "/switches", &own, &form).status, 401);
    assert_eq!(owner.get("/switches/turn?switch=upload&on=false").status, 200);
    for method in ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"] {
        assert!((400..500).contains(&owner.ask(method, "/switches", &own, &form).status), "{method}");
    }
    assert_eq!(site.read_config(), before);
    assert_eq!(owner.get("/").status, 200, "the owner is logged in still");
    // What was refused before is done for the owner's own form.
    assert_eq!(owner.post("/switches", "switch=upload&on=false").status, 303);
    assert!(site.read_config().contains("upload = false"));
    let nonsense = owner.post("/switches", "switch=everything&on=true");
    assert!(matches!(nonsense.status, 400 | 422), "{nonsense:?}");
}

#[test]
fn other_names_and_other_paths_lead_nowhere() {
    let site = site();
    let owner = Pages::enter(&site);
    let port = owner.address.rsplit_once(':').unwrap().1.to_owned();
    let ask = |target: &str, hosts: &[&str]| {
        let hosts: String = hosts.iter().map(|host| format!("Host: {host}\r\n")).collect();
        let cookie = owner.cookie.as_ref().unwrap();
        owner.send(&format!("GET {target} HTTP/1.1\r\n{hosts}Cookie: {cookie}\r\nConnection: close\r\n\r\n")).ok()
    };
    let own = owner.address.as_str();
    let evil = format!("evil.example:{port}");
    let lists: [&[&str]; 7] =
        [&[&evil], &["evil.example"], &[], &[own, &evil], &[&evil, own], &["127.0.0.1:1"], &["127.0.0.1.evil.example"]];
    for hosts in lists {
        let answer = ask("/", hosts).unwrap();
        assert!([400, 421].contains(&answer.status), "{hosts:?}: {}", answer.status);
        if answer.status == 421 {
            has_security_headers(&answer);
        }
    }
    for target in ["/assets/style.css", "/metrics"] {
        assert_eq!(ask(target, &[&evil]).unwrap().status, 421, "{target}");
    }
    // The target itself may name a host, too.
    let absolute = ask(&format!("http://{evil}/calls"), &[own]).unwrap();
    assert!([400, 421].contains(&absolute.status), "{}", absolute.status);
    assert_eq!(ask("/", &[own]).unwrap().status, 200);
    assert_eq!(ask("/", &[&format!("localhost:{port}")]).unwrap().status, 200);
    for path in [
        "/sent/../calls.db",
        "/sent/%2e%2e/%2e%2e/etc/passwd",
        "//etc/passwd",
        "/assets/../../demarc.toml",
        "/assets/%2e%2e%2fdemarc.toml",
        "/support/%2e%2e%2f%2e%2e%2fdemarc.toml/cast",
        "/support/..%00/text",
        "/sent/%00/bytes",
        "/sent/-1",
        "/sent/99999999999999999999",
        "/sent/99999",
        "/calls/",
    ] {
        let Some(answer) = ask(path, &[own]) else { continue };
        assert!((400..500).contains(&answer.status), "{path}: {}", answer.status);
        assert!(!answer.body.contains("state_dir"), "{path}");
        has_security_headers(&answer);
    }
    for path in ["/calls?from=x&to=y", "/sent?before=x", "/calls.csv?by=%00", "/switches/turn?switch=nonsense&on=true"]
    {
        has_security_headers(&owner.get(path));
    }
    for path in PAGES.iter().chain(&["/assets/style.css", "/assets/live.js", "/calls.csv", "/calls.json"]) {
        let answer = owner.get(path);
        assert_eq!(answer.status, 200, "{path}");
        has_security_headers(&answer);
        let head = owner.ask("HEAD", path, "", "");
        assert!(head.status == 200 && head.body.is_empty(), "{path}");
    }
}

#[test]
fn a_login_is_neither_guessed_nor_planted() {
    let site = site();
    let (address, path) = part(&link(&site));
    let stranger = Pages::at(&address);
    for number in 0..1000 {
        let guess = stranger.get(&format!("/enter?key={number:043}"));
        assert!(guess.status == 403 && guess.cookie().is_none(), "{guess:?}");
    }
    for strange in PAGES.into_iter().chain(["/calls.csv", "/calls/waits.csv", "/queues.json", "/sent/1/bytes"]) {
        for cookie in ["", "Cookie: demarc=\r\n", "Cookie: demarc=forged\r\n", "Cookie: demarc=%00; demarc=x\r\n"] {
            let answer = stranger.ask("GET", strange, cookie, "");
            assert_eq!(answer.status, 401, "{strange} {cookie}");
            assert!(answer.body.contains("demarc web") && !answer.body.contains("<nav"), "{}", answer.body);
            has_security_headers(&answer);
        }
    }
    // Somebody else's cookie is not adopted by the login: it gets a fresh one.
    let planted = Pages { cookie: Some("demarc=planted".to_owned()), ..stranger.clone() };
    let entered = planted.get(&path);
    let set = entered.header("set-cookie").unwrap();
    assert!(entered.status == 303 && entered.header("location") == Some("/") && !set.contains("planted"), "{set}");
    for attribute in ["HttpOnly", "SameSite=Strict", "Path=/"] {
        assert!(set.contains(attribute), "{set}");
    }
    assert_eq!(planted.get("/").status, 401);
    let again = stranger.get(&path);
    assert!(again.status == 403 && again.cookie().is_none(), "a link lets in once");
    let owner = Pages { cookie: entered.cookie(), ..stranger };
    for page in PAGES {
        assert_eq!(owner.get(page).status, 200, "{page}");
    }
    assert_eq!(owner.post("/leave", "").status, 303);
    assert_eq!(owner.get("/").status, 401);
}

#[test]
fn a_link_is_not_used_up_by_a_look_at_its_head() {
    let site = site();
    let (address, path) = part(&link(&site));
    let browser = Pages::at(&address);
    assert!(browser.ask("HEAD", &path, "", "").cookie().is_none());
    for lines in ["Sec-Purpose: prefetch\r\n", "Purpose: prefetch\r\n", "Sec-Purpose: prefetch;prerender\r\n"] {
        let looked = browser.ask("GET", &path, lines, "");
        assert!(looked.cookie().is_none(), "{looked:?}");
    }
    assert_eq!(browser.get(&path).status, 303);
}

#[test]
fn names_from_call_records_stay_names() {
    const TRUNK: &str = "<b>provider";
    const NASTY: &str = "<script>alert(1)</script>\"'&x";
    let mut site = Site::new(&Setup { web: "127.0.0.1:0".into(), ..Setup::default() });
    site.write_config(&site.read_config().replace("trunks = [", &format!("trunks = [{TRUNK:?}, ")));
    site.start();
    let mut traffic = Traffic::new(5);
    traffic.feed(&site, 5);
    let end = demarc_tests::wait::now();
    let wall = jiff::Timestamp::from_second(end as i64).unwrap().strftime("%Y-%m-%d %H:%M:%S").to_string();
    for (number, name) in [NASTY, "=cmd|' /C calc'!A0", "@SUM(1)", "+1", "-1"].iter().enumerate() {
        let name = name.replace('"', "\"\"");
        let trunk = if number == 0 { TRUNK } else { "provider1" };
        site.feed(
            format!(
                "\"\",\"447700900001\",\"{name}\",\"from-trunk\",\"\"\"A\"\" <447700900001>\",\"PJSIP/{trunk}-000000{number}a\",\
                 \"PJSIP/{name}-000000{number}b\",\"Dial\",\"x\",\"{wall}\",\"{wall}\",\"{wall}\",0,0,\"ANSWERED\",\
                 \"DOCUMENTATION\",\"{end}.9{number}\",\"\",\"\",\"{end}.9{number}\",{number}\n"
            )
            .as_bytes(),
        );
    }
    site.wait_for_calls(traffic.oracle.calls() + 5, "extension", LIMIT);
    let owner = Pages::enter(&site);
    let calls = owner.get("/calls").body;
    for name in ["&lt;script&gt;alert", "&lt;b&gt;provider"] {
        assert!(calls.contains(name), "{name} is on the page: {calls}");
    }
    for path in PAGES {
        let page = owner.get(path).body.to_ascii_lowercase();
        assert!(!page.contains("<script>alert") && !page.contains("<b>provider"), "{path}");
    }
    let asked = owner.get("/calls?from=%22%3E%3Cscript%3Ealert(1)%3C/script%3E&to=x").body;
    assert!(!asked.contains("<script>"), "{asked}");
    let export = owner.get("/calls.csv?by=extension,direction,outcome").body;
    let formula = |line: &str| line.trim_start_matches('"').starts_with(['=', '@', '+', '-', '\t']);
    assert!(export.contains("calc") && !export.lines().any(formula), "{export}");
}

#[test]
fn large_and_slow_requests_disturb_nobody() {
    let site = site();
    let owner = Pages::enter(&site);
    let long = "x".repeat(100_000);
    for request in [
        owner.request("GET", &format!("/calls?from={long}"), "", ""),
        owner.request("GET", "/", &format!("X-Long: {long}\r\n"), ""),
        owner.request("GET", "/", &"A: b\r\n".repeat(1000), ""),
    ] {
        // An answer, or a connection that was cut while it was still sent.
        assert!(owner.send(&request).ok().is_none_or(|answer| (400..500).contains(&answer.status)));
    }
    let answer = owner.ask("POST", "/switches", &owner.origin(), &format!("token={}&switch={long}", owner.token()));
    assert_eq!(answer.status, 413);
    has_security_headers(&answer);
    // Thirty that say little, thirty that do not read what they asked for.
    let mut slow: Vec<TcpStream> = (0..30).map(|_| TcpStream::connect(&owner.address).unwrap()).collect();
    let mut stalled: Vec<TcpStream> = (0..30).map(|_| TcpStream::connect(&owner.address).unwrap()).collect();
    for stream in &mut slow {
        stream.write_all(b"G").unwrap();
    }
    let one = owner.request("GET", "/calls", "", "").replace("Connection: close\r\n", "");
    for stream in &mut stalled {
        let _ = stream.write_all(one.repeat(50).as_bytes());
    }
    let mut traffic = Traffic::new(6);
    traffic.feed(&site, 20);
    assert_eq!(owner.get("/calls").status, 200);
    site.wait_for_calls(traffic.oracle.calls(), "direction", LIMIT);
    // Whoever takes all places is put out when the head of a request does not come.
    let more: Vec<TcpStream> = (0..40).map(|_| TcpStream::connect(&owner.address).unwrap()).collect();
    slow[0].set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let mut rest = Vec::new();
    assert!(slow[0].read_to_end(&mut rest).is_ok(), "the connection was ended");
    drop((more, stalled, slow));
    demarc_tests::wait::until_true(LIMIT, "a place", || {
        owner.send(&owner.request("GET", "/", "", "")).is_ok_and(|answer| answer.status == 200)
    });
}
