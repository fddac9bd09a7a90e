//! Questions to the running Asterisk: fixed commands, answered within a bounded time by a bounded text.

use std::{path::Path, process::Stdio, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncReadExt},
    process::Command,
    time::timeout,
};

use super::Trouble;
use crate::ipc::SessionSettings;

/// How long Asterisk may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// An answer is cut here.
const MOST_BYTES: u64 = 1 << 20;

/// Asks; `question` is one of our own texts, never the engineer's.
pub(super) async fn ask(settings: &SessionSettings, question: &'static str) -> Result<String, Trouble> {
    let program = settings.asterisk.display();
    let mut command = Command::new(&settings.asterisk);
    if let Some(config) = &settings.asterisk_conf {
        command.arg("-C").arg(config);
    }
    command
        .args(["-rx", question])
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("HOME", "/nonexistent");
    command.current_dir("/").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    // A leader of its own is told from an orphan, whose end is taken note of elsewhere.
    // SAFETY: between fork and exec this makes one system call.
    unsafe {
        command.pre_exec(|| Ok(rustix::process::setsid().map(drop)?));
    }
    let mut child = command.spawn().map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Trouble::new(format!("there is no Asterisk at {program} (support.asterisk)")),
        _ => Trouble::new(format!("{program} cannot be started: {error}")),
    })?;
    let (Some(said), Some(complained)) = (child.stdout.take(), child.stderr.take()) else {
        return Err(Trouble::new("Asterisk's answer cannot be read"));
    };
    let answered = timeout(PATIENCE, async {
        let (said, complained) = tokio::join!(read(said), read(complained));
        // Whoever looks after orphans may have taken its end; what it said tells enough.
        let failed = child.wait().await.is_ok_and(|status| !status.success());
        (said, complained, failed)
    });
    let Ok((said, complained, failed)) = answered.await else {
        return Err(Trouble::new(format!("Asterisk did not answer within {} seconds", PATIENCE.as_secs())));
    };
    if let Some(trouble) = no_console(&said).or_else(|| no_console(&complained)) {
        return Err(trouble);
    }
    if failed && said.trim().is_empty() {
        return Err(Trouble::new(format!("{program} failed without an answer")));
    }
    Ok(plain(&said))
}

/// Why Asterisk's console cannot be reached, if its program says so: it says the same for a console that is not there and
/// for one that this user may not use.
fn no_console(said: &str) -> Option<Trouble> {
    let rest = said.split_once("Unable to connect to remote asterisk")?.1;
    let console =
        rest.split_once("(does ").and_then(|(_, rest)| rest.split_once(" exist?")).map(|(path, _)| Path::new(path));
    let is_closed =
        |path: &&Path| rustix::fs::access(*path, rustix::fs::Access::WRITE_OK) == Err(rustix::io::Errno::ACCESS);
    Some(match console.filter(is_closed) {
        Some(path) => Trouble::new(format!(
            "demarc's user may not use Asterisk's console {}; the owner can let it, by astctlgroup and astctlpermissions in \
             asterisk.conf",
            path.display()
        )),
        None => Trouble::new("Asterisk is not running"),
    })
}

async fn read(from: impl AsyncRead + Unpin) -> String {
    let mut bytes = Vec::new();
    // What came before an error is an answer as well.
    let _ = from.take(MOST_BYTES).read_to_end(&mut bytes).await;
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Whether Asterisk does not know a command, because the module that brings it is not loaded.
pub(super) fn is_unknown(answer: &str) -> bool {
    answer.starts_with("No such command")
}

/// Without colours and without anything else that a terminal would obey.
fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut signs = text.chars().peekable();
    while let Some(sign) = signs.next() {
        if sign == '\u{1b}' {
            if signs.next_if_eq(&'[').is_some() {
                // Up to the letter that says what the sequence does.
                while signs.next().is_some_and(|sign| !sign.is_ascii_alphabetic()) {}
            }
        } else if sign == '\n' || !sign.is_control() {
            plain.push(sign);
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_and_bells_are_taken_out() {
        assert_eq!(plain("(\u{1b}[1;32;40mRinging\u{1b}[0m)\u{7}\r\n\u{1b}"), "(Ringing)\n");
    }

    #[test]
    fn a_console_that_is_closed_is_told_from_one_that_is_not_there() {
        let said = |path: &str| format!("Unable to connect to remote asterisk (does {path} exist?)\n");
        assert_eq!(no_console(&said("/absent/asterisk.ctl")), Some(Trouble::new("Asterisk is not running")));
        assert_eq!(no_console("9 active channels"), None);
        // For root every file is open, so that there is nothing to tell.
        if !rustix::process::geteuid().is_root() {
            let words = no_console(&said("/etc/passwd")).unwrap().to_string();
            assert!(words.contains("astctlpermissions"), "{words}");
        }
    }

    #[test]
    fn an_unknown_command_is_told_from_an_answer() {
        assert!(is_unknown(include_str!("../../../tests/data/asterisk22/no_such_command.txt")));
        assert!(!is_unknown(include_str!("../../../tests/data/asterisk22/queues.txt")));
    }
}
