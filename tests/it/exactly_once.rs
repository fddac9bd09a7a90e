//! Every call is counted exactly once, whoever is killed, whenever, while the file grows and is rotated.

use std::{
    fs::{self, File},
    io::Write,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use demarc_tests::{
    cdr::{Caller, Layout, Random},
    data,
    oracle::{self, Oracle},
    process,
    site::{self, Setup, Site},
    wait,
};

const KILLS: u32 = 200;
const ROTATIONS: u32 = 8;
const LIMIT: Duration = Duration::from_secs(60);

/// Writes call records as Asterisk does, and rotates as logrotate does.
struct Writer {
    master: std::path::PathBuf,
    caller: Caller,
    random: Random,
    oracle: Oracle,
    end: i64,
}

impl Writer {
    fn new(site: &Site, seed: u64) -> Self {
        Self {
            master: site.master(),
            caller: Caller::new(seed),
            random: Random::new(seed ^ 0x55),
            oracle: Oracle::new(&data::TRUNKS),
            end: 1_795_300_000,
        }
    }

    /// One call more. Rows without a sequence, so that only the file's position keeps a row from being read twice.
    fn write(&mut self) {
        self.end += 3;
        let layout = if self.random.below(2) == 0 { Layout::Both18 } else { Layout::Plain16 };
        for row in self.caller.call(self.end) {
            let line = row.line(layout);
            self.oracle.read(&line);
            let mut file = File::options().append(true).create(true).open(&self.master).unwrap();
            if self.random.below(8) == 0 {
                // A reader may see half a line.
                let middle = 1 + self.random.below(line.len() as u64 - 1) as usize;
                file.write_all(&line[..middle]).unwrap();
                std::thread::sleep(Duration::from_millis(self.random.below(20)));
                file.write_all(&line[middle..]).unwrap();
            } else {
                file.write_all(&line).unwrap();
            }
        }
    }

    fn rotate(&mut self, number: u32) {
        for old in (1..=number).rev() {
            let (from, to) = (rotated(&self.master, old), rotated(&self.master, old + 1));
            if from.exists() {
                fs::rename(from, to).unwrap();
            }
        }
        let first = rotated(&self.master, 1);
        if number.is_multiple_of(2) {
            fs::rename(&self.master, first).unwrap();
            File::create(&self.master).unwrap();
        } else {
            // What a PBX appends between copy and truncation is lost by logrotate itself: nothing is appended here.
            fs::copy(&self.master, first).unwrap();
            File::options().write(true).truncate(true).open(&self.master).unwrap();
        }
    }
}

fn rotated(master: &Path, number: u32) -> std::path::PathBuf {
    master.with_extension(format!("csv.{number}"))
}

#[test]
fn no_kill_loses_or_repeats_a_call() {
    let seed = Random::fresh_seed();
    println!("seed {seed}");
    let (_hub, mut site) = site::enrolled(&Setup { window: "1d".into(), ..Setup::default() });
    site.start();
    let writer = Arc::new(Mutex::new(Writer::new(&site, seed)));
    let over = Arc::new(AtomicBool::new(false));
    let writing = std::thread::spawn({
        let (writer, over) = (writer.clone(), over.clone());
        let mut random = Random::new(seed ^ 1);
        move || {
            while !over.load(SeqCst) {
                writer.lock().unwrap().write();
                std::thread::sleep(Duration::from_millis(random.below(15)));
            }
        }
    });

    let mut random = Random::new(seed ^ 2);
    let mut killed = std::collections::BTreeMap::<&str, u32>::new();
    let (mut kills, mut rotations) = (0, 0);
    while kills < KILLS {
        let victim = ["collector", "collector", "link", "supervisor"][random.below(4) as usize];
        std::thread::sleep(Duration::from_millis(random.below(150)));
        if rotations < ROTATIONS && kills >= (rotations + 1) * (KILLS / (ROTATIONS + 1)) {
            // Files are rotated once a day, not twice while nobody looks: the reader has seen the last rotation first.
            let legs = writer.lock().unwrap().oracle.legs;
            wait_for_legs(&mut site, legs);
            rotations += 1;
            writer.lock().unwrap().rotate(rotations);
        }
        let started = site.is_started();
        match victim {
            "supervisor" if started => site.kill(),
            role => match site.role(role) {
                Some(pid) => process::signal(pid, libc::SIGKILL),
                None => {
                    // It is on its way up again; killing it later counts, this does not.
                    ensure_started(&mut site);
                    continue;
                }
            },
        }
        kills += 1;
        *killed.entry(victim).or_default() += 1;
        ensure_started(&mut site);
    }
    over.store(true, SeqCst);
    writing.join().unwrap();
    println!("killed {killed:?}, rotated {rotations} times");
    assert_eq!(rotations, ROTATIONS);
    assert!(["collector", "link", "supervisor"].iter().all(|role| killed[role] > 10));

    ensure_started(&mut site);
    let writer = Arc::into_inner(writer).unwrap().into_inner().unwrap();
    wait_for_legs(&mut site, writer.oracle.legs);
    // Nothing comes after: not now, not after another restart.
    for _ in 0..2 {
        let by = "hour,direction,outcome";
        let report = site.report(by);
        assert_eq!(oracle::printed(&report, by), writer.oracle.table(by));
        assert_eq!(report["legs"].as_u64().unwrap(), writer.oracle.legs);
        // The rollups of waiting times change with the others, through every kill.
        assert_eq!(site.run(&["report", "--waits", "--json"]).json()["waits"], writer.oracle.waits());
        assert_eq!(report["malformed"], 0);
        site.stop();
        site.start();
        wait::throughout(Duration::from_millis(1500), "the figures", || {
            site.report("direction")["legs"].as_u64() == Some(writer.oracle.legs)
        });
    }
    let legs = writer.oracle.legs;
    println!("{legs} legs in {} calls", writer.oracle.calls());
    assert!(legs > 1000, "the writer was at work all the time: {legs}");
    site.run(&["sent", "verify"]).ok();
}

fn ensure_started(site: &mut Site) {
    if !site.is_started() {
        site.start();
    }
}

fn wait_for_legs(site: &mut Site, legs: u64) {
    ensure_started(site);
    let begun = Instant::now();
    wait::until_true(LIMIT, "every leg to be counted", || {
        let counted = site.report("direction")["legs"].as_u64().unwrap();
        assert!(begun.elapsed() < LIMIT, "{counted} of {legs} legs");
        counted >= legs
    });
}
