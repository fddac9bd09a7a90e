//! Kernels with an older Landlock than this machine's, and with none: what can be enforced is, what cannot is refused or said.

use std::{io::Write, net::TcpListener, process::Command};

use demarc_tests::{
    desk::{Desk, Wish, allow, last_session, recorded, recording, trusting},
    hub::Hub,
    machine, process,
    site::{LIMIT, Setup, Site},
    terminal::Terminal,
    traffic::Traffic,
};
use serde_json::Value;

/// Words before a command that have it run as if on such a kernel.
fn kernel(version: &str) -> [&str; 2] {
    [env!("CARGO_BIN_EXE_old_kernel"), version]
}

/// A site on a kernel with that version of Landlock, a hub, and a desk that both know.
fn opened(version: u64) -> (Hub, Desk, Site) {
    assert!(machine::is_root(), "who answers for the kernel looks into other processes, and so needs root");
    let (hub, desk) = (Hub::start(), Desk::new());
    let mut site = Site::new(&Setup::default());
    // What an engineer may read, and the user that demarc runs as may write.
    std::fs::write(site.path("full"), LINE).unwrap();
    let mut setup = trusting(&desk, &Setup::default());
    setup.sections += &format!("logs = [{:?}]\n", site.path("full"));
    site.configure(&setup);
    site.wrap_in(&kernel(&version.to_string()));
    site.enroll(&hub.token("site-one")).ok();
    site.start();
    site.wait_for_tunnel();
    desk.certify_host(&site);
    (hub, desk, site)
}

/// What confined the worker of the last session, as its recording says.
fn last_confinement(site: &Site) -> Value {
    let session = last_session(site);
    recording(site, session["session"].as_str().unwrap())[0]["demarc"]["confined"].clone()
}

fn says(gaps: &Value, words: &str) -> bool {
    gaps.as_array().unwrap().iter().any(|gap| gap.as_str().unwrap().contains(words))
}

/// `perl` that makes a call by its number, and succeeds if the call does.
fn call(number: libc::c_long, arguments: &str) -> String {
    format!("syscall({number}, {arguments}) == 0 or exit 1;")
}

/// Every way to signal a process, as commands.
fn ways(pid: &str, signal: i32) -> Vec<String> {
    let message = format!("my $m = pack(\"iii x116\", {signal}, 0, -1);");
    let calls = [
        call(libc::SYS_kill, &format!("{pid}, {signal}")),
        call(libc::SYS_tkill, &format!("{pid}, {signal}")),
        call(libc::SYS_tgkill, &format!("{pid}, {pid}, {signal}")),
        message.clone() + &call(libc::SYS_rt_sigqueueinfo, &format!("{pid}, {signal}, $m")),
        message + &call(libc::SYS_rt_tgsigqueueinfo, &format!("{pid}, {pid}, {signal}, $m")),
        format!("my $p = syscall({}, {pid}, 0); ", libc::SYS_pidfd_open)
            + &call(libc::SYS_pidfd_send_signal, &format!("$p, {signal}, 0, 0")),
        // F_SETSIG, then a pipe that has something to say.
        format!(
            "pipe(R, W); fcntl(R, 10, {signal}) or exit 1; fcntl(R, {}, {pid}) or exit 1; fcntl(R, {}, {}) or exit 1; \
             syswrite(W, \"x\")",
            libc::F_SETOWN,
            libc::F_SETFL,
            libc::O_ASYNC
        ),
        format!("pipe(R, W); fcntl(R, 15, pack(\"ii\", 1, {pid})) or exit 1"),
    ];
    let by_call = calls.into_iter().map(|text| format!("perl -e '{text}'"));
    by_call.chain([format!("kill -{signal} {pid}")]).collect()
}

/// Ways to cut off a file that may be read.
fn cuts(file: &str) -> [String; 3] {
    let open = |mode: i32| {
        let (call, flags) = (libc::SYS_openat, mode | libc::O_TRUNC);
        format!("perl -e 'my $f = \"{file}\"; syscall({call}, {}, $f, {flags}) >= 0 or exit 1'", libc::AT_FDCWD)
    };
    [format!("perl -e 'truncate(\"{file}\", 0) or exit 1'"), open(libc::O_RDONLY), open(libc::O_ACCMODE)]
}

/// An engineer in a shell ends nobody's processes, cuts off no file, and does his work.
fn shell_is_kept_in(hub: &Hub, desk: &Desk, site: &Site) {
    let log = site.path("full").display().to_string();
    let mut bystander = Command::new("sleep").arg("600").spawn().unwrap();
    let victim = bystander.id().to_string();
    // Outside, each of it works: on a process that is told to go on, and on a copy.
    let copy = site.path("copy").display().to_string();
    for command in ways(&victim, libc::SIGCONT).iter().chain(&cuts(&copy)) {
        std::fs::write(&copy, LINE).unwrap();
        process::run(Command::new("sh").arg("-c").arg(command), LIMIT).ok();
    }
    assert_eq!(std::fs::read_to_string(&copy).unwrap(), "");

    let grant = allow(site, "5m", "shell");
    let key = desk.engineer("ada", &Wish::proper(&grant));
    let victims = [site.pid().to_string(), victim, "$WORKER".to_owned(), "-1".to_owned()];
    let mut tries: Vec<String> = victims.iter().flat_map(|pid| ways(pid, libc::SIGKILL)).collect();
    tries.extend(cuts(&log));
    let mut script = format!("export WORKER=$PPID; cat /proc/$WORKER/comm {log}\n");
    for (number, command) in tries.iter().enumerate() {
        // The shell puts the worker's number in.
        let command = command.replace('"', "\\\"").replace('$', "\\$").replace("\\$WORKER", "$WORKER");
        script += &format!("sh -c \"{command}\"; echo \"=={number}=$?\"\n");
    }
    let done = desk.run(hub, &key, &[&script]);
    assert!(done.stdout.starts_with(&format!("demarc-session\n{LINE}")), "{done:?}");
    for (number, command) in tries.iter().enumerate() {
        let told = done.stdout.lines().find_map(|line| line.strip_prefix(&format!("=={number}=")));
        assert!(told.is_some_and(|code| code != "0"), "{command} gave {told:?}: {done:?}");
    }
    assert!(site.is_connected() && bystander.try_wait().unwrap().is_none(), "both live");
    assert_eq!(std::fs::read_to_string(&log).unwrap(), LINE);
    let session = last_session(site);
    let name = session["session"].as_str().unwrap();
    let header = &recording(site, name)[0]["demarc"]["confined"];
    assert!(says(&header["gaps"], "cannot keep signals within a session"), "{header}");
    let told = recorded(site, name, "m");
    assert!(told.contains("truncate") && told.contains("kill -9"), "{told}");

    // At a terminal: what runs is ended by Ctrl-C, and not stopped by Ctrl-Z, since nothing could have it go on.
    let mut terminal = Terminal::start(desk.ssh(hub, &key).args(["-tt", "site-one"]));
    terminal.paste("echo rea''dy; sleep 100\n");
    terminal.expect("ready", LIMIT);
    terminal.press('\u{1a}');
    terminal.press('\u{3}');
    terminal.paste("sleep 0.1 & fg; jobs; echo wor''ked\n");
    terminal.expect("worked", LIMIT);
    assert!(!terminal.shown().contains("Stopped"), "{}", terminal.shown());
    drop(terminal);
    bystander.kill().unwrap();
    bystander.wait().unwrap();
}

/// Files come and go.
fn files_are_moved(hub: &Hub, desk: &Desk, site: &Site) {
    let grant = allow(site, "5m", "files");
    let key = desk.engineer("ada", &Wish::proper(&grant));
    std::fs::write(desk.path("there"), LINE).unwrap();
    let done = desk.sftp(hub, &key, "mkdir a\nput there a/b\nrename a/b a/c\nget a/c back\nrm a/c\nrmdir a\n");
    assert_eq!(done.code, Some(0), "{done:?}");
    assert_eq!(std::fs::read_to_string(desk.path("back")).unwrap(), LINE);
    assert_eq!(last_confinement(site)["gaps"].as_array().map(Vec::len), Some(0));
}

const LINE: &str = "a line of a log\n";

fn works_with(version: u64) {
    let (hub, desk, site) = opened(version);
    let holds_ports = version >= 4;
    let status = site.status();
    for role in ["supervisor", "collector", "link"] {
        let confined = &status[role]["confined"];
        assert_eq!(confined["landlock"], version, "{role}: {confined}");
        assert!(confined["refused"].as_u64().unwrap() >= 1, "{role}: {confined}");
    }
    assert_ne!(says(&status["link"]["confined"]["gaps"], "limit the link to the hub's port"), holds_ports, "{status}");
    let mut traffic = Traffic::new(52);
    traffic.feed(&site, 10);
    site.wait_for_calls(10, "direction", LIMIT);

    let grant = allow(&site, "5m", "diagnose");
    let key = desk.engineer("ada", &Wish::proper(&grant));
    assert!(desk.run(&hub, &key, &["disk"]).ok().contains('%'));
    assert_eq!(last_confinement(&site)["landlock"], version);
    shell_is_kept_in(&hub, &desk, &site);
    files_are_moved(&hub, &desk, &site);

    let page = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = page.local_addr().unwrap().port();
    std::thread::spawn(move || page.incoming().flatten().for_each(|mut one| drop(one.write_all(b"the page\n"))));
    let grant = allow(&site, "5m", &format!("forward={port}"));
    let key = desk.engineer("ada", &Wish::proper(&grant));
    let reach = |port: u16| {
        let mut ssh = desk.ssh(&hub, &key);
        process::run(ssh.args(["-W", &format!("127.0.0.1:{port}"), "site-one"]), LIMIT)
    };
    assert_eq!(reach(port).ok(), "the page\n");
    let confined = last_confinement(&site);
    assert_eq!(confined["landlock"], version);
    assert_ne!(says(&confined["gaps"], "limit a session to one port"), holds_ports, "{confined}");
    // By the worker's own word, where the kernel has none in it.
    let refused = reach(machine::free_port());
    assert!(refused.code != Some(0) && refused.stdout.is_empty(), "{refused:?}");

    // The doctor says why, and the rest holds: what cannot be enforced is not tried as if it were.
    let doctor = site.run(&["doctor", "--json"]).json();
    let checks = doctor["checks"].to_string();
    for words in [
        "Support can be let in by a grant, and is confined then: diagnose, shell, files, forward=443.".to_owned(),
        "Scope shell: This kernel cannot keep signals within a session".to_owned(),
        format!("Landlock {version} works"),
    ] {
        assert!(checks.contains(&words), "{words:?} is missing: {checks}");
    }
    let proofs = doctor["proofs"].as_array().unwrap();
    for role in ["supervisor", "collector", "link", "session diagnose", "session forward", "session files", "shell"] {
        let of_role = || proofs.iter().filter(|proof| proof["role"] == role);
        assert!(of_role().filter(|proof| proof["holds"] == true).count() > 5, "{role}: {doctor:#}");
        assert!(of_role().all(|proof| proof["holds"] != false), "{role}: {doctor:#}");
    }
    let tried = |what: &str| proofs.iter().any(|proof| proof["role"] == "shell" && proof["tried"] == what);
    assert!(tried("have a file signal another process") && tried("signal its worker"), "{doctor:#}");
}

/// What Debian 12 has.
#[test]
fn landlock_2_confines_the_roles_and_what_it_cannot_hold_is_refused() {
    works_with(2);
}

#[test]
fn landlock_4_holds_ports_as_well() {
    works_with(4);
}

#[test]
fn the_versions_around_them_do_what_theirs_can() {
    [1, 3, 5].into_iter().for_each(works_with);
}

#[test]
fn without_landlock_it_refuses_or_says_so_loudly() {
    let desk = Desk::new();
    let setup = trusting(&desk, &Setup::default());
    for version in ["absent", "off"] {
        let mut site = Site::new(&Setup { top: "confinement = \"required\"\n".into(), ..setup.clone() });
        site.wrap_in(&kernel(version));
        site.launch();
        assert_eq!(site.daemon().ended(LIMIT), Some(1), "{}", site.log());
        let log = site.log();
        for words in ["Landlock is missing or does not work", "demarc does not run like that", "best-effort"] {
            assert!(log.contains(words), "{words:?} is missing: {log}");
        }
        let doctor = site.run(&["doctor"]);
        assert_eq!(doctor.code, Some(1), "{}", doctor.stdout);
        assert!(doctor.stdout.contains("demarc does not run without it"), "{}", doctor.stdout);
        site.stop();

        site.configure(&Setup { top: "confinement = \"best-effort\"\n".into(), ..setup.clone() });
        site.start();
        let mut traffic = Traffic::new(52);
        traffic.feed(&site, 10);
        site.wait_for_calls(10, "direction", LIMIT);
        assert!(site.log().contains("THIS KERNEL CANNOT CONFINE DEMARC"), "{}", site.log());
        let status = site.status();
        assert!(status["collector"]["confined"]["landlock"].is_null(), "{status}");
        assert!(says(&status["collector"]["confined"]["gaps"], "Landlock"), "{status}");
        assert!(site.run(&["status"]).ok().contains("NO LANDLOCK"));
        // What Landlock does not do, seccomp still does.
        assert_eq!(status["collector"]["confined"]["seccomp"], true);
        let checks = site.run(&["doctor", "--json"]).stdout;
        for scope in ["shell", "files"] {
            let words = format!("the scope {scope} is refused on this kernel: Landlock is missing");
            assert!(checks.contains(&words), "{words:?} is missing: {checks}");
        }
    }
}
