//! A file in stretches is the file.

use std::io::Write;

use super::{super::leg::Row, *};

const LINE: &str = "\"\",\"1\",\"2\",\"c\",\"\",\"A/b-00000001\",\"\",\"Dial\",\"\",\"2026-11-22 01:00:41\",,\"2026-11-22 01:00:42\",1,0,\"BUSY\",\"DOCUMENTATION\"\n";

fn file_of(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file
}

fn start() -> Place {
    Place::of(&Position::default())
}

#[test]
fn a_file_larger_than_the_buffer_is_read_to_its_end() {
    let count = 3 * BUFFER / LINE.len();
    let mut bytes = LINE.repeat(count).into_bytes();
    bytes.extend(LINE.trim_end().bytes());
    let file = file_of(&bytes);
    let mut legs = 0;
    let mut reader = StretchReader::new(&file, bytes.len() as u64, Zone::utc());
    let stretch =
        reader.read(start(), u64::MAX, &mut |row: Row<'_>| legs += usize::from(matches!(row, Row::Leg(_)))).unwrap();
    assert_eq!((legs, stretch.to.offset, stretch.ended), (count + 1, bytes.len() as u64, true));
}

#[test]
fn a_stretch_ends_before_the_row_that_begins_the_next() {
    let bytes = LINE.repeat(50).into_bytes();
    let file = file_of(&bytes);
    let mut reader = StretchReader::new(&file, bytes.len() as u64, Zone::utc());
    let line = LINE.len() as u64;
    let middle = reader.foothold(10 * line + 7).unwrap();
    assert_eq!(middle, 11 * line);
    let mut rows = 0;
    let first = reader.read(start(), middle, &mut |_: Row<'_>| rows += 1).unwrap();
    assert_eq!((first.to.offset, rows, first.ended), (middle, 11, false));
    let second = reader.read(Place::unknown(middle), u64::MAX, &mut |_: Row<'_>| rows += 1).unwrap();
    assert!(second.follows(&first.to) && second.ended);
    assert_eq!((second.to.offset, rows), (bytes.len() as u64, 50));
    assert!(!second.follows(&start()));
}

#[test]
fn what_looks_like_a_row_inside_of_a_column_is_no_foothold() {
    let inside = LINE.replacen("\"Dial\",\"\"", &format!("\"Dial\",\"\n{}\"", LINE.replace('"', "\"\"")), 1);
    let bytes = [&inside, LINE].concat().into_bytes();
    let file = file_of(&bytes);
    let mut reader = StretchReader::new(&file, bytes.len() as u64, Zone::utc());
    assert_eq!(reader.foothold(0).unwrap(), inside.len() as u64);
    // Where none is near, who read before has the say.
    assert_eq!(reader.foothold(inside.len() as u64 + 1).unwrap(), inside.len() as u64 + 1);
    let mut rows = 0;
    let first = reader.read(start(), 60, &mut |_: Row<'_>| rows += 1).unwrap();
    assert_eq!((first.to.offset, rows), (inside.len() as u64, 1));
    assert!(!reader.read(Place::unknown(60), u64::MAX, &mut |_: Row<'_>| {}).unwrap().follows(&first.to));
}

#[test]
fn who_relied_on_the_rows_before_without_knowing_them_does_not_follow() {
    // The hour that autumn repeats, and no uniqueid that tells which of the two it is.
    let autumn = LINE.replace("2026-11-22 01", "2026-11-01 01");
    let master = format!("\"Master\"{}", &LINE[2..]);
    for (line, certain) in [(LINE, true), (&autumn, false), (&master, false), ("no row\n", false)] {
        let bytes = line.repeat(3).into_bytes();
        let file = file_of(&bytes);
        let zone = Zone::load(Some("America/New_York")).unwrap();
        let mut reader = StretchReader::new(&file, bytes.len() as u64, zone);
        let first = reader.read(start(), 5, &mut |_: Row<'_>| {}).unwrap();
        let guessed = reader.read(Place::unknown(line.len() as u64), u64::MAX, &mut |_: Row<'_>| {}).unwrap();
        assert_eq!(guessed.follows(&first.to), certain, "{line}");
        let known = reader.read(first.to, u64::MAX, &mut |_: Row<'_>| {}).unwrap();
        assert!(known.follows(&first.to));
        // Rows of the account Master stand at no foothold.
        let foothold = reader.foothold(0).unwrap();
        assert_eq!(foothold, if line == master || line == "no row\n" { 0 } else { line.len() as u64 });
    }
}

#[test]
fn a_file_that_was_cut_short_meanwhile_ends_where_it_ends() {
    let bytes = LINE.repeat(10).into_bytes();
    let file = file_of(&bytes);
    let mut reader = StretchReader::new(&file, 2 * bytes.len() as u64, Zone::utc());
    let mut rows = 0;
    let stretch = reader.read(start(), 2 * bytes.len() as u64, &mut |_: Row<'_>| rows += 1).unwrap();
    assert_eq!((rows, stretch.to.offset, stretch.ended), (10, bytes.len() as u64, true));
}
