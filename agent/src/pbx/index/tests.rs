//! The index finds what the scanner finds.

use proptest::prelude::*;

use super::{
    super::{
        asterisk_csv::unquote,
        column::Column,
        scanner::{Columns, scan},
    },
    *,
};

/// Records up to the first that is folded or does not end: their bytes, where each column ends, and which are plain.
type Records = Vec<(Vec<u8>, Vec<Vec<u8>>, Vec<bool>)>;

/// No layout has more columns, and the scanner counts no more than one beyond.
const SHOWN: usize = 22;

fn by_scanner(mut text: &[u8]) -> Records {
    let mut records = Vec::new();
    let mut columns = Columns::default();
    while let Some(record) = scan(text, false, &mut columns).filter(|record| !record.folded)
        && !matches!(text[0], b'\n' | b'\r' | 0)
    {
        let bytes = &text[..record.length];
        let fields = columns.of(bytes);
        let raw: Vec<Vec<u8>> = (0..fields.count().min(SHOWN)).map(|column| fields.raw(column).to_vec()).collect();
        let plain = raw.iter().map(|raw| {
            let quotes: Vec<usize> = (0..raw.len()).filter(|&at| raw[at] == b'"').collect();
            quotes.is_empty() || quotes == [0, raw.len() - 1]
        });
        records.push((bytes.to_vec(), raw.clone(), plain.collect()));
        text = &text[record.consumed..];
    }
    records
}

fn by_index(text: &[u8], fill: impl Fn(&mut Index, &[u8])) -> Records {
    let mut index = Index::default();
    fill(&mut index, text);
    let mut records = Vec::new();
    let mut after = 0;
    while let Some(found) = index.next(text) {
        assert!(found.next > after && found.start >= after);
        after = found.next;
        let ends: Vec<usize> = found.ends.iter().map(|&end| end.into()).collect();
        let starts = std::iter::once(found.start).chain(ends.iter().map(|end| end + 1));
        let columns: Vec<_> = starts.zip(ends.iter().copied()).take(SHOWN).collect();
        for (number, &(start, end)) in columns.iter().enumerate().skip(1) {
            if found.odd_between(start, end) == 0 {
                let column = Column { buffer: text, ends: found.ends, number };
                assert_eq!(unquote(column.raw()).as_deref(), Ok(column.text()), "a plain text stands there as it is");
            }
        }
        records.push((
            text[found.start..*ends.last().unwrap()].to_vec(),
            columns.iter().map(|&(start, end)| text[start..end].to_vec()).collect(),
            columns.iter().map(|&(start, end)| found.odd_between(start, end) == 0).collect(),
        ));
    }
    records
}

proptest! {
    #[test]
    fn agrees_with_the_scanner(text in prop::collection::vec(
        prop_oneof![30 => Just(b'x'), 4 => Just(b'"'), 6 => Just(b','), 2 => Just(b'\n'), 1 => Just(b'\r')], 0..3000)) {
        let expected = by_scanner(&text);
        let found = by_index(&text, |index, text| index.fill(text, WINDOW));
        prop_assert_eq!(&found, &by_index(&text, |index, text| index.fill_with::<Everywhere>(text)));
        #[cfg(target_arch = "x86_64")]
        if Wide::is_here() {
            // SAFETY: the processor has the instructions.
            prop_assert_eq!(&found, &by_index(&text, |index, text| unsafe { index.fill_wide(text) }));
        }
        // What the index leaves out is looked at for itself: it may end early, by a block or where columns are too many.
        prop_assert!(found.len() <= expected.len());
        for (found, expected) in found.iter().zip(&expected) {
            if found.1.len() < SHOWN {
                prop_assert_eq!(found, expected);
            } else {
                prop_assert_eq!(&found.0, &expected.0);
            }
        }
        let length: usize = found.iter().map(|record| record.0.len() + 1).sum();
        let clean = text.len() - length < 200 || found.len() == expected.len() || text[length..].contains(&b'"')
            || matches!(text[length], b'\n' | b'\r');
        prop_assert!(clean, "{} of {}", found.len(), expected.len());
    }
}

#[test]
fn whole_windows_of_plain_records_are_found() {
    let line = b"\"\",\"1\",\"\"\"A, b\"\" <1>\",2\n";
    let text = line.repeat(WINDOW / line.len());
    let found = by_index(&text, |index, text| index.fill(text, WINDOW));
    assert!(found.len() >= WINDOW / line.len() - 4, "{}", found.len());
    assert!(found.iter().all(|record| record.2 == [true, true, false, true]));
    // Nothing but separators, or odd quotes.
    assert_eq!(by_index(&[b','; WINDOW], |index, text| index.fill(text, WINDOW)).len(), 0);
    assert_eq!(by_index(&[b'"'; WINDOW], |index, text| index.fill(text, WINDOW)).len(), 0);
}
