//! Any bytes at all between real lines of a `queue_log`, whole and in two pieces.

#![no_main]

use demarc::pbx::queue_log::QueueLogReader;
use libfuzzer_sys::fuzz_target;

mod pieces;

const REAL: &[u8] = include_bytes!("../../tests/data/pbx/asterisk16/queue_log");

fuzz_target!(|input: (u16, u16, &[u8])| {
    pieces::read(REAL, input, || Box::new(QueueLogReader));
});
