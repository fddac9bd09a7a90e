//! A directory into which FreeSWITCH writes a file for each leg: each file once, whatever else becomes of it.
//!
//! Which files were read stands in the store, by the hashes of their names. A name is forgotten once no file that was read as
//! early as it lies there any more: what was deleted or moved away does not come again under its name.

use std::{
    fs,
    io::{self, Read},
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use rustc_hash::FxHashMap;

use super::{
    Site,
    json::{self, Misread},
};
use crate::{
    call::key::text_hash,
    pbx::{
        leg::MalformedReason,
        record::{Entry, Unreadable},
        source::Start,
        stream::{NotStored, Outlet, Rows},
        tail::{TailError, open},
        watch::Watch,
        zone::Zone,
    },
};

/// What the names of the files end in.
const ENDING: &[u8] = b".cdr.json";
/// A longer file is no leg.
const LONGEST: u64 = 1 << 20;
/// How much of a file that is not understood is kept.
const KEPT: usize = 4096;
/// So many files are read into one transaction.
const PORTION: usize = 128;
/// So many names are looked at before others get their turn.
const NAMES: usize = 1024;
/// A file that ends in the middle is looked at for so long before it counts as torn.
const UNFINISHED: Duration = Duration::from_secs(60);
/// A pause between two looks at the whole directory is so many times as long as the look was, within these bounds.
const REST: u32 = 20;
const SHORTEST: Duration = Duration::from_millis(250);
const LONGEST_REST: Duration = Duration::from_secs(5);
/// The whole directory is looked at this often even when it seems unchanged.
const ANYWAY: Duration = Duration::from_secs(60);

/// Follows a directory, until the task is ended or the store does not take what was read.
pub async fn follow(path: PathBuf, outside: Vec<String>, zone: Zone, start: Start, outlet: Outlet) {
    let mut watch = Watch::of_directory(&path);
    let site = Site { outside, tells_of_bridges: true };
    let mut directory = Directory::new(path, site, zone, start);
    let mut backlog = true;
    let mut told = None;
    loop {
        let began = Instant::now();
        if directory.may_have_changed() {
            match directory.look(backlog, &outlet).await {
                Ok(trouble) if trouble != told => {
                    told.clone_from(&trouble);
                    outlet.trouble(trouble).await;
                }
                Ok(_) => {}
                // The task begins again from what the store has.
                Err(NotStored) => return,
            }
            backlog = false;
        }
        tokio::time::sleep((began.elapsed() * REST).clamp(SHORTEST, LONGEST_REST)).await;
        watch.changed().await;
    }
}

struct Directory {
    path: PathBuf,
    site: Site,
    zone: Zone,
    /// The names of files that were read, as the store has them, and when.
    read: FxHashMap<u64, i64>,
    /// Files that end in the middle.
    unfinished: FxHashMap<u64, Unfinished>,
    /// When the directory was changed and looked at last.
    looked: Option<(i128, Instant)>,
}

#[derive(Clone, Copy)]
struct Unfinished {
    size: u64,
    since: Instant,
}

impl Directory {
    fn new(path: PathBuf, site: Site, zone: Zone, start: Start) -> Self {
        let read = start.delivered.into_iter().collect();
        Self { path, site, zone, read, unfinished: FxHashMap::default(), looked: None }
    }

    /// Whether it is worth a look. Two changes can fall into one tick of the clock that files are stamped with, so that a fresh
    /// stamp proves nothing.
    fn may_have_changed(&self) -> bool {
        let Some((stamp, when)) = self.looked else { return true };
        let fresh = stamp.abs_diff(nanoseconds()) < 2_000_000_000;
        fresh || !self.unfinished.is_empty() || when.elapsed() > ANYWAY || changed(&self.path) != Some(stamp)
    }

    /// Reads every file that was not read before. Says what is wrong, in words.
    async fn look(&mut self, backlog: bool, outlet: &Outlet) -> Result<Option<String>, NotStored> {
        let stamp = changed(&self.path);
        // One moment for all files of this look, so that none of them is forgotten at its end.
        let now = seconds();
        let names = match fs::read_dir(&self.path) {
            Ok(names) => names,
            Err(error) => return Ok(Some(no_directory(&self.path, &error))),
        };
        let mut trouble = None;
        let mut entries = Vec::new();
        let mut oldest = i64::MAX;
        let unfinished = std::mem::take(&mut self.unfinished);
        for (number, name) in names.enumerate() {
            if number % NAMES == NAMES - 1 {
                tokio::task::yield_now().await;
            }
            let Ok(name) = name else {
                // Of what was not listed nothing is known.
                oldest = i64::MIN;
                break;
            };
            let name = name.file_name();
            if !name.as_bytes().ends_with(ENDING) {
                continue;
            }
            let id = text_hash(name.as_bytes());
            if let Some(at) = self.read.get(&id) {
                oldest = oldest.min(*at);
                continue;
            }
            match self.file(&self.path.join(&name), (id, now), unfinished.get(&id).copied()) {
                Ok(entry) => entries.extend(entry),
                Err(error) => trouble = trouble.or(Some(error.to_string())),
            }
            if entries.len() == PORTION {
                self.deliver(std::mem::take(&mut entries), i64::MIN, backlog, outlet).await?;
            }
        }
        let before = oldest.min(now);
        let stale = self.read.values().filter(|at| **at < before).count();
        // To forget takes a look at every name in the store: it is done where there is much to forget.
        let before = if stale * 4 > self.read.len() { before } else { i64::MIN };
        if !entries.is_empty() || before > i64::MIN {
            self.deliver(entries, before, backlog, outlet).await?;
            self.read.retain(|_, at| *at >= before);
        }
        self.looked = stamp.map(|stamp| (stamp, Instant::now()));
        Ok(trouble)
    }

    async fn deliver(
        &mut self,
        entries: Vec<Entry>,
        forget_before: i64,
        backlog: bool,
        outlet: &Outlet,
    ) -> Result<(), NotStored> {
        let names: Vec<_> = entries.iter().filter_map(|entry| entry.name).collect();
        outlet.deliver(Rows { entries, position: "listed".to_owned(), forget_before, backlog }).await?;
        self.read.extend(names);
        Ok(())
    }

    /// Reads a file; nothing where it is gone, or may be being written.
    fn file(&mut self, path: &Path, name: (u64, i64), before: Option<Unfinished>) -> Result<Option<Entry>, TailError> {
        let Some((file, metadata)) = open(path)? else { return Ok(None) };
        let size = metadata.size();
        let mut text = Vec::with_capacity(size.min(LONGEST) as usize + 1);
        let read = file.take(LONGEST + 1).read_to_end(&mut text);
        read.map_err(|source| TailError::Io { path: path.to_owned(), action: "read", source })?;
        let why = if text.len() as u64 > LONGEST {
            MalformedReason::TooLong
        } else {
            match json::read(&text, &self.site, &mut self.zone) {
                Ok(record) => return Ok(Some(Entry { row: Ok(record), name: Some(name) })),
                Err(Misread::Malformed(why)) => why,
                Err(Misread::Unfinished) => {
                    let same = before.filter(|before| before.size == size);
                    let unfinished = same.unwrap_or(Unfinished { size, since: Instant::now() });
                    if unfinished.since.elapsed() < UNFINISHED {
                        self.unfinished.insert(name.0, unfinished);
                        return Ok(None);
                    }
                    MalformedReason::Torn
                }
            }
        };
        text.truncate(KEPT);
        Ok(Some(Entry { row: Err(Unreadable { bytes: text, why }), name: Some(name) }))
    }
}

/// When something came into the directory or left it last: nanoseconds since 1970.
fn changed(path: &Path) -> Option<i128> {
    let metadata = fs::metadata(path).ok()?;
    Some(i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec()))
}

fn no_directory(path: &Path, error: &io::Error) -> String {
    let path = path.display();
    match error.kind() {
        io::ErrorKind::NotFound => {
            format!(
                "there is no directory {path}; FreeSWITCH makes it when mod_json_cdr is loaded and its log-dir is set"
            )
        }
        io::ErrorKind::PermissionDenied => {
            format!(
                "{path} may not be listed; the user that Demarc runs as needs the right to read it, and where it came only \
                 now, demarc must be restarted"
            )
        }
        _ => format!("{path} cannot be listed: {error}"),
    }
}

fn nanoseconds() -> i128 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as i128)
}

fn seconds() -> i64 {
    (nanoseconds() / 1_000_000_000) as i64
}

#[cfg(test)]
mod tests;
