//! Asterisk's `queue_log`: `epoch|callid|queue|agent|event|data…`, one line an event.

use std::fmt;

use memchr::memchr;

use super::{
    columns::read_rows,
    format::Format,
    leg::{MalformedReason, Row},
    reader::{Memory, Taken},
    scanner::MAX_RECORD,
};

/// A row of a queue log, borrowed from the buffer that it was read into. It is private by nature: `Debug` prints no values.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct QueueRow<'a> {
    /// When it happened: seconds since 1970 in UTC.
    pub at: i64,
    /// The caller's channel.
    pub call: &'a [u8],
    /// The queue.
    pub queue: &'a [u8],
    /// What happened.
    pub event: QueueEvent,
}

/// What happened in a queue, as far as figures are made of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueueEvent {
    /// A caller came in.
    Enter,
    /// An agent answered, after so many seconds.
    Connect {
        /// Seconds since the caller came in.
        hold: i64,
    },
    /// The caller left without an agent.
    Leave {
        /// How.
        exit: Exit,
        /// Seconds since the caller came in; not every version of Asterisk tells them.
        wait: Option<i64>,
    },
    /// The talk with an agent is over.
    Complete {
        /// Seconds from coming in to the agent's answer.
        hold: i64,
        /// Seconds from the agent's answer on.
        talk: i64,
        /// Whether the agent passed the caller on to somebody else.
        transferred: bool,
    },
    /// Something else: an agent logged in, a telephone was rung in vain.
    Other,
}

/// How a caller left a queue without an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Hung up.
    Abandon,
    /// Waited for as long as the queue lets anybody wait.
    Timeout,
    /// There were no agents.
    Empty,
    /// Pressed a key.
    Key,
}

impl fmt::Debug for QueueRow<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("QueueRow")
    }
}

/// Understands one line.
///
/// # Errors
/// When it is none of a queue log.
pub fn read(line: &[u8]) -> Result<QueueRow<'_>, MalformedReason> {
    let mut columns = line.split(|byte| *byte == b'|');
    let mut next = || columns.next().ok_or(MalformedReason::Columns);
    let (at, call, queue, _agent, word) = (next()?, next()?, next()?, next()?, next()?);
    let at = seconds(at).ok_or(MalformedReason::Time)?;
    let data: Vec<&[u8]> = columns.collect();
    let number = |place: usize| data.get(place).and_then(|text| seconds(text)).ok_or(MalformedReason::Number);
    // What stands before the times can hold anything, in a transfer even more columns.
    let last = |back: usize| data.len().checked_sub(back).ok_or(MalformedReason::Columns).and_then(number);
    let leave = |exit| Ok::<_, MalformedReason>(QueueEvent::Leave { exit, wait: Some(last(1)?) });
    let complete =
        |transferred| Ok::<_, MalformedReason>(QueueEvent::Complete { hold: last(3)?, talk: last(2)?, transferred });
    let event = match word {
        b"ENTERQUEUE" => QueueEvent::Enter,
        b"CONNECT" => QueueEvent::Connect { hold: number(0)? },
        b"ABANDON" => leave(Exit::Abandon)?,
        b"EXITWITHTIMEOUT" => leave(Exit::Timeout)?,
        b"EXITEMPTY" => leave(Exit::Empty)?,
        // Old versions tell the key and the place in the queue, and no time.
        b"EXITWITHKEY" if data.len() < 3 => QueueEvent::Leave { exit: Exit::Key, wait: None },
        b"EXITWITHKEY" => leave(Exit::Key)?,
        b"COMPLETEAGENT" | b"COMPLETECALLER" => {
            QueueEvent::Complete { hold: number(0)?, talk: number(1)?, transferred: false }
        }
        b"BLINDTRANSFER" | b"ATTENDEDTRANSFER" | b"TRANSFER" => complete(true)?,
        _ => QueueEvent::Other,
    };
    Ok(QueueRow { at, call, queue, event })
}

fn seconds(text: &[u8]) -> Option<i64> {
    // A clock that was set back makes waiting times negative.
    let (sign, digits) = match text {
        [b'-', digits @ ..] => (-1, digits),
        digits => (1, digits),
    };
    let good = (1..=11).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit);
    good.then(|| sign * digits.iter().fold(0_i64, |sum, digit| sum * 10 + i64::from(digit - b'0')))
}

/// Reads the lines of a queue log.
pub struct QueueLogReader;

impl Format for QueueLogReader {
    fn read(&mut self, buffer: &[u8], whole: bool, limit: u64, sink: &mut dyn FnMut(Row<'_>)) -> Taken {
        read_rows(buffer, limit, |rest| {
            let window = &rest[..rest.len().min(MAX_RECORD)];
            let (line, consumed) = match memchr(b'\n', window) {
                Some(at) => (&window[..at], at + 1),
                None if whole || window.len() == MAX_RECORD => (window, window.len()),
                None => return 0,
            };
            let line = line.trim_ascii_end();
            match read(line) {
                Ok(row) => sink(Row::Queue(row)),
                Err(why) => sink(Row::Malformed { bytes: line, why }),
            }
            consumed
        })
    }

    fn memory(&self) -> Memory {
        Memory::default()
    }

    fn remember(&mut self, _: Memory) {}

    fn trouble(&self) -> Option<String> {
        None
    }

    fn written_when(&self) -> &'static str {
        "Asterisk makes it with the first caller in a queue"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(line: &str) -> Result<QueueEvent, MalformedReason> {
        read(line.as_bytes()).map(|row| row.event)
    }

    #[test]
    fn lines_of_asterisk_are_read() {
        let row = read(b"1795309042|1795309042.32|601|NONE|ENTERQUEUE||447700900009|1").unwrap();
        let expected = QueueRow { at: 1_795_309_042, call: b"1795309042.32", queue: b"601", event: QueueEvent::Enter };
        assert_eq!(row, expected);
        assert_eq!(format!("{row:?}"), "QueueRow");
        let leave = |exit, wait| Ok(QueueEvent::Leave { exit, wait });
        for (line, expected) in [
            ("1795308953|NONE|NONE|NONE|QUEUESTART|", Ok(QueueEvent::Other)),
            ("1795309879|1795309877.5588|601|Carol, Jr|RINGNOANSWER|2000", Ok(QueueEvent::Other)),
            ("1795309168|1795309166.155|600|Bob|CONNECT|1|1795309167.189|0", Ok(QueueEvent::Connect { hold: 1 })),
            ("1795309170|1795309167.205|600|NONE|ABANDON|2|2|2", leave(Exit::Abandon, Some(2))),
            ("1795309884|1795309872.5580|600|NONE|EXITWITHTIMEOUT|1|1|12", leave(Exit::Timeout, Some(12))),
            ("1|2.3|600|NONE|EXITEMPTY|1|2|7", leave(Exit::Empty, Some(7))),
            ("1|2.3|600|NONE|EXITWITHKEY|0|1|2|33", leave(Exit::Key, Some(33))),
            ("1|2.3|600|NONE|EXITWITHKEY|0|1", leave(Exit::Key, None)),
            (
                "1795309230|1795309166.157|600|Bob|COMPLETECALLER|6|57|2",
                Ok(QueueEvent::Complete { hold: 6, talk: 57, transferred: false }),
            ),
            (
                "1|2.3|600|Bob|BLINDTRANSFER|1002|from-internal|4|61|1",
                Ok(QueueEvent::Complete { hold: 4, talk: 61, transferred: true }),
            ),
            (
                "1|2.3|600|Bob|ATTENDEDTRANSFER|LINK|PJSIP/1-00000001|PJSIP/2-00000002|4|61|1",
                Ok(QueueEvent::Complete { hold: 4, talk: 61, transferred: true }),
            ),
        ] {
            assert_eq!(event(line), expected, "{line}");
        }
    }

    #[test]
    fn other_lines_are_refused() {
        for (line, why) in [
            ("", MalformedReason::Columns),
            ("1795309042|1795309042.32|601|NONE", MalformedReason::Columns),
            ("2026-11-22 00:57:22|1795309042.32|601|NONE|ENTERQUEUE|", MalformedReason::Time),
            ("1795309042|1795309042.32|601|NONE|ABANDON|1|1|x", MalformedReason::Number),
            ("1795309042|1795309042.32|601|NONE|CONNECT", MalformedReason::Number),
            ("1795309042|1795309042.32|601|NONE|BLINDTRANSFER|1", MalformedReason::Columns),
        ] {
            assert_eq!(event(line), Err(why), "{line}");
        }
    }

    #[test]
    fn half_a_line_waits() {
        let text = b"1795309042|1795309042.32|601|NONE|ENTERQUEUE||447700900009|1\n1795309042|1795309042.32|6";
        let mut rows = 0;
        let taken = QueueLogReader.read(text, false, 10, &mut |_| rows += 1);
        assert_eq!((taken.bytes, taken.rows, rows), (61, 1, 1));
        let taken = QueueLogReader.read(text, true, 10, &mut |_| rows += 1);
        assert_eq!((taken.bytes, taken.rows), (text.len(), 2));
    }
}
