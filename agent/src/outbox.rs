//! The outbox: cleared reports that wait for the tunnel, one file each, byte for byte as they will leave.
//!
//! The collector writes it, the link only reads. A file is there whole or not at all, and whatever else lies in
//! the directory is left alone and never sent.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use demarc_proto::{Report, ReportId, report::MAX_BODY};

use crate::{
    gate::{Cleared, LEAST_FLOOR},
    state::StateDir,
};

/// How many reports may wait.
const MOST_REPORTS: usize = 400;
/// How many bytes may wait.
const MOST_BYTES: u64 = 16 * 1024 * 1024;
/// Ending of a file that is being written.
const UNFINISHED: &str = ".new";

/// The outbox.
#[derive(Clone, Debug)]
pub struct Outbox {
    directory: PathBuf,
    most_reports: usize,
    most_bytes: u64,
}

/// A report that waits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Waiting {
    /// Where its window begins: seconds since 1970 in UTC.
    pub window_start: u64,
    /// The report.
    pub id: ReportId,
    /// The length of its body.
    pub bytes: u64,
}

impl Waiting {
    fn file_name(&self) -> String {
        file_name(self.window_start, self.id)
    }
}

/// The outbox did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum OutboxError {
    /// Keep the calls in the store, they ride along later: no more reports fit.
    #[error(
        "the outbox holds all it may ({reports} reports, {bytes} bytes); calls wait in the store until the hub takes some"
    )]
    Full {
        /// Reports that wait.
        reports: usize,
        /// Their bytes.
        bytes: u64,
    },
    /// Try again later.
    #[error("cannot {doing} in the outbox {path}: {source}")]
    Io {
        /// What was tried.
        doing: &'static str,
        /// The directory.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
}

impl Outbox {
    /// The outbox for its writer: makes the directory, and clears away what a crash left half-written.
    ///
    /// # Errors
    /// When the directory cannot be made or read.
    pub fn open(state: &StateDir) -> Result<Self, OutboxError> {
        let outbox = Self::reader(state);
        outbox.prepare().map_err(outbox.failed("clear up"))?;
        Ok(outbox)
    }

    /// The outbox for a reader: nothing is made, nothing is changed.
    pub fn reader(state: &StateDir) -> Self {
        Self { directory: state.outbox(), most_reports: MOST_REPORTS, most_bytes: MOST_BYTES }
    }

    /// Puts a report in, durably. A report that is there already stays as it is.
    ///
    /// # Errors
    /// When it does not fit, or cannot be written; the outbox is then as it was.
    pub fn put(&self, cleared: &Cleared) -> Result<(), OutboxError> {
        let name = file_name(cleared.window().start, cleared.id());
        let mut waiting = self.list()?;
        if let Some(place) = waiting.iter().position(|there| there.file_name() == name) {
            if self.read(&waiting[place])?.as_deref() == Some(cleared.body()) {
                return Ok(());
            }
            waiting.swap_remove(place);
        }
        let bytes: u64 = waiting.iter().map(|there| there.bytes).sum();
        if waiting.len() >= self.most_reports || bytes + cleared.body().len() as u64 > self.most_bytes {
            return Err(OutboxError::Full { reports: waiting.len(), bytes });
        }
        self.write(&name, cleared.body().as_bytes()).map_err(self.failed("write a report"))
    }

    /// Whether another report fits, whatever its size.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn has_room(&self) -> Result<bool, OutboxError> {
        let waiting = self.list()?;
        let bytes: u64 = waiting.iter().map(|there| there.bytes).sum();
        Ok(waiting.len() < self.most_reports && bytes + MAX_BODY as u64 <= self.most_bytes)
    }

    /// The reports that wait, oldest window first.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn list(&self) -> Result<Vec<Waiting>, OutboxError> {
        let mut waiting = self.scan().map_err(self.failed("look"))?;
        waiting.sort();
        Ok(waiting)
    }

    /// The body of a report that waits, to be sent exactly as it is. Nothing where it is gone by now, or where the
    /// file does not hold the report that its name says: no other bytes may leave.
    ///
    /// # Errors
    /// When the file is there and cannot be read.
    pub fn read(&self, waiting: &Waiting) -> Result<Option<String>, OutboxError> {
        let mut body = String::new();
        let file = match File::open(self.directory.join(waiting.file_name())) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.failed("read a report")(error)),
        };
        match file.take(MAX_BODY as u64 + 1).read_to_string(&mut body) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::InvalidData => return Ok(None),
            Err(error) => return Err(self.failed("read a report")(error)),
        }
        let whole = Report::from_body(&body).is_ok_and(|report| {
            (report.id, report.window.start) == (waiting.id, waiting.window_start) && report.check(LEAST_FLOOR).is_ok()
        });
        Ok(whole.then_some(body))
    }

    /// Takes a report out; says whether it was there.
    ///
    /// # Errors
    /// When it is there and cannot be taken out.
    pub fn remove(&self, id: ReportId) -> Result<bool, OutboxError> {
        let there: Vec<Waiting> = self.list()?.into_iter().filter(|waiting| waiting.id == id).collect();
        self.take_out(&there).map_err(self.failed("remove a report"))?;
        Ok(!there.is_empty())
    }

    /// Takes every report out, and says which; from here on the link can send none of them.
    ///
    /// # Errors
    /// When one cannot be taken out.
    pub fn purge(&self) -> Result<Vec<ReportId>, OutboxError> {
        if !self.directory.exists() {
            return Ok(Vec::new());
        }
        let there = self.list()?;
        self.take_out(&there).and_then(|()| self.prepare()).map_err(self.failed("remove reports"))?;
        Ok(there.into_iter().map(|waiting| waiting.id).collect())
    }

    fn scan(&self) -> io::Result<Vec<Waiting>> {
        let entries = match fs::read_dir(&self.directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut waiting = Vec::new();
        for entry in entries {
            let entry = entry?;
            let Some((window_start, id)) = entry.file_name().to_str().and_then(parse_name) else { continue };
            // Not followed: a link to another file is not a report.
            let metadata = match entry.metadata() {
                Ok(metadata) => metadata,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            if metadata.is_file() && metadata.len() <= MAX_BODY as u64 {
                waiting.push(Waiting { window_start, id, bytes: metadata.len() });
            }
        }
        Ok(waiting)
    }

    fn write(&self, name: &str, body: &[u8]) -> io::Result<()> {
        let unfinished = self.directory.join(format!("{name}{UNFINISHED}"));
        let written = (|| {
            let mut options = OpenOptions::new();
            let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
            file.write_all(body)?;
            file.sync_all()?;
            fs::rename(&unfinished, self.directory.join(name))
        })();
        if written.is_err() {
            // On a full disk the half-written file would keep the disk full.
            let _ = fs::remove_file(&unfinished);
        }
        written.and_then(|()| sync_directory(&self.directory))
    }

    fn take_out(&self, reports: &[Waiting]) -> io::Result<()> {
        for waiting in reports {
            match fs::remove_file(self.directory.join(waiting.file_name())) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        if reports.is_empty() { Ok(()) } else { sync_directory(&self.directory) }
    }

    /// Makes the directory where there is none, and removes unfinished files.
    fn prepare(&self) -> io::Result<()> {
        if !self.directory.exists() {
            DirBuilder::new().recursive(true).mode(0o700).create(&self.directory)?;
        }
        for entry in fs::read_dir(&self.directory)? {
            let entry = entry?;
            let name = entry.file_name();
            if name.to_str().and_then(|name| name.strip_suffix(UNFINISHED)).and_then(parse_name).is_some() {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    fn failed(&self, doing: &'static str) -> impl FnOnce(io::Error) -> OutboxError {
        let path = self.directory.clone();
        move |source| OutboxError::Io { doing, path, source }
    }
}

fn file_name(window_start: u64, id: ReportId) -> String {
    format!("{window_start}-{id}.json")
}

fn parse_name(name: &str) -> Option<(u64, ReportId)> {
    let (start, id) = name.strip_suffix(".json")?.split_once('-')?;
    let (window_start, id) = (start.parse().ok()?, id.parse().ok()?);
    // Only the one way of writing a number: each report has one name.
    (file_name(window_start, id) == name).then_some((window_start, id))
}

fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use demarc_proto::{
        Cell, Window,
        report::{Destination, Quality},
    };

    use super::*;
    use crate::{
        gate::{Consent, Ledger, clear},
        tally::{Tally, TallyKey},
    };

    struct Bench {
        state: StateDir,
        ledger: Ledger,
        _directory: tempfile::TempDir,
    }

    impl Bench {
        fn new() -> Self {
            let directory = tempfile::tempdir().unwrap();
            let state = StateDir::new(directory.path());
            Self { ledger: Ledger::open(&state).unwrap(), state, _directory: directory }
        }

        fn cleared(&mut self, number: u8, start: u64) -> Cleared {
            let key = TallyKey {
                hour: 0,
                cell: Cell::from_index(0).unwrap(),
                talk: 1,
                wait: 1,
                destination: Destination::NotOutbound,
                quality: Quality::Unknown,
            };
            let tally = Tally { window: Window { start, seconds: 60 }, calls: [(key, 12)].into(), peak_concurrency: 1 };
            let report = crate::report::build(&tally, ReportId::from_bits([number; 16]), 10).unwrap();
            let enrolled = Some(("site-one".parse().unwrap(), 0));
            let consent = Consent { upload: true, enrolled, grace: Duration::ZERO, accepted_schema: 1 };
            clear(&consent, 1, report, &mut self.ledger).unwrap()
        }
    }

    fn names(state: &StateDir) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(state.outbox())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn what_goes_in_comes_out_oldest_first_and_byte_for_byte() {
        let mut bench = Bench::new();
        let outbox = Outbox::open(&bench.state).unwrap();
        // Numbers of different length do not sort as text would.
        for (number, start) in [(1, 960), (2, 1020), (3, 60), (4, 960)] {
            let cleared = bench.cleared(number, start);
            outbox.put(&cleared).unwrap();
            outbox.put(&cleared).unwrap();
        }
        let reader = Outbox::reader(&bench.state);
        let waiting = reader.list().unwrap();
        assert_eq!(waiting.iter().map(|w| w.window_start).collect::<Vec<_>>(), [60, 960, 960, 1020]);
        let oldest = bench.cleared(3, 60);
        assert_eq!(reader.read(&waiting[0]).unwrap().as_deref(), Some(oldest.body()));
        assert_eq!(names(&bench.state)[0], format!("1020-{}.json", ReportId::from_bits([2; 16])));
        assert!(outbox.remove(oldest.id()).unwrap());
        assert!(!outbox.remove(oldest.id()).unwrap());
        assert_eq!(reader.read(&waiting[0]).unwrap(), None);
        assert_eq!(outbox.purge().unwrap(), waiting[1..].iter().map(|w| w.id).collect::<Vec<_>>());
        assert_eq!(outbox.purge().unwrap(), []);
        assert_eq!(names(&bench.state), [""; 0]);
    }

    #[test]
    fn strange_files_are_neither_sent_nor_touched() {
        let mut bench = Bench::new();
        let outbox = Outbox::open(&bench.state).unwrap();
        let cleared = bench.cleared(1, 60);
        outbox.put(&cleared).unwrap();
        let directory = bench.state.outbox();
        let id = ReportId::from_bits([9; 16]);
        let foreign =
            [format!("060-{id}.json"), format!("60-{id}.json.bak"), "notes.txt".into(), "a.new".into(), ".json".into()];
        for name in &foreign {
            fs::write(directory.join(name), "x").unwrap();
        }
        fs::create_dir(directory.join(format!("120-{id}.json"))).unwrap();
        std::os::unix::fs::symlink("/etc/hostname", directory.join(format!("180-{id}.json"))).unwrap();
        // The right name is not enough: neither garbage, nor another report's bytes, nor bytes that break the floor leave.
        fs::write(directory.join(format!("240-{id}.json")), "Master.csv").unwrap();
        fs::write(directory.join(format!("300-{id}.json")), cleared.body()).unwrap();
        let mut low = Report::from_body(cleared.body()).unwrap();
        (low.id, low.window.start, low.floor) = (id, 360, 1);
        fs::write(directory.join(format!("360-{id}.json")), low.to_body()).unwrap();
        fs::write(directory.join(format!("420-{id}.json.new")), "half").unwrap();

        let waiting = Outbox::open(&bench.state).unwrap().list().unwrap();
        assert_eq!(waiting.iter().map(|w| w.window_start).collect::<Vec<_>>(), [60, 240, 300, 360]);
        let bodies: Vec<bool> = waiting.iter().map(|w| outbox.read(w).unwrap().is_some()).collect();
        assert_eq!(bodies, [true, false, false, false]);
        let left = names(&bench.state);
        assert!(foreign.iter().all(|name| left.contains(name)), "{left:?}");
        assert!(!left.iter().any(|name| name.starts_with("420-")), "what a crash left is cleared away");
    }

    #[test]
    fn a_damaged_report_is_put_in_again() {
        let mut bench = Bench::new();
        let outbox = Outbox::open(&bench.state).unwrap();
        let cleared = bench.cleared(1, 60);
        outbox.put(&cleared).unwrap();
        let file = bench.state.outbox().join(file_name(60, cleared.id()));
        fs::write(&file, " ".repeat(cleared.body().len())).unwrap();
        outbox.put(&cleared).unwrap();
        assert_eq!(fs::read_to_string(file).unwrap(), cleared.body());
    }

    #[test]
    fn it_is_bounded() {
        let mut bench = Bench::new();
        let by_number = Outbox { most_reports: 2, ..Outbox::open(&bench.state).unwrap() };
        let by_length = Outbox { most_bytes: 9000, ..by_number.clone() };
        let (first, second, third) = (bench.cleared(1, 60), bench.cleared(2, 120), bench.cleared(3, 180));
        by_number.put(&first).unwrap();
        by_number.put(&second).unwrap();
        assert!(matches!(by_number.put(&third), Err(OutboxError::Full { reports: 2, bytes: 8192 })));
        assert!(matches!(Outbox { most_reports: 9, ..by_length }.put(&third), Err(OutboxError::Full { .. })));
        // What is in already needs no more room.
        by_number.put(&first).unwrap();
        by_number.remove(first.id()).unwrap();
        by_number.put(&third).unwrap();
    }

    #[test]
    fn a_reader_makes_nothing() {
        let bench = Bench::new();
        let reader = Outbox::reader(&bench.state);
        assert_eq!(reader.list().unwrap(), []);
        assert_eq!(reader.purge().unwrap(), []);
        assert!(!bench.state.outbox().exists());
    }
}
