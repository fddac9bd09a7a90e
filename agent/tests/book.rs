//! The book in `docs/` speaks of what there is: files, commands, and messages as the program says them.

// A panic is how a test fails: the message and the line are what its reader needs.
#![allow(clippy::unwrap_used)]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The pages of the book, and what stands beside it.
fn pages() -> Vec<(PathBuf, String)> {
    let below = fs::read_dir(root().join("docs")).unwrap().flatten().map(|entry| entry.path());
    let beside = ["README.md", "ARCHITECTURE.md", "SECURITY.md", "CHANGELOG.md"].map(|name| root().join(name));
    let pages = below.chain(beside).filter(|path| path.extension().is_some_and(|extension| extension == "md"));
    pages.map(|path| (path.clone(), fs::read_to_string(path).unwrap())).collect()
}

/// All source text of the program, its texts of several lines put together.
fn source() -> String {
    let mut open = vec![root().join("agent/src")];
    let mut text = String::new();
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(fs::read_dir(path).unwrap().flatten().map(|entry| entry.path()));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            text += &fs::read_to_string(path).unwrap();
        }
    }
    let mut joined = String::new();
    for (place, part) in text.split("\\\n").enumerate() {
        joined += if place == 0 { part } else { part.trim_start() };
    }
    joined.replace("\\\"", "\"")
}

#[test]
fn every_link_leads_somewhere_and_every_page_is_in_the_contents() {
    for (path, text) in pages() {
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = link.split('#').next().unwrap();
            if file.is_empty() || file.contains("://") {
                continue;
            }
            assert!(path.parent().unwrap().join(file).exists(), "{}: {link}", path.display());
        }
    }
    let contents = fs::read_to_string(root().join("docs/README.md")).unwrap();
    for (path, _) in pages() {
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(
            !path.starts_with(root().join("docs")) || name == "README.md" || contents.contains(&format!("({name})")),
            "{name}"
        );
    }
}

#[test]
fn every_message_of_the_troubleshooting_is_one_of_the_programs() {
    let source = source();
    let text = fs::read_to_string(root().join("docs/troubleshooting.md")).unwrap();
    let messages: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("### `")?.strip_suffix('`')).collect();
    assert!(messages.len() > 20, "{messages:?}");
    for message in messages {
        for part in message.split('…').filter(|part| part.trim().len() > 2) {
            assert!(source.contains(part), "nothing says {part:?} of {message:?}");
        }
    }
}

#[test]
fn every_command_in_the_book_is_one() {
    let help = Command::new(env!("CARGO_BIN_EXE_demarc")).arg("--help").output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let commands: BTreeSet<&str> = help
        .lines()
        .filter_map(|line| line.strip_prefix("  ")?.split(' ').next())
        .filter(|word| !word.is_empty())
        .collect();
    for (path, text) in pages() {
        let text: String =
            text.lines().filter(|line| !line.starts_with("### `")).map(|line| format!("{line}\n")).collect();
        // In code, that is: behind a backquote or at the beginning of a line.
        let starts =
            text.match_indices("demarc ").filter(|(at, _)| *at == 0 || matches!(text.as_bytes()[at - 1], b'`' | b'\n'));
        for (at, _) in starts {
            let rest = &text[at + "demarc ".len()..];
            let word: String = rest.chars().take_while(|letter| letter.is_ascii_lowercase()).collect();
            let is_prose = word.is_empty() || !(rest[word.len()..].starts_with([' ', '`', '\n'])) || prose(&text, at);
            assert!(
                is_prose || commands.contains(word.as_str()) || word == "role",
                "{}: demarc {word}",
                path.display()
            );
        }
    }
}

/// Whether a line of prose merely begins with the name.
fn prose(text: &str, at: usize) -> bool {
    let fences = text[..at].lines().filter(|line| line.starts_with("```")).count();
    fences.is_multiple_of(2) && !text[..at].ends_with('`')
}

#[test]
fn every_command_has_a_page_of_the_manual_and_is_completed() {
    let directory = tempfile::tempdir().unwrap();
    let made = Command::new(env!("CARGO_BIN_EXE_demarc")).arg("man").arg(directory.path()).output().unwrap();
    assert!(made.status.success(), "{made:?}");
    let help = Command::new(env!("CARGO_BIN_EXE_demarc")).arg("--help").output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let (_, commands) = help.split_once("Commands:\n").unwrap();
    let commands = commands.lines().take_while(|line| !line.is_empty()).filter_map(|line| line.strip_prefix("  "));
    let commands: Vec<&str> =
        commands.filter_map(|line| line.split(' ').next()).filter(|word| !matches!(*word, "" | "help")).collect();
    assert!(commands.len() > 10 && commands.contains(&"setup"), "{commands:?}");
    let bash = fs::read_to_string(directory.path().join("completions/bash/demarc")).unwrap();
    for command in commands {
        let page = fs::read_to_string(directory.path().join(format!("demarc-{command}.1"))).unwrap();
        assert!(page.contains(".SH DESCRIPTION"), "{page}");
        assert!(bash.contains(&format!("demarc__subcmd__{command}")), "{command}");
    }
    for hidden in ["role", "man", "setup-sample"] {
        assert!(!directory.path().join(format!("demarc-{hidden}.1")).exists(), "{hidden}");
    }
    let checked =
        Command::new("bash").arg("-n").arg(directory.path().join("completions/bash/demarc")).output().unwrap();
    assert!(checked.status.success(), "{checked:?}");
}
