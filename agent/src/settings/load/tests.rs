//! Config files and environments, good and bad, and what each is answered.

use std::{ffi::OsString, path::Path};

use expect_test::{Expect, expect};

use super::{Endpoint, LoadError, Loaded, endpoint, load_text, warnings};

fn read(text: &str, environment: &[(&str, &str)]) -> Result<Loaded, LoadError> {
    let environment = environment.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
    load_text(Path::new("A/demarc.toml"), text, environment.collect::<Vec<_>>())
}

fn wrong(text: &str, expected: Expect) {
    expected.assert_eq(&read(text, &[]).unwrap_err().to_string());
}

fn wrong_variable(name: &str, value: &str, expected: Expect) {
    expected.assert_eq(&read("", &[(name, value)]).unwrap_err().to_string());
}

#[test]
fn the_smallest_file_is_enough() {
    let text = r#"
        state_dir = "A"
        [pbx]
        trunks = ["provider1"]
        [[pbx.source]]
        type = "asterisk-csv"
        path = "/var/log/asterisk/cdr-csv/Master.csv"
        timezone = "UTC"
        [stats]
        upload = true
        window = "1m"
        grace = "0s"
    "#;
    let loaded = read(text, &[]).unwrap();
    assert_eq!(loaded.settings.state_dir, std::env::current_dir().unwrap().join("A"));
    assert!(loaded.settings.stats.upload && loaded.settings.tunnel.enabled);
    expect![[r#"
        [
            "stats.window is 1m: windows under 1h show the vendor when calls happen more closely than most owners want.",
            "pbx.quiet is as long as stats.window or longer: calls enter a later report than their own.",
        ]
    "#]]
    .assert_debug_eq(&{
        let mut settings = loaded.settings;
        settings.pbx.quiet = Some(std::time::Duration::from_secs(60));
        warnings(&settings)
    });
}

#[test]
fn an_unknown_key_names_the_nearest() {
    wrong(
        "[stats]\nflor = 5\n",
        expect![[r#"A/demarc.toml:2:1: stats.flor: there is no such key; did you mean "floor"?"#]],
    );
    wrong(
        "stat_dir = \"x\"\n",
        expect![[r#"A/demarc.toml:1:1: stat_dir: there is no such key; did you mean "state_dir"?"#]],
    );
    wrong(
        "[stats]\nupload = true\nproxy = \"x\"\n",
        expect![[r#"A/demarc.toml:3:1: stats.proxy: there is no such key here; did you mean "tunnel.proxy"?"#]],
    );
    wrong(
        "[tunnels]\nenabled = true\n",
        expect![[r#"A/demarc.toml:1:2: tunnels: there is no such key; did you mean "tunnel"?"#]],
    );
    wrong(
        "[pbx]\ncolour = 1\n",
        expect![
            "A/demarc.toml:2:1: pbx.colour: there is no such key; known here are trunks, quiet, patience, queue_target, keep_missed, outside_line, international, source"
        ],
    );
}

#[test]
fn the_shipped_example_of_recordings_is_good() {
    let recordings =
        read(include_str!("../../../../deploy/examples/recordings.toml"), &[]).unwrap().settings.recordings;
    assert_eq!(recordings.retention.keeps(), Some(std::time::Duration::from_secs(90 * 86_400)));
    assert_eq!((recordings.holds.extensions.len(), recordings.holds.paths.len()), (1, 1));
}

#[test]
fn the_shipped_example_of_backups_is_good() {
    let backup = read(include_str!("../../../../deploy/examples/backup.toml"), &[]).unwrap().settings.backup;
    assert_eq!((backup.enabled, backup.is_on(), backup.keep), (false, false, 7));
    assert_eq!((backup.every.seconds(), backup.paths.len()), (Some(86_400), 2));
    wrong(
        "[backup]\nenabled = true\n",
        expect![
            "A/demarc.toml:2:1: backup.enabled: there is no backup.recipient to encrypt to; `demarc backup key` makes one"
        ],
    );
}

#[test]
fn a_rule_for_recordings_that_makes_no_sense_is_refused() {
    wrong(
        "[recordings]\nretention = \"2h\"\n",
        expect![[
            r#"A/demarc.toml:2:13: recordings.retention: allowed is "off", or a time of a day or more in quotes, such as "90d""#
        ]],
    );
    wrong(
        "[recordings]\nretention = 90\n",
        expect![[
            r#"A/demarc.toml:2:13: recordings.retention: found integer `90`; allowed is "off", or a time of a day or more in quotes, such as "90d""#
        ]],
    );
    wrong(
        "[recordings.holds]\nextensions = [1001]\n",
        expect![[
            r#"A/demarc.toml:2:15: recordings.holds.extensions: found integer `1001`; allowed is a list of extensions in quotes, such as ["1001"]"#
        ]],
    );
    wrong(
        "[recordings]\nholds = { extension = [\"1001\"] }\n",
        expect![[
            r#"A/demarc.toml:2:11: recordings.holds.extension: there is no such key; did you mean "extensions"?"#
        ]],
    );
    wrong(
        "[recordings]\nholds = { extensions = [\"10-01\"] }\n",
        expect![[
            r#"A/demarc.toml:2:11: recordings.holds.extensions: allowed are extensions of digits and letters alone, such as ["1001"]"#
        ]],
    );
    wrong(
        "[recordings]\npaths = [\"/var\"]\n",
        expect![[
            r#"A/demarc.toml:2:1: recordings.paths: "/var" is no tree of recordings; name the directory that holds nothing else"#
        ]],
    );
    let held = read("", &[("DEMARC__RECORDINGS__HOLDS__EXTENSIONS", "0100,1002")]).unwrap().settings.recordings.holds;
    assert_eq!(held.extensions, ["0100", "1002"]);
    wrong_variable(
        "DEMARC__RECORDINGS__RETENTION",
        "2h",
        expect![[
            r#"the environment variable DEMARC__RECORDINGS__RETENTION cannot be used: allowed is "off", or a time of a day or more in quotes, such as "90d""#
        ]],
    );
}

#[test]
fn an_unknown_key_of_a_source_is_found_in_its_section() {
    let source = "[[pbx.source]]\ntype = \"asterisk-csv\"\npath = \"/a\"\n";
    wrong(
        &format!("{source}\n{source}time_zone = \"UTC\"\n"),
        expect![[r#"A/demarc.toml:8:1: pbx.source.time_zone: there is no such key; did you mean "timezone"?"#]],
    );
    wrong(
        "[[pbx.source]]\ntype = \"asterisk-cvs\"\npath = \"/a\"\n",
        expect![[
            r#"A/demarc.toml:2:8: pbx.source.type: found `asterisk-cvs`; allowed is "asterisk-csv", "cdr-custom", "cdr-sqlite", "freepbx-db", "ami", "queue-log", "freeswitch-csv", "freeswitch-json" or "fusionpbx-db""#
        ]],
    );
    wrong("[[pbx.source]]\npath = \"/a\"\n", expect![[r#"A/demarc.toml:1:1: the key "type" is missing here"#]]);
}

#[test]
fn a_wrong_value_says_what_is_allowed() {
    wrong(
        "[stats]\nupload = \"no\"\n",
        expect![[r#"A/demarc.toml:2:10: stats.upload: found string "no"; allowed is true or false"#]],
    );
    wrong(
        "\n[stats]\n  floor = \"10\" # ten\n",
        expect![[r#"A/demarc.toml:3:11: stats.floor: found string "10"; allowed is a whole number, 2 or more"#]],
    );
    wrong(
        "[stats]\nfloor = 1\n",
        expect!["A/demarc.toml:2:1: stats.floor: 1 is too low; allowed is a whole number, 2 or more"],
    );
    wrong(
        "[stats]\nfloor = -1\n",
        expect!["A/demarc.toml:2:9: stats.floor: found integer `-1`; allowed is a whole number, 2 or more"],
    );
    wrong(
        "[stats]\nwindow = \"7m\"\n",
        expect![[
            r#"A/demarc.toml:2:10: stats.window: allowed is a whole number of minutes that divides a day, such as "1m", "1h", "1d", or "7d""#
        ]],
    );
    wrong(
        "[stats]\ngrace = \"1 day\"\n",
        expect![[r#"A/demarc.toml:2:9: stats.grace: allowed is a duration in quotes, such as "24h""#]],
    );
    wrong(
        "[stats]\nschema = 2\n",
        expect!["A/demarc.toml:2:1: stats.schema: this program knows the report schemas 1 to 1"],
    );
    wrong(
        "confinement = \"none\"\n",
        expect![[r#"A/demarc.toml:1:15: confinement: found `none`; allowed is "required" or "best-effort""#]],
    );
    wrong(
        "[pbx]\ntrunks = \"provider1\"\n",
        expect![[
            r#"A/demarc.toml:2:10: pbx.trunks: found string "provider1"; allowed is a list of trunk names in quotes, such as ["provider1"]"#
        ]],
    );
    wrong(
        "[tunnel]\nhub = \"hub.example.com\"\n",
        expect![[r#"A/demarc.toml:2:1: tunnel.hub: allowed is host:port, such as "hub.example.com:443""#]],
    );
    wrong(
        "[tunnel]\nproxy = \"user:secret@proxy:3128\"\n",
        expect![[
            r#"A/demarc.toml:2:1: tunnel.proxy: allowed is "http://[user:password@]host:port", "socks5://[user:password@]host:port", or "" for none"#
        ]],
    );
}

#[test]
fn sources_are_checked_together() {
    let source = |path: &str, zone: &str| {
        format!("[[pbx.source]]\ntype = \"asterisk-csv\"\npath = \"{path}\"\ntimezone = \"{zone}\"\n")
    };
    wrong(
        &(source("/a", "UTC") + &source("/a", "UTC")),
        expect![
            "A/demarc.toml:7:1: pbx.source.path: two sources read the same file; every call would be counted twice"
        ],
    );
    wrong(
        &(source("/a", "UTC") + &source("/b", "Europe/Berlln")),
        expect![[
            r#"A/demarc.toml:8:1: pbx.source.timezone: no time zone has this name; allowed is an IANA name, such as "Europe/Berlin""#
        ]],
    );
    wrong(&source("/", "UTC"), expect!["A/demarc.toml:3:1: pbx.source.path: this names no file"]);
    let ami = "[[pbx.source]]\ntype = \"ami\"\nuser = \"demarc\"\nsecret = \"x\"\n";
    wrong(
        &format!("{ami}{ami}address = \"192.0.2.1:5038\"\n"),
        expect![[
            r#"A/demarc.toml:9:1: pbx.source.address: allowed is a port of this machine itself, such as "127.0.0.1:5038", "[::1]:5038" or "localhost:5038": the process that reads call records has no other network"#
        ]],
    );
}

#[test]
fn columns_are_checked_where_they_stand() {
    let source = |kind: &str, columns: &str| {
        format!("[[pbx.source]]\ntype = \"{kind}\"\npath = \"/{kind}\"\ncolumns = [{columns}]\n")
    };
    let good = "\"calldate\",\"duration\",\"disposition\",\"channel\"";
    wrong(
        &(source("cdr-custom", good) + &source("freeswitch-csv", "\"uuid\"")),
        expect![[r#"A/demarc.toml:8:1: pbx.source.columns: a column is missing: "start_stamp" or "start_epoch""#]],
    );
    wrong(
        &source("cdr-custom", "\"src\",\"dts\""),
        expect![[
            r#"A/demarc.toml:4:1: pbx.source.columns: "dts" is no column that CDR() has; write "-" for a column to pass over"#
        ]],
    );
    let loaded = read(&source("cdr-custom", good), &[]).unwrap();
    let said = warnings(&loaded.settings).join("\n");
    assert!(said.contains("The columns of /cdr-custom do not say dstchannel and lastapp"), "{said}");
    let stock =
        "\"caller_id_number\",\"start_stamp\",\"answer_stamp\",\"duration\",\"hangup_cause\",\"uuid\",\"bleg_uuid\"";
    let loaded = read(&source("freeswitch-csv", stock), &[]).unwrap();
    let said = warnings(&loaded.settings).join("\n");
    assert!(said.contains("does not say whom a caller was put through to"), "{said}");
}

#[test]
fn what_is_no_toml_has_a_place_too() {
    wrong("[stats\nupload = true\n", expect!["A/demarc.toml:1:7: unclosed table, expected `]`"]);
    wrong(
        "[stats]\nupload = \n",
        expect!["A/demarc.toml:2:10: stats.upload: string values must be quoted, expected literal string"],
    );
    wrong("[stats]\nupload = true\nupload = false\n", expect!["A/demarc.toml:3:1: stats.upload: duplicate key"]);
}

#[test]
fn variables_overrule_the_file() {
    let text = "[stats]\nupload = true\n[pbx]\ntrunks = [\"a\"]\n";
    let loaded = read(
        text,
        &[
            ("DEMARC__STATS__UPLOAD", "false"),
            ("DEMARC__STATS__FLOOR", "12"),
            ("DEMARC__STATS__WINDOW", "1h"),
            ("DEMARC__PBX__OUTSIDE_LINE", "9"),
            ("DEMARC__PBX__TRUNKS", "one,PJSIP/two"),
            ("DEMARC__TUNNEL__HUB", "hub.example.com:443"),
            ("DEMARC_LOG", "debug"),
        ],
    )
    .unwrap();
    let settings = &loaded.settings;
    assert!(!settings.stats.upload);
    assert_eq!((settings.stats.floor, settings.stats.window.seconds()), (12, 3600));
    assert_eq!(settings.pbx.outside_line, "9");
    assert_eq!(settings.pbx.trunks, ["one", "PJSIP/two"]);
    assert_eq!(settings.tunnel.hub.as_deref(), Some("hub.example.com:443"));
    assert_eq!(loaded.overridden_by("stats.upload"), Some("DEMARC__STATS__UPLOAD"));
    assert_eq!(loaded.overridden_by("tunnel.enabled"), None);
}

#[test]
fn a_bad_variable_is_named() {
    wrong_variable(
        "DEMARC__STATS__UPLOD",
        "false",
        expect![[
            r#"the environment variable DEMARC__STATS__UPLOD cannot be used: there is no such key; did you mean "upload"?"#
        ]],
    );
    wrong_variable(
        "DEMARC__STATS__UPLOAD",
        "perhaps",
        expect!["the environment variable DEMARC__STATS__UPLOAD cannot be used: allowed is true or false"],
    );
    wrong_variable(
        "DEMARC__STATS__FLOOR",
        "1",
        expect![
            "the environment variable DEMARC__STATS__FLOOR cannot be used: stats.floor: 1 is too low; allowed is a whole number, 2 or more"
        ],
    );
    wrong_variable(
        "DEMARC__STATS__WINDOW",
        "7m",
        expect![[
            r#"the environment variable DEMARC__STATS__WINDOW cannot be used: allowed is a whole number of minutes that divides a day, such as "1m", "1h", "1d", or "7d""#
        ]],
    );
    wrong_variable(
        "DEMARC__STATS",
        "x",
        expect!["the environment variable DEMARC__STATS cannot be used: this can be set in the config file only"],
    );
    wrong_variable(
        "DEMARC__PBX__SOURCE__PATH",
        "/x",
        expect![
            "the environment variable DEMARC__PBX__SOURCE__PATH cannot be used: this can be set in the config file only"
        ],
    );
}

#[test]
fn a_missing_file_says_what_to_do() {
    let error = super::load(Path::new("/nonexistent/demarc.toml")).unwrap_err();
    expect!["there is no config file /nonexistent/demarc.toml; create it, or name another one with --config"]
        .assert_eq(&error.to_string());
}

#[test]
fn the_state_directory_is_found_in_a_broken_file() {
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("demarc.toml");
    for (text, expected) in [
        ("state_dir = \"/a\" # here\n[stats]\nflor = 1\n", "/a"),
        ("# x\nstate_dir = \"/a\"\n[stats]\nfloor = \n", "/a"),
        ("[stats]\nfloor = \nstate_dir = \"/a\"\n", "/var/lib/demarc"),
    ] {
        std::fs::write(&file, text).unwrap();
        assert_eq!(super::state_dir_despite_errors(&file).as_deref(), Some(Path::new(expected)), "{text}");
    }
    assert_eq!(super::state_dir_despite_errors(&root.path().join("absent")), None);
}

#[test]
fn endpoints() {
    let at = |host: &str, port| Some(Endpoint { host: host.to_owned(), port });
    assert_eq!(endpoint("hub.example.com:443"), at("hub.example.com", 443));
    assert_eq!(endpoint("[2001:db8::1]:8443"), at("2001:db8::1", 8443));
    for bad in ["", ":443", "hub", "hub:", "hub:0", "hub:70000", "a b:1", "2001:db8::1:443", "[hub]:1", "hub/x:1"] {
        assert_eq!(endpoint(bad), None, "{bad}");
    }
}
