//! One look at a tree: every file is counted, and those that are old are listed, or removed, or kept by a hold.

use std::{
    collections::BTreeMap,
    ffi::{CStr, CString, OsStr},
    io,
    os::{fd::AsFd, unix::ffi::OsStrExt},
};

use rustix::{
    fs::{AtFlags, Mode, OFlags, openat, unlinkat},
    io::Errno,
};

use super::{
    Job, Old, Outcome, Progress, TreeKind, TreeStatus,
    disk::{self, DAY, Share},
    files::{List, Listed},
    names,
    trees::Tree,
    walk::{self, LeftOut, Look, Place, Visitor, walk},
};

/// Files that are looked at a second time together before they are removed.
const BATCH: usize = 4_096;
/// What Asterisk puts into a mailbox while it works on it.
const LOCK: &CStr = c".lock";
/// Files of messages in one mailbox; a mailbox with more is none, and left alone.
const MOST_IN_MAILBOX: usize = 65_536;
/// How often the progress is told, in files.
const TELL_EVERY: u64 = 1_024;

/// What all trees share while a job is done.
pub(super) struct Round<'a> {
    pub(super) job: &'a Job,
    /// The clock, read once: seconds since 1970 in UTC.
    pub(super) now: u64,
    pub(super) outcome: Outcome,
    pub(super) list: Option<List>,
    pub(super) progress: Progress,
    pub(super) tell: &'a mut dyn FnMut(&Progress),
}

impl Round<'_> {
    /// Looks at one tree; `others` are the identities of the other ones.
    pub(super) fn tree(&mut self, tree: &Tree, others: &[(u64, u64)]) -> (TreeStatus, Option<Share>) {
        let seen = walk::open(&tree.real).and_then(|root| {
            let directory = root.as_fd().try_clone_to_owned()?;
            let mut look = LookAt::new(self, tree);
            let left_out = walk(root, tree.kind == TreeKind::Voicemail, others, &mut look)?;
            let look = look.finish();
            let share = Share {
                device: walk::identity(directory.as_fd())?.0,
                free: disk::free(directory.as_fd())?,
                per_day: look.status.bytes_per_day.max(look.status.bytes_per_day_of_month),
                passing: look.passing,
            };
            Ok((look, left_out, share))
        });
        match seen {
            Ok((look, left_out, share)) => {
                let troubles = troubles(left_out, look.failure);
                (TreeStatus { free_bytes: share.free, troubles, ..look.status }, Some(share))
            }
            Err(error) => {
                let troubles = vec![format!("it cannot be looked at: {error}. May demarc's user list it?")];
                (TreeStatus { troubles, ..empty(tree) }, None)
            }
        }
    }

    fn old(&self) -> Option<&Old> {
        self.job.old.as_ref()
    }
}

fn empty(tree: &Tree) -> TreeStatus {
    TreeStatus { path: tree.path.clone(), kind: tree.kind, ..TreeStatus::default() }
}

/// What was seen of one tree.
struct Seen {
    status: TreeStatus,
    passing: u64,
    failure: Option<Errno>,
}

/// One look at one tree.
struct LookAt<'a, 'b> {
    round: &'a mut Round<'b>,
    tree: &'a Tree,
    seen: Seen,
    bytes_of_week: u64,
    bytes_of_month: u64,
    /// Old files of the present directory, which go together.
    batch: Vec<Group>,
    files_in_batch: usize,
    /// The messages of the present mailbox.
    messages: BTreeMap<Vec<u8>, Group>,
    files_of_messages: usize,
    /// Whether a hold names the present directory, or one above it.
    is_held: Option<bool>,
}

/// Files that go together or not at all.
#[derive(Default)]
struct Group(Vec<Found>);

struct Found {
    name: CString,
    look: Look,
    is_held: bool,
}

impl<'a, 'b> LookAt<'a, 'b> {
    fn new(round: &'a mut Round<'b>, tree: &'a Tree) -> Self {
        Self {
            round,
            tree,
            seen: Seen { status: empty(tree), passing: 0, failure: None },
            bytes_of_week: 0,
            bytes_of_month: 0,
            batch: Vec::new(),
            files_in_batch: 0,
            messages: BTreeMap::new(),
            files_of_messages: 0,
            is_held: None,
        }
    }

    fn finish(mut self) -> Seen {
        let (now, oldest) = (self.round.now, self.seen.status.oldest);
        self.seen.status.bytes_per_day = disk::per_day(self.bytes_of_week, 7, oldest, now);
        self.seen.status.bytes_per_day_of_month = disk::per_day(self.bytes_of_month, 30, oldest, now);
        self.seen
    }

    /// Whether a file has not changed for as long as the rule says. One of the future is young.
    fn is_old(&self, look: &Look) -> bool {
        let age = self.round.now.saturating_sub(look.changed);
        self.round.old().is_some_and(|old| age > old.older_than)
    }

    /// Whether a hold keeps a file: for its path, its name, or its mailbox.
    fn is_held(&mut self, place: &Place<'_>, name: &CStr) -> bool {
        let holds = &self.round.job.holds;
        let named = |below: &std::path::Path| {
            holds.names(&self.tree.real.join(below)) || holds.names(&self.tree.path.join(below))
        };
        let above = *self
            .is_held
            .get_or_insert_with(|| named(place.path) || (place.in_mailboxes && holds.hold_mailbox(place.path)));
        above || holds.hold_word(name.to_bytes()) || named(&place.path.join(OsStr::from_bytes(name.to_bytes())))
    }

    /// Counts a file that is still there.
    fn stays(&mut self, found: &Found, passes: bool) {
        let (look, status) = (&found.look, &mut self.seen.status);
        status.files += 1;
        status.bytes = status.bytes.saturating_add(look.bytes);
        status.oldest = Some(status.oldest.map_or(look.changed, |oldest| oldest.min(look.changed)));
        status.newest = Some(status.newest.map_or(look.changed, |newest| newest.max(look.changed)));
        status.held += u64::from(found.is_held);
        let age = self.round.now.saturating_sub(look.changed);
        if age <= 7 * DAY {
            self.bytes_of_week = self.bytes_of_week.saturating_add(look.bytes);
        }
        if age <= 30 * DAY {
            self.bytes_of_month = self.bytes_of_month.saturating_add(look.bytes);
        }
        if passes && !found.is_held {
            self.seen.passing = self.seen.passing.saturating_add(look.bytes);
        }
    }

    /// Decides about files that go together.
    fn decide(&mut self, group: Group, is_old: bool) {
        let is_held = group.0.iter().any(|found| found.is_held);
        if is_old && !is_held {
            self.files_in_batch += group.0.len();
            return self.batch.push(group);
        }
        for found in &group.0 {
            if is_old {
                self.round.outcome.kept_by_holds.add(found.look.bytes);
            }
            self.stays(found, true);
        }
    }

    /// Lists or removes what is old in this directory.
    fn flush(&mut self, place: &Place<'_>) {
        self.files_in_batch = 0;
        for group in std::mem::take(&mut self.batch) {
            group.0.iter().for_each(|found| self.round.outcome.due.add(found.look.bytes));
            if self.round.old().is_some_and(|old| old.remove) {
                self.remove(place, group);
            } else {
                for found in &group.0 {
                    self.list(place, found);
                    self.stays(found, true);
                }
            }
        }
    }

    fn list(&mut self, place: &Place<'_>, found: &Found) {
        let Some(list) = &mut self.round.list else { return };
        let path = self.tree.path.join(place.path).join(OsStr::from_bytes(found.name.to_bytes()));
        let path = path.to_string_lossy().into_owned();
        if let Err(error) = list.add(&Listed { path, bytes: found.look.bytes, changed: found.look.changed }) {
            self.round.outcome.troubles.push(format!("the list of names is not complete: {error}"));
            self.round.list = None;
        }
    }

    /// Removes files that go together, if each is what it was when it was looked at first.
    fn remove(&mut self, place: &Place<'_>, mut group: Group) {
        let looks: Vec<_> = group.0.iter().map(|found| Look::at(place.directory, &found.name)).collect();
        if group.0.iter().zip(&looks).any(|(found, look)| *look != Ok(Some(found.look))) {
            for (found, _) in group.0.iter().zip(&looks).filter(|(_, look)| **look != Err(Errno::NOENT)) {
                self.round.outcome.changed += 1;
                self.stays(found, true);
            }
            return;
        }
        // A message is there for as long as its text is: it goes first, so that what is cut short leaves no message
        // without its sound.
        group.0.sort_by_key(|found| !found.name.to_bytes().ends_with(b".txt"));
        for found in &group.0 {
            match unlinkat(place.directory, &found.name, AtFlags::empty()) {
                Ok(()) => {
                    self.round.outcome.removed.add(found.look.bytes);
                    self.round.progress.removed = self.round.outcome.removed;
                }
                Err(Errno::NOENT) => {}
                Err(error) => {
                    self.round.outcome.failed += 1;
                    self.seen.failure.get_or_insert(error);
                    self.stays(found, true);
                }
            }
        }
    }

    /// Tries to open the first file that it can be tried on. Nothing is read, whatever comes of it.
    fn prove(&mut self, place: &Place<'_>, name: &CStr) {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::NOCTTY | OFlags::CLOEXEC;
        self.seen.status.cannot_open = match openat(place.directory, name, flags, Mode::empty()) {
            Ok(_) => Some(false),
            Err(Errno::ACCESS | Errno::PERM) => Some(true),
            Err(_) => None,
        };
    }
}

impl Visitor for LookAt<'_, '_> {
    fn file(&mut self, place: &Place<'_>, name: &CStr, look: Look) {
        self.round.progress.looked_at += 1;
        if self.round.progress.looked_at.is_multiple_of(TELL_EVERY) {
            (self.round.tell)(&self.round.progress);
        }
        if self.seen.status.cannot_open.is_none() {
            self.prove(place, name);
        }
        let found = Found { name: name.to_owned(), look, is_held: self.is_held(place, name) };
        if place.in_mailboxes {
            let may_go = self.round.job.voicemail && self.files_of_messages < MOST_IN_MAILBOX;
            return match names::message(name.to_bytes()).filter(|_| may_go) {
                Some(message) => {
                    self.files_of_messages += 1;
                    self.messages.entry(message.to_owned()).or_default().0.push(found);
                }
                None => self.stays(&found, false),
            };
        }
        if !names::is_recording(name.to_bytes()) {
            return self.stays(&found, false);
        }
        let is_old = self.is_old(&look);
        self.decide(Group(vec![found]), is_old);
        if self.files_in_batch >= BATCH {
            self.flush(place);
        }
    }

    fn leave(&mut self, place: &Place<'_>) {
        let is_mailbox = std::mem::take(&mut self.files_of_messages) < MOST_IN_MAILBOX;
        let is_free = is_mailbox && !self.messages.is_empty() && Look::at(place.directory, LOCK) == Err(Errno::NOENT);
        for group in std::mem::take(&mut self.messages).into_values() {
            let is_old = is_free && group.0.iter().all(|found| self.is_old(&found.look));
            self.decide(group, is_old);
        }
        self.flush(place);
        self.is_held = None;
    }
}

fn troubles(left_out: LeftOut, failure: Option<Errno>) -> Vec<String> {
    let mut troubles = Vec::new();
    if left_out.mounted > 0 {
        troubles.push(format!(
            "{} in it on another file system, not looked into: name what lies there in recordings.paths.",
            directories(left_out.mounted)
        ));
    }
    if left_out.closed > 0 {
        troubles.push(format!("{} in it could not be listed by demarc's user.", directories(left_out.closed)));
    }
    if left_out.beyond > 0 {
        let beyond = directories(left_out.beyond);
        troubles.push(format!("{beyond} in it too far down, or too many in one directory, not looked into."));
    }
    if let Some(error) = failure {
        let error = io::Error::from(error);
        troubles
            .push(format!("some files could not be removed: {error}. May demarc's user write the directories there?"));
    }
    troubles
}

fn directories(count: u64) -> String {
    if count == 1 { "1 directory".to_owned() } else { format!("{count} directories") }
}
