//! The SQLite file of Asterisk's `cdr_sqlite3_custom`, read while Asterisk writes it.
//!
//! Every look opens the file for reading alone, takes a few thousand rows behind the last one, and closes it: a reader's lock
//! would keep Asterisk from writing. Rows have numbers that grow, so that the last one read is the position; a few rows before it
//! are remembered by what stands in them, since a file can be made anew, or emptied, and then counts from 1 again.

mod columns;
mod file;

use std::{path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};
use tokio::time::sleep;

use self::{
    columns::Columns,
    file::{Closed, Watcher},
};
use super::{
    record::Entry,
    source::Start,
    stream::{NotStored, Outlet, Rows, Said},
    zone::Zone,
};
use crate::call::key::text_hash;

/// How often the file is looked at.
const PAUSE: Duration = Duration::from_secs(1);
/// So many rows are read at a time: some milliseconds of a lock.
const PORTION: usize = 2000;
/// So many rows are remembered by what stands in them.
const MARKS: usize = 8;

/// How far the file was read: what the store keeps.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Place {
    /// The last rows read, oldest first: their numbers, and what stood in them as a number.
    marks: Vec<(i64, u64)>,
}

/// What a look came to.
struct Look {
    entries: Vec<Entry>,
    place: Place,
    more: bool,
}

/// Why a look came to nothing, in words.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Fault(String);

/// Reads the file for as long as rows can be stored.
pub async fn follow(path: PathBuf, table: String, zone: Zone, start: Start, outlet: Outlet) {
    let place = start.position.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
    let mut reader = Reader { table, columns: Columns::new(zone), place };
    let mut watcher = Watcher::new(path);
    let mut backlog = true;
    loop {
        if !watcher.has_changed() {
            sleep(PAUSE).await;
            continue;
        }
        match reader.look(&mut watcher) {
            Ok(look) => {
                let more = look.more;
                if !look.entries.is_empty() && reader.deliver(look, &outlet, backlog).await.is_err() {
                    return;
                }
                if !more {
                    watcher.seen();
                    backlog = false;
                    outlet.trouble(reader.columns.trouble()).await;
                    sleep(PAUSE).await;
                }
            }
            Err(Closed::Fault(fault)) => {
                outlet.trouble(Some(fault.0)).await;
                sleep(PAUSE).await;
            }
            Err(Closed::CameLater) => {
                outlet.say(Said::CameLater).await;
                return;
            }
        }
    }
}

struct Reader {
    table: String,
    columns: Columns,
    place: Place,
}

impl Reader {
    fn look(&mut self, watcher: &mut Watcher) -> Result<Look, Closed> {
        let connection = watcher.open()?;
        let look = self.read(&connection).map_err(|error| Closed::Fault(watcher.explain(&error, &self.table)))?;
        drop(connection);
        // Without its helper files the file was read as if nobody wrote it; that must have been so.
        if watcher.is_disturbed() { Err(Closed::Fault(watcher.busy())) } else { Ok(look) }
    }

    fn read(&mut self, connection: &rusqlite::Connection) -> rusqlite::Result<Look> {
        // One transaction, so that marks and rows are of the same moment.
        let transaction = connection.unchecked_transaction()?;
        let list = self.columns.find(&transaction, &self.table)?;
        let table = columns::name(&self.table);
        let mut place = self.standing(&transaction, &list, &table)?;
        let last = place.marks.last().map_or(i64::MIN, |(number, _)| *number);
        let mut statement = transaction
            .prepare(&format!("SELECT rowid, {list} FROM {table} WHERE rowid > ?1 ORDER BY rowid LIMIT {PORTION}"))?;
        let mut rows = statement.query([last])?;
        let mut entries = Vec::new();
        while let Some(row) = rows.next()? {
            let cells = columns::cells(row)?;
            place.marks.push((row.get(0)?, text_hash(&cells.concat())));
            entries.push(Entry { row: self.columns.make(&cells), name: None });
        }
        let forgotten = place.marks.len().saturating_sub(MARKS);
        place.marks.drain(..forgotten);
        let more = entries.len() == PORTION;
        Ok(Look { entries, place, more })
    }

    /// The marks that still stand: behind the last of them goes reading on. Where none does, the rows were deleted from the front
    /// on and numbers went on growing, or this is another table.
    fn standing(&self, connection: &rusqlite::Connection, list: &str, table: &str) -> rusqlite::Result<Place> {
        let mut statement = connection.prepare(&format!("SELECT rowid, {list} FROM {table} WHERE rowid = ?1"))?;
        let mut marks = self.place.marks.clone();
        while let Some((number, hash)) = marks.last() {
            let mut rows = statement.query([number])?;
            if let Some(row) = rows.next()?
                && text_hash(&columns::cells(row)?.concat()) == *hash
            {
                return Ok(Place { marks });
            }
            marks.pop();
        }
        let first: Option<i64> =
            connection.query_row(&format!("SELECT min(rowid) FROM {table}"), [], |row| row.get(0))?;
        let last = self.place.marks.last().map(|(number, _)| *number);
        let went_on = first.zip(last).is_some_and(|(first, last)| first > last);
        Ok(if went_on { self.place.clone() } else { Place::default() })
    }

    async fn deliver(&mut self, look: Look, outlet: &Outlet, backlog: bool) -> Result<(), NotStored> {
        let position = serde_json::to_string(&look.place).map_err(|_| NotStored)?;
        outlet.deliver(Rows { entries: look.entries, position, forget_before: 0, backlog }).await?;
        self.place = look.place;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
