//! Rows that a real Asterisk wrote by an administrator's mapping, and the ways in which such files go wrong.

use std::{fs, path::PathBuf};

use expect_test::{Expect, expect};
use proptest::prelude::*;

use super::*;
use crate::pbx::RowReader;

/// The mapping by which the bundled files were written.
pub(crate) const TWENTY: [&str; 20] = [
    "clid",
    "src",
    "dst",
    "dcontext",
    "channel",
    "dstchannel",
    "lastapp",
    "lastdata",
    "start",
    "answer",
    "end",
    "duration",
    "billsec",
    "disposition",
    "amaflags",
    "accountcode",
    "uniqueid",
    "userfield",
    "linkedid",
    "sequence",
];

fn show(row: &Row<'_>) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match row {
        Row::Leg(leg) => format!(
            "{} {}->{} {} [{}] {}({}) {} {:?} {:?} {:?} {:?} {:?}",
            leg.start,
            text(&leg.src),
            text(&leg.dst),
            text(&leg.channel),
            text(&leg.dstchannel),
            text(&leg.lastapp),
            text(&leg.lastdata),
            leg.end - leg.start,
            leg.answer.map(|answer| answer - leg.start),
            leg.disposition,
            leg.uniqueid.map(text),
            leg.linkedid.map(text),
            leg.sequence,
        ),
        Row::Malformed { bytes, why } => format!("{why}: {}", text(bytes)),
        Row::Repeat | Row::Queue(_) => panic!("no such row in a file of this kind"),
    }
}

fn read_by(columns: &[&str], file: &[u8], cut: usize) -> Vec<String> {
    let mut reader = ColumnReader::new(Mapping::new(columns).unwrap(), Zone::utc());
    let mut rows = Vec::new();
    let taken = Format::read(&mut reader, &file[..cut], false, u64::MAX, &mut |row| rows.push(show(&row)));
    Format::read(&mut reader, &file[taken.bytes..], true, u64::MAX, &mut |row| rows.push(show(&row)));
    rows
}

fn data(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/data/pbx").join(name);
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The same records in the 21 columns of `cdr_csv`, as the reader of those understands them.
fn as_cdr_csv(file: &[u8]) -> Vec<String> {
    let mut records = csv::ReaderBuilder::new().has_headers(false).from_reader(file);
    let mut writer = csv::WriterBuilder::new().quote_style(csv::QuoteStyle::Always).from_writer(Vec::new());
    for record in records.byte_records() {
        let record = record.unwrap();
        let order = [15, 1, 2, 3, 0, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 16, 17, 99, 18, 19];
        writer.write_record(order.map(|place| record.get(place).unwrap_or_default())).unwrap();
    }
    let mut rows = Vec::new();
    let file = writer.into_inner().unwrap();
    RowReader::new(Zone::utc()).read(&file, true, u64::MAX, &mut |row| rows.push(show(&row)));
    rows
}

#[test]
fn real_files_say_what_cdr_csv_would_have_said() {
    for (name, count) in [("asterisk16/cdr_custom.csv", 499), ("asterisk22/cdr_custom.csv", 825)] {
        let file = data(name);
        let rows = read_by(&TWENTY, &file, 0);
        assert_eq!(rows.len(), count, "{name}");
        assert_eq!(rows, as_cdr_csv(&file), "{name}");
    }
}

const LINE: &str =
    "1795309040.123456,\"10\"\"01\",PJSIP/1001-00000000,PJSIP/provider1-00000001,8,34,30,\"two\nlines, one\"";
const EIGHT: [&str; 8] = ["start", "src", "channel", "dstchannel", "disposition", "duration", "billsec", "-"];

#[test]
fn columns_may_be_bare_times_seconds_and_dispositions_numbers() {
    let mut expected =
        r#"1795309040 10"01-> PJSIP/1001-00000000 [PJSIP/provider1-00000001] () 34 Some(4) Answered None None None"#;
    assert_eq!(read_by(&EIGHT, format!("{LINE}\r\n").as_bytes(), 0), [expected]);
    let columns = ["calldate", "answer", "end", "disposition", "channel"];
    let line = "\"2026-11-22 00:57:20\",0.000000,1795309042,\"16\",PJSIP/1001-00000000\n";
    expected = "1795309040 -> PJSIP/1001-00000000 [] () 2 None Congestion None None None";
    assert_eq!(read_by(&columns, line.as_bytes(), 0), [expected]);
    for (number, word) in [("0", "NoAnswer"), ("2", "Failed"), ("4", "Busy")] {
        let line = line.replace("\"16\"", number);
        assert!(read_by(&columns, line.as_bytes(), 0)[0].contains(word));
    }
}

#[test]
fn reading_is_in_step_again_at_the_next_line_that_fits() {
    let good = LINE.replace("1001", "1002");
    let shown = read_by(&EIGHT, good.as_bytes(), 0);
    for (broken, why) in [
        ("1795309040,\"10\n", "quoting"),
        ("1795309040,\"1001\"x,a,b,8,1,1,\n", "quoting"),
        ("1795309040,\"1001\",PJSIP/1001-00000000\n", "columns"),
        ("1795309040,1001,a/b,c,ANSWERED,1,x,\n", "number"),
        ("yesterday,1001,a/b,c,ANSWERED,1,1,\n", "time"),
        ("1795309040,1001,a/b,c,MAYBE,1,1,\n", "disposition"),
    ] {
        let rows = read_by(&EIGHT, format!("{broken}{good}\n{good}").as_bytes(), 0);
        assert_eq!(rows.len(), 3, "{rows:?}");
        assert_eq!(rows[0], format!("{why}: {}", broken.trim_end()));
        assert_eq!(rows[1..], [shown[0].clone(), shown[0].clone()]);
    }
    assert_eq!(read_by(&EIGHT, b"1795309040,\"10", 0), ["torn: 1795309040,\"10"]);
    let rows =
        read_by(&EIGHT, &[b"1795309040,\"", &vec![b'x'; 2 * MAX_RECORD][..], b"\n", good.as_bytes()].concat(), 0);
    assert!(rows[0].starts_with("too-long: ") && rows.last() == shown.first(), "{}", rows.len());
}

#[test]
fn a_mapping_that_makes_no_sense_is_refused_in_words() {
    let wrong = |columns: &[&str], expected: Expect| expected.assert_eq(&Mapping::new(columns).unwrap_err());
    wrong(&["start", "end", "disposition"], expect![[r#"a column is missing: "channel""#]]);
    wrong(&["end", "disposition", "channel"], expect![[r#"a column is missing: "start" (or "calldate")"#]]);
    wrong(&["start", "disposition", "channel"], expect![[r#"a column is missing: "duration" or "end""#]]);
    wrong(&["start", "end", "channel"], expect![[r#"a column is missing: "disposition""#]]);
    wrong(&["start", "-", "-", "start"], expect![[r#"the column "start" stands there twice"#]]);
    wrong(
        &["start", "recordingfile"],
        expect![[r#""recordingfile" is no column that CDR() has; write "-" for a column to pass over"#]],
    );
    wrong(
        &["start", "calldate", "end", "disposition", "channel"],
        expect![[r#""start" and "calldate" are the same: keep one of them"#]],
    );
    wrong(&[], expect!["allowed are 1 to 64 columns"]);
    wrong(&["-"; 65], expect!["allowed are 1 to 64 columns"]);
}

proptest! {
    #[test]
    fn a_file_in_two_pieces_holds_the_same_rows(cut in 0..400_usize, garbage in "[\",\na1]{0,30}") {
        let file = format!("{LINE}\n{garbage}\n{LINE}\n{garbage}{LINE}\n{LINE}\n");
        let cut = cut.min(file.len());
        prop_assert_eq!(read_by(&EIGHT, file.as_bytes(), cut), read_by(&EIGHT, file.as_bytes(), 0));
    }
}
