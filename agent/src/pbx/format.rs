//! What the bytes of a followed file mean: one implementation a format.

use super::{
    leg::Row,
    reader::{Memory, RowReader, Taken},
};

/// Turns the bytes of a file into rows, and keeps nothing of the file itself but what the next row needs.
pub trait Format: Send {
    /// Delivers at most `limit` rows from the start of the buffer. What is left then is the beginning of a row, or nothing;
    /// where `whole` says that nothing follows, it is delivered too. A buffer of
    /// [`MAX_RECORD`](super::scanner::MAX_RECORD) bytes always yields something.
    fn read(&mut self, buffer: &[u8], whole: bool, limit: u64, sink: &mut dyn FnMut(Row<'_>)) -> Taken;

    /// What the next row needs to know of the rows before it.
    fn memory(&self) -> Memory;

    /// Goes on with that memory.
    fn remember(&mut self, memory: Memory);

    /// What looks wrong with the rows, in words.
    fn trouble(&self) -> Option<String>;

    /// When the PBX makes such a file, in a sentence.
    fn written_when(&self) -> &'static str;
}

impl Format for RowReader {
    fn read(&mut self, buffer: &[u8], whole: bool, limit: u64, sink: &mut dyn FnMut(Row<'_>)) -> Taken {
        self.read(buffer, whole, limit, sink)
    }

    fn memory(&self) -> Memory {
        self.memory()
    }

    fn remember(&mut self, memory: Memory) {
        self.remember(memory);
    }

    fn trouble(&self) -> Option<String> {
        self.trouble()
    }

    fn written_when(&self) -> &'static str {
        "Asterisk makes it with the first call when cdr.conf has a [csv] section; on FreePBX the call records are in the \
         database instead"
    }
}
