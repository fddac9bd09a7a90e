//! A file that was rotated away, and into which rows may still come: a program that keeps its file open goes on writing
//! to it until it is told to open the new one.

use std::io;

use super::{
    super::{format::Format, leg::Row, reader::Taken},
    open::OpenFile,
};

/// A file that was rotated away.
pub(super) struct Older {
    pub(super) file: OpenFile,
    /// Its size when nothing more could be read.
    seen: Option<u64>,
}

/// What looking into it brought.
pub(super) struct Look {
    pub(super) taken: Taken,
    /// Whether it is worth another look later.
    pub(super) keep: bool,
    /// Whether it holds more rows than were asked for.
    pub(super) more: bool,
}

impl Older {
    pub(super) fn new(file: OpenFile) -> Self {
        Self { file, seen: None }
    }

    /// Delivers at most `limit` rows that came late.
    pub(super) fn read(
        &mut self,
        reader: &mut dyn Format,
        buffer: &mut [u8],
        limit: u64,
        sink: &mut dyn FnMut(Row<'_>),
    ) -> io::Result<Look> {
        let mut look = Look { taken: Taken::default(), keep: true, more: false };
        let now = self.file.now()?;
        if now.size < self.file.offset {
            look.keep = false;
            return Ok(look);
        }
        if self.seen == Some(now.size) {
            // A deleted file would keep its space on the disk.
            look.keep = !now.deleted;
            return Ok(look);
        }
        loop {
            let read = self.file.read(buffer)?;
            if !self.file.unchanged()? {
                look.keep = false;
                return Ok(look);
            }
            let taken = reader.read(&buffer[..read], false, limit - look.taken.rows, sink);
            self.file.consume(&buffer[..taken.bytes]);
            look.taken.rows += taken.rows;
            look.taken.bytes += taken.bytes;
            if look.taken.rows >= limit {
                look.more = true;
                return Ok(look);
            }
            if taken.bytes == 0 {
                self.seen = Some(self.file.offset + read as u64);
                return Ok(look);
            }
        }
    }

    /// Closes it. A row that it holds the beginning of will never be finished.
    pub(super) fn close(
        self,
        reader: &mut dyn Format,
        buffer: &mut [u8],
        sink: &mut dyn FnMut(Row<'_>),
    ) -> io::Result<Taken> {
        let read = self.file.read(buffer)?;
        if read == buffer.len() || !self.file.unchanged()? {
            return Ok(Taken::default());
        }
        Ok(reader.read(&buffer[..read], true, u64::MAX, sink))
    }
}
