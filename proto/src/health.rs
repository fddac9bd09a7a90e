//! How a machine is: schema 1 of the health report, made of integers and closed enums only.
//!
//! It holds no figure from which the time of a single call could be read: of call records it says for how many whole days
//! none has come.

use serde::{Deserialize, Serialize};

use crate::{ToHub, frame::encode};

/// The version of the health report.
pub const HEALTH_SCHEMA: u32 = 1;
/// A hub that takes health reports says so by this header of the control stream's request; its value is the newest
/// schema that it takes. A program that is older than this ignores it.
pub const HEALTH_HEADER: &str = "demarc-health";
/// No health report is longer, as the payload of its frame.
pub const MAX_HEALTH: usize = 1024;

/// How a machine is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HealthReport {
    /// Always [`HEALTH_SCHEMA`].
    pub schema: u32,
    /// When it was measured: seconds since 1970 in UTC.
    pub at: u64,
    /// For how many whole hours the machine has been up.
    pub uptime_hours: u32,
    /// How busy the processors were in the last minute, in thousandths.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_permille: Option<u32>,
    /// Load averages over 1, 5 and 15 minutes, in hundredths.
    pub load_hundredths: [u32; 3],
    /// Main memory.
    pub memory: Amount,
    /// Swap.
    pub swap: Amount,
    /// The file systems that matter, in the order of [`DiskRole`]; each role once.
    pub disks: Vec<DiskHealth>,
    /// The warmest sensor, in degrees Celsius, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub celsius: Option<i32>,
    /// Whether the phone system answers.
    pub pbx: PbxState,
    /// Its registrations with providers.
    pub registrations: u32,
    /// How many of them stand.
    pub registered: u32,
    /// The hub's clock less this machine's, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_offset: Option<i32>,
    /// For how many whole days no call record has come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quiet_days: Option<u32>,
    /// What is wrong, in the order of [`AlertKind`].
    pub alerts: Vec<AlertKind>,
}

/// An amount of something of which there is so much, in mebibytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Amount {
    /// All of it.
    pub total_mib: u32,
    /// What is in use.
    pub used_mib: u32,
}

/// What a file system is for; the report has no names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DiskRole {
    /// The agent's own directory lies there.
    State,
    /// Recordings lie there; of several, the one with the least room.
    Recordings,
    /// The root of the system.
    Root,
}

/// A file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DiskHealth {
    /// What it is for.
    pub role: DiskRole,
    /// Its size in mebibytes.
    pub total_mib: u32,
    /// What is free there, in mebibytes.
    pub free_mib: u32,
}

/// Whether the phone system answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PbxState {
    /// Nobody asks it.
    #[default]
    Unknown,
    /// It does not answer.
    Down,
    /// It answers.
    Up,
}

impl PbxState {
    /// Every state, in order.
    pub const ALL: [Self; 3] = [Self::Unknown, Self::Down, Self::Up];

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Down => "down",
            Self::Up => "up",
        }
    }
}

/// What can be wrong: the whole list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlertKind {
    /// A file system has little room left.
    DiskLow,
    /// A file system will be full soon, if it goes on as it did.
    DiskFilling,
    /// A registration with a provider is lost.
    RegistrationLost,
    /// The phone system does not answer.
    PbxSilent,
    /// No call record has come for a while, at hours at which there always are calls. It stays at home: see [`Self::LEAVES`].
    NoCalls,
    /// The clock is wrong.
    ClockOff,
    /// A source of call records is in trouble.
    SourceTrouble,
    /// Far more calls went abroad in a night than is usual. It stays at home, too.
    NightAbroad,
}

impl AlertKind {
    /// Every kind, in order.
    pub const ALL: [Self; 8] = [
        Self::DiskLow,
        Self::DiskFilling,
        Self::RegistrationLost,
        Self::PbxSilent,
        Self::NoCalls,
        Self::ClockOff,
        Self::SourceTrouble,
        Self::NightAbroad,
    ];
    /// The kinds that a health report may name. That there were no calls, or many, is a figure about calls, and those leave
    /// in reports that keep a floor, or not at all.
    pub const LEAVES: [Self; 6] = [
        Self::DiskLow,
        Self::DiskFilling,
        Self::RegistrationLost,
        Self::PbxSilent,
        Self::ClockOff,
        Self::SourceTrouble,
    ];

    /// The word for it, in reports and for the owner's program.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::DiskLow => "disk_low",
            Self::DiskFilling => "disk_filling",
            Self::RegistrationLost => "registration_lost",
            Self::PbxSilent => "pbx_silent",
            Self::NoCalls => "no_calls",
            Self::ClockOff => "clock_off",
            Self::SourceTrouble => "source_trouble",
            Self::NightAbroad => "night_abroad",
        }
    }
}

/// The answer to a health report: it arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HealthNoted {
    /// [`HealthReport::at`].
    pub at: u64,
}

/// Why a health report is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HealthFault {
    /// Longer than any can be.
    #[error("the health report is too long")]
    TooLong,
    /// Not a health report, or one of a schema that this side does not know.
    #[error("not a health report of schema 1")]
    NotAReport,
    /// Written in another way than the one that is allowed.
    #[error("the health report is not written in canonical form")]
    NotCanonical,
    /// Figures that contradict one another.
    #[error("the figures of the health report cannot be")]
    Impossible,
}

impl HealthReport {
    /// The exact payload of the frame that leaves.
    pub fn to_payload(&self) -> Vec<u8> {
        encode(&ToHub::Health(self.clone()))
    }

    /// Reads a payload back. Only the one way that [`HealthReport::to_payload`] writes a report is accepted, so that
    /// nothing rides along beside the figures.
    ///
    /// # Errors
    /// When the payload is no health report that keeps the rules.
    pub fn from_payload(payload: &[u8]) -> Result<Self, HealthFault> {
        if payload.len() > MAX_HEALTH {
            return Err(HealthFault::TooLong);
        }
        let Ok(ToHub::Health(report)) = serde_json::from_slice(payload) else { return Err(HealthFault::NotAReport) };
        report.check()?;
        if report.to_payload() != payload { Err(HealthFault::NotCanonical) } else { Ok(report) }
    }

    /// Whether the report keeps the rules of schema 1: asked by the gate before, by the hub after.
    ///
    /// # Errors
    /// Names the rule that it breaks.
    pub fn check(&self) -> Result<(), HealthFault> {
        let ordered = self.disks.is_sorted_by(|one, next| one.role < next.role)
            && self.alerts.is_sorted_by(|one, next| one < next)
            && self.alerts.iter().all(|kind| AlertKind::LEAVES.contains(kind));
        let possible = self.cpu_permille.is_none_or(|cpu| cpu <= 1000)
            && self.disks.iter().all(|disk| disk.free_mib <= disk.total_mib)
            && self.memory.used_mib <= self.memory.total_mib
            && self.swap.used_mib <= self.swap.total_mib
            && self.registered <= self.registrations;
        match (self.schema == HEALTH_SCHEMA, ordered && possible) {
            (false, _) => Err(HealthFault::NotAReport),
            (true, false) => Err(HealthFault::Impossible),
            (true, true) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    fn report() -> HealthReport {
        HealthReport {
            schema: 1,
            at: 1_795_309_295,
            uptime_hours: 700,
            cpu_permille: Some(31),
            load_hundredths: [12, 10, 8],
            memory: Amount { total_mib: 7822, used_mib: 1200 },
            swap: Amount::default(),
            disks: vec![DiskHealth { role: DiskRole::State, total_mib: 60_000, free_mib: 21_000 }],
            celsius: None,
            pbx: PbxState::Up,
            registrations: 2,
            registered: 1,
            clock_offset: Some(-1),
            quiet_days: Some(0),
            alerts: vec![AlertKind::RegistrationLost],
        }
    }

    #[test]
    fn golden_vector() {
        let payload = report().to_payload();
        expect![[r#"{"type":"Health","schema":1,"at":1795309295,"uptime_hours":700,"cpu_permille":31,"load_hundredths":[12,10,8],"memory":{"total_mib":7822,"used_mib":1200},"swap":{"total_mib":0,"used_mib":0},"disks":[{"role":"state","total_mib":60000,"free_mib":21000}],"pbx":"up","registrations":2,"registered":1,"clock_offset":-1,"quiet_days":0,"alerts":["registration_lost"]}"#]]
            .assert_eq(std::str::from_utf8(&payload).unwrap());
        assert_eq!(HealthReport::from_payload(&payload), Ok(report()));
    }

    #[test]
    fn nothing_rides_along_and_impossible_figures_are_refused() {
        let text = String::from_utf8(report().to_payload()).unwrap();
        for smuggled in [
            text.replacen("\"at\":", "\"at\": ", 1),
            text.replacen("\"schema\":1", "\"schema\":1,\"host\":\"pbx\"", 1),
            text.replacen("\"up\"", "\"5551234\"", 1),
            text.replacen("\"schema\":1", "\"schema\":2", 1),
            text.replacen("\"cpu_permille\":31", "\"cpu_permille\":\"31\"", 1),
            format!("{text}{}", " ".repeat(2000)),
            String::new(),
        ] {
            assert!(HealthReport::from_payload(smuggled.as_bytes()).is_err(), "{smuggled}");
        }
        let edits: [fn(&mut HealthReport); 7] = [
            |report| report.cpu_permille = Some(1001),
            |report| report.disks[0].free_mib = 60_001,
            |report| report.disks.push(report.disks[0]),
            |report| report.registered = 3,
            |report| report.alerts.push(AlertKind::RegistrationLost),
            |report| report.alerts = vec![AlertKind::NightAbroad],
            |report| report.alerts = vec![AlertKind::NoCalls],
        ];
        for edit in edits {
            let mut edited = report();
            edit(&mut edited);
            assert_eq!(HealthReport::from_payload(&edited.to_payload()), Err(HealthFault::Impossible));
        }
    }

    #[test]
    fn the_longest_report_fits() {
        let most = Amount { total_mib: u32::MAX, used_mib: u32::MAX };
        let disk = |role| DiskHealth { role, total_mib: u32::MAX, free_mib: u32::MAX };
        let longest = HealthReport {
            schema: 1,
            at: u64::MAX,
            uptime_hours: u32::MAX,
            cpu_permille: Some(1000),
            load_hundredths: [u32::MAX; 3],
            memory: most,
            swap: most,
            disks: [DiskRole::State, DiskRole::Recordings, DiskRole::Root].map(disk).to_vec(),
            celsius: Some(i32::MIN),
            pbx: PbxState::Unknown,
            registrations: u32::MAX,
            registered: u32::MAX,
            clock_offset: Some(i32::MIN),
            quiet_days: Some(u32::MAX),
            alerts: AlertKind::LEAVES.to_vec(),
        };
        let payload = longest.to_payload();
        assert_eq!(HealthReport::from_payload(&payload), Ok(longest), "{} bytes", payload.len());
    }
}
