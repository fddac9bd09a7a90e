//! The command line: what it writes, what it refuses, and with which exit code.

use std::os::unix::fs::PermissionsExt;

use crate::hub::{Hub, program, succeed, text};

#[test]
fn init_makes_everything_once() {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path().join("new/hub");
    let said = succeed(program().args(["init", "--listen", "127.0.0.1:8443", "--dir"]).arg(&dir));
    assert!(said.contains("Authority (SHA-256 of its certificate): "), "{said}");
    for (file, mode) in [
        ("hub.toml", 0o644),
        ("ca.pem", 0o644),
        ("ca-key.pem", 0o600),
        ("receipt-key.pem", 0o600),
        ("data/server.pem", 0o600),
        ("data/hub.db", 0o600),
    ] {
        assert_eq!(dir.join(file).metadata().unwrap().permissions().mode() & 0o777, mode, "{file}");
    }
    let key = std::fs::read(dir.join("ca-key.pem")).unwrap();
    let again = program().args(["init", "--listen", "127.0.0.1:8443", "--dir"]).arg(&dir).output().unwrap();
    assert_eq!(again.status.code(), Some(1));
    assert!(text(&again.stderr).contains("init overwrites nothing"), "{}", text(&again.stderr));
    assert_eq!(std::fs::read(dir.join("ca-key.pem")).unwrap(), key);

    let nowhere = program().args(["init", "--listen", "0.0.0.0:443", "--dir"]).arg(dir.join("x")).output().unwrap();
    assert_eq!(nowhere.status.code(), Some(1));
    assert!(text(&nowhere.stderr).contains("--address host:port"), "{}", text(&nowhere.stderr));
}

#[test]
fn a_token_is_alone_on_standard_output_and_not_in_the_database() {
    let hub = Hub::start();
    let output = hub.command(&["token", "site-one", "--valid", "24h"]).output().unwrap();
    let printed = text(&output.stdout);
    assert_eq!(printed.lines().count(), 1);
    assert!(text(&output.stderr).contains("Good once, for site-one"));
    let token: demarc_proto::token::EnrollmentToken = printed.parse().unwrap();
    assert_eq!(token.hub, hub.address.to_string());
    assert_eq!(token.secret.0.len(), 32);
    let hexadecimal = data_encoding::HEXLOWER.encode(&token.secret.0);
    for file in ["hub.db", "hub.db-wal"] {
        let bytes = std::fs::read(hub.path().join("data").join(file)).unwrap_or_default();
        for secret in [&token.secret.0[..], hexadecimal.as_bytes()] {
            assert!(!bytes.windows(secret.len()).any(|window| window == secret), "the secret is in {file}");
        }
    }
}

#[test]
fn several_sites_get_a_token_each_in_their_order() {
    let hub = Hub::start();
    let output = hub.command(&["token", "site-one", "site-two"]).output().unwrap();
    let sites = text(&output.stdout)
        .lines()
        .map(|line| {
            let token: demarc_proto::token::EnrollmentToken = line.parse().unwrap();
            token.site.to_string()
        })
        .collect::<Vec<_>>();
    assert_eq!(sites, ["site-one", "site-two"]);
}

#[test]
fn exit_codes_tell_what_is_wrong() {
    let hub = Hub::start();
    let code = |arguments: &[&str]| {
        let output = hub.command(arguments).output().unwrap();
        (output.status.code().unwrap(), text(&output.stderr))
    };
    let (failed, words) = code(&["show", "nobody"]);
    assert_eq!(failed, 1);
    assert!(words.contains("there is no site nobody"), "{words}");
    assert_eq!(code(&["token", "Not A Site"]).0, 2);
    assert_eq!(code(&["token", "site-one", "--valid", "soon"]).0, 2);
    assert_eq!(code(&["frobnicate"]).0, 2);
    let (taken, words) = code(&["serve"]);
    assert_eq!(taken, 1);
    assert!(words.contains(&format!("cannot listen on {}", hub.address)), "{words}");

    std::fs::write(hub.config(), "listen = \"127.0.0.1:1\"\n[limits]\nhandshake = 3\n").unwrap();
    for command in [&["serve"][..], &["sites"], &["token", "site-one"], &["show", "site-one"]] {
        let (bad, words) = code(command);
        assert_eq!(bad, 64, "{words}");
        assert!(words.contains("hub.toml:3: limits.handshake: unknown field"), "{words}");
    }
}

#[test]
fn the_settings_may_be_named_relative_to_where_one_stands() {
    let hub = Hub::start();
    let output = program().current_dir(hub.path()).args(["--config", "hub.toml", "sites", "--json"]).output().unwrap();
    assert_eq!(text(&output.stdout), "{\"sites\":[]}\n");
    let missing = program().args(["--config", "/nonexistent/hub.toml", "sites"]).output().unwrap();
    assert_eq!(missing.status.code(), Some(64));
}

#[test]
fn a_machine_without_much_address_space_is_enough() {
    let hub = Hub::start();
    let mut limited = std::process::Command::new("sh");
    limited.args(["-c", "ulimit -v 1500000 && exec \"$@\"", "sh"]).arg(env!("CARGO_BIN_EXE_demarc-hub"));
    let said = succeed(limited.arg("--config").arg(hub.config()).args(["sites", "--json"]));
    assert_eq!(said, "{\"sites\":[]}\n");
}
