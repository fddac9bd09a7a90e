//! What is shown on the way.

use std::{
    io::{self, Write},
    path::Path,
    time::Duration,
};

use crate::setup::{draft::Draft, sample::Sample};

/// How wide words are set.
const WIDTH: usize = 92;
/// Where they begin, behind their heading.
const INDENT: usize = 18;

/// Where words go.
pub(super) struct Screen {
    /// Standard output belongs to JSON.
    pub(super) to_stderr: bool,
}

impl Screen {
    /// Shows a text.
    pub(super) fn say(&self, text: &str) {
        if self.to_stderr {
            // Nobody may be there to read it.
            let _ = io::stderr().write_all(text.as_bytes());
        } else {
            print(text);
        }
    }

    /// Shows what a first report would have been.
    pub(super) fn preview(&self, upload: bool, sample: &Sample, grace: Duration) {
        if !upload {
            return self.say("\nThere is no report to show: statistics stay here.\n");
        }
        let (Some(body), Some(window)) = (&sample.body, sample.window) else {
            let why = sample.why.as_deref().unwrap_or("nothing could be counted");
            return self.say(&format!("\nThere is no report to show yet: {why}.\n"));
        };
        let from = jiff::Timestamp::from_second(i64::try_from(window.start).unwrap_or(0)).unwrap_or_default();
        let digest: String = sample.digest.iter().map(|line| format!("  {line}\n")).collect();
        self.say(&format!(
            "\nThis is what would have left for the {} calls of the {} hours from {} on,\ncounted here from {}:\n\n{digest}\n\
             Byte for byte, but for spaces behind it and an id that is drawn anew each time:\n\n{body}\n\n\
             The first report waits for {} hours after enrollment; demarc stats preview shows it before it goes.\n",
            sample.calls,
            window.seconds / 3600,
            from.strftime("%Y-%m-%d %H:%M UTC"),
            sample.source.as_deref().unwrap_or("the newest records"),
            grace.as_secs() / 3600,
        ));
    }

    /// Shows what the config file will say.
    pub(super) fn plan(&self, config: &Path, is_there: bool, draft: &Draft, dry_run: bool) {
        let file = config.display();
        self.say(&match (is_there, draft.changes()) {
            (true, false) => format!("\n{file} says all of it already.\n"),
            (true, true) => format!("\n{file} will change in these lines:\n\n{}", masked(&draft.difference())),
            (false, _) if dry_run => format!("\n{file} would be written:\n\n{}", masked(&draft.text)),
            (false, _) => format!(
                "\n{file} will be written: {} lines, with a comment on each answer.\n",
                draft.text.lines().count()
            ),
        });
    }
}

/// Shows a text on standard output.
pub(super) fn print(text: &str) {
    let mut out = io::stdout();
    // Whoever closed it does not want to read it.
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// The same with passwords left out.
pub(super) fn masked(text: &str) -> String {
    let is_secret = |line: &str| {
        let line = line.trim_start_matches(['+', '-', ' ']);
        ["password = ", "secret = "].iter().any(|key| line.starts_with(key))
    };
    let mask = |line: &str| match line.split_once(" = ") {
        Some((key, _)) if is_secret(line) => format!("{key} = \"***\"\n"),
        _ => format!("{line}\n"),
    };
    text.lines().map(mask).collect()
}

/// Words behind a heading, in lines that fit.
pub(super) fn wrapped(head: &str, words: &str) -> String {
    let mut text = format!("  {head:<width$}", width = INDENT - 3);
    let mut at = INDENT - 1;
    for word in words.split_whitespace() {
        let length = word.chars().count();
        if at + 1 + length > WIDTH {
            text += &format!("\n{:width$}", "", width = INDENT - 1);
            at = INDENT - 1;
        }
        text.push(' ');
        text += word;
        at += 1 + length;
    }
    text + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_secret_is_shown() {
        let text = "+ user = \"demarc\"\n+ password = \"hush\"\nsecret = \"hush\"\n";
        assert_eq!(masked(text), "+ user = \"demarc\"\n+ password = \"***\"\nsecret = \"***\"\n");
    }

    #[test]
    fn words_fit_the_screen() {
        let text = wrapped("stays here:", &"word ".repeat(60));
        assert!(text.lines().count() > 2 && text.lines().all(|line| line.len() <= WIDTH), "{text}");
        assert!(text.starts_with("  stays here:     word word"));
    }
}
