//! One followed file of call records on its way into the store.

use std::path::{Path, PathBuf};

use super::roster::Member;
use crate::{
    call::CallRules,
    ipc::SourceStatus,
    pbx::{
        Format,
        leg::Row,
        tail::{Tail, TailError},
    },
    store::{SourceCounts, Store, StoreError},
};

/// A file that is followed.
pub struct Feed {
    member: Member,
    path: PathBuf,
    tail: Tail,
    /// The version of the imports that the tail knows of.
    imports: Option<i64>,
    /// Whether what lay there at the start is still being read.
    backlog: bool,
    /// Whether the store has never heard of the source.
    unheard_of: bool,
    trouble: Option<String>,
    /// Whether this process has looked at the place of the file before, and was let in or found nothing there.
    looked: bool,
}

/// What became of a portion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Whether anything was read.
    pub moved: bool,
    /// Whether there is more to read at once.
    pub more: bool,
}

/// Why a source did not get on.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    /// The source cannot be read; the others go on.
    #[error(transparent)]
    Source(#[from] TailError),
    /// The store cannot take rows; nothing is lost, since the position did not move either.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Feed {
    /// Follows a file from where the store knows it to have been read.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn open(member: Member, path: &Path, format: Box<dyn Format>, store: &Store) -> Result<Self, StoreError> {
        let position = store.source_position(path)?;
        let unheard_of = position.is_none();
        let tail = Tail::of(path, format, position);
        Ok(Self {
            member,
            path: path.to_owned(),
            tail,
            imports: None,
            backlog: true,
            unheard_of,
            trouble: None,
            looked: false,
        })
    }

    /// Whether another start could reach a file that this process may not open: one that came to its place since this
    /// process was confined. Otherwise it is the file's mode that keeps us out, and a new start changes nothing.
    pub fn came_later(&self) -> bool {
        self.looked
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Takes over one portion of rows in one transaction.
    ///
    /// Calls of the backlog that ended before `reportable_from` may not be reported.
    ///
    /// # Errors
    /// See [`FeedError`]. Nothing of the portion is in the store then, and it is read again.
    pub fn pump(&mut self, store: &mut Store, rules: &CallRules, reportable_from: u64) -> Result<Taken, FeedError> {
        let from = if self.backlog { reportable_from } else { 0 };
        match self.take_portion(store, rules, from) {
            Ok(portion) => {
                if !portion.more {
                    self.backlog = false;
                }
                self.trouble = None;
                self.looked = true;
                Ok(portion)
            }
            // An import has read on in the same files: go on behind it.
            Err(FeedError::Store(StoreError::Moved { .. })) => {
                self.tail.go_back(store.source_position(&self.path)?);
                Ok(Taken { moved: false, more: true })
            }
            Err(error) => {
                self.trouble = Some(error.to_string());
                if let FeedError::Store(_) = error {
                    self.tail.go_back(store.source_position(&self.path)?);
                }
                Err(error)
            }
        }
    }

    fn take_portion(&mut self, store: &mut Store, rules: &CallRules, from: u64) -> Result<Taken, FeedError> {
        if let Some((version, marks)) = store.imports(self.imports)? {
            self.tail.know(marks);
            self.imports = Some(version);
        }
        if self.unheard_of {
            // Which file was found is stored before a row of it is read. Were the daemon killed in the first portion and the
            // file rotated before its next start, that start would otherwise know of the new file only.
            self.tail.look()?;
            let mut batch = store.batch(rules)?;
            batch.position(&self.path, &self.tail.position());
            batch.commit(super::now())?;
            self.unheard_of = false;
        }
        let before = self.tail.position();
        let target = self.member.queue_target();
        let mut batch = store.batch(rules)?;
        batch.via(self.member.via(super::now()));
        let progress = self.tail.poll(&mut |row| match row {
            Row::Leg(leg) => batch.leg(&leg, from),
            Row::Queue(row) => batch.queue(&row, target),
            Row::Repeat => batch.repeat(),
            Row::Malformed { bytes, why } => batch.malformed(bytes, why),
        })?;
        let position = self.tail.position();
        let moved = progress.rows > 0 || position != before;
        if moved {
            batch.position(&self.path, &position);
            batch.commit(super::now())?;
        }
        Ok(Taken { moved, more: progress.more })
    }

    /// What `demarc status` shows of the source.
    pub fn status(&self, counts: &SourceCounts) -> SourceStatus {
        SourceStatus {
            rows: counts.rows,
            malformed: counts.malformed,
            duplicates: counts.duplicates,
            last_read: counts.last_read,
            trouble: self.trouble.clone().or_else(|| self.tail.trouble()),
            advice: self.member.advice(counts.rows, counts.unlinked),
            ..self.member.status()
        }
    }
}
