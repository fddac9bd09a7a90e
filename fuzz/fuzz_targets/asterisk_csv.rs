//! Any bytes at all as `Master.csv`, whole and in two pieces: nothing panics, nothing is passed twice or never, and
//! where the file was cut makes no difference to its legs.

#![no_main]

use demarc::pbx::{Row, RowReader, Zone};
use libfuzzer_sys::fuzz_target;

/// The legs that a reader finds, in a form that can be compared.
fn legs(pieces: &[&[u8]]) -> Vec<(Vec<u8>, i64, i64)> {
    let mut reader = RowReader::new(Zone::load(Some("America/New_York")).expect("the program brings its zones along"));
    let mut legs = Vec::new();
    let mut pending = Vec::new();
    for (index, piece) in pieces.iter().enumerate() {
        pending.extend_from_slice(piece);
        let last = index + 1 == pieces.len();
        let taken = reader.read(&pending, last, u64::MAX, &mut |row| {
            if let Row::Leg(leg) = row {
                assert!(leg.start <= leg.end, "no leg ends before it begins");
                legs.push((leg.channel.into_owned(), leg.start, leg.end));
            }
        });
        assert!(taken.bytes <= pending.len());
        assert!(!last || taken.bytes == pending.len(), "nothing is left of a whole file");
        pending.drain(..taken.bytes);
    }
    legs
}

fuzz_target!(|input: (u16, &[u8])| {
    let (cut, file) = input;
    let (front, back) = file.split_at(usize::from(cut).min(file.len()));
    assert_eq!(legs(&[file]), legs(&[front, back]));
});
