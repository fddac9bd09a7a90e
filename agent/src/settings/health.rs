//! The section `[health]`: when the owner is told that something is wrong, and whether the vendor learns how the machine is.

use std::{path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

use super::duration;
use crate::health::business::Hours;

/// The machine's health.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Health {
    /// Whether reports of the machine's health may leave. Unlike statistics this is off until the owner says yes: no
    /// floor makes them figures of many.
    #[serde(default)]
    pub upload: bool,
    /// How often one leaves, where it may.
    #[serde(default = "default_every", with = "duration")]
    pub every: Duration,
    /// The newest schema of health reports that the owner has accepted.
    #[serde(default = "default_schema")]
    pub schema: u32,
    /// The owner's program that is told of alerts.
    #[serde(default)]
    pub alert_command: Option<PathBuf>,
    /// An alert is raised where less of a file system is free: in percent.
    #[serde(default = "default_disk_free_percent")]
    pub disk_free_percent: u32,
    /// An alert is raised where a file system will be full within so many days.
    #[serde(default = "default_disk_full_days")]
    pub disk_full_days: u32,
    /// For how long a registration must be lost.
    #[serde(default = "default_minutes", with = "duration")]
    pub registration_lost: Duration,
    /// For how long the phone system must not answer.
    #[serde(default = "default_minutes", with = "duration")]
    pub pbx_silent: Duration,
    /// After so much business time without a call record an alert is raised.
    #[serde(default = "default_no_calls", with = "duration")]
    pub no_calls: Duration,
    /// When there always are calls, such as `mon-fri 08:00-18:00`; learned from the last four weeks where absent.
    #[serde(default)]
    pub business_hours: Vec<Hours>,
    /// How wrong the clock must be.
    #[serde(default = "default_clock_off", with = "duration")]
    pub clock_off: Duration,
    /// For how long a source of call records must be in trouble.
    #[serde(default = "default_source_trouble", with = "duration")]
    pub source_trouble: Duration,
}

impl Default for Health {
    fn default() -> Self {
        Self {
            upload: false,
            every: default_every(),
            schema: default_schema(),
            alert_command: None,
            disk_free_percent: default_disk_free_percent(),
            disk_full_days: default_disk_full_days(),
            registration_lost: default_minutes(),
            pbx_silent: default_minutes(),
            no_calls: default_no_calls(),
            business_hours: Vec::new(),
            clock_off: default_clock_off(),
            source_trouble: default_source_trouble(),
        }
    }
}

impl Health {
    /// The first value that makes no sense: its key, and what is allowed.
    pub(super) fn fault(&self) -> Option<(&'static str, &'static str)> {
        if self.disk_free_percent > 100 {
            return Some(("health.disk_free_percent", "allowed is 0 to 100"));
        }
        if !(SHORTEST..=LONGEST).contains(&self.every) {
            return Some(("health.every", "allowed is \"1m\" to \"1d\""));
        }
        if self.alert_command.as_ref().is_some_and(|command| !command.is_absolute()) {
            return Some(("health.alert_command", "allowed is the full path of a program, beginning with /"));
        }
        None
    }
}

/// Health reports leave at most and at least so often: the ledger keeps each for ever.
const SHORTEST: Duration = Duration::from_secs(60);
const LONGEST: Duration = Duration::from_secs(86_400);

fn default_every() -> Duration {
    Duration::from_secs(900)
}

fn default_schema() -> u32 {
    demarc_proto::health::HEALTH_SCHEMA
}

fn default_disk_free_percent() -> u32 {
    5
}

fn default_disk_full_days() -> u32 {
    7
}

fn default_minutes() -> Duration {
    Duration::from_secs(300)
}

fn default_no_calls() -> Duration {
    Duration::from_secs(4 * 3600)
}

fn default_clock_off() -> Duration {
    Duration::from_secs(60)
}

fn default_source_trouble() -> Duration {
    Duration::from_secs(900)
}
