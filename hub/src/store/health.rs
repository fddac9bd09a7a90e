//! Health reports: of each hour the newest, for a month.

use demarc_proto::SiteId;
use sqlx::Row;

use super::{Store, StoreError};
use crate::clock::{from_column, to_column};

const HOUR: u64 = 3600;
/// For how many hours they are kept.
const KEPT: u64 = 31 * 24;

/// A health report as it was received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredHealth {
    /// When it came.
    pub received: u64,
    /// The payload of its frame.
    pub payload: String,
}

impl Store {
    /// Keeps a health report in place of the one before of the same hour, and forgets what is older than a month.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn keep_health(&self, site: &SiteId, payload: &str, now: u64) -> Result<(), StoreError> {
        let hour = now / HOUR;
        sqlx::query(
            "INSERT INTO health (site, hour, received, payload) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (site, hour) DO UPDATE SET received = excluded.received, payload = excluded.payload",
        )
        .bind(site.as_str())
        .bind(to_column(hour))
        .bind(to_column(now))
        .bind(payload)
        .execute(&self.pool)
        .await?;
        sqlx::query("DELETE FROM health WHERE site = $1 AND hour <= $2")
            .bind(site.as_str())
            .bind(to_column(hour.saturating_sub(KEPT)))
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// A site's health reports, the oldest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn health(&self, site: &SiteId) -> Result<Vec<StoredHealth>, StoreError> {
        let rows = sqlx::query("SELECT received, payload FROM health WHERE site = $1 ORDER BY hour")
            .bind(site.as_str())
            .fetch_all(&self.pool)
            .await?;
        let one = |row: &sqlx::any::AnyRow| {
            let received = from_column(row.try_get("received")?);
            Ok(StoredHealth { received, payload: row.try_get("payload")? })
        };
        rows.iter().map(one).collect()
    }
}
