//! The columns of many records at once: what `scan` finds one record at a time, for records without line feeds inside.

#[cfg(target_arch = "x86_64")]
use super::blocks::{Wide, Widest};
use super::{
    blocks::{Everywhere, Lanes, Masks},
    scanner::Fields,
};

/// No more bytes than these are looked at in one go.
pub(super) const WINDOW: usize = 16 * 1024;
const BLOCK: usize = 64;

/// Where the records and columns at the start of a buffer end.
#[derive(Clone, Debug)]
pub(super) struct Index {
    /// The places of commas and line feeds outside quotes.
    separators: Vec<u32>,
    /// The places of quotes that neither open nor close a column, and of what stands between the closing one and the column's end.
    odd: Vec<u32>,
    /// Where each record ends in these two.
    records: Vec<Ends>,
    /// How many records there are.
    filled: usize,
    /// The record to be given next, and where the one before it ends in the lists.
    next: usize,
    before: Ends,
    /// Where it begins.
    start: usize,
}

/// How many separators and odd places there are up to a record's line feed, that one included.
#[derive(Clone, Copy, Debug, Default)]
struct Ends {
    separators: u32,
    odd: u32,
}

impl Default for Index {
    fn default() -> Self {
        // Each block writes a few values more than it has.
        let room = vec![0; WINDOW + BLOCK];
        let records = vec![Ends::default(); WINDOW + 1];
        Self { separators: room.clone(), odd: room, records, filled: 0, next: 0, before: Ends::default(), start: 0 }
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
        (self.next, self.before, self.start) = (0, Ends::default(), 0);
        let (mut record_count, mut separator_count, mut odd_count) = (0, 0, 0);
        let mut inside = 0_u64;
        // What the last bytes of the block before were; a column starts where the buffer does.
        let (mut after_quote, mut at_start, mut after_start, mut after_close) = (0, 1, 0, 0);
        for (number, block) in buffer.as_chunks::<BLOCK>().0.iter().enumerate() {
            let base = (number * BLOCK) as u32;
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
            L::put::<8>(separators, base, &mut self.separators, separator_count);
            L::put::<2>(odd, base, &mut self.odd, odd_count);
            let mut rest = line_feeds;
            loop {
                // Written in any case, so that nothing is guessed wrong; few blocks have more than one.
                let up_to = rest ^ rest.wrapping_sub(1);
                self.records[record_count] = Ends {
                    separators: separator_count as u32 + (separators & up_to).count_ones(),
                    odd: odd_count as u32 + (odd & up_to).count_ones(),
                };
                record_count += usize::from(rest != 0);
                rest &= rest.wrapping_sub(1);
                if rest == 0 {
                    break;
                }
            }
            separator_count += separators.count_ones() as usize;
            odd_count += odd.count_ones() as usize;
        }
        self.filled = record_count;
    }

    /// The next record, as [`super::scanner::scan`] would find it, and where the one behind it begins. None where the
    /// index ends, and none before what is no plain record: a line that does not begin with a column.
    #[inline(always)]
    pub(super) fn next<'a>(&'a mut self, buffer: &'a [u8]) -> Option<(Fields<'a>, usize)> {
        if self.next == self.filled {
            return None;
        }
        let (start, before, past) = (self.start, self.before, self.records[self.next]);
        if matches!(buffer[start], b'\n' | b'\r' | 0) {
            return None;
        }
        let ends = &mut self.separators[before.separators as usize..past.separators as usize];
        let last = ends.last_mut()?;
        let line_feed = *last as usize;
        // The last column ends before a carriage return, too.
        let end = line_feed - usize::from(line_feed > start && buffer[line_feed - 1] == b'\r');
        *last = end as u32;
        let mut fields = Fields::new(buffer, start, end, ends);
        fields.note_odd(&self.odd[before.odd as usize..past.odd as usize]);
        (self.next, self.before, self.start) = (self.next + 1, past, line_feed + 1);
        Some((fields, line_feed + 1))
    }
}

#[cfg(test)]
mod tests;
