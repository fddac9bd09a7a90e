//! Reports: kept exactly as received, one for each name.

use data_encoding::HEXLOWER;
use demarc_proto::{Report, SiteId};
use sha2::{Digest, Sha256};
use sqlx::Row;

use super::{Store, StoreError};
use crate::clock::{from_column, to_column};

/// What became of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// It is stored, durably, since that moment.
    Stored {
        /// When it was stored first.
        received: u64,
        /// Whether that was an earlier time, with the same bytes.
        again: bool,
    },
    /// Another report has that name.
    Conflict,
}

/// A report as it was received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredReport {
    /// When it came.
    pub received: u64,
    /// Its bytes.
    pub body: String,
}

impl Store {
    /// Keeps a report, unless one of that name is there. When this returns, a power loss cannot undo it.
    ///
    /// # Errors
    /// When the database fails; nothing is stored then, or all of it.
    pub async fn keep(&self, site: &SiteId, report: &Report, body: &str, now: u64) -> Result<Kept, StoreError> {
        let sha256 = HEXLOWER.encode(&Sha256::digest(body.as_bytes()));
        let id = report.id.to_string();
        let stored = sqlx::query(
            "INSERT INTO report (site, id, window_start, window_seconds, received, sha256, body) \
             VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (site, id) DO NOTHING",
        )
        .bind(site.as_str())
        .bind(&*id)
        .bind(to_column(report.window.start))
        .bind(i64::from(report.window.seconds))
        .bind(to_column(now))
        .bind(&*sha256)
        .bind(body)
        .execute(&self.pool)
        .await?
        .rows_affected();
        if stored == 1 {
            return Ok(Kept::Stored { received: now, again: false });
        }
        let (first, received): (String, i64) =
            sqlx::query_as("SELECT sha256, received FROM report WHERE site = $1 AND id = $2")
                .bind(site.as_str())
                .bind(&*id)
                .fetch_one(&self.pool)
                .await?;
        let again = Kept::Stored { received: from_column(received), again: true };
        Ok(if first == sha256 { again } else { Kept::Conflict })
    }

    /// A site's reports, the oldest window first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn reports(&self, site: &SiteId) -> Result<Vec<StoredReport>, StoreError> {
        let rows = sqlx::query("SELECT received, body FROM report WHERE site = $1 ORDER BY window_start, received, id")
            .bind(site.as_str())
            .fetch_all(&self.pool)
            .await?;
        rows.iter()
            .map(|row| Ok(StoredReport { received: from_column(row.try_get("received")?), body: row.try_get("body")? }))
            .collect()
    }
}
