//! A file that comes in pieces, the way it comes while it is followed.

use demarc::pbx::{Format, Row};

/// Reads the input between rows that are good, whole and cut in two. Both must yield as many rows.
pub fn read(rows: &[u8], (at, cut, input): (u16, u16, &[u8]), reader: impl Fn() -> Box<dyn Format>) {
    // A real file is much longer than what a run changes of it.
    let rows = &rows[..rows.len().min(2048)];
    let (front, back) = rows.split_at(usize::from(at) % (rows.len() + 1));
    let file = [front, input, back].concat();
    let (one, two) = file.split_at(usize::from(cut) % (file.len() + 1));
    assert_eq!(count(&[&file], reader()), count(&[one, two], reader()));
}

fn count(pieces: &[&[u8]], mut reader: Box<dyn Format>) -> u64 {
    let (mut pending, mut rows) = (Vec::new(), 0);
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
        rows += taken.rows;
        pending.drain(..taken.bytes);
    }
    rows
}
