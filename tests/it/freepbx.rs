//! FreePBX's database as a source: every row once, however late it shows, whoever is killed, whatever the table looks like.

use std::{
    fs,
    time::{Duration, Instant},
};

use demarc_tests::{
    cdr::Random,
    data,
    mariadb::{self, MariaDb},
    oracle::{self, Oracle},
    site::{Setup, Site},
    wait,
};

const LIMIT: Duration = Duration::from_secs(90);
const BY: &str = "hour,direction,outcome";

/// A row of `cdr.tsv`, by the names of the columns.
#[derive(Clone)]
struct Row {
    cells: Vec<String>,
}

impl Row {
    fn cell(&self, name: &str) -> &str {
        static NAMES: std::sync::OnceLock<Vec<String>> = std::sync::OnceLock::new();
        let names = NAMES.get_or_init(|| real().lines().next().unwrap().split('\t').map(str::to_owned).collect());
        &self.cells[names.iter().position(|other| other == name).unwrap()]
    }

    fn number(&self, name: &str) -> i64 {
        self.cell(name).parse().unwrap()
    }

    fn start(&self) -> jiff::civil::DateTime {
        jiff::civil::DateTime::strptime("%Y-%m-%d %H:%M:%S", self.cell("calldate")).unwrap()
    }

    fn end(&self) -> jiff::civil::DateTime {
        self.start().checked_add(jiff::SignedDuration::from_secs(self.number("duration"))).unwrap()
    }

    /// The row as `cdr_csv` would have written it, in 21 columns, or in the 18 of old.
    fn as_csv(&self, columns: usize) -> Vec<u8> {
        let answered = self.cell("disposition") == "ANSWERED" || self.number("billsec") > 0;
        let waited = jiff::SignedDuration::from_secs(self.number("duration") - self.number("billsec"));
        let answer = self.start().checked_add(waited).unwrap();
        let time = |time: jiff::civil::DateTime| time.strftime("%Y-%m-%d %H:%M:%S").to_string();
        let mut cells: Vec<String> =
            ["accountcode", "src", "dst", "dcontext", "clid", "channel", "dstchannel", "lastapp", "lastdata"]
                .map(|name| self.cell(name).to_owned())
                .to_vec();
        cells.extend([time(self.start()), if answered { time(answer) } else { String::new() }, time(self.end())]);
        cells.extend(
            ["duration", "billsec", "disposition", "amaflags", "uniqueid"].map(|name| self.cell(name).to_owned()),
        );
        cells.push(String::new());
        if columns == 21 {
            cells.extend(["peeraccount", "linkedid", "sequence"].map(|name| self.cell(name).to_owned()));
        }
        let mut writer = csv::WriterBuilder::new().quote_style(csv::QuoteStyle::Always).from_writer(Vec::new());
        writer.write_record(&cells).unwrap();
        writer.into_inner().unwrap()
    }

    /// The statement that puts it into the table, with those columns alone.
    fn insert(&self, columns: &[&str]) -> String {
        let values: Vec<String> =
            columns.iter().map(|name| format!("'{}'", self.cell(name).replace('\'', "''"))).collect();
        format!("INSERT INTO asteriskcdrdb.cdr ({}) VALUES ({});\n", columns.join(", "), values.join(", "))
    }
}

fn real() -> String {
    fs::read_to_string(data::file("freepbx/cdr.tsv")).unwrap()
}

fn rows() -> Vec<Row> {
    real().lines().skip(1).map(|line| Row { cells: line.split('\t').map(str::to_owned).collect() }).collect()
}

fn oracle_of<'a>(rows: impl IntoIterator<Item = &'a Row>, columns: usize) -> Oracle {
    let mut oracle = Oracle::new(&data::TRUNKS);
    oracle.read(&rows.into_iter().flat_map(|row| row.as_csv(columns)).collect::<Vec<u8>>());
    oracle
}

fn section(address: &str, more: &str) -> String {
    let (user, password) = (mariadb::READER, mariadb::PASSWORD);
    format!(
        "[[pbx.source]]\ntype = \"freepbx-db\"\naddress = {address:?}\nuser = {user:?}\npassword = {password:?}\n{more}\n"
    )
}

/// Settings with these sources and no trunks but those of the database.
fn text(site: &Site, sources: &str) -> String {
    let setup = Setup { upload: false, window: "1d".into(), ..Setup::default() };
    let text = site.config_text(&setup);
    let (before, rest) = text.split_once("[pbx]\n").unwrap();
    let (_, stats) = rest.split_once("[stats]\n").unwrap();
    format!("{before}[pbx]\npatience = \"2s\"\n{sources}[stats]\n{stats}")
}

fn site_with(sources: impl Fn(&Site) -> String) -> Site {
    let site = Site::new(&Setup::default());
    site.write_config(&text(&site, &sources(&site)));
    site
}

fn assert_counted(site: &Site, oracle: &Oracle) {
    let mut last = serde_json::Value::Null;
    let started = Instant::now();
    while started.elapsed() < LIMIT {
        last = site.report(BY);
        if last["legs"].as_u64() == Some(oracle.legs) && last["calls"].as_u64() == Some(oracle.calls()) {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let (legs, calls) = (last["legs"].as_u64(), last["calls"].as_u64());
    assert_eq!(
        (legs, calls),
        (Some(oracle.legs), Some(oracle.calls())),
        "{:?}\n{}",
        site.status()["collected"],
        site.log()
    );
    assert_eq!(oracle::printed(&last, BY), oracle.table(BY));
}

fn source_status(site: &Site, number: usize) -> serde_json::Value {
    site.status()["collected"]["sources"].get(number).cloned().unwrap_or_default()
}

fn wait_for_words(site: &Site, key: &str, words: &str) -> String {
    let mut last = String::new();
    wait::until(LIMIT, &format!("the words {words:?} in {key}"), || {
        last = source_status(site, 0)[key].as_str().unwrap_or_default().to_owned();
        last.contains(words).then(|| last.clone())
    })
}

const NEW: [&str; 13] = [
    "calldate",
    "duration",
    "billsec",
    "disposition",
    "channel",
    "dstchannel",
    "lastapp",
    "lastdata",
    "src",
    "dst",
    "uniqueid",
    "linkedid",
    "sequence",
];

#[test]
fn a_table_is_counted_as_an_independent_reader_counts_it() {
    let server = MariaDb::with_real_records();
    let expected = oracle_of(&rows(), 21);
    assert!(expected.legs > 200, "{}", expected.legs);
    for address in [server.socket().display().to_string(), server.address()] {
        let mut site = site_with(|_| section(&address, "timezone = \"UTC\""));
        site.start();
        assert_counted(&site, &expected);
        let status = source_status(&site, 0);
        assert!(status["trouble"].is_null() && status["advice"].is_null(), "{status}");
        // A restart counts nothing again.
        site.kill();
        site.start();
        wait::until_true(LIMIT, "the source to look again", || !source_status(&site, 0)["rows"].is_null());
        std::thread::sleep(Duration::from_secs(2));
        assert_counted(&site, &expected);
    }
}

#[test]
fn rows_that_show_in_the_order_of_their_ends_are_counted_once_through_kills() {
    let server = MariaDb::with_real_records();
    server.execute("TRUNCATE asteriskcdrdb.cdr");
    let mut rows = rows();
    rows.sort_by_key(Row::end);
    let late = rows.iter().scan(rows[0].start(), |newest, row| {
        let late = row.start() < *newest;
        *newest = row.start().max(*newest);
        Some(late)
    });
    assert!(late.filter(|late| *late).count() > 100, "hardly a row comes behind one that began later");

    let mut site = site_with(|_| section(&server.socket().display().to_string(), "timezone = \"UTC\""));
    site.start();
    let mut random = Random::new(Random::fresh_seed());
    for (number, row) in rows.iter().enumerate() {
        server.execute(&row.insert(&NEW));
        std::thread::sleep(Duration::from_millis(random.below(40)));
        if number % 40 == 20 {
            site.kill();
            site.start();
        }
    }
    assert_counted(&site, &oracle_of(&rows, 21));
}

/// A table of so many rows, each a call that was answered, one every `every` seconds until `end`.
fn fill(server: &MariaDb, rows: u32, every: u32, end: &str) {
    server.execute(&format!(
        "INSERT INTO asteriskcdrdb.cdr (calldate, duration, billsec, disposition, channel, dstchannel, lastapp, src, dst,
         uniqueid, linkedid, sequence)
         SELECT '{end}' - INTERVAL seq * {every} SECOND, 30, 20, 'ANSWERED', CONCAT('PJSIP/1001-', LPAD(HEX(seq), 8, '0')),
         CONCAT('PJSIP/1002-', LPAD(HEX(seq), 8, '0')), 'Dial', '1001', '1002', CONCAT('17.', seq), CONCAT('17.', seq), seq
         FROM asteriskcdrdb.seq_1_to_{rows};"
    ));
}

#[test]
fn kills_in_the_middle_of_history_lose_and_repeat_nothing() {
    let server = MariaDb::with_real_records();
    fill(&server, 60_000, 60, "2026-11-20 00:00:00");
    let mut site = site_with(|_| section(&server.socket().display().to_string(), "timezone = \"UTC\""));
    let mut random = Random::new(Random::fresh_seed());
    let expected = oracle_of(&rows(), 21);
    let mut seen_half_way = 0;
    for _ in 0..12 {
        site.launch();
        std::thread::sleep(Duration::from_millis(150 + random.below(600)));
        site.kill();
        let report = site.run(&["report", "--json", "--by", BY]);
        // It may have been killed before it had a store.
        let legs = if report.code == Some(0) { report.json()["legs"].as_u64().unwrap() } else { 0 };
        seen_half_way += u32::from(legs > 0 && legs < 60_000);
    }
    println!("killed {seen_half_way} times in the middle of history");
    site.start();
    let mut last = serde_json::Value::Null;
    wait::until_true(LIMIT, "all of history", || {
        last = site.report(BY);
        last["legs"].as_u64() >= Some(60_000 + expected.legs)
    });
    std::thread::sleep(Duration::from_secs(2));
    last = site.report(BY);
    assert_eq!(last["legs"].as_u64(), Some(60_000 + expected.legs));
    assert_eq!(last["calls"].as_u64(), Some(60_000 + expected.calls()));
    assert_eq!(last["duplicates"].as_u64(), Some(0));
    assert!(seen_half_way > 0, "history was read before the first kill: make the table longer");
}

#[test]
fn no_look_reads_a_large_table_whole() {
    const ROWS: u32 = 300_000;
    let server = MariaDb::with_real_records();
    let indexes = server.query("SHOW INDEX FROM asteriskcdrdb.cdr");
    assert!(indexes.iter().all(|index| index[4] != "linkedid"), "{indexes:?}");
    fill(&server, ROWS, 90, "2026-11-22 00:00:00");
    server.execute(
        "ANALYZE TABLE asteriskcdrdb.cdr; SET GLOBAL general_log_file = 'asked.log'; SET GLOBAL general_log = 1;",
    );
    let mut site = site_with(|_| section(&server.socket().display().to_string(), "timezone = \"UTC\""));
    site.start();
    let legs = u64::from(ROWS) + oracle_of(&rows(), 21).legs;
    wait::until_true(Duration::from_secs(300), "all rows", || site.report(BY)["legs"].as_u64() == Some(legs));

    let log = fs::read_to_string(server.path("data/asked.log")).unwrap();
    let asked: Vec<&str> = log.lines().filter_map(|line| line.split_once("Query\t")).map(|(_, asked)| asked).collect();
    let of_calls: Vec<&&str> = asked
        .iter()
        .filter(|asked| asked.starts_with("SELECT") && asked.contains("`cdr`") && !asked.contains("LIMIT 0"))
        .collect();
    assert!(of_calls.len() > 50, "{}", of_calls.len());
    for asked in of_calls {
        let plan = server.query(&format!("EXPLAIN {asked}"));
        assert!(plan.len() == 1 && plan[0][3] == "range" && plan[0][5] == "calldate", "{asked}\n{plan:?}");
        assert!(!["userfield", "recordingfile", "cnam", "clid"].iter().any(|column| asked.contains(column)), "{asked}");
    }
    // Then a look costs what the last day holds, and no more.
    let read = || -> i64 {
        let counters = server.query("SHOW GLOBAL STATUS LIKE 'Handler_read%next'");
        counters.iter().map(|counter| counter[1].parse::<i64>().unwrap()).sum()
    };
    let (before, began) = (read(), Instant::now());
    std::thread::sleep(Duration::from_secs(10));
    let (a_second, in_a_day) = ((read() - before) / began.elapsed().as_secs() as i64, 25 * 3600 / 90 + 277);
    println!("{a_second} rows or index entries read a second; the window holds about {in_a_day} rows");
    assert!(a_second > 0 && a_second <= 2 * in_a_day, "{a_second} rows a second");
}

#[test]
fn a_server_that_goes_and_comes_back_is_spoken_of_and_read_on() {
    let mut server = MariaDb::with_real_records();
    server.execute("DELETE FROM asteriskcdrdb.cdr WHERE sequence >= 100");
    let rows = rows();
    let (early, late): (Vec<&Row>, Vec<&Row>) = rows.iter().partition(|row| row.number("sequence") < 100);
    assert!(!early.is_empty() && !late.is_empty());
    for by_socket in [true, false] {
        let address = if by_socket { server.socket().display().to_string() } else { server.address() };
        let mut site = site_with(|_| section(&address, "timezone = \"UTC\""));
        site.start();
        assert_counted(&site, &oracle_of(early.iter().copied(), 21));
        server.pause();
        wait_for_words(&site, "trouble", "cannot be reached");
        server.resume();
        let later: String = late.iter().map(|row| row.insert(&NEW)).collect();
        server.execute(&later);
        assert_counted(&site, &oracle_of(&rows, 21));
        wait::until_true(LIMIT, "no more trouble", || source_status(&site, 0)["trouble"].is_null());
        server.execute("DELETE FROM asteriskcdrdb.cdr WHERE sequence >= 100");
    }
}

#[test]
fn a_table_of_old_is_read_without_the_columns_that_it_lacks() {
    let server = MariaDb::with_real_records();
    server.execute(&format!(
        "ALTER TABLE asteriskcdrdb.cdr DROP COLUMN linkedid, DROP COLUMN sequence, DROP COLUMN peeraccount, DROP COLUMN did,
         DROP COLUMN cnum, DROP COLUMN cnam, DROP COLUMN outbound_cnum, DROP COLUMN outbound_cnam, DROP COLUMN dst_cnam,
         ENGINE = MyISAM; DROP USER {0}@localhost, {0}@'127.0.0.1';",
        mariadb::READER
    ));
    server
        .let_in("calldate, duration, billsec, disposition, channel, dstchannel, lastapp, lastdata, src, dst, uniqueid");
    let mut site = site_with(|_| section(&server.address(), "timezone = \"UTC\""));
    site.start();
    let expected = oracle_of(&rows(), 18);
    assert_counted(&site, &expected);
    // Two rows that are alike in every column are two rows.
    let row = &rows()[0];
    server.execute(&row.insert(&NEW[..11]).repeat(2));
    let more: Vec<Row> = rows().into_iter().chain([row.clone(), row.clone()]).collect();
    assert_counted(&site, &oracle_of(&more, 18));
    wait_for_words(&site, "advice", "linkedid and sequence");
}

#[test]
fn the_file_and_the_table_are_witnesses_of_each_other() {
    let server = MariaDb::with_real_records();
    // Each of the two lacks rows that the other has.
    server.execute("DELETE FROM asteriskcdrdb.cdr WHERE sequence % 10 = 3");
    let now = i64::try_from(wait::now()).unwrap();
    // Sources bear witness about the last days only: the calls must be of today.
    let newest = rows().iter().map(Row::end).max().unwrap().in_tz("UTC").unwrap().timestamp().as_second();
    let shift = now - 600 - newest;
    server.execute(&format!("UPDATE asteriskcdrdb.cdr SET calldate = calldate + INTERVAL {shift} SECOND"));
    let shifted: Vec<Row> = rows()
        .into_iter()
        .map(|mut row| {
            let start = row.start().checked_add(jiff::SignedDuration::from_secs(shift)).unwrap();
            row.cells[0] = start.strftime("%Y-%m-%d %H:%M:%S").to_string();
            row
        })
        .collect();
    let expected = oracle_of(&shifted, 21);
    for file_first in [true, false] {
        let mut site = site_with(|site| {
            let file =
                format!("[[pbx.source]]\ntype = \"asterisk-csv\"\npath = {:?}\ntimezone = \"UTC\"\n", site.master());
            let table = section(&server.socket().display().to_string(), "timezone = \"UTC\"");
            if file_first { file + &table } else { table + &file }
        });
        for row in shifted.iter().filter(|row| row.number("sequence") % 10 != 7) {
            site.feed(&row.as_csv(21));
        }
        site.start();
        assert_counted(&site, &expected);
        let mut witness = serde_json::Value::Null;
        let began = Instant::now();
        while began.elapsed() < LIMIT {
            let sources = site.status()["collected"]["sources"].take();
            let mut sources = sources.as_array().into_iter().flatten();
            witness = sources.find(|source| source["witness"] == true).cloned().unwrap_or_default();
            if witness["confirmed"].as_u64() > Some(150) && witness["rescued"].as_u64() > Some(10) {
                break;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        assert!(began.elapsed() < LIMIT, "{witness}");
        assert_counted(&site, &expected);
    }
}

#[test]
fn times_are_those_of_the_zone_that_the_settings_name() {
    let server = MariaDb::with_real_records();
    let expected = oracle_of(&rows(), 21);
    // What the same PBX would have written in New York, and in Kolkata.
    for (zone, offset) in [("America/New_York", -5 * 3600), ("Asia/Kolkata", 19_800), ("UTC", 0)] {
        server.execute(&format!("UPDATE asteriskcdrdb.cdr SET calldate = calldate + INTERVAL {offset} SECOND"));
        let mut site = site_with(|_| section(&server.socket().display().to_string(), &format!("timezone = {zone:?}")));
        site.start();
        assert_counted(&site, &expected);
        if zone == "Asia/Kolkata" {
            // The settings are wrong: FreePBX was told to write GMT, say.
            let section = section(&server.socket().display().to_string(), "timezone = \"UTC\"");
            site.write_config(&text(&site, &section));
            site.stop();
            fs::remove_dir_all(site.state()).unwrap();
            site.start();
            wait_for_words(&site, "trouble", "look like UTC+05:30");
        }
        server.execute(&format!("UPDATE asteriskcdrdb.cdr SET calldate = calldate - INTERVAL {offset} SECOND"));
    }
    // In the hour that New York lived through twice, the ids tell which of the two it was.
    server.execute("TRUNCATE asteriskcdrdb.cdr");
    let first = 1_793_511_000; // 2026-11-01 05:30:00 UTC, 01:30:00 in New York for the first time.
    let mut oracle = Oracle::new(&data::TRUNKS);
    for (number, moment) in [first, first + 3600].into_iter().enumerate() {
        let mut row = rows()[2].clone();
        let (start, id) = ("2026-11-01 01:30:00", format!("{moment}.{number}"));
        for (name, value) in [("calldate", start), ("uniqueid", &id), ("linkedid", &id)] {
            let place = real().lines().next().unwrap().split('\t').position(|other| other == name).unwrap();
            row.cells[place] = value.to_owned();
        }
        server.execute(&row.insert(&NEW));
        row.cells[0] = jiff::Timestamp::from_second(moment).unwrap().strftime("%Y-%m-%d %H:%M:%S").to_string();
        oracle.read(&row.as_csv(21));
    }
    let mut site = site_with(|_| section(&server.socket().display().to_string(), "timezone = \"America/New_York\""));
    site.start();
    assert_counted(&site, &oracle);
}

#[test]
fn whatever_is_wrong_is_said_with_the_statement_that_mends_it() {
    let server = MariaDb::with_real_records();
    let (reader, address) = (mariadb::READER, server.socket().display().to_string());
    let mut site = site_with(|_| section(&address, "timezone = \"UTC\"\ntrunks = \"\""));
    server.execute(&format!("REVOKE ALL, GRANT OPTION FROM {reader}@localhost"));
    site.start();
    let words = wait_for_words(&site, "trouble", "may not read");
    assert!(words.contains("GRANT SELECT (calldate, "), "{words}");
    // The statement works as it stands.
    let statement = words.split_once("to mend it: ").unwrap().1;
    server.execute(statement);
    assert_counted_alone(&site);

    server.execute(&format!("GRANT FILE, INSERT ON *.* TO {reader}@localhost"));
    site.stop();
    site.start();
    let words = wait_for_words(&site, "advice", "more than read call records");
    assert!(words.contains("INSERT") && words.contains("FILE"), "{words}");
    let doctor = site.run(&["doctor", "--json"]).json();
    let checks = doctor["checks"].as_array().unwrap();
    let told = |check: &&serde_json::Value| check["detail"].as_str().is_some_and(|text| text.contains("INSERT"));
    assert_eq!(checks.iter().find(told).map(|check| &check["state"]), Some(&"warning".into()), "{doctor}");

    server.execute("DROP INDEX calldate ON asteriskcdrdb.cdr");
    site.stop();
    site.start();
    let words = wait_for_words(&site, "trouble", "no index on calldate");
    server.execute(words.split_once("to mend it: ").unwrap().1);
    wait::until_true(LIMIT, "no more trouble", || source_status(&site, 0)["trouble"].is_null());

    server.execute(&format!("SET PASSWORD FOR {reader}@localhost = PASSWORD('another')"));
    site.stop();
    site.start();
    let words = wait_for_words(&site, "trouble", "the password is wrong");
    assert!(words.contains("CREATE USER 'demarc'@'localhost'") && !words.contains(mariadb::PASSWORD), "{words}");
    server.execute(&format!("SET PASSWORD FOR {reader}@localhost = PASSWORD('{}')", mariadb::PASSWORD));

    server.execute("ALTER TABLE asteriskcdrdb.cdr RENAME COLUMN disposition TO outcome");
    site.stop();
    site.start();
    wait_for_words(&site, "trouble", "lacks columns");
    server.execute("RENAME TABLE asteriskcdrdb.cdr TO asteriskcdrdb.calls");
    site.stop();
    site.start();
    wait_for_words(&site, "trouble", "there is no table asteriskcdrdb.cdr");
}

fn assert_counted_alone(site: &Site) {
    let calls = oracle_of(&rows(), 21).calls();
    wait::until_true(LIMIT, "the calls", || site.report(BY)["calls"].as_u64() == Some(calls));
}
