//! The book of grants: which are live, until when by the boot clock, and how many sessions each has had.
//!
//! It is written before a grant counts, so that a daemon that was killed knows it again, and it carries the name of the
//! boot, so that a grant dies with it. Who can read the clock cannot lengthen a grant by setting it.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use demarc_proto::support::{Grant, GrantId};
use serde::{Deserialize, Serialize};

use super::{End, SessionId, boot};
use crate::staged::Staged;

/// More grants than these are not kept alive at a time.
pub const MOST_GRANTS: usize = 16;

/// The live grants.
#[derive(Debug)]
pub struct Book {
    path: PathBuf,
    pages: Pages,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Pages {
    boot: String,
    grants: Vec<Live>,
    /// Sessions that began and whose end is not in the ledger yet.
    #[serde(default)]
    open: Vec<SessionId>,
}

/// A grant that is live.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Live {
    /// What was granted.
    pub grant: Grant,
    /// Its end on the boot clock, in milliseconds.
    pub ends: u64,
    /// How many sessions it has had.
    pub sessions: u32,
}

impl Live {
    /// How much of its time is left.
    pub fn left(&self, now: Duration) -> Duration {
        Duration::from_millis(self.ends).saturating_sub(now)
    }
}

/// The book cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the book of support grants {} cannot be used", path.display())]
pub struct BookError {
    /// The file.
    pub path: PathBuf,
    /// Why.
    #[source]
    pub source: io::Error,
}

impl Book {
    /// Opens the book, and says which grants died since it was written: with the boot, or with their time.
    ///
    /// A book that cannot be read is begun anew: no grant is the safe side.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn open(path: &Path) -> Result<(Self, Vec<(Grant, End)>), BookError> {
        let fail = |source| BookError { path: path.to_owned(), source };
        let boot = boot::id().map_err(fail)?;
        let pages = match fs::read(path) {
            Ok(bytes) => serde_json::from_slice(&bytes).unwrap_or_else(|_| {
                tracing::error!("the book of support grants was damaged; every grant in it is over");
                Pages::default()
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Pages::default(),
            Err(error) => return Err(fail(error)),
        };
        let mut dead = Vec::new();
        let mut book = Self { path: path.to_owned(), pages };
        if book.pages.boot != boot {
            let grants = std::mem::take(&mut book.pages.grants);
            dead.extend(grants.into_iter().map(|live| (live.grant, End::Reboot)));
            book.pages.boot = boot;
        }
        dead.extend(book.take_expired(boot::now()).into_iter().map(|grant| (grant, End::Expired)));
        book.write()?;
        Ok((book, dead))
    }

    /// The live grants, the oldest first.
    pub fn live(&self) -> &[Live] {
        &self.pages.grants
    }

    /// The live grant of that name.
    pub fn find(&self, id: GrantId, now: Duration) -> Option<&Live> {
        self.pages.grants.iter().find(|live| live.grant.id == id && !live.left(now).is_zero())
    }

    /// Enters a grant that lasts from now on for that long.
    ///
    /// # Errors
    /// When the book cannot be written; the grant does not count then.
    pub fn enter(&mut self, grant: Grant, lasts: Duration) -> Result<(), BookError> {
        let ends = u64::try_from((boot::now() + lasts).as_millis()).unwrap_or(u64::MAX);
        self.pages.grants.push(Live { grant, ends, sessions: 0 });
        self.write().inspect_err(|_| {
            self.pages.grants.pop();
        })
    }

    /// Counts a session, and names it.
    ///
    /// # Errors
    /// When the book cannot be written, or the grant is not live.
    pub fn begin_session(&mut self, id: GrantId) -> Result<SessionId, BookError> {
        let live = self.pages.grants.iter_mut().find(|live| live.grant.id == id);
        let Some(live) = live else {
            return Err(BookError { path: self.path.clone(), source: io::Error::other("the grant is over") });
        };
        live.sessions += 1;
        let session = SessionId { grant: id, number: live.sessions };
        self.pages.open.push(session);
        self.write()?;
        Ok(session)
    }

    /// Sessions that began and whose end is not in the ledger: after a start, those of a daemon that was killed.
    pub fn open_sessions(&self) -> &[SessionId] {
        &self.pages.open
    }

    /// The end of a session is in the ledger.
    pub fn session_is_closed(&mut self, session: SessionId) {
        self.pages.open.retain(|open| *open != session);
        self.write_or_say();
    }

    /// Strikes a grant out. One that could not be struck out on the disk is out all the same while this process runs.
    pub fn strike(&mut self, id: GrantId) -> Option<Grant> {
        let place = self.pages.grants.iter().position(|live| live.grant.id == id)?;
        let live = self.pages.grants.remove(place);
        self.write_or_say();
        Some(live.grant)
    }

    /// Strikes out the grants whose time is over.
    pub fn expire(&mut self, now: Duration) -> Vec<Grant> {
        let expired = self.take_expired(now);
        if !expired.is_empty() {
            self.write_or_say();
        }
        expired
    }

    /// How long until the next grant is over.
    pub fn next_end(&self, now: Duration) -> Option<Duration> {
        self.pages.grants.iter().map(|live| live.left(now)).min()
    }

    fn take_expired(&mut self, now: Duration) -> Vec<Grant> {
        let (expired, live) =
            std::mem::take(&mut self.pages.grants).into_iter().partition(|l: &Live| l.left(now).is_zero());
        self.pages.grants = live;
        expired.into_iter().map(|live: Live| live.grant).collect()
    }

    fn write_or_say(&self) {
        if let Err(error) = self.write() {
            // Where the daemon is killed before the next write, the boot clock ends the grant at its time.
            tracing::error!("{:#}", anyhow::Error::from(error));
        }
    }

    fn write(&self) -> Result<(), BookError> {
        let fail = |source| BookError { path: self.path.clone(), source };
        let text = serde_json::to_vec(&self.pages).map_err(|error| fail(error.into()))?;
        Staged::write(&self.path, &text).and_then(Staged::commit).map_err(fail)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(id: &str) -> Grant {
        Grant {
            id: id.parse().unwrap(),
            site: "site-one".parse().unwrap(),
            scope: "diagnose".parse().unwrap(),
            issued: 0,
            until: 60,
            ticket: None,
            engineer: None,
            host_key: String::new(),
        }
    }

    #[test]
    fn a_killed_daemon_knows_its_grants_and_a_reboot_ends_them() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("grants.json");
        let (mut book, dead) = Book::open(&path).unwrap();
        assert!(dead.is_empty());
        let (first, second) = (grant("0000000000000001"), grant("0000000000000002"));
        book.enter(first.clone(), Duration::from_secs(60)).unwrap();
        book.enter(second.clone(), Duration::from_millis(20)).unwrap();
        assert_eq!(book.begin_session(first.id).unwrap().to_string(), "0000000000000001-1");
        std::thread::sleep(Duration::from_millis(30));
        assert!(book.find(second.id, boot::now()).is_none());
        let (mut again, dead) = Book::open(&path).unwrap();
        assert_eq!(dead, [(second, End::Expired)]);
        assert_eq!(again.begin_session(first.id).unwrap().number, 2);
        let first_session = again.open_sessions()[0];
        again.session_is_closed(first_session);
        let text = fs::read_to_string(&path).unwrap().replace(&boot::id().unwrap(), "another boot");
        fs::write(&path, text).unwrap();
        let (book, dead) = Book::open(&path).unwrap();
        assert_eq!(dead, [(first, End::Reboot)]);
        assert!(book.live().is_empty());
        assert_eq!(book.open_sessions(), [SessionId { grant: "0000000000000001".parse().unwrap(), number: 2 }]);
    }

    #[test]
    fn a_grant_that_was_struck_out_stays_out() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("grants.json");
        let (mut book, _) = Book::open(&path).unwrap();
        let grant = grant("0000000000000001");
        book.enter(grant.clone(), Duration::from_secs(60)).unwrap();
        assert!(book.next_end(boot::now()).unwrap() > Duration::from_secs(58));
        assert_eq!(book.strike(grant.id), Some(grant.clone()));
        assert!(book.strike(grant.id).is_none() && book.begin_session(grant.id).is_err());
        assert!(Book::open(&path).unwrap().0.live().is_empty());
        fs::write(&path, "{").unwrap();
        assert!(Book::open(&path).unwrap().0.live().is_empty());
    }
}
