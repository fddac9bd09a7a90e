//! The same calls of a real Asterisk, read from each source by itself and from several at once.

use std::{collections::BTreeMap, time::Duration};

use demarc_tests::{
    lab::{Kind, Lab, MANAGER_READER, Options, Table, Truth, Version},
    machine, process,
    site::{Setup, Site},
    wait,
};
use serde_json::Value;

const LIMIT: Duration = Duration::from_secs(60);
const BY: &str = "direction,outcome,trunk,queue,extension";
/// The columns of the laboratory's `cdr_custom.conf`.
const COLUMNS: &str = r#"columns = ["clid", "src", "dst", "dcontext", "channel", "dstchannel", "lastapp", "lastdata", "start", "answer",
    "end", "duration", "billsec", "disposition", "amaflags", "accountcode", "uniqueid", "userfield", "linkedid", "sequence"]"#;

/// A way to read the laboratory's calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Csv,
    Custom,
    Sqlite,
    Database,
    DatabaseByTcp,
    Manager,
}

impl Way {
    fn settings(self, lab: &Lab) -> String {
        let reader = lab.mariadb().reader;
        let database = |address: String| {
            format!(
                "type = \"freepbx-db\"\naddress = {address:?}\nuser = {:?}\npassword = {:?}\n",
                reader.user, reader.secret
            )
        };
        let settings = match self {
            Self::Csv => format!("type = \"asterisk-csv\"\npath = {:?}\ntimezone = \"UTC\"\n", lab.cdr_csv()),
            Self::Custom => format!("type = \"cdr-custom\"\npath = {:?}\n{COLUMNS}\n", lab.cdr_custom()),
            Self::Sqlite => format!("type = \"cdr-sqlite\"\npath = {:?}\n", lab.sqlite()),
            Self::Database => database(lab.mariadb().socket.display().to_string()),
            Self::DatabaseByTcp => database(lab.mariadb().address.to_string()),
            Self::Manager => format!(
                "type = \"ami\"\naddress = \"{}\"\nuser = {:?}\nsecret = {:?}\n",
                lab.manager(),
                MANAGER_READER.user,
                MANAGER_READER.secret
            ),
        };
        format!("[[pbx.source]]\n{settings}")
    }

    /// Whether it says when a row was answered and when it ended, and not only how long it took.
    fn tells_of_ends(self) -> bool {
        !matches!(self, Self::Sqlite | Self::Database | Self::DatabaseByTcp)
    }
}

/// A site that reads the laboratory in these ways, and waits for nothing but the witnesses.
fn site(lab: &Lab, ways: &[Way]) -> Site {
    let mut site = Site::new(&Setup::default());
    let confinement = if machine::has_landlock() { "" } else { "confinement = \"best-effort\"\n" };
    // The database tells the names of its trunks itself.
    let named: &[&str] = if matches!(ways, [Way::Database | Way::DatabaseByTcp]) { &[] } else { &lab.trunks() };
    let sources: String = ways.iter().map(|way| way.settings(lab)).collect();
    site.write_config(&format!(
        "state_dir = {:?}\n{confinement}[pbx]\ntrunks = {named:?}\npatience = \"3s\"\n{sources}[stats]\nupload = false\n",
        site.state(),
    ));
    site.start();
    site
}

/// Each kind of source has been asked or opened, so that nothing of what is played is missed.
fn wait_until_ready(site: &Site, ways: &[Way]) {
    wait::until_true(LIMIT, &format!("{ways:?} to be read"), || {
        let status = site.status();
        let sources = status["collected"]["sources"].as_array().cloned().unwrap_or_default();
        // What a file-based source says before the first call is that there is no file yet.
        let is_server = |source: &Value| {
            let name = source["name"].as_str().unwrap_or_default();
            name.starts_with("ami") || name.starts_with("freepbx")
        };
        let manager_is_up = !ways.contains(&Way::Manager) || status["collected"]["pbx"]["version"].is_string();
        sources.len() == ways.len()
            && manager_is_up
            && sources.iter().all(|source| !is_server(source) || source["trouble"].is_null())
    });
}

/// The calls of a report by direction and outcome.
fn by_outcome(report: &Value) -> BTreeMap<(String, String), u64> {
    let mut calls = BTreeMap::new();
    for row in report["rows"].as_array().unwrap() {
        let word = |key: &str| row[key].as_str().unwrap().to_owned();
        *calls.entry((word("direction"), word("outcome"))).or_default() += row["calls"].as_u64().unwrap();
    }
    calls
}

/// What a report says: calls by everything but time, and times in sum.
#[derive(Clone, Debug)]
struct Rows {
    calls: BTreeMap<Vec<String>, u64>,
    talk: i64,
    wait: i64,
}

impl Rows {
    fn of(report: &Value) -> Self {
        let rows = report["rows"].as_array().unwrap();
        let words = |row: &Value| BY.split(',').map(|key| row[key].to_string()).collect();
        let sum = |key: &str| rows.iter().map(|row| row[key].as_i64().unwrap()).sum();
        Self {
            calls: rows.iter().map(|row| (words(row), row["calls"].as_u64().unwrap())).collect(),
            talk: sum("talk_seconds"),
            wait: sum("wait_seconds"),
        }
    }
}

/// All calls of the table by everything but the extension.
fn by_outcome_and_trunk(rows: &Rows) -> BTreeMap<&[String], u64> {
    let mut calls = BTreeMap::new();
    for (key, count) in &rows.calls {
        *calls.entry(&key[..key.len() - 1]).or_default() += count;
    }
    calls
}

fn expected(truth: &[Truth]) -> BTreeMap<(String, String), u64> {
    let mut calls = BTreeMap::new();
    for call in truth {
        *calls.entry((call.direction.to_owned(), call.outcome.to_owned())).or_default() += 1;
    }
    calls
}

#[test]
fn every_source_of_asterisk_16_counts_the_same_calls() {
    every_source_counts_the_same_calls(Version::Asterisk16);
}

#[test]
fn every_source_of_asterisk_22_counts_the_same_calls() {
    every_source_counts_the_same_calls(Version::Asterisk22);
}

fn every_source_counts_the_same_calls(version: Version) {
    let lab = Lab::start(version, Options::default());
    let ways: [&[Way]; 9] = [
        &[Way::Csv],
        &[Way::Custom],
        &[Way::Sqlite],
        &[Way::Database],
        &[Way::DatabaseByTcp],
        &[Way::Manager],
        &[Way::Csv, Way::Custom, Way::Sqlite, Way::Database, Way::Manager],
        &[Way::Database, Way::Manager],
        &[Way::Manager, Way::Database, Way::Csv],
    ];
    let mut sites: Vec<(&[Way], Site)> = ways.into_iter().map(|ways| (ways, site(&lab, ways))).collect();
    sites.iter().for_each(|(ways, site)| wait_until_ready(site, ways));
    lab.play_all(&Kind::ALL, 1);

    let truth = lab.truth();
    let rows: usize = truth.iter().map(|call| call.rows).sum();
    // The database takes no text that is not UTF-8. Asterisk 22 mends what a telephone says, and not what the PBX looked up.
    let refused = if version == Version::Asterisk16 { 2 } else { 1 };
    let mut reference = None;
    for (ways, site) in &mut sites {
        let cannot_know = if matches!(ways, [Way::Database | Way::DatabaseByTcp]) { refused } else { 0 };
        let wanted = (truth.len() - cannot_know) as u64;
        let mut last = Value::Null;
        wait::until_true(LIMIT, &format!("{wanted} calls of {} legs by {ways:?}", rows - cannot_know), || {
            last = site.report(BY);
            last["calls"] == wanted && last["legs"] == (rows - cannot_know) as u64
        });
        let mut wanted = expected(&truth);
        if cannot_know > 0 {
            *wanted.get_mut(&("inbound".into(), "answered".into())).unwrap() -= cannot_know as u64;
        }
        assert_eq!(by_outcome(&last), wanted, "{ways:?}");
        assert_eq!((&last["malformed"], &last["duplicates"]), (&Value::from(0), &Value::from(0)), "{ways:?}");
        if cannot_know == 0 {
            // Trunks, queues and extensions are the same whoever tells of them, and all times too, where these are told.
            let table = Rows::of(&last);
            let reference = reference.get_or_insert_with(|| table.clone());
            // Where the answer is worked out of whole seconds, the two answered legs of a transfer may change places.
            let unsure = if ways[0].tells_of_ends() { 0 } else { 1 };
            assert_eq!(by_outcome_and_trunk(&table), by_outcome_and_trunk(reference), "{ways:?}");
            let elsewhere = |(key, count): (&Vec<String>, &u64)| count.abs_diff(*table.calls.get(key).unwrap_or(&0));
            let moved: u64 = reference.calls.iter().map(elsewhere).sum();
            assert!(moved <= unsure, "{ways:?}: {:?}, {:?} elsewhere", table.calls, reference.calls);
            // Without the end and the answer there are whole seconds of duration only, each of them cut off.
            let slack = if ways[0].tells_of_ends() { 0 } else { rows as i64 };
            for (mine, others) in [(table.talk, reference.talk), (table.wait, reference.wait)] {
                assert!((mine - others).abs() <= slack, "{ways:?}: {mine} seconds, {others} elsewhere");
            }
        }
    }
    // Whatever waits has been decided about by now: nothing is counted late.
    let counted = |site: &Site| (site.report(BY)["calls"].clone(), site.report(BY)["legs"].clone());
    let before: Vec<_> = sites.iter().map(|(_, site)| counted(site)).collect();
    let settled = |site: &Site| {
        let status = site.status();
        let sources = status["collected"]["sources"].as_array().unwrap().clone();
        sources.iter().filter(|source| source["witness"] == true).all(|source| {
            let count = |key: &str| source[key].as_u64().unwrap();
            count("confirmed") + count("rescued") >= count("rows")
        })
    };
    for ((ways, site), before) in sites.iter().zip(before) {
        wait::until_true(LIMIT, &format!("the witnesses of {ways:?} to be heard"), || settled(site));
        assert_eq!(counted(site), before, "{ways:?}");
    }
}

/// What the sources of a PBX of old do not know: which rows make up a call.
#[test]
fn a_pbx_of_old_counts_rows_and_says_so() {
    let stock = Options { csv: "accountlogs=yes", mappings: false, table: Table::Old, ..Options::default() };
    let lab = Lab::start(Version::Asterisk16, stock);
    let ways: [&[Way]; 4] = [&[Way::Csv], &[Way::Manager], &[Way::Database], &[Way::Csv, Way::Manager, Way::Database]];
    let sites: Vec<(&[Way], Site)> = ways
        .into_iter()
        .map(|ways| {
            let site = site(&lab, ways);
            // These columns are in the machine's own time.
            site.write_config(&site.read_config().replace("timezone = \"UTC\"\n", ""));
            (ways, site)
        })
        .collect();
    sites.iter().for_each(|(ways, site)| wait_until_ready(site, ways));
    lab.play_all(&[Kind::Internal, Kind::RingGroup, Kind::Outbound, Kind::Voicemail], 2);
    let rows: usize = lab.truth().iter().map(|call| call.rows).sum();
    for (ways, site) in &sites {
        wait::until_true(LIMIT, &format!("{rows} legs by {ways:?}"), || site.report(BY)["legs"] == rows as u64);
        let status = site.status();
        let advice = status["collected"]["sources"][0]["advice"].as_str().unwrap_or_default().to_owned();
        assert!(advice.contains("do not say which call they belong to"), "{ways:?}: {advice}");
    }
    // Nobody waits for the witnesses of the last of them in vain.
    let (_, several) = sites.last().unwrap();
    wait::until_true(LIMIT, "the witnesses to be heard", || {
        let sources = several.status()["collected"]["sources"].as_array().unwrap().clone();
        sources[1..].iter().all(|source| source["confirmed"] == rows as u64)
    });
    assert_eq!(several.report(BY)["legs"], rows as u64);
}

#[test]
fn calls_end_when_they_end_in_every_zone() {
    std::thread::scope(|scope| {
        for zone in ["America/New_York", "Asia/Kolkata", "Australia/Lord_Howe"] {
            scope.spawn(move || a_pbx_in(zone));
        }
    });
}

/// The PBX's zone is not the agent's: what the settings say of it counts, and the witnesses agree.
fn a_pbx_in(zone: &'static str) {
    let began = jiff::Timestamp::now().as_second();
    let local = Options { csv: "loguniqueid=yes\nnewcdrcolumns=yes", zone: Some(zone), ..Options::default() };
    let lab = Lab::start(Version::Asterisk22, local);
    let ways = [Way::Csv, Way::Custom, Way::Sqlite, Way::Database, Way::Manager];
    let named = |text: &str| {
        let text = text.replace("timezone = \"UTC\"\n", "");
        let parts: Vec<&str> = text.split("[[pbx.source]]\n").collect();
        parts.join(&format!("[[pbx.source]]\ntimezone = \"{zone}\"\n"))
    };
    let mut sites: Vec<Site> = ways.iter().map(|&way| site(&lab, &[way])).chain([site(&lab, &ways)]).collect();
    for site in &mut sites {
        site.stop();
        site.write_config(&named(&site.read_config()));
        site.start();
    }
    for (site, way) in sites.iter().zip(ways) {
        wait_until_ready(site, &[way]);
    }
    wait_until_ready(&sites[ways.len()], &ways);
    lab.play_all(&[Kind::Internal, Kind::RingGroup], 1);
    let ended = jiff::Timestamp::now().as_second() + 1;
    for site in &sites {
        let report = site.wait_for_calls(2, "hour", LIMIT);
        wait::until_true(LIMIT, "all legs", || site.report("hour")["legs"] == 4);
        for row in report["rows"].as_array().unwrap() {
            let hour: jiff::Timestamp = row["hour"].as_str().unwrap().parse().unwrap();
            let hour = hour.as_second();
            assert!(hour + 3600 > began && hour <= ended, "{zone}: {row}");
        }
    }
}

#[test]
fn what_a_machine_has_is_found_and_what_is_found_can_be_read() {
    let lab = Lab::start(Version::Asterisk22, Options::default());
    lab.play(Kind::Internal, 1);
    // Records are written a moment after the call is over.
    wait::until_true(LIMIT, "the record", || lab.cdr_csv().metadata().is_ok_and(|file| file.len() > 0));
    let root = lab.image();
    let site = Site::new(&Setup::default());
    let found = site.run(&["sources", "--json", "--root", root.path().to_str().unwrap()]).json();
    let names: Vec<&str> =
        found["found"].as_array().unwrap().iter().map(|finding| finding["name"].as_str().unwrap()).collect();
    for kind in ["asterisk-csv", "cdr-custom", "cdr-sqlite", "ami", "queue-log"] {
        assert!(names.iter().any(|name| name.starts_with(kind)), "{kind}: {names:?}");
    }
    assert!(found["recommended"][0].as_str().unwrap().starts_with("asterisk-csv"), "{found}");
    let toml = site.run(&["sources", "--toml", "--root", root.path().to_str().unwrap()]).ok();
    site.write_config(&format!("state_dir = {:?}\n{toml}", site.state()));
    process::run(site.command().args(["stats", "show"]), LIMIT).ok();
}
