//! Any bytes at all between real rows of a `cdr_custom` file, whole and in two pieces: nothing panics, every byte is passed
//! exactly once, and no leg ends before it begins.

#![no_main]

use demarc::pbx::{
    Zone,
    columns::{ColumnReader, Mapping},
};
use libfuzzer_sys::fuzz_target;

mod pieces;

const REAL: &[u8] = include_bytes!("../../tests/data/pbx/asterisk16/cdr_custom.csv");
const COLUMNS: [&str; 20] = [
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

fuzz_target!(|input: (u16, u16, &[u8])| {
    let mapping = Mapping::new(&COLUMNS).expect("the columns make sense");
    let zone = Zone::load(Some("America/New_York")).expect("the program brings its zones along");
    pieces::read(REAL, input, || Box::new(ColumnReader::new(mapping.clone(), zone.clone())));
});
