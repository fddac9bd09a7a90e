//! Directories as logrotate and people leave them.

use std::ffi::OsString;

use super::*;
use crate::pbx::position::fingerprint;

/// A file whose contents are told by its head: `size` bytes, of which the first are `text`.
fn file(name: &str, kind: Kind, inode: u64, size: u64, modified: i64, text: &str) -> Facts {
    Facts { name: OsString::from(name), kind, device: 1, inode, size, modified, head: Some(text.as_bytes().to_vec()) }
}

fn number(number: u32) -> Kind {
    Kind::Rotated(Age::Number(number))
}

const DATED: Kind = Kind::Rotated(Age::Date);
const OTHERWISE: Kind = Kind::Rotated(Age::Unknown);

fn at(inode: u64, offset: u64, text: &str, modified: i64) -> Position {
    let prefix = &text.as_bytes()[..text.len().min(offset as usize)];
    Position {
        device: 1,
        inode,
        offset,
        prefix_len: prefix.len() as u32,
        prefix_hash: fingerprint(prefix),
        modified,
        ..Position::default()
    }
}

fn name(survey: &Survey, next: Next) -> String {
    match next {
        Next::At { file, offset } => format!("{} at {offset}", survey.files[file].name.display()),
        Next::AtEndOf { file } => format!("end of {}", survey.files[file].name.display()),
        Next::Wait => "wait".to_owned(),
    }
}

fn resumed(position: &Position, files: Vec<Facts>) -> (String, Missed) {
    let survey = Survey { files };
    let (next, missed) = resume(position, &survey);
    (name(&survey, next), missed)
}

fn next(position: &Position, files: Vec<Facts>) -> String {
    let survey = Survey { files };
    let next = successor(position, &survey);
    name(&survey, next)
}

#[test]
fn the_first_start_reads_the_live_file_alone() {
    let first = Position { modified: i64::MAX, ..Position::default() };
    let old = || file("m.1", number(1), 2, 9, 50, "old\n");
    assert_eq!(resumed(&first, vec![old(), file("m", Kind::Live, 1, 9, 9, "new\n")]).0, "m at 0");
    assert_eq!(resumed(&first, vec![old()]).0, "wait");
}

#[test]
fn a_renamed_file_is_read_to_its_end_and_the_newer_ones_after_it() {
    let files = || {
        vec![
            file("m", Kind::Live, 9, 5, 90, "d\n"),
            file("m.2", number(2), 7, 8, 99, "b\n"),
            file("m.1", number(1), 8, 8, 80, "c\n"),
            file("m.3", number(3), 6, 20, 60, "a\n"),
            file("m.4", number(4), 5, 20, 50, "0\n"),
        ]
    };
    assert_eq!(resumed(&at(6, 10, "a\n", 55), files()), ("m.3 at 10".to_owned(), Missed::Nothing));
    assert_eq!(next(&at(6, 20, "a\n", 60), files()), "m.2 at 0");
    assert_eq!(next(&at(7, 8, "b\n", 99), files()), "m.1 at 0");
    assert_eq!(next(&at(8, 8, "c\n", 80), files()), "m at 0");
    assert_eq!(next(&at(9, 5, "d\n", 90), files()), "wait");
}

#[test]
fn dated_files_go_by_their_names_and_others_by_their_time_of_change() {
    let files = |kind, oldest| {
        vec![
            file("m", Kind::Live, 9, 5, 90, "d\n"),
            file("m-20261103", kind, 7, 8, 70, "b\n"),
            file("m-20261104", kind, 8, 8, 80, "c\n"),
            file("m-20261102", kind, 6, 8, oldest, "a\n"),
        ]
    };
    for (kind, oldest) in [(DATED, 75), (OTHERWISE, 60)] {
        assert_eq!(next(&at(6, 8, "a\n", 60), files(kind, oldest)), "m-20261103 at 0");
        assert_eq!(next(&at(8, 8, "c\n", 80), files(kind, oldest)), "m at 0");
    }
    assert_eq!(next(&at(6, 8, "a\n", 75), files(OTHERWISE, 75)), "m-20261104 at 0");
}

#[test]
fn a_truncated_file_goes_on_in_its_copy() {
    let files = |live: &str, size| {
        vec![
            file("m", Kind::Live, 1, size, 90, live),
            file("m.bak", Kind::Other, 4, 50, 20, "a\nb\n"),
            file("m.1", number(1), 2, 300, 80, "a\nb\n"),
        ]
    };
    let position = at(1, 40, "a\nb\n", 70);
    for (live, size) in [("", 0), ("z\n", 2), ("z\n", 400)] {
        assert_eq!(resumed(&position, files(live, size)).0, "m.1 at 40");
    }
    assert_eq!(resumed(&position, files("a\nb\n", 40)).0, "m at 40");
}

#[test]
fn an_inode_that_was_given_away_again_is_not_believed() {
    let files = vec![file("m", Kind::Live, 1, 400, 90, "z\n"), file("m.1", number(1), 2, 300, 80, "a\n")];
    assert_eq!(resumed(&at(1, 40, "a\n", 70), files).0, "m.1 at 40");
}

#[test]
fn what_lies_only_in_a_compressed_file_is_said() {
    let compressed = |modified| {
        vec![file("m", Kind::Live, 1, 400, 90, "z\n"), file("m.1.gz", Kind::Compressed, 2, 30, modified, "")]
    };
    let position = at(7, 40, "a\n", 70);
    assert_eq!(resumed(&position, compressed(71)), ("m at 0".to_owned(), Missed::InCompressed { file: 1 }));
    assert_eq!(resumed(&position, compressed(70)), ("m at 0".to_owned(), Missed::Unknown));
}

#[test]
fn a_file_cut_shorter_is_not_read_again() {
    let position = at(1, 40, "a\nb\n", 70);
    assert_eq!(resumed(&position, vec![file("m", Kind::Live, 5, 20, 90, "a\nb\n")]).0, "end of m");
    assert_eq!(resumed(&position, vec![file("m", Kind::Live, 5, 20, 90, "x\ny\n")]).0, "m at 0");
}

#[test]
fn snapshots_beside_the_file_are_not_read() {
    let files = |live_inode| {
        vec![
            file("m", Kind::Live, live_inode, 100, 90, "z\n"),
            file("m-20261104", DATED, 3, 60, 85, "a\nb\n"),
            file("m-20261105", DATED, 4, 80, 95, "z\n"),
            file("m-20261103", DATED, 5, 90, 80, "a\nb\n"),
            file("m.backup", Kind::Other, 6, 90, 99, "q\n"),
        ]
    };
    assert_eq!(next(&at(5, 90, "a\nb\n", 80), files(1)), "m at 0");
}

#[test]
fn a_file_that_was_emptied_before_it_was_ever_read_is_found() {
    // `m` was empty when it was seen last; since then rows came, were copied away, and others came.
    let mut position = at(1, 0, "", 70);
    let files = || vec![file("m", Kind::Live, 1, 10, 90, "z\n"), file("m.1", number(1), 2, 30, 80, "a\n")];
    assert_eq!(resumed(&position, files()).0, "m.1 at 0");
    // A copy that was there before is known, either by its time or by its mark.
    position.modified = 80;
    assert_eq!(resumed(&position, files()).0, "m at 0");
    position.modified = 70;
    position.older = vec![at(2, 30, "a\n", 0).mark()];
    assert_eq!(resumed(&position, files()).0, "m at 0");
}

#[test]
fn a_file_out_of_reach_is_chosen_where_rows_may_be_in_it() {
    let hidden = |name: &str, kind, inode, modified| Facts { head: None, ..file(name, kind, inode, 30, modified, "") };
    // Copied away and emptied, and this process was confined to the files that were there before.
    let position = at(1, 40, "a\nb\n", 70);
    let copied = |modified| vec![file("m", Kind::Live, 1, 2, 90, "z\n"), hidden("m.1", number(1), 2, modified)];
    assert_eq!(resumed(&position, copied(70)).0, "m.1 at 0");
    assert_eq!(resumed(&position, copied(60)).0, "m at 0");
    let renamed = || vec![file("m", Kind::Live, 9, 2, 90, "z\n"), hidden("m.1", number(1), 1, 80)];
    assert_eq!(resumed(&position, renamed()).0, "m.1 at 40");
    // Old files do not matter.
    let live = vec![file("m", Kind::Live, 1, 50, 90, "a\nb\n"), hidden("m.1", number(1), 2, 95)];
    assert_eq!(resumed(&position, live).0, "m at 40");
}
