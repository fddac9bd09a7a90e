//! Rows as Asterisk writes nearly all of them, read by the places of their columns. What is written in any other way is left
//! to `asterisk_csv`, which makes the same of these, in more time.

use super::{
    asterisk_csv::{MASTER, QUOTED_MASTER, Written},
    column::Column,
    index::Found,
    leg::Disposition,
    scanner::MAX_COLUMNS,
    uniqueid,
    wall::DateCache,
};

/// Reads a row of any layout. None where it is written in an unusual way, may come twice, or is no row.
#[inline(always)]
pub(super) fn read<'a>(found: Found<'a>, dates: &mut DateCache) -> Option<Written<'a, Column<'a>>> {
    let Found { buffer, start, ends, .. } = found;
    let (count, common, last) = (ends.len(), ends.first_chunk::<16>()?, *ends.last()?);
    let column = |number: usize| Column { buffer, ends, number };
    // The caller's name is the column that often is not plain, and that nobody reads.
    if found.odd_between(start, common[3].into()) + found.odd_between(common[4].into(), last.into()) != 0 {
        return None;
    }
    if count > MAX_COLUMNS || matches!(&buffer[start..usize::from(common[0])], QUOTED_MASTER | MASTER) {
        return None;
    }
    let start = time(column(9), dates)?;
    let end = time(column(11), dates)?;
    let answer = match column(10) {
        column if column.text().is_empty() => None,
        column => Some(time(column, dates)?),
    };
    let is_new = count >= 19;
    // Uniqueid and user field; see `asterisk_csv::read`.
    let uniqueid = match count - if is_new { 19 } else { 16 } {
        0 => None,
        1 => id(column(16)).filter(|id| uniqueid::is_one(id, start)),
        _ => id(column(16)),
    };
    Some(Written {
        is_master: false,
        src: column(1),
        dst: column(2),
        channel: column(5),
        dstchannel: column(6),
        lastapp: column(7),
        lastdata: column(8),
        start,
        answer,
        end,
        duration: column(12).short_number()?.into(),
        billed: column(13).short_number()?.into(),
        disposition: Disposition::parse(column(14).text())?,
        uniqueid,
        linkedid: if is_new { id(column(count - 2)) } else { None },
        sequence: if is_new { Some(column(count - 1).short_number()?.into()) } else { None },
    })
}

#[inline(always)]
fn time(column: Column<'_>, dates: &mut DateCache) -> Option<i64> {
    match column.raw().as_array::<21>()? {
        [b'"', time @ .., b'"'] => dates.parse_whole(time),
        _ => None,
    }
}

#[inline(always)]
fn id(column: Column<'_>) -> Option<&[u8]> {
    Some(column.text()).filter(|id| !id.is_empty())
}

#[cfg(test)]
mod tests {
    use std::{fs, path::PathBuf};

    use proptest::prelude::*;

    use super::{
        super::{
            asterisk_csv,
            blocks::WINDOW,
            index::Index,
            scanner::{Columns, scan},
        },
        *,
    };

    /// All that a row says.
    type Said = (Vec<Vec<u8>>, [i64; 4], Option<i64>, Disposition, [Option<Vec<u8>>; 2], Option<u64>);

    fn said<T: AsRef<[u8]>>(written: &Written<'_, T>) -> Said {
        let Written { src, dst, channel, dstchannel, lastapp, lastdata, start, end, duration, billed, .. } = written;
        assert!(!written.is_master);
        (
            [src, dst, channel, dstchannel, lastapp, lastdata].map(|text| text.as_ref().to_vec()).to_vec(),
            [*start, *end, *duration, *billed],
            written.answer,
            written.disposition,
            [written.uniqueid, written.linkedid].map(|id| id.map(<[u8]>::to_vec)),
            written.sequence,
        )
    }

    /// Holds what is read by places against what the columns say. How many rows were read so, and how many there are; those
    /// left out that the index does not find.
    fn read_usual(text: &[u8]) -> (usize, usize) {
        let (mut index, mut dates, mut columns) = (Index::default(), DateCache::default(), Columns::default());
        let (mut usual, mut all, mut at) = (0, 0, 0);
        while at < text.len() {
            let text = &text[at..];
            index.fill(text, WINDOW);
            // Behind what the index does not find, a line may begin another row.
            let mut behind = text.iter().position(|&byte| byte == b'\n').map_or(text.len(), |end| end + 1);
            while let Some(found) = index.next(text) {
                all += 1;
                behind = found.next;
                let Some(written) = read(found, &mut dates) else { continue };
                usual += 1;
                let record = scan(&text[found.start..], false, &mut columns).unwrap();
                assert!(!record.folded && found.start + record.consumed == found.next);
                let fields = columns.of(&text[found.start..][..record.length]);
                let expected =
                    asterisk_csv::read(&fields, &mut DateCache::default()).unwrap_or_else(|why| panic!("{why}"));
                assert_eq!(said(&written), said(&expected));
            }
            at += behind;
        }
        (usual, all)
    }

    #[test]
    fn nearly_all_rows_of_real_files_are_usual() {
        for (name, rows) in [
            ("asterisk16/Master.default16.csv", 200),
            ("asterisk16/Master.uniqueid18.csv", 250),
            ("asterisk22/Master.uniqueid18.csv", 400),
            ("asterisk22-options/Master.batch.csv", 100),
        ] {
            let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/data/pbx").join(name);
            let (usual, all) = read_usual(&fs::read(path).unwrap());
            assert!(all > rows && usual * 20 >= all * 19, "{name}: {usual} of {all}");
        }
    }

    /// A column as Asterisk writes it, or not quite.
    fn column(number: usize) -> impl Strategy<Value = String> {
        let usual: &[&str] = match number {
            4 => &["\"\"\"A, B\"\" <1>\"", "\"\"", "\"<1>\""],
            5 | 6 => &["\"PJSIP/201-0000002a\"", "\"\"", "\"Local/1@a-00000001;1\""],
            9 | 11 => &["\"2026-11-22 01:18:58\"", "\"2026-11-22 01:19:03\"", "\"2026-11-23 00:00:00\""],
            10 => &["\"2026-11-22 01:18:59\"", "", "\"\""],
            12 | 13 | 20 => &["5", "0", "12345678", "123456789", "-3"],
            14 => &["\"ANSWERED\"", "\"NO ANSWER\"", "\"BUSY\"", "\"FAILED\"", "\"CONGESTION\"", "\"CANCEL\""],
            16 => &["\"1795310338.18\"", "\"hq-1795310338.1\"", "\"12.50\"", "\"\""],
            19 => &["\"1795310338.18\"", "7"],
            _ => &["\"\"", "\"620\"", "\"Master\"", "x"],
        };
        let odd = [
            "",
            "\"",
            "\"\"",
            "\"a\"b",
            "a\"b",
            "\"a\"\"b\"",
            "Master",
            "\"Master\"",
            "7",
            "12 ",
            "\"2026-11-22T01:18:58\"",
            "2026-11-22 01:18:58",
            "\"answered\"",
            "\"1\"",
            "\"\u{e4}\"",
        ];
        prop_oneof![
            60 => prop::sample::select(usual.to_vec()),
            1 => prop::sample::select(odd.to_vec()),
        ]
        .prop_map(str::to_owned)
    }

    fn row() -> impl Strategy<Value = String> {
        let columns: Vec<_> = (0..22).map(column).collect();
        (columns, 15..=22_usize, any::<bool>()).prop_map(|(mut columns, width, carriage_return)| {
            if width < 21 {
                // The last three are the same in every layout that has them.
                let new = columns.split_off(18);
                columns.truncate(if width >= 19 { width - 3 } else { width });
                columns.extend(new.into_iter().take(if width >= 19 { 3 } else { 0 }));
            }
            columns.truncate(width);
            columns.join(",") + if carriage_return { "\r\n" } else { "\n" }
        })
    }

    proptest! {
        #[test]
        fn what_is_read_by_places_is_what_the_columns_say(rows in prop::collection::vec(row(), 1..40)) {
            read_usual(rows.concat().as_bytes());
        }
    }
}
