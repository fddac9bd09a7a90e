//! The example of a whole config file: every key with its meaning and its default, none of them in force.

use std::fmt::Write;

use super::{Key, Section};

/// Stands for a value that nobody can know beforehand.
pub(super) const UNSAID: &str = "\"…\"";

/// How wide a comment may be.
const WIDTH: usize = 110;

/// What is shown for a key of a source that has no default: kind, key, value.
const SOURCES: &[(&str, &str, &str)] = &[
    ("asterisk-csv", "path", "\"/var/log/asterisk/cdr-csv/Master.csv\""),
    ("cdr-custom", "path", "\"/var/log/asterisk/cdr-custom/Master.csv\""),
    (
        "cdr-custom",
        "columns",
        "[\"src\", \"dst\", \"channel\", \"dstchannel\", \"lastapp\", \"start\", \"end\", \"disposition\", \"linkedid\"]",
    ),
    ("cdr-sqlite", "path", "\"/var/log/asterisk/master.db\""),
    ("freepbx-db", "user", "\"demarc\""),
    ("ami", "user", "\"demarc\""),
    ("ami", "secret", "\"the secret of [demarc] in manager.conf\""),
    ("fusionpbx-db", "user", "\"demarc\""),
    ("queue-log", "path", "\"/var/log/asterisk/queue_log\""),
    ("freeswitch-csv", "path", "\"/var/log/freeswitch/cdr-csv/Master.csv\""),
    (
        "freeswitch-csv",
        "columns",
        "[\"uuid\", \"start_stamp\", \"answer_stamp\", \"end_stamp\", \"channel_name\", \"bridge_channel\", \"last_app\", \"hangup_cause\"]",
    ),
    ("freeswitch-json", "path", "\"/var/log/freeswitch/json_cdr\""),
];

/// The file.
pub(super) fn text(sections: &[Section]) -> String {
    let mut text = String::from(
        "# /etc/demarc/demarc.toml with every setting that there is, what it means, and its default. A line that begins with a # and a\n\
         # space is a comment; take the # from the line of a setting to change it. `demarc setup` writes a short file of its own.\n\
         # Made by `make docs`; not to be edited here.\n",
    );
    for section in sections.iter().filter(|section| !section.keys.is_empty()) {
        text.push('\n');
        comment(&mut text, &section.means);
        match &section.kind {
            Some(kind) => {
                let _ = writeln!(text, "#[[{}]]\n#type = \"{kind}\"", section.path);
            }
            None if section.path.is_empty() => {}
            None => {
                let _ = writeln!(text, "#[{}]", section.path);
            }
        }
        for key in &section.keys {
            comment(&mut text, &format!("{} Allowed: {}.", key.means, key.allowed));
            let _ = writeln!(text, "#{} = {}", key.name, value(section, key));
        }
    }
    text
}

fn value(section: &Section, key: &Key) -> String {
    if let Some(default) = &key.default {
        return default.to_string();
    }
    let kind = section.kind.as_deref().unwrap_or_default();
    let shown = SOURCES.iter().find(|(of, name, _)| (*of, *name) == (kind, key.name.as_str()));
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
