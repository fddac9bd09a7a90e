//! The machine's health in the collector: a sample a minute into the store, and alerts to the log and the status.

use std::time::Duration;

use demarc_proto::{HealthReport, health::PbxState};
use jiff::{Timestamp, tz::TimeZone};

use crate::{
    figures::NightAbroad,
    health::{
        Alert, HealthStatus, Sample,
        alerts::{Surroundings, Watchman},
        business::Business,
        gauge::Gauge,
        report,
    },
    ipc::{CollectorSettings, CollectorStatus},
    pbx::ami::facts::RegistrationState,
    settings::health::Health,
    store::{HealthPoint, Store, StoreError},
};

/// How often the machine is measured.
const EVERY: u64 = 60;
/// How often it is looked at how fast file systems fill, and when there always are calls.
const LEARN_EVERY: u64 = 3600;
/// How often the calls abroad of a night are looked at: a phone system that is misused costs money by the minute.
const ABROAD_EVERY: u64 = 300;
/// Over so many seconds file systems are watched for how fast they fill, and at least over so many.
const TREND: u64 = 7 * 86_400;
const SHORTEST_TREND: u64 = 86_400;
/// So many weeks show when there always are calls.
const WEEKS: u64 = 4;

/// The machine's health.
pub struct Vitals {
    gauge: Gauge,
    terms: Health,
    watchman: Watchman,
    business: Business,
    /// The oldest figures of the last week.
    trend: Option<HealthPoint>,
    learned: Lately,
    /// Calls abroad in an unusual night.
    calls_abroad: Option<u32>,
    looked_abroad: Lately,
    newest: Option<Sample>,
    /// The hub's clock less ours, as the link said last.
    pub clock_offset: Option<i64>,
    /// Whether there is a hub now that takes reports.
    pub hub_listens: bool,
    /// When a report was made last that left.
    reported: Lately,
    /// Alerts that began or ended, for the owner's program.
    pub untold: Vec<Alert>,
}

/// When something was done the last time, if it was: seconds since 1970 in UTC.
#[derive(Clone, Copy, Debug, Default)]
struct Lately(Option<u64>);

impl Lately {
    /// Whether it is due again that is done every so many seconds. A clock that was set back makes it due.
    fn is_due(self, now: u64, every: u64) -> bool {
        self.0.is_none_or(|at| at > now || now - at >= every)
    }
}

impl Vitals {
    /// Goes on with the alerts in the store.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn open(store: &Store, settings: &CollectorSettings) -> Result<Self, StoreError> {
        let raised = store.alerts()?.into_iter().filter(|alert| alert.until.is_none()).collect();
        Ok(Self {
            gauge: Gauge::new(&settings.state_dir, &settings.recordings, settings.sensors.clone()),
            terms: settings.health.clone(),
            watchman: Watchman::new(raised),
            business: Business::learned(&[]),
            trend: None,
            learned: Lately::default(),
            calls_abroad: None,
            looked_abroad: Lately::default(),
            newest: None,
            clock_offset: None,
            hub_listens: false,
            reported: Lately::default(),
            untold: Vec::new(),
        })
    }

    /// Takes over changed settings; the next sample is judged by them.
    pub fn adopt(&mut self, settings: &CollectorSettings) {
        if settings.health.upload && !self.terms.upload {
            self.reported = Lately::default();
        }
        self.terms = settings.health.clone();
        self.learned = Lately::default();
    }

    /// How long no sample is due.
    pub fn due(&self, now: u64) -> Duration {
        let newest = self.newest.as_ref().map(|sample| sample.at).filter(|at| *at <= now);
        Duration::from_secs(newest.map_or(0, |at| (at + EVERY).saturating_sub(now)))
    }

    /// Measures the machine, keeps the sample, and judges it. `status` is how the collector is otherwise.
    ///
    /// # Errors
    /// When the store fails; the alerts are judged all the same.
    pub fn measure(&mut self, store: &mut Store, status: &CollectorStatus, now: u64) -> Result<(), StoreError> {
        let learned = if self.learned.is_due(now, LEARN_EVERY) {
            self.learned = Lately(Some(now));
            self.learn(store, now)
        } else {
            Ok(())
        };
        let looked = if self.looked_abroad.is_due(now, ABROAD_EVERY) {
            self.looked_abroad = Lately(Some(now));
            self.look_abroad(store, now)
        } else {
            Ok(())
        };
        let mut sample = self.gauge.measure(now);
        self.complete(&mut sample, status);
        let newest_record = newest_record(status);
        sample.quiet_seconds = newest_record.map(|newest| now.saturating_sub(newest));
        let surroundings = Surroundings {
            missed_seconds: newest_record.map_or(0, |newest| self.business.between(newest, now)),
            calls_abroad: self.calls_abroad,
            troubled_sources: status.sources.iter().filter(|source| source.trouble.is_some()).count() as u64,
        };
        let changes = self.watchman.judge(&sample, surroundings, &self.terms);
        changes.iter().for_each(tell);
        self.untold.extend(&changes);
        let kept = changes.iter().try_for_each(|alert| store.note_alert(alert));
        let noted = store.note_health(&sample);
        self.newest = Some(sample);
        learned.and(looked).and(kept).and(noted)
    }

    /// What the vendor is to learn now: nothing while the owner lets nothing leave, or while nobody would hear it.
    pub fn report(&self, now: u64) -> Option<HealthReport> {
        let sample = self.newest.as_ref().filter(|_| self.terms.upload && self.hub_listens)?;
        self.reported.is_due(now, self.terms.every.as_secs()).then(|| report::build(sample, self.watchman.raised()))
    }

    /// A report is on its way, or may not be: the next one is due when the time has passed.
    pub fn reported(&mut self, now: u64) {
        self.reported = Lately(Some(now));
    }

    /// What the status shows, once there is something.
    pub fn status(&self) -> Option<HealthStatus> {
        let sample = self.newest.clone()?;
        Some(HealthStatus { sample, alerts: self.watchman.raised().to_vec() })
    }

    fn learn(&mut self, store: &Store, now: u64) -> Result<(), StoreError> {
        self.business = match self.terms.business_hours.as_slice() {
            [] => Business::learned(&store.busy_hours(now, WEEKS)?),
            said => Business::Said(said.to_vec(), TimeZone::system()),
        };
        self.trend = store.health(now.saturating_sub(TREND), now, 900)?.into_iter().next();
        Ok(())
    }

    fn look_abroad(&mut self, store: &Store, now: u64) -> Result<(), StoreError> {
        let moment = Timestamp::from_second(i64::try_from(now).unwrap_or(i64::MAX)).unwrap_or(Timestamp::MAX);
        let night = NightAbroad::read(store, moment, &TimeZone::system())?;
        self.calls_abroad = night.filter(NightAbroad::is_unusual).map(|night| night.calls);
        Ok(())
    }

    /// Adds what others know.
    fn complete(&self, sample: &mut Sample, status: &CollectorStatus) {
        if let Some(pbx) = &status.pbx {
            sample.pbx = if pbx.connected { PbxState::Up } else { PbxState::Down };
            let in_use = pbx.registrations.iter().filter(|one| one.state != RegistrationState::Other);
            let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
            sample.registrations = count(in_use.clone().count());
            sample.registered = count(in_use.filter(|one| one.state == RegistrationState::Registered).count());
        }
        sample.clock_offset = self
            .clock_offset
            .map(|offset| i32::try_from(offset).unwrap_or(if offset > 0 { i32::MAX } else { i32::MIN }));
        let Some(trend) = &self.trend else { return };
        let over = sample.at.saturating_sub(trend.at);
        for disk in &mut sample.disks {
            disk.full_in_days = trend.mean.free(disk.role).and_then(|then| full_in_days(then, disk.free_mib, over));
        }
    }
}

/// In how many days nothing will be free, where so much was free so many seconds ago. A file system that fills so slowly that
/// nobody can tell is left out.
fn full_in_days(then: i64, now: u32, over: u64) -> Option<u32> {
    let used = u64::try_from(then - i64::from(now)).ok().filter(|used| *used > 0 && over >= SHORTEST_TREND)?;
    u32::try_from(u64::from(now) * over / used / 86_400).ok()
}

fn newest_record(status: &CollectorStatus) -> Option<u64> {
    status.sources.iter().filter_map(|source| source.last_read).max()
}

fn tell(alert: &Alert) {
    let (kind, since, value) = (alert.kind.as_str(), alert.since, alert.value);
    match alert.until {
        None => tracing::warn!(alert = kind, state = "raised", since, value, "an alert was raised"),
        Some(until) => tracing::info!(alert = kind, state = "cleared", since, until, "an alert is over"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_was_set_back_makes_things_due() {
        assert!(Lately::default().is_due(0, 60));
        for (now, is_due) in [(1_000, false), (1_059, false), (1_060, true), (999, true)] {
            assert_eq!(Lately(Some(1_000)).is_due(now, 60), is_due, "{now}");
        }
    }

    #[test]
    fn a_file_system_that_fills_says_when_it_is_full() {
        assert_eq!(full_in_days(1_000, 900, 86_400), Some(9));
        assert_eq!(full_in_days(1_000, 900, 7 * 86_400), Some(63));
        assert_eq!(full_in_days(1_000, 900, 3_600), None, "an hour shows nothing");
        assert_eq!(full_in_days(900, 1_000, 86_400), None);
        assert_eq!(full_in_days(900, 900, 86_400), None);
    }
}
