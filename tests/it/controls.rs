//! What the owner looks at: status, the ledger, the preview; and what becomes of a ledger that was tampered with.

use std::{fs, time::Duration};

use demarc_proto::Report;
use demarc_tests::{
    process,
    site::{self, LIMIT, Setup, Site},
    traffic::{Traffic, wait_for_room_in_the_minute},
    wait,
};

const ONE_WINDOW: Duration = Duration::from_secs(120);
/// Roles that idle together, by the design.
const IDLE_MEMORY: u64 = 12 * 1024 * 1024;

#[test]
fn status_tells_how_things_are_running_or_not() {
    let mut site = Site::new(&Setup::default());
    let told = site.run(&["status"]);
    assert!((told.stdout + &told.stderr).contains("not running"));
    site.start();
    let mut traffic = Traffic::new(41);
    traffic.feed(&site, 10);
    site.feed(b"not a call record\n");
    site.wait_for_calls(10, "direction", LIMIT);
    wait::until_true(LIMIT, "the malformed row in the status", || {
        site.status()["collected"]["sources"][0]["malformed"] == 1
    });
    let status = site.status();
    assert_eq!(status["collected"]["sources"][0]["rows"].as_u64(), Some(traffic.oracle.legs + 1));
    assert!(status["site"].is_null() && status["link"]["pid"].is_null(), "not enrolled, so there is no link: {status}");
    assert_eq!(status["collector"]["pid"].as_i64(), site.role("collector").map(i64::from));
    let text = site.run(&["status"]).ok();
    for word in ["Master.csv", "upload", "enroll", "collector"] {
        assert!(text.contains(word), "{word} in {text}");
    }
    // A warning for windows so short that they say when single calls were.
    assert!(status["notices"].to_string().contains("1m") || text.contains("1m"), "{text}");
}

#[test]
fn the_preview_is_the_report_byte_for_byte_and_tampering_shows() {
    let (hub, mut site) = site::enrolled(&Setup { grace: "1d".into(), ..Setup::default() });
    site.start();
    site.wait_for_tunnel();
    let mut traffic = Traffic::new(42);
    wait_for_room_in_the_minute(15);
    traffic.feed(&site, 20);
    // In the days of grace nothing leaves; the preview shows what would.
    let preview = wait::until(ONE_WINDOW, "a preview with the calls", || {
        let finished = site.run(&["stats", "preview"]);
        let report = finished.stdout.lines().find_map(|line| Report::from_body(line).ok());
        report.or_else(|| Report::from_body(finished.stdout.trim_end_matches('\n')).ok())
    });
    traffic.oracle.assert_reported(&preview);
    preview.check(10).unwrap();
    wait::until_true(ONE_WINDOW, "the window to be over", || wait::now() > preview.window.end() + 15);
    assert!(hub.bodies("site-one").is_empty() && site.ledger_entries("report").is_empty());

    // Once the grace is over it goes.
    site.write_config(&site.read_config().replace("grace = \"1d\"", "grace = \"0s\""));
    let bodies = hub.wait_for_reports("site-one", 1, ONE_WINDOW);
    let sent = Report::from_body(&bodies[0]).unwrap();
    traffic.oracle.assert_reported(&sent);
    assert_eq!((&sent.volume, &sent.talk, &sent.wait), (&preview.volume, &preview.talk, &preview.wait));
    wait::until_true(LIMIT, "the receipt", || !site.ledger_entries("receipt").is_empty());

    // The ledger: listed, shown, verified, also while the daemon is down.
    site.stop();
    let list = site.run(&["sent", "list", "--json"]).json();
    assert!(list.to_string().contains(&sent.id.to_string()), "{list}");
    assert!(site.run(&["sent", "list"]).ok().contains("report"));
    site.run(&["sent", "show", "9999"]).fails_with(1);
    site.run(&["sent", "verify"]).ok();
    let good = fs::read_to_string(site.ledger()).unwrap();
    let lines: Vec<&str> = good.lines().collect();
    let report_line = lines.iter().position(|line| line.contains("\"kind\":\"report\"")).unwrap();
    let seq = site.ledger_entries("report")[0]["seq"].to_string();
    let tampered = [
        (
            "a figure",
            good.replace("\\\"calls\\\":20", "\\\"calls\\\":21").replace("\\\"floor\\\":10", "\\\"floor\\\":11"),
        ),
        (
            "an entry taken out",
            lines.iter().enumerate().filter(|(n, _)| *n != report_line).map(|(_, l)| format!("{l}\n")).collect(),
        ),
        ("an entry twice", good.clone() + lines[report_line] + "\n"),
        ("the end cut off in the middle", good[..good.len() - 40].to_owned() + "\n"),
    ];
    for (what, text) in tampered {
        assert_ne!(text, good, "{what}");
        fs::write(site.ledger(), text).unwrap();
        let told = site.run(&["sent", "verify"]);
        assert_eq!(told.code, Some(1), "{what}: {} {}", told.stdout, told.stderr);
        if what == "a figure" {
            assert!((told.stdout + &told.stderr).contains(&seq), "the entry is named");
        }
    }
    fs::write(site.ledger(), good).unwrap();
    site.run(&["sent", "verify"]).ok();
}

#[test]
fn an_idle_agent_is_small_and_quiet() {
    let (_hub, mut site) = site::enrolled(&Setup { window: "1d".into(), ..Setup::default() });
    site.start();
    site.wait_for_tunnel();
    let supervisor = site.daemon().pid();
    let roles: Vec<i32> =
        [Some(supervisor), site.role("collector"), site.role("link")].into_iter().map(Option::unwrap).collect();
    let processor = || roles.iter().map(|&pid| ticks(pid)).sum::<u64>();
    let before = processor();
    wait::throughout(Duration::from_secs(10), "up", || process::resident(supervisor).is_some());
    let used = processor() - before;
    assert!(used <= 5, "{used} hundredths of a second in ten idle seconds");
    // The programs of the tests are not optimized for size: the bound here is twice that of the release, which the
    // bench measures.
    let own: u64 = roles.iter().map(|&pid| proportional(pid)).sum();
    assert!(own < 2 * IDLE_MEMORY, "{own} bytes");
}

/// Processor time of a process, in hundredths of a second.
fn ticks(pid: i32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

/// Memory of a process, what is shared divided among those who share it (PSS).
fn proportional(pid: i32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:")).unwrap();
    line.trim().trim_end_matches(" kB").trim().parse::<u64>().unwrap() * 1024
}
