//! The reference of the settings, once more as a page of the manual, and the example of a whole config file: made of the types, their comments, their defaults
//! and the words of `ALLOWED`, by a test, so that the program does not carry it.
//!
//! `make docs` writes all three files anew. The tests fail where a type, a word, the reference or the example says what the others
//! do not.

use std::{collections::BTreeSet, path::Path};

use demarc_reference::{Book, Key, Manual, Section, Shown, check_keys, example, file, in_force, manual, page, paths};
use expect_test::expect_file;
use toml::{Table, Value};

use super::{
    Settings, Source,
    load::{ALLOWED, LISTS, load_text},
};

const PAGE: &str = "<!-- Made by `make docs` of the types in agent/src/settings; not to be edited. -->\n\
    # Settings, one by one\n\n\
    They stand in `/etc/demarc/demarc.toml`, which `demarc setup` writes. An edit counts within a second and without a restart,\n\
    unless it is said otherwise; a wrong one is refused with file, line and key, and the last good settings stay. A key that is\n\
    absent has its default, and an unknown one is an error. A variable such as `DEMARC__STATS__UPLOAD=false` overrules the file;\n\
    the elements of a list are parted by commas there. The whole file with its defaults:\n\
    [demarc.toml](../deploy/examples/demarc.toml).\n";
const EXAMPLE: &str = "# /etc/demarc/demarc.toml with every setting that there is, what it means, and its default. A line that begins with a # and a\n\
    # space is a comment; take the # from the line of a setting to change it. `demarc setup` writes a short file of its own.\n\
    # Made by `make docs`; not to be edited here.\n";
const MANUAL: Manual<'_> = Manual {
    made_of: "agent/src/settings",
    name: "demarc.toml",
    program: "demarc",
    file: "/etc/demarc/demarc.toml",
    description: "demarc setup writes this file. An edit counts within a second and without a restart, unless it is said otherwise; a wrong one \
    is refused with file, line and key, and the last good settings stay. A key that is absent has its default, and an unknown one \
    is an error. A variable such as DEMARC__STATS__UPLOAD=false overrules the file.",
    also: &["demarc", "demarc-setup"],
};
/// What is shown for a key of a source that has no default.
const SOURCES: &[Shown<'_>] = &[
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

/// Everything that can be set, in the order of the types.
fn sections() -> Vec<Section> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let below = std::fs::read_dir(source.join("settings")).unwrap().flatten().map(|entry| entry.path());
    let files = below.filter(|path| path.is_file()).chain([source.join("settings.rs")]).collect();
    let defaults = Table::try_from(Settings::default()).unwrap();
    Book { root: "Settings", files, defaults, allowed: ALLOWED, whole: whole_source }.sections()
}

fn whole_source(least: Table) -> Table {
    let source: Source = Value::Table(least).try_into().unwrap();
    Table::try_from(source).unwrap()
}

#[test]
fn the_reference_in_docs_is_what_the_types_say() {
    expect_file![file("docs/settings.md")].assert_eq(&page(PAGE, &sections()));
}

#[test]
fn the_shipped_example_is_what_the_types_say() {
    expect_file![file("deploy/examples/demarc.toml")].assert_eq(&example(EXAMPLE, SOURCES, &sections()));
}

#[test]
fn the_page_of_the_manual_is_what_the_types_say() {
    expect_file![file("deploy/man/demarc.toml.5")].assert_eq(&manual(&MANUAL, &sections()));
}

#[test]
fn the_keys_are_those_that_serde_takes() {
    let refused = |text: &str| toml::from_str::<Settings>(text).expect_err("no key is called zzz").to_string();
    check_keys(&sections(), refused);
}

#[test]
fn every_word_about_a_key_is_about_one_that_there_is() {
    let sections = sections();
    let mut known = paths(&sections);
    known.insert("pbx.source.type".to_owned());
    let told: BTreeSet<String> = ALLOWED.iter().map(|(key, _)| (*key).to_owned()).collect();
    assert_eq!(told, known);
    let is_list = |key: &Key| matches!(key.default, Some(Value::Array(_)));
    let lists = sections.iter().filter(|section| section.kind.is_none()).flat_map(|section| {
        section.keys.iter().filter(|key| is_list(key)).map(move |key| format!("{}.{}", section.path, key.name))
    });
    assert_eq!(LISTS.iter().map(|key| (*key).to_owned()).collect::<BTreeSet<_>>(), lists.collect());
}

#[test]
fn the_shipped_example_loads_as_it_is_and_with_every_line_in_force() {
    let text = std::fs::read_to_string(file("deploy/examples/demarc.toml")).unwrap();
    let name = Path::new("demarc.toml");
    let load = |text: &str| load_text(name, text, std::iter::empty()).unwrap().settings;
    assert_eq!(load(&text), Settings::default(), "as shipped it says nothing");
    let in_force = load(&in_force(&text));
    assert_eq!(in_force.stats, Settings::default().stats);
    assert_eq!(in_force.pbx.source.len(), sections().iter().filter(|section| section.kind.is_some()).count());
}

#[test]
fn every_shipped_example_loads() {
    for entry in std::fs::read_dir(file("deploy/examples")).unwrap().flatten() {
        let path = entry.path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            let text = std::fs::read_to_string(&path).unwrap();
            load_text(&path, &text, std::iter::empty()).unwrap();
        }
    }
}
