//! How calls sounded, by the words of a real Asterisk 22 about their streams.

use std::time::Duration;

use demarc_tests::{
    lab::{Lab, Load, MANAGER_READER, Options, Version},
    site::{Setup, Site},
    wait,
};
use serde_json::Value;

const LIMIT: Duration = Duration::from_secs(60);

#[test]
fn calls_are_reported_by_how_they_sounded() {
    let lab = Lab::start(Version::Asterisk22, Options::default());
    let sources = format!(
        "[[pbx.source]]\ntype = \"ami\"\naddress = \"{}\"\nuser = {:?}\nsecret = {:?}\n",
        lab.manager(),
        MANAGER_READER.user,
        MANAGER_READER.secret
    );
    let setup =
        Setup { window: "1h".into(), floor: 2, quiet: Some("3s".into()), sections: sources, ..Setup::default() };
    let mut site = Site::new(&setup);
    let text = site.read_config().replace(site.master().to_str().unwrap(), lab.cdr_csv().to_str().unwrap());
    site.write_config(&text);
    site.start();
    wait::until_true(LIMIT, "the manager interface", || site.status()["collected"]["pbx"]["connected"] == true);

    // Four calls carry speech for longer than Asterisk waits between two words about a stream, sixteen are silent.
    let load = Load { calls_per_second: 1, seconds: 16, bridged: 4, speech: true };
    lab.load(load).wait();
    wait::until_true(LIMIT, "all calls in the open window", || preview(&site)["calls"].as_u64() >= Some(20));
    let report = preview(&site)["report"].take();
    let groups = report["quality"].as_array().unwrap();
    let calls = |group: &Value| group["calls"].as_u64().unwrap();
    let is_unknown = |group: &&Value| group["bands"].as_array().unwrap().contains(&"unknown".into());
    assert_eq!(groups.iter().filter(is_unknown).map(calls).sum::<u64>(), 16, "{report}");
    assert_eq!(groups.iter().map(calls).sum::<u64>(), 20, "{report}");
}

fn preview(site: &Site) -> Value {
    serde_json::from_str(&site.run(&["stats", "preview", "--json"]).ok()).unwrap()
}
