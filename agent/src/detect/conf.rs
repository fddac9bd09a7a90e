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
                // So that a section is known to be there even where it is empty.
                self.0.push((section.clone(), String::new(), String::new()));
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
