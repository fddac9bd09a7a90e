//! Encrypted backups of sites' configurations: files that nobody here can read, kept for the site alone that sent them.

use std::{
    fs,
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use axum::{
    Extension, Router,
    body::Body,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, put},
};
use data_encoding::HEXLOWER;
use demarc_proto::{
    SiteId,
    backup::{BACKUP_HEAD, BACKUPS_PATH, BackupName, KeptBackup, MOST_BACKUP_BYTES},
};
use futures_util::StreamExt;
use sha2::{Digest, Sha256};
use tokio_util::io::ReaderStream;
use tracing::{info, warn};

use crate::{config::Config, files::Asker, hub::Hub};

/// Where they are kept, below the data directory; a directory for each site.
const DIRECTORY: &str = "backups";
/// How the name of a file begins that is still arriving.
const ARRIVING: &str = "arriving-";

/// Keeps backups, each under its site.
#[derive(Debug)]
pub struct Vault {
    directory: PathBuf,
    enabled: bool,
    most_bytes: u64,
    keep: usize,
    /// Held while room is looked for and a file put in its place.
    placing: Mutex<u64>,
}

/// Why a backup is not kept.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// It is none.
    #[error("it does not begin as an encrypted backup does")]
    NotEncrypted,
    /// It is too long.
    #[error("it is longer than a backup may be")]
    TooLong,
    /// The site has no room left.
    #[error("the site has no room left")]
    Full,
    /// Another one has that name.
    #[error("the site has another one of that name")]
    Taken,
    /// It broke off.
    #[error("it broke off")]
    BrokenOff,
    /// There is none.
    #[error("there is none of that name")]
    Missing,
    /// The disk fails.
    #[error("{0}")]
    Disk(#[from] io::Error),
}

impl VaultError {
    fn status(&self) -> StatusCode {
        match self {
            Self::NotEncrypted | Self::BrokenOff => StatusCode::BAD_REQUEST,
            Self::TooLong => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Full => StatusCode::INSUFFICIENT_STORAGE,
            Self::Taken => StatusCode::CONFLICT,
            Self::Missing => StatusCode::NOT_FOUND,
            Self::Disk(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl Vault {
    /// By those settings.
    pub fn new(config: &Config) -> Self {
        Self {
            directory: config.data_dir.join(DIRECTORY),
            enabled: config.backups.enabled,
            most_bytes: config.backups.most_bytes_per_site.get(),
            keep: config.backups.keep.get().into(),
            placing: Mutex::new(0),
        }
    }

    /// Removes what was still arriving when the hub ended.
    pub fn clear(&self) {
        let sites = fs::read_dir(&self.directory).into_iter().flatten().flatten();
        for entry in sites.flat_map(|site| fs::read_dir(site.path()).into_iter().flatten().flatten()) {
            if entry.file_name().to_string_lossy().starts_with(ARRIVING) {
                // What cannot be removed is in nobody's list all the same.
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    /// The longest backup that is taken.
    fn longest(&self) -> u64 {
        self.most_bytes.min(MOST_BACKUP_BYTES)
    }

    /// What is kept of a site, the newest first.
    pub fn list(&self, site: &SiteId) -> Vec<KeptBackup> {
        list(&self.own(site))
    }

    /// A site's own directory. A site's name is made of letters, digits and `-` alone.
    fn own(&self, site: &SiteId) -> PathBuf {
        self.directory.join(site.as_str())
    }

    fn open(&self, site: &SiteId, name: &BackupName) -> Result<(fs::File, u64), VaultError> {
        match fs::File::open(self.own(site).join(name.file())) {
            Ok(file) => {
                let length = file.metadata()?.len();
                Ok((file, length))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(VaultError::Missing),
            Err(error) => Err(error.into()),
        }
    }

    fn remove(&self, site: &SiteId, name: &BackupName) -> Result<(), VaultError> {
        match fs::remove_file(self.own(site).join(name.file())) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(VaultError::Missing),
            other => Ok(other?),
        }
    }

    /// A file that arrives; it is nobody's until it is complete.
    fn begin(&self, site: &SiteId) -> io::Result<Arriving> {
        let own = self.own(site);
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&own)?;
        let number = {
            let mut count = self.placing.lock().unwrap_or_else(PoisonError::into_inner);
            *count += 1;
            *count
        };
        let path = own.join(format!("{ARRIVING}{}-{number}", std::process::id()));
        let file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        Ok(Arriving { file, path, bytes: 0, head: Vec::new(), hash: Sha256::new() })
    }

    /// Puts what arrived in its place, if there is room.
    fn place(&self, site: &SiteId, name: &BackupName, arrived: Arriving) -> Result<KeptBackup, VaultError> {
        if arrived.head != BACKUP_HEAD {
            return Err(VaultError::NotEncrypted);
        }
        arrived.file.sync_all()?;
        let own = self.own(site);
        let sha256 = HEXLOWER.encode(arrived.hash.clone().finalize().as_slice());
        let answer = KeptBackup { name: name.clone(), bytes: arrived.bytes, sha256: Some(sha256) };
        let _placing = self.placing.lock().unwrap_or_else(PoisonError::into_inner);
        if let Ok((file, _)) = self.open(site, name) {
            // Sent again since our answer was lost: it is the same, or it is refused. Nothing that is kept changes.
            return if hash(file)? == answer.sha256 { Ok(answer) } else { Err(VaultError::Taken) };
        }
        let kept = list(&own);
        let mut bytes: u64 = kept.iter().map(|kept| kept.bytes).sum();
        // The oldest make room by their number, and none does by its length: a site could otherwise lose all for one.
        let surplus = kept.get(self.keep.saturating_sub(1)..).unwrap_or_default();
        bytes -= surplus.iter().map(|kept| kept.bytes).sum::<u64>();
        if bytes.saturating_add(arrived.bytes) > self.most_bytes {
            return Err(VaultError::Full);
        }
        fs::rename(&arrived.path, own.join(name.file()))?;
        fs::File::open(&own)?.sync_all()?;
        for old in surplus {
            fs::remove_file(own.join(old.name.file()))?;
        }
        Ok(answer)
    }
}

/// A file that is still arriving. It goes away with this, unless it was put in its place.
struct Arriving {
    file: fs::File,
    path: PathBuf,
    bytes: u64,
    head: Vec<u8>,
    hash: Sha256,
}

impl Arriving {
    fn take(&mut self, portion: &[u8], longest: u64) -> Result<(), VaultError> {
        self.bytes += portion.len() as u64;
        if self.bytes > longest {
            return Err(VaultError::TooLong);
        }
        let wanted = (BACKUP_HEAD.len() - self.head.len()).min(portion.len());
        self.head.extend_from_slice(&portion[..wanted]);
        // Nothing that is not encrypted is on this disk for longer than it takes to see that.
        if !BACKUP_HEAD.starts_with(&self.head) {
            return Err(VaultError::NotEncrypted);
        }
        self.hash.update(portion);
        Ok(self.file.write_all(portion)?)
    }
}

impl Drop for Arriving {
    fn drop(&mut self) {
        // Where it was put in its place, there is nothing under this name.
        let _ = fs::remove_file(&self.path);
    }
}

/// The backups in a directory, the newest first.
fn list(directory: &Path) -> Vec<KeptBackup> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut kept: Vec<KeptBackup> = entries
        .filter_map(|entry| {
            let name = BackupName::of_file(entry.file_name().to_str()?)?;
            Some(KeptBackup { name, bytes: entry.metadata().ok()?.len(), sha256: None })
        })
        .collect();
    kept.sort_by(|one, other| other.name.cmp(&one.name));
    kept
}

fn hash(mut file: fs::File) -> io::Result<Option<String>> {
    let mut hash = Sha256::new();
    let mut portion = vec![0; 64 * 1024];
    loop {
        match file.read(&mut portion)? {
            0 => return Ok(Some(HEXLOWER.encode(hash.finalize().as_slice()))),
            length => hash.update(&portion[..length]),
        }
    }
}

/// What a site can ask about its own backups.
pub fn router(hub: &Arc<Hub>) -> Router {
    hub.backups.clear();
    if !hub.backups.enabled {
        let none = (StatusCode::SERVICE_UNAVAILABLE, "this hub keeps no backups\n");
        let refuse = axum::routing::any(move || async move { none.into_response() });
        return Router::new().route(BACKUPS_PATH, refuse.clone()).route(&format!("{BACKUPS_PATH}/{{file}}"), refuse);
    }
    Router::new()
        .route(BACKUPS_PATH, get(listed))
        .route(&format!("{BACKUPS_PATH}/{{file}}"), put(keep).get(give).delete(remove))
        .with_state(Arc::clone(hub))
}

/// The backup that a path names.
fn named(file: &str) -> Result<BackupName, VaultError> {
    BackupName::of_file(file).ok_or(VaultError::Missing)
}

impl IntoResponse for VaultError {
    fn into_response(self) -> Response {
        // What the disk says is for the hub's own log.
        let words =
            if matches!(self, Self::Disk(_)) { "the hub cannot do that now\n".to_owned() } else { format!("{self}\n") };
        (self.status(), words).into_response()
    }
}

async fn listed(State(hub): State<Arc<Hub>>, Extension(Asker(site)): Extension<Asker>) -> Response {
    json(StatusCode::OK, &hub.backups.list(&site))
}

fn json(status: StatusCode, what: &impl serde::Serialize) -> Response {
    let text = serde_json::to_string(what).expect("names and numbers can be written as JSON");
    (status, [(header::CONTENT_TYPE, "application/json")], text).into_response()
}

async fn keep(
    State(hub): State<Arc<Hub>>,
    Extension(Asker(site)): Extension<Asker>,
    axum::extract::Path(file): axum::extract::Path<String>,
    headers: header::HeaderMap,
    body: Body,
) -> Result<Response, VaultError> {
    let name = named(&file)?;
    let kept = take_in(&hub, &site, name, &headers, body).await;
    match kept {
        Ok(kept) => {
            info!(%site, name = %kept.name, bytes = kept.bytes, "keeps an encrypted backup");
            Ok(json(StatusCode::CREATED, &kept))
        }
        Err(error) => {
            warn!(%site, %error, "keeps no backup");
            Err(error)
        }
    }
}

async fn take_in(
    hub: &Arc<Hub>,
    site: &SiteId,
    name: BackupName,
    headers: &header::HeaderMap,
    body: Body,
) -> Result<KeptBackup, VaultError> {
    let length = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    let length: u64 = length.ok_or(VaultError::BrokenOff)?;
    if length > hub.backups.longest() {
        return Err(VaultError::TooLong);
    }
    let mut arriving = hub.backups.begin(site)?;
    let mut portions = body.into_data_stream();
    while let Some(portion) = portions.next().await {
        arriving.take(&portion.map_err(|_| VaultError::BrokenOff)?, length)?;
    }
    if arriving.bytes != length {
        return Err(VaultError::BrokenOff);
    }
    let (hub, site) = (Arc::clone(hub), site.clone());
    // The disk takes its time to make it durable.
    let placed = tokio::task::spawn_blocking(move || hub.backups.place(&site, &name, arriving)).await;
    placed.unwrap_or_else(|_| Err(io::Error::other("the task that writes it died").into()))
}

async fn give(
    State(hub): State<Arc<Hub>>,
    Extension(Asker(site)): Extension<Asker>,
    axum::extract::Path(file): axum::extract::Path<String>,
) -> Result<Response, VaultError> {
    let (file, length) = hub.backups.open(&site, &named(&file)?)?;
    let stream = ReaderStream::new(tokio::fs::File::from_std(file));
    Ok(([(header::CONTENT_LENGTH, length)], Body::from_stream(stream)).into_response())
}

async fn remove(
    State(hub): State<Arc<Hub>>,
    Extension(Asker(site)): Extension<Asker>,
    axum::extract::Path(file): axum::extract::Path<String>,
) -> Result<StatusCode, VaultError> {
    let name = named(&file)?;
    hub.backups.remove(&site, &name)?;
    info!(%site, %name, "the site removed a backup");
    Ok(StatusCode::NO_CONTENT)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vault(directory: &Path, most_bytes: u64, keep: usize) -> Vault {
        Vault { directory: directory.to_owned(), enabled: true, most_bytes, keep, placing: Mutex::new(0) }
    }

    fn put(vault: &Vault, site: &str, name: &str, content: &[u8]) -> Result<KeptBackup, VaultError> {
        let site: SiteId = site.parse().unwrap();
        let mut arriving = vault.begin(&site).unwrap();
        for byte in content {
            arriving.take(&[*byte], vault.longest())?;
        }
        vault.place(&site, &name.parse().unwrap(), arriving)
    }

    fn names(vault: &Vault, site: &str) -> Vec<String> {
        vault.list(&site.parse().unwrap()).into_iter().map(|kept| kept.name.to_string()).collect()
    }

    const ONE: &str = "20261126T154500Z";
    const TWO: &str = "20261127T154500Z";
    const THREE: &str = "20261128T154500Z";

    fn sealed(text: &str) -> Vec<u8> {
        [BACKUP_HEAD, text.as_bytes()].concat()
    }

    #[test]
    fn only_what_is_encrypted_is_kept_and_nothing_else_stays() {
        let room = tempfile::tempdir().unwrap();
        let vault = vault(room.path(), 100, 7);
        for wrong in [b"[general]\nsecret=x".as_slice(), b"", b"age-encryption.org/v2\n", b"age-encryption.org/v1"] {
            assert!(matches!(put(&vault, "a", ONE, wrong), Err(VaultError::NotEncrypted)), "{wrong:?}");
        }
        assert!(matches!(put(&vault, "a", ONE, &sealed(&"x".repeat(100))), Err(VaultError::TooLong)));
        assert_eq!(fs::read_dir(room.path().join("a")).unwrap().count(), 0);
        assert!(put(&vault, "a", ONE, &sealed("x")).unwrap().sha256.is_some());
        assert_eq!(names(&vault, "a"), [ONE]);
        assert!(names(&vault, "b").is_empty(), "another site sees nothing");
    }

    #[test]
    fn what_is_kept_does_not_change_and_the_oldest_goes_by_number_alone() {
        let room = tempfile::tempdir().unwrap();
        let few = vault(room.path(), 1000, 2);
        put(&few, "a", ONE, &sealed("x")).unwrap();
        put(&few, "a", ONE, &sealed("x")).unwrap();
        assert!(matches!(put(&few, "a", ONE, &sealed("y")), Err(VaultError::Taken)));
        put(&few, "a", TWO, &sealed("x")).unwrap();
        put(&few, "a", THREE, &sealed("x")).unwrap();
        assert_eq!(names(&few, "a"), [THREE, TWO]);
        let small = vault(room.path(), 60, 7);
        assert!(matches!(put(&small, "a", ONE, &sealed("0123456789012345")), Err(VaultError::Full)));
        assert_eq!(names(&small, "a"), [THREE, TWO]);
        small.remove(&"a".parse().unwrap(), &TWO.parse().unwrap()).unwrap();
        assert!(matches!(small.remove(&"a".parse().unwrap(), &TWO.parse().unwrap()), Err(VaultError::Missing)));
    }
}
