//! Machines as they come, and what is said of them.

use std::{fs, time::Duration};

use super::*;

struct Bench(tempfile::TempDir);

impl Bench {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, path: &str, text: &str) -> &Self {
        self.write_days_ago(path, text, 0)
    }

    fn write_days_ago(&self, path: &str, text: &str, days: u64) -> &Self {
        let place = self.0.path().join(&path[1..]);
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        fs::write(&place, text).unwrap();
        let when = std::time::SystemTime::now() - Duration::from_secs(days * 86_400);
        fs::File::options().write(true).open(place).unwrap().set_modified(when).unwrap();
        self
    }

    fn survey(&self, pbx: &Pbx) -> Vec<Finding> {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        survey(&Machine::new(self.0.path(), now), pbx)
    }
}

fn names(sources: &[Source]) -> Vec<String> {
    sources.iter().map(Source::name).collect()
}

const ROW16: &str = "\"\",\"1003\",\"1001\",\"c\",\"\",\"PJSIP/1003-0000002a\",\"\",\"Dial\",\"\",\"2026-11-22 00:59:25\",,\"2026-11-22 00:59:25\",0,0,\"BUSY\",\"DOCUMENTATION\"\n";

#[test]
fn a_bare_asterisk_with_stock_settings_gets_one_line_of_advice() {
    let bench = Bench::new();
    bench
        .write(
            "/etc/asterisk/cdr.conf",
            "[general] ; stock\nunanswered=yes\n[csv]\nusegmtime=yes\n;--\nnewcdrcolumns=yes\n--;\n",
        )
        .write("/var/log/asterisk/cdr-csv/Master.csv", ROW16)
        .write("/var/log/asterisk/cdr-csv/ACME.csv", ROW16)
        .write("/var/log/asterisk/queue_log", "1795309295|NONE|NONE|NONE|QUEUESTART|\n");
    let found = bench.survey(&Pbx::default());
    let master = &found[0];
    assert_eq!((master.state, master.rank), (State::Fresh, Rank::Good));
    assert_eq!(
        master.advice.as_deref(),
        Some("newcdrcolumns=yes and loguniqueid=yes in the [csv] section of cdr.conf")
    );
    assert!(found.iter().any(|finding| finding.name.starts_with("1 other files") && finding.rank == Rank::Useless));
    let recommendation = recommend(&found);
    assert_eq!(
        names(&recommendation.sources),
        ["asterisk-csv /var/log/asterisk/cdr-csv/Master.csv", "queue-log /var/log/asterisk/queue_log"]
    );
    let toml = recommendation.to_toml();
    let pbx: toml::Table = toml.parse().unwrap();
    assert_eq!(pbx["pbx"]["source"][0]["timezone"].as_str(), Some("UTC"), "{toml}");
    let settings: crate::settings::Settings = toml::from_str(&toml).unwrap();
    assert_eq!(settings.pbx.source, recommendation.sources);
    assert!(bench.survey(&settings.pbx)[0].configured);
}

#[test]
fn a_freepbx_has_its_database_first_and_a_stale_file_is_called_so() {
    let bench = Bench::new();
    bench
        .write("/etc/freepbx.conf", "<?php\n$amp_conf['CDRUSEGMT'] = '1';\n")
        .write("/run/mysqld/mysqld.sock", "")
        .write("/etc/asterisk/cdr.conf", "#include cdr_general_custom.conf\n[general]\nenable=yes\n")
        .write("/etc/asterisk/manager.conf", "[general]\nenabled=yes\nport=5039\n[demarc]\nsecret=hush\n")
        .write("/etc/asterisk/cdr_manager.conf", "[general]\nenabled=yes\n")
        .write("/var/log/asterisk/queue_log", "1795309295|NONE|NONE|NONE|QUEUESTART|\n")
        .write_days_ago("/var/log/asterisk/cdr-csv/Master.csv", ROW16, 300);
    let found = bench.survey(&Pbx::default());
    let of = |kind: &str| found.iter().find(|finding| finding.name.starts_with(kind)).unwrap();
    assert_eq!(of("asterisk-csv").state, State::Stale);
    assert!(of("asterisk-csv").words[0].contains("no [csv] section"), "{:?}", of("asterisk-csv").words);
    assert!(of("freepbx-db").advice.as_deref().unwrap().contains("GRANT SELECT ON asteriskcdrdb.cdr"));
    let recommendation = recommend(&found);
    assert_eq!(
        names(&recommendation.sources),
        [
            "freepbx-db asteriskcdrdb.cdr at /run/mysqld/mysqld.sock",
            "ami 127.0.0.1:5039",
            "queue-log /var/log/asterisk/queue_log"
        ]
    );
    let toml = recommendation.to_toml();
    assert!(toml.contains("timezone = \"UTC\"") && !toml.contains("hush"), "{toml}");
}

#[test]
fn a_phone_system_without_calls_is_read_from_its_first_one_on() {
    let bench = Bench::new();
    bench
        .write("/etc/asterisk/cdr.conf", "[general]\nenable=yes\n[csv]\nusegmtime=yes\n")
        .write("/etc/asterisk/cdr_sqlite3_custom.conf", "[master]\ntable => cdr\ncolumns => calldate, channel\n");
    let found = bench.survey(&Pbx::default());
    assert!(found.iter().all(|finding| finding.state == State::Missing), "{found:?}");
    assert_eq!(names(&recommend(&found).sources), ["asterisk-csv /var/log/asterisk/cdr-csv/Master.csv"]);
    // After weeks without a call it is the same, and what has been written once is better than what never was.
    bench.write_days_ago("/var/log/asterisk/cdr-csv/Master.csv", ROW16, 30);
    let found = bench.survey(&Pbx::default());
    assert!(found.iter().any(|finding| finding.state == State::Stale), "{found:?}");
    assert_eq!(names(&recommend(&found).sources), ["asterisk-csv /var/log/asterisk/cdr-csv/Master.csv"]);
}

#[test]
fn custom_columns_are_read_off_the_template() {
    let bench = Bench::new();
    bench
        .write(
            "/etc/asterisk/cdr_custom.conf",
            "[mappings]\nMaster.csv => ${CSV_QUOTE(${CDR(src)})},${CSV_QUOTE(${CDR(channel)})},${CDR(start)},${CDR(end)},${CDR(disposition)},${CDR(linkedid)}\n\
             Simple.csv => ${EPOCH},${CDR(src)}\n",
        )
        .write("/etc/asterisk/cdr_sqlite3_custom.conf", "[master]\ntable => cdr\ncolumns => calldate, channel\n")
        .write("/var/log/asterisk/cdr-custom/Master.csv", "\"1\",\"PJSIP/1-00000001\",2026-11-22 00:59:25,2026-11-22 00:59:26,BUSY,1.1\n");
    let found = bench.survey(&Pbx::default());
    let custom = found.iter().find(|finding| finding.name.ends_with("cdr-custom/Master.csv")).unwrap();
    let Some(Source::CdrCustom { columns, .. }) = &custom.source else { panic!("{custom:?}") };
    assert_eq!(columns[..], ["src", "channel", "start", "end", "disposition", "linkedid"]);
    assert_eq!((custom.rank, custom.state), (Rank::Best, State::Fresh));
    let simple = found.iter().find(|finding| finding.name.ends_with("Simple.csv")).unwrap();
    assert_eq!((simple.rank, simple.source.is_none()), (Rank::Useless, true));
    let sqlite = found.iter().find(|finding| finding.name.starts_with("cdr-sqlite")).unwrap();
    assert_eq!((sqlite.rank, sqlite.state), (Rank::Good, State::Missing));
    assert_eq!(names(&recommend(&found).sources), ["cdr-custom /var/log/asterisk/cdr-custom/Master.csv"]);
}

#[test]
fn freeswitch_tells_its_template() {
    let bench = Bench::new();
    bench
        .write(
            "/etc/freeswitch/autoload_configs/cdr_csv.conf.xml",
            "<settings>\n<param name=\"default-template\" value=\"mine\"/>\n</settings>\n<templates>\n\
             <template name=\"mine\">\"${uuid}\",\"${start_stamp}\",${billsec}</template>\n</templates>\n",
        )
        .write("/var/log/freeswitch/cdr-csv/Master.csv", "\"u\",\"2026-11-22 00:59:25\",1\n");
    let found = bench.survey(&Pbx::default());
    let Some(Source::FreeswitchCsv { columns, .. }) = &found[0].source else { panic!("{found:?}") };
    assert_eq!(columns[..], ["uuid", "start_stamp", "billsec"]);
}

#[test]
fn a_machine_without_a_phone_system_is_told_so() {
    let found = Bench::new().survey(&Pbx::default());
    assert!(found.is_empty());
    assert_eq!(recommend(&found).words, ["No source of call records was found that could be used."]);
}
