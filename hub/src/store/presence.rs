//! Who is connected where: a row a site, which counts only while the node that wrote it beats.

use std::time::Duration;

use demarc_proto::SiteId;
use sqlx::AssertSqlSafe;

use super::{MOST_AT_ONCE, Store, StoreError, places_for};
use crate::clock::to_column;

/// A node that did not beat for this long is dead, and nobody is connected to it.
const ALIVE: Duration = Duration::from_secs(35);

/// Whether a node with that last beat lives.
pub(super) fn is_alive(beat: i64, now: u64) -> bool {
    to_column(now) - beat <= to_column(ALIVE.as_secs())
}

/// What changed about a site's connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Presence {
    /// Since when it is connected; absent when it is not.
    pub connected_since: Option<u64>,
    /// The version that it said; absent when it did not say one this time.
    pub version: Option<String>,
    /// When it was heard of last.
    pub seen: u64,
}

impl Store {
    /// Says that a node begins: whoever was connected to it under that name no longer is.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn start_node(&self, node: &str, now: u64) -> Result<(), StoreError> {
        sqlx::query("UPDATE site SET connected_since = NULL WHERE node = $1 AND connected_since IS NOT NULL")
            .bind(node)
            .execute(&self.pool)
            .await?;
        self.beat(node, now).await
    }

    /// Says that a node lives.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn beat(&self, node: &str, now: u64) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO node (name, beat) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET beat = excluded.beat",
        )
        .bind(node)
        .bind(to_column(now))
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Whether a node's last word that it lives could be written lately: the sign that the database takes what it is
    /// given, which reading alone is not when the disk is full.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn is_beating(&self, node: &str, now: u64) -> Result<bool, StoreError> {
        let beat: Option<(i64,)> =
            sqlx::query_as("SELECT beat FROM node WHERE name = $1").bind(node).fetch_optional(&self.pool).await?;
        Ok(beat.is_some_and(|(beat,)| is_alive(beat, now)))
    }

    /// Writes what changed, in one transaction.
    ///
    /// # Errors
    /// When the database fails; nothing is written then.
    pub async fn put_presence(&self, node: &str, changes: &[(SiteId, Presence)]) -> Result<(), StoreError> {
        let mut transaction = self.pool.begin().await?;
        for changes in changes.chunks(MOST_AT_ONCE) {
            let places = places_for(changes.len());
            let rows: Vec<String> = (0..places)
                .map(|row| {
                    let place = |column: usize| 2 + 4 * row + column;
                    format!(
                        "(${}, CAST(${} AS bigint), CAST(${} AS bigint), ${})",
                        place(0),
                        place(1),
                        place(2),
                        place(3)
                    )
                })
                .collect();
            let text = format!(
                "WITH news (name, connected_since, seen, version) AS (VALUES {}) \
                 UPDATE site SET node = $1, connected_since = news.connected_since, last_seen = news.seen, \
                 version = COALESCE(news.version, site.version) FROM news WHERE site.name = news.name",
                rows.join(", ")
            );
            // Only the number of places varies in this text; the last site fills those that are left.
            let mut query = sqlx::query(AssertSqlSafe(text)).bind(node);
            let fill = changes.last().into_iter().cycle();
            for (site, presence) in changes.iter().chain(fill).take(places) {
                query = query
                    .bind(site.as_str())
                    .bind(presence.connected_since.map(to_column))
                    .bind(to_column(presence.seen))
                    .bind(presence.version.as_deref());
            }
            query.execute(&mut *transaction).await?;
        }
        transaction.commit().await?;
        Ok(())
    }
}
