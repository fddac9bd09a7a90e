//! A look at one file: is it there, when was it written, may it be read.

use std::{
    fs::{self, File},
    io::{ErrorKind, Read, Seek, SeekFrom},
    path::Path,
    time::UNIX_EPOCH,
};

use super::{Finding, Machine, Rank, State};
use crate::settings::Source;

/// A source that lags so far behind the newest one is stale.
const BEHIND: u64 = 2 * 86_400;
/// Alone, a source is stale after so long.
const OLD: u64 = 14 * 86_400;
/// So much of a file's end is looked at for its last row.
const END: u64 = 16 * 1024;

/// What is known of a source that lies in a file or a directory.
pub(super) fn at_file(machine: &Machine, source: Source, rank: Rank) -> Finding {
    let name = source.name();
    let place = source.path().map(|path| machine.at(path));
    let (state, last_written) = place.as_deref().map_or((State::Missing, None), state_of);
    Finding {
        name,
        rank,
        state,
        last_written,
        words: Vec::new(),
        advice: None,
        configured: false,
        source: Some(source),
    }
}

fn state_of(place: &Path) -> (State, Option<u64>) {
    let metadata = match fs::metadata(place) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == ErrorKind::NotFound => return (State::Missing, None),
        Err(_) => return (State::Unreadable, None),
    };
    let written = metadata.modified().ok().and_then(|when| when.duration_since(UNIX_EPOCH).ok());
    let written = written.map(|since| since.as_secs());
    let readable = if metadata.is_dir() { fs::read_dir(place).map(drop) } else { File::open(place).map(drop) };
    let state = match readable {
        Err(_) => State::Unreadable,
        Ok(()) if metadata.is_file() && metadata.len() == 0 => State::Empty,
        Ok(()) => State::Fresh,
    };
    (state, written)
}

/// Calls a source stale that was not written for long, although others were.
pub(super) fn mark_stale(finding: &mut Finding, newest: Option<u64>, now: u64) {
    let (State::Fresh, Some(written)) = (finding.state, finding.last_written) else { return };
    let behind = newest.unwrap_or(written).saturating_sub(written);
    if behind > BEHIND || now.saturating_sub(written) > OLD {
        finding.state = State::Stale;
    }
}

/// The last whole line of a file.
pub(super) fn last_line(place: &Path) -> Option<Vec<u8>> {
    let mut file = File::open(place).ok()?;
    let length = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(END))).ok()?;
    let mut end = Vec::new();
    file.take(END).read_to_end(&mut end).ok()?;
    let whole = &end[..end.iter().rposition(|&byte| byte == b'\n')?];
    let start = whole.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
    Some(whole[start..].to_vec())
}
