//! A channel of the scope `diagnose`: one command of the menu, or a prompt that takes one after the other.

use tokio::sync::broadcast::error::RecvError;

use super::{
    channel::{Closed, Served},
    context::shortened,
    diagnose::{self, Answer},
    queue::Lane,
};
use crate::support::cast::Code;

/// The longest line that is taken.
const LONGEST_LINE: usize = 1024;
const PROMPT: &str = "demarc> ";
const WELCOME: &str = "demarc: a menu of commands that only read. `help` lists them, `exit` leaves.\n";

/// Serves a channel with one command, or with the prompt where none is given.
pub(super) async fn serve(served: Served, command: Option<Vec<u8>>) {
    let closed = served.closed.clone();
    let serving = async {
        match command {
            Some(line) => {
                let Ok(answer) = run(&served, &String::from_utf8_lossy(&line)).await else { return };
                served.answer(Lane::Main, &answer.text, answer.status).await;
            }
            None => {
                // An error means that nobody is left to be told of it.
                if let Ok(status) = ask(&served).await {
                    served.finish(status).await;
                }
            }
        }
    };
    tokio::select! {
        () = serving => {}
        () = closed.cancelled() => {}
    }
}

/// Runs one line. It stands in the recording before it runs.
async fn run(served: &Served, line: &str) -> Result<Answer, Closed> {
    let context = &served.context;
    context.recorder.mark(&format!("command: {line}"));
    context.tally.command(&shortened(line));
    context.recorder.durable().await.map_err(|_| Closed)?;
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    Ok(diagnose::run(&words, &context.settings).await)
}

/// Asks for one line after the other.
async fn ask(served: &Served) -> Result<u32, Closed> {
    let has_terminal = served.terminal.is_some();
    let mut notices = served.context.notices.subscribe();
    let mut editor = Editor::default();
    let mut status = 0;
    say(served, WELCOME).await?;
    say(served, PROMPT).await?;
    loop {
        let bytes = tokio::select! {
            bytes = served.input.take() => bytes,
            notice = notices.recv(), if has_terminal => {
                match notice {
                    Ok(notice) => say(served, &format!("\n[demarc] {notice}\n{PROMPT}{}", editor.line)).await?,
                    Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return Err(Closed),
                }
                continue;
            }
        };
        let Some((_, bytes)) = bytes else { return Ok(status) };
        served.context.recorder.note(Code::Input, &bytes);
        for byte in bytes {
            let typed = editor.key(byte);
            if has_terminal {
                say(served, typed.echo()).await?;
            }
            match typed {
                Typed::Line(line) if matches!(line.trim(), "exit" | "quit" | "logout") => return Ok(status),
                Typed::Line(line) => {
                    if !line.trim().is_empty() {
                        let answer = run(served, &line).await?;
                        status = answer.status;
                        say(served, &answer.text).await?;
                    }
                    say(served, PROMPT).await?;
                }
                Typed::Interrupt => say(served, PROMPT).await?,
                Typed::Leave => return Ok(status),
                Typed::Echo(_) | Typed::Erased(_) | Typed::Nothing => {}
            }
        }
    }
}

async fn say(served: &Served, words: &str) -> Result<(), Closed> {
    if served.terminal.is_some() {
        served.show(Lane::Main, words.replace('\n', "\r\n").as_bytes()).await
    } else {
        served.show(Lane::Main, words.as_bytes()).await
    }
}

/// A line that is being typed. Signs beyond ASCII are not taken: no command has any.
#[derive(Debug, Default)]
struct Editor {
    line: String,
    /// Within a sequence that begins with Escape, such as an arrow key.
    escape: Escape,
    was_return: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Escape {
    #[default]
    No,
    Begun,
    Sequence,
}

#[derive(Clone, Debug, PartialEq)]
enum Typed {
    Nothing,
    Echo(String),
    Erased(usize),
    Line(String),
    Interrupt,
    Leave,
}

impl Typed {
    fn echo(&self) -> &str {
        const ERASE_LINE: &str = "\r\u{1b}[Kdemarc> ";
        match self {
            Self::Echo(text) => text,
            Self::Erased(1) => "\u{8} \u{8}",
            Self::Erased(_) => ERASE_LINE,
            Self::Line(_) | Self::Leave => "\n",
            Self::Interrupt => "^C\n",
            Self::Nothing => "",
        }
    }
}

impl Editor {
    fn key(&mut self, byte: u8) -> Typed {
        let was_return = std::mem::take(&mut self.was_return);
        match (self.escape, byte) {
            (Escape::Begun, b'[' | b'O') => {
                self.escape = Escape::Sequence;
                return Typed::Nothing;
            }
            (Escape::Sequence, 0x40..=0x7e) | (Escape::Begun, _) => {
                self.escape = Escape::No;
                return Typed::Nothing;
            }
            (Escape::Sequence, _) => return Typed::Nothing,
            (Escape::No, _) => {}
        }
        match byte {
            b'\n' if was_return => Typed::Nothing,
            b'\r' | b'\n' => {
                self.was_return = byte == b'\r';
                Typed::Line(std::mem::take(&mut self.line))
            }
            0x03 => {
                self.line.clear();
                Typed::Interrupt
            }
            0x04 if self.line.is_empty() => Typed::Leave,
            0x08 | 0x7f => self.line.pop().map_or(Typed::Nothing, |_| Typed::Erased(1)),
            0x15 if !self.line.is_empty() => {
                let count = self.line.len();
                self.line.clear();
                // One sign is erased in the same way as by the key for one.
                Typed::Erased(count)
            }
            0x1b => {
                self.escape = Escape::Begun;
                Typed::Nothing
            }
            b' '..=b'~' if self.line.len() < LONGEST_LINE => {
                self.line.push(char::from(byte));
                Typed::Echo(char::from(byte).to_string())
            }
            _ => Typed::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(bytes: &[u8]) -> Vec<Typed> {
        let mut editor = Editor::default();
        let typed = bytes.iter().map(|byte| editor.key(*byte));
        typed.filter(|typed| !matches!(typed, Typed::Echo(_) | Typed::Nothing)).collect()
    }

    #[test]
    fn a_line_is_edited_as_on_any_terminal() {
        assert_eq!(
            keys(b"help\r\nx\x7fdisk\n"),
            [Typed::Line("help".into()), Typed::Erased(1), Typed::Line("disk".into())]
        );
        assert_eq!(keys(b"abc\x03\x04"), [Typed::Interrupt, Typed::Leave]);
        assert_eq!(keys(b"a\x04\x15\x1b[A\x1b[1;5Cok\r"), [Typed::Erased(1), Typed::Line("ok".into())]);
        assert_eq!(keys("\u{fc}\x07x\r".as_bytes()), [Typed::Line("x".into())]);
    }
}
