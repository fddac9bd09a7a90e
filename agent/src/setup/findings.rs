//! What a machine has: the phone system, its sources, its lines, and what would make the sources better.

use std::{fmt::Write, path::Path};

use crate::{
    detect::{self, Finding, Machine, NamedTrunk, PbxKind, Recommendation, State},
    settings::{Pbx, Source},
};

/// Everything that was found.
pub struct Findings {
    /// The phone system.
    pub kind: Option<PbxKind>,
    /// Its sources, the best first.
    pub found: Vec<Finding>,
    /// The sources to read, as the config file will have them.
    pub sources: Vec<Source>,
    /// Why these, in words.
    pub why: Vec<String>,
    /// The lines to the outside that its settings name.
    pub trunks: Vec<NamedTrunk>,
}

impl Findings {
    /// Looks at the machine whose root directory that is; the paths of what is found begin with it.
    pub fn of(root: &Path, now: u64, pbx: &Pbx) -> Self {
        let machine = Machine::new(root, now);
        let found = detect::survey(&machine, pbx);
        let Recommendation { words, sources } = detect::recommend(&found);
        let secret = detect::manager_secret(&machine);
        let settle = |mut source: Source| {
            if let Source::Ami { secret: own, .. } = &mut source {
                // Our own user's secret; without it the source is of no use.
                *own = secret.clone()?;
            }
            let below = |path: &Path| root.join(path.strip_prefix("/").unwrap_or(path));
            if let Some(path) = source.path_mut() {
                *path = below(path);
            }
            if let Source::FreepbxDb { address, .. } | Source::FusionpbxDb { address, .. } = &mut source
                && address.starts_with('/')
            {
                *address = below(Path::new(address)).display().to_string();
            }
            Some(source)
        };
        Self {
            kind: detect::kind(&machine),
            sources: sources.into_iter().filter_map(settle).collect(),
            why: words,
            trunks: detect::trunks(&machine),
            found,
        }
    }

    /// Whether one of these sources itself tells which lines there are.
    pub fn tell_of_trunks(sources: &[Source]) -> bool {
        sources.iter().any(Source::tells_of_trunks)
    }

    /// What the owner is shown of it.
    pub fn screen(&self) -> String {
        let mut text = match self.kind {
            Some(kind) => format!("This is {}.\n", with_article(kind.as_str())),
            None => "No phone system was found here.\n".to_owned(),
        };
        for finding in self.found.iter().filter(|finding| finding.source.is_some()) {
            let mark = if finding.configured { " (in the config file)" } else { "" };
            let _ = writeln!(text, "  {}: {}{mark}", finding.name, state(finding.state));
            for words in &finding.words {
                let _ = writeln!(text, "      {words}");
            }
        }
        for words in &self.why {
            let _ = writeln!(text, "  {words}");
        }
        if !self.trunks.is_empty() {
            let names: Vec<&str> = self.trunks.iter().map(|trunk| trunk.name.as_str()).collect();
            let _ = writeln!(text, "  Lines to the outside, by {}: {}", self.trunks[0].file, names.join(", "));
        }
        text
    }

    /// What in the phone system's settings would make the sources better, a sentence each.
    pub fn advice(&self) -> Vec<String> {
        let line = |finding: &Finding| {
            Some(format!("if you like: {} would be better with {}", finding.name, finding.advice.as_ref()?))
        };
        // The database's user has a step of its own.
        let is_database = |finding: &&Finding| matches!(finding.source, Some(Source::FreepbxDb { .. }));
        self.found.iter().filter(|finding| !is_database(finding)).filter_map(line).collect()
    }
}

fn with_article(name: &str) -> String {
    let vowel = name.starts_with(['A', 'E', 'I', 'O', 'U']);
    format!("{} {name}", if vowel { "an" } else { "a" })
}

fn state(state: State) -> &'static str {
    match state {
        State::Fresh => "written of late",
        State::Stale => "not written for long",
        State::Empty => "empty so far",
        State::Missing => "not there yet",
        State::Unreadable => "cannot be read by this user",
        State::Server => "a server",
        State::Off => "the phone system is not set to write it",
    }
}
