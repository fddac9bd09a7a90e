//! Rows by the stock templates, and names that nobody escapes. Written by hand after the module's source and documentation.

use expect_test::{Expect, expect};
use proptest::prelude::*;

use super::*;

const EXAMPLE: [&str; 15] = [
    "caller_id_name",
    "caller_id_number",
    "destination_number",
    "context",
    "start_stamp",
    "answer_stamp",
    "end_stamp",
    "duration",
    "billsec",
    "hangup_cause",
    "uuid",
    "bleg_uuid",
    "accountcode",
    "read_codec",
    "write_codec",
];
const ASTERISK: [&str; 18] = [
    "accountcode",
    "caller_id_number",
    "destination_number",
    "context",
    "caller_id",
    "channel_name",
    "bridge_channel",
    "last_app",
    "last_arg",
    "start_stamp",
    "answer_stamp",
    "end_stamp",
    "duration",
    "billsec",
    "hangup_cause",
    "amaflags",
    "uuid",
    "userfield",
];

fn read_in(columns: &[&str], file: &[u8], cut: usize) -> Vec<String> {
    let mut reader = TemplateReader::new(Template::new(columns).unwrap(), &["external".to_owned()], Zone::utc());
    let mut rows = Vec::new();
    let mut sink = |row: Row<'_>| {
        rows.push(match row {
            Row::Leg(leg) => {
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                let (channel, called) = (text(&leg.channel), text(&leg.dstchannel));
                format!("{} {channel} -> {called} {:?} {}", text(&leg.src), leg.disposition, leg.end - leg.start)
            }
            Row::Malformed { bytes, why } => format!("{why}: {}", String::from_utf8_lossy(bytes)),
            Row::Repeat | Row::Queue(_) => panic!("no such row in a file of this kind"),
        });
    };
    let taken = Format::read(&mut reader, &file[..cut], false, u64::MAX, &mut sink);
    Format::read(&mut reader, &file[taken.bytes..], true, u64::MAX, &mut sink);
    rows
}

fn read(columns: &[&str], line: &str) -> String {
    read_in(columns, line.as_bytes(), 0).join("|")
}

fn example(name: &str) -> String {
    format!(
        "\"{name}\",\"447700900001\",\"1001\",\"public\",\"2026-11-22 00:57:20\",\"2026-11-22 00:57:24\",\"2026-11-22 \
         00:57:54\",\"34\",\"30\",\"NORMAL_CLEARING\",\"3da8bf84-c133-4959-9e24-e72875cb33a1\",\"\",\"\",\"PCMA\",\"PCMA\""
    )
}

#[test]
fn the_stock_templates_are_read() {
    let good = "447700900001 sofia/public-3da8bf84 -> sofia/unknown-00000000 Answered 34";
    assert_eq!(read(&EXAMPLE, &example("Jane Doe")), good);
    // The default one and that for SQL have a space before a column.
    let thirteen = example("Jane Doe").replace(",\"\",\"PCMA\",\"PCMA\"", ", \"acme\"");
    assert_eq!(read(&EXAMPLE[..13], &thirteen), good);
    assert_eq!(read(&EXAMPLE[..13], &format!("INSERT INTO cdr VALUES ({thirteen});\n")), good);
    let asterisk = "\"acme\",\"1001\",\"0044\",\"default\",\"\"Doe, Jane\" <1001>\",\"sofia/internal/1001@pbx\",\
                    \"sofia/external/0044\",\"bridge\",\"{a='b,c'}sofia/gateway/provider1/0044\",\"2026-11-22 00:57:20\",\
                    \"2026-11-22 00:57:24\",\"2026-11-22 00:57:54\",\"34\",\"30\",\"NORMAL_CLEARING\",\"\",\
                    \"3da8bf84-c133-4959-9e24-e72875cb33a1\",\"\"";
    assert_eq!(read(&ASTERISK, asterisk), "1001 sofia/1001-3da8bf84 -> sofia/external-00000000 Answered 34");
    let bare = "447700900001,1001,2026-11-22 00:57:20,,34,NO_ANSWER\n";
    let columns = ["caller_id_number", "destination_number", "start_stamp", "answer_stamp", "duration", "hangup_cause"];
    assert_eq!(read(&columns, bare), "447700900001 sofia/447700900001-00000000 ->  NoAnswer 34");
}

#[test]
fn a_name_is_found_from_both_ends() {
    for name in ["Doe, Jane", "Jane \"JJ\" Doe", "a\",\"b", "\"", ",", "\",\"2026-11-22 00:00:00\",\"", ""] {
        let row = read(&EXAMPLE, &example(name));
        assert!(row.starts_with("447700900001 sofia/public"), "{name}: {row}");
    }
}

#[test]
fn a_row_with_two_readings_is_refused() {
    // With a second free text at the end, a name can pretend that the columns lie elsewhere.
    let columns = [&EXAMPLE[..], &["userfield"]].concat();
    let forged = example(
        "x\",\"447700900002\",\"1002\",\"public\",\"2026-11-22 00:57:20\",\"\",\"2026-11-22 00:57:54\",\"34\",\"0\",\
                          \"NO_ANSWER\",\"3da8bf84-c133-4959-9e24-e72875cb33a2\",\"\",\"\",\"PCMA\",\"PCMA\",\"y",
    );
    assert!(read(&columns, &format!("{forged},\"z\"")).starts_with("ambiguous: "));
    assert!(read(&columns, &format!("{},\"z\"", example("Doe, Jane"))).starts_with("447700900001 sofia/public"));
}

#[test]
fn other_rows_are_refused() {
    for (line, why) in [
        ("\"a\",\"b\"".to_owned(), "columns"),
        (example("Jane").replace("2026-11-22 00:57:20", "yesterday"), "quoting"),
        (example("Jane").replace("2026-11-22 00:57:20", "2026-13-22 00:57:20"), "time"),
        (example("Jane").replace("\"2026-11-22 00:57:24\"", "\"\"").replace("NORMAL_CLEARING", ""), "disposition"),
        (example(&",".repeat(200)), "columns"),
    ] {
        let row = read(&EXAMPLE, &line);
        assert!(row.starts_with(&format!("{why}: ")), "{row}");
    }
    let rows = read_in(&EXAMPLE, format!("torn\n{}\n", example("Jane")).as_bytes(), 0);
    assert!(rows[0] == "columns: torn" && rows[1].starts_with("4477"), "{rows:?}");
}

#[test]
fn a_template_that_makes_no_sense_is_refused_in_words() {
    let wrong = |columns: &[&str], expected: Expect| expected.assert_eq(&Template::new(columns).unwrap_err());
    wrong(&["${uuid}"], expect![[r#""${uuid}" is no variable's name: write it without ${}, or "-" to pass over it"#]]);
    wrong(&["uuid", "uuid"], expect![[r#"the column "uuid" stands there twice"#]]);
    wrong(&["uuid"], expect![[r#"a column is missing: "start_stamp" or "start_epoch""#]]);
    wrong(&["start_epoch"], expect![[r#"a column is missing: "answer_stamp" or "answer_epoch""#]]);
    wrong(
        &["start_epoch", "answer_epoch"],
        expect![[r#"a column is missing: "end_stamp", "end_epoch" or "duration""#]],
    );
    wrong(&["start_epoch", "answer_epoch", "duration"], expect![[r#"a column is missing: "hangup_cause""#]]);
    wrong(
        &["start_epoch", "answer_epoch", "duration", "hangup_cause"],
        expect![[r#"a column is missing: "channel_name" (or, for less, "caller_id_number" and "context")"#]],
    );
}

proptest! {
    #[test]
    fn a_name_changes_nothing(name in "[a\", ]{0,20}", cut in 0..300_usize) {
        let file = format!("{}\n{}\n", example(&name), example("Jane"));
        let rows = read_in(&EXAMPLE, file.as_bytes(), cut.min(file.len()));
        prop_assert_eq!(rows.len(), 2);
        prop_assert_eq!(&rows[0], &rows[1]);
    }
}
