//! The machine's health in words, for `demarc status` and the page.

use std::fmt::Write;

use demarc_proto::health::AlertKind;

use super::{Alert, HealthStatus};

/// The lines; `show` writes a moment.
pub(crate) fn lines(health: &HealthStatus, show: impl Fn(u64) -> String) -> Vec<String> {
    let sample = &health.sample;
    let [load, ..] = sample.load_hundredths;
    let mut machine = format!("load {}.{:02}", load / 100, load % 100);
    if let Some(cpu) = sample.cpu_permille {
        let _ = write!(machine, ", processors {}.{} % busy", cpu / 10, cpu % 10);
    }
    let _ = write!(machine, ", memory {} of {} MiB in use", sample.memory.used_mib, sample.memory.total_mib);
    if let Some(celsius) = sample.celsius {
        let _ = write!(machine, ", {celsius} °C");
    }
    let mut lines = vec![machine];
    for disk in &sample.disks {
        let mut text = format!("{} of {} MiB free at {}", disk.free_mib, disk.total_mib, disk.path.display());
        if let Some(days) = disk.full_in_days {
            let _ = write!(text, ", full in {days} days if it goes on like this");
        }
        lines.push(text);
    }
    lines.extend(health.alerts.iter().map(|alert| format!("ALERT since {}: {}", show(alert.since), of(alert))));
    lines
}

/// What is wrong, in words.
pub(super) fn of(alert: &Alert) -> String {
    let value = alert.value;
    match alert.kind {
        AlertKind::DiskLow => format!("a file system has {value} % free; make room there"),
        AlertKind::DiskFilling => format!("a file system will be full in {value} days"),
        AlertKind::RegistrationLost => format!("registrations lost with providers: {value}"),
        AlertKind::PbxSilent => format!("the phone system has not answered for {value} minutes"),
        AlertKind::NoCalls => format!("no call record for {value} minutes of business time"),
        AlertKind::ClockOff => format!("the clock is {value} s off; set it"),
        AlertKind::NightAbroad => {
            format!(
                "{value} calls went abroad in one night, far more than is usual: somebody may be misusing the phone system"
            )
        }
        AlertKind::SourceTrouble => format!("sources of call records in trouble: {value}"),
    }
}
