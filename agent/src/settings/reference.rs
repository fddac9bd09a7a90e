//! The reference of the settings, once more as a page of the manual, and the example of a whole config file: made of the types, their comments, their defaults
//! and the words of `ALLOWED`, by a test, so that the program does not carry it.
//!
//! `make docs` writes all three files anew. The tests fail where a type, a word, the reference or the example says what the others
//! do not.

mod example;
mod manual;
mod types;

use std::{collections::BTreeSet, fmt::Write, path::Path};

use expect_test::expect_file;
use toml::{Table, Value};

use self::types::{Kind, Types};
use super::{
    Settings, Source,
    load::{ALLOWED, LISTS, load_text},
};

/// A key of the config file, as it is shown.
struct Key {
    name: String,
    /// What may stand there.
    allowed: &'static str,
    /// What it means, in sentences.
    means: String,
    /// What counts where it is absent.
    default: Option<Value>,
    /// Whether it must be there.
    needed: bool,
}

/// A section, or one kind of source.
struct Section {
    /// `stats`; empty for the top of the file.
    path: String,
    /// `asterisk-csv`, for a kind of source.
    kind: Option<String>,
    means: String,
    keys: Vec<Key>,
}

/// Everything that can be set, in the order of the types.
fn sections() -> Vec<Section> {
    let types = Types::read();
    let defaults = Table::try_from(Settings::default()).unwrap();
    let mut sections = Vec::new();
    collect(
        &types,
        "Settings",
        "",
        "What stands at the top of the file, before any section.",
        &defaults,
        &mut sections,
    );
    sections
}

fn collect(types: &Types, name: &str, path: &str, means: &str, defaults: &Table, sections: &mut Vec<Section>) {
    let place = sections.len();
    sections.push(Section { path: path.to_owned(), kind: None, means: means.to_owned(), keys: Vec::new() });
    for field in types.fields(name) {
        let path = if path.is_empty() { field.name.clone() } else { format!("{path}.{}", field.name) };
        match types.kind(&field.of) {
            Kind::Section => {
                let defaults = defaults.get(&field.name).and_then(Value::as_table).cloned().unwrap_or_default();
                collect(types, &field.of, &path, &field.means, &defaults, sections);
            }
            Kind::Choice => sources(types, &field.of, &path, sections),
            Kind::Words(words) => {
                let words: String = words.iter().map(|(word, means)| format!(" `{word}`: {means}")).collect();
                let key = Key::of(&field, &path, defaults.get(&field.name).cloned());
                sections[place].keys.push(Key { means: key.means + &words, ..key });
            }
            Kind::Value => sections[place].keys.push(Key::of(&field, &path, defaults.get(&field.name).cloned())),
        }
    }
}

/// The kinds of sources, each with its own keys.
fn sources(types: &Types, name: &str, path: &str, sections: &mut Vec<Section>) {
    for (kind, means, fields) in types.variants(name) {
        let mut least = Table::from_iter([("type".to_owned(), Value::from(kind.clone()))]);
        for field in fields.iter().filter(|field| field.needed) {
            let any = if field.is_list { Value::Array(vec!["start".into()]) } else { Value::from("x") };
            least.insert(field.name.clone(), any);
        }
        let source: Source = Value::Table(least.clone()).try_into().unwrap();
        let mut whole = Table::try_from(source).unwrap();
        whole.retain(|key, _| !least.contains_key(key));
        let key =
            |field: &types::Field| Key::of(field, &format!("{path}.{}", field.name), whole.get(&field.name).cloned());
        let keys = fields.iter().map(key).collect();
        sections.push(Section { path: path.to_owned(), kind: Some(kind), means, keys });
    }
}

impl Key {
    fn of(field: &types::Field, path: &str, default: Option<Value>) -> Self {
        let allowed = ALLOWED.iter().find(|(key, _)| *key == path).map(|(_, allowed)| *allowed);
        Self {
            name: field.name.clone(),
            allowed: allowed.unwrap_or_else(|| panic!("{path} has no line in ALLOWED of settings/load/locate.rs")),
            means: field.means.clone(),
            default: default.map(|value| pretty(&value)),
            needed: field.needed,
        }
    }
}

/// Seconds as people write them: in the largest unit of which there are two or more, or in which they were likely meant.
fn pretty(value: &Value) -> Value {
    let seconds = value.as_str().and_then(|text| text.strip_suffix('s')).and_then(|number| number.parse::<u64>().ok());
    let Some(seconds) = seconds else { return value.clone() };
    let units = [(86_400, 'd'), (3600, 'h'), (60, 'm'), (1, 's')];
    let unit = units.into_iter().find(|(length, _)| seconds % length == 0 && seconds >= 2 * length);
    let (length, letter) = unit.unwrap_or((1, 's'));
    Value::from(format!("{}{letter}", seconds / length))
}

fn reference() -> String {
    let mut text = String::from(
        "<!-- Made by `make docs` of the types in agent/src/settings; not to be edited. -->\n\
         # Settings, one by one\n\n\
         They stand in `/etc/demarc/demarc.toml`, which `demarc setup` writes. An edit counts within a second and without a restart,\n\
         unless it is said otherwise; a wrong one is refused with file, line and key, and the last good settings stay. A key that is\n\
         absent has its default, and an unknown one is an error. A variable such as `DEMARC__STATS__UPLOAD=false` overrules the file;\n\
         the elements of a list are parted by commas there. The whole file with its defaults:\n\
         [demarc.toml](../deploy/examples/demarc.toml).\n",
    );
    for section in sections().iter().filter(|section| !section.keys.is_empty()) {
        let heading = match (&section.kind, section.path.as_str()) {
            (Some(kind), path) => format!("`[[{path}]]` with `type = \"{kind}\"`"),
            (None, "") => "At the top".to_owned(),
            (None, path) => format!("`[{path}]`"),
        };
        let _ = write!(text, "\n## {heading}\n\n{}\n\n", section.means);
        for key in &section.keys {
            let default = match (&key.default, key.needed) {
                (Some(default), _) => format!(" = `{default}`"),
                (None, true) => ", which must be there".to_owned(),
                (None, false) => ", absent by default".to_owned(),
            };
            let _ = writeln!(text, "- **`{}`**{default}  \n  {}  \n  Allowed: {}.", key.name, key.means, key.allowed);
        }
    }
    text
}

/// A file of the repository.
fn file(path: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// Keys that serde takes at that place, by its own word.
fn taken_by_serde(text: &str) -> BTreeSet<String> {
    let error = toml::from_str::<Settings>(text).expect_err("no key is called zzz").to_string();
    let expected = error.split_once("expected").unwrap_or_else(|| panic!("{error}")).1;
    expected.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn the_reference_in_docs_is_what_the_types_say() {
    expect_file![file("docs/settings.md")].assert_eq(&reference());
}

#[test]
fn the_shipped_example_is_what_the_types_say() {
    expect_file![file("deploy/examples/demarc.toml")].assert_eq(&example::text(&sections()));
}

#[test]
fn the_page_of_the_manual_is_what_the_types_say() {
    expect_file![file("deploy/man/demarc.toml.5")].assert_eq(&manual::page(&sections()));
}

#[test]
fn the_keys_are_those_that_serde_takes() {
    let sections = sections();
    for section in &sections {
        let text = match &section.kind {
            Some(kind) => format!("[[{}]]\ntype = \"{kind}\"\nzzz = 1\n", section.path),
            None if section.path.is_empty() => "zzz = 1\n".to_owned(),
            None => format!("[{}]\nzzz = 1\n", section.path),
        };
        let above = |path: &str| path.rsplit_once('.').map_or("", |(above, _)| above).to_owned();
        let below = sections.iter().filter(|other| other.path != section.path && above(&other.path) == section.path);
        let mut known: BTreeSet<String> = section.keys.iter().map(|key| key.name.clone()).collect();
        if section.kind.is_none() {
            known.extend(below.filter_map(|other| Some(other.path.rsplit('.').next()?.to_owned())));
        }
        assert_eq!(taken_by_serde(&text), known, "[{}] {:?}", section.path, section.kind);
    }
}

#[test]
fn every_word_about_a_key_is_about_one_that_there_is() {
    let sections = sections();
    let mut known = BTreeSet::new();
    for section in &sections {
        let path =
            |name: &str| if section.path.is_empty() { name.to_owned() } else { format!("{}.{name}", section.path) };
        known.insert(section.path.clone());
        known.extend(section.keys.iter().map(|key| path(&key.name)));
    }
    known.remove("");
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
    let is_setting = |line: &str| {
        line.strip_prefix('#').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_lowercase() || c == '['))
    };
    let whole: String = text
        .lines()
        .filter(|line| !line.contains(example::UNSAID))
        .map(|line| if is_setting(line) { format!("{}\n", &line[1..]) } else { format!("{line}\n") })
        .collect();
    let in_force = load(&whole);
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

#[test]
fn times_are_written_as_people_write_them() {
    for (seconds, shown) in
        [("86400s", "24h"), ("172800s", "2d"), ("60s", "60s"), ("300s", "5m"), ("14400s", "4h"), ("0s", "0s")]
    {
        assert_eq!(pretty(&Value::from(seconds)).as_str(), Some(shown), "{seconds}");
    }
    assert_eq!(pretty(&Value::from("words")).as_str(), Some("words"));
}
