//! Reports that wait in the outbox: read, never changed.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

use demarc_proto::{Report, ReportId, report::MAX_BODY};

/// The least floor that any settings allow: a report with a lower one did not come through the gate.
const LEAST_FLOOR: u32 = 2;

/// A report that is about to leave, with the bytes that stand in the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WaitingReport {
    pub(crate) id: ReportId,
    pub(crate) body: String,
}

/// What the outbox holds for the hub.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    /// The oldest report that is not answered yet.
    pub(crate) oldest: Option<WaitingReport>,
    /// What cannot be sent, in words.
    pub(crate) trouble: Option<String>,
}

/// Looks for the oldest report; `answered` ones wait only for the collector to remove their files, and are forgotten
/// here once it did.
pub(crate) fn look(outbox: &Path, answered: &mut Vec<ReportId>) -> Found {
    let mut names = match list(outbox) {
        Ok(names) => names,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => {
            let trouble = format!("the outbox {} cannot be read ({}): check its owner", outbox.display(), error.kind());
            return Found { oldest: None, trouble: Some(trouble) };
        }
    };
    answered.retain(|id| names.iter().any(|(_, name, _)| name == id));
    names.retain(|(_, id, _)| !answered.contains(id));
    names.sort_unstable();
    let mut found = Found::default();
    for (_, id, path) in names {
        match read(&path, id) {
            Ok(Some(body)) => {
                found.oldest = Some(WaitingReport { id, body });
                break;
            }
            // Gone between listing and reading: taken back by the collector.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            _ => {
                found.trouble =
                    Some(format!("{} is not a report as the gate writes it: it is not sent", path.display()))
            }
        }
    }
    found
}

/// The files whose names are those of reports: `<window start>-<report id>.json`.
fn list(outbox: &Path) -> io::Result<Vec<(u64, ReportId, PathBuf)>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(outbox)? {
        let entry = entry?;
        let name = entry.file_name();
        let parts = name.to_str().and_then(|name| name.strip_suffix(".json")).and_then(|name| name.split_once('-'));
        if let Some((Ok(start), Ok(id))) = parts.map(|(start, id)| (start.parse(), id.parse())) {
            names.push((start, id, entry.path()));
        }
    }
    Ok(names)
}

/// A file's content, if that is a report with this name and nothing else. The gate has checked all of it; but this
/// is the last place before the network, and a file put there by something else must not leave.
fn read(path: &Path, id: ReportId) -> io::Result<Option<String>> {
    let mut body = String::new();
    let read = File::open(path)?.take(MAX_BODY as u64 + 1).read_to_string(&mut body);
    match read {
        Err(error) if error.kind() == io::ErrorKind::InvalidData => return Ok(None),
        other => other?,
    };
    let is_report = Report::from_body(&body).is_ok_and(|report| report.id == id && report.check(LEAST_FLOOR).is_ok());
    Ok(is_report.then_some(body))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::testing::report_body;

    #[test]
    fn oldest_first_and_only_real_reports() {
        let directory = tempfile::tempdir().unwrap();
        let outbox = directory.path().join("outbox");
        let mut answered = vec![];
        assert_eq!(look(&outbox, &mut answered), Found::default());
        fs::create_dir(&outbox).unwrap();
        let [a, b, c] = [1, 2, 3].map(|n| ReportId::from_bits([n; 16]));
        fs::write(outbox.join(format!("1795309260-{a}.json")), report_body(a, 1_795_309_260)).unwrap();
        fs::write(outbox.join(format!("900-{b}.json")), report_body(b, 900)).unwrap();
        fs::write(outbox.join(format!("60-{c}.json.new")), "half").unwrap();
        fs::write(outbox.join("notes.json"), "x").unwrap();
        let found = look(&outbox, &mut answered);
        assert_eq!(found.oldest, Some(WaitingReport { id: b, body: report_body(b, 900) }));
        assert_eq!(found.trouble, None);

        answered.push(b);
        assert_eq!(look(&outbox, &mut answered).oldest.unwrap().id, a);
        assert_eq!(answered, [b]);
        fs::remove_file(outbox.join(format!("900-{b}.json"))).unwrap();
        look(&outbox, &mut answered);
        assert!(answered.is_empty());

        // Another name, another content, too much of it: none of them leaves, and none hides the good one.
        fs::write(outbox.join(format!("60-{c}.json")), report_body(a, 60)).unwrap();
        let found = look(&outbox, &mut answered);
        assert_eq!(found.oldest.unwrap().id, a);
        assert!(found.trouble.unwrap().contains(&c.to_string()));
        for bad in [&b"\xff\xfe"[..], b"{\"number\":\"+4930123456\"}", &vec![b' '; MAX_BODY + 4096]] {
            fs::write(outbox.join(format!("60-{c}.json")), bad).unwrap();
            assert_eq!(look(&outbox, &mut answered).oldest.unwrap().id, a);
        }
    }
}
