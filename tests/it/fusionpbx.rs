//! FusionPBX's table in a real PostgreSQL, and Asterisk's SQLite file: each row once, and never a word of content.

use std::{collections::BTreeMap, fs, time::Duration};

use demarc_tests::{
    data,
    oracle::{self, Oracle},
    postgres::Postgres,
    site::{Setup, Site},
    wait,
};

const LIMIT: Duration = Duration::from_secs(90);

/// The columns that matter here, of the types that FusionPBX gives them, and some that must never be asked for.
const TABLE: &str = "CREATE TABLE v_xml_cdr (xml_cdr_uuid uuid PRIMARY KEY, domain_uuid uuid, direction text, caller_id_name text,
    caller_id_number text, destination_number text, start_epoch numeric, answer_epoch numeric, end_epoch numeric, duration
    numeric, billsec numeric, bridge_uuid text, leg char(1), originating_leg_uuid uuid, last_app text, last_arg text,
    voicemail_message boolean, missed_call boolean, cc_side text, cc_queue text, cc_agent text, cc_queue_answered_epoch numeric,
    hangup_cause text, sip_hangup_disposition text, record_path text, record_name text, record_transcription text, json jsonb);";
const COLUMNS: &str = "xml_cdr_uuid, start_epoch, end_epoch, direction, hangup_cause, answer_epoch, duration, billsec, leg, \
    originating_leg_uuid, bridge_uuid, caller_id_number, destination_number, last_app, last_arg, voicemail_message, cc_queue, \
    cc_agent, cc_queue_answered_epoch, cc_side";

/// The site reads this source and no other.
fn site_with(section: &str) -> Site {
    let site = Site::new(&Setup::default());
    let text = site.config_text(&Setup { upload: false, window: "1d".into(), ..Setup::default() });
    let (before, rest) = text.split_once("[[pbx.source]]\n").unwrap();
    let (_, stats) = rest.split_once("[stats]\n").unwrap();
    site.write_config(&format!("{before}{section}[stats]\n{stats}"));
    site
}

fn trouble(site: &Site, key: &str) -> String {
    let status = site.status();
    status["collected"]["sources"].get(0).and_then(|source| source[key].as_str()).unwrap_or_default().to_owned()
}

fn wait_for_words(site: &Site, key: &str, words: &str) -> String {
    wait::until(LIMIT, &format!("the words {words:?} in {key}"), || {
        Some(trouble(site, key)).filter(|said| said.contains(words))
    })
}

fn section(server: &Postgres, by_socket: bool) -> String {
    let address = if by_socket { server.socket_directory().display().to_string() } else { server.address() };
    format!(
        "[[pbx.source]]\ntype = \"fusionpbx-db\"\naddress = {address:?}\nuser = \"demarc\"\npassword = \"only-reads\"\n"
    )
}

/// So many calls of each kind, in the order in which they end; with what each is.
fn calls(count: u32) -> Vec<(i64, String, &'static str)> {
    let kinds = [
        ("'inbound', NULL, 10, 'b', NULL, 'NORMAL_CLEARING', false", "inbound answered"),
        ("'inbound', NULL, 3, NULL, NULL, 'NORMAL_CLEARING', true", "inbound voicemail"),
        ("'inbound', NULL, 0, NULL, NULL, 'ORIGINATOR_CANCEL', false", "inbound no_answer"),
        ("'outbound', 'sofia/gateway/one/49', 5, 'b', NULL, 'NORMAL_CLEARING', false", "outbound answered"),
        ("'outbound', 'sofia/gateway/one/49', 0, NULL, NULL, 'USER_BUSY', false", "outbound busy"),
        ("'local', NULL, 2, 'b', NULL, 'NORMAL_CLEARING', false", "internal answered"),
        ("'inbound', NULL, 1, NULL, 'sales@here', 'NORMAL_CLEARING', false", "inbound abandoned"),
    ];
    let now = i64::try_from(wait::now()).unwrap();
    let mut calls: Vec<_> = (0..count)
        .map(|number| {
            let (cells, kind) = kinds[number as usize % kinds.len()];
            // From some weeks ago to just now; every ninth lasts for hours.
            let start = now - 40_000 - i64::from((count - number) * 97);
            let duration = if number % 9 == 0 { 30_000 } else { 60 + i64::from(number % 50) };
            let cells: Vec<&str> = cells.split(", ").collect();
            let [direction, arg, answer, bridge, queue, cause, voicemail] = cells[..] else { panic!("seven cells") };
            let answer = if answer == "0" { "0".to_owned() } else { format!("{start} + {answer}") };
            let statement = format!(
                "INSERT INTO v_xml_cdr (xml_cdr_uuid, direction, caller_id_number, destination_number, start_epoch, answer_epoch,
                 end_epoch, duration, bridge_uuid, leg, last_arg, voicemail_message, cc_queue, hangup_cause, json,
                 record_transcription) VALUES ('00000000-0000-4000-8000-{number:012}', {direction}, '1001', '1002', {start},
                 {answer}, {start} + {duration}, {duration}, {bridge}, 'a', {arg}, {voicemail}, {queue}, {cause}, '{{}}',
                 'what was said');\n"
            );
            (start + duration, statement, kind)
        })
        .collect();
    calls.sort_by_key(|(end, ..)| *end);
    calls
}

fn counted(site: &Site) -> BTreeMap<String, u64> {
    let report = site.report("direction,outcome");
    let rows = report["rows"].as_array().unwrap().iter();
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    rows.map(|row| (text(&row["direction"]) + " " + &text(&row["outcome"]), row["calls"].as_u64().unwrap())).collect()
}

#[test]
fn fusionpbxs_table_is_read_once_through_kills_and_restarts_of_the_server() {
    let mut server = Postgres::start();
    server.execute(TABLE);
    server.execute(&format!(
        "CREATE INDEX ON v_xml_cdr (start_epoch); CREATE ROLE demarc LOGIN PASSWORD 'only-reads';
         GRANT SELECT ({COLUMNS}) ON v_xml_cdr TO demarc;"
    ));
    let calls = calls(6000);
    let (early, late) = calls.split_at(5800);
    server.execute(&early.iter().map(|(_, statement, _)| statement.as_str()).collect::<String>());
    let mut site = site_with(&section(&server, true));
    for _ in 0..4 {
        site.launch();
        std::thread::sleep(Duration::from_millis(700));
        site.kill();
    }
    site.start();
    let execute = |server: &Postgres, calls: &[(i64, String, &str)]| {
        calls.iter().for_each(|(_, statement, _)| drop(server.execute(statement)));
    };
    execute(&server, &late[..60]);
    site.kill();
    execute(&server, &late[60..80]);
    site.start();
    execute(&server, &late[80..120]);
    server.pause();
    wait_for_words(&site, "trouble", "cannot be reached");
    server.resume();
    execute(&server, &late[120..]);
    let mut expected = BTreeMap::new();
    for (_, _, kind) in &calls {
        *expected.entry((*kind).to_owned()).or_default() += 1_u64;
    }
    let mut last = BTreeMap::new();
    wait::until_true(LIMIT, "all calls", || {
        last = counted(&site);
        last.values().sum::<u64>() >= 6000
    });
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(counted(&site), expected, "{}", site.status()["collected"]);
    assert_eq!(trouble(&site, "advice"), "");
}

#[test]
fn what_is_wrong_with_fusionpbxs_database_is_said_in_words() {
    let server = Postgres::start();
    let mut site = site_with(&section(&server, false));
    site.start();
    let words = wait_for_words(&site, "trouble", "does not let demarc in");
    assert!(words.contains("CREATE ROLE demarc LOGIN") && !words.contains("only-reads"), "{words}");
    server.execute("CREATE ROLE demarc LOGIN PASSWORD 'only-reads';");
    wait_for_words(&site, "trouble", "there is no table v_xml_cdr");
    server.execute(TABLE);
    let words = wait_for_words(&site, "trouble", "may not read v_xml_cdr");
    server.execute(words.split_once("to mend it: ").unwrap().1);
    wait_for_words(&site, "advice", "CREATE INDEX");
    server.execute(&calls(5)[0].1);
    wait::until_true(LIMIT, "the call", || site.report("day")["calls"].as_u64() == Some(1));
    server.execute("GRANT UPDATE ON v_xml_cdr TO demarc");
    site.stop();
    site.start();
    wait_for_words(&site, "advice", "may change call records");
}

#[test]
fn asterisks_sqlite_file_is_counted_as_an_independent_reader_counts_it() {
    let real = rusqlite::Connection::open(data::file("asterisk16/master.db")).unwrap();
    let mut oracle = Oracle::new(&data::TRUNKS);
    let mut statement = real.prepare("SELECT * FROM cdr ORDER BY AcctId").unwrap();
    let names: Vec<String> = statement.column_names().into_iter().map(str::to_owned).collect();
    let mut rows = statement.query([]).unwrap();
    let mut copies = Vec::new();
    while let Some(row) = rows.next().unwrap() {
        let cells: Vec<String> = (1..names.len())
            .map(|column| match row.get_ref(column).unwrap() {
                rusqlite::types::ValueRef::Text(text) => String::from_utf8_lossy(text).into_owned(),
                other => panic!("{other:?}"),
            })
            .collect();
        let cell = |name: &str| cells[names.iter().position(|other| other == name).unwrap() - 1].clone();
        let start = jiff::civil::DateTime::strptime("%Y-%m-%d %H:%M:%S", cell("calldate")).unwrap();
        let later = |seconds: i64| {
            let time = start.checked_add(jiff::SignedDuration::from_secs(seconds)).unwrap();
            time.strftime("%Y-%m-%d %H:%M:%S").to_string()
        };
        let number = |name: &str| cell(name).parse::<i64>().unwrap();
        let answered = cell("disposition") == "ANSWERED" || number("billsec") > 0;
        let answer = if answered { later(number("duration") - number("billsec")) } else { String::new() };
        let mut line: Vec<String> =
            ["accountcode", "src", "dst", "dcontext", "clid", "channel", "dstchannel", "lastapp", "lastdata"]
                .map(cell)
                .to_vec();
        line.extend([later(0), answer, later(number("duration"))]);
        line.extend(["duration", "billsec", "disposition", "amaflags", "uniqueid"].map(cell));
        line.extend([String::new(), String::new(), cell("linkedid"), cell("sequence")]);
        let mut writer = csv::WriterBuilder::new().quote_style(csv::QuoteStyle::Always).from_writer(Vec::new());
        writer.write_record(&line).unwrap();
        oracle.read(&writer.into_inner().unwrap());
        copies.push(cells);
    }
    // Asterisk makes its file while demarc watches, and demarc is killed in between.
    let mut site = site_with("");
    let path = site.path("pbx/master.db");
    let text = site.read_config().replacen(
        "[stats]\n",
        &format!("[[pbx.source]]\ntype = \"cdr-sqlite\"\npath = {path:?}\ntimezone = \"UTC\"\n[stats]\n"),
        1,
    );
    site.write_config(&text);
    site.start();
    wait_for_words(&site, "trouble", "cannot be read");
    let asterisk = rusqlite::Connection::open(&path).unwrap();
    let columns = names[1..].join(", ");
    asterisk.execute_batch(&format!("CREATE TABLE cdr (AcctId INTEGER PRIMARY KEY, {columns})")).unwrap();
    let places = vec!["?"; names.len() - 1].join(", ");
    for (number, cells) in copies.iter().enumerate() {
        let parameters = rusqlite::params_from_iter(cells);
        asterisk.execute(&format!("INSERT INTO cdr ({columns}) VALUES ({places})"), parameters).unwrap();
        if number % 150 == 149 {
            site.kill();
            site.start();
        }
    }
    let by = "hour,direction,outcome";
    wait::until_true(LIMIT, "all rows", || site.report(by)["legs"].as_u64() == Some(oracle.legs));
    assert_eq!(oracle::printed(&site.report(by), by), oracle.table(by));
    wait::until_true(LIMIT, "no trouble", || trouble(&site, "trouble").is_empty());
    let beside: Vec<_> = fs::read_dir(site.path("pbx")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(beside.len(), 2, "only the records lie there: {beside:?}");
}
