//! Rows of real PBXs, every layout, and the ways in which files go wrong.

use std::{fmt::Write as _, fs, path::PathBuf};

use expect_test::expect;
use proptest::prelude::*;

use super::*;

/// What a row says, in a form that can be compared.
fn show(row: &Row<'_>) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match row {
        Row::Leg(leg) => {
            let mut out = format!(
                "{} {}->{} {} [{}] {}({}) {}",
                leg.start,
                text(&leg.src),
                text(&leg.dst),
                text(&leg.channel),
                text(&leg.dstchannel),
                text(&leg.lastapp),
                text(&leg.lastdata),
                leg.end - leg.start,
            );
            let _ = write!(out, " {:?} {:?}", leg.answer.map(|answer| answer - leg.start), leg.disposition);
            let _ = write!(out, " {:?} {:?} {:?}", leg.uniqueid.map(text), leg.linkedid.map(text), leg.sequence);
            out
        }
        Row::Repeat => "repeat".to_owned(),
        Row::Queue(_) => "a row of a queue log".to_owned(),
        Row::Malformed { bytes, why } => format!("{why}: {}", text(bytes)),
    }
}

/// Reads a file that comes in pieces of these sizes, the last of which goes on.
fn read_in(file: &[u8], sizes: &[usize]) -> Vec<String> {
    let mut reader = RowReader::new(Zone::utc());
    let mut rows = Vec::new();
    let mut at = 0;
    let mut seen = 0;
    let mut turn = 0;
    while seen < file.len() {
        seen = (seen + sizes[turn.min(sizes.len() - 1)]).min(file.len());
        turn += 1;
        at += reader.read(&file[at..seen], false, u64::MAX, &mut |row| rows.push(show(&row))).bytes;
    }
    reader.read(&file[at..], true, u64::MAX, &mut |row| rows.push(show(&row)));
    rows
}

fn read(file: &[u8]) -> Vec<String> {
    read_in(file, &[usize::MAX / 2])
}

fn data(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/data/pbx").join(name);
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

const SIXTEEN: &str = r#""","1003","8447700900103","from-internal","""User 1003"" <1003>","PJSIP/1003-00000012","PJSIP/provider2-00000014","Dial","PJSIP/447700900103@provider2,10","2026-11-22 01:18:58",,"2026-11-22 01:18:58",0,0,"FAILED","DOCUMENTATION""#;

#[test]
fn every_layout_is_told_by_its_row() {
    let mut file = String::new();
    for more in [
        "",
        r#","1795310338.18""#,
        r#","some user field""#,
        r#","12.50""#,
        r#","hq-pbx-01-1795310338.18","x""#,
        r#","peer","1795310338.18",20"#,
        r#","1795310338.18","peer","1795310338.17",20"#,
        r#","user","peer","1795310338.17",20"#,
        r#","1795310338.18","","","1795310338.17",20"#,
        r#","1795310338.18","","","1795310338.17",20,"too","many""#,
    ] {
        file += &format!("{SIXTEEN}{more}\n");
    }
    let shown: Vec<String> = read(file.as_bytes())
        .iter()
        .map(|row| {
            row.split_once("Failed ").map_or(row.split(':').next().unwrap_or_default(), |(_, ids)| ids).to_owned()
        })
        .collect();
    expect![[r#"
        None None None
        Some("1795310338.18") None None
        None None None
        None None None
        Some("hq-pbx-01-1795310338.18") None None
        None Some("1795310338.18") Some(20)
        Some("1795310338.18") Some("1795310338.17") Some(20)
        None Some("1795310338.17") Some(20)
        Some("1795310338.18") Some("1795310338.17") Some(20)
        columns"#]]
    .assert_eq(&shown.join("\n"));
}

#[test]
fn what_cannot_be_understood_says_why_and_only_why() {
    let cases = [
        ("short,row", "columns"),
        ("", ""),
        ("\"half", "quoting"),
        (&SIXTEEN.replace("2026-11-22 01:18:58\",,", "22.11.2026 01:18:58\",,"), "time"),
        (&SIXTEEN.replace(",0,0,", ",0,zero,"), "number"),
        (&SIXTEEN.replace("FAILED", "UNKNOWN"), "disposition"),
        (&SIXTEEN.replace("\"1003\",", "10\"\"03,"), "quoting"),
        (&format!("{SIXTEEN},\"\",\"\",\"\",\"1.1\",x"), "number"),
    ];
    for (line, why) in cases {
        let rows = read(format!("{line}\n{SIXTEEN}\n").as_bytes());
        let passed: Vec<&str> = rows[..rows.len() - 1].iter().map(|row| row.split(':').next().unwrap_or("")).collect();
        assert_eq!(passed.join(" "), why);
    }
}

#[test]
fn line_feeds_latin1_and_carriage_returns_pass() {
    let mut file = SIXTEEN.replace("1003-00000012", "10\n03-00000012").into_bytes();
    file.extend(b"\r\n\r\n");
    let latin1 = SIXTEEN.replace("8447700900103", "m#ller");
    file.extend(latin1.bytes().map(|byte| if byte == b'#' { 0xfc } else { byte }));
    file.extend(b"\n");
    let mut seen = Vec::new();
    RowReader::new(Zone::utc()).read(&file, false, u64::MAX, &mut |row| match row {
        Row::Leg(leg) => seen.push((leg.channel.to_vec(), leg.dst.to_vec())),
        _ => panic!("{row:?}"),
    });
    assert_eq!(seen[0].0, b"PJSIP/10\n03-00000012");
    assert_eq!(seen[1].1, b"m\xfcller");
}

#[test]
fn a_half_written_row_waits() {
    let file = format!("{SIXTEEN}\n{}", &SIXTEEN[..100]);
    let mut reader = RowReader::new(Zone::utc());
    let mut rows = 0;
    assert_eq!(reader.read(file.as_bytes(), false, u64::MAX, &mut |_| rows += 1).bytes, SIXTEEN.len() + 1);
    assert_eq!(rows, 1);
}

#[test]
fn the_row_budget_is_kept() {
    let file = format!("{SIXTEEN}\n").repeat(5);
    let taken = RowReader::new(Zone::utc()).read(file.as_bytes(), false, 2, &mut |_| {});
    assert_eq!(taken, Taken { bytes: 2 * (SIXTEEN.len() + 1), rows: 2 });
}

#[test]
fn a_torn_row_takes_no_more_than_its_own_line_along() {
    // Power was lost in the middle of a row, the next one went on the same line.
    for (cut, why) in [(3, "time"), (30, "quoting"), (198, "quoting"), (200, "columns")] {
        let torn = &SIXTEEN[..cut];
        let file = format!("{SIXTEEN}\n{torn}{SIXTEEN}\n{SIXTEEN}\n{SIXTEEN}\n");
        let rows = read(file.as_bytes());
        assert_eq!(rows.len(), 4, "cut at {cut}");
        assert_eq!(rows[1], format!("{why}: {torn}{SIXTEEN}"));
        assert!([0, 2, 3].iter().all(|&row| rows[row] == rows[0]));
        for size in 1..file.len() {
            assert_eq!(read_in(file.as_bytes(), &[size]), rows, "cut at {cut}, in pieces of {size}");
        }
    }
}

#[test]
fn a_row_inside_a_column_that_nobody_reads_is_still_a_row() {
    // Asterisk doubles quotes, so that this is no column but a torn row and a whole one.
    let file = format!("{}\n{SIXTEEN}\n{}\n", &SIXTEEN[..50], &SIXTEEN[50..]);
    let rows = read(file.as_bytes());
    assert!(rows[1].ends_with("Failed None None None"), "{rows:?}");
    for size in 1..file.len() {
        let legs = |rows: &[String]| rows.iter().filter(|row| row.contains(" Failed ")).count();
        assert_eq!(legs(&read_in(file.as_bytes(), &[size])), legs(&rows), "in pieces of {size}");
    }
}

#[test]
fn a_quote_that_never_closes_swallows_nothing_after_it() {
    let mut file = b"\"".to_vec();
    file.extend(vec![b'x'; 200_000]);
    file.extend(format!("\n{SIXTEEN}\n").bytes());
    let rows = read(&file);
    assert!(rows.last().unwrap().contains("Failed"), "{:?}", rows.len());
    assert_eq!(rows.len(), 5);
    assert!(rows[0].starts_with("too-long: ") && rows[0].len() == MAX_RECORD + 10);
}

#[test]
fn holes_and_empty_lines_are_no_rows() {
    let mut file = vec![0; 5000];
    file.extend(format!("{SIXTEEN}\n\n\n{SIXTEEN}\n").bytes());
    assert_eq!(read(&file).len(), 2);
}

#[test]
fn rows_of_the_account_master_come_twice_and_count_once() {
    let master = format!("\"Master\"{}", &SIXTEEN[2..]);
    let other = SIXTEEN;
    let file = format!("{master}\n{master}\n{other}\n{other}\n{master}\n{master}\n{master}\n{master}\n");
    let kinds: Vec<bool> = read(file.as_bytes()).iter().map(|row| row == "repeat").collect();
    assert_eq!(kinds, [false, true, false, false, false, true, false, true]);
}

/// Every file that a real PBX wrote, against a reading by the `csv` crate.
#[test]
fn real_files_are_read_as_the_csv_crate_reads_them() {
    let mut total = 0;
    for name in [
        "asterisk16/Master.default16.csv",
        "asterisk16/Master.uniqueid18.csv",
        "asterisk16/ACME.default16.csv",
        "asterisk16/ACME.uniqueid18.csv",
        "asterisk22/Master.default16.csv",
        "asterisk22/Master.uniqueid18.csv",
        "asterisk22/ACME.default16.csv",
        "asterisk22-options/Master.batch.csv",
        "asterisk22-options/Master.stock-defaults.csv",
        "rotate/files/Master.csv",
        "rotate/files/Master.csv.1",
        "rotate/files/Master.csv.2",
        "rotate/files/Master.csv.3",
        "rotate/files/Master.csv-20261122-1795310451",
    ] {
        let file = data(name);
        let mut expected = Vec::new();
        let mut previous = None;
        let mut reference = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(&file[..]);
        for record in reference.byte_records() {
            let record = record.unwrap();
            let text = |column: usize| String::from_utf8_lossy(&record[column]).into_owned();
            let moment = |column: usize| format!("{}Z", text(column)).parse::<jiff::Timestamp>().unwrap().as_second();
            let id = |column: usize| record.get(column).map(|_| text(column)).filter(|text| !text.is_empty());
            let (start, end) = (moment(9), moment(11));
            let answer = (!record[10].is_empty()).then(|| moment(10) - start);
            let disposition = match &record[14] {
                b"ANSWERED" => "Answered",
                b"NO ANSWER" => "NoAnswer",
                b"BUSY" => "Busy",
                b"FAILED" => "Failed",
                b"CONGESTION" => "Congestion",
                other => panic!("{other:?}"),
            };
            // The one call whose account code is `Master` stands in the file twice.
            if &record[0] == b"Master" && previous.as_ref() == Some(&record) {
                previous = None;
                expected.push("repeat".to_owned());
                continue;
            }
            previous = Some(record.clone());
            let sequence = record.get(20).map(|_| text(20).parse::<u64>().unwrap());
            expected.push(format!(
                "{start} {}->{} {} [{}] {}({}) {} {answer:?} {disposition} {:?} {:?} {sequence:?}",
                text(1),
                text(2),
                text(5),
                text(6),
                text(7),
                text(8),
                end - start,
                id(16),
                id(19),
            ));
        }
        total += expected.len();
        for rows in [read(&file), read_in(&file, &[1, 70, 3, 1000, 7])] {
            if let Some(at) = (0..expected.len()).find(|&at| rows.get(at) != Some(&expected[at])) {
                panic!("{name}, row {at}: {:?} instead of {:?}", rows.get(at), expected[at]);
            }
            assert_eq!(rows.len(), expected.len(), "{name}");
        }
    }
    assert_eq!(total, 1850);
}

#[test]
fn real_files_show_when_the_zone_is_wrong() {
    let file = data("asterisk22/Master.uniqueid18.csv");
    for (zone, expected) in [
        ("UTC", None),
        ("America/New_York", Some("look like UTC, but they are read in the zone America/New_York")),
        ("Asia/Kolkata", Some("look like UTC, but")),
    ] {
        let mut reader = RowReader::new(Zone::load(Some(zone)).unwrap());
        reader.read(&file, true, u64::MAX, &mut |_| {});
        let trouble = reader.trouble();
        assert_eq!(trouble.is_some(), expected.is_some(), "{zone}: {trouble:?}");
        assert!(trouble.unwrap_or_default().contains(expected.unwrap_or_default()), "{zone}");
    }
}

fn line() -> impl Strategy<Value = String> {
    let text = "[a-z ,\"\n\u{e4}]{0,20}";
    (text, text, 0..86_400_i64, 0..4000_i64, prop::bool::ANY, prop::bool::ANY).prop_map(
        |(name, data, second, duration, answered, new)| {
            let quote = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
            let time = |second: i64| {
                let time = jiff::Timestamp::from_second(1_795_309_200 + second).unwrap();
                format!("\"{}\"", time.to_zoned(jiff::tz::TimeZone::UTC).strftime("%Y-%m-%d %T"))
            };
            let answer = if answered { time(second) } else { String::new() };
            let mut line = format!(
                "\"\",\"1001\",\"2002\",\"ctx\",{},\"PJSIP/1001-0000000a\",\"\",\"Dial\",{},{},{answer},{},{duration},0,\"BUSY\",\"DOCUMENTATION\",\"{}.7\",\"\"",
                quote(&name), quote(&data), time(second), time(second + duration), 1_795_309_200 + second,
            );
            if new {
                line += ",\"\",\"1795309200.1\",12";
            }
            line
        },
    )
}

proptest! {
    #[test]
    fn pieces_make_no_difference(
        lines in prop::collection::vec((line(), 0..40_usize), 1..12),
        sizes in prop::collection::vec(1..400_usize, 1..30),
    ) {
        let mut file = String::new();
        for (line, tear) in &lines {
            // One row in twenty is torn: the next goes on where it broke off.
            match tear {
                0 | 1 => file.extend(line.chars().take(line.chars().count() / 2)),
                _ => { file += line; file.push('\n'); }
            }
        }
        let rows = read(file.as_bytes());
        // Why several torn rows together are none depends on how much of them was seen at once.
        let kinds = MalformedReason::ALL.map(|why| format!("{why}: "));
        let plainly = |rows: &[String]| -> Vec<String> {
            rows.iter().map(|row| kinds.iter().find_map(|kind| row.strip_prefix(kind)).unwrap_or(row).to_owned()).collect()
        };
        prop_assert_eq!(plainly(&read_in(file.as_bytes(), &sizes)), plainly(&rows));
        let legs = rows.iter().filter(|row| row.contains(" Busy ")).count();
        let torn = lines.iter().filter(|(_, tear)| *tear < 2).count();
        // A torn row costs itself and the row on the same line, and no other.
        prop_assert!(legs + 2 * torn >= lines.len(), "{legs} legs, {torn} torn, {} lines: {rows:#?}", lines.len());
        if torn == 0 {
            prop_assert_eq!(legs, lines.len());
        }
    }

    #[test]
    fn nothing_panics_and_every_byte_is_passed_once(
        file in prop::collection::vec(prop_oneof![3 => Just(b'"'), 3 => Just(b','), 2 => Just(b'\n'), 1 => Just(0), 4 => any::<u8>()], 0..3000),
    ) {
        let mut reader = RowReader::new(Zone::utc());
        let taken = reader.read(&file, true, u64::MAX, &mut |_| {}).bytes;
        prop_assert_eq!(taken, file.len());
    }
}
