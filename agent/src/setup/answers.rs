//! Answers that were written down beforehand, for many machines alike. What is not answered there is not guessed.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::Deserialize;

use super::question::{QUESTIONS, Topic};
use crate::settings::{Confinement, Secret, Source};

/// What the file says: every question may be missing, and is then asked for by its name.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answers {
    stats: Option<bool>,
    health: Option<bool>,
    support: Option<bool>,
    updates: Option<bool>,
    /// The enrollment token, or `none`.
    token: Option<Secret>,
    /// Names of the lines to the outside.
    pub trunks: Option<Vec<String>>,
    /// The sources to read, in place of those that are found.
    #[serde(default, alias = "source")]
    pub sources: Option<Vec<Source>>,
    /// What to do on a kernel that cannot confine.
    pub confinement: Option<Confinement>,
    /// The public keys of the vendor's support authorities, where the file of answers comes from the vendor.
    #[serde(default)]
    pub authorities: Vec<String>,
}

/// Who is to be enrolled with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Vendor {
    /// Nobody: demarc works here alone.
    None,
    /// Whoever gave out this token.
    Token(Secret),
}

/// The answers cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AnswersError {
    /// The file cannot be read.
    #[error("the answers in {} cannot be read", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file says something that is no answer.
    #[error("{}:{line}: {problem}", file.display())]
    Invalid {
        /// The file.
        file: PathBuf,
        /// The line, counted from one.
        line: usize,
        /// What is wrong.
        problem: String,
    },
    /// A question is not answered.
    #[error("{} does not answer \"{key}\": {question} Write {example}; nothing was changed", file.display())]
    Missing {
        /// The file.
        file: PathBuf,
        /// The key.
        key: &'static str,
        /// The question.
        question: String,
        /// What an answer looks like.
        example: &'static str,
    },
}

impl Answers {
    /// Reads a file; `-` is standard input.
    ///
    /// # Errors
    /// When it cannot be read or understood.
    pub fn read(file: &Path) -> Result<Self, AnswersError> {
        let text = if file == Path::new("-") { io::read_to_string(io::stdin()) } else { fs::read_to_string(file) };
        Self::parse(file, &text.map_err(|source| AnswersError::Unreadable { file: file.to_owned(), source })?)
    }

    fn parse(file: &Path, text: &str) -> Result<Self, AnswersError> {
        toml::from_str(text).map_err(|error| {
            let before = error.span().map_or(0, |span| span.start.min(text.len()));
            let line = text.as_bytes()[..before].iter().filter(|byte| **byte == b'\n').count() + 1;
            let problem = error.message().replace('\n', ", ");
            AnswersError::Invalid { file: file.to_owned(), line, problem }
        })
    }

    /// What is answered to a topic, if anything.
    pub fn to(&self, topic: Topic) -> Option<bool> {
        match topic {
            Topic::Statistics => self.stats,
            Topic::Health => self.health,
            Topic::Support => self.support,
            Topic::Updates => self.updates,
        }
    }

    /// The answers to all questions, in their order.
    ///
    /// # Errors
    /// The first question that is not answered.
    pub fn choices(&self, file: &Path) -> Result<[bool; 4], AnswersError> {
        let mut choices = [false; 4];
        for (choice, question) in choices.iter_mut().zip(&QUESTIONS) {
            *choice = self.to(question.topic).ok_or_else(|| AnswersError::Missing {
                file: file.to_owned(),
                key: question.key,
                question: question.asks.to_owned(),
                example: "true or false",
            })?;
        }
        Ok(choices)
    }

    /// Who is to be enrolled with.
    ///
    /// # Errors
    /// When that is not answered.
    pub fn vendor(&self, file: &Path) -> Result<Vendor, AnswersError> {
        match &self.token {
            Some(token) if token.expose().trim() == "none" => Ok(Vendor::None),
            Some(token) => Ok(Vendor::Token(token.clone())),
            None => Err(AnswersError::Missing {
                file: file.to_owned(),
                key: "token",
                question: "with which vendor shall this site be enrolled?".to_owned(),
                example: "the token that the vendor gave out, or \"none\"",
            }),
        }
    }

    /// The names of lines, where the phone system's own settings do not tell.
    ///
    /// # Errors
    /// When they are not answered.
    pub fn trunks(&self, file: &Path) -> Result<Vec<String>, AnswersError> {
        self.trunks.clone().ok_or_else(|| AnswersError::Missing {
            file: file.to_owned(),
            key: "trunks",
            question: "what are the lines to the outside called? The phone system's settings do not tell.".to_owned(),
            example: "their names, such as [\"provider1\"], or []",
        })
    }

    /// What to do on a kernel that cannot confine.
    ///
    /// # Errors
    /// When that is not answered.
    pub fn confinement(&self, file: &Path) -> Result<Confinement, AnswersError> {
        self.confinement.ok_or_else(|| AnswersError::Missing {
            file: file.to_owned(),
            key: "confinement",
            question: "this kernel cannot keep demarc from files by itself (it has no Landlock that works); shall it run all the same?"
                .to_owned(),
            example: "\"best-effort\" to run with what the kernel can do, or \"required\"",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Answers, String> {
        Answers::parse(Path::new("answers.toml"), text).map_err(|error| error.to_string())
    }

    #[test]
    fn the_first_question_without_an_answer_is_named() {
        let file = Path::new("answers.toml");
        let all = ["stats = true", "health = false", "support = true", "updates = false"];
        let answers = parse(&all.join("\n")).unwrap();
        assert_eq!(answers.choices(file).unwrap(), [true, false, true, false]);
        for (place, question) in QUESTIONS.iter().enumerate() {
            let some: Vec<&str> =
                all.iter().enumerate().filter(|(other, _)| *other != place).map(|(_, line)| *line).collect();
            let error = parse(&some.join("\n")).unwrap().choices(file).unwrap_err().to_string();
            assert!(error.contains(&format!("does not answer \"{}\"", question.key)), "{error}");
        }
        assert!(answers.vendor(file).unwrap_err().to_string().contains("\"token\""));
        assert_eq!(parse("token = \"none\"").unwrap().vendor(file).unwrap(), Vendor::None);
    }

    #[test]
    fn what_is_no_answer_is_refused_with_its_line() {
        assert!(
            parse("stats = true\nhelth = true\n").unwrap_err().starts_with("answers.toml:2: unknown field `helth`")
        );
        assert!(parse("stats = \"yes\"\n").unwrap_err().starts_with("answers.toml:1: invalid type"));
        let answers = parse("[[sources]]\ntype = \"asterisk-csv\"\npath = \"/x\"\n").unwrap();
        assert_eq!(answers.sources.unwrap().len(), 1);
    }
}
