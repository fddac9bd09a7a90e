//! Finds the end of a record and of each of its columns, 64 bytes at a time.

use super::blocks::{Everywhere, Lanes, Masks};

/// The longest record that is waited for. Asterisk drops records of more than about a kilobyte itself.
pub const MAX_RECORD: usize = 64 * 1024;

/// The most columns that any layout has.
pub const MAX_COLUMNS: usize = 21;

/// Where the columns of a record end.
#[derive(Clone, Debug, Default)]
pub struct Columns {
    /// One more than the widest layout, so that a wider record shows.
    ends: [u32; MAX_COLUMNS + 1],
    count: usize,
    /// Bit i is set where column i is not plain: it holds quotes other than the two around it, or something behind them.
    odd: u32,
}

impl Columns {
    /// How many columns the record has; more than [`MAX_COLUMNS`] where it has too many.
    pub fn count(&self) -> usize {
        self.count
    }

    /// The columns of the record that was scanned: of these bytes, from their first one on.
    pub fn of<'a>(&'a self, record: &'a [u8]) -> Fields<'a> {
        Fields { buffer: record, start: 0, end: record.len(), ends: &self.ends[..self.count], odd: self.odd }
    }

    fn push(&mut self, end: usize) {
        if self.count <= MAX_COLUMNS {
            // Records are shorter than MAX_RECORD.
            self.ends[self.count] = end as u32;
            self.count += 1;
        }
    }
}

/// A record with its columns.
#[derive(Clone, Copy)]
pub struct Fields<'a> {
    /// What holds the record.
    buffer: &'a [u8],
    /// Where it begins and ends.
    start: usize,
    end: usize,
    /// Where its columns end, counted from the buffer's start; the last one ends where the record does.
    ends: &'a [u32],
    /// Bit i is set where column i is not plain, as in [`Columns`].
    odd: u32,
}

/// The caller's name, the fifth column: the one that often is not plain, and that nobody reads.
const CALLER_NAME: u32 = 1 << 4;

/// The text of a column of a plain record.
#[derive(Clone, Copy)]
pub struct Column<'a> {
    fields: &'a Fields<'a>,
    column: usize,
}

impl<'a> Column<'a> {
    /// The text as it stands in the record.
    #[inline(always)]
    pub fn text(self) -> &'a [u8] {
        let raw = self.fields.raw(self.column);
        // In a plain column, where there is one quote there are two.
        if let [b'"', inner @ .., _] = raw { inner } else { raw }
    }
}

impl AsRef<[u8]> for Column<'_> {
    #[inline(always)]
    fn as_ref(&self) -> &[u8] {
        self.text()
    }
}

impl<'a> Fields<'a> {
    /// The record from `start` to `end`, whose columns end at those places in the buffer.
    #[inline(always)]
    pub(super) fn new(buffer: &'a [u8], start: usize, end: usize, ends: &'a [u32]) -> Self {
        Self { buffer, start, end, ends, odd: 0 }
    }

    /// Takes down that the columns that have these places of the buffer, which are in order, are not plain.
    #[inline(always)]
    pub(super) fn note_odd(&mut self, places: &[u32]) {
        let (Some(first), Some(last)) = (places.first(), places.last()) else { return };
        // Nearly always they belong to the caller's name, which is the fifth column.
        match self.ends {
            [_, _, _, before, end, ..] if before < first && last < end => self.odd = CALLER_NAME,
            _ => self.note_odd_anywhere(places),
        }
    }

    #[cold]
    fn note_odd_anywhere(&mut self, places: &[u32]) {
        for place in places {
            let column = self.ends.partition_point(|end| end < place);
            self.odd |= 1_u32.checked_shl(column as u32).unwrap_or(0);
        }
    }

    /// The record's bytes without its line end.
    pub fn record(&self) -> &'a [u8] {
        &self.buffer[self.start..self.end]
    }

    /// How many columns the record has; more than [`MAX_COLUMNS`] where it has too many.
    #[inline(always)]
    pub fn count(&self) -> usize {
        self.ends.len()
    }

    /// A column exactly as it stands in the record, with its quotes.
    ///
    /// # Panics
    /// Where `column` is not below [`Fields::count`].
    #[inline(always)]
    pub fn raw(&self, column: usize) -> &'a [u8] {
        let (start, end) = self.ends_of(column);
        &self.buffer[start..end]
    }

    #[inline(always)]
    fn ends_of(&self, column: usize) -> (usize, usize) {
        let start = if column == 0 { self.start } else { self.ends[column - 1] as usize + 1 };
        (start, self.ends[column] as usize)
    }

    /// The number in a column of one to eight digits and nothing else; none where it is written in another way.
    #[inline(always)]
    pub fn short_number(&self, column: usize) -> Option<u32> {
        let (start, end) = self.ends_of(column);
        let last = self.buffer.get(end.checked_sub(8)?..end)?.first_chunk::<8>()?;
        let blank = 64_u32.wrapping_sub(8 * (end - start) as u32);
        if blank < 64 { eight_digits(u64::from_le_bytes(*last), blank) } else { None }
    }

    /// Whether every column's text stands in the record as it is, between two quotes or without any, but for the caller's name.
    #[inline(always)]
    pub fn is_plain(&self) -> bool {
        self.odd & !CALLER_NAME == 0
    }

    #[cfg(test)]
    pub(super) fn is_odd(&self, column: usize) -> bool {
        self.odd & 1 << column != 0
    }

    /// The text of a column, where the record is plain.
    #[inline(always)]
    pub fn column(&'a self, column: usize) -> Column<'a> {
        Column { fields: self, column }
    }
}

/// The number that eight bytes, the first of them the lowest of the word, are the digits of; the lowest `blank` bits count as
/// zeros.
#[inline(always)]
pub(crate) fn eight_digits(text: u64, blank: u32) -> Option<u32> {
    const ZEROS: u64 = 0x3030_3030_3030_3030;
    // Makes the highest bit of a byte appear where there is more than a nine.
    const TOO_MUCH: u64 = 0x7676_7676_7676_7676;
    let digits = (text ^ ZEROS) >> blank << blank;
    if (digits.wrapping_add(TOO_MUCH) | digits) & 0x8080_8080_8080_8080 != 0 {
        return None;
    }
    // Pairs in every other byte, then all four of them weighed at once.
    let pairs = (digits * 10).wrapping_add(digits >> 8);
    let left = (pairs & 0x0000_00ff_0000_00ff).wrapping_mul(100 + (1_000_000 << 32));
    let right = (pairs >> 16 & 0x0000_00ff_0000_00ff).wrapping_mul(1 + (10_000 << 32));
    Some((left.wrapping_add(right) >> 32) as u32)
}

/// What was found at the start of a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// The record's length without its line end.
    pub length: usize,
    /// Its length with the line end.
    pub consumed: usize,
    /// Whether a line feed stands inside quotes.
    pub folded: bool,
}

/// Finds the first record: it ends at the first line feed outside quotes, or at the buffer's end where `whole` says
/// that nothing follows. Absent where it does not end within the buffer or within [`MAX_RECORD`].
pub fn scan(buffer: &[u8], whole: bool, columns: &mut Columns) -> Option<Record> {
    columns.count = 0;
    columns.odd = 0;
    let limit = buffer.len().min(MAX_RECORD);
    let whole = whole && limit == buffer.len();
    let buffer = &buffer[..limit];
    let mut inside = 0_u64;
    let mut folded = 0_u64;
    let mut base = 0;
    // What the last bytes of the block before were; a column starts where the record does.
    let (mut after_quote, mut at_start, mut after_start, mut after_close) = (0, 1, 0, 0);
    while base < limit {
        let Masks { quotes, commas, line_feeds } = masks(buffer, base);
        let quoted = Everywhere::parity(quotes) ^ inside;
        let ends = line_feeds & !quoted;
        // Everything up to and including the first line feed outside quotes, or everything.
        let before = ends ^ ends.wrapping_sub(1);
        folded |= line_feeds & quoted & before;
        let mut separators = commas & !quoted & before;

        // A quote in its place opens a column, at its start, or closes it. Any other is doubled, or out of place.
        let starts = (separators << 1) | at_start;
        let doubled = quotes & ((quotes << 1) | after_quote) & !((starts << 1) | after_start);
        let strays = quotes & quoted & !starts;
        // Behind the closing quote nothing but a separator may stand.
        let closing = quotes & !quoted;
        let behind = ((closing << 1) | after_close) & !(separators | ends | quotes);
        let mut odd = (doubled | strays | behind) & before;
        (after_quote, at_start, after_start) = (quotes >> 63, separators >> 63, starts >> 63);
        after_close = closing >> 63;
        while odd != 0 {
            let column = columns.count + (separators & (odd ^ odd.wrapping_sub(1))).count_ones() as usize;
            columns.odd |= 1_u32.checked_shl(column as u32).unwrap_or(0);
            odd &= odd - 1;
        }

        while separators != 0 {
            columns.push(base + separators.trailing_zeros() as usize);
            separators &= separators - 1;
        }
        if ends != 0 {
            let end = base + ends.trailing_zeros() as usize;
            return Some(finish(buffer, end, end + 1, folded, columns));
        }
        inside = ((quoted as i64) >> 63) as u64;
        base += 64;
    }
    (whole && inside == 0 && limit > 0).then(|| finish(buffer, limit, limit, folded, columns))
}

fn finish(buffer: &[u8], end: usize, consumed: usize, folded: u64, columns: &mut Columns) -> Record {
    let length = if end > 0 && buffer[end - 1] == b'\r' { end - 1 } else { end };
    columns.push(length);
    Record { length, consumed, folded: folded != 0 }
}

#[inline]
fn masks(buffer: &[u8], base: usize) -> Masks {
    if let Some(block) = buffer[base..].first_chunk() {
        Everywhere::masks(block)
    } else {
        let mut block = [0; 64];
        let rest = &buffer[base..];
        block[..rest.len()].copy_from_slice(rest);
        Everywhere::masks(&block)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn columns_of(text: &[u8], whole: bool) -> Option<(Record, Vec<Vec<u8>>)> {
        let mut columns = Columns::default();
        let record = scan(text, whole, &mut columns)?;
        let fields = columns.of(&text[..record.length]);
        let raw = (0..fields.count()).map(|i| fields.raw(i).to_vec()).collect();
        Some((record, raw))
    }

    #[test]
    fn line_feeds_and_commas_inside_quotes_end_nothing() {
        let (record, columns) = columns_of(b"\"a,\nb\",12,,\"\"\"c\"\"\"\r\nnext", false).unwrap();
        assert_eq!(record, Record { length: 18, consumed: 20, folded: true });
        assert_eq!(columns, [&b"\"a,\nb\""[..], b"12", b"", b"\"\"\"c\"\"\""]);
    }

    #[test]
    fn a_record_without_end_is_none() {
        assert_eq!(columns_of(b"\"a\",\"b\"", false), None);
        assert_eq!(columns_of(b"\"a\",\"b\n", true), None);
        assert_eq!(columns_of(b"", true), None);
        assert_eq!(columns_of(b"\"a\",\"b\"", true).unwrap().1.len(), 2);
    }

    #[test]
    fn too_many_columns_show() {
        assert_eq!(columns_of(&[b','; 400], true).unwrap().1.len(), MAX_COLUMNS + 1);
    }

    #[test]
    fn a_quote_that_never_closes_is_not_read_for_ever() {
        let mut text = vec![b'x'; 3 * MAX_RECORD];
        text[0] = b'"';
        text.extend(b"\"\n");
        assert_eq!(columns_of(&text, true), None);
    }

    /// The same rule, one byte after the other.
    fn plainly(text: &[u8]) -> Option<(usize, Vec<usize>)> {
        let (mut quoted, mut ends) = (false, Vec::new());
        for (at, &byte) in text.iter().enumerate() {
            match byte {
                b'"' => quoted = !quoted,
                b',' if !quoted => ends.push(at),
                b'\n' if !quoted => {
                    ends.push(if at > 0 && text[at - 1] == b'\r' { at - 1 } else { at });
                    return Some((at + 1, ends));
                }
                _ => {}
            }
        }
        None
    }

    proptest! {
        #[test]
        fn a_short_number_is_its_digits(before in "[0-9,]{0,9}", text in "[0-9/:a ]{0,2}[0-9]{0,8}") {
            let record = [before.as_bytes(), text.as_bytes()].concat();
            let ends: Vec<u32> = (0..record.len()).filter(|&at| at < before.len() && record[at] == b',')
                .chain([record.len()]).map(|end| end as u32).collect();
            let fields = Fields { buffer: &record, start: 0, end: record.len(), ends: &ends, odd: 0 };
            let column = std::str::from_utf8(fields.raw(ends.len() - 1)).unwrap();
            let found = fields.short_number(ends.len() - 1);
            let is_short = (1..=8).contains(&column.len()) && column.bytes().all(|byte| byte.is_ascii_digit());
            // At the buffer's start there are no eight bytes to be looked at.
            prop_assert!(!is_short || found.is_some() || record.len() < 8);
            prop_assert_eq!(found.or(column.parse().ok().filter(|_| is_short)), column.parse().ok().filter(|_| is_short));
        }

        #[test]
        fn agrees_with_the_plain_rule(text in proptest::collection::vec(
            prop_oneof![6 => Just(b'x'), 2 => Just(b'"'), 1 => Just(b','), 1 => Just(b'\n'), 1 => Just(b'\r')], 0..400)) {
            let mut columns = Columns::default();
            let found = scan(&text, false, &mut columns)
                .map(|record| (record.consumed, columns.ends[..columns.count].iter().map(|&end| end as usize).collect()));
            let expected = plainly(&text).map(|(end, mut ends)| { ends.truncate(MAX_COLUMNS + 1); (end, ends) });
            prop_assert_eq!(found, expected);
            let mut columns = Columns::default();
            if let Some(record) = scan(&text, false, &mut columns) {
                let fields = columns.of(&text[..record.length]);
                for column in 0..fields.count() {
                    let raw = fields.raw(column);
                    let quotes: Vec<usize> = (0..raw.len()).filter(|&at| raw[at] == b'"').collect();
                    // A carriage return before the line end makes the last one look odd.
                    let plain = quotes.is_empty() || quotes == [0, raw.len() - 1];
                    let exact = column + 1 < fields.count() || text[record.length] != b'\r';
                    prop_assert!(fields.is_odd(column) != plain || !exact, "{:?}", raw);
                    if !fields.is_odd(column) {
                        let unquoted = crate::pbx::asterisk_csv::unquote(raw);
                        prop_assert_eq!(unquoted.as_deref(), Ok(fields.column(column).text()));
                    }
                }
            }
        }

        #[test]
        fn agrees_with_the_csv_crate(records in proptest::collection::vec(proptest::collection::vec(
            prop_oneof!["[a-z0-9,\"\n\r \u{e4}]{0,90}".prop_map(Some), Just(None)], 2..22), 1..5)) {
            // Asterisk's rules of writing: strings quoted with quotes doubled, numbers bare, line feed at the end.
            let mut file = Vec::new();
            for record in &records {
                for (index, field) in record.iter().enumerate() {
                    if index > 0 { file.push(b',') }
                    match field {
                        Some(text) => file.extend(format!("\"{}\"", text.replace('"', "\"\"")).bytes()),
                        None => file.extend(b"12"),
                    }
                }
                file.push(b'\n');
            }
            let mut reference = csv::ReaderBuilder::new().has_headers(false).flexible(true)
                .terminator(csv::Terminator::Any(b'\n')).from_reader(&file[..]);
            let mut rest = &file[..];
            for expected in reference.byte_records() {
                let expected = expected.unwrap();
                let (record, columns) = columns_of(rest, false).unwrap();
                let plain: Vec<Vec<u8>> = columns.iter()
                    .map(|raw| crate::pbx::asterisk_csv::unquote(raw).unwrap().into_owned()).collect();
                prop_assert_eq!(plain, expected.iter().map(<[u8]>::to_vec).collect::<Vec<_>>());
                rest = &rest[record.consumed..];
            }
            prop_assert!(rest.is_empty());
        }
    }
}
