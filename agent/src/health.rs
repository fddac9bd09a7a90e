//! How the machine is: measured once a minute, kept in the store, and told to the owner.

pub mod alerts;
pub mod business;
pub mod gauge;
pub mod messenger;
pub mod report;
mod words;

use std::path::PathBuf;

use demarc_proto::health::{Amount, DiskRole, PbxState};
use serde::{Deserialize, Serialize};

pub use alerts::Alert;
pub(crate) use words::lines;

/// What was measured at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// When: seconds since 1970 in UTC.
    pub at: u64,
    /// For how many seconds the machine has been up.
    pub uptime_seconds: u64,
    /// How busy the processors were since the sample before, in thousandths.
    pub cpu_permille: Option<u32>,
    /// Load averages over 1, 5 and 15 minutes, in hundredths.
    pub load_hundredths: [u32; 3],
    /// Main memory, in mebibytes.
    pub memory: Amount,
    /// Swap, in mebibytes.
    pub swap: Amount,
    /// The file systems that matter.
    pub disks: Vec<Disk>,
    /// The warmest sensor in degrees Celsius.
    pub celsius: Option<i32>,
    /// Whether the phone system answers.
    pub pbx: PbxState,
    /// Its registrations with providers.
    pub registrations: u32,
    /// How many of them stand.
    pub registered: u32,
    /// The hub's clock less this machine's, in seconds.
    pub clock_offset: Option<i32>,
    /// For how many seconds no call record has come.
    pub quiet_seconds: Option<u64>,
}

/// A file system.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disk {
    /// What it is for.
    pub role: DiskRole,
    /// A directory on it.
    pub path: PathBuf,
    /// Its size in mebibytes.
    pub total_mib: u32,
    /// What is free there, in mebibytes.
    pub free_mib: u32,
    /// In how many days it will be full, if it goes on as in the last week.
    pub full_in_days: Option<u32>,
}

/// What `demarc status` and pages show of health.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct HealthStatus {
    /// The newest sample.
    pub sample: Sample,
    /// What is wrong now.
    pub alerts: Vec<Alert>,
}
