//! The example of a whole config file: every key with its meaning and its default, none of them in force.

use std::fmt::Write;

use crate::{Key, Section};

/// Stands for a value that nobody can know beforehand.
pub const UNSAID: &str = "\"…\"";

/// How wide a comment may be.
const WIDTH: usize = 110;

/// What is shown for a key that has no default: the set of keys that it is in, or nothing; the key; the value.
pub type Shown<'a> = (&'a str, &'a str, &'a str);

/// The file, below a head of its own.
pub fn example(head: &str, shown: &[Shown<'_>], sections: &[Section]) -> String {
    let mut text = head.to_owned();
    for section in sections.iter().filter(|section| !section.keys.is_empty()) {
        text.push('\n');
        comment(&mut text, &section.means);
        if let Some(head) = section.head() {
            let _ = writeln!(text, "#{head}");
        }
        if let Some(kind) = &section.kind {
            let _ = writeln!(text, "#type = \"{kind}\"");
        }
        for key in &section.keys {
            comment(&mut text, &format!("{} Allowed: {}.", key.means, key.allowed));
            let _ = writeln!(text, "#{} = {}", key.name, value(shown, section, key));
        }
    }
    text
}

/// The same file with each setting in force that has a value.
pub fn in_force(example: &str) -> String {
    let is_setting = |line: &str| {
        line.strip_prefix('#').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_lowercase() || c == '['))
    };
    let line = |line: &str| if is_setting(line) { format!("{}\n", &line[1..]) } else { format!("{line}\n") };
    example.lines().filter(|line| !line.contains(UNSAID)).map(line).collect()
}

fn value(shown: &[Shown<'_>], section: &Section, key: &Key) -> String {
    if let Some(default) = &key.default {
        return default.to_string();
    }
    let kind = section.kind.as_deref().unwrap_or_default();
    let shown = shown.iter().find(|(of, name, _)| (*of, *name) == (kind, key.name.as_str()));
    // The words about a key end in what it looks like.
    let such_as = || key.allowed.split_once("such as ").map(|(_, rest)| rest.split(", ").next().unwrap_or(rest));
    shown.map(|(_, _, value)| *value).or_else(such_as).unwrap_or(UNSAID).to_owned()
}

fn comment(text: &mut String, words: &str) {
    let mut line = String::from("#");
    for word in words.split(' ') {
        if line.len() + word.len() >= WIDTH {
            let _ = writeln!(text, "{line}");
            line = String::from("#");
        }
        let _ = write!(line, " {word}");
    }
    let _ = writeln!(text, "{line}");
}
