//! A hub that turned against its sites and their engineers: what it makes up, repeats, floods or changes opens no door.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use demarc_tests::{
    desk::{self, Desk, Wish, allow, last_session, listed, recorded, trusting},
    hostile_hub::HostileHub,
    process::{self, Daemon},
    programs,
    site::{self, LIMIT, Setup, Site},
    wait,
};

const LISTEN: Duration = Duration::from_secs(3);
/// So many sessions may run at a time.
const MOST: usize = 4;

fn opened() -> (HostileHub, Desk, Site) {
    let (hub, desk) = (HostileHub::start(), Desk::new());
    let mut site = Site::new(&trusting(&desk, &Setup::default()));
    site.enroll(&hub.token("site-one")).ok();
    site.start();
    site.wait_for_tunnel();
    desk.certify_host(&site);
    (hub, desk, site)
}

/// A ProxyCommand that leads to an address: what a hub's own relay would be.
fn by(address: std::net::SocketAddr) -> String {
    let (host, port) = (address.ip(), address.port());
    // ssh hangs up on it at its end, and nothing of it may hold the connection open then.
    format!("bash -c 'exec 3<>/dev/tcp/{host}/{port}; cat <&3 & trap \"kill $!\" EXIT HUP; cat >&3'")
}

#[test]
fn streams_without_a_live_grant_are_refused_unread() {
    let (hub, _desk, site) = opened();
    let garbage = vec![b'x'; 100_000];
    let asked = hub.ask("0123456789abcdef", 1, &garbage, LISTEN);
    assert_eq!((asked[0].status, asked[0].heard.len()), (Some(403), 0), "{asked:?}");
    let asked = hub.ask("../../../../etc", 1, &garbage, LISTEN);
    assert_eq!((asked[0].status, asked[0].heard.len()), (None, 0), "{asked:?}");
    let grant = allow(&site, "5m", "shell");
    // Whoever is no engineer hears a greeting, and that is all.
    let asked = hub.ask(&grant, 1, b"SSH-2.0-eve\r\nwhatever", LISTEN);
    assert_eq!(asked[0].status, Some(200), "{asked:?}");
    assert!(asked[0].heard.starts_with(b"SSH-2.0-"), "{asked:?}");
    let session = last_session(&site);
    assert!(session["report"]["engineer"].is_null(), "{session}");
    // A grant that is over is over, however often it is shown.
    site.run(&["support", "end", &grant]).ok();
    for asked in hub.ask(&grant, 3, b"SSH-2.0-eve\r\n", LISTEN) {
        assert_eq!((asked.status, asked.heard.len()), (Some(403), 0), "{asked:?}");
    }
    assert!(site.is_connected() && site.role("session").is_none());
}

#[test]
fn a_thousand_streams_at_once_are_four_sessions_at_most() {
    let (hub, desk, site) = opened();
    let grant = allow(&site, "5m", "shell");
    let most = Arc::new(Mutex::new(0));
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| hub.ask(&grant, 1_000, b"SSH-2.0-eve\r\n", LISTEN));
        while !asking.is_finished() {
            let now = site.roles("session").len();
            let mut most = most.lock().unwrap();
            *most = now.max(*most);
        }
        let asked = asking.join().unwrap();
        assert!(asked.iter().filter(|asked| asked.status == Some(200)).count() <= 2 * MOST, "too many were let in");
    });
    assert!(*most.lock().unwrap() <= MOST);
    // The door still opens for who may come in.
    wait::until_true(LIMIT, "the streams to be gone", || listed(&site)["running"].as_array().unwrap().is_empty());
    site.wait_for_tunnel();
    let (address, _) = hub.relay(&grant);
    let key = desk.engineer("ada", &Wish::proper(&grant));
    let told = process::run(desk.ssh_by(&by(address), &key).args(["site-one", "echo still here"]), LIMIT);
    assert_eq!(told.stdout, "still here\n", "{told:?}");
}

#[test]
fn what_it_relays_it_can_neither_repeat_nor_change() {
    let (hub, desk, site) = opened();
    let grant = allow(&site, "5m", "shell");
    let (address, kept) = hub.relay(&grant);
    let key = desk.engineer("ada", &Wish::proper(&grant));
    let told = process::run(desk.ssh_by(&by(address), &key).args(["site-one", "echo one"]), LIMIT);
    assert_eq!(told.stdout, "one\n", "{told:?}");
    let session = last_session(&site);
    assert_eq!(session["report"]["commands"][0], "echo one");
    // Every byte that the engineer sent, once more, while the grant is still live.
    let bytes = kept.lock().unwrap().clone();
    assert!(bytes.len() > 1_000);
    hub.ask(&grant, 1, &bytes, LISTEN);
    let again = last_session(&site);
    assert_ne!(again["session"], session["session"]);
    assert!(
        again["report"]["engineer"].is_null() && again["report"]["commands"].as_array().unwrap().is_empty(),
        "{again}"
    );
    // Nothing of what the engineer and the site said can be read in it.
    let cast = recorded(&site, session["session"].as_str().unwrap(), "m");
    assert!(cast.contains("echo one"));
    assert!(!bytes.windows(8).any(|window| window == b"echo one"));
}

#[test]
fn it_cannot_come_in_itself_whatever_it_certifies() {
    let (hub, desk, site) = opened();
    let grant = allow(&site, "5m", "shell");
    let (address, _) = hub.relay(&grant);
    let proper = Wish::proper(&grant);
    // By an authority of its own, and by what the true one certified for a host.
    for wish in [Wish { authority: "of-the-hub".into(), ..proper.clone() }, Wish { host: true, ..proper.clone() }] {
        let options = if wish.host { Vec::new() } else { wish.options.clone() };
        let key = desk.engineer("eve", &Wish { options, ..wish });
        let refused = process::run(desk.ssh_by(&by(address), &key).args(["site-one", "id"]), LIMIT);
        assert!(refused.code == Some(255) && refused.stdout.is_empty(), "{refused:?}");
        let session = last_session(&site);
        assert!(session["report"]["engineer"].is_null(), "{session}");
        assert_eq!(session["report"]["commands"], serde_json::json!([]), "{session}");
    }
    // By the same way the right one comes in.
    let (address, _) = hub.relay(&grant);
    let key = desk.engineer("ada", &proper);
    let told = process::run(desk.ssh_by(&by(address), &key).args(["site-one", "echo in"]), LIMIT);
    assert_eq!(told.stdout, "in\n", "{told:?}");
}

#[test]
fn what_the_owner_ended_it_cannot_keep_open() {
    let (hub, desk, site) = opened();
    let grant = allow(&site, "5m", "shell");
    let (address, _) = hub.relay(&grant);
    let key = desk.engineer("ada", &Wish::proper(&grant));
    let script = "echo here; i=0; while :; do i=$((i+1)); echo line-$i; sleep 0.05; done";
    let mut command = desk.ssh_by(&by(address), &key);
    let mut ssh = Daemon::spawn(command.args(["site-one", script]), &desk.path("kept.log"));
    wait::until_true(LIMIT, "the session", || ssh.log().contains("line-5\n"));
    std::thread::scope(|scope| {
        // Another stream under the same grant, by which the hub asks on and on and never says that it is done.
        let held = scope.spawn(|| {
            let began = Instant::now();
            (hub.ask(&grant, 1, b"SSH-2.0-eve\r\n", Duration::from_secs(30)), began.elapsed())
        });
        wait::until_true(LIMIT, "both sessions", || site.roles("session").len() == 2);
        let began = Instant::now();
        site.run(&["support", "end", &grant]).ok();
        assert!(site.roles("session").is_empty(), "the command returns when they are gone");
        assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
        let (asked, lasted) = held.join().unwrap();
        assert!(lasted < Duration::from_secs(25), "the site closed its end: {lasted:?} {asked:?}");
    });
    // The engineer hears nothing more, however long the hub keeps his end open.
    let heard = ssh.log();
    wait::throughout(Duration::from_secs(1), "nothing more is heard", || {
        let now = ssh.log();
        now.matches("line-").count() == heard.matches("line-").count()
    });
    for asked in hub.ask(&grant, 3, b"SSH-2.0-eve\r\n", LISTEN) {
        assert_eq!((asked.status, asked.heard.len()), (Some(403), 0), "{asked:?}");
    }
    ssh.kill();
}

#[test]
fn an_engineer_knows_the_site_by_its_certificate_and_takes_no_other() {
    let (hub, desk, site) = desk::opened(&Setup::default());
    let mut other = Site::new(&trusting(&desk, &Setup::default()));
    other.enroll(&hub.token("site-two")).ok();
    other.start();
    other.wait_for_tunnel();
    let grant = allow(&site, "5m", "shell");
    let elsewhere = allow(&other, "5m", "shell");
    let key = desk.engineer("ada", &Wish::proper(&grant));
    desk.run(&hub, &key, &["true"]).ok();
    // The hub leads him to another machine under this site's name: one that has no certificate of its own, …
    let connect = format!(
        "{} --config {} connect site-two --grant {elsewhere}",
        programs::hub().display(),
        hub.config().display()
    );
    let lured = process::run(desk.ssh_by(&connect, &key).args(["site-one", "id"]), site::LIMIT);
    assert!(lured.code == Some(255) && lured.stdout.is_empty(), "{lured:?}");
    assert!(lured.stderr.contains("erification failed") || lured.stderr.contains("host key"), "{lured:?}");
    // … and one that has a good certificate, for another name.
    std::fs::write(desk.path("other.pub"), other.run(&["support", "key"]).ok()).unwrap();
    desk.keygen(&["-s", "authority", "-h", "-I", "site-two", "-n", "site-two", "-V", "-15m:+1d", "other.pub"]).ok();
    other.run(&["support", "host-certificate", desk.path("other-cert.pub").to_str().unwrap()]).ok();
    let lured = process::run(desk.ssh_by(&connect, &key).args(["site-one", "id"]), site::LIMIT);
    assert!(lured.code == Some(255) && lured.stdout.is_empty(), "{lured:?}");
}
