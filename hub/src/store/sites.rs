//! Sites: what the hub knows of each.

use std::collections::HashMap;

use demarc_proto::SiteId;
use sqlx::{AssertSqlSafe, Row};

use super::{Store, StoreError, places_for, presence::is_alive};
use crate::clock::from_column;

/// What the hub knows of a site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SiteRow {
    /// Its name.
    pub name: String,
    /// When it was enrolled last; absent while its token waits.
    pub enrolled: Option<u64>,
    /// The last second of its newest certificate.
    pub certificate_ends: Option<u64>,
    /// When it was connected last.
    pub last_seen: Option<u64>,
    /// Whether it is connected now.
    pub connected: bool,
    /// The version of its agent.
    pub version: Option<String>,
    /// How many reports are stored.
    pub reports: u64,
    /// When the newest report came.
    pub last_report: Option<u64>,
}

impl Store {
    /// The hash of a site's public key, if it is enrolled.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn key_of(&self, site: &SiteId) -> Result<Option<String>, StoreError> {
        let row: Option<(Option<String>,)> = sqlx::query_as("SELECT key_sha256 FROM site WHERE name = $1")
            .bind(site.as_str())
            .fetch_optional(&self.pool)
            .await?;
        Ok(row.and_then(|(key,)| key))
    }

    /// The hashes of the public keys of some sites, at most [`super::MOST_AT_ONCE`]; those that are not enrolled are
    /// missing.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn keys_of(&self, sites: &[&SiteId]) -> Result<HashMap<String, String>, StoreError> {
        let Some(last) = sites.last() else { return Ok(HashMap::new()) };
        let places: Vec<String> = (1..=places_for(sites.len())).map(|place| format!("${place}")).collect();
        let text = format!(
            "SELECT name, key_sha256 FROM site WHERE key_sha256 IS NOT NULL AND name IN ({})",
            places.join(", ")
        );
        // Only the number of places varies in this text.
        let mut query = sqlx::query_as(AssertSqlSafe(text));
        // What is asked for twice is answered once.
        for site in sites.iter().chain(std::iter::repeat(last)).take(places.len()) {
            query = query.bind(site.as_str());
        }
        let rows: Vec<(String, String)> = query.fetch_all(&self.pool).await?;
        Ok(rows.into_iter().collect())
    }

    /// Whether the hub ever heard of a site, enrolled or not.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn knows(&self, site: &SiteId) -> Result<bool, StoreError> {
        let row =
            sqlx::query("SELECT 1 FROM site WHERE name = $1").bind(site.as_str()).fetch_optional(&self.pool).await?;
        Ok(row.is_some())
    }

    /// Every site, by name.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn sites(&self, now: u64) -> Result<Vec<SiteRow>, StoreError> {
        let rows = sqlx::query(
            "SELECT site.name, site.enrolled, site.certificate_ends, site.last_seen, site.version, \
             site.connected_since, node.beat, \
             (SELECT count(*) FROM report WHERE report.site = site.name) AS reports, \
             (SELECT max(received) FROM report WHERE report.site = site.name) AS last_report \
             FROM site LEFT JOIN node ON node.name = site.node ORDER BY site.name",
        )
        .fetch_all(&self.pool)
        .await?;
        rows.iter()
            .map(|row| {
                let moment =
                    |column: &str| Ok::<_, sqlx::Error>(row.try_get::<Option<i64>, _>(column)?.map(from_column));
                let beats = row.try_get::<Option<i64>, _>("beat")?;
                let alive = beats.is_some_and(|beat| is_alive(beat, now));
                let connected = alive && moment("connected_since")?.is_some();
                Ok(SiteRow {
                    name: row.try_get("name")?,
                    enrolled: moment("enrolled")?,
                    certificate_ends: moment("certificate_ends")?,
                    // A tunnel that is up was seen when its node lived last, if it was not up only since.
                    last_seen: moment("last_seen")?.max(beats.filter(|_| connected).map(from_column)),
                    connected,
                    version: row.try_get("version")?,
                    reports: from_column(row.try_get("reports")?),
                    last_report: moment("last_report")?,
                })
            })
            .collect()
    }
}
