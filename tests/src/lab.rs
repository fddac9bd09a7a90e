//! The laboratory: a real Asterisk, 16 or 22, with every way of keeping call records switched on at once, and `sipp` as
//! its telephones, providers and callers, so that what is read from one source can be held against what is read from
//! another, and both against what was played.
//!
//! ```no_run
//! use demarc_tests::lab::{Kind, Lab, Load, Options, Version};
//!
//! let lab = Lab::start(Version::Asterisk22, Options::default());
//! lab.play(Kind::RingGroup, 3); // returns when the calls are over and the PBX holds no channel any more
//! lab.play_all(&[Kind::Menu, Kind::Busy], 2); // two of each, side by side
//! lab.truth(); // what was played: direction, outcome and number of rows of each call
//!
//! lab.cdr_csv(); // Master.csv of cdr_csv: 21 columns in UTC, or what Options::csv says
//! lab.cdr_custom(); // Master.csv of cdr_custom: 20 columns of its own, local time
//! lab.sqlite(); // master.db of cdr_sqlite3_custom, table cdr, local time
//! lab.queue_log();
//! lab.manager(); // the address of the manager interface, for the user MANAGER_READER
//! lab.mariadb(); // FreePBX's databases: unix socket, address, user and secret
//! lab.trunks(); // the names of the trunks, as an administrator would write them down
//!
//! let load = Load { calls_per_second: 5, seconds: 10, bridged: 20, speech: true };
//! let running = lab.load(load); // calls at a steady rate, for measurements
//! let loaded = running.wait(); // how many there were, and Asterisk's own processor time for them
//! ```
//!
//! The far ends by their numbers: 1001 to 1004 answer, 1005 answers and speaks, 1006 is busy, 1007 and 1008 ring, 1011
//! hands over with `*2`, 1012 and 1013 send on by REFER, 1014 joins two calls by REFER. `provider1` refuses numbers that end with 503, both providers
//! those that end with 603. The dial plan and all else that the PBX is told stands in `tests/lab/etc`.
//!
//! The records of a call are written within a second or so after `play` returned, the database's not always first: wait
//! for them. `Options::default()` is what `Truth::rows` counts; without `unanswered=yes` there are fewer.
//!
//! Everything lies in one temporary directory and in one network `127.x.y.0/24` of its own, so any number of
//! laboratories can be up at once, and everything ends when the `Lab` is dropped, by its process id.
//! `DEMARC_LAB_KEEP=1` leaves the directory behind. The thread that starts a laboratory must outlive it: its programs
//! end with that thread.

mod kind;
mod load;
mod manager;
mod mariadb;
mod network;
mod packages;
mod pbx;
mod phones;
mod rows;
mod scenario;
mod zone;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Mutex,
    time::Duration,
};

use tempfile::TempDir;

use crate::wait;

pub use kind::{Kind, Truth};
pub use load::{Load, Loaded, Loading};
pub use manager::{Manager, Message};
pub use mariadb::{MariaDb, Table};
pub use packages::Version;
pub use rows::{BackEnd, Row};

use kind::Caller;
use network::Network;
use packages::Packages;
use pbx::Pbx;
use phones::{Calls, Phones};

/// How the PBX is set up.
#[derive(Clone, Debug)]
pub struct Options {
    /// The lines of `cdr.conf` below `[general]`.
    pub general: &'static str,
    /// The lines of `cdr.conf` below `[csv]`. A lone `accountlogs=yes` leaves all as it is by itself: 16 columns, local
    /// time. Without any line Asterisk writes no `Master.csv`.
    pub csv: &'static str,
    /// Whether `Cdr` events of the manager interface say `linkedid` and `sequence`.
    pub mappings: bool,
    /// Which table FreePBX's database has.
    pub table: Table,
    /// The PBX's time zone, as `Asia/Kolkata`; none is the machine's own. Needs user and mount namespaces.
    pub zone: Option<&'static str>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            general: "unanswered=yes\ncongestion=yes",
            csv: "usegmtime=yes\nloguniqueid=yes\nloguserfield=yes\nnewcdrcolumns=yes",
            mappings: true,
            table: Table::default(),
            zone: None,
        }
    }
}

/// A name to log in with.
#[derive(Clone, Copy, Debug)]
pub struct Credentials {
    /// The user.
    pub user: &'static str,
    /// The password.
    pub secret: &'static str,
}

/// What a customer's administrator gives to a reader: it may listen to call records and ask for figures.
pub const MANAGER_READER: Credentials = Credentials { user: "demarc", secret: "only-reads" };
const MANAGER_OWN: Credentials = Credentials { user: "lab", secret: "plays-calls" };

/// A laboratory that is up. Everything ends when it is dropped.
#[derive(Debug)]
pub struct Lab {
    reader: Manager,
    own: Manager,
    pbx: Pbx,
    phones: Phones,
    mariadb: MariaDb,
    network: Network,
    played: Mutex<Vec<Kind>>,
    _directory: TempDir,
}

impl Lab {
    /// Fetches what was not fetched before, and starts everything. A missing part is a failure, not a reason to skip.
    pub fn start(version: Version, options: Options) -> Self {
        let packages = Packages::fetch(version);
        let mut directory = tempfile::Builder::new().prefix("demarc-lab-").tempdir().unwrap();
        if std::env::var_os("DEMARC_LAB_KEEP").is_some() {
            directory.disable_cleanup(true);
            eprintln!("the laboratory lies in {}", directory.path().display());
        }
        let part = |name: &str| {
            let path = directory.path().join(name);
            std::fs::create_dir(&path).unwrap();
            path
        };
        let network = Network::claim();
        let mariadb =
            MariaDb::start(&packages, &part("mariadb"), network.tcp(pbx::ADDRESS), options.table, options.zone);
        let sip = network.udp(pbx::ADDRESS);
        let phones = Phones::start(&packages, &part("phones"), &network, sip);
        let pbx = Pbx::start(&packages, &part("pbx"), &network, sip, &phones.endpoints, &mariadb.socket, &options);
        let own = Manager::log_in(pbx.manager, MANAGER_OWN);
        own.act(&[("Action", "Command"), ("Command", "core waitfullybooted")]);
        let status = own.act(&[("Action", "CoreSettings")]);
        let running = status.get("AsteriskVersion");
        assert!(running.starts_with(version.major()), "the packages hold Asterisk {running}");
        let reader = Manager::log_in(pbx.manager, MANAGER_READER);
        Self { reader, own, pbx, phones, mariadb, network, played: Mutex::default(), _directory: directory }
    }

    /// Plays so many calls of one kind at once. Returns when they are over and the PBX holds no channel any more.
    pub fn play(&self, kind: Kind, count: u32) {
        self.place(kind, count);
        self.wait_until_quiet();
    }

    /// Plays so many calls of each of these kinds, all at once; otherwise as `play`.
    pub fn play_all(&self, kinds: &[Kind], count: u32) {
        std::thread::scope(|scope| {
            for &kind in kinds {
                scope.spawn(move || self.place(kind, count));
            }
        });
        self.wait_until_quiet();
    }

    /// What was played so far, one element a call, in order of direction, outcome and rows.
    pub fn truth(&self) -> Vec<Truth> {
        let mut truth: Vec<Truth> = self.played.lock().unwrap().iter().flat_map(|kind| kind.truths()).collect();
        truth.sort_unstable();
        truth
    }

    /// Begins to place calls at a steady rate, while so many others stay up; for measurements. They count in no truth.
    pub fn load(&self, load: Load) -> Loading<'_> {
        Loading::start(self, load)
    }

    /// `Master.csv` of `cdr_csv`.
    pub fn cdr_csv(&self) -> PathBuf {
        self.log("cdr-csv/Master.csv")
    }

    /// `Master.csv` of `cdr_custom`; `data::custom_as_21` reads it.
    pub fn cdr_custom(&self) -> PathBuf {
        self.log("cdr-custom/Master.csv")
    }

    /// `master.db` of `cdr_sqlite3_custom`: table `cdr`, whose `AcctId` counts the rows.
    pub fn sqlite(&self) -> PathBuf {
        self.log("master.db")
    }

    /// The log of the queues.
    pub fn queue_log(&self) -> PathBuf {
        self.log("queue_log")
    }

    /// The manager interface, for a user who may hear call records and ask for figures: `MANAGER_READER`.
    pub fn manager(&self) -> SocketAddr {
        self.pbx.manager
    }

    /// FreePBX's databases, `asterisk` and `asteriskcdrdb`.
    pub fn mariadb(&self) -> &MariaDb {
        &self.mariadb
    }

    /// The names of the trunks.
    pub fn trunks(&self) -> [&'static str; 2] {
        ["provider1", "provider2"]
    }

    /// Asterisk's process, for measurements.
    pub fn asterisk_pid(&self) -> i32 {
        self.pbx.daemon.pid()
    }

    /// A root directory in which this PBX seems to be installed as usual; its files are the real ones.
    pub fn image(&self) -> TempDir {
        let root = tempfile::Builder::new().prefix("demarc-image-").tempdir().unwrap();
        let place = |path: &Path| root.path().join(path.strip_prefix("/").unwrap());
        let (settings, own) = (place(Path::new("/etc/asterisk")), place(&self.pbx.directory));
        for directory in [&settings, own.parent().unwrap()] {
            std::fs::create_dir_all(directory).unwrap();
        }
        std::fs::copy(self.pbx.directory.join("etc/asterisk.conf"), settings.join("asterisk.conf")).unwrap();
        std::os::unix::fs::symlink(&self.pbx.directory, own).unwrap();
        root
    }

    /// A command of Asterisk's own console; what it answers.
    pub fn console(&self, command: &str) -> String {
        let answer = self.own.act(&[("Action", "Command"), ("Command", command)]);
        let lines = answer.0.iter().filter(|(key, _)| key == "Output").map(|(_, line)| line.as_str());
        lines.collect::<Vec<_>>().join("\n")
    }

    /// What a back end holds, as far as every one of them holds it.
    pub fn rows(&self, back_end: BackEnd) -> Vec<Row> {
        rows::read(self, back_end)
    }

    /// What the user of `MANAGER_READER` heard since the start.
    pub fn heard(&self) -> &Manager {
        &self.reader
    }

    /// How many calls have somebody at both ends just now.
    pub fn bridged(&self) -> u32 {
        let table = self.console("bridge show all");
        table.lines().filter(|line| line.contains("simple_bridge") || line.contains("native_rtp")).count() as u32
    }

    fn log(&self, name: &str) -> PathBuf {
        self.pbx.directory.join("log").join(name)
    }

    fn place(&self, kind: Kind, count: u32) {
        let plan = kind.plan();
        let calls = Calls {
            caller: plan.caller,
            name: plan.name,
            dials: plan.dials,
            stays: plan.stays,
            gives_up: plan.gives_up,
            count,
            rate: count,
            speaks: false,
        };
        let parked = self.own.events("ParkedCall").len();
        std::thread::scope(|scope| {
            scope.spawn(|| self.phones.call(&self.network, self.pbx.sip, &calls));
            if kind == Kind::Parked {
                self.pick_up(parked, count);
            }
        });
        self.played.lock().unwrap().extend((0..count).map(|_| kind));
    }

    /// The parked callers are picked up by another extension, which hangs up before they do.
    fn pick_up(&self, parked_before: usize, count: u32) {
        wait::until_true(Duration::from_secs(30), "the calls to be parked", || {
            self.own.events("ParkedCall").len() >= parked_before + count as usize
        });
        let pick_up = Calls {
            caller: Caller::Extension,
            name: "Extension",
            dials: "7000",
            stays: Duration::from_secs(2),
            gives_up: false,
            count,
            rate: count,
            speaks: false,
        };
        self.phones.call(&self.network, self.pbx.sip, &pick_up);
    }

    fn wait_until_quiet(&self) {
        wait::until_true(Duration::from_secs(60), "the PBX to hold no channel", || {
            self.own.act(&[("Action", "CoreStatus")]).get("CoreCurrentCalls") == "0"
                && self.console("core show channels count").lines().any(|line| line.trim() == "0 active channels")
        });
    }
}
