//! What every connection shares: the store, the keys, who is connected, the limits, and the word to stop.

use std::{
    net::IpAddr,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use tokio::sync::Semaphore;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    backups::Vault,
    ca::Authority,
    config::Config,
    limit::{ByAddress, Rate},
    lookup::Lookup,
    metrics::Metrics,
    presence::Board,
    registry::Registry,
    store::Store,
};

/// Long messages that are still arriving may fill so much memory together.
const LONG_MESSAGES_BYTES: usize = 64 * 1024 * 1024;

/// So many connections may fetch files at the same time.
const FILES: usize = 256;

/// What every connection shares.
pub struct Hub {
    /// The database.
    pub store: Store,
    /// Which key a site has.
    pub lookup: Lookup,
    /// Makes certificates.
    pub authority: Authority,
    /// Signs receipts.
    pub receipt_key: Ed25519KeyPair,
    /// Who is connected.
    pub registry: Registry,
    /// What the database is still to learn about who is connected.
    pub presence: Board,
    /// What is counted.
    pub metrics: Metrics,
    /// How long a site's certificate is good.
    pub certificate_lifetime: Duration,
    /// The least privacy floor that is accepted.
    pub min_floor: u32,
    /// Room for long messages that are still arriving, in bytes.
    pub long_messages: Arc<Semaphore>,
    /// The package repository that sites can fetch from.
    pub updates: Option<PathBuf>,
    /// Encrypted backups of sites.
    pub backups: Vault,
    /// Room for connections over which sites fetch files, of all sites together.
    pub files_room: Arc<Semaphore>,
    /// How many support sessions one site may have.
    pub support_per_site: usize,
    /// Room for support sessions, of all sites together.
    pub support_room: Arc<Semaphore>,
    /// The word to stop.
    pub stop: CancellationToken,
    /// Every task; the program ends when all of them did.
    pub tasks: TaskTracker,
    failed_enrollments: Mutex<ByAddress>,
}

impl Hub {
    /// Puts the parts together. The first task begins here, so this needs a runtime.
    pub fn new(config: &Config, store: Store, authority: Authority, receipt_key: Ed25519KeyPair) -> Self {
        let failures = config.limits.failed_enrollments_per_minute;
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        Self {
            lookup: Lookup::start(store.clone(), &tasks, stop.clone()),
            store,
            authority,
            receipt_key,
            registry: Registry::new(Rate {
                per_minute: config.limits.messages_per_minute,
                burst: config.limits.message_burst,
            }),
            presence: Board::default(),
            metrics: Metrics::new(),
            certificate_lifetime: config.certificates.lifetime,
            min_floor: config.reports.min_floor,
            long_messages: Arc::new(Semaphore::new(LONG_MESSAGES_BYTES)),
            updates: config.updates.dir.clone(),
            backups: Vault::new(config),
            files_room: Arc::new(Semaphore::new(FILES)),
            support_per_site: config.limits.support_streams_per_site.into(),
            support_room: Arc::new(Semaphore::new(config.limits.support_streams.get().into())),
            stop,
            tasks,
            failed_enrollments: Mutex::new(ByAddress::new(Rate { per_minute: failures, burst: failures })),
        }
    }

    /// The public key with which sites check receipts.
    pub fn receipt_public_key(&self) -> &[u8] {
        self.receipt_key.public_key().as_ref()
    }

    /// Whether so many enrollments failed from this address that it has to wait.
    pub fn is_blocked(&self, address: IpAddr) -> bool {
        self.failed_enrollments.lock().unwrap_or_else(PoisonError::into_inner).is_blocked(address, Instant::now())
    }

    /// Notes that an enrollment failed from this address.
    pub fn note_failure(&self, address: IpAddr) {
        self.failed_enrollments.lock().unwrap_or_else(PoisonError::into_inner).note(address, Instant::now());
    }
}
