//! Columns of a record whose quotes are in order: the file's own writer doubled those inside a quoted column.

use std::borrow::Cow;

use memchr::{memchr, memchr2};

use super::{leg::MalformedReason, scanner::MAX_RECORD};

/// The most columns that a mapping may have.
pub const MAX_COLUMNS: usize = 64;

/// Where the columns of a record lie.
#[derive(Clone, Debug)]
pub struct Fields {
    fields: [Field; MAX_COLUMNS],
    count: usize,
}

#[derive(Clone, Copy, Debug, Default)]
struct Field {
    start: u32,
    end: u32,
    /// Whether quotes inside are doubled.
    doubled: bool,
}

/// What was found at the start of a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    /// A record: its length without its line end, and with it.
    Record {
        /// Without.
        length: usize,
        /// With.
        consumed: usize,
    },
    /// A quote stands where none may stand.
    Broken,
    /// It does not end within the buffer.
    Unfinished,
}

impl Default for Fields {
    fn default() -> Self {
        Self { fields: [Field::default(); MAX_COLUMNS], count: 0 }
    }
}

impl Fields {
    /// How many columns the record has; one more than [`MAX_COLUMNS`] where it has too many.
    pub fn count(&self) -> usize {
        self.count
    }

    /// A column's text, quotes taken off.
    ///
    /// # Panics
    /// Where `column` is not below [`Fields::count`], or `record` is not the record that was split.
    pub fn text<'a>(&self, record: &'a [u8], column: usize) -> Cow<'a, [u8]> {
        let Field { start, end, doubled } = self.fields[column];
        let raw = &record[start as usize..end as usize];
        if !doubled {
            return Cow::Borrowed(raw);
        }
        let mut text = Vec::with_capacity(raw.len());
        let mut rest = raw;
        while let Some(at) = memchr(b'"', rest) {
            text.extend_from_slice(&rest[..=at]);
            rest = &rest[at + 2..];
        }
        text.extend_from_slice(rest);
        Cow::Owned(text)
    }

    /// A column's text where no quote is in it, as in every id, number and time.
    ///
    /// # Errors
    /// When there is one.
    pub fn plain<'a>(&self, record: &'a [u8], column: usize) -> Result<&'a [u8], MalformedReason> {
        match self.text(record, column) {
            Cow::Borrowed(text) => Ok(text),
            Cow::Owned(_) => Err(MalformedReason::Quoting),
        }
    }

    fn push(&mut self, start: usize, end: usize, doubled: bool) {
        if let Some(field) = self.fields.get_mut(self.count) {
            // Records are shorter than MAX_RECORD.
            *field = Field { start: start as u32, end: end as u32, doubled };
        }
        self.count = (self.count + 1).min(MAX_COLUMNS + 1);
    }
}

/// Takes the first record apart. It ends at the first line feed outside quotes, or at the buffer's end where `whole` says
/// that nothing follows; never later than [`MAX_RECORD`].
pub fn split(buffer: &[u8], whole: bool, fields: &mut Fields) -> Split {
    fields.count = 0;
    let whole = whole && buffer.len() <= MAX_RECORD;
    let buffer = &buffer[..buffer.len().min(MAX_RECORD)];
    let mut at = 0;
    loop {
        let quoted = buffer.get(at) == Some(&b'"');
        let (start, end, doubled) = if quoted {
            match closing_quote(buffer, at + 1) {
                Some((end, doubled)) => (at + 1, end, doubled),
                None => return Split::Unfinished,
            }
        } else {
            (at, memchr2(b',', b'\n', &buffer[at..]).map_or(buffer.len(), |found| at + found), false)
        };
        let next = end + usize::from(quoted);
        match &buffer[next..] {
            [b',', ..] => {
                fields.push(start, end, doubled);
                at = next + 1;
            }
            [b'\n', ..] => return finish(buffer, (start, end, doubled), next, next + 1, fields),
            [b'\r', b'\n', ..] => return finish(buffer, (start, end, doubled), next, next + 2, fields),
            [] if whole && next > 0 => return finish(buffer, (start, end, doubled), next, next, fields),
            [b'\r'] if whole => return finish(buffer, (start, end, doubled), next, next + 1, fields),
            [] | [b'\r'] => return Split::Unfinished,
            _ => return Split::Broken,
        }
    }
}

fn finish(
    buffer: &[u8],
    (start, end, doubled): (usize, usize, bool),
    length: usize,
    consumed: usize,
    fields: &mut Fields,
) -> Split {
    // A bare last column ends before the carriage return, too.
    let bare = length == end && end > start && buffer[end - 1] == b'\r';
    let cut = usize::from(bare);
    fields.push(start, end - cut, doubled);
    Split::Record { length: length - cut, consumed }
}

/// Where a quoted column ends that begins there, and whether quotes inside it are doubled.
fn closing_quote(buffer: &[u8], mut at: usize) -> Option<(usize, bool)> {
    let mut doubled = false;
    loop {
        let quote = at + memchr(b'"', &buffer[at..])?;
        if buffer.get(quote + 1) != Some(&b'"') {
            return Some((quote, doubled));
        }
        doubled = true;
        at = quote + 2;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn texts(buffer: &[u8], whole: bool) -> Option<Vec<Vec<u8>>> {
        let mut fields = Fields::default();
        let Split::Record { length, .. } = split(buffer, whole, &mut fields) else { return None };
        Some((0..fields.count()).map(|column| fields.text(&buffer[..length], column).into_owned()).collect())
    }

    #[test]
    fn columns_are_quoted_or_bare() {
        let texts_of = |line: &str| texts(line.as_bytes(), false).unwrap();
        assert_eq!(texts_of("\"a, \n\"\"b\"\"\",12,,\"\"\nnext"), [&b"a, \n\"b\""[..], b"12", b"", b""]);
        assert_eq!(texts_of("a\r\n"), [b"a"]);
        assert_eq!(texts_of("\"a\"\r\n"), [b"a"]);
        assert_eq!(texts_of("a,\n"), [&b"a"[..], b""]);
        assert_eq!(texts(b"\"a\",b", true).unwrap(), [b"a", b"b"]);
    }

    #[test]
    fn what_is_not_finished_waits_and_what_is_broken_does_not() {
        let mut fields = Fields::default();
        for text in ["\"a\",\"b", "\"a\"", "a,b", "a\r", ""] {
            assert_eq!(split(text.as_bytes(), false, &mut fields), Split::Unfinished, "{text}");
        }
        for text in ["\"a\"b,c\n", "\"a\",\"torn\n\"a\",\"b\"\n"] {
            assert_eq!(split(text.as_bytes(), false, &mut fields), Split::Broken, "{text}");
        }
        assert_eq!(split(b"\"a", true, &mut fields), Split::Unfinished);
    }

    #[test]
    fn no_record_is_longer_than_the_longest() {
        let long = vec![b'a'; MAX_RECORD + 10];
        assert_eq!(split(&long, true, &mut Fields::default()), Split::Unfinished);
    }

    proptest! {
        #[test]
        fn agrees_with_the_csv_crate(columns in prop::collection::vec("[a\",\n ]{0,6}", 2..9)) {
            let mut writer = csv::WriterBuilder::new().quote_style(csv::QuoteStyle::Always).from_writer(Vec::new());
            writer.write_record(&columns).unwrap();
            let line = writer.into_inner().unwrap();
            let expected: Vec<Vec<u8>> = columns.iter().map(|text| text.as_bytes().to_vec()).collect();
            prop_assert_eq!(texts(&line, false), Some(expected));
        }
    }
}
