//! Reads a stretch of a file, so that several threads can read one file at once.
//!
//! Only who has read all of a file before a place knows for certain that a row begins there: a row that was torn turns
//! the meaning of all quotes around. So each stretch begins at a [foothold], and tells where it ended and whether
//! it relied on something that it could only suppose. Whoever puts stretches together checks that they meet.
//!
//! [foothold]: StretchReader::foothold

use std::{fs::File, io, os::unix::fs::FileExt};

use super::{
    leg::Sink,
    position::Position,
    reader::{Memory, RowReader, Taken},
    scanner::MAX_RECORD,
    zone::Zone,
    zone_check::ZoneCheck,
};

/// How much is read at a time: far more than a record, and little enough to stay in the processor's cache.
const BUFFER: usize = 256 * 1024;
/// So much is read beyond the end of the stretch, for the row across it; more where that is not enough.
const BEYOND: usize = 4096;
/// How far to look for a foothold: first a little, since the next row nearly always is one, then further.
const FOOTHOLD: [usize; 2] = [4 * 1024, 64 * 1024];
const _: () = assert!(BUFFER > 2 * MAX_RECORD);

/// Where in a file a row begins, and what the row needs to know of those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Bytes from the file's beginning.
    pub offset: u64,
    /// None where that is not known.
    memory: Option<Memory>,
}

/// How a stretch was read.
#[derive(Clone, Debug)]
pub struct Stretch {
    /// Where it began.
    pub from: Place,
    /// Where it ended: there the next one begins.
    pub to: Place,
    /// Whether the file ended.
    pub ended: bool,
    /// Whether all rows were read as if those before were known.
    certain: bool,
    /// What it says about the zone.
    pub check: ZoneCheck,
}

impl Place {
    /// A place in the middle of a file of which nothing but the offset is known.
    pub fn unknown(offset: u64) -> Self {
        Self { offset, memory: None }
    }

    /// How far a file was read.
    pub fn of(position: &Position) -> Self {
        let Position { offset, last_end, twice, .. } = *position;
        Self { offset, memory: Some(Memory { last_end, twice }) }
    }

    /// Puts it into a position.
    pub fn note(&self, position: &mut Position) {
        let memory = self.memory.unwrap_or_default();
        (position.offset, position.last_end, position.twice) = (self.offset, memory.last_end, memory.twice);
    }
}

impl Stretch {
    /// Whether it is what reading on from there would have brought.
    pub fn follows(&self, place: &Place) -> bool {
        self.from == *place || self.certain && self.from.offset == place.offset
    }
}

/// Reads stretches of one file, one after the other.
pub struct StretchReader<'a> {
    file: &'a File,
    /// What was appended later is not read.
    length: u64,
    reader: RowReader,
    buffer: Vec<u8>,
}

impl<'a> StretchReader<'a> {
    /// Reads that much of a file, its times in that zone.
    pub fn new(file: &'a File, length: u64, zone: Zone) -> Self {
        Self { file, length, reader: RowReader::new(zone), buffer: vec![0; BUFFER] }
    }

    /// The first place behind an offset that is sure to be the beginning of a row. Where none is near, the offset itself:
    /// then it will come out that the stretch before ends elsewhere.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn foothold(&mut self, offset: u64) -> io::Result<u64> {
        for far in FOOTHOLD {
            let wanted = self.length.saturating_sub(offset).min(far as u64) as usize;
            let read = self.fill(0, wanted, offset)?;
            if let Some(found) = self.reader.foothold(&self.buffer[..read]) {
                return Ok(offset + found as u64);
            }
        }
        Ok(offset)
    }

    /// Delivers the rows that begin from a place on and before `until`. At the file's end a last row without a line feed
    /// is delivered as well; where it is torn, as malformed.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn read(&mut self, from: Place, until: u64, sink: &mut impl Sink) -> io::Result<Stretch> {
        match from.memory {
            Some(memory) => self.reader.remember(memory),
            None => self.reader.suppose(),
        }
        let (mut offset, mut filled, mut beyond, mut ended) = (from.offset, 0, BEYOND, false);
        while offset < until && !ended {
            let wanted = (until - offset).saturating_add(beyond as u64).min(self.length.saturating_sub(offset));
            let wanted = usize::try_from(wanted).unwrap_or(BUFFER).min(BUFFER);
            if filled < wanted {
                let read = self.fill(filled, wanted, offset + filled as u64)?;
                // Cut short meanwhile, or read to its end.
                ended = read < wanted || offset + read as u64 == self.length;
                filled = read;
            } else {
                ended = offset + filled as u64 >= self.length;
            }
            let here = usize::try_from(until - offset).unwrap_or(filled).min(filled);
            let Taken { bytes, .. } = self.reader.read_until(&self.buffer[..filled], here, ended, u64::MAX, sink);
            self.buffer.copy_within(bytes..filled, 0);
            filled -= bytes;
            offset += bytes as u64;
            beyond = if bytes == 0 { BUFFER } else { BEYOND };
        }
        Ok(Stretch {
            from,
            to: Place { offset, memory: Some(self.reader.memory()) },
            ended: ended && filled == 0,
            certain: self.reader.relied_on_nothing(),
            check: self.reader.take_check(),
        })
    }

    /// Reads up to `wanted` bytes into the buffer, of which `filled` are there already; says how many are there then.
    fn fill(&mut self, filled: usize, wanted: usize, offset: u64) -> io::Result<usize> {
        let mut filled = filled;
        let mut offset = offset;
        while filled < wanted {
            match self.file.read_at(&mut self.buffer[filled..wanted], offset) {
                Ok(0) => break,
                Ok(read) => {
                    filled += read;
                    offset += read as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }
}

#[cfg(test)]
mod tests;
