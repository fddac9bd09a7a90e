//! Texts of trunks, queues and extensions as small numbers.

use std::collections::hash_map::Entry;

use rusqlite::{OptionalExtension, Transaction};
use rustc_hash::FxHashMap;

use crate::call::{NameId, Names};

/// No more texts than these. Names of channels can come from whoever calls (a guest's host name), and must not grow
/// the store without bound; what goes beyond is counted under one text.
const MAX_NAMES: i64 = 50_000;
/// The text of what goes beyond.
const OTHER: &str = "(other)";

/// Ids of texts that this process has seen in the store. Texts are never removed, so what stands here stays true.
#[derive(Default)]
pub(super) struct NameTable(FxHashMap<NameId, i64>);

impl NameTable {
    /// Stores all texts that are new.
    pub(super) fn add(&mut self, transaction: &Transaction<'_>, names: &Names) -> rusqlite::Result<()> {
        for (name, text) in names.iter() {
            if let Entry::Vacant(unknown) = self.0.entry(name) {
                unknown.insert(match find(transaction, name)? {
                    Some(id) => id,
                    None => insert(transaction, name, text)?,
                });
            }
        }
        Ok(())
    }

    /// The number of a text in the rollups; 0 for none.
    pub(super) fn id(&mut self, transaction: &Transaction<'_>, name: NameId) -> rusqlite::Result<i64> {
        if !name.is_some() {
            return Ok(0);
        }
        if let Some(&id) = self.0.get(&name) {
            return Ok(id);
        }
        let id = match find(transaction, name)? {
            Some(id) => id,
            // It was noted when there was no room.
            None => other(transaction)?,
        };
        self.0.insert(name, id);
        Ok(id)
    }

    /// Forgets everything: after a transaction that was taken back.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

fn find(transaction: &Transaction<'_>, name: NameId) -> rusqlite::Result<Option<i64>> {
    transaction
        .prepare_cached("SELECT id FROM name WHERE hash = ?1")?
        .query_row([name.as_i64()], |row| row.get(0))
        .optional()
}

fn insert(transaction: &Transaction<'_>, name: NameId, text: &str) -> rusqlite::Result<i64> {
    // Ids are given in order and never taken away, so that the highest is the count.
    let count: i64 =
        transaction.prepare_cached("SELECT coalesce(max(id), 0) FROM name")?.query_row([], |row| row.get(0))?;
    if count >= MAX_NAMES {
        return other(transaction);
    }
    transaction.prepare_cached("INSERT INTO name (hash, text) VALUES (?1, ?2)")?.execute((name.as_i64(), text))?;
    Ok(transaction.last_insert_rowid())
}

fn other(transaction: &Transaction<'_>) -> rusqlite::Result<i64> {
    let name = NameId::of(OTHER.as_bytes());
    match find(transaction, name)? {
        Some(id) => Ok(id),
        None => {
            transaction
                .prepare_cached("INSERT INTO name (hash, text) VALUES (?1, ?2)")?
                .execute((name.as_i64(), OTHER))?;
            Ok(transaction.last_insert_rowid())
        }
    }
}
