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
}

impl Columns {
    /// How many columns the record has; more than [`MAX_COLUMNS`] where it has too many.
    pub fn count(&self) -> usize {
        self.count
    }

    /// The columns of the record that was scanned: of these bytes, from their first one on.
    pub fn of<'a>(&'a self, record: &'a [u8]) -> Fields<'a> {
        Fields { record, ends: &self.ends[..self.count] }
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
    record: &'a [u8],
    /// Where its columns end; the last one ends where the record does.
    ends: &'a [u32],
}

impl<'a> Fields<'a> {
    /// The record's bytes without its line end.
    pub fn record(&self) -> &'a [u8] {
        self.record
    }

    /// How many columns the record has; more than [`MAX_COLUMNS`] where it has too many.
    pub fn count(&self) -> usize {
        self.ends.len()
    }

    /// A column exactly as it stands in the record, with its quotes.
    ///
    /// # Panics
    /// Where `column` is not below [`Fields::count`].
    pub fn raw(&self, column: usize) -> &'a [u8] {
        let start = if column == 0 { 0 } else { self.ends[column - 1] as usize + 1 };
        &self.record[start..self.ends[column] as usize]
    }
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
    let limit = buffer.len().min(MAX_RECORD);
    let whole = whole && limit == buffer.len();
    let buffer = &buffer[..limit];
    let mut inside = 0_u64;
    let mut folded = 0_u64;
    let mut base = 0;
    while base < limit {
        let Masks { quotes, commas, line_feeds } = masks(buffer, base);
        let quoted = Everywhere::parity(quotes) ^ inside;
        let ends = line_feeds & !quoted;
        // Everything up to and including the first line feed outside quotes, or everything.
        let before = ends ^ ends.wrapping_sub(1);
        folded |= line_feeds & quoted & before;
        let mut separators = commas & !quoted & before;
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
        fn agrees_with_the_plain_rule(text in proptest::collection::vec(
            prop_oneof![6 => Just(b'x'), 2 => Just(b'"'), 1 => Just(b','), 1 => Just(b'\n'), 1 => Just(b'\r')], 0..400)) {
            let mut columns = Columns::default();
            let found = scan(&text, false, &mut columns)
                .map(|record| (record.consumed, columns.ends[..columns.count].iter().map(|&end| end as usize).collect()));
            let expected = plainly(&text).map(|(end, mut ends)| { ends.truncate(MAX_COLUMNS + 1); (end, ends) });
            prop_assert_eq!(found, expected);
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
