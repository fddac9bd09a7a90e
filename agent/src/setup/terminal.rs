//! Questions on a terminal, a key or a line each. What was typed before a question stood there is no answer to it.

use std::{
    fs::File,
    io::{self, IsTerminal, Read, Write},
    os::fd::AsFd,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    termios::{self, LocalModes, OptionalActions, QueueSelector, Termios},
};

/// The longest line that is read.
const LONGEST: usize = 16 * 1024;
/// Nobody presses two keys within that time.
const ALONE: Timespec = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };
/// What Ctrl-C and Ctrl-D send.
const GIVE_UP: [u8; 2] = [3, 4];

/// A person at a terminal.
pub struct Terminal {
    input: File,
    normal: Termios,
}

/// There is no answer.
#[derive(Debug, thiserror::Error)]
pub enum NoAnswer {
    /// Nobody can be asked.
    #[error(
        "nobody can be asked here, since standard input is no terminal; run demarc setup on one, or hand over the answers with \
         --answers FILE (demarc setup --help shows one)"
    )]
    NoTerminal,
    /// The person has had enough.
    #[error("given up; nothing was changed")]
    GivenUp,
    /// The terminal is gone.
    #[error("the terminal cannot be read")]
    Lost(#[from] io::Error),
}

impl Terminal {
    /// The terminal at standard input and output.
    ///
    /// # Errors
    /// When there is none.
    pub fn open() -> Result<Self, NoAnswer> {
        if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
            return Err(NoAnswer::NoTerminal);
        }
        // A duplicate, so that no buffer of the standard library holds back what was typed.
        let input = File::from(io::stdin().as_fd().try_clone_to_owned()?);
        let normal = termios::tcgetattr(&input).map_err(io::Error::from)?;
        Ok(Self { input, normal })
    }

    /// Asks for one key of several, each with the word that is shown for it. No other key is an answer, Enter neither.
    ///
    /// # Errors
    /// When the person gives up.
    pub fn key(&self, prompt: &str, keys: &[(char, &str)]) -> Result<char, NoAnswer> {
        let mut sequence = Sequence::None;
        let raw = Raw::begin(&self.input, &self.normal)?;
        let choice: Vec<String> = keys.iter().map(|(key, word)| format!("{key} = {word}")).collect();
        let choice = choice.join(", ");
        say(&format!("{prompt} [{choice}] "))?;
        loop {
            let mut byte = [0];
            let read = (&self.input).read(&mut byte)?;
            if read == 0 || GIVE_UP.contains(&byte[0]) {
                drop(raw);
                say("\n")?;
                return Err(NoAnswer::GivenUp);
            }
            if sequence.takes(byte[0]) {
                continue;
            }
            let typed = char::from(byte[0]).to_ascii_lowercase();
            match keys.iter().find(|(key, _)| *key == typed) {
                // A key comes alone; what comes with more was pasted, and meant for something else.
                Some(_) if self.more_follows()? => {
                    termios::tcflush(&self.input, QueueSelector::IFlush).map_err(io::Error::from)?;
                    say(&format!("\nThat was more than one key; press one of: {choice} "))?;
                }
                Some((key, word)) => {
                    drop(raw);
                    say(&format!("{word}\n"))?;
                    return Ok(*key);
                }
                None if matches!(typed, '\n' | '\r') => {
                    say(&format!("\nEnter is no answer here; press one of: {choice} "))?;
                }
                None => {}
            }
        }
    }

    /// Whether more comes at once than a person types.
    fn more_follows(&self) -> io::Result<bool> {
        let mut waiting = [PollFd::new(&self.input, PollFlags::IN)];
        Ok(poll(&mut waiting, Some(&ALONE))? > 0)
    }

    /// Asks for a line.
    ///
    /// # Errors
    /// When the person gives up.
    pub fn line(&self, prompt: &str) -> Result<String, NoAnswer> {
        termios::tcflush(&self.input, QueueSelector::IFlush).map_err(io::Error::from)?;
        say(prompt)?;
        let mut line = Vec::new();
        let mut byte = [0];
        loop {
            if (&self.input).read(&mut byte)? == 0 || line.len() == LONGEST {
                return Err(NoAnswer::GivenUp);
            }
            match byte[0] {
                b'\n' => return Ok(String::from_utf8_lossy(&line).trim().to_owned()),
                other => line.push(other),
            }
        }
    }
}

/// How far a key that sends several bytes has come: an arrow, or one of the block of digits, which can end in a letter.
enum Sequence {
    None,
    Escape,
    /// One more byte, and it is over.
    Shifted,
    /// Until a byte that ends it.
    Control,
}

impl Sequence {
    /// Whether the byte belongs to such a key.
    fn takes(&mut self, byte: u8) -> bool {
        let (next, taken) = match (&*self, byte) {
            (Self::None, 0x1b) => (Self::Escape, true),
            (Self::None, _) => (Self::None, false),
            (Self::Escape, b'[') => (Self::Control, true),
            (Self::Escape, b'O') => (Self::Shifted, true),
            (Self::Escape | Self::Shifted, _) => (Self::None, true),
            (Self::Control, 0x40..=0x7e) => (Self::None, true),
            (Self::Control, _) => (Self::Control, true),
        };
        *self = next;
        taken
    }
}

/// The terminal hands over each key as it is pressed, and shows none; what was typed before is thrown away. It is as it was
/// once this is dropped.
struct Raw<'a> {
    input: &'a File,
    normal: &'a Termios,
}

impl<'a> Raw<'a> {
    fn begin(input: &'a File, normal: &'a Termios) -> io::Result<Self> {
        let mut raw = normal.clone();
        // Without signals: one that ended us here would leave the terminal as it is now.
        raw.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG);
        termios::tcsetattr(input, OptionalActions::Flush, &raw)?;
        Ok(Self { input, normal })
    }
}

impl Drop for Raw<'_> {
    fn drop(&mut self) {
        // A terminal that is gone needs no mending.
        let _ = termios::tcsetattr(self.input, OptionalActions::Now, self.normal);
    }
}

fn say(text: &str) -> io::Result<()> {
    let mut out = io::stdout();
    out.write_all(text.as_bytes())?;
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_several_bytes_are_no_letters() {
        let letters = |bytes: &[u8]| {
            let mut sequence = Sequence::None;
            bytes.iter().filter(|byte| !sequence.takes(**byte)).map(|byte| char::from(*byte)).collect::<String>()
        };
        // Nine on the block of digits, an arrow, a key with a modifier, Alt and y; then y.
        assert_eq!(letters(b"\x1bOy\x1b[A\x1b[1;5n\x1byy"), "y");
    }
}
