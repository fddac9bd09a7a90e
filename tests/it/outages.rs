//! What breaks elsewhere - hub, disk, database, clock - costs no call and says so in words.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    os::unix::fs::PermissionsExt,
    process::Command,
    time::Duration,
};

use demarc_proto::Report;
use demarc_tests::{
    clock::Clock,
    machine, oracle,
    process::run,
    relay::Relay,
    site::{self, LIMIT, Setup, Site},
    traffic::{Traffic, wait_for_room_in_the_minute},
    wait,
};

const ONE_WINDOW: Duration = Duration::from_secs(120);
const DAY: i64 = 86_400;

#[test]
fn a_hub_that_is_down_for_days_gets_every_report_once() {
    let (mut hub, mut site) =
        site::enrolled(&Setup { window: "1d".into(), quiet: Some("2s".into()), ..Setup::default() });
    let clock = Clock::of(&mut site);
    site.start();
    site.wait_for_tunnel();
    hub.kill();
    let mut traffic = Traffic::new(21);
    let days = 12;
    for day in 0..days {
        clock.set(day * DAY);
        let begun = wait::now() + (day * DAY) as u64;
        traffic.feed_at(&site, 15, begun);
        let calls = 15 * (day as u64 + 1);
        site.wait_for_calls(calls, "direction", LIMIT);
        // Longer than the quiet time, so that the day's calls have settled before it ends.
        wait::until_true(LIMIT, "the quiet time", || wait::now() + (day * DAY) as u64 > begun + 3);
        clock.set((day + 1) * DAY);
        wait::until_true(LIMIT, &format!("report {day} in the outbox"), || site.outbox().len() > day as usize);
    }
    let waiting: BTreeSet<Vec<u8>> = site.outbox().iter().map(|file| fs::read(file).unwrap()).collect();
    assert_eq!(waiting.len(), days as usize);
    let whole: u64 = site.outbox().iter().map(|file| file.metadata().unwrap().len()).sum();
    assert!(whole <= 16 * 1024 * 1024);

    // A crash in between changes nothing of what waits.
    site.kill();
    site.start();
    hub.serve();
    let bodies = hub.wait_for_reports("site-one", days as usize, ONE_WINDOW);
    let arrived: BTreeSet<Vec<u8>> = bodies.iter().map(|body| body.clone().into_bytes()).collect();
    assert_eq!(arrived, waiting, "the very bytes that waited");
    let calls: u64 = bodies.iter().map(|body| Report::from_body(body).unwrap().calls()).sum();
    assert_eq!(calls, 15 * days as u64, "nothing counted twice, nothing lost");
    wait::until_true(LIMIT, "all receipts", || site.outbox().is_empty());
    assert_eq!(site.ledger_entries("report").len(), days as usize);
    site.run(&["sent", "verify"]).ok();
}

#[test]
fn a_restarted_hub_is_found_again_and_counts_nothing_twice() {
    let (hub, mut site) = {
        let hub = demarc_tests::hub::Hub::start();
        let relay = Relay::to(hub.address());
        let site = Site::new(&Setup { hub: Some(relay.address().to_string()), ..Setup::default() });
        site.enroll(&hub.token("site-one")).ok();
        ((hub, relay), site)
    };
    let (mut hub, relay) = hub;
    site.start();
    site.wait_for_tunnel();
    hub.stop();
    wait::until_true(LIMIT, "the loss to be noticed", || !site.is_connected());
    hub.serve();
    wait::until_true(ONE_WINDOW, "the tunnel again", || site.is_connected());
    let mut traffic = Traffic::new(22);
    wait_for_room_in_the_minute(15);
    // The relay lets the report pass and cuts before the receipt comes back, as often as it can.
    traffic.feed(&site, 30);
    let down = relay.bytes_down();
    wait::until_true(ONE_WINDOW, "the report at the hub", || hub.bodies("site-one").len() == 1);
    let _ = down;
    relay.cut();
    wait::until_true(ONE_WINDOW, "the receipt", || {
        site.outbox().is_empty() && !site.ledger_entries("receipt").is_empty()
    });
    let bodies = hub.bodies("site-one");
    assert_eq!(bodies.len(), 1);
    traffic.oracle.assert_reported(&Report::from_body(&bodies[0]).unwrap());
}

/// A site whose state lies on a file system of its own that can be filled.
fn on_a_small_disk(site: &Site) -> SmallDisk {
    let place = site.state();
    fs::create_dir_all(&place).unwrap();
    let mut mount = Command::new("mount");
    mount.args(["-t", "tmpfs", "-o", "size=4m,mode=0700", "tmpfs"]).arg(&place);
    run(&mut mount, LIMIT).ok();
    SmallDisk(place)
}

struct SmallDisk(std::path::PathBuf);

impl SmallDisk {
    /// Leaves no byte free.
    fn fill(&self) {
        let mut file = File::create(self.0.join("filler")).unwrap();
        let block = [0u8; 4096];
        while std::io::Write::write(&mut file, &block).is_ok_and(|count| count > 0) {}
    }

    fn make_room(&self) {
        fs::remove_file(self.0.join("filler")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        run(Command::new("umount").arg("-l").arg(&self.0), LIMIT);
    }
}

#[test]
fn a_full_disk_costs_no_call() {
    assert!(machine::is_root(), "this test mounts a small file system: run the tests as root");
    let mut site = Site::new(&Setup { upload: false, ..Setup::default() });
    let disk = on_a_small_disk(&site);
    site.start();
    let mut traffic = Traffic::new(23);
    traffic.feed(&site, 20);
    site.wait_for_calls(20, "direction", LIMIT);
    disk.fill();
    for _ in 0..40 {
        traffic.feed(&site, 25);
    }
    let trouble = wait::until(LIMIT, "the full disk to be named", || {
        let troubles = site.status()["collected"]["troubles"].to_string().to_lowercase();
        troubles.contains("disk").then_some(troubles)
    });
    assert!(site.daemon().is_up(), "{trouble}");
    disk.make_room();
    let by = "hour,direction,outcome";
    let report = site.wait_for_calls(1020, by, ONE_WINDOW);
    assert_eq!(oracle::printed(&report, by), traffic.oracle.table(by));
    wait::until_true(LIMIT, "the trouble to be over", || {
        !site.status().to_string().to_lowercase().contains("disk is full")
    });
    site.stop();
    drop(disk);
}

#[test]
fn a_read_only_state_directory_is_named() {
    assert!(machine::is_root(), "this test mounts a file system read-only: run the tests as root");
    let mut site = Site::new(&Setup { upload: false, ..Setup::default() });
    let disk = on_a_small_disk(&site);
    let remount =
        |how: &str| run(Command::new("mount").args(["-o", &format!("remount,{how}")]).arg(&disk.0), LIMIT).ok();
    site.start();
    let mut traffic = Traffic::new(24);
    traffic.feed(&site, 20);
    site.wait_for_calls(20, "direction", LIMIT);
    site.stop();
    remount("ro");
    site.launch();
    let code = site.daemon().ended(LIMIT);
    assert_eq!(code, Some(1), "{}", site.log());
    let log = site.log().to_lowercase();
    assert!(log.contains("read-only") && log.contains(&disk.0.display().to_string().to_lowercase()), "{log}");
    traffic.feed(&site, 20);
    remount("rw");
    site.stop();
    site.start();
    let by = "hour,direction,outcome";
    let report = site.wait_for_calls(40, by, LIMIT);
    assert_eq!(oracle::printed(&report, by), traffic.oracle.table(by));
    site.stop();
    drop(disk);
}

#[test]
fn a_damaged_database_is_set_aside_and_said() {
    let mut site = Site::new(&Setup { upload: false, ..Setup::default() });
    site.start();
    let mut traffic = Traffic::new(25);
    traffic.feed(&site, 50);
    site.wait_for_calls(50, "direction", LIMIT);
    site.stop();
    let store = site.state().join("collector/calls.db");
    let length = fs::metadata(&store).unwrap().len() as usize;
    for suffix in ["-wal", "-shm"] {
        let _ = fs::remove_file(site.state().join(format!("collector/calls.db{suffix}")));
    }
    fs::write(&store, vec![0x5a; length]).unwrap();
    site.start();
    let aside = || {
        let kept = fs::read_dir(site.state().join("collector")).unwrap().flatten().map(|entry| entry.path());
        kept.filter(|path| *path != store && fs::read(path).is_ok_and(|bytes| bytes.starts_with(&[0x5a; 64]))).count()
    };
    wait::until_true(LIMIT, "the damaged file to be set aside", || aside() > 0);
    // The records are still there, so a fresh store counts them again from the file's beginning.
    let by = "direction,outcome";
    let report = site.wait_for_calls(50, by, LIMIT);
    assert_eq!(oracle::printed(&report, by), traffic.oracle.table(by));
    assert_eq!(aside(), 1, "the damaged file is kept, not deleted");
    let told = site.status().to_string() + &site.log();
    assert!(told.to_lowercase().contains("damaged") || told.contains("corrupt"), "{told}");
}

#[test]
fn a_clock_that_is_set_back_repeats_nothing() {
    let (hub, mut site) = site::enrolled(&Setup { quiet: Some("2s".into()), ..Setup::default() });
    let clock = Clock::of(&mut site);
    clock.set(3 * 3600);
    site.start();
    site.wait_for_tunnel();
    let mut traffic = Traffic::new(26);
    wait_for_room_in_the_minute(15);
    traffic.feed_at(&site, 20, wait::now() + 3 * 3600);
    hub.wait_for_reports("site-one", 1, ONE_WINDOW);
    wait::until_true(LIMIT, "the receipt", || site.outbox().is_empty());
    // Three hours back: windows of before may not come again with other calls.
    clock.set(0);
    traffic.feed(&site, 20);
    site.wait_for_calls(40, "direction", LIMIT);
    wait::until_true(ONE_WINDOW, "a minute to pass", || {
        assert!(site.daemon().is_up());
        site.status();
        wait::now() % 60 >= 20 && hub.bodies("site-one").len() <= 2
    });
    site.kill();
    site.start();
    // Forward again: everything that was fed has been reported once.
    clock.set(3 * 3600 + 180);
    wait_for_room_in_the_minute(15);
    traffic.feed_at(&site, 20, wait::now() + 3 * 3600 + 180);
    wait::until_true(Duration::from_secs(180), "all calls to be reported", || {
        let bodies = hub.bodies("site-one");
        bodies.iter().map(|body| Report::from_body(body).unwrap().calls()).sum::<u64>() >= 60
    });
    let bodies = hub.bodies("site-one");
    let windows: BTreeSet<u64> = bodies.iter().map(|body| Report::from_body(body).unwrap().window.start).collect();
    assert_eq!(windows.len(), bodies.len(), "no window was reported twice");
    let calls: u64 = bodies.iter().map(|body| Report::from_body(body).unwrap().calls()).sum();
    assert_eq!(calls, 60);
    site.run(&["sent", "verify"]).ok();
}

#[test]
fn a_call_record_file_that_cannot_be_read_is_named_and_waited_for() {
    let mut site = Site::new(&Setup { upload: false, ..Setup::default() });
    let mut traffic = Traffic::new(27);
    traffic.feed(&site, 10);
    let hidden = site.path("elsewhere.csv");
    fs::rename(site.master(), &hidden).unwrap();
    site.start();
    wait::until_true(LIMIT, "the missing file to be named", || {
        site.source_trouble().is_some_and(|text| text.contains("Master.csv"))
    });
    fs::rename(&hidden, site.master()).unwrap();
    fs::set_permissions(site.master(), fs::Permissions::from_mode(0o644)).unwrap();
    site.wait_for_calls(10, "direction", LIMIT);
    wait::until_true(LIMIT, "the trouble to be over", || site.source_trouble().is_none());
}
