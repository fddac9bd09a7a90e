//! Any bytes at all between rows of a `mod_cdr_csv` file, whole and in two pieces.

#![no_main]

use demarc::pbx::{
    Zone,
    freeswitch::template::{Template, TemplateReader},
};
use libfuzzer_sys::fuzz_target;

mod pieces;

const ROWS: &[u8] = b"\"Doe, \"JJ\" Jane\",\"447700900001\",\"1001\",\"public\",\"2026-11-22 00:57:20\",\"2026-11-22 00:57:24\",\
\"2026-11-22 00:57:54\",\"34\",\"30\",\"NORMAL_CLEARING\",\"3da8bf84-c133-4959-9e24-e72875cb33a1\",\"\",\"\",\"PCMA\",\"PCMA\"\n";
const COLUMNS: [&str; 15] = [
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

fuzz_target!(|input: (u16, u16, &[u8])| {
    let template = Template::new(&COLUMNS).expect("the columns make sense");
    let zone = Zone::load(Some("America/New_York")).expect("the program brings its zones along");
    let outside = ["external".to_owned()];
    pieces::read(ROWS, input, || Box::new(TemplateReader::new(template.clone(), &outside, zone.clone())));
});
