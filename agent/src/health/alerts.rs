//! When the owner is told that something is wrong, and when that it is over: a pure function of figures and time.

use demarc_proto::health::{AlertKind, PbxState};
use serde::{Deserialize, Serialize};

use super::Sample;
use crate::settings::health::Health;

/// For so many seconds everything must be well before an alert is over.
const CALM: u64 = 120;

/// Something that is, or was, wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alert {
    /// What.
    pub kind: AlertKind,
    /// Since when: seconds since 1970 in UTC.
    pub since: u64,
    /// Until when, if it is over.
    pub until: Option<u64>,
    /// How bad it was when it was raised: percent free, days left, registrations lost, minutes of silence, seconds off,
    /// sources in trouble, calls abroad.
    pub value: i64,
}

/// What is judged beside the sample.
#[derive(Clone, Copy, Debug, Default)]
pub struct Surroundings {
    /// Business time without a call record, in seconds.
    pub missed_seconds: u64,
    /// Sources of call records that are in trouble.
    pub troubled_sources: u64,
    /// Calls abroad in a night in which there are far more of them than is usual.
    pub calls_abroad: Option<u32>,
}

/// Watches over every kind.
#[derive(Clone, Debug, Default)]
pub struct Watchman {
    raised: Vec<Alert>,
    /// Since when a kind has been bad and is not raised, or has been well and is.
    turning: Vec<(AlertKind, u64)>,
}

/// How one thing is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Bad enough to raise an alert.
    Bad(i64),
    /// Neither: whatever was said stays.
    Between,
    /// Well enough to end one.
    Well,
}

impl Watchman {
    /// Goes on with alerts that were raised before.
    pub fn new(raised: Vec<Alert>) -> Self {
        Self { raised, turning: Vec::new() }
    }

    /// The alerts that are raised.
    pub fn raised(&self) -> &[Alert] {
        &self.raised
    }

    /// Looks at a sample, and hands back what begins and what ends with it.
    pub fn judge(&mut self, sample: &Sample, surroundings: Surroundings, terms: &Health) -> Vec<Alert> {
        let now = sample.at;
        let mut changes = Vec::new();
        for kind in AlertKind::ALL {
            let state = state(kind, sample, surroundings, terms);
            let place = self.raised.iter().position(|alert| alert.kind == kind);
            // A clock that was set back begins the time anew.
            let before = self.turning.iter().find(|(other, since)| *other == kind && *since <= now);
            let since = before.map_or(now, |(_, since)| *since);
            self.turning.retain(|(other, _)| *other != kind);
            match (state, place) {
                (State::Bad(value), None) if now - since >= patience(kind, terms) => {
                    let alert = Alert { kind, since, until: None, value };
                    self.raised.push(alert);
                    changes.push(alert);
                }
                (State::Well, Some(place)) if now - since >= CALM => {
                    changes.push(Alert { until: Some(now), ..self.raised.remove(place) });
                }
                (State::Bad(_), None) | (State::Well, Some(_)) => self.turning.push((kind, since)),
                _ => {}
            }
        }
        changes
    }
}

/// For how many seconds something must be bad.
fn patience(kind: AlertKind, terms: &Health) -> u64 {
    match kind {
        AlertKind::RegistrationLost => terms.registration_lost.as_secs(),
        AlertKind::PbxSilent => terms.pbx_silent.as_secs(),
        AlertKind::SourceTrouble => terms.source_trouble.as_secs(),
        AlertKind::DiskLow
        | AlertKind::DiskFilling
        | AlertKind::NoCalls
        | AlertKind::ClockOff
        | AlertKind::NightAbroad => 0,
    }
}

fn state(kind: AlertKind, sample: &Sample, surroundings: Surroundings, terms: &Health) -> State {
    match kind {
        AlertKind::DiskLow => {
            let free = |disk: &super::Disk| u64::from(disk.free_mib) * 100 / u64::from(disk.total_mib.max(1));
            let least = sample.disks.iter().map(free).min().unwrap_or(100);
            // A file that comes and goes must not turn the alert on and off.
            let limit = u64::from(terms.disk_free_percent);
            between(least < limit, least > limit, least)
        }
        AlertKind::DiskFilling => {
            let soonest = sample.disks.iter().filter_map(|disk| disk.full_in_days).min();
            let (days, limit) = (soonest.map_or(u64::MAX, u64::from), u64::from(terms.disk_full_days));
            between(days < limit, days > limit + 1, days)
        }
        AlertKind::RegistrationLost if sample.pbx != PbxState::Up => State::Between,
        AlertKind::RegistrationLost => {
            let lost = sample.registrations.saturating_sub(sample.registered);
            between(lost > 0, lost == 0, u64::from(lost))
        }
        AlertKind::PbxSilent => {
            let is_silent = sample.pbx == PbxState::Down;
            between(is_silent, !is_silent, terms.pbx_silent.as_secs() / 60)
        }
        AlertKind::NoCalls => {
            let (missed, limit) = (surroundings.missed_seconds, terms.no_calls.as_secs());
            between(missed >= limit, missed < limit / 2, missed / 60)
        }
        AlertKind::ClockOff => {
            let Some(offset) = sample.clock_offset else { return State::Between };
            let (size, limit) = (u64::from(offset.unsigned_abs()), terms.clock_off.as_secs());
            between(size > limit, size <= limit / 2, size)
        }
        AlertKind::NightAbroad => {
            let calls = surroundings.calls_abroad;
            between(calls.is_some(), calls.is_none(), calls.map_or(0, u64::from))
        }
        AlertKind::SourceTrouble => {
            let troubled = surroundings.troubled_sources;
            between(troubled > 0, troubled == 0, troubled)
        }
    }
}

fn between(bad: bool, well: bool, value: u64) -> State {
    match (bad, well) {
        (true, _) => State::Bad(i64::try_from(value).unwrap_or(i64::MAX)),
        (false, true) => State::Well,
        (false, false) => State::Between,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minute: u64) -> Sample {
        Sample { at: 1_000_000 + minute * 60, pbx: PbxState::Up, registrations: 2, registered: 2, ..Sample::default() }
    }

    fn kinds(changes: &[Alert]) -> Vec<(AlertKind, bool)> {
        changes.iter().map(|alert| (alert.kind, alert.until.is_some())).collect()
    }

    #[test]
    fn a_registration_must_be_lost_for_a_while_and_back_for_a_while() {
        let (mut watchman, terms) = (Watchman::default(), Health::default());
        let mut see = |minute: u64, registered: u32| {
            let sample = Sample { registered, ..at(minute) };
            kinds(&watchman.judge(&sample, Surroundings::default(), &terms))
        };
        assert_eq!(see(0, 2), []);
        for minute in 1..6 {
            assert_eq!(see(minute, 1), [], "{minute}");
        }
        assert_eq!(see(6, 1), [(AlertKind::RegistrationLost, false)]);
        assert_eq!(see(7, 1), []);
        assert_eq!(see(8, 2), []);
        assert_eq!(see(9, 1), [], "it was back for a moment only");
        assert_eq!(see(10, 2), []);
        assert_eq!(see(12, 2), [(AlertKind::RegistrationLost, true)]);
        // A blink does not count.
        assert_eq!((see(13, 1), see(14, 2), see(19, 1)), (vec![], vec![], vec![]));
    }

    #[test]
    fn each_kind_is_raised_once_and_goes_on_after_a_restart() {
        let terms = Health::default();
        let missed = |missed_seconds| Surroundings { missed_seconds, ..Surroundings::default() };
        let offset = |minute, offset| Sample { clock_offset: Some(offset), ..at(minute) };
        let raised = Watchman::default().judge(&offset(0, -90), missed(14_400), &terms);
        assert_eq!(kinds(&raised), [(AlertKind::NoCalls, false), (AlertKind::ClockOff, false)]);
        assert_eq!(raised[0].value, 240);
        let mut again = Watchman::new(raised);
        assert_eq!(again.judge(&offset(1, -90), missed(14_400), &terms), []);
        // Between half the limit and the limit nothing changes.
        assert_eq!(again.judge(&offset(5, 45), missed(9_000), &terms), []);
        assert_eq!(again.judge(&offset(10, 0), missed(0), &terms), []);
        assert_eq!(again.judge(&offset(12, 0), missed(0), &terms).len(), 2);
        assert!(again.raised().is_empty());
    }
}
