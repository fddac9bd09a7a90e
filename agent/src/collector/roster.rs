//! The sources in the order of the settings, and how the word of each stands.

use std::time::Duration;

use crate::{
    ipc::SourceStatus,
    settings::{Pbx, Source},
    store::{Enlisted, FeedCounts, Standing, Store, StoreError, Via},
};

/// A source's place among the others.
#[derive(Clone, Debug)]
pub struct Member {
    source: Source,
    enlisted: Enlisted,
    standing: Standing,
    queue_target: Duration,
}

/// All sources of these settings. The first that tells of calls is the one whose rows count at once; the others wait for it.
///
/// # Errors
/// When the store cannot be written.
pub fn enlist(pbx: &Pbx, store: &mut Store, now: u64) -> Result<Vec<Member>, StoreError> {
    let telling = pbx.source.iter().filter(|source| source.tells_of_calls()).count();
    let mut is_first = true;
    let mut members = Vec::new();
    for source in &pbx.source {
        let enlisted = store.enlist(&source.name(), source.followed(), now)?;
        let standing = standing(telling, is_first && source.tells_of_calls(), pbx.patience);
        is_first &= !source.tells_of_calls();
        members.push(Member { source: source.clone(), enlisted, standing, queue_target: pbx.queue_target });
    }
    Ok(members)
}

fn standing(telling: usize, is_first: bool, patience: Duration) -> Standing {
    match (telling, is_first) {
        (..=1, _) => Standing::Alone,
        (_, true) => Standing::First,
        (_, false) => Standing::Witness { patience: patience.as_secs() },
    }
}

impl Member {
    /// What the settings say of it.
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// Its place in the store.
    pub fn enlisted(&self) -> Enlisted {
        self.enlisted
    }

    /// How soon a caller in a queue should be answered, in seconds.
    pub fn queue_target(&self) -> u64 {
        self.queue_target.as_secs()
    }

    /// How its rows enter a batch now.
    pub fn via(&self, now: u64) -> Via {
        Via { feed: self.enlisted.number, since: self.enlisted.since, standing: self.standing, now }
    }

    /// What `demarc status` shows of any source.
    pub fn status(&self) -> SourceStatus {
        SourceStatus {
            name: self.source.name(),
            witness: self.source.tells_of_calls() && matches!(self.standing, Standing::Witness { .. }),
            ..SourceStatus::default()
        }
    }

    /// What the owner could set in Asterisk so that calls are grouped with certainty.
    pub fn advice(&self, rows: u64, unlinked: u64) -> Option<String> {
        let setting = match &self.source {
            Source::AsteriskCsv { .. } => "newcdrcolumns=yes and loguniqueid=yes in the [csv] section of cdr.conf",
            Source::CdrCustom { .. } => "columns of uniqueid, linkedid and sequence in cdr_custom.conf",
            Source::CdrSqlite { .. } => "columns of uniqueid, linkedid and sequence in cdr_sqlite3_custom.conf",
            Source::Ami { .. } => "linkedid => LinkedID and sequence => Sequence below [mappings] in cdr_manager.conf",
            Source::FreeswitchCsv { .. } => "${uuid} and ${originating_leg_uuid} in the template of cdr_csv.conf",
            Source::FreepbxDb { .. } => "the columns linkedid and sequence, which newer FreePBX adds to its table,",
            _ => return None,
        };
        (unlinked > 0).then(|| {
            format!(
                "{unlinked} of {rows} rows do not say which call they belong to, so that a call with several rows is \
                 counted several times; {setting} mend that"
            )
        })
    }
}

/// Adds what the store knows of a source beside its file.
pub fn complete(mut status: SourceStatus, counts: &[FeedCounts]) -> SourceStatus {
    if let Some(counts) = counts.iter().find(|counts| counts.name == status.name) {
        (status.confirmed, status.rescued, status.left) = (counts.confirmed, counts.rescued, counts.left);
    }
    status
}
