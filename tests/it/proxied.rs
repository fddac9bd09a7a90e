//! Behind a company's proxy: nothing goes past it, its password stays secret, and its refusals are put in words.

use demarc_tests::{
    http_proxy::HttpProxy,
    hub::{Hub, files_below},
    site::{LIMIT, Setup, Site},
    wait,
};

#[test]
fn enrollment_and_tunnel_go_through_the_proxy_and_keep_its_password() {
    let hub = Hub::start();
    let proxy = HttpProxy::start("agent:tetrahedral-secret");
    let url = |password: &str| format!("http://agent:{password}@{}", proxy.address());
    let section = |password: &str| format!("[tunnel]\nproxy = {:?}\n", url(password));
    let mut site = Site::new(&Setup { sections: section("wrong"), ..Setup::default() });

    let told = site.enroll(&hub.token("site-one")).fails_with(1);
    assert!(told.contains("tunnel.proxy") && told.contains("password"), "{told}");
    assert!(!told.contains("agent:wrong"), "{told}");

    site.configure(&Setup { sections: section("tetrahedral-secret"), ..Setup::default() });
    site.enroll(&hub.token("site-one")).ok();
    site.start();
    site.wait_for_tunnel();
    let asked = proxy.asked();
    assert!(
        asked.len() >= 3 && asked.iter().all(|line| line.starts_with(&format!("CONNECT {}", hub.address()))),
        "{asked:?}"
    );

    // The proxy turned against us: said in words, while everything local goes on.
    site.configure(&Setup { sections: section("wrong"), ..Setup::default() });
    wait::until_true(LIMIT, "the refusal in the status", || {
        site.link_trouble().is_some_and(|told| told.contains("does not accept the user"))
    });
    site.configure(&Setup { sections: section("tetrahedral-secret"), ..Setup::default() });
    wait::until_true(LIMIT, "the tunnel again", || site.is_connected());

    let everything = [site.log(), site.status().to_string(), site.run(&["status"]).ok(), site.run(&["doctor"]).stdout];
    assert!(everything.iter().all(|text| !text.contains("tetrahedral-secret")), "{everything:?}");
    for file in files_below(&site.state()) {
        let bytes = std::fs::read(&file).unwrap();
        assert!(!String::from_utf8_lossy(&bytes).contains("tetrahedral-secret"), "{}", file.display());
    }
}
