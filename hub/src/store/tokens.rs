//! Enrollment tokens and the certificates that they lead to.

use data_encoding::HEXLOWER;
use demarc_proto::SiteId;
use sha2::{Digest, Sha256};
use sqlx::{Any, Transaction};

use super::{Store, StoreError};
use crate::{ca::Issued, clock::to_column};

/// What became of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Redeemed {
    /// It was good, and is used up now.
    Enrolled {
        /// Whether the site had another key before, which is shut out from now on.
        replaced: bool,
    },
    /// No such token, or one of another site.
    Unknown,
    /// Somebody used it before.
    Used,
    /// Its time is over.
    Expired,
}

impl Store {
    /// Keeps a new token for a site, of which only the secret's hash is written. The site need not exist yet.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn add_token(&self, site: &SiteId, secret: &[u8], now: u64, expires: u64) -> Result<(), StoreError> {
        let mut transaction = self.pool.begin().await?;
        sqlx::query("INSERT INTO site (name, created) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING")
            .bind(site.as_str())
            .bind(to_column(now))
            .execute(&mut *transaction)
            .await?;
        sqlx::query("INSERT INTO token (secret_sha256, site, created, expires) VALUES ($1, $2, $3, $4)")
            .bind(hash(secret))
            .bind(site.as_str())
            .bind(to_column(now))
            .bind(to_column(expires))
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(())
    }

    /// Uses a token up and makes the certificate's key the site's only one, or changes nothing.
    ///
    /// The secret is looked up by its hash, so that how long the search takes tells nothing about it.
    ///
    /// # Errors
    /// When the database fails; nothing is changed then.
    pub async fn redeem(
        &self,
        site: &SiteId,
        secret: &[u8],
        issued: &Issued,
        now: u64,
    ) -> Result<Redeemed, StoreError> {
        let secret = hash(secret);
        let mut transaction = self.pool.begin().await?;
        let taken = sqlx::query(
            "UPDATE token SET used = $1 WHERE secret_sha256 = $2 AND site = $3 AND used IS NULL AND expires >= $1 RETURNING site",
        )
        .bind(to_column(now))
        .bind(&*secret)
        .bind(site.as_str())
        .fetch_optional(&mut *transaction)
        .await?;
        if taken.is_none() {
            let found: Option<(Option<i64>,)> =
                sqlx::query_as("SELECT used FROM token WHERE secret_sha256 = $1 AND site = $2")
                    .bind(&*secret)
                    .bind(site.as_str())
                    .fetch_optional(&mut *transaction)
                    .await?;
            return Ok(match found {
                None => Redeemed::Unknown,
                Some((Some(_),)) => Redeemed::Used,
                Some((None,)) => Redeemed::Expired,
            });
        }
        let (before,): (Option<String>,) = sqlx::query_as("SELECT key_sha256 FROM site WHERE name = $1")
            .bind(site.as_str())
            .fetch_one(&mut *transaction)
            .await?;
        sqlx::query("UPDATE site SET key_sha256 = $1, enrolled = $2, certificate_ends = $3 WHERE name = $4")
            .bind(&*issued.key_sha256)
            .bind(to_column(now))
            .bind(to_column(issued.ends))
            .bind(site.as_str())
            .execute(&mut *transaction)
            .await?;
        add_certificate(&mut transaction, site, issued).await?;
        transaction.commit().await?;
        Ok(Redeemed::Enrolled { replaced: before.is_some_and(|before| before != issued.key_sha256) })
    }

    /// Notes a renewed certificate; false, and nothing noted, when its key is not the site's.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn renewed(&self, site: &SiteId, issued: &Issued) -> Result<bool, StoreError> {
        let mut transaction = self.pool.begin().await?;
        let changed = sqlx::query("UPDATE site SET certificate_ends = $1 WHERE name = $2 AND key_sha256 = $3")
            .bind(to_column(issued.ends))
            .bind(site.as_str())
            .bind(&*issued.key_sha256)
            .execute(&mut *transaction)
            .await?
            .rows_affected();
        if changed == 0 {
            return Ok(false);
        }
        add_certificate(&mut transaction, site, issued).await?;
        transaction.commit().await?;
        Ok(true)
    }
}

async fn add_certificate(
    transaction: &mut Transaction<'_, Any>,
    site: &SiteId,
    issued: &Issued,
) -> Result<(), StoreError> {
    sqlx::query("INSERT INTO certificate (serial, site, key_sha256, issued, ends) VALUES ($1, $2, $3, $4, $5)")
        .bind(&*issued.serial)
        .bind(site.as_str())
        .bind(&*issued.key_sha256)
        .bind(to_column(issued.issued))
        .bind(to_column(issued.ends))
        .execute(&mut **transaction)
        .await?;
    Ok(())
}

fn hash(secret: &[u8]) -> String {
    HEXLOWER.encode(&Sha256::digest(secret))
}
