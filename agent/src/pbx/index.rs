//! The columns of many records at once: what `scan` finds one record at a time, for records without line feeds inside.

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
    /// For each record, how many separators there are up to its line feed, that one included.
    records: Vec<u32>,
    /// The places of quotes that neither open nor close a column.
    odd: Vec<u32>,
    /// How many of each of the three are valid.
    filled: [usize; 3],
    /// The record to be given next, its first separator and its first odd quote.
    next: [usize; 3],
    /// Where it begins.
    start: usize,
}

impl Default for Index {
    fn default() -> Self {
        // Each block writes a few values more than it has.
        let room = vec![0; WINDOW + BLOCK];
        Self { separators: room.clone(), records: room.clone(), odd: room, filled: [0; 3], next: [0; 3], start: 0 }
    }
}

/// Writes the places of a mask's bits behind what is there already. `AT_ONCE` of them are written without looking,
/// which most masks have no more of: nothing is guessed wrong then.
#[inline(always)]
fn put<const AT_ONCE: usize>(places: &mut [u32], filled: &mut usize, mut mask: u64, of: impl Fn(u64) -> u32) {
    let mut at = *filled;
    *filled += mask.count_ones() as usize;
    loop {
        let Some(slots) = places.get_mut(at..).and_then(<[u32]>::first_chunk_mut::<AT_ONCE>) else { return };
        for slot in slots {
            *slot = of(mask);
            mask &= mask.wrapping_sub(1);
        }
        if mask == 0 {
            return;
        }
        at += AT_ONCE;
    }
}

impl Index {
    /// Looks at the start of a buffer, at most `window` bytes of it, up to the first line feed inside quotes.
    pub(super) fn fill(&mut self, buffer: &[u8], window: usize) {
        let buffer = &buffer[..buffer.len().min(window).min(WINDOW)];
        #[cfg(target_arch = "x86_64")]
        if super::blocks::Wide::is_here() {
            // SAFETY: the processor has the instructions.
            return unsafe { self.fill_wide(buffer) };
        }
        self.fill_with::<Everywhere>(buffer);
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,bmi1,bmi2,pclmulqdq,popcnt")]
    fn fill_wide(&mut self, buffer: &[u8]) {
        self.fill_with::<super::blocks::Wide>(buffer);
    }

    #[inline(always)]
    fn fill_with<L: Lanes>(&mut self, buffer: &[u8]) {
        (self.next, self.start) = ([0; 3], 0);
        let [mut separator_count, mut record_count, mut odd_count] = [0; 3];
        let mut inside = 0_u64;
        // What the last bytes of the block before were; a column starts where the buffer does.
        let (mut after_quote, mut at_start, mut after_start) = (0, 1, 0);
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
            inside = ((quoted as i64) >> 63) as u64;

            let before = separator_count as u32;
            put::<1>(&mut self.records, &mut record_count, line_feeds, |mask| {
                before + (separators & (mask ^ mask.wrapping_sub(1))).count_ones()
            });
            put::<8>(&mut self.separators, &mut separator_count, separators, |mask| base + mask.trailing_zeros());
            put::<2>(&mut self.odd, &mut odd_count, doubled | strays, |mask| base + mask.trailing_zeros());
        }
        self.filled = [separator_count, record_count, odd_count];
    }

    /// The next record, as [`super::scanner::scan`] would find it, and where the one behind it begins. None where the
    /// index ends, and none before what is no plain record: a line that does not begin with a column.
    #[inline]
    pub(super) fn next<'a>(&'a mut self, buffer: &'a [u8]) -> Option<(Fields<'a>, usize)> {
        let [record, separator, odd] = self.next;
        if record == self.filled[1] {
            return None;
        }
        let (start, past) = (self.start, self.records[record] as usize);
        if matches!(buffer[start], b'\n' | b'\r' | 0) {
            return None;
        }
        let ends = &self.separators[separator..past];
        let line_feed = ends[ends.len() - 1] as usize;
        let mut fields = Fields::new(buffer, start, line_feed, ends);
        let mut past_odd = odd;
        while past_odd < self.filled[2] && (self.odd[past_odd] as usize) < line_feed {
            fields.note_odd_quote(self.odd[past_odd]);
            past_odd += 1;
        }
        self.next = [record + 1, past, past_odd];
        self.start = line_feed + 1;
        Some((fields, line_feed + 1))
    }
}

#[cfg(test)]
mod tests;
