//! Who answers: a person at a terminal, or a file.

use std::path::{Path, PathBuf};

use demarc_proto::token::EnrollmentToken;

use super::screen::{self, wrapped};
use crate::{
    settings::{Confinement, Secret, Settings, Source},
    setup::{
        answers::{Answers, Vendor},
        question::{QUESTIONS, Question},
        terminal::{NoAnswer, Terminal},
    },
};

const YES_OR_NO: [(char, &str); 2] = [('y', "yes"), ('n', "no")];

/// Whoever answers.
pub(super) enum Asker {
    Person(Terminal),
    File(PathBuf, Box<Answers>),
}

impl Asker {
    pub(super) fn new(file: Option<&Path>) -> anyhow::Result<Self> {
        Ok(match file {
            Some(file) => Self::File(file.to_owned(), Box::new(Answers::read(file)?)),
            None => Self::Person(Terminal::open()?),
        })
    }

    /// The sources, where the file names some.
    pub(super) fn sources(&self) -> Option<Vec<Source>> {
        match self {
            Self::Person(_) => None,
            Self::File(_, answers) => answers.sources.clone(),
        }
    }

    /// The vendor's support authorities, where the file names some.
    pub(super) fn authorities(&self) -> Vec<String> {
        match self {
            Self::Person(_) => Vec::new(),
            Self::File(_, answers) => answers.authorities.clone(),
        }
    }

    /// The lines to the outside: `known` are those that the phone system's settings name, and they are `needed` where neither
    /// the config file nor a source names any.
    pub(super) fn trunks(&mut self, known: Vec<String>, needed: bool) -> anyhow::Result<Vec<String>> {
        match self {
            Self::File(_, answers) if answers.trunks.is_some() => Ok(answers.trunks.clone().unwrap_or_default()),
            _ if !needed => Ok(Vec::new()),
            _ if !known.is_empty() => Ok(known),
            Self::File(file, answers) => Ok(answers.trunks(file)?),
            Self::Person(terminal) => {
                let line = terminal.line(
                    "\nWhat are the lines to the outside called in the phone system? Without them, calls from outside count as \
                     internal.\n  Names with commas between them, or Enter to add them later: ",
                )?;
                Ok(line.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect())
            }
        }
    }

    /// What to do on this kernel, which cannot confine.
    pub(super) fn confinement(&mut self) -> anyhow::Result<Confinement> {
        match self {
            Self::File(file, answers) => Ok(answers.confinement(file)?),
            Self::Person(terminal) => {
                screen::print(
                    "\nThis kernel cannot keep demarc's processes from files by itself (it has no Landlock that works): what keeps \
                     them out of recordings here is the systemd unit and the owner of the files. `demarc doctor` shows what holds.\n",
                );
                let key = terminal.key("  Run all the same?", &YES_OR_NO)?;
                Ok(if key == 'y' { Confinement::BestEffort } else { Confinement::Required })
            }
        }
    }

    /// The answers to all questions, in order; `now` is what is in force.
    pub(super) fn choices(&mut self, now: Option<&Settings>) -> anyhow::Result<[bool; 4]> {
        match self {
            Self::File(file, answers) => Ok(answers.choices(file)?),
            Self::Person(terminal) => {
                let mut choices = [false; 4];
                for (place, (choice, question)) in choices.iter_mut().zip(&QUESTIONS).enumerate() {
                    *choice = ask(terminal, place + 1, question, now)?;
                }
                Ok(choices)
            }
        }
    }

    /// Who is to be enrolled with.
    pub(super) fn vendor(&mut self) -> anyhow::Result<Vendor> {
        match self {
            Self::File(file, answers) => {
                let vendor = answers.vendor(file)?;
                if let Vendor::Token(token) = &vendor {
                    token.expose().trim().parse::<EnrollmentToken>()?;
                }
                Ok(vendor)
            }
            Self::Person(terminal) => loop {
                let line = terminal.line(
                    "\nPaste the enrollment token that your vendor gave you. No vendor is a full answer: demarc then works here \
                     alone.\n  Token, or Enter for no vendor: ",
                )?;
                if line.is_empty() {
                    return Ok(Vendor::None);
                }
                match line.parse::<EnrollmentToken>() {
                    Ok(_) => return Ok(Vendor::Token(Secret::new(line))),
                    Err(error) => screen::print(&format!("  {error}\n")),
                }
            },
        }
    }

    /// Whether it is to be done; if not, the questions come again.
    pub(super) fn confirmed(&mut self) -> anyhow::Result<bool> {
        let Self::Person(terminal) = self else { return Ok(true) };
        let keys = [('y', "yes"), ('c', "change answers"), ('q', "quit")];
        match terminal.key("\nWrite and begin?", &keys)? {
            'y' => Ok(true),
            'q' => Err(NoAnswer::GivenUp.into()),
            _ => Ok(false),
        }
    }
}

fn ask(terminal: &mut Terminal, place: usize, question: &Question, now: Option<&Settings>) -> Result<bool, NoAnswer> {
    let mut text = format!("\n{place} of {}  {}\n", QUESTIONS.len(), question.asks);
    for (head, words) in
        [("leaves on yes:", question.leaves), ("stays here:", question.stays), ("without it:", question.without)]
    {
        text += &wrapped(head, words);
    }
    if let Some(now) = now {
        text += &format!("  now:            {}\n", if question.now(now) { "yes" } else { "no" });
    }
    screen::print(&text);
    Ok(terminal.key("  Your answer", &YES_OR_NO)? == 'y')
}
