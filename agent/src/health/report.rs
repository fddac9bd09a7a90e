//! From a sample to what may leave of it: named figures are copied, everything else stays.

use demarc_proto::{
    HealthReport,
    health::{AlertKind, DiskHealth, HEALTH_SCHEMA},
};

use super::{Alert, Sample};

/// The report of a sample and of the alerts that are raised.
pub fn build(sample: &Sample, alerts: &[Alert]) -> HealthReport {
    let disk = |disk: &super::Disk| DiskHealth { role: disk.role, total_mib: disk.total_mib, free_mib: disk.free_mib };
    let days = |seconds: u64| u32::try_from(seconds / 86_400).unwrap_or(u32::MAX);
    let is_raised = |kind: &AlertKind| alerts.iter().any(|alert| alert.kind == *kind);
    HealthReport {
        schema: HEALTH_SCHEMA,
        at: sample.at,
        uptime_hours: u32::try_from(sample.uptime_seconds / 3600).unwrap_or(u32::MAX),
        cpu_permille: sample.cpu_permille,
        load_hundredths: sample.load_hundredths,
        memory: sample.memory,
        swap: sample.swap,
        disks: sample.disks.iter().map(disk).collect(),
        celsius: sample.celsius,
        pbx: sample.pbx,
        registrations: sample.registrations,
        registered: sample.registered,
        clock_offset: sample.clock_offset,
        // To the second it would tell when a call ended.
        quiet_days: sample.quiet_seconds.map(days),
        alerts: AlertKind::LEAVES.into_iter().filter(is_raised).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_the_time_of_a_call_nor_the_lack_of_calls_leaves() {
        let alert = |kind| Alert { kind, since: 1, until: None, value: 1 };
        let sample = Sample { quiet_seconds: Some(86_399), ..Sample::default() };
        let report = build(&sample, &[alert(AlertKind::NoCalls), alert(AlertKind::DiskLow)]);
        assert_eq!((report.quiet_days, report.alerts.as_slice()), (Some(0), &[AlertKind::DiskLow][..]));
        report.check().unwrap();
    }
}
