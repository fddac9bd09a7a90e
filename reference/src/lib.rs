//! The reference of a program's settings: made of the source text of their types, the comments there, their defaults, and words
//! about what may stand where. Tests make it, so that no program carries it, and fail where the files that are shipped say
//! something else.

// It serves tests alone: a panic says what its reader needs.
#![allow(clippy::unwrap_used)]

mod example;
mod manual;
mod page;
mod types;

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use toml::{Table, Value};

use self::types::{Field, Kind, Types};
pub use self::{
    example::{Shown, UNSAID, example, in_force},
    manual::{Manual, manual},
    page::page,
};

/// A file of the repository.
pub fn file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// The settings of a program.
pub struct Book<'a> {
    /// The type of a whole file, such as `Settings`.
    pub root: &'a str,
    /// The source files that hold its types.
    pub files: Vec<PathBuf>,
    /// What counts where nothing is said, as a file would have it.
    pub defaults: Table,
    /// What may stand at each key, by its dotted path, in words.
    pub allowed: &'a [(&'a str, &'a str)],
    /// One set of keys that has what it needs, with its defaults added; for types of several sets alone.
    pub whole: fn(Table) -> Table,
}

/// A key of the config file, as it is shown.
pub struct Key {
    /// Its name.
    pub name: String,
    /// What may stand there.
    pub allowed: String,
    /// What it means, in sentences.
    pub means: String,
    /// What counts where it is absent.
    pub default: Option<Value>,
    /// Whether it must be there.
    pub needed: bool,
}

/// A section, or one set of keys of several.
pub struct Section {
    /// `stats`; empty for the top of the file.
    pub path: String,
    /// `asterisk-csv`, for one set of several.
    pub kind: Option<String>,
    /// What it is about.
    pub means: String,
    /// Its keys, in the order of the types.
    pub keys: Vec<Key>,
}

impl Section {
    /// As a file has it: `[stats]`, `[[pbx.source]]`, or nothing for the top.
    fn head(&self) -> Option<String> {
        match (&self.kind, self.path.as_str()) {
            (Some(_), path) => Some(format!("[[{path}]]")),
            (None, "") => None,
            (None, path) => Some(format!("[{path}]")),
        }
    }
}

impl Book<'_> {
    /// Everything that can be set, in the order of the types.
    ///
    /// # Panics
    /// Where a key has no words, or the types cannot be read.
    pub fn sections(&self) -> Vec<Section> {
        let types = Types::read(&self.files);
        let mut sections = Vec::new();
        let means = "What stands at the top of the file, before any section.";
        self.collect(&types, self.root, "", means, &self.defaults, &mut sections);
        sections
    }

    fn collect(
        &self,
        types: &Types,
        name: &str,
        path: &str,
        means: &str,
        defaults: &Table,
        sections: &mut Vec<Section>,
    ) {
        let place = sections.len();
        sections.push(Section { path: path.to_owned(), kind: None, means: means.to_owned(), keys: Vec::new() });
        for field in types.fields(name) {
            let path = if path.is_empty() { field.name.clone() } else { format!("{path}.{}", field.name) };
            match types.kind(&field.of) {
                Kind::Section => {
                    let defaults = defaults.get(&field.name).and_then(Value::as_table).cloned().unwrap_or_default();
                    self.collect(types, &field.of, &path, &field.means, &defaults, sections);
                }
                Kind::Choice => self.kinds(types, &field.of, &path, sections),
                Kind::Words(words) => {
                    let words: String = words.iter().map(|(word, means)| format!(" `{word}`: {means}")).collect();
                    let key = self.key(&field, &path, defaults.get(&field.name).cloned());
                    sections[place].keys.push(Key { means: key.means + &words, ..key });
                }
                Kind::Value => sections[place].keys.push(self.key(&field, &path, defaults.get(&field.name).cloned())),
            }
        }
    }

    /// The sets of keys of a choice.
    fn kinds(&self, types: &Types, name: &str, path: &str, sections: &mut Vec<Section>) {
        for (kind, means, fields) in types.variants(name) {
            let mut least = Table::from_iter([("type".to_owned(), Value::from(kind.clone()))]);
            for field in fields.iter().filter(|field| field.needed) {
                let any = if field.is_list { Value::Array(vec!["start".into()]) } else { Value::from("x") };
                least.insert(field.name.clone(), any);
            }
            let mut whole = (self.whole)(least.clone());
            whole.retain(|key, _| !least.contains_key(key));
            let key =
                |field: &Field| self.key(field, &format!("{path}.{}", field.name), whole.get(&field.name).cloned());
            let keys = fields.iter().map(key).collect();
            sections.push(Section { path: path.to_owned(), kind: Some(kind), means, keys });
        }
    }

    fn key(&self, field: &Field, path: &str, default: Option<Value>) -> Key {
        let allowed = self.allowed.iter().find(|(key, _)| *key == path).map(|(_, allowed)| (*allowed).to_owned());
        Key {
            name: field.name.clone(),
            allowed: allowed.unwrap_or_else(|| panic!("{path} has no words about what may stand there")),
            means: field.means.clone(),
            default: default.map(|value| pretty(&value)),
            needed: field.needed,
        }
    }
}

/// Checks that the keys of these sections are those that serde takes, by its own word: `refused` says what it says of a text
/// with a key that there is not.
///
/// # Panics
/// Where they are not.
pub fn check_keys(sections: &[Section], refused: impl Fn(&str) -> String) {
    for section in sections {
        let head = section.head().map(|head| head + "\n").unwrap_or_default();
        let kind = section.kind.as_ref().map(|kind| format!("type = \"{kind}\"\n")).unwrap_or_default();
        let error = refused(&format!("{head}{kind}zzz = 1\n"));
        let expected = error.split_once("expected").unwrap_or_else(|| panic!("{error}")).1;
        let taken: BTreeSet<String> = expected.split('`').skip(1).step_by(2).map(str::to_owned).collect();
        let above = |path: &str| path.rsplit_once('.').map_or("", |(above, _)| above).to_owned();
        let below = sections.iter().filter(|other| other.path != section.path && above(&other.path) == section.path);
        let mut known: BTreeSet<String> = section.keys.iter().map(|key| key.name.clone()).collect();
        if section.kind.is_none() {
            known.extend(below.filter_map(|other| Some(other.path.rsplit('.').next()?.to_owned())));
        }
        assert_eq!(taken, known, "[{}] {:?}", section.path, section.kind);
    }
}

/// The dotted paths of all sections and keys.
pub fn paths(sections: &[Section]) -> BTreeSet<String> {
    let mut known = BTreeSet::new();
    for section in sections {
        let path =
            |name: &str| if section.path.is_empty() { name.to_owned() } else { format!("{}.{name}", section.path) };
        known.insert(section.path.clone());
        known.extend(section.keys.iter().map(|key| path(&key.name)));
    }
    known.remove("");
    known
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_people_write_them() {
        for (seconds, shown) in
            [("86400s", "24h"), ("172800s", "2d"), ("60s", "60s"), ("300s", "5m"), ("14400s", "4h"), ("0s", "0s")]
        {
            assert_eq!(pretty(&Value::from(seconds)).as_str(), Some(shown), "{seconds}");
        }
        assert_eq!(pretty(&Value::from("words")).as_str(), Some("words"));
    }
}
