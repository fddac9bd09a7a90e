//! A site's health in words.

use anyhow::Context;
use demarc_proto::{
    HealthReport,
    health::{Amount, DiskRole},
};

use super::super::moment;
use crate::store::StoredHealth;

/// The newest report of a site in a few lines; nothing where there is none.
pub(super) fn words(stored: &[StoredHealth]) -> anyhow::Result<String> {
    let Some(newest) = stored.last() else { return Ok(String::new()) };
    let report = read(newest)?;
    let mut lines = vec![format!("Health, received {}", moment(newest.received))];
    let [one, five, fifteen] = report.load_hundredths.map(hundredths);
    let cpu =
        report.cpu_permille.map_or_else(String::new, |cpu| format!("processors {}.{} % busy, ", cpu / 10, cpu % 10));
    let warmth = report.celsius.map_or_else(String::new, |celsius| format!(", {celsius} °C"));
    lines.push(format!("  machine        up {} h, {cpu}load {one} {five} {fifteen}{warmth}", report.uptime_hours));
    lines.push(format!("  memory         {}; swap {}", amount(report.memory), amount(report.swap)));
    for disk in &report.disks {
        let role = match disk.role {
            DiskRole::State => "state",
            DiskRole::Recordings => "recordings",
            DiskRole::Root => "root",
        };
        lines.push(format!("  disk           {role}: {} of {} MiB free", disk.free_mib, disk.total_mib));
    }
    let registrations = format!("{} of {} registrations stand", report.registered, report.registrations);
    lines.push(format!("  phone system   {}; {registrations}", report.pbx.as_str()));
    if let Some(days) = report.quiet_days {
        lines.push(format!("  call records   none for {days} whole days"));
    }
    if let Some(offset) = report.clock_offset {
        lines.push(format!("  clock          {offset} s behind the hub's"));
    }
    let alerts: Vec<&str> = report.alerts.iter().map(|alert| alert.as_str()).collect();
    lines.push(format!("  alerts         {}", if alerts.is_empty() { "none".to_owned() } else { alerts.join(", ") }));
    Ok(lines.join("\n") + "\n\n")
}

/// A report that was stored.
pub(super) fn read(stored: &StoredHealth) -> anyhow::Result<HealthReport> {
    HealthReport::from_payload(stored.payload.as_bytes()).context("a stored health report is damaged")
}

fn hundredths(number: u32) -> String {
    format!("{}.{:02}", number / 100, number % 100)
}

fn amount(amount: Amount) -> String {
    format!("{} of {} MiB in use", amount.used_mib, amount.total_mib)
}
