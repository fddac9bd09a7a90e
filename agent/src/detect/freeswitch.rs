//! What a FreeSWITCH or a FusionPBX writes.

use std::fs;

use super::{Finding, Machine, Rank, State, look};
use crate::settings::source::{Source, default_outside};

/// Where FreeSWITCH's logs lie, by package and by source.
const LOGS: [&str; 2] = ["/var/log/freeswitch", "/usr/local/freeswitch/log"];
/// Where its settings lie.
const SETTINGS: [&str; 3] = ["/etc/freeswitch", "/usr/local/freeswitch/conf", "/usr/local/freeswitch/etc/freeswitch"];
/// FusionPBX's own settings.
const FUSION: &str = "/etc/fusionpbx/config.conf";

/// The sources that are there.
pub(super) fn find(machine: &Machine) -> Vec<Finding> {
    let mut found = Vec::new();
    if machine.exists(FUSION) {
        found.push(fusion(machine));
    }
    for logs in LOGS {
        let path = format!("{logs}/cdr-csv/Master.csv");
        if machine.exists(&path) {
            let columns = template(machine);
            let source = Source::FreeswitchCsv {
                path: path.into(),
                columns: columns.clone().unwrap_or_default(),
                outside_profiles: default_outside(),
                timezone: None,
            };
            let mut finding = look::at_file(machine, source, Rank::Good);
            if columns.is_none() {
                finding.words.push(
                    "the template in cdr_csv.conf.xml was not found: name its columns in the settings".to_owned(),
                );
            }
            found.push(finding);
        }
        let path = format!("{logs}/json_cdr");
        if machine.exists(&path) {
            found.push(look::at_file(
                machine,
                Source::FreeswitchJson { path: path.into(), outside_profiles: default_outside() },
                Rank::Good,
            ));
        }
    }
    found
}

fn fusion(machine: &Machine) -> Finding {
    let text = fs::read_to_string(machine.at(FUSION)).unwrap_or_default();
    let setting = |key: &str| {
        text.lines().find_map(|line| {
            let (name, value) = line.split_once('=')?;
            (name.trim() == key).then(|| value.trim().trim_matches(['\'', '"']).to_owned())
        })
    };
    let database = setting("database.0.name").filter(|name| !name.is_empty()).unwrap_or_else(|| "fusionpbx".to_owned());
    let socket = machine.exists("/run/postgresql");
    let port = setting("database.0.port").filter(|port| !port.is_empty()).unwrap_or_else(|| "5432".to_owned());
    let address = if socket { "/run/postgresql".to_owned() } else { format!("127.0.0.1:{port}") };
    let source = Source::FusionpbxDb { address, user: "demarc".to_owned(), password: None, database: database.clone() };
    Finding {
        name: source.name(),
        rank: Rank::Best,
        state: State::Server,
        last_written: None,
        words: Vec::new(),
        advice: Some(
            "a user of its own that may SELECT the columns of v_xml_cdr which docs/call-records.md lists, and nothing else"
                .to_owned(),
        ),
        configured: false,
        source: Some(source),
    }
}

/// The columns of the template that `mod_cdr_csv` is set to use.
fn template(machine: &Machine) -> Option<Vec<String>> {
    let text = SETTINGS.iter().find_map(|directory| {
        fs::read_to_string(machine.at(format!("{directory}/autoload_configs/cdr_csv.conf.xml"))).ok()
    })?;
    let attribute = |line: &str, name: &str| {
        let rest = line.split_once(&format!("{name}=\""))?.1;
        rest.split_once('"').map(|(value, _)| value.to_owned())
    };
    let default = text
        .lines()
        .find(|line| line.contains("name=\"default-template\"") && !line.contains("<!--"))
        .and_then(|line| attribute(line, "value"))
        .unwrap_or_else(|| "example".to_owned());
    let line = text.lines().find(|line| line.contains(&format!("<template name=\"{default}\"")))?;
    let body = line.split_once('>')?.1.split("</template>").next()?;
    let variable =
        |piece: &str| piece.split_once("${").and_then(|(_, rest)| rest.split('}').next()).unwrap_or("-").to_owned();
    Some(body.split(',').map(variable).collect())
}
