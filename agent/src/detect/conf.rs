//! Asterisk's configuration files, as far as it takes to know what it writes.

use std::fs;

use super::Machine;

/// How deep files may include one another.
const DEPTH: u32 = 4;
/// No configuration file is larger.
const MAX_BYTES: u64 = 4 * 1024 * 1024;

/// A file's settings, in order: section, key, value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Conf(Vec<(String, String, String)>);

/// One section, as it stands in a file.
pub(super) struct Block<'a> {
    pub(super) name: &'a str,
    /// Whether it is there only for others to build on.
    pub(super) is_template: bool,
    /// The templates that it builds on.
    pub(super) bases: Vec<&'a str>,
    pub(super) pairs: Vec<(&'a str, &'a str)>,
}

impl Block<'_> {
    /// The last value of a key in the section itself or, where it says nothing, in what it builds on.
    pub(super) fn value<'b>(&'b self, key: &str, blocks: &'b [Block<'b>]) -> Option<&'b str> {
        self.value_within(key, blocks, DEPTH)
    }

    fn value_within<'b>(&'b self, key: &str, blocks: &'b [Block<'b>], depth: u32) -> Option<&'b str> {
        let own =
            self.pairs.iter().rev().find(|(its_key, _)| its_key.eq_ignore_ascii_case(key)).map(|(_, value)| *value);
        if own.is_some() || depth == 0 {
            return own;
        }
        let bases = self.bases.iter().rev().filter_map(|base| blocks.iter().find(|block| block.name == *base));
        bases.filter_map(|base| base.value_within(key, blocks, depth - 1)).next()
    }
}

impl Conf {
    /// Reads a file and what it includes; none where it is not there or not readable.
    pub(super) fn read(machine: &Machine, path: &str) -> Option<Self> {
        let mut conf = Self::default();
        conf.add(machine, path, DEPTH)?;
        Some(conf)
    }

    fn add(&mut self, machine: &Machine, path: &str, depth: u32) -> Option<()> {
        let place = machine.at(path);
        if fs::metadata(&place).ok()?.len() > MAX_BYTES {
            return None;
        }
        let text = String::from_utf8_lossy(&fs::read(place).ok()?).into_owned();
        let directory = path.rsplit_once('/').map_or("", |(directory, _)| directory).to_owned();
        let mut section = String::new();
        let mut in_comment = false;
        for line in text.lines() {
            let line = uncommented(line, &mut in_comment);
            if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
                section = name.0.trim().to_owned();
                // So that a section is known to be there even where it is empty; with its templates, `(!,base)`.
                self.0.push((section.clone(), String::new(), name.1.trim().to_owned()));
            } else if let Some(file) = line.strip_prefix("#include").or_else(|| line.strip_prefix("#tryinclude")) {
                let file = file.trim().trim_matches(['"', '<', '>']);
                let file = if file.starts_with('/') { file.to_owned() } else { format!("{directory}/{file}") };
                if depth > 0 {
                    // What is not there is Asterisk's to complain about.
                    let _ = self.add(machine, &file, depth - 1);
                }
            } else if let Some((key, value)) = line.split_once('=') {
                let value = value.strip_prefix('>').unwrap_or(value);
                self.0.push((section.clone(), key.trim().to_owned(), value.trim().to_owned()));
            }
        }
        Some(())
    }

    /// Whether there is such a section.
    pub(super) fn has(&self, section: &str) -> bool {
        self.0.iter().any(|(name, ..)| name == section)
    }

    /// The last value of a key.
    pub(super) fn value(&self, section: &str, key: &str) -> Option<&str> {
        let is_it =
            |(name, its_key, _): &&(String, String, String)| name == section && its_key.eq_ignore_ascii_case(key);
        self.0.iter().rev().find(is_it).map(|(.., value)| value.as_str())
    }

    /// Whether a key is set to what Asterisk takes for yes.
    pub(super) fn is_on(&self, section: &str, key: &str) -> Option<bool> {
        self.value(section, key)
            .map(|value| ["yes", "true", "y", "t", "1", "on"].iter().any(|yes| value.eq_ignore_ascii_case(yes)))
    }

    /// All keys of a section with their values, in order.
    pub(super) fn pairs<'a>(&'a self, section: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.0
            .iter()
            .filter(move |(name, key, _)| name == section && !key.is_empty())
            .map(|(_, key, value)| (key.as_str(), value.as_str()))
    }

    /// Each section as it stands in the file, also where several have one name: name, templates, keys with their values.
    pub(super) fn blocks(&self) -> Vec<Block<'_>> {
        let mut blocks: Vec<Block<'_>> = Vec::new();
        for (name, key, value) in &self.0 {
            if key.is_empty() {
                let inside = value.strip_prefix('(').and_then(|rest| rest.split(')').next()).unwrap_or_default();
                let words: Vec<&str> = inside.split(',').map(str::trim).filter(|word| !word.is_empty()).collect();
                blocks.push(Block {
                    name,
                    is_template: words.contains(&"!"),
                    bases: words.into_iter().filter(|word| !matches!(*word, "!" | "+")).collect(),
                    pairs: Vec::new(),
                });
            } else if let Some(block) = blocks.iter_mut().rev().find(|block| block.name == name) {
                block.pairs.push((key, value));
            }
        }
        blocks
    }

    /// The sections, in order, each once.
    pub(super) fn sections(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for (name, ..) in &self.0 {
            if !names.contains(&name.as_str()) {
                names.push(name);
            }
        }
        names
    }
}

/// A line without its comment. `;--` begins one over several lines, `--;` ends it, `\;` is no comment.
fn uncommented<'a>(line: &'a str, in_comment: &mut bool) -> &'a str {
    let mut line = line.trim();
    if *in_comment {
        let Some((_, rest)) = line.split_once("--;") else { return "" };
        *in_comment = false;
        line = rest.trim();
    }
    let mut from = 0;
    while let Some(at) = line[from..].find(';').map(|at| from + at) {
        if at > 0 && line.as_bytes()[at - 1] == b'\\' {
            from = at + 1;
            continue;
        }
        if line[at..].starts_with(";--") && !line[at..].contains("--;") {
            *in_comment = true;
        }
        return line[..at].trim();
    }
    line
}
