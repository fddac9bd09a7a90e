//! What an Asterisk writes, by its own settings.

use std::path::Path;

use super::{Finding, Machine, Rank, State, conf::Conf, look};
use crate::{
    pbx::scanner::{Columns, scan},
    settings::{Secret, Source},
};

/// Where Asterisk keeps its settings and its logs.
struct Places {
    etc: String,
    logs: String,
}

/// The account that demarc's own user of the manager interface has in what is proposed.
const MANAGER: &str = "demarc";

/// The sources of an Asterisk; none where there is none.
pub(super) fn find(machine: &Machine) -> Vec<Finding> {
    let places = places(machine);
    if !machine.exists(&places.etc) && !machine.exists(&places.logs) {
        return Vec::new();
    }
    let zone = |utc: bool| utc.then(|| "UTC".to_owned());
    let cdr = Conf::read(machine, &format!("{}/cdr.conf", places.etc));
    let mut found = vec![master(machine, &places, cdr.as_ref())];
    found.extend(accounts(machine, &places));
    found.extend(custom(machine, &places));
    found.extend(sqlite(machine, &places));
    found.extend(manager(machine, &places));
    let path = Path::new(&places.logs).join("queue_log");
    if machine.exists(&path) {
        found.push(look::at_file(machine, Source::QueueLog { path }, Rank::Queues));
    }
    if let Some(cdr) = &cdr {
        for finding in &mut found {
            if cdr.is_on("general", "enable") == Some(false) && finding.rank < Rank::Live {
                finding.words.push("cdr.conf has enable=no: Asterisk writes no call records at all".to_owned());
                finding.advice = Some("enable=yes in the [general] section of cdr.conf".to_owned());
            }
        }
        let utc = cdr.is_on("csv", "usegmtime") == Some(true);
        if let Some(Source::AsteriskCsv { timezone, .. }) = found[0].source.as_mut() {
            *timezone = zone(utc);
        }
    }
    found
}

fn places(machine: &Machine) -> Places {
    let conf = Conf::read(machine, "/etc/asterisk/asterisk.conf");
    let directory = |key: &str, default: &str| {
        let value = conf.as_ref().and_then(|conf| conf.value("directories", key)).filter(|value| !value.is_empty());
        value.unwrap_or(default).to_owned()
    };
    Places { etc: directory("astetcdir", "/etc/asterisk"), logs: directory("astlogdir", "/var/log/asterisk") }
}

fn master(machine: &Machine, places: &Places, cdr: Option<&Conf>) -> Finding {
    let path = Path::new(&places.logs).join("cdr-csv/Master.csv");
    let place = machine.at(&path);
    let mut finding = look::at_file(machine, Source::AsteriskCsv { path, timezone: None }, Rank::Best);
    let section = cdr.is_none_or(|cdr| cdr.has("csv"));
    if !section {
        finding.words.push("cdr.conf has no [csv] section, so that Asterisk does not load cdr_csv".to_owned());
        finding.advice = Some("[csv] with loguniqueid=yes and newcdrcolumns=yes in cdr.conf".to_owned());
        finding.rank = Rank::Useless;
        if finding.state == State::Missing {
            finding.state = State::Off;
        }
        return finding;
    }
    if let Some(columns) = look::last_line(&place).and_then(|line| width(&line)) {
        finding.words.push(format!("{columns} columns"));
        if columns < 19 {
            finding.rank = Rank::Good;
            finding.words.push("rows do not say which call they belong to".to_owned());
        }
    }
    let wanted = ["newcdrcolumns", "loguniqueid"];
    let off: Vec<_> = wanted.iter().filter(|key| cdr.is_some_and(|cdr| cdr.is_on("csv", key) != Some(true))).collect();
    if !off.is_empty() {
        let settings: Vec<_> = off.iter().map(|key| format!("{key}=yes")).collect();
        finding.advice = Some(format!("{} in the [csv] section of cdr.conf", settings.join(" and ")));
    }
    if cdr.is_some_and(|cdr| cdr.is_on("general", "unanswered") != Some(true)) {
        finding
            .words
            .push("calls that nobody was rung for are not written (unanswered=yes in cdr.conf mends that)".to_owned());
    }
    finding
}

fn width(line: &[u8]) -> Option<usize> {
    let mut columns = Columns::default();
    scan(line, true, &mut columns).map(|_| columns.count())
}

/// Files of account codes beside Master.csv: the same rows once more.
fn accounts(machine: &Machine, places: &Places) -> Option<Finding> {
    let directory = Path::new(&places.logs).join("cdr-csv");
    let entries = std::fs::read_dir(machine.at(&directory)).ok()?;
    let names = entries.flatten().take(1000).filter_map(|entry| entry.file_name().into_string().ok());
    let count = names.filter(|name| name.ends_with(".csv") && name != "Master.csv").count();
    (count > 0).then(|| Finding {
        name: format!("{count} other files in {}", directory.display()),
        rank: Rank::Useless,
        state: State::Fresh,
        last_written: None,
        words: vec!["files of account codes: their rows stand in Master.csv as well".to_owned()],
        advice: None,
        configured: false,
        source: None,
    })
}

fn custom(machine: &Machine, places: &Places) -> Vec<Finding> {
    let Some(conf) = Conf::read(machine, &format!("{}/cdr_custom.conf", places.etc)) else { return Vec::new() };
    let mut found = Vec::new();
    for (file, template) in conf.pairs("mappings") {
        let columns = template_columns(template);
        let path = Path::new(&places.logs).join("cdr-custom").join(file);
        let has = |names: &[&str]| names.iter().any(|name| columns.iter().any(|column| column == name));
        let usable = has(&["start"]) && has(&["channel"]) && has(&["disposition"]) && has(&["end", "duration"]);
        let linked = has(&["linkedid"]);
        let rank = match (usable, linked) {
            (true, true) => Rank::Best,
            (true, false) => Rank::Good,
            (false, _) => Rank::Useless,
        };
        let mut finding = look::at_file(machine, Source::CdrCustom { path, columns, timezone: None }, rank);
        if !usable {
            finding.words.push("its columns do not tell start, end, channel and disposition".to_owned());
            finding.source = None;
        } else if !linked {
            finding.advice = Some(format!(
                "${{CSV_QUOTE(${{CDR(linkedid)}})}},${{CDR(sequence)}} at the end of {file} in cdr_custom.conf"
            ));
        }
        found.push(finding);
    }
    found
}

/// The names of `CDR()` in a template, a column each; `-` for a column that is something else.
fn template_columns(template: &str) -> Vec<String> {
    let mut columns = Vec::new();
    let (mut depth, mut start) = (0_i32, 0);
    let mut column = |text: &str| {
        let name = text.split_once("CDR(").and_then(|(_, rest)| rest.split([')', ',']).next());
        columns.push(name.map(str::trim).filter(|name| !name.is_empty()).unwrap_or("-").to_owned());
    };
    for (at, character) in template.char_indices() {
        match character {
            '(' | '{' => depth += 1,
            ')' | '}' => depth -= 1,
            ',' if depth == 0 => {
                column(&template[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    column(&template[start..]);
    columns
}

fn sqlite(machine: &Machine, places: &Places) -> Vec<Finding> {
    let Some(conf) = Conf::read(machine, &format!("{}/cdr_sqlite3_custom.conf", places.etc)) else { return Vec::new() };
    let mut found = Vec::new();
    for section in conf.sections().into_iter().filter(|name| !name.is_empty()) {
        let Some(table) = conf.value(section, "table") else { continue };
        let columns: Vec<_> = conf.value(section, "columns").unwrap_or_default().split(',').map(str::trim).collect();
        let path = Path::new(&places.logs).join(format!("{section}.db"));
        let rank = if columns.contains(&"linkedid") { Rank::Best } else { Rank::Good };
        let source = Source::CdrSqlite { path, table: table.to_owned(), timezone: None };
        let mut finding = look::at_file(machine, source, rank);
        if rank == Rank::Good {
            finding.advice = Some("columns of linkedid and sequence in cdr_sqlite3_custom.conf".to_owned());
        }
        found.push(finding);
    }
    found
}

/// The secret of our own user in `manager.conf`.
pub(super) fn manager_secret(machine: &Machine) -> Option<String> {
    let conf = Conf::read(machine, &format!("{}/manager.conf", places(machine).etc))?;
    conf.value(MANAGER, "secret").filter(|secret| !secret.is_empty()).map(str::to_owned)
}

/// Where Asterisk keeps its settings.
pub(super) fn settings_directory(machine: &Machine) -> String {
    places(machine).etc
}

fn manager(machine: &Machine, places: &Places) -> Option<Finding> {
    let conf = Conf::read(machine, &format!("{}/manager.conf", places.etc))?;
    let on = conf.is_on("general", "enabled") == Some(true);
    let port = conf.value("general", "port").unwrap_or("5038");
    let address = format!("127.0.0.1:{port}");
    let has_user = conf.has(MANAGER);
    // The owner copies it: a secret is not printed.
    let secret = Secret::new(format!("the secret of [{MANAGER}] in manager.conf"));
    let source = Source::Ami { address, user: MANAGER.to_owned(), secret, timezone: None };
    let mut words = Vec::new();
    let mut advice = None;
    let mappings = Conf::read(machine, &format!("{}/cdr_manager.conf", places.etc));
    let events = mappings.as_ref().is_some_and(|conf| conf.is_on("general", "enabled") == Some(true));
    if !on {
        advice = Some("enabled=yes in the [general] section of manager.conf".to_owned());
    } else if !has_user {
        advice = Some(format!(
            "a user [{MANAGER}] in manager.conf with secret=…, deny=0.0.0.0/0.0.0.0, permit=127.0.0.1/255.255.255.255, \
             read=cdr,reporting and write=reporting"
        ));
    } else if !events {
        words.push("it tells what goes on now, but not of calls".to_owned());
        advice = Some(
            "enabled=yes in the [general] section of cdr_manager.conf, and below [mappings] linkedid => LinkedID and \
             sequence => Sequence"
                .to_owned(),
        );
    }
    let state = if on { State::Server } else { State::Off };
    Some(Finding {
        name: source.name(),
        rank: Rank::Live,
        state,
        last_written: None,
        words,
        advice,
        configured: false,
        source: (on && has_user).then_some(source),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_become_columns() {
        let template = "${CSV_QUOTE(${CDR(clid)})},${CSV_QUOTE(${CDR(start,u)})},${EPOCH},\"fixed\",${CDR(sequence)}";
        assert_eq!(template_columns(template), ["clid", "start", "-", "-", "sequence"]);
    }
}
