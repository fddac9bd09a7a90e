//! The switches, turned while the daemon runs and while it does not, and overruled by its environment.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod daemon;

use std::{fs, process::Output};

use daemon::{World, wait};

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn assert_says(world: &World, arguments: &[&str], code: i32, words: &[&str]) {
    let output = world.run(arguments);
    let text = text(&output);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {text}");
    assert!(words.iter().all(|word| text.contains(word)), "{words:?} in {text}");
}

#[test]
fn off_is_off_and_says_when_it_is_not() {
    let mut world = World::new("");
    assert_says(&world, &["stats", "off"], 0, &["are off", "next start", "not running"]);
    assert_says(&world, &["stats", "on"], 0, &["are on", "not running"]);
    world.environment = vec![("DEMARC__STATS__UPLOAD", "true")];
    assert_says(&world, &["stats", "off"], 1, &["DEMARC__STATS__UPLOAD"]);
    world.environment = vec![("DO_NOT_TRACK", "1")];
    assert_says(&world, &["stats", "on"], 0, &["DO_NOT_TRACK", "off"]);

    world.environment = vec![("DEMARC__STATS__UPLOAD", "true")];
    let daemon = world.start();
    world.wait_for_collector();
    // What counts is the environment that the daemon was started with, not that of the command.
    world.environment = Vec::new();
    assert_says(&world, &["stats", "off"], 1, &["DEMARC__STATS__UPLOAD"]);
    drop(daemon);
    let _daemon = world.start();
    assert_eq!(world.wait_for_collector()["upload"], false);
    assert_says(&world, &["stats", "on"], 0, &["are on"]);
    assert_eq!(world.status()["upload"], true);
    assert_says(&world, &["stats", "off"], 0, &["are off", "discarded"]);
    assert_eq!(world.status()["upload"], false);
    assert_says(&world, &["tunnel", "off"], 0, &["is off"]);
    assert_eq!(world.status()["link_absent"], "switched off");
    assert_says(&world, &["tunnel", "on"], 0, &["not enrolled"]);
    assert_says(&world, &["sent", "list"], 0, &["tunnel from on to off", "tunnel from off to on", "uploads from"]);
    assert_says(&world, &["sent", "verify"], 0, &["whole"]);
}

#[test]
fn what_is_taken_back_counts_even_where_the_rest_cannot() {
    let world = World::new("");
    let mut daemon = world.start();
    assert_eq!(world.wait_for_collector()["upload"], true);
    let file = world.at("A/demarc.toml");
    let good = fs::read_to_string(&file).unwrap();
    fs::write(&file, good.replace("\"A\"", "\"B\"").replace("upload = true", "upload = false")).unwrap();
    // The command looks where the file says that the daemon is; what the daemon does shows once that is mended.
    daemon.wait_for_line("cannot change while demarc runs");
    fs::write(&file, good.replace("[stats]", "[stats]\nflor = 1")).unwrap();
    let status = wait("the mistake to be found", || {
        Some(world.status()).filter(|status| status["config_error"].to_string().contains("flor"))
    });
    assert_eq!(status["upload"], false, "{status:#}");
    fs::write(&file, good).unwrap();
    wait("the good file to count", || (world.status()["upload"] == true).then_some(()));
}
