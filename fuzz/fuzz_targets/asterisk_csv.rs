//! Any bytes at all as `Master.csv`, whole and in two pieces: nothing panics, every byte is passed exactly once, and no
//! leg ends before it begins.

#![no_main]

use demarc::pbx::{Row, RowReader, Zone};
use libfuzzer_sys::fuzz_target;

/// Reads a file that comes in pieces, the way it comes while it is followed.
fn read(pieces: &[&[u8]]) {
    let mut reader = RowReader::new(Zone::load(Some("America/New_York")).expect("the program brings its zones along"));
    let mut pending = Vec::new();
    for (index, piece) in pieces.iter().enumerate() {
        pending.extend_from_slice(piece);
        let last = index + 1 == pieces.len();
        let mut passed_over = 0;
        let taken = reader.read(&pending, last, u64::MAX, &mut |row| match row {
            Row::Leg(leg) => {
                assert!(leg.start <= leg.end);
                assert!(leg.answer.is_none_or(|answer| (leg.start..=leg.end).contains(&answer)));
            }
            Row::Malformed { bytes, .. } => passed_over += bytes.len(),
            Row::Repeat | Row::Queue(_) => {}
        });
        assert!(passed_over <= taken.bytes && taken.bytes <= pending.len());
        assert!(!last || taken.bytes == pending.len(), "nothing is left of a whole file");
        pending.drain(..taken.bytes);
    }
}

fuzz_target!(|input: (u16, &[u8])| {
    let (cut, file) = input;
    let (front, back) = file.split_at(usize::from(cut).min(file.len()));
    read(&[file]);
    read(&[front, back]);
});
