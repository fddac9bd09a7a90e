//! How the machine was: a row a minute for two days, then rows a quarter of an hour for 400 days; and the alerts.

use demarc_proto::health::{AlertKind, DiskRole};
use rusqlite::Row;
use serde::{Deserialize, Serialize};

use super::{Store, StoreError, commit::sql, tally::number};
use crate::health::{
    Alert, Sample,
    business::{WEEK_HOURS, hour_of_week},
};

const MINUTE: u64 = 60;
const QUARTER: u64 = 900;
/// For how long each minute is kept.
const KEPT_MINUTES: u64 = 48 * 3600;
/// For how long each quarter of an hour is kept.
const KEPT_QUARTERS: u64 = 400 * 86_400;
/// So many alerts are kept.
const KEPT_ALERTS: i64 = 1_000;
/// What a row of a quarter holds.
const KINDS: [(i64, &str); 3] = [(0, "min"), (1, "avg"), (2, "max")];

macro_rules! figures {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// Figures of health at one moment, or over a time. What was not measured is absent.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
        pub struct Figures { $($(#[$doc])* pub $name: Option<i64>,)* }

        const COLUMNS: &[&str] = &[$(stringify!($name)),*];

        impl Figures {
            fn values(&self) -> [Option<i64>; COLUMNS.len()] { [$(self.$name),*] }

            fn from_values(values: [Option<i64>; COLUMNS.len()]) -> Self {
                let [$($name),*] = values;
                Self { $($name),* }
            }
        }
    };
}

figures! {
    /// How busy the processors were, in thousandths.
    cpu,
    /// Load average over a minute, in hundredths.
    load,
    /// Main memory in mebibytes.
    memory_total,
    /// Of it in use.
    memory_used,
    /// Swap in use, in mebibytes.
    swap_used,
    /// Size of the file system of the state directory, in mebibytes.
    state_total,
    /// Free there.
    state_free,
    /// Size of the file system of recordings, in mebibytes.
    recordings_total,
    /// Free there.
    recordings_free,
    /// Size of the root file system, in mebibytes.
    root_total,
    /// Free there.
    root_free,
    /// Degrees Celsius.
    celsius,
    /// The phone system: 0 unknown, 1 down, 2 up.
    pbx,
    /// Registrations with providers.
    registrations,
    /// Of them, those that stand.
    registered,
    /// The hub's clock less ours, in seconds.
    clock_offset,
    /// Seconds without a call record.
    quiet_seconds,
}

impl Figures {
    /// What was free of that file system, in mebibytes.
    pub fn free(&self, role: DiskRole) -> Option<i64> {
        match role {
            DiskRole::State => self.state_free,
            DiskRole::Recordings => self.recordings_free,
            DiskRole::Root => self.root_free,
        }
    }
}

impl From<&Sample> for Figures {
    fn from(sample: &Sample) -> Self {
        let disk = |role| sample.disks.iter().find(|disk| disk.role == role);
        let total = |role| disk(role).map(|disk| i64::from(disk.total_mib));
        let free = |role| disk(role).map(|disk| i64::from(disk.free_mib));
        Self {
            cpu: sample.cpu_permille.map(i64::from),
            load: Some(sample.load_hundredths[0].into()),
            memory_total: Some(sample.memory.total_mib.into()),
            memory_used: Some(sample.memory.used_mib.into()),
            swap_used: Some(sample.swap.used_mib.into()),
            state_total: total(DiskRole::State),
            state_free: free(DiskRole::State),
            recordings_total: total(DiskRole::Recordings),
            recordings_free: free(DiskRole::Recordings),
            root_total: total(DiskRole::Root),
            root_free: free(DiskRole::Root),
            celsius: sample.celsius.map(i64::from),
            pbx: Some(sample.pbx as i64),
            registrations: Some(sample.registrations.into()),
            registered: Some(sample.registered.into()),
            clock_offset: sample.clock_offset.map(i64::from),
            quiet_seconds: sample.quiet_seconds.map(sql),
        }
    }
}

/// Health over a stretch of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthPoint {
    /// Where the stretch begins: seconds since 1970 in UTC, a multiple of the step.
    pub at: u64,
    /// The least of each figure.
    pub low: Figures,
    /// The mean of each.
    pub mean: Figures,
    /// The most of each.
    pub high: Figures,
}

impl Store {
    /// Keeps a sample. With the first one of a quarter of an hour, those before are summed up and what is too old goes.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn note_health(&mut self, sample: &Sample) -> Result<(), StoreError> {
        let figures = Figures::from(sample);
        let columns = COLUMNS.join(", ");
        let places: Vec<String> = (0..COLUMNS.len()).map(|place| format!("?{}", place + 2)).collect();
        let insert = format!(
            "INSERT OR REPLACE INTO health (step, at, kind, {columns}) VALUES ({MINUTE}, ?1, 1, {})",
            places.join(", ")
        );
        let minute = sample.at / MINUTE * MINUTE;
        self.transact(|transaction| {
            let values = [Some(sql(minute))].into_iter().chain(figures.values());
            transaction.prepare_cached(&insert)?.execute(rusqlite::params_from_iter(values))?;
            let quarter = sql(sample.at / QUARTER * QUARTER);
            let from: i64 = transaction
                .prepare_cached("SELECT coalesce(max(at) + 900, 0) FROM health WHERE step = 900")?
                .query_row([], |row| row.get(0))?;
            let is_new: bool = transaction
                .prepare_cached("SELECT EXISTS (SELECT 1 FROM health WHERE step = 60 AND at >= ?1 AND at < ?2)")?
                .query_row([from, quarter], |row| row.get(0))?;
            if !is_new {
                return Ok(());
            }
            for (kind, function) in KINDS {
                let sums: Vec<String> =
                    COLUMNS.iter().map(|column| format!("CAST(round({function}({column})) AS INTEGER)")).collect();
                transaction.execute(
                    &format!(
                        "INSERT OR REPLACE INTO health (step, at, kind, {columns}) SELECT {QUARTER}, at / 900 * 900, {kind}, {} \
                         FROM health WHERE step = 60 AND at >= ?1 AND at < ?2 GROUP BY at / 900",
                        sums.join(", ")
                    ),
                    [from, quarter],
                )?;
            }
            for (step, kept) in [(MINUTE, KEPT_MINUTES), (QUARTER, KEPT_QUARTERS)] {
                // A clock that was far ahead leaves nothing behind either.
                transaction.execute(
                    "DELETE FROM health WHERE step = ?1 AND (at < ?2 OR at > ?3)",
                    [sql(step), sql(sample.at.saturating_sub(kept)), sql(sample.at + QUARTER)],
                )?;
            }
            Ok(())
        })
    }

    /// Health from a moment to before another, in stretches of `step` seconds, the oldest first: of minutes where `step` is
    /// below 900 (kept for 48 hours), else of quarters of an hour (kept for 400 days). A stretch of which nothing is known is
    /// left out. Moments are seconds since 1970 in UTC.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn health(&self, from: u64, to: u64, step: u64) -> Result<Vec<HealthPoint>, StoreError> {
        let step = step.max(MINUTE);
        let kept = if step < QUARTER { MINUTE } else { QUARTER };
        let kinds = if kept == MINUTE { [(1, "min"), (1, "avg"), (1, "max")] } else { KINDS };
        let read = || -> rusqlite::Result<Vec<HealthPoint>> {
            let mut points: Vec<HealthPoint> = Vec::new();
            for (place, (kind, function)) in kinds.into_iter().enumerate() {
                let sums: Vec<String> =
                    COLUMNS.iter().map(|column| format!("CAST(round({function}({column})) AS INTEGER)")).collect();
                let text = format!(
                    "SELECT at / ?3 * ?3, {} FROM health WHERE step = {kept} AND kind = {kind} AND at >= ?1 AND at < ?2 \
                     GROUP BY 1 ORDER BY 1",
                    sums.join(", ")
                );
                let mut statement = self.connection.prepare_cached(&text)?;
                let mut rows = statement.query([sql(from), sql(to), sql(step)])?;
                let mut count = 0;
                while let Some(row) = rows.next()? {
                    if place == 0 {
                        points.push(HealthPoint { at: number(row, 0)?, ..HealthPoint::default() });
                    }
                    let Some(point) = points.get_mut(count) else { break };
                    *[&mut point.low, &mut point.mean, &mut point.high][place] = figures(row)?;
                    count += 1;
                }
            }
            Ok(points)
        };
        read().map_err(|error| self.fault(error))
    }

    /// Keeps the beginning or the end of an alert; of all alerts the newest thousand.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn note_alert(&mut self, alert: &Alert) -> Result<(), StoreError> {
        self.transact(|transaction| {
            transaction.execute(
                "INSERT INTO alert (kind, since, until, value) VALUES (?1, ?2, ?3, ?4) \
                 ON CONFLICT (kind, since) DO UPDATE SET until = excluded.until",
                (alert.kind.as_str(), sql(alert.since), alert.until.map(sql), alert.value),
            )?;
            transaction.execute(
                "DELETE FROM alert WHERE id <= (SELECT max(id) FROM alert) - ?1 AND until IS NOT NULL",
                [KEPT_ALERTS],
            )?;
            Ok(())
        })
    }

    /// The alerts that are kept, the newest first.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn alerts(&self) -> Result<Vec<Alert>, StoreError> {
        let read = || -> rusqlite::Result<Vec<Alert>> {
            let mut statement = self
                .connection
                .prepare_cached("SELECT kind, since, until, value FROM alert ORDER BY since DESC, id DESC")?;
            let mut alerts = Vec::new();
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                let word: String = row.get(0)?;
                // A kind of a later version is left out.
                let Some(kind) = AlertKind::ALL.into_iter().find(|kind| kind.as_str() == word) else { continue };
                let until: Option<i64> = row.get(2)?;
                let until = until.and_then(|until| u64::try_from(until).ok());
                alerts.push(Alert { kind, since: number(row, 1)?, until, value: row.get(3)? });
            }
            Ok(alerts)
        };
        read().map_err(|error| self.fault(error))
    }

    /// Which hours of the week had calls, in each of the last weeks before a moment.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn busy_hours(&self, now: u64, weeks: u64) -> Result<Vec<[bool; WEEK_HOURS]>, StoreError> {
        const WEEK: u64 = WEEK_HOURS as u64 * 3600;
        let mut busy = Vec::new();
        for week in 1..=weeks {
            let mut hours = [false; WEEK_HOURS];
            let (from, to) = (now.saturating_sub(week * WEEK), now.saturating_sub((week - 1) * WEEK));
            self.rollups(sql(from / QUARTER), sql(to / QUARTER), |row| {
                hours[hour_of_week(u64::try_from(row.quarter).unwrap_or(0) * QUARTER)] = true;
            })?;
            busy.push(hours);
        }
        Ok(busy)
    }
}

fn figures(row: &Row<'_>) -> rusqlite::Result<Figures> {
    let mut values = [None; COLUMNS.len()];
    for (place, value) in values.iter_mut().enumerate() {
        *value = row.get(place + 1)?;
    }
    Ok(Figures::from_values(values))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::StateDir;

    #[test]
    fn minutes_become_quarters_and_the_oldest_go() {
        let directory = tempfile::tempdir().unwrap();
        let mut store = Store::open(&StateDir::new(directory.path())).unwrap();
        let start = 1_795_651_200;
        for minute in 0..31 {
            let cpu_permille = Some(u32::try_from(minute).unwrap());
            store.note_health(&Sample { at: start + minute * 60 + 7, cpu_permille, ..Sample::default() }).unwrap();
        }
        let minutes = store.health(start, start + 3600, 60).unwrap();
        assert_eq!((minutes.len(), minutes[30].at, minutes[30].mean.cpu), (31, start + 1800, Some(30)));
        let quarters = store.health(start, start + 3600, 900).unwrap();
        let cpu = |point: &HealthPoint| (point.low.cpu, point.mean.cpu, point.high.cpu);
        assert_eq!(
            quarters.iter().map(cpu).collect::<Vec<_>>(),
            [(Some(0), Some(7), Some(14)), (Some(15), Some(22), Some(29))]
        );
        assert_eq!(quarters[0].mean.celsius, None);
        let hours = store.health(start, start + 3600, 3600).unwrap();
        assert_eq!(hours.iter().map(cpu).collect::<Vec<_>>(), [(Some(0), Some(15), Some(29))]);
        store.note_health(&Sample { at: start + 3 * 86_400, ..Sample::default() }).unwrap();
        assert_eq!(store.health(0, start + 86_400, 60).unwrap(), []);
        assert_eq!(store.health(0, start + 86_400, 900).unwrap().len(), 3);
        store.note_health(&Sample { at: start + 500 * 86_400, ..Sample::default() }).unwrap();
        assert_eq!(store.health(0, start + 86_400, 900).unwrap(), []);
    }

    #[test]
    fn an_alert_is_kept_once_with_its_end() {
        let directory = tempfile::tempdir().unwrap();
        let mut store = Store::open(&StateDir::new(directory.path())).unwrap();
        let alert = Alert { kind: AlertKind::DiskLow, since: 5, until: None, value: 3 };
        store.note_alert(&alert).unwrap();
        store.note_alert(&Alert { until: Some(9), ..alert }).unwrap();
        let later = Alert { since: 20, ..alert };
        store.note_alert(&later).unwrap();
        assert_eq!(store.alerts().unwrap(), [later, Alert { until: Some(9), ..alert }]);
        for since in 100..1_200 {
            store.note_alert(&Alert { since, until: Some(since + 1), ..alert }).unwrap();
        }
        let kept = store.alerts().unwrap();
        assert!(kept.len() <= 1_001 && kept.contains(&later), "what is not over stays: {}", kept.len());
    }
}
