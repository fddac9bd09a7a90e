//! Reads a file from one end to the other in bounded memory: for the import of old records.

use std::io::{self, Read};

use super::{
    leg::Row,
    position::{PREFIX, Position, fingerprint},
    reader::{RowReader, Taken},
    scanner::MAX_RECORD,
    zone::Zone,
};

/// How much is read at a time: far more than a record, and little enough to stay in the processor's cache.
const BUFFER: usize = 512 * 1024;
const _: () = assert!(BUFFER > 2 * MAX_RECORD);

/// Reads a whole file, a step at a time.
pub struct Whole<R> {
    input: R,
    reader: RowReader,
    buffer: Vec<u8>,
    filled: usize,
    ended: bool,
    consumed: u64,
    head: Vec<u8>,
}

/// What a step brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Rows delivered, malformed and repeated ones too.
    pub rows: u64,
    /// Whether the file has ended.
    pub ended: bool,
}

impl<R: Read> Whole<R> {
    /// Reads `input`, its times in that zone.
    pub fn new(input: R, zone: Zone) -> Self {
        Self {
            input,
            reader: RowReader::new(zone),
            buffer: vec![0; BUFFER],
            filled: 0,
            ended: false,
            consumed: 0,
            head: Vec::new(),
        }
    }

    /// Goes on in a file that was read before: `input` stands at the position's offset already, and `head` holds the
    /// file's first bytes.
    pub fn resume(input: R, zone: Zone, position: &Position, mut head: Vec<u8>) -> Self {
        let mut whole = Self::new(input, zone);
        whole.reader.remember((position.last_end, position.twice));
        whole.consumed = position.offset;
        head.truncate(PREFIX.min(usize::try_from(position.offset).unwrap_or(PREFIX)));
        whole.head = head;
        whole
    }

    /// How far the file was read, from which [`Whole::resume`] goes on. Which file it is, the caller knows.
    pub fn position(&self) -> Position {
        let (prefix_len, prefix_hash) = self.fingerprint();
        let (last_end, twice) = self.reader.memory();
        Position { offset: self.consumed, prefix_len, prefix_hash, last_end, twice, ..Position::default() }
    }

    /// Delivers the rows of the next half megabyte. The caller may commit them before it asks for more.
    ///
    /// At the file's end a last row without a line feed is delivered as well; where it is torn, as malformed.
    pub fn step(&mut self, sink: &mut dyn FnMut(Row<'_>)) -> io::Result<Step> {
        while !self.ended && self.filled < self.buffer.len() {
            match self.input.read(&mut self.buffer[self.filled..]) {
                Ok(0) => self.ended = true,
                Ok(read) => self.filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        let Taken { bytes: taken, rows } = self.reader.read(&self.buffer[..self.filled], self.ended, u64::MAX, sink);
        let missing = PREFIX.saturating_sub(self.head.len());
        self.head.extend_from_slice(&self.buffer[..taken.min(missing)]);
        self.buffer.copy_within(taken..self.filled, 0);
        self.filled -= taken;
        self.consumed += taken as u64;
        Ok(Step { rows, ended: self.ended })
    }

    /// How many bytes were consumed by the rows so far.
    pub fn consumed(&self) -> u64 {
        self.consumed
    }

    /// The length and the hash of the file's first bytes, as a [`Position`](super::Position) holds them.
    pub fn fingerprint(&self) -> (u32, [u8; 32]) {
        (self.head.len() as u32, fingerprint(&self.head))
    }

    /// What looks wrong with the zone, in words.
    pub fn trouble(&self) -> Option<String> {
        self.reader.trouble()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives a few bytes at a time, as a pipe would.
    struct Drips<'a>(&'a [u8]);

    impl Read for Drips<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let count = self.0.len().min(buffer.len()).min(1000);
            buffer[..count].copy_from_slice(&self.0[..count]);
            self.0 = &self.0[count..];
            Ok(count)
        }
    }

    #[test]
    fn a_file_larger_than_the_buffer_is_read_to_its_end() {
        let line = b"\"\",\"1\",\"2\",\"c\",\"\",\"A/b-00000001\",\"\",\"Dial\",\"\",\"2026-11-22 01:00:41\",,\"2026-11-22 01:00:42\",1,0,\"BUSY\",\"DOCUMENTATION\"\n";
        let count = 2 * BUFFER / line.len();
        let mut file = line.repeat(count);
        file.extend(&line[..line.len() - 1]);
        let mut whole = Whole::new(Drips(&file), Zone::utc());
        let mut legs = 0;
        let mut steps = 0;
        loop {
            steps += 1;
            if whole.step(&mut |row| legs += usize::from(matches!(row, Row::Leg(_)))).unwrap().ended {
                break;
            }
        }
        assert_eq!((legs, whole.consumed()), (count + 1, file.len() as u64));
        assert!(steps >= 3);
        assert_eq!(whole.fingerprint(), (PREFIX as u32, fingerprint(&file[..PREFIX])));
    }
}
