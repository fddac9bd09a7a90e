//! From bytes to messages, in bounded memory whatever comes.

use std::fmt;

use memchr::memmem;

/// A message longer than this is dropped.
pub const MAX_MESSAGE: usize = 64 * 1024;
/// A line longer than this is dropped.
pub const MAX_LINE: usize = 8 * 1024;

const LINE_END: &[u8] = b"\r\n";

/// One message: lines of a key and a value. It may hold numbers and names, and prints none of them.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Message {
    text: Vec<u8>,
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Message")
    }
}

impl Message {
    /// The lines that have a key, in order.
    pub fn pairs(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        lines(&self.text).filter_map(|line| {
            let colon = memchr::memchr(b':', line)?;
            let value = &line[colon + 1..];
            Some((&line[..colon], value.strip_prefix(b" ").unwrap_or(value)))
        })
    }

    /// The value of the first line with that key. A value that holds a line end can forge lines, but none before its own.
    pub fn get(&self, key: &str) -> Option<&[u8]> {
        self.pairs().find(|(found, _)| found.eq_ignore_ascii_case(key.as_bytes())).map(|(_, value)| value)
    }

    /// [`Message::get`], as a text.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.get(key).and_then(|value| std::str::from_utf8(value).ok())
    }

    /// Everything that there is of it.
    pub fn bytes(&self) -> &[u8] {
        &self.text
    }
}

fn lines(mut text: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let at = memmem::find(text, LINE_END)?;
        let (line, rest) = text.split_at(at);
        text = &rest[LINE_END.len()..];
        Some(line)
    })
}

/// Splits a stream into messages. A line ends with CR LF: a line feed alone belongs to the value that holds it.
#[derive(Debug, Default)]
pub struct Splitter {
    /// The line that has not ended yet.
    line: Vec<u8>,
    message: Vec<u8>,
    /// The line is too long, and its end is waited for.
    passing_line: bool,
    /// The message is too long, and its end is waited for.
    passing_message: bool,
    dropped: u64,
}

impl Splitter {
    /// Takes in what was read, and delivers each message that is complete.
    pub fn push(&mut self, mut bytes: &[u8], sink: &mut dyn FnMut(Message)) {
        while let Some(feed) = memchr::memchr(b'\n', bytes) {
            let (piece, rest) = bytes.split_at(feed + 1);
            bytes = rest;
            self.extend(piece);
            // A line that is passed over still ends where a line ends.
            if self.line.ends_with(LINE_END) {
                self.line_ends(sink);
            }
        }
        self.extend(bytes);
    }

    /// What was dropped for its length, lines and messages.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    fn extend(&mut self, piece: &[u8]) {
        self.line.extend_from_slice(piece);
        if self.line.len() > MAX_LINE {
            self.passing_line = true;
            // The last byte may be the first half of a line's end.
            self.line.drain(..self.line.len() - LINE_END.len());
        }
    }

    fn line_ends(&mut self, sink: &mut dyn FnMut(Message)) {
        let is_empty = self.line.len() == LINE_END.len() && !self.passing_line;
        if self.passing_line {
            self.dropped += 1;
        } else if is_empty {
            let message = Message { text: std::mem::take(&mut self.message) };
            if std::mem::take(&mut self.passing_message) {
                self.dropped += 1;
            } else if !message.text.is_empty() {
                sink(message);
            }
        } else if !self.passing_message {
            if self.message.len() + self.line.len() > MAX_MESSAGE {
                self.passing_message = true;
                self.message = Vec::new();
            } else {
                self.message.extend_from_slice(&self.line);
            }
        }
        self.passing_line = false;
        self.line.clear();
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(crate) fn split(bytes: &[u8]) -> Vec<Message> {
        let mut splitter = Splitter::default();
        let mut messages = Vec::new();
        splitter.push(bytes, &mut |message| messages.push(message));
        messages
    }

    const ACTIONS: &[u8] = include_bytes!("../../../../tests/data/pbx/asterisk22/ami-actions.raw");

    #[test]
    fn half_messages_at_every_byte_are_the_same_messages() {
        let whole = split(ACTIONS);
        assert!(whole.len() > 80);
        for cut in 0..4096 {
            let mut splitter = Splitter::default();
            let mut messages = Vec::new();
            for piece in [&ACTIONS[..cut], &ACTIONS[cut..]] {
                splitter.push(piece, &mut |message| messages.push(message));
            }
            assert!(messages == whole, "cut at {cut}");
        }
        let mut splitter = Splitter::default();
        let mut messages = Vec::new();
        ACTIONS.chunks(1).for_each(|byte| splitter.push(byte, &mut |message| messages.push(message)));
        assert!(messages == whole);
        assert_eq!(splitter.dropped(), 0);
    }

    #[test]
    fn the_first_line_of_a_key_counts() {
        let message = split(b"Event: Cdr\r\nSource: 1\r\nuniqueid: a: b\r\nSource: 2\r\nno key\r\n\r\n").remove(0);
        assert_eq!(message.get("source"), Some(&b"1"[..]));
        assert_eq!(message.get("UniqueID"), Some(&b"a: b"[..]));
        assert_eq!(message.get("no key"), None);
        assert_eq!(format!("{message:?}"), "Message");
    }

    #[test]
    fn a_line_without_end_takes_no_memory_and_costs_nobody_else() {
        let mut splitter = Splitter::default();
        let mut messages = Vec::new();
        splitter.push(b"Event: A\r\nLong: ", &mut |message| messages.push(message));
        for _ in 0..1000 {
            splitter.push(&[b'x'; 1000], &mut |message| messages.push(message));
            splitter.push(b"\n\r", &mut |message| messages.push(message));
            assert!(splitter.line.capacity() < 4 * MAX_LINE);
        }
        splitter.push(b"\r\nKey: value\r\n\r\n", &mut |message| messages.push(message));
        assert_eq!(splitter.dropped(), 1);
        assert_eq!(messages.len(), 1);
        assert_eq!(messages[0].get("Key"), Some(&b"value"[..]));
        assert_eq!(messages[0].get("Long"), None);
    }

    #[test]
    fn a_message_without_end_takes_no_memory_and_costs_nobody_else() {
        let mut splitter = Splitter::default();
        let mut messages = Vec::new();
        for _ in 0..100_000 {
            splitter.push(b"Key: value\r\n", &mut |message| messages.push(message));
            assert!(splitter.message.capacity() <= 2 * MAX_MESSAGE);
        }
        splitter.push(b"\r\nEvent: A\r\n\r\n", &mut |message| messages.push(message));
        assert_eq!((splitter.dropped(), messages.len()), (1, 1));
        assert_eq!(messages[0].get("Event"), Some(&b"A"[..]));
    }

    proptest! {
        #[test]
        fn any_bytes_in_any_pieces(bytes in proptest::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), Just(b':'), any::<u8>()], 0..400),
                                   cuts in proptest::collection::vec(0_usize..400, 0..6)) {
            let whole = split(&bytes);
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let mut splitter = Splitter::default();
            let mut messages = Vec::new();
            for pair in cuts.windows(2) {
                splitter.push(&bytes[pair[0]..pair[1]], &mut |message| messages.push(message));
            }
            prop_assert!(messages == whole);
        }
    }
}
