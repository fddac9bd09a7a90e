//! Measures the machine.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

use demarc_proto::health::{Amount, DiskRole};
use sysinfo::System;

use super::{Disk, Sample};
use crate::confine::known;

/// What is read, beside sensors and the sizes of file systems, which need no open file.
const FILES: [&str; 4] = ["/proc/stat", "/proc/meminfo", "/proc/loadavg", "/proc/uptime"];
/// Where sensors are listed.
const SENSORS: &str = "/sys/class/thermal";

/// The files that whoever measures has to read, as they really lie.
pub fn files() -> Vec<PathBuf> {
    FILES.iter().map(PathBuf::from).chain(sensors()).collect()
}

/// The sensors that there are: files with thousandths of a degree. To be asked by a process that is not confined.
pub fn sensors() -> Vec<PathBuf> {
    let zones = fs::read_dir(SENSORS).into_iter().flatten().flatten();
    zones.filter_map(|zone| fs::canonicalize(zone.path().join("temp")).ok()).collect()
}

/// Keeps those files open. A file rule is bound to what the kernel holds of a file in memory, and it may make that anew once
/// nobody has the file open: whoever confines others holds them for as long as the rules are to work.
pub fn hold() -> Vec<File> {
    files().iter().filter_map(|path| File::open(path).ok()).collect()
}

/// Measures the machine again and again.
pub struct Gauge {
    system: Option<System>,
    sensors: Vec<PathBuf>,
    places: Vec<(DiskRole, PathBuf)>,
    has_measured: bool,
}

impl Gauge {
    /// `recordings` are trees of recordings beside the known ones; `sensors` are files with thousandths of a degree.
    pub fn new(state_dir: &Path, recordings: &[PathBuf], sensors: Vec<PathBuf>) -> Self {
        let trees = known::TREES.iter().map(PathBuf::from).chain(recordings.iter().cloned());
        let trees = trees.map(|tree| (DiskRole::Recordings, tree));
        let places = [(DiskRole::State, state_dir.to_owned())].into_iter().chain(trees);
        let places = places.chain([(DiskRole::Root, PathBuf::from("/"))]).collect();
        Self { system: System::new().ok(), sensors, places, has_measured: false }
    }

    /// One measurement; of the phone system and of the clock it knows nothing.
    pub fn measure(&mut self, now: u64) -> Sample {
        let mut sample = Sample { at: now, disks: self.disks(), celsius: self.celsius(), ..Sample::default() };
        if let Some(system) = &mut self.system {
            system.refresh_cpu_usage();
            system.refresh_memory();
            sample.memory = amount(system.total_memory(), system.used_memory());
            sample.swap = amount(system.total_swap(), system.used_swap());
            // The first measurement has nothing to be compared with.
            let busy = whole(f64::from(system.global_cpu_usage()) * 10.0).min(1000);
            sample.cpu_permille = std::mem::replace(&mut self.has_measured, true).then_some(busy);
        }
        if let Ok(load) = System::load_average() {
            sample.load_hundredths = [load.one, load.five, load.fifteen].map(|load| whole(load * 100.0));
        }
        sample.uptime_seconds = System::uptime().unwrap_or(0);
        sample
    }

    /// One file system for each role: of several with recordings, the one with the least room.
    fn disks(&self) -> Vec<Disk> {
        let mut disks: Vec<Disk> = Vec::new();
        for (role, path) in &self.places {
            let Some(disk) = disk(*role, path) else { continue };
            match disks.iter_mut().find(|other| other.role == *role) {
                Some(other) if disk.free_mib < other.free_mib => *other = disk,
                Some(_) => {}
                None => disks.push(disk),
            }
        }
        disks
    }

    fn celsius(&self) -> Option<i32> {
        let read = |path: &PathBuf| fs::read_to_string(path).ok()?.trim().parse::<i32>().ok();
        self.sensors.iter().filter_map(read).map(|thousandths| thousandths / 1000).max()
    }
}

fn disk(role: DiskRole, path: &Path) -> Option<Disk> {
    let size = rustix::fs::statvfs(path).ok()?;
    let mib = |blocks: u64| to_mib(blocks.saturating_mul(size.f_frsize));
    let (total_mib, free_mib) = (mib(size.f_blocks), mib(size.f_bavail).min(mib(size.f_blocks)));
    (total_mib > 0).then(|| Disk { role, path: path.to_owned(), total_mib, free_mib, full_in_days: None })
}

fn amount(total: u64, used: u64) -> Amount {
    Amount { total_mib: to_mib(total), used_mib: to_mib(used.min(total)) }
}

fn to_mib(bytes: u64) -> u32 {
    u32::try_from(bytes >> 20).unwrap_or(u32::MAX)
}

/// The nearest whole number; negative ones and what is no number are zero.
fn whole(number: f64) -> u32 {
    number.round() as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_memory_and_room() {
        let directory = tempfile::tempdir().unwrap();
        let mut gauge = Gauge::new(directory.path(), &[], Vec::new());
        assert_eq!(gauge.measure(1).cpu_permille, None);
        let sample = gauge.measure(61);
        assert!(sample.cpu_permille.is_some() && sample.memory.total_mib > 0 && sample.uptime_seconds > 0);
        let roles: Vec<DiskRole> = sample.disks.iter().map(|disk| disk.role).collect();
        assert!(roles.is_sorted() && roles.contains(&DiskRole::State) && roles.contains(&DiskRole::Root), "{roles:?}");
    }
}
