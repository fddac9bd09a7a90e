//! What an import brought, for people and for scripts.

use std::{
    fmt::Write,
    path::{Path, PathBuf},
};

use serde::Serialize;

use crate::store::Committed;

/// What one file brought.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FileOutcome {
    /// The file.
    pub path: PathBuf,
    /// Rows read now.
    pub rows: u64,
    /// Legs that the store did not know.
    pub legs: u64,
    /// Rows that could not be understood.
    pub malformed: u64,
    /// Rows that were read twice.
    pub duplicates: u64,
    /// Rows that are left to the sources in the config file.
    pub left: u64,
    /// Whether all of the file had been read before.
    pub already_read: bool,
    /// Calls that the store did not know.
    #[serde(skip)]
    pub calls: u64,
    /// What looks wrong, in words.
    #[serde(skip)]
    pub trouble: Option<String>,
}

/// What all files brought.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// One a file.
    pub files: Vec<FileOutcome>,
    /// Calls that the store did not know.
    pub calls: u64,
}

impl FileOutcome {
    pub(super) fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            rows: 0,
            legs: 0,
            malformed: 0,
            duplicates: 0,
            left: 0,
            already_read: false,
            calls: 0,
            trouble: None,
        }
    }

    pub(super) fn add(&mut self, committed: &Committed) {
        self.rows += committed.rows;
        self.legs += committed.legs;
        self.malformed += committed.malformed;
        self.duplicates += committed.duplicates;
        self.left += committed.left;
        self.calls += committed.calls;
    }
}

impl Summary {
    /// Takes in a file.
    pub fn add(&mut self, file: FileOutcome) {
        self.calls += file.calls;
        self.files.push(file);
    }

    /// One line of JSON.
    pub fn to_json(&self) -> String {
        // Only a path could fail, by not being text; then its readable part must do.
        serde_json::to_string(self).unwrap_or_else(|_| {
            let mut readable = self.clone();
            for file in &mut readable.files {
                file.path = file.path.to_string_lossy().into_owned().into();
            }
            serde_json::to_string(&readable).expect("texts and numbers always have a JSON form")
        })
    }

    /// A line a file, and the sum.
    pub fn to_text(&self) -> String {
        let mut out = String::new();
        for file in &self.files {
            let path = file.path.display();
            let _ = if file.already_read {
                writeln!(out, "{path}: read before, nothing added")
            } else {
                writeln!(
                    out,
                    "{path}: {} rows, {} legs of {} calls; not understood: {}, read twice: {}",
                    file.rows, file.legs, file.calls, file.malformed, file.duplicates
                )
            };
            if file.left > 0 {
                let _ = writeln!(out, "{path}: {} rows were left to the sources in the config file", file.left);
            }
        }
        let _ = writeln!(
            out,
            "{} calls added. `demarc report` shows them; none of them enters a report to the vendor.",
            self.calls
        );
        out
    }
}
