//! `log`: the last lines of the phone system's log, without numbers and names.

use std::{
    fmt, fs,
    io::{self, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use serde::Serialize;

use super::{Trouble, mask};

/// Lines that are shown where nobody says how many.
pub(super) const USUAL_LINES: usize = 50;
/// No more lines are shown at once.
pub(super) const MOST_LINES: usize = 1_000;
/// No more of the file's end is read.
const MOST_BYTES: u64 = 4 << 20;
/// The longest that stands between the brackets of a time.
const LONGEST_TIME: usize = 40;
/// A line is cut here.
const LONGEST_LINE: usize = 2_000;

/// The end of a log.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Log {
    file: PathBuf,
    lines: Vec<String>,
    /// Lines without a time, among those that are shown. They belong to texts of several lines, such as messages between
    /// telephones, whose content may be anything.
    left_out: usize,
}

pub(super) fn look(files: &[PathBuf], lines: usize) -> Result<Log, Trouble> {
    let named = || files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join(", ");
    let Some(file) = files.iter().find(|file| file.is_file()) else {
        return Err(Trouble::new(format!("none of the log files is there (support.logs: {})", named())));
    };
    let end = end_of(file).map_err(|error| Trouble::new(format!("{} cannot be read: {error}", file.display())))?;
    let (lines, left_out) = last(&end, lines);
    Ok(Log { file: file.clone(), lines, left_out })
}

/// The last bytes of the file, from the beginning of a line.
fn end_of(path: &Path) -> io::Result<String> {
    let mut file = fs::File::open(path)?;
    let length = file.metadata()?.len();
    let start = length.saturating_sub(MOST_BYTES);
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    file.take(MOST_BYTES).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    if start == 0 {
        return Ok(text);
    }
    Ok(text.split_once('\n').map(|(_, whole)| whole.to_owned()).unwrap_or_default())
}

/// That many lines from the end, masked, the oldest first; and how many in between were left out.
fn last(text: &str, count: usize) -> (Vec<String>, usize) {
    let mut lines = Vec::new();
    let mut left_out = 0;
    for line in text.lines().rev() {
        if lines.len() == count {
            break;
        }
        match shown(line) {
            Some(line) => lines.push(line),
            None => left_out += 1,
        }
    }
    lines.reverse();
    (lines, left_out)
}

/// `[Nov 22 08:52:28] NOTICE[31991] chan_sip.c: …`, masked behind the time.
fn shown(line: &str) -> Option<String> {
    let (time, rest) = line.strip_prefix('[')?.split_once(']')?;
    let is_time = |sign: char| sign.is_ascii_alphanumeric() || matches!(sign, ' ' | ':' | '-' | '.' | '+');
    if time.len() > LONGEST_TIME || !time.contains(':') || !time.chars().all(is_time) {
        return None;
    }
    let rest: String = rest.chars().filter(|sign| !sign.is_control()).take(LONGEST_LINE).collect();
    Some(format!("[{time}]{}", mask::line(&rest)))
}

impl fmt::Display for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.lines {
            writeln!(f, "{line}")?;
        }
        writeln!(f, "Lines shown: {}, of {}.", self.lines.len(), self.file.display())?;
        if self.left_out > 0 {
            writeln!(f, "Lines left out because they have no time of their own: {}.", self.left_out)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "[2026-11-22 08:52:27] VERBOSE[32049][C-00000003] pbx.c: Executing [s@macro:1] NoOp(\"PJSIP/1001-00000001\", \"x\")\n\
                        [Nov 22 08:52:28] NOTICE[32049] res_pjsip.c: Call (UDP:10.1.2.3:5060) to extension '442071239999' rejected\n\
                        MESSAGE sip:1001@pbx SIP/2.0\n\
                        I am ill today\n\
                        [Nov 22 08:52:29] WARNING[1] app.c: end\n";

    #[test]
    fn numbers_names_and_messages_stay() {
        let (lines, left_out) = last(TEXT, 10);
        assert_eq!(
            lines,
            [
                "[2026-11-22 08:52:27] VERBOSE[***][C-***] pbx.c: Executing [***@macro:1] NoOp(\"***\", \"***\")",
                "[Nov 22 08:52:28] NOTICE[***] res_pjsip.c: Call (UDP:10.1.2.3:***) to extension '***' rejected",
                "[Nov 22 08:52:29] WARNING[1] app.c: end",
            ]
        );
        assert_eq!(left_out, 2);
        assert_eq!(last(TEXT, 1).0.len(), 1);
        assert_eq!(shown("[442071230001] was rung"), None);
    }

    #[test]
    fn the_first_file_that_is_there_is_read_from_its_end() {
        let room = tempfile::tempdir().unwrap();
        let file = room.path().join("full");
        let line = format!("[Nov 22 08:52:28] {}\n", "x".repeat(1_000));
        fs::write(&file, line.repeat(6_000)).unwrap();
        let found = look(&[room.path().join("absent"), file.clone()], MOST_LINES).unwrap();
        assert_eq!((found.lines.len(), found.left_out, &found.file), (MOST_LINES, 0, &file));
        assert!(look(&[room.path().join("absent")], 1).unwrap_err().to_string().contains("absent"));
    }
}
