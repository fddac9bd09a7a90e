//! The questions about what may leave, in words for whoever looks after a phone system. None of them has an answer beforehand.

use crate::settings::{Settings, SupportMode};

/// What a question is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topic {
    /// Aggregated call statistics.
    Statistics,
    /// Reports of the machine's health.
    Health,
    /// Sessions of the vendor's support.
    Support,
    /// Packages of demarc by way of the tunnel.
    Updates,
}

/// A question, and what depends on its answer.
#[derive(Debug)]
pub struct Question {
    /// What it is about.
    pub topic: Topic,
    /// Its key in a file of answers.
    pub key: &'static str,
    /// The section and the key of the config file that the answer sets.
    pub setting: (&'static str, &'static str),
    /// The question.
    pub asks: &'static str,
    /// What leaves this machine on "yes".
    pub leaves: &'static str,
    /// What stays in any case.
    pub stays: &'static str,
    /// What does not work on "no".
    pub without: &'static str,
}

/// All of them, in the order in which they are asked.
pub const QUESTIONS: [Question; 4] = [
    Question {
        topic: Topic::Statistics,
        key: "stats",
        setting: ("stats", "upload"),
        asks: "Statistics: may your vendor get totals of your calls?",
        leaves: "once a day, how many calls there were by time of day, direction and outcome, and how long people talked and \
                 waited, in steps. Only groups of 10 calls or more; smaller ones are put together or stay here.",
        stays: "phone numbers, extensions, names, single calls, recordings and voicemail. The report has no field for any of them.",
        without: "your vendor sees no trends of your calls. Your own reports and charts work all the same.",
    },
    Question {
        topic: Topic::Health,
        key: "health",
        setting: ("health", "upload"),
        asks: "Health: may your vendor see how this machine is?",
        leaves: "every quarter of an hour, load, memory, room on the disks, temperature, whether the phone system answers, how many of its registrations \
                 stand, how far the clock is off, for how many whole days no call came, and which alerts are raised. Figures and \
                 fixed words alone.",
        stays: "names of files, programs, hosts and providers, and everything about calls.",
        without: "your vendor does not notice a full disk or a lost line. You see the same alerts here, in demarc health show.",
    },
    Question {
        topic: Topic::Support,
        key: "support",
        setting: ("support", "mode"),
        asks: "Support: do you want to be able to let an engineer of your vendor in?",
        leaves: "nothing now. Each time you say demarc support allow, an engineer can come in for the time that you set, and \
                 what he sees is recorded here for you.",
        stays: "recordings and voicemail, which no session can open. The door stays shut until you open it, each time anew.",
        without: "demarc support allow is refused, until you change support.mode.",
    },
    Question {
        topic: Topic::Updates,
        key: "updates",
        setting: ("updates", "via_tunnel"),
        asks: "Updates: shall this machine's package manager get new versions of demarc through its tunnel to your vendor?",
        leaves: "which package files are fetched. Your package manager checks their signature and installs them when you let it; \
                 demarc itself can install nothing.",
        stays: "everything else. No update is made by itself.",
        without: "you fetch new versions from your vendor yourself.",
    },
];

impl Question {
    /// What the settings say to it now.
    pub fn now(&self, settings: &Settings) -> bool {
        match self.topic {
            Topic::Statistics => settings.stats.upload,
            Topic::Health => settings.health.upload,
            Topic::Support => settings.support.mode == SupportMode::Ask,
            Topic::Updates => settings.updates.via_tunnel,
        }
    }

    /// The answer as the config file has it.
    pub fn value(&self, yes: bool) -> toml_edit::Value {
        match (self.topic, yes) {
            (Topic::Support, true) => "ask".into(),
            (Topic::Support, false) => "never".into(),
            (_, yes) => yes.into(),
        }
    }

    /// `stats.upload`.
    pub fn setting_name(&self) -> String {
        format!("{}.{}", self.setting.0, self.setting.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{edit::put, load::load_text};

    #[test]
    fn an_answer_says_in_the_file_what_was_answered() {
        for question in QUESTIONS {
            for yes in [true, false] {
                let mut document = toml_edit::DocumentMut::new();
                put(&mut document, question.setting.0, question.setting.1, question.value(yes));
                let text = document.to_string();
                let loaded = load_text(std::path::Path::new("x"), &text, std::iter::empty()).unwrap();
                assert_eq!(question.now(&loaded.settings), yes, "{text}");
            }
        }
    }
}
