//! What a first report would have looked like: the newest records counted in a place that is thrown away, and nothing kept.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
};

use anyhow::Context;
use demarc_proto::{ReportId, Window};
use serde::{Deserialize, Serialize};

use super::digest;
use crate::{
    call::CallRules,
    pbx::{Zone, leg::Row, source},
    report,
    settings::{Settings, Source},
    state::StateDir,
    store::{Reporting, Store},
};

/// So much of the end of a file is counted.
const END: u64 = 4 << 20;
/// So many windows are looked at, from the newest one back.
const WINDOWS: u32 = 40;

/// What came of counting.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sample {
    /// The source whose records were counted.
    pub source: Option<String>,
    /// How many rows were read.
    pub rows: u64,
    /// The window of the report, or the fullest one.
    pub window: Option<Window>,
    /// How many calls ended in it.
    pub calls: u64,
    /// What the report says, in words.
    pub digest: Vec<String>,
    /// The report, without the spaces behind it.
    pub body: Option<String>,
    /// Why there is none, in words.
    pub why: Option<String>,
}

impl Sample {
    fn without(why: impl Into<String>) -> Self {
        Self { why: Some(why.into()), ..Self::default() }
    }
}

/// Records that can be counted: opened while this process may still open them.
pub struct Records {
    source: Source,
    zone: Zone,
    file: File,
}

impl Records {
    /// Those of the first source that lies in a file.
    ///
    /// # Errors
    /// In words, why nothing can be counted.
    pub fn open(settings: &Settings) -> Result<Self, Box<Sample>> {
        let none = |why: String| Box::new(Sample::without(why));
        let mut calls = settings.pbx.source.iter().filter(|source| source.tells_of_calls());
        let Some(source) = calls.find(|source| source.followed().is_some()) else {
            let why = match settings.pbx.source.is_empty() {
                true => "no source of call records was found",
                false => {
                    "the call records are on a server, which is read only once demarc runs; demarc stats preview shows it then"
                }
            };
            return Err(none(why.to_owned()));
        };
        let zone = Zone::load(source.timezone()).map_err(|error| none(error.to_string()))?;
        let path = source.followed().unwrap_or_else(|| unreachable!("it was chosen for that"));
        let file = File::open(path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => {
                none(format!("there is no {} yet; Asterisk makes it with the first call", path.display()))
            }
            _ => none(format!("{} cannot be read: {error}", path.display())),
        })?;
        Ok(Self { source: source.clone(), zone, file })
    }

    /// Counts them into a store of its own, which lies in `settings.state_dir`.
    ///
    /// # Errors
    /// When the file cannot be read or the store cannot be written.
    pub fn count(mut self, settings: &Settings, now: u64) -> anyhow::Result<Sample> {
        let buffer = self.end().context("the call records cannot be read")?;
        let Some(mut format) = source::format(&self.source, self.zone.clone()) else {
            return Ok(Sample::without("the columns of the call records are not known"));
        };
        let mut store = Store::open(&StateDir::new(&settings.state_dir))?;
        let rules = CallRules::new(&settings.pbx);
        let mut newest = None;
        let mut batch = store.batch(&rules)?;
        let taken = format.read(&buffer, true, u64::MAX, &mut |row| {
            if let Row::Leg(leg) = row {
                newest = newest.max(Some(leg.end));
                batch.leg(&leg, 0);
            }
        });
        batch.commit(now)?;
        let quiet = settings.quiet();
        let length = settings.stats.window;
        // As if they had been quiet for long enough.
        let later = now + quiet.as_secs().max(1);
        store.settle(later, quiet, Some(Reporting { length, open_from: 0 }))?;
        let mut sample = Sample { source: Some(self.source.name()), rows: taken.rows, ..Sample::default() };
        let Some(newest) = newest.and_then(|end| u64::try_from(end).ok()) else {
            sample.why = Some("there are no calls in the records yet".to_owned());
            return Ok(sample);
        };
        let mut window = length.window_at(newest.min(now));
        for _ in 0..WINDOWS {
            let tally = store.tally(window)?;
            let calls = tally.as_ref().map_or(0, crate::tally::Tally::total);
            if calls > sample.calls || sample.window.is_none() {
                (sample.window, sample.calls) = (Some(window), calls);
            }
            let report =
                tally.and_then(|tally| report::build(&tally, ReportId::from_bits([0; 16]), settings.stats.floor));
            if let Some(report) = report.filter(|_| window.end() <= now || sample.body.is_none()) {
                (sample.window, sample.calls) = (Some(window), calls);
                sample.digest = digest::lines(&report);
                sample.body = Some(report.to_body().trim_end().to_owned());
                if window.end() <= now {
                    break;
                }
            }
            let Some(before) = window.start.checked_sub(1) else { break };
            window = length.window_at(before);
        }
        if sample.body.is_none() {
            sample.why = Some(format!(
                "no window of {length} in the newest records holds the {} calls that a group must have at least",
                settings.stats.floor
            ));
        }
        Ok(sample)
    }

    /// The end of the file, from the beginning of a line on.
    fn end(&mut self) -> io::Result<Vec<u8>> {
        let length = self.file.metadata()?.len();
        let from = length.saturating_sub(END);
        self.file.seek(SeekFrom::Start(from))?;
        let mut buffer = Vec::new();
        (&self.file).take(END).read_to_end(&mut buffer)?;
        if from > 0 {
            let line = memchr::memchr(b'\n', &buffer).map_or(buffer.len(), |at| at + 1);
            buffer.drain(..line);
        }
        Ok(buffer)
    }
}
