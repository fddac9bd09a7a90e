//! The menu of typed commands that only read: what a support engineer sees in the scope `diagnose`.
//!
//! Each command reads something, parses it into fields, and shows the fields that were named here. Numbers, extensions and
//! names of people are not among them, or are masked.

mod asterisk;
mod channels;
mod disk;
mod log;
mod mask;
mod peers;
mod queues;
mod registrations;
mod route;
mod services;

use std::fmt;

use comfy_table::{Table, presets};
use serde::Serialize;

use crate::ipc::SessionSettings;

const HELP: &str = "\
channels                what is being said right now: channels, their state, for how long
registrations           whether the trunks are registered with their providers
peers                   endpoints: whether they can be reached, and how fast
queues                  queues: callers who wait, members and their state
disk                    space on the file systems of this machine
services                the phone system's services, load and memory
log [--lines N]         the last lines of the phone system's log, numbers and names masked
trace-route [hub]       the way from here to the hub
help                    this text
Each takes --json. `exit` ends the session.
";

/// What a command of the menu says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// What is shown.
    pub text: String,
    /// 0 when it was done, 1 when it could not be, 2 when there is no such command.
    pub status: u32,
}

/// Why a command shows nothing, in words for the engineer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
struct Trouble(String);

impl Trouble {
    fn new(words: impl Into<String>) -> Self {
        Self(words.into())
    }
}

/// A command of the menu.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Command {
    Help,
    Channels,
    Registrations,
    Peers,
    Queues,
    Disk,
    Services,
    Log { lines: usize },
    Route,
}

/// Runs one command of the menu.
pub async fn run(words: &[&str], settings: &SessionSettings) -> Answer {
    let json = words.contains(&"--json");
    let words: Vec<&str> = words.iter().copied().filter(|word| *word != "--json").collect();
    let command = match parse(&words) {
        Ok(command) => command,
        Err(trouble) => return Answer { text: format!("demarc: {trouble}\n"), status: 2 },
    };
    let shown = match command {
        Command::Help => Ok(show(&Help { commands: HELP }, json)),
        Command::Channels => channels::look(settings).await.map(|found| show(&found, json)),
        Command::Registrations => registrations::look(settings).await.map(|found| show(&found, json)),
        Command::Peers => peers::look(settings).await.map(|found| show(&found, json)),
        Command::Queues => queues::look(settings).await.map(|found| show(&found, json)),
        Command::Disk => disk::look().map(|found| show(&found, json)),
        Command::Services => services::look().map(|found| show(&found, json)),
        Command::Log { lines } => log::look(&settings.logs, lines).map(|found| show(&found, json)),
        Command::Route => route::look(&settings.hub).await.map(|found| show(&found, json)),
    };
    match shown {
        Ok(text) => Answer { text, status: 0 },
        Err(trouble) => Answer { text: format!("demarc: {trouble}\n"), status: 1 },
    }
}

fn parse(words: &[&str]) -> Result<Command, Trouble> {
    match words {
        ["help"] => Ok(Command::Help),
        ["channels"] => Ok(Command::Channels),
        ["registrations"] => Ok(Command::Registrations),
        ["peers"] => Ok(Command::Peers),
        ["queues"] => Ok(Command::Queues),
        ["disk"] => Ok(Command::Disk),
        ["services"] => Ok(Command::Services),
        ["log"] => Ok(Command::Log { lines: log::USUAL_LINES }),
        ["log", "--lines", number] => match number.parse() {
            Ok(lines) if (1..=log::MOST_LINES).contains(&lines) => Ok(Command::Log { lines }),
            _ => Err(Trouble::new(format!("--lines takes a number from 1 to {}", log::MOST_LINES))),
        },
        ["trace-route"] | ["trace-route", "hub"] => Ok(Command::Route),
        ["trace-route", ..] => Err(Trouble::new("trace-route goes to the hub only: `trace-route hub`")),
        _ => Err(Trouble::new("no such command; `help` lists them")),
    }
}

#[derive(Serialize)]
struct Help {
    commands: &'static str,
}

impl fmt::Display for Help {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.commands)
    }
}

/// As text, or as JSON.
fn show<T: Serialize + fmt::Display>(found: &T, json: bool) -> String {
    if !json {
        return found.to_string();
    }
    // What is found here is made of texts and numbers, which always have a JSON form.
    let mut text = serde_json::to_string_pretty(found).unwrap_or_default();
    text.push('\n');
    text
}

/// Rows below a header, or a sentence where there are none.
fn write_table(
    f: &mut fmt::Formatter<'_>,
    header: &[&str],
    rows: impl Iterator<Item = Vec<String>>,
    none: &str,
) -> fmt::Result {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(header.to_vec());
    table.add_rows(rows);
    if table.is_empty() {
        return writeln!(f, "{none}");
    }
    // Each cell stands between blanks; those at the ends of a line serve nobody.
    table.lines().try_for_each(|line| writeln!(f, "{}", line.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_menu_takes_its_own_words_and_no_others() {
        assert_eq!(parse(&["log", "--lines", "1000"]), Ok(Command::Log { lines: 1000 }));
        assert_eq!(parse(&["trace-route", "hub"]), Ok(Command::Route));
        for words in [
            &["log", "--lines", "1001"][..],
            &["log", "--lines", "0"],
            &["log", "--lines", "-1"],
            &["log", "/etc/shadow"],
            &["trace-route", "192.0.2.1"],
            &["channels", "verbose"],
            &["core", "stop", "now"],
            &[],
        ] {
            assert!(parse(words).is_err(), "{words:?}");
        }
        let named = HELP.lines().filter(|line| !line.starts_with("Each"));
        for word in named.filter_map(|line| line.split_whitespace().next()) {
            assert!(parse(&[word]).is_ok(), "{word}");
        }
    }
}
