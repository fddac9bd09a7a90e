//! The hub's database: sites, tokens, certificates, reports. SQLite today; the same SQL runs on PostgreSQL.

mod health;
mod presence;
mod reports;
mod sites;
mod tokens;

pub use health::StoredHealth;
pub use presence::Presence;
pub use reports::{Kept, StoredReport};
pub use sites::SiteRow;
pub use tokens::Redeemed;

use std::{
    fmt::Write as _,
    os::unix::{ffi::OsStrExt, fs::DirBuilderExt},
    path::{Path, PathBuf},
    time::Duration,
};

use sqlx::{
    AnyPool,
    any::{AnyConnectOptions, AnyPoolOptions},
};

/// Reports and handshakes wait for the database this long, then their connection ends without an answer.
const ACQUIRE: Duration = Duration::from_secs(8);

/// So many sites fit in one statement.
pub const MOST_AT_ONCE: usize = 64;

/// The database.
#[derive(Clone, Debug)]
pub struct Store {
    pool: AnyPool,
}

/// The database does not do what it should.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It cannot be opened.
    #[error("cannot open the database {path}: {source}")]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It fails while in use.
    #[error("the database failed: {0}; is the disk full?")]
    Failed(#[from] sqlx::Error),
}

impl Store {
    /// Where the database lies in the data directory.
    pub fn path_in(data_dir: &Path) -> PathBuf {
        data_dir.join("hub.db")
    }

    /// Opens the database of a data directory; makes both when they do not exist yet.
    ///
    /// # Errors
    /// When it cannot be opened, or was written by a newer version.
    pub async fn open(data_dir: &Path) -> Result<Self, StoreError> {
        let path = Self::path_in(data_dir);
        let failed = |source: Box<dyn std::error::Error + Send + Sync>| StoreError::Open { path: path.clone(), source };
        let mut directory = std::fs::DirBuilder::new();
        directory.recursive(true).mode(0o700).create(data_dir).map_err(|error| failed(error.into()))?;
        sqlx::any::install_default_drivers();
        let options: AnyConnectOptions = url(&path).parse().map_err(|error: sqlx::Error| failed(error.into()))?;
        let pool = AnyPoolOptions::new()
            .max_connections(4)
            .acquire_timeout(ACQUIRE)
            .idle_timeout(None)
            .max_lifetime(None)
            .test_before_acquire(false)
            .after_connect(|connection, _| {
                Box::pin(async move {
                    // Write-ahead logging lets `token` and `sites` work beside `serve`; FULL makes a commit durable
                    // before a receipt is signed for it.
                    for pragma in [
                        "PRAGMA busy_timeout = 5000",
                        "PRAGMA journal_mode = WAL",
                        "PRAGMA synchronous = FULL",
                        "PRAGMA foreign_keys = ON",
                        "PRAGMA cache_size = -1024",
                    ] {
                        sqlx::query(pragma).execute(&mut *connection).await?;
                    }
                    Ok(())
                })
            })
            .connect_with(options)
            .await
            .map_err(|error| failed(error.into()))?;
        sqlx::migrate!().run(&pool).await.map_err(|error| failed(error.into()))?;
        Ok(Self { pool })
    }

    /// Closes the database after what is under way.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}

/// How many sites a statement is written for: one of two sizes, so that the database prepares each only once.
fn places_for(sites: usize) -> usize {
    if sites == 1 { 1 } else { MOST_AT_ONCE }
}

/// A file's path as the URL that the database library asks for.
fn url(path: &Path) -> String {
    let mut url = String::from("sqlite://");
    for byte in path.as_os_str().as_bytes() {
        if byte.is_ascii_alphanumeric() || b"/_-.".contains(byte) {
            url.push(char::from(*byte));
        } else {
            write!(url, "%{byte:02X}").expect("writing to a string cannot fail");
        }
    }
    url + "?mode=rwc"
}

#[cfg(test)]
mod tests {
    use demarc_proto::SiteId;

    use super::*;
    use crate::ca::Issued;

    fn site() -> SiteId {
        "site-one".parse().unwrap()
    }

    fn issued(serial: &str, key: &str) -> Issued {
        Issued { der: vec![].into(), serial: serial.into(), key_sha256: key.into(), issued: 10, ends: 20 }
    }

    async fn store() -> (tempfile::TempDir, Store) {
        let directory = tempfile::tempdir().unwrap();
        // A path that no URL could hold as it is.
        let store = Store::open(&directory.path().join("a b?#%é")).await.unwrap();
        assert!(directory.path().join("a b?#%é/hub.db").exists());
        (directory, store)
    }

    #[tokio::test]
    async fn a_token_is_good_once_for_its_site_in_its_time() {
        let (_directory, store) = store().await;
        store.add_token(&site(), &[1; 32], 5, 15).await.unwrap();
        store.add_token(&"site-two".parse().unwrap(), &[2; 32], 5, 15).await.unwrap();
        let mine = issued("a", "k");
        let redeem = |secret: [u8; 32], now: u64| {
            let (store, mine) = (store.clone(), mine.clone());
            async move { store.redeem(&site(), &secret, &mine, now).await.unwrap() }
        };
        assert_eq!(redeem([9; 32], 10).await, Redeemed::Unknown);
        assert_eq!(redeem([2; 32], 10).await, Redeemed::Unknown);
        assert_eq!(redeem([1; 32], 16).await, Redeemed::Expired);
        assert_eq!(redeem([1; 32], 15).await, Redeemed::Enrolled { replaced: false });
        assert_eq!(redeem([1; 32], 15).await, Redeemed::Used);
        assert_eq!(redeem([1; 32], 16).await, Redeemed::Used);
        assert_eq!(store.key_of(&site()).await.unwrap().as_deref(), Some("k"));
    }

    #[tokio::test]
    async fn of_many_who_come_with_one_token_one_is_let_in() {
        let (_directory, store) = store().await;
        store.add_token(&site(), &[1; 32], 5, 15).await.unwrap();
        let attempts = (0..8).map(|n| {
            let store = store.clone();
            tokio::spawn(
                async move { store.redeem(&site(), &[1; 32], &issued(&n.to_string(), "k"), 10).await.unwrap() },
            )
        });
        let mut let_in = 0;
        for attempt in attempts.collect::<Vec<_>>() {
            let_in += usize::from(matches!(attempt.await.unwrap(), Redeemed::Enrolled { .. }));
        }
        assert_eq!(let_in, 1);
    }

    #[tokio::test]
    async fn a_renewal_is_for_the_key_in_use() {
        let (_directory, store) = store().await;
        store.add_token(&site(), &[1; 32], 5, 15).await.unwrap();
        store.redeem(&site(), &[1; 32], &issued("a", "k"), 10).await.unwrap();
        assert!(store.renewed(&site(), &issued("b", "k")).await.unwrap());
        assert!(!store.renewed(&site(), &issued("c", "other")).await.unwrap());
        store.add_token(&site(), &[3; 32], 5, 15).await.unwrap();
        assert_eq!(
            store.redeem(&site(), &[3; 32], &issued("d", "l"), 10).await.unwrap(),
            Redeemed::Enrolled { replaced: true }
        );
        assert!(!store.renewed(&site(), &issued("e", "k")).await.unwrap());
    }

    #[tokio::test]
    async fn many_sites_are_asked_for_and_noted_at_once() {
        let (_directory, store) = store().await;
        let names: Vec<SiteId> = (0..MOST_AT_ONCE + 5).map(|n| format!("site-{n}").parse().unwrap()).collect();
        for (n, name) in names.iter().enumerate().skip(1) {
            let secret = [u8::try_from(n).unwrap(); 32];
            store.add_token(name, &secret, 5, 15).await.unwrap();
            store.redeem(name, &secret, &issued(&n.to_string(), &format!("key-{n}")), 10).await.unwrap();
        }
        for count in [0, 1, 2, 3, MOST_AT_ONCE] {
            let asked: Vec<&SiteId> = names.iter().take(count).collect();
            let keys = store.keys_of(&asked).await.unwrap();
            assert_eq!(keys.len(), count.saturating_sub(1), "the first is not enrolled");
            assert!(keys.iter().all(|(site, key)| key.strip_prefix("key-") == site.strip_prefix("site-")));
        }
        store.beat("node", 100).await.unwrap();
        for count in [0, 1, 2, names.len()] {
            let changes: Vec<_> = names
                .iter()
                .take(count)
                .map(|name| {
                    let version = (name.as_str() != "site-1").then(|| format!("0.{count}.0"));
                    (name.clone(), Presence { connected_since: Some(100), version, seen: 100 })
                })
                .collect();
            store.put_presence("node", &changes).await.unwrap();
            let connected = store.sites(100).await.unwrap().iter().filter(|row| row.connected).count();
            assert_eq!(connected, count.saturating_sub(1));
        }
        let rows = store.sites(100).await.unwrap();
        assert!(rows.iter().all(|row| (row.name == "site-1") == row.version.is_none()));
    }

    #[tokio::test]
    async fn presence_counts_while_the_node_lives() {
        let (_directory, store) = store().await;
        store.add_token(&site(), &[1; 32], 5, 15).await.unwrap();
        assert!(!store.is_beating("node", 100).await.unwrap());
        let here = Presence { connected_since: Some(100), version: Some("0.1.0".into()), seen: 100 };
        store.beat("node", 100).await.unwrap();
        assert!(store.is_beating("node", 110).await.unwrap() && !store.is_beating("node", 200).await.unwrap());
        store.put_presence("node", &[(site(), here)]).await.unwrap();
        let connected = |now| {
            let store = store.clone();
            async move { store.sites(now).await.unwrap()[0].connected }
        };
        assert!(connected(110).await);
        assert!(!connected(200).await, "a hub that was killed leaves nobody connected");
        store.beat("node", 200).await.unwrap();
        store.start_node("node", 200).await.unwrap();
        assert!(!connected(200).await);
        let gone = Presence { connected_since: None, version: None, seen: 205 };
        store.put_presence("node", &[(site(), gone)]).await.unwrap();
        let row = &store.sites(210).await.unwrap()[0];
        assert_eq!((row.last_seen, row.version.as_deref()), (Some(205), Some("0.1.0")));
    }
}
