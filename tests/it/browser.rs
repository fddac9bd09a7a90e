//! The scope that reaches one port, with the program it is made for: a browser on the phone system's web page.

use demarc_tests::{
    desk::{self, Wish, allow, last_session, recorded},
    driven::Driven,
    machine,
    page::{COLOUR, HEIGHT, PICTURES, Page, WIDTH},
    site::{LIMIT, Setup},
    wait,
};

/// The bytes in a line such as `forward 1 closed after 0.1 s: 20 bytes to the port, 30 bytes from it`.
fn passed(mark: &str) -> Option<(u64, u64)> {
    let (to, from) = mark.split_once(" s: ")?.1.split_once(" bytes to the port, ")?;
    Some((to.parse().ok()?, from.strip_suffix(" bytes from it")?.parse().ok()?))
}

#[test]
fn a_browser_shows_the_forwarded_page() {
    let (hub, desk, site) = desk::opened(&Setup::default());
    let page = Page::serve();
    let grant = allow(&site, "5m", &format!("forward={}", page.port()));
    let key = desk.engineer("ada", &Wish::proper(&grant));
    let near = machine::free_port();
    let forward = format!("{near}:127.0.0.1:{}", page.port());
    let mut ssh = desk.start(&hub, &key, &["-N", "-L", &forward, "site-one"], "browser.log");
    wait::until_true(LIMIT, "ssh to listen", || std::net::TcpStream::connect(("127.0.0.1", near)).is_ok());
    let browser = Driven::start();
    browser.go(&format!("http://127.0.0.1:{near}/"));
    wait::until_true(LIMIT, "the page behind the login", || browser.source().contains("; heading"));
    let dom = browser.source();
    let sizes = vec![format!("{WIDTH}x{HEIGHT}"); PICTURES].join(" ");
    assert!(dom.contains(&format!("pictures {sizes}; heading {COLOUR}")), "{dom}\n{}", ssh.log());
    // The way in led over the redirect and the form: `/`, the form, its answer, the page, and what belongs to it.
    let (answers, bytes) = page.served();
    assert!(answers >= 4 + 2 + PICTURES as u64, "{answers}");
    let of_pictures = PICTURES as u64 * u64::from(WIDTH * HEIGHT * 3);
    ssh.stop();
    let session = last_session(&site);
    let told = recorded(&site, session["session"].as_str().unwrap(), "m");
    let connections: Vec<_> = told.lines().filter_map(passed).collect();
    assert!(connections.len() as u64 >= answers, "{told}");
    assert_eq!(session["report"]["forwards"], connections.len(), "{session}\n{told}");
    let (to, from) = connections.iter().fold((0, 0), |(to, from), one| (to + one.0, from + one.1));
    assert!((of_pictures..=bytes).contains(&from) && to > 100 * answers, "{to}, {from} of {bytes}: {told}");
    // What stands in the page stays between the browser and the page.
    assert!(!told.contains("password=secret"), "{told}");
    site.run(&["support", "verify"]).ok();
}
