//! The columns of many records at once: what `scan` finds one record at a time, for records without line feeds inside.

use super::blocks::{Everywhere, Lanes, Masks, Places, WINDOW};
#[cfg(target_arch = "x86_64")]
use super::blocks::{Wide, Widest};

const BLOCK: usize = 64;

/// Which bytes of a window are odd: quotes that neither open nor close a column, and what stands between the closing one and
/// the column's end. For each block, how many there are before it, and a bit for each of its own.
pub(super) type Odd = [(u32, u64); WINDOW / BLOCK];

/// Where the records and columns at the start of a buffer end.
#[derive(Clone, Debug)]
pub(super) struct Index {
    /// The places of commas and line feeds outside quotes.
    separators: Box<Places>,
    odd: Box<Odd>,
    /// How many separators there are up to each record's line feed, that one included.
    records: Vec<u16>,
    /// How many records there are.
    filled: usize,
    /// The record to be given next, and how many separators there are before it.
    next: usize,
    before: usize,
    /// Where it begins.
    start: usize,
}

impl Default for Index {
    fn default() -> Self {
        Self {
            separators: Box::new([0; _]),
            odd: Box::new([(0, 0); _]),
            records: vec![0; WINDOW + 1],
            filled: 0,
            next: 0,
            before: 0,
            start: 0,
        }
    }
}

impl Index {
    /// Looks at the start of a buffer, at most `window` bytes of it, up to the first line feed inside quotes.
    pub(super) fn fill(&mut self, buffer: &[u8], window: usize) {
        let buffer = &buffer[..buffer.len().min(window).min(WINDOW)];
        #[cfg(target_arch = "x86_64")]
        if Widest::is_here() {
            // SAFETY: the processor has the instructions.
            return unsafe { self.fill_widest(buffer) };
        } else if Wide::is_here() {
            // SAFETY: as above.
            return unsafe { self.fill_wide(buffer) };
        }
        self.fill_with::<Everywhere>(buffer);
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,bmi1,bmi2,pclmulqdq,popcnt,avx512f,avx512bw,avx512vbmi2")]
    fn fill_widest(&mut self, buffer: &[u8]) {
        self.fill_with::<Widest>(buffer);
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,bmi1,bmi2,pclmulqdq,popcnt")]
    fn fill_wide(&mut self, buffer: &[u8]) {
        self.fill_with::<Wide>(buffer);
    }

    #[inline(always)]
    fn fill_with<L: Lanes>(&mut self, buffer: &[u8]) {
        (self.next, self.before, self.start) = (0, 0, 0);
        let (mut record_count, mut separator_count, mut odd_count) = (0, 0, 0);
        let mut inside = 0_u64;
        // What the last bytes of the block before were; a column starts where the buffer does.
        let (mut after_quote, mut at_start, mut after_start, mut after_close) = (0, 1, 0, 0);
        for (number, block) in buffer.as_chunks::<BLOCK>().0.iter().enumerate() {
            let base = (number * BLOCK) as u16;
            let Masks { quotes, commas, line_feeds } = L::masks(block);
            let quoted = L::parity(quotes) ^ inside;
            if line_feeds & quoted != 0 {
                break;
            }
            let separators = (commas & !quoted) | line_feeds;
            // A quote in its place opens a column, at its start, or closes it. Any other is doubled, or out of place.
            let starts = (separators << 1) | at_start;
            let doubled = quotes & ((quotes << 1) | after_quote) & !((starts << 1) | after_start);
            let strays = quotes & quoted & !starts;
            (after_quote, at_start, after_start) = (quotes >> 63, separators >> 63, starts >> 63);
            let closing = quotes & !quoted;
            let behind = ((closing << 1) | after_close) & !(separators | quotes);
            after_close = closing >> 63;
            inside = ((quoted as i64) >> 63) as u64;

            let odd = doubled | strays | behind;
            self.odd[number] = (odd_count, odd);
            odd_count += odd.count_ones();
            let ends = L::put(separators, base, &mut self.separators, separator_count);
            let mut rest = line_feeds;
            loop {
                // Written in any case, so that nothing is guessed wrong; few blocks have more than one.
                let up_to = rest ^ rest.wrapping_sub(1);
                self.records[record_count] = (separator_count + (separators & up_to).count_ones() as usize) as u16;
                record_count += usize::from(rest != 0);
                rest &= rest.wrapping_sub(1);
                if rest == 0 {
                    break;
                }
            }
            separator_count = ends;
        }
        self.filled = record_count;
    }

    /// The next record, as [`super::scanner::scan`] would find it. None where the index ends, and none before what is no plain
    /// record: a line that does not begin with a column.
    #[inline(always)]
    pub(super) fn next<'a>(&'a mut self, buffer: &'a [u8]) -> Option<Found<'a>> {
        if self.next == self.filled {
            return None;
        }
        let (start, before, past) = (self.start, self.before, usize::from(self.records[self.next]));
        if matches!(buffer[start], b'\n' | b'\r' | 0) {
            return None;
        }
        let ends = &mut self.separators[before..past];
        let last = ends.last_mut()?;
        let line_feed = *last as usize;
        // The last column ends before a carriage return, too.
        let end = line_feed - usize::from(line_feed > start && buffer[line_feed - 1] == b'\r');
        *last = end as u16;
        (self.next, self.before, self.start) = (self.next + 1, past, line_feed + 1);
        Some(Found { buffer, start, next: line_feed + 1, ends, odd: &self.odd })
    }
}

/// A record that the index has found. All places are counted from the buffer's start.
#[derive(Clone, Copy)]
pub(super) struct Found<'a> {
    /// What holds the record.
    pub(super) buffer: &'a [u8],
    /// Where it begins.
    pub(super) start: usize,
    /// Where the next one begins.
    pub(super) next: usize,
    /// Where its columns end.
    pub(super) ends: &'a [u16],
    /// Which bytes of the window are odd.
    pub(super) odd: &'a Odd,
}

impl Found<'_> {
    /// How many odd bytes there are from one place up to another.
    #[inline(always)]
    pub(super) fn odd_between(&self, from: usize, to: usize) -> u32 {
        let up_to = |at: usize| {
            let (before, bits) = self.odd[at / BLOCK % self.odd.len()];
            before + (bits & !(u64::MAX << (at % BLOCK))).count_ones()
        };
        up_to(to) - up_to(from)
    }
}

#[cfg(test)]
mod tests;
