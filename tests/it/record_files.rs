//! Call records of other kinds than `Master.csv`, alone and beside it: each counted as an independent reading counts it.

use std::{
    fs::{self, File},
    io::Write,
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use demarc_tests::{
    cdr::{Caller, Layout, Row, push_field},
    data,
    oracle::{self, Oracle},
    site::{LIMIT, Setup, Site},
    wait,
};
use serde_json::Value;

const BY: &str = "direction,outcome";

/// A site that reads these sources and sends nothing.
fn site(pbx: &str, sources: &str) -> Site {
    let setup = Setup { upload: false, window: "1d".into(), ..Setup::default() };
    let site = Site::new(&setup);
    let text = site.config_text(&setup);
    let (front, rest) = text.split_once("[[pbx.source]]").unwrap();
    let (_, back) = rest.split_once("[stats]").unwrap();
    let directory = site.path("pbx");
    let sources = sources.replace("PBX", directory.to_str().unwrap());
    site.write_config(&format!("{front}{pbx}\n{sources}\n[stats]{back}"));
    site
}

fn append(path: &Path, bytes: &[u8]) {
    File::options().append(true).create(true).open(path).unwrap().write_all(bytes).unwrap();
}

fn sums(report: &Value) -> [u64; 4] {
    ["calls", "legs", "malformed", "duplicates"].map(|key| report[key].as_u64().unwrap())
}

const TWENTY: &str = r#"columns = ["clid", "src", "dst", "dcontext", "channel", "dstchannel", "lastapp", "lastdata", "start",
    "answer", "end", "duration", "billsec", "disposition", "amaflags", "accountcode", "uniqueid", "userfield", "linkedid",
    "sequence"]"#;

fn custom() -> String {
    format!("[[pbx.source]]\ntype = \"cdr-custom\"\npath = \"PBX/custom.csv\"\ntimezone = \"UTC\"\n{TWENTY}")
}

#[test]
fn custom_columns_count_as_the_same_records_of_cdr_csv() {
    for name in data::CUSTOM_FILES {
        let mut oracle = Oracle::new(&data::TRUNKS);
        oracle.read(&data::custom_as_21(&data::file(name)));
        let mut site = site("", &custom());
        site.start();
        let bytes = fs::read(data::file(name)).unwrap();
        // In two pieces, cut in the middle of a row.
        let path = site.path("pbx/custom.csv");
        append(&path, &bytes[..bytes.len() / 2]);
        std::thread::sleep(Duration::from_millis(300));
        append(&path, &bytes[bytes.len() / 2..]);
        let by = "hour,direction,outcome";
        let report = site.wait_for_calls(oracle.calls(), by, LIMIT);
        assert_eq!(oracle::printed(&report, by), oracle.table(by), "{name}");
        assert_eq!(sums(&report), [oracle.calls(), oracle.legs, 0, oracle.duplicates], "{name}");
    }
}

/// The record's line by the mapping of [`TWENTY`].
fn custom_line(row: &Row) -> Vec<u8> {
    let wall = |second| jiff::Timestamp::from_second(second).unwrap().strftime("%Y-%m-%d %H:%M:%S").to_string();
    let fields = [
        row.clid.clone(),
        row.src.clone(),
        row.dst.clone(),
        row.dcontext.clone(),
        row.channel.clone(),
        row.dstchannel.clone(),
        row.lastapp.clone(),
        row.lastdata.clone(),
        wall(row.start),
        row.answer.map(wall).unwrap_or_default(),
        wall(row.end),
        (row.end - row.start).to_string(),
        row.answer.map_or(0, |answer| row.end - answer).to_string(),
        row.disposition.to_owned(),
        "DOCUMENTATION".to_owned(),
        row.accountcode.clone(),
        row.uniqueid.clone(),
        row.userfield.clone(),
        row.linkedid.clone(),
        row.sequence.to_string(),
    ];
    let mut line = Vec::new();
    for (place, field) in fields.iter().enumerate() {
        if place > 0 {
            line.push(b',');
        }
        push_field(&mut line, field.as_bytes(), false);
    }
    line.push(b'\n');
    line
}

#[test]
fn a_witness_counts_nothing_twice_and_what_was_missed_once() {
    let csv = "[[pbx.source]]\ntype = \"asterisk-csv\"\npath = \"PBX/Master.csv\"\ntimezone = \"UTC\"\n";
    let mut site = site("patience = \"2s\"", &(csv.to_owned() + &custom()));
    // Sources are compared by what was told of late, so that the calls are of today.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64;
    let mut caller = Caller::new(7);
    let mut oracle = Oracle::new(&data::TRUNKS);
    let (mut master, mut witness) = (Vec::new(), Vec::new());
    for n in 0..60 {
        for row in caller.call(now - 600 + n) {
            // The database of the first source was locked for some calls: their rows never came.
            if n % 10 != 9 {
                master.extend(row.line(Layout::New21));
            }
            witness.extend(custom_line(&row));
            oracle.read(&row.line(Layout::New21));
        }
    }
    site.start();
    append(&site.path("pbx/custom.csv"), &witness);
    append(&site.master(), &master);
    let report = site.wait_for_calls(oracle.calls(), BY, LIMIT);
    assert_eq!(oracle::printed(&report, BY), oracle.table(BY));
    // The witness's patience is over, and nothing more comes.
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(sums(&site.report(BY)), [oracle.calls(), oracle.legs, 0, 0]);
    let status = site.status();
    let of_witness = &status["collected"]["sources"][1];
    assert_eq!(of_witness["witness"], true, "{status}");
    assert!(of_witness["rescued"].as_u64() > Some(0) && of_witness["confirmed"].as_u64() > Some(0), "{status}");
}

const OUTSIDE: &str = "outside_profiles = [\"provider1\"]";

#[test]
fn freeswitchs_csv_counts_by_the_administrators_template() {
    let source = format!(
        "[[pbx.source]]\ntype = \"freeswitch-csv\"\npath = \"PBX/Master.csv\"\ntimezone = \"UTC\"\n{OUTSIDE}\n\
         columns = [\"caller_id_name\", \"caller_id_number\", \"destination_number\", \"direction\", \"channel_name\", \
         \"bridge_channel\", \"last_app\", \"last_arg\", \"start_epoch\", \"answer_epoch\", \"end_epoch\", \"hangup_cause\", \
         \"uuid\", \"originating_leg_uuid\"]"
    );
    // What a row holds from the name on; the ids are made to order.
    let row = |number: u32, name: &str, rest: &str| {
        format!("\"{name}\",{rest},\"{number:08x}-c133-4959-9e24-e72875cb33a1\",\"\"\n")
    };
    let inbound = r#""447700900001","1001","inbound","sofia/provider1/447700900001@192.0.2.1""#;
    let rows = [
        row(
            1,
            "Doe, \"JJ\" Jane",
            &format!(
                r#"{inbound},"sofia/internal/1001@198.51.100.7","bridge","user/1001","1795309040","1795309050","1795309074","NORMAL_CLEARING""#
            ),
        ),
        row(
            2,
            "",
            &format!(
                r#"{inbound},"","voicemail","default pbx 1001","1795309040","1795309050","1795309074","NORMAL_CLEARING""#
            ),
        ),
        row(
            3,
            "x",
            &format!(
                r#"{inbound},"","callcenter","support@default","1795309040","1795309041","1795309074","ORIGINATOR_CANCEL""#
            ),
        ),
        row(
            4,
            "x",
            r#""1001","0044","inbound","sofia/internal/1001@pbx","","bridge","sofia/gateway/provider2/0044","1795309040","0","1795309074","USER_BUSY""#,
        ),
        row(
            5,
            "x",
            r#""1001","1002","inbound","sofia/internal/1001@pbx","","bridge","user/1002","1795309040","","1795309074","NO_ANSWER""#,
        ),
        "torn\n".to_owned(),
    ];
    let mut site = site("", &source);
    site.start();
    append(&site.master(), rows.concat().as_bytes());
    // Written again, as files of account codes repeat rows: a leg's id is its own.
    append(&site.master(), rows[0].as_bytes());
    wait::until_true(LIMIT, "five calls and a repeated row", || sums(&site.report(BY)) == [5, 5, 1, 1]);
    let report = site.report(BY);
    let found: Vec<String> = report["rows"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| {
            let word = |key: &str| row[key].as_str().unwrap().to_owned();
            format!("{} {} {} {}", word("direction"), word("outcome"), row["calls"], row["wait_seconds"])
        })
        .collect();
    let expected = [
        "inbound answered 1 10",
        "inbound voicemail 1 34",
        "inbound abandoned 1 34",
        "outbound busy 1 34",
        "internal no_answer 1 34",
    ];
    assert_eq!(sorted(found), sorted(expected.map(str::to_owned).to_vec()));
}

fn sorted(mut texts: Vec<String>) -> Vec<String> {
    texts.sort();
    texts
}

#[test]
fn freeswitchs_json_files_count_once_through_a_kill_and_a_move() {
    let mut site =
        site("", "[[pbx.source]]\ntype = \"freeswitch-json\"\npath = \"PBX/json\"\noutside_profiles = [\"provider1\"]");
    let json = site.path("pbx/json");
    fs::create_dir(&json).unwrap();
    let document = |name: &str, id: u32| {
        let text = fs::read_to_string(data::file(&format!("freeswitch/{name}.cdr.json"))).unwrap();
        // Both legs of a call name both.
        text.replace("3da8bf84", &format!("{id:08x}")).replace("f52c26f1", &format!("{:08x}", id + 100_000))
    };
    let write = |id: u32| {
        fs::write(json.join(format!("a_{id}.cdr.json")), document("a_leg", id).replace("external", "provider1"))
            .unwrap();
        fs::write(json.join(format!("b_{id}.cdr.json")), document("b_leg", id)).unwrap();
    };
    (0..300).for_each(write);
    site.start();
    wait::until_true(LIMIT, "some of the calls", || site.report(BY)["calls"].as_u64() > Some(0));
    site.kill();
    (300..310).for_each(write);
    // One is being written while we look.
    let half = document("a_leg", 999).replace("external", "provider1");
    fs::write(json.join("a_999.cdr.json"), &half[..700]).unwrap();
    site.start();
    wait::until_true(LIMIT, "310 calls", || sums(&site.report(BY)) == [310, 620, 0, 0]);
    append(&json.join("a_999.cdr.json"), &half.as_bytes()[700..]);
    wait::until_true(LIMIT, "the call that was half written", || sums(&site.report(BY)) == [311, 621, 0, 0]);
    // The administrator tidies up.
    fs::rename(&json, site.path("pbx/json.old")).unwrap();
    fs::create_dir(&json).unwrap();
    site.stop();
    site.start();
    write(2000);
    wait::until_true(LIMIT, "a call after that", || sums(&site.report(BY)) == [312, 623, 0, 0]);
    let report = site.report(BY);
    let row = &report["rows"][0];
    assert_eq!((row["direction"].as_str(), row["outcome"].as_str()), (Some("inbound"), Some("answered")), "{report}");
    // Ten seconds to the person each, of whom 24 were talked: what the menu took is no talk.
    assert_eq!((row["wait_seconds"].as_u64(), row["talk_seconds"].as_u64()), (Some(3120), Some(312 * 24)), "{report}");
}

#[test]
fn queues_have_the_figures_of_their_log() {
    let mut site = site("queue_target = \"5s\"", "[[pbx.source]]\ntype = \"queue-log\"\npath = \"PBX/queue_log\"\n");
    let text = fs::read_to_string(data::file("asterisk22/queue_log")).unwrap();
    let path = site.path("pbx/queue_log");
    site.start();
    append(&path, &text.as_bytes()[..1500]);
    wait::until_true(LIMIT, "some callers", || queues(&site, &[])["total"]["offered"].as_u64() > Some(0));
    site.kill();
    append(&path, &text.as_bytes()[1500..]);
    site.start();
    let offered = text.lines().filter(|line| line.contains("|ENTERQUEUE|")).count() as u64;
    wait::until_true(LIMIT, "every caller", || queues(&site, &[])["total"]["offered"].as_u64() == Some(offered));
    let report = queues(&site, &[]);
    // The same by the words of the log.
    let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split('|').collect()).collect();
    let of = |event: &str| rows.iter().filter(|row| row[4] == event).collect::<Vec<_>>();
    let number = |row: &[&str], place: usize| row[place].parse::<u64>().unwrap();
    let connected = of("CONNECT");
    let in_time = connected.iter().filter(|row| number(row, 5) <= 5).count() as u64;
    let abandoned = of("ABANDON");
    let short = abandoned.iter().filter(|row| number(row, 7) < 5).count() as u64;
    let timed_out = of("EXITWITHTIMEOUT").len() as u64;
    let n = connected.len() as u64 + abandoned.len() as u64 + timed_out - short;
    let total = &report["total"];
    for (key, expected) in [
        ("connected", connected.len() as u64),
        ("connected_in_time", in_time),
        ("abandoned", abandoned.len() as u64),
        ("abandoned_short", short),
        ("timed_out", timed_out),
        ("handled", of("COMPLETECALLER").len() as u64),
    ] {
        assert_eq!(total[key].as_u64(), Some(expected), "{key} in {report}");
    }
    assert_eq!(total["service_level"]["n"].as_u64(), Some(n));
    assert_eq!(total["service_level"]["value"].as_f64(), Some(in_time as f64 / n as f64));
    assert_eq!(report["target_seconds"], serde_json::json!([5]));
    assert_eq!(site.report(BY)["calls"], 0, "a queue log tells of no calls");
    let table = site.run(&["report", "--queues"]).ok();
    assert!(table.contains("601") && table.contains("Formulas: version 1"), "{table}");
    assert_eq!(queues(&site, &["--to", "2026-11-22T00:00:00Z"])["total"]["offered"], 0);
}

fn queues(site: &Site, arguments: &[&str]) -> Value {
    site.run(&[&["report", "--queues", "--json"], arguments].concat()).json()
}
