//! The cgroup of a support session: what runs in it does not get out, and ends with the session whoever's child it is.

use std::{
    fs,
    os::unix::{
        fs::{PermissionsExt, chown},
        process::ExitStatusExt,
    },
    path::PathBuf,
    process::{Child, Command},
    time::Duration,
};

use demarc_tests::{
    cgroup::{self, Delegated},
    desk::{Desk, Wish, allow, last_session, recording, trusting},
    hub::Hub,
    machine,
    process::Daemon,
    programs,
    site::{LIMIT, Setup, Site},
    wait,
};

const ROOT: u32 = 0;
const NOBODY: u32 = 65_534;

/// A site whose daemon runs as that user, in that cgroup.
fn opened(user: u32, words: &[String]) -> (Hub, Desk, Site) {
    assert!(machine::is_root(), "this test hands cgroups to others, and so needs root");
    let (hub, desk) = (Hub::start(), Desk::new());
    let mut site = Site::new(&trusting(&desk, &Setup::default()));
    let mut words: Vec<&str> = words.iter().map(String::as_str).collect();
    if user != ROOT {
        let program = site.path("demarc");
        machine::copy_program(programs::agent(), &program);
        site.use_program(&program);
        for path in [site.path(""), site.path("pbx"), site.master(), site.config()] {
            chown(&path, Some(user), Some(user)).unwrap();
        }
        // Where the host certificate is handed over.
        fs::set_permissions(desk.path("."), fs::Permissions::from_mode(0o755)).unwrap();
        words.extend(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]);
    }
    site.wrap_in(&words);
    site.enroll(&hub.token("site-one")).ok();
    site.start();
    site.wait_for_tunnel();
    desk.certify_host(&site);
    (hub, desk, site)
}

/// A session with a process that hid from its shell as daemons do: its own session, its parent gone. Gives that process.
fn begin(hub: &Hub, desk: &Desk, site: &Site) -> (String, Daemon, i32) {
    let grant = allow(site, "5m", "shell");
    let key = desk.engineer("ada", &Wish::proper(&grant));
    let script = "(setsid sh -c 'echo daemon=$$; exec sleep 1000' < /dev/null &) ; sleep 1000";
    let ssh = desk.start(hub, &key, &["site-one", script], &format!("{grant}.log"));
    let hidden = wait::until(LIMIT, "the daemon", || {
        ssh.log().lines().find_map(|line| line.strip_prefix("daemon=")?.parse().ok())
    });
    (grant, ssh, hidden)
}

/// A process of the test's own, moved into the cgroup of the session that runs: no child of anything that demarc started,
/// and not confined. Nothing that looks for what the session started can find it.
fn stranger(site: &Site) -> (Child, PathBuf) {
    let worker = site.role("session").expect("a session runs");
    let cgroup = cgroup::of(worker);
    let child = Command::new("sleep").arg("1000").spawn().unwrap();
    cgroup::enter(&cgroup, child.id().cast_signed()).unwrap();
    assert_eq!(cgroup::of(child.id().cast_signed()), cgroup);
    (child, cgroup)
}

fn is_there(pid: i32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

fn was_killed(child: &mut Child) -> bool {
    child.try_wait().unwrap().is_some_and(|status| status.signal() == Some(libc::SIGKILL))
}

fn ends_at_one_stroke(user: u32) {
    let delegated = Delegated::to(user);
    let (hub, desk, mut site) = opened(user, &delegated.words());
    let (grant, mut ssh, hidden) = begin(&hub, &desk, &site);
    let (mut stranger, cgroup) = stranger(&site);
    assert!(cgroup.starts_with(delegated.path()) && cgroup.ends_with(format!("{grant}-1")), "{}", cgroup.display());
    assert_eq!(cgroup::of(hidden), cgroup);
    assert_ne!(cgroup::of(site.role("link").unwrap()), cgroup);
    let controllers = fs::read_to_string(delegated.path().join("cgroup.controllers")).unwrap();
    let limits = [("pids", "pids.max", "256", "256 processes"), ("memory", "memory.max", "536870912", "512 MiB")];
    let limits = limits.map(|(controller, file, value, words)| {
        let has = controllers.split_whitespace().any(|one| one == controller);
        let set = fs::read_to_string(cgroup.join(file)).ok();
        assert_eq!(set.as_deref().map(str::trim), has.then_some(value), "{file}");
        (words, has)
    });
    site.run(&["support", "end", &grant]).ok();
    assert!(ssh.ended(Duration::from_secs(2)).is_some());
    assert!(!is_there(hidden), "the daemon outlived its session");
    wait::until_true(Duration::from_secs(2), "the stranger to die with the session", || was_killed(&mut stranger));
    let session = last_session(&site);
    wait::until_true(LIMIT, "the cgroup to be gone", || !cgroup.exists());
    let header = &recording(&site, session["session"].as_str().unwrap())[0];
    let told = header["demarc"]["cgroup"].as_str().unwrap();
    assert!(told.starts_with("a cgroup of its own"), "{told}");
    for (words, has) in limits {
        assert_eq!(told.contains(words), has, "{told}");
    }
    assert!(site.run(&["status"]).ok().contains(&format!("each session gets {told}")));
    assert!(site.run(&["doctor"]).stdout.contains(&format!("Each session gets {told}")));
    assert!(site.is_connected());
    site.stop();
    // Where it has limits to give on, the daemon itself is in it to its end.
    assert_eq!(cgroup.parent().unwrap().exists(), told.contains("at most"), "{told}");
}

#[test]
fn everything_in_it_ends_at_one_stroke_for_root() {
    ends_at_one_stroke(ROOT);
}

#[test]
fn everything_in_it_ends_at_one_stroke_for_an_ordinary_user() {
    ends_at_one_stroke(NOBODY);
}

fn ends_what_was_left(elsewhere: bool) {
    let (delegated, another) = (Delegated::to(ROOT), Delegated::to(ROOT));
    let (hub, desk, mut site) = opened(ROOT, &delegated.words());
    let (_, mut ssh, _) = begin(&hub, &desk, &site);
    let (mut stranger, cgroup) = stranger(&site);
    site.kill();
    assert!(ssh.ended(Duration::from_secs(10)).is_some());
    // Another site's daemon, in the same cgroup, has no business with it.
    let mut other = Site::new(&trusting(&desk, &Setup::default()));
    other.wrap_in(&delegated.words().iter().map(String::as_str).collect::<Vec<_>>());
    other.start();
    assert!(cgroup.exists() && stranger.try_wait().unwrap().is_none());
    if elsewhere {
        site.wrap_in(&another.words().iter().map(String::as_str).collect::<Vec<_>>());
    }
    site.start();
    wait::until_true(LIMIT, "what was left to be killed", || was_killed(&mut stranger));
    wait::until_true(LIMIT, "the cgroup to be gone", || !cgroup.exists());
    assert_eq!(last_session(&site)["end"], "stopped");
    other.stop();
}

#[test]
fn what_a_killed_supervisor_left_ends_when_it_comes_back() {
    ends_what_was_left(false);
}

#[test]
fn what_a_killed_supervisor_left_ends_when_it_comes_back_elsewhere() {
    ends_what_was_left(true);
}

#[test]
fn root_in_a_shell_cannot_leave_it() {
    let delegated = Delegated::to(ROOT);
    let (hub, desk, site) = opened(ROOT, &delegated.words());
    let grant = allow(&site, "5m", "shell");
    let key = desk.engineer("eve", &Wish::proper(&grant));
    let home = cgroup::of(site.pid());
    let elsewhere = [cgroup::mount(), delegated.path().to_owned(), home].map(|path| path.display().to_string());
    let mut script = "own=$(grep ^0:: /proc/self/cgroup); echo $own; ".to_owned();
    for place in &elsewhere {
        // Without a word the file would not be there: that it can be read shows that it is.
        script += &format!("cat {place}/cgroup.procs > /dev/null && echo seen; ");
        script += &format!("(echo $$ > {place}/cgroup.procs) && echo escaped; ");
        script += &format!("(echo 1 > {place}/cgroup.kill) && echo escaped; ");
        script += &format!("mkdir {place}/escape && echo escaped; ");
    }
    script += "(echo $$ > /sys/fs/cgroup/cgroup.procs) && echo escaped; ";
    script += "(unshare -C true || nsenter -t 1 -C true) && echo escaped; ";
    script += "[ \"$own\" = \"$(grep ^0:: /proc/self/cgroup)\" ] && echo unmoved";
    let done = desk.run(&hub, &key, &[&script]);
    assert!(done.stdout.contains(&format!("{grant}-1\n")) && done.stdout.contains("unmoved"), "{done:?}");
    assert_eq!(done.stdout.matches("seen").count(), elsewhere.len(), "{done:?}");
    assert!(!done.stdout.contains("escaped"), "{done:?}");
    assert!(done.stderr.contains("cgroup.procs"), "{done:?}");
    assert!(site.is_connected());
    // Outside of a session root does all of it, by the same words.
    let mut outside = Command::new("sh");
    outside.arg("-c").arg(format!("echo $$ > {}/cgroup.procs", elsewhere[1]));
    assert!(outside.status().unwrap().success());
}

#[test]
fn where_there_is_none_sessions_end_as_before() {
    let (hub, desk, site) = opened(NOBODY, &[]);
    let (grant, mut ssh, hidden) = begin(&hub, &desk, &site);
    assert!(is_there(hidden));
    site.run(&["support", "end", &grant]).ok();
    assert!(ssh.ended(Duration::from_secs(2)).is_some());
    wait::until_true(Duration::from_secs(2), "the daemon to end with its session", || !is_there(hidden));
    let session = last_session(&site);
    assert_eq!(recording(&site, session["session"].as_str().unwrap())[0]["demarc"]["cgroup"], "none");
    assert!(site.run(&["status"]).ok().contains("sessions get no cgroup: demarc may not make cgroups in"));
    assert!(site.run(&["doctor"]).stdout.contains("Sessions get no cgroup of their own: demarc may not"));
}
