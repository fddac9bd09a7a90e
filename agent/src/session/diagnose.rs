//! The menu of typed commands that only read.

use crate::ipc::SessionSettings;

/// What a command of the menu says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// What is shown.
    pub text: String,
    /// 0 when it was done.
    pub status: u32,
}

/// Runs one command of the menu.
pub async fn run(words: &[&str], _settings: &SessionSettings) -> Answer {
    match words {
        ["help"] => Answer { text: "help\n".to_owned(), status: 0 },
        _ => Answer { text: "demarc: no such command; `help` lists them.\n".to_owned(), status: 2 },
    }
}
