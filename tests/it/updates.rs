//! The vendor's packages through the tunnel: a real `apt-get`, a real repository, and nothing that demarc could install.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

use demarc_tests::{
    http,
    hub::Hub,
    machine,
    relay::Relay,
    repository::{Apt, Repository},
    site::{LIMIT, Setup, Site},
    wait,
};

/// A hub that offers a repository.
fn offering(repository: &Repository) -> Hub {
    let mut hub = Hub::init();
    let mut config = fs::read_to_string(hub.config()).unwrap();
    config.push_str(&format!("\n[updates]\ndir = \"{}\"\n", repository.root().display()));
    fs::write(hub.config(), config).unwrap();
    hub.serve();
    hub
}

fn setup(port: u16, on: bool) -> Setup {
    let sections = format!("[updates]\nvia_tunnel = {on}\nlisten = \"127.0.0.1:{port}\"\n");
    Setup { sections, ..Setup::default() }
}

/// A site whose package manager is let through, with its tunnel up, and where that is offered.
fn connected(hub: &Hub, name: &str) -> (Site, u16) {
    let port = machine::free_port();
    let mut site = Site::new(&setup(port, true));
    site.enroll(&hub.token(name)).ok();
    site.start();
    site.wait_for_tunnel();
    (site, port)
}

fn get(port: u16, path: &str) -> http::Answer {
    try_get(port, path).unwrap()
}

/// What is on its way when the owner takes the permission back is cut off, and has no answer.
fn try_get(port: u16, path: &str) -> std::io::Result<http::Answer> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n");
    http::send(&format!("127.0.0.1:{port}"), request.as_bytes())
}

/// The heads of requests that left, as the ledger has them.
fn fetched(site: &Site) -> Vec<String> {
    site.ledger_entries("fetch").iter().map(|entry| entry["bytes"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn apt_gets_signed_packages_through_the_tunnel_and_is_never_broken_by_it() {
    let repository = Repository::new();
    repository.add("demarc-probe", "1.0");
    repository.publish(None);
    let hub = offering(&repository);
    let (site, port) = connected(&hub, "site-one");
    let apt = Apt::new(&format!("http://127.0.0.1:{port}"), &repository.keyring());

    let updated = apt.run(&["update"]);
    assert!(!updated.stderr.contains("W:") && updated.code == Some(0), "{updated:?}");
    assert_eq!(apt.candidate("demarc-probe"), "1.0");
    repository.add("demarc-probe", "2.0");
    repository.publish(None);
    apt.run(&["update"]).ok();
    assert_eq!(apt.candidate("demarc-probe"), "2.0");
    apt.run(&["download", "demarc-probe"]).ok();
    let name = "demarc-probe_2.0_all.deb";
    assert!(fs::read(apt.path().join(name)).unwrap() == fs::read(repository.root().join("pool").join(name)).unwrap());

    // What left for it are these lines and no others: not who asked, and with which program.
    let heads = fetched(&site);
    assert!(heads.iter().all(|head| head.starts_with("GET /updates/") && !head.to_lowercase().contains("agent")));
    let list = "GET /updates/dists/stable/InRelease HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n";
    assert_eq!(heads.iter().filter(|head| *head == list).count(), 2, "{heads:?}");
    assert!(heads.iter().any(|head| head.contains(&format!("/pool/{name}"))), "{heads:?}");
    site.run(&["sent", "verify"]).ok();
    let screen = site.run(&["status"]).ok();
    assert!(screen.contains(&format!("packages of the vendor at http://127.0.0.1:{port}/")), "{screen}");

    // A list that somebody else signed is not taken, and what is known stays.
    repository.add("demarc-probe", "3.0");
    repository.publish_forged();
    let forged = apt.run(&["update"]);
    assert!(forged.stderr.contains("NO_PUBKEY") || forged.stderr.contains("not signed"), "{forged:?}");
    assert_eq!(apt.candidate("demarc-probe"), "2.0");
    repository.publish(None);

    // Whatever is not there, or should not be asked, is "later" and never "not found".
    for path in ["/pool/none.deb", "/dists/other/InRelease", "/../../hub.toml", "/%2e%2e/%2e%2e/hub.toml", "/pool?x=1"]
    {
        assert_eq!(get(port, path).status, 503, "{path}");
    }
    let post =
        format!("POST /pool HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx");
    assert_eq!(http::send(&format!("127.0.0.1:{port}"), post.as_bytes()).unwrap().status, 503);
    let rebound = "GET /pool/ HTTP/1.1\r\nHost: evil.example.com\r\nConnection: close\r\n\r\n";
    assert_eq!(http::send(&format!("127.0.0.1:{port}"), rebound.as_bytes()).unwrap().status, 503);
    // A list whose time is over would make apt give up: it is not handed on.
    repository.publish(Some(1));
    wait::until_true(LIMIT, "the list to be out of date", || get(port, "/dists/stable/InRelease").status == 503);
    let kept = apt.run(&["update"]);
    assert_eq!((kept.code, apt.candidate("demarc-probe").as_str()), (Some(0), "2.0"), "{kept:?}");
    repository.publish(None);
    assert_eq!(get(port, "/dists/stable/InRelease").status, 200);

    // Without a tunnel apt hears so at once, goes on, and keeps its lists.
    site.run(&["tunnel", "off"]).ok();
    let entries = fetched(&site).len();
    let asked = Instant::now();
    let without = apt.run(&["-o", "Acquire::Retries=0", "update"]);
    assert_eq!(without.code, Some(0), "{without:?}");
    assert!(without.stderr.contains("503"), "{without:?}");
    assert!(asked.elapsed() < LIMIT, "{:?}", asked.elapsed());
    assert_eq!(apt.candidate("demarc-probe"), "2.0");
    assert_eq!(fetched(&site).len(), entries, "nothing left");
    site.run(&["tunnel", "on"]).ok();
    site.wait_for_tunnel();
    assert_eq!(get(port, "/dists/stable/InRelease").status, 200);

    // Nor does anything leave once the owner does not want it.
    site.configure(&setup(port, false));
    let is_later = || try_get(port, "/dists/stable/InRelease").is_ok_and(|answer| answer.status == 503);
    wait::until_true(LIMIT, "503", is_later);
    let entries = fetched(&site).len();
    assert_eq!(get(port, "/pool/x").status, 503);
    assert_eq!(fetched(&site).len(), entries);
}

#[test]
fn off_cuts_off_a_package_on_its_way() {
    const LENGTH: usize = 32 << 20;
    let repository = Repository::new();
    repository.publish(None);
    fs::write(repository.root().join("pool/large.deb"), vec![7; LENGTH]).unwrap();
    let hub = offering(&repository);
    let relay = Relay::narrow(hub.address());
    let port = machine::free_port();
    let through_relay = |on| Setup { hub: Some(relay.address().to_string()), ..setup(port, on) };
    let mut site = Site::new(&through_relay(true));
    site.enroll(&hub.token("site-one")).ok();
    site.start();
    site.wait_for_tunnel();

    // A slow reader: most of it is still at the hub when the owner takes the permission back.
    let mut apt = TcpStream::connect(("127.0.0.1", port)).unwrap();
    apt.set_read_timeout(Some(LIMIT)).unwrap();
    apt.write_all(b"GET /pool/large.deb HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut some = vec![0; 100_000];
    apt.read_exact(&mut some).unwrap();
    assert!(some.starts_with(b"HTTP/1.1 200 OK\r\n") && some.ends_with(&[7; 1000]));
    assert_eq!(relay.connections_up(), 2, "the tunnel, and the package beside it");
    site.configure(&through_relay(false));
    // Whoever turns a switch has everything in force that stands in the file when the command returns.
    site.run(&["health", "off"]).ok();
    let (down, entries) = (relay.bytes_down(), fetched(&site).len());
    wait::until_true(LIMIT, "the connection beside the tunnel to be gone", || relay.connections_up() == 1);
    let mut rest = Vec::new();
    // Cut off it may end in an error, too.
    let _ = apt.read_to_end(&mut rest);
    assert!(some.len() + rest.len() < LENGTH, "{}", rest.len());
    wait::throughout(Duration::from_secs(2), "nothing more of it", || {
        relay.bytes_down() < down + 100_000 && relay.connections_up() == 1
    });
    assert_eq!((get(port, "/pool/large.deb").status, fetched(&site).len()), (503, entries));
}

#[test]
fn nobody_but_a_site_with_its_key_gets_files_of_the_hub() {
    let repository = Repository::new();
    repository.publish(None);
    let hub = offering(&repository);
    let (_site, port) = connected(&hub, "site-one");
    assert_eq!(get(port, "/dists/stable/InRelease").status, 200);
    // Somebody else enrolled in this site's name: the key that it had opens nothing any more.
    let other = Site::new(&Setup::default());
    other.enroll(&hub.token("site-one")).ok();
    assert_eq!(get(port, "/dists/stable/InRelease").status, 503);
    // A hub without packages says so, and nothing breaks.
    let bare = Hub::start();
    let (_site, port) = connected(&bare, "site-two");
    assert_eq!(get(port, "/dists/stable/InRelease").status, 503);
}
