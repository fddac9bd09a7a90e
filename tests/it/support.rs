//! Support sessions as an engineer makes them: Debian's `ssh`, the two programs, and a customer who is in command.

use std::{
    fs,
    io::Write,
    time::{Duration, Instant},
};

use demarc_tests::{
    asterisk::Asterisk,
    desk::{self, Desk, Wish, allow, last_session, listed, recorded, trusting},
    hub::Hub,
    process,
    site::{LIMIT, Setup, Site},
    terminal::Terminal,
    wait,
};

#[test]
fn a_diagnosis_is_answered_recorded_and_receipted() {
    let (hub, desk, site) = desk::opened(&Setup::default());
    let grant = allow(&site, "5m", "diagnose");
    let key = desk.engineer("ada", &Wish::proper(&grant));
    let began = Instant::now();
    let told = desk.run(&hub, &key, &["disk"]).ok();
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    assert!(told.contains('%'), "{told}");
    let session = last_session(&site);
    assert_eq!((&session["end"], &session["scope"]), (&"closed".into(), &"diagnose".into()));
    let report = &session["report"];
    assert_eq!((&report["engineer"], &report["commands"][0]), (&"ada".into(), &"disk".into()));
    assert!(report["bytes_out"].as_u64().unwrap() >= told.len() as u64);
    let name = session["session"].as_str().unwrap();
    assert_eq!(recorded(&site, name, "o").replace("\r\n", "\n"), told);
    assert!(recorded(&site, name, "m").contains("ada"));
    site.run(&["support", "verify"]).ok();
    // What was recorded cannot be changed unseen.
    let cast = site.state().join(format!("support/recordings/{name}.cast"));
    let text = fs::read_to_string(&cast).unwrap();
    fs::write(&cast, text.replacen('%', "#", 1)).unwrap();
    let complaint = site.run(&["support", "verify"]);
    assert_eq!(complaint.code, Some(1), "{}", complaint.stdout);
    for kind in ["grant", "session_began", "session"] {
        assert_eq!(site.ledger_entries(kind).len(), 1, "{kind}");
    }
    site.run(&["sent", "verify"]).ok();
}

#[test]
fn a_real_asterisk_is_looked_at_in_under_two_seconds() {
    let (hub, desk, asterisk) = (Hub::start(), Desk::new(), Asterisk::start());
    let mut site = Site::new(&Setup::default());
    let mut setup = trusting(&desk, &Setup::default());
    let (program, config) = asterisk.console();
    setup.sections += &format!("asterisk = {program:?}\nasterisk_conf = {config:?}\n");
    site.configure(&setup);
    site.enroll(&hub.token("site-one")).ok();
    site.start();
    site.wait_for_tunnel();
    desk.certify_host(&site);
    let grant = allow(&site, "5m", "diagnose");
    let key = desk.engineer("ada", &Wish::proper(&grant));
    asterisk.call("group", 1);
    let told = wait::until(LIMIT, "a call to be seen", || {
        let began = Instant::now();
        let told = desk.run(&hub, &key, &["channels"]).ok();
        assert!(began.elapsed() < Duration::from_secs(2), "{:?}: {told}", began.elapsed());
        told.contains("PJSIP").then_some(told)
    });
    // Who calls whom is nobody's business but the customer's.
    let digits = |word: &str| word.len() >= 5 && word.bytes().all(|byte| byte.is_ascii_digit());
    assert!(!told.split(|c: char| !c.is_ascii_alphanumeric()).any(digits), "{told}");
    let registrations = desk.run(&hub, &key, &["registrations", "--json"]).ok();
    assert!(serde_json::from_str::<serde_json::Value>(&registrations).is_ok(), "{registrations}");
}

#[test]
fn a_shell_runs_and_file_transfer_is_refused_in_words() {
    let (hub, desk, site) = desk::opened(&Setup::default());
    let grant = allow(&site, "5m", "shell");
    let key = desk.engineer("ada", &Wish::proper(&grant));
    assert_eq!(desk.run(&hub, &key, &["echo", "a-$((20+1))"]).ok(), "a-21\n");
    assert_eq!(desk.run(&hub, &key, &["exit", "7"]).code, Some(7));
    let refused = desk.run(&hub, &key, &["scp", "-t", "/tmp"]);
    assert!(refused.code != Some(0) && refused.stderr.contains("files"), "{refused:?}");
    // A terminal: colours, its size and a new one, Ctrl-C, a password that is not recorded.
    let mut terminal = Terminal::start(desk.ssh(&hub, &key).arg("site-one").env("TERM", "xterm"));
    let says = |terminal: &mut Terminal, typed: &str, shown: &str| {
        terminal.paste(typed);
        terminal.expect(shown, LIMIT);
    };
    says(&mut terminal, "printf '\\033[31m%s\\033[0m\\n' red\n", "\u{1b}[31mred");
    says(&mut terminal, "trap 'stty size' WINCH; echo ready-$((1+1))\n", "ready-2");
    terminal.resize(44, 133);
    terminal.expect("44 133", LIMIT);
    says(&mut terminal, "echo go-$((1+2)); sleep 1000\n", "go-3");
    says(&mut terminal, "\u{3}", "^C");
    says(&mut terminal, "read -s -p 'wo''rd: ' w; echo got-${#w}\n", "word: ");
    says(&mut terminal, "topsecret\n", "got-9");
    terminal.paste("exit\n");
    assert!(terminal.ended(LIMIT).success(), "{}", terminal.shown());
    let session = last_session(&site);
    let name = session["session"].as_str().unwrap();
    let (out, typed) = (recorded(&site, name, "o"), recorded(&site, name, "i"));
    assert!(out.contains("ready-2") && typed.contains("stty size"));
    assert!(!out.contains("topsecret") && !typed.contains("topsecret"), "{typed}");
    site.run(&["support", "verify"]).ok();
}

#[test]
fn who_may_not_come_in_does_not() {
    let (hub, desk, site) = desk::opened(&Setup::default());
    // No grant at all: the hub knows of none, and says so.
    let key = desk.engineer("eve", &Wish::proper("0123456789abcdef"));
    let refused = desk.run(&hub, &key, &["disk"]);
    assert!(refused.code == Some(255) && refused.stderr.contains("grant"), "{refused:?}");
    let other = allow(&site, "5m", "diagnose");
    let grant = allow(&site, "5m", "diagnose");
    let proper = Wish::proper(&grant);
    let bad = [
        ("another site", Wish { principals: "site-two".into(), ..proper.clone() }),
        ("two principals", Wish { principals: "site-one,site-two".into(), ..proper.clone() }),
        ("no principal", Wish { principals: String::new(), ..proper.clone() }),
        ("another grant", Wish::proper(&other)),
        ("no grant", Wish { options: Vec::new(), ..proper.clone() }),
        (
            "an unknown critical option",
            Wish { options: [proper.options.clone(), vec!["critical:x@y=z".into()]].concat(), ..proper.clone() },
        ),
        (
            "a forced command",
            Wish { options: [proper.options.clone(), vec!["force-command=id".into()]].concat(), ..proper.clone() },
        ),
        ("an authority of somebody else's", Wish { authority: "stranger".into(), ..proper.clone() }),
        ("a host's certificate", Wish { host: true, options: Vec::new(), ..proper.clone() }),
        ("over", Wish { validity: "-2h:-1h".into(), ..proper.clone() }),
        ("not yet", Wish { validity: "+1h:+2h".into(), ..proper.clone() }),
        ("longer than the grant", Wish { validity: "-15m:+2h".into(), ..proper.clone() }),
        ("an RSA key", Wish { key_type: "rsa".into(), ..proper.clone() }),
    ];
    for (what, wish) in &bad {
        let key = desk.engineer("eve", wish);
        let refused = desk.run(&hub, &key, &["disk"]);
        assert_eq!(refused.code, Some(255), "{what}: {refused:?}");
        assert!(refused.stdout.is_empty(), "{what}: {refused:?}");
    }
    // A raw key without a certificate.
    let key = desk.engineer("eve", &proper);
    fs::remove_file(desk.path("eve-cert.pub")).unwrap();
    assert_eq!(desk.run(&hub, &key, &["disk"]).code, Some(255));
    let session = last_session(&site);
    assert!(session["report"]["engineer"].is_null() && session["report"]["commands"] == serde_json::json!([]));
    // And the proper one comes in: what was refused was refused for its fault.
    let key = desk.engineer("ada", &proper);
    desk.run(&hub, &key, &["disk"]).ok();
    assert!(site.is_connected());
}

#[test]
fn the_owner_ends_it_within_a_second_and_time_ends_it_to_the_second() {
    let (hub, desk, site) = desk::opened(&Setup::default());
    let grant = allow(&site, "5m", "shell");
    let key = desk.engineer("ada", &Wish::proper(&grant));
    let mut ssh = desk.start(&hub, &key, &["site-one", "echo here; sleep 1000"], "first.log");
    wait::until_true(LIMIT, "the session", || ssh.log().contains("here"));
    let began = Instant::now();
    site.run(&["support", "end", &grant]).ok();
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    assert!(ssh.ended(Duration::from_secs(2)).is_some());
    assert_eq!(last_session(&site)["end"], "revoked");
    assert_eq!(desk.run(&hub, &key, &["echo", "again"]).code, Some(255));

    let short = allow(&site, "6s", "shell");
    let granted = Instant::now();
    let key = desk.engineer("ada", &Wish { validity: "-15m:+4s".into(), ..Wish::proper(&short) });
    let mut ssh = desk.start(&hub, &key, &["site-one", "echo here; sleep 1000"], "second.log");
    wait::until_true(LIMIT, "the session", || ssh.log().contains("here"));
    assert!(ssh.ended(Duration::from_secs(10)).is_some());
    let lasted = granted.elapsed();
    assert!((5.0..8.0).contains(&lasted.as_secs_f64()), "{lasted:?}");
    assert_eq!(last_session(&site)["end"], "expired");
    let refused = desk.run(&hub, &key, &["echo", "again"]);
    assert!(refused.code == Some(255) && refused.stderr.contains("there is no live grant"), "{refused:?}");

    let third = allow(&site, "5m", "shell");
    let key = desk.engineer("ada", &Wish::proper(&third));
    let mut ssh = desk.start(&hub, &key, &["site-one", "echo here; sleep 1000"], "third.log");
    wait::until_true(LIMIT, "the session", || ssh.log().contains("here"));
    site.run(&["tunnel", "off"]).ok();
    assert!(ssh.ended(Duration::from_secs(2)).is_some());
    site.run(&["tunnel", "on"]).ok();
    site.wait_for_tunnel();
    assert!(listed(&site)["grants"].as_array().unwrap().is_empty(), "{}", listed(&site));
    assert_eq!(last_session(&site)["end"], "switched_off");
}

#[test]
fn a_port_is_forwarded_and_no_other() {
    let (hub, desk, site) = desk::opened(&Setup::default());
    let page = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = page.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in page.incoming().flatten() {
            let mut stream = stream;
            let mut request = [0; 1024];
            let _ = std::io::Read::read(&mut stream, &mut request);
            let _ = stream.write_all(b"HTTP/1.0 200 OK\r\n\r\nthe page");
        }
    });
    let grant = allow(&site, "5m", &format!("forward={port}"));
    let key = desk.engineer("ada", &Wish::proper(&grant));
    let near = demarc_tests::machine::free_port();
    let other = demarc_tests::machine::free_port();
    let (open, shut) = (format!("{near}:127.0.0.1:{port}"), format!("{other}:127.0.0.1:22"));
    let mut ssh = desk.start(&hub, &key, &["-N", "-L", &open, "-L", &shut, "site-one"], "forward.log");
    let fetch = |port: u16| -> Option<String> {
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).ok()?;
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n").ok()?;
        let mut text = String::new();
        std::io::Read::read_to_string(&mut stream, &mut text).ok()?;
        Some(text)
    };
    let text = wait::until(LIMIT, "the page", || fetch(near).filter(|text| !text.is_empty()));
    assert!(text.ends_with("the page"), "{text}");
    assert_eq!(fetch(other).unwrap_or_default(), "");
    let refused = desk.run(&hub, &key, &["id"]);
    assert_ne!(refused.code, Some(0), "{refused:?}");
    ssh.stop();
    wait::until_true(LIMIT, "the sessions to be over", || listed(&site)["running"].as_array().unwrap().is_empty());
    let sessions = listed(&site)["sessions"].as_array().unwrap().clone();
    let forwards: u64 = sessions.iter().filter_map(|session| session["report"]["forwards"].as_u64()).sum();
    assert!(forwards >= 1, "{sessions:?}");
    let marks: String =
        sessions.iter().map(|session| recorded(&site, session["session"].as_str().unwrap(), "m")).collect();
    assert!(marks.contains(&port.to_string()) && marks.contains("22"), "{marks}");
}

#[test]
fn much_goes_through_a_forward_both_ways_while_keys_change() {
    const MUCH: usize = 12 << 20;
    let (hub, desk, site) = desk::opened(&Setup::default());
    let mirror = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = mirror.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let (mut from, _) = mirror.accept().unwrap();
        let mut to = from.try_clone().unwrap();
        std::io::copy(&mut from, &mut to).unwrap();
        to.shutdown(std::net::Shutdown::Write).unwrap();
    });
    let grant = allow(&site, "5m", &format!("forward={port}"));
    let key = desk.engineer("ada", &Wish::proper(&grant));
    let near = demarc_tests::machine::free_port();
    let open = format!("{near}:127.0.0.1:{port}");
    let arguments = ["-v", "-o", "RekeyLimit=1M", "-N", "-L", &open, "site-one"];
    let mut ssh = desk.start(&hub, &key, &arguments, "forward.log");
    let mut stream = wait::until(LIMIT, "the forward", || std::net::TcpStream::connect(("127.0.0.1", near)).ok());
    let sent: Vec<u8> = (0..MUCH).map(|place| (place / 7 % 251) as u8).collect();
    let (mut writing, bytes) = (stream.try_clone().unwrap(), sent.clone());
    let writer = std::thread::spawn(move || {
        writing.write_all(&bytes).unwrap();
        writing.shutdown(std::net::Shutdown::Write).unwrap();
    });
    let mut got = Vec::new();
    std::io::Read::read_to_end(&mut stream, &mut got).unwrap();
    writer.join().unwrap();
    assert!(got == sent, "{} bytes came back", got.len());
    let log = ssh.log();
    let exchanges = log.matches("SSH2_MSG_NEWKEYS received").count();
    assert!(exchanges > 4, "{exchanges} exchanges of keys: {log}");
    // OpenSSH would take others first, which are much slower where the processor knows AES.
    if fs::read_to_string("/proc/cpuinfo").unwrap().contains(" pclmulqdq") {
        assert!(log.contains("server->client cipher: aes128-gcm@openssh.com"), "{log}");
    }
    ssh.stop();
    let report = &last_session(&site)["report"];
    assert_eq!((&report["bytes_in"], &report["bytes_out"]), (&MUCH.into(), &MUCH.into()));
}

#[test]
fn files_go_in_and_out_and_each_stands_in_the_receipt() {
    let (hub, desk, site) = desk::opened(&Setup::default());
    let grant = allow(&site, "5m", "files");
    let key = desk.engineer("ada", &Wish::proper(&grant));
    let patch = (0..100_000u32).flat_map(u32::to_le_bytes).collect::<Vec<u8>>();
    fs::write(desk.path("patch"), &patch).unwrap();
    desk.sftp(&hub, &key, "put patch\nget patch back\nls -l\n").ok();
    assert_eq!(fs::read(desk.path("back")).unwrap(), patch);
    let session = last_session(&site);
    let files = session["report"]["files"].to_string();
    assert!(files.contains("patch") && files.contains("400000"), "{session}");
    assert!(recorded(&site, session["session"].as_str().unwrap(), "m").contains("patch"));
    // Nothing outside of the session's own directory, and nothing of it stays.
    for batch in
        ["get /etc/passwd stolen\n", "get ../../collector/ledger.jsonl stolen\n", "put patch /tmp/demarc-escape\n"]
    {
        let refused = desk.sftp(&hub, &key, batch);
        assert_ne!(refused.code, Some(0), "{batch}: {refused:?}");
    }
    assert!(!desk.path("stolen").exists() && !std::path::Path::new("/tmp/demarc-escape").exists());
    assert_ne!(desk.run(&hub, &key, &["id"]).code, Some(0));
    last_session(&site);
    assert_eq!(fs::read_dir(site.state().join("scratch")).unwrap().count(), 0);
}

#[test]
fn whoever_dies_leaves_a_whole_recording_and_a_session_that_is_over() {
    let (mut hub, desk, mut site) = desk::opened(&Setup::default());
    for victim in ["session", "supervisor", "hub"] {
        let grant = allow(&site, "5m", "shell");
        let key = desk.engineer("ada", &Wish::proper(&grant));
        let chatter = "i=0; while :; do i=$((i+1)); echo line-$i; sleep 0.01; done";
        let mut ssh = desk.start(&hub, &key, &["site-one", chatter], &format!("{victim}.log"));
        wait::until_true(LIMIT, "the session", || ssh.log().contains("line-20\n"));
        match victim {
            "session" => process::signal(site.role("session").unwrap(), libc::SIGKILL),
            "supervisor" => site.kill(),
            _ => hub.kill(),
        }
        assert!(ssh.ended(Duration::from_secs(10)).is_some(), "{victim}");
        if victim == "supervisor" {
            site.start();
            // The grant is still there, and still ends on time.
            assert!(listed(&site)["grants"].as_array().unwrap().iter().any(|live| live["grant"]["id"] == grant));
        }
        if victim == "hub" {
            hub.serve();
        }
        let session = last_session(&site);
        let name = session["session"].as_str().unwrap().to_owned();
        // Whole lines, and not what ssh says itself.
        let shown: String =
            ssh.log().split_inclusive('\n').filter(|line| line.starts_with("line-") && line.ends_with('\n')).collect();
        let kept = recorded(&site, &name, "o");
        assert!(kept.starts_with(&shown), "{victim}: shown {shown:?}, kept {kept:?}");
        let checked = site.run(&["support", "verify", &name]);
        assert_eq!(checked.code, Some(0), "{victim}: {}", checked.stdout);
        site.wait_for_tunnel();
        site.run(&["support", "end"]).ok();
    }
}

#[test]
fn support_that_is_never_wanted_stays_out() {
    let (_hub, _desk, site) = desk::opened(&Setup::default());
    let text = site.read_config().replace("[support]\n", "[support]\nmode = \"never\"\n");
    allow(&site, "5m", "diagnose");
    site.write_config(&text);
    wait::until_true(LIMIT, "the grant to be over", || listed(&site)["grants"].as_array().unwrap().is_empty());
    let refused = site.run(&["support", "allow", "--for", "1h"]);
    assert!(refused.code == Some(1) && refused.stderr.contains("never"), "{refused:?}");
}
