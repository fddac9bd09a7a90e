//! The owner looks on: live while a session runs, and like a film afterwards.

use std::time::{Duration, Instant};

use demarc_tests::{
    desk::{self, Wish, allow, last_session},
    process::Daemon,
    site::{LIMIT, Setup},
    wait,
};

#[test]
fn the_owner_sees_what_the_engineer_sees_and_can_play_it_again() {
    let (hub, desk, site) = desk::opened(&Setup::default());
    assert!(site.run(&["support", "watch"]).fails_with(1).contains("no session runs"));
    let grant = allow(&site, "5m", "shell");
    let key = desk.engineer("ada", &Wish::proper(&grant));
    let script = "i=0; while :; do i=$((i+1)); echo line-$i; sleep 0.1; done";
    let mut ssh = desk.start(&hub, &key, &["site-one", script], "engineer.log");
    wait::until_true(LIMIT, "the session", || ssh.log().contains("line-3\n"));
    let mut watch = Daemon::spawn(site.command().args(["support", "watch"]), &desk.path("watch.log"));
    // From the beginning, whenever the owner came; and then as it goes on.
    wait::until_true(LIMIT, "the watch to catch up", || watch.log().contains("line-1\n"));
    let next = format!("line-{}\n", ssh.log().matches("line-").count() + 5);
    wait::until_true(LIMIT, "the engineer to be shown more", || ssh.log().contains(&next));
    let shown = Instant::now();
    wait::until_true(LIMIT, "the owner to see it too", || watch.log().contains(&next));
    assert!(shown.elapsed() < Duration::from_secs(1), "{:?}", shown.elapsed());
    assert!(watch.is_up() && ssh.is_up());
    site.run(&["support", "end", &grant]).ok();
    assert_eq!(watch.ended(Duration::from_secs(5)), Some(0), "{}", watch.log());
    ssh.ended(Duration::from_secs(5));
    let of = |text: &str| -> Vec<String> {
        // A film has marks in the terminal's title, before what is shown.
        let lines = text.lines().filter_map(|line| line.rsplit('\u{7}').next());
        lines.filter(|line| line.starts_with("line-")).map(str::to_owned).collect()
    };
    let (engineer, owner) = (of(&ssh.log()), of(&watch.log()));
    assert!(owner.starts_with(&engineer), "{engineer:?}\n{owner:?}");

    let session = last_session(&site);
    let name = session["session"].as_str().unwrap();
    let again = site.run(&["support", "watch", name]).fails_with(1);
    assert!(again.contains("replay"), "{again}");
    let text = site.run(&["support", "replay", name, "--text"]).ok();
    assert_eq!(of(&text), owner);
    assert!(text.contains("let in: ada") && text.contains("end: the owner ended it"), "{text}");
    // Ten times as fast: the pauses are there, and shorter.
    let lasted = Duration::from_secs_f64(owner.len() as f64 * 0.1);
    let began = Instant::now();
    let film = site.run(&["support", "replay", name, "--speed", "10"]).ok();
    let played = began.elapsed();
    assert_eq!(of(&film), owner);
    assert!(played > lasted / 20, "{played:?} of {lasted:?}");
}
