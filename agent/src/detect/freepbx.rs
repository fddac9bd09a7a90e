//! The database of a FreePBX, by its own settings. Its credentials are left alone: demarc asks for a user of its own.

use std::fs;

use super::{Finding, Machine, Rank, State};
use crate::settings::Source;

/// Where FreePBX keeps its settings.
const SETTINGS: [&str; 2] = ["/etc/freepbx.conf", "/etc/amportal.conf"];
/// Where servers of MariaDB and MySQL make their sockets.
const SOCKETS: [&str; 3] = ["/run/mysqld/mysqld.sock", "/var/lib/mysql/mysql.sock", "/tmp/mysql.sock"];

/// The database, where the machine has a FreePBX.
pub(super) fn find(machine: &Machine) -> Option<Finding> {
    let there = SETTINGS.iter().filter(|path| machine.exists(path));
    there.clone().next()?;
    let text: String = there.filter_map(|path| fs::read_to_string(machine.at(path)).ok()).collect();
    let setting = |name: &str| value(&text, name);
    let database = setting("CDRDBNAME").unwrap_or_else(|| "asteriskcdrdb".to_owned());
    let table = setting("CDRDBTABLENAME").unwrap_or_else(|| "cdr".to_owned());
    let host = setting("CDRDBHOST").or_else(|| setting("AMPDBHOST")).unwrap_or_else(|| "localhost".to_owned());
    let socket = SOCKETS.iter().find(|path| machine.exists(path));
    let mut words = Vec::new();
    let address = match (host.as_str(), socket) {
        ("localhost" | "127.0.0.1" | "::1", Some(socket)) => (*socket).to_owned(),
        ("localhost" | "127.0.0.1" | "::1", None) => {
            format!("127.0.0.1:{}", setting("CDRDBPORT").unwrap_or("3306".to_owned()))
        }
        _ => {
            words.push(format!("the database is on {host}: demarc reads from this machine only"));
            String::new()
        }
    };
    if text.is_empty() {
        words.push("its settings cannot be read by this user, so that names are FreePBX's usual ones".to_owned());
    }
    let utc = setting("CDRUSEGMT").is_some_and(|value| matches!(value.as_str(), "1" | "true" | "yes"));
    let source = Source::FreepbxDb {
        address: address.clone(),
        user: "demarc".to_owned(),
        password: None,
        database: database.clone(),
        table: table.clone(),
        trunks: "asterisk.trunks".to_owned(),
        timezone: utc.then(|| "UTC".to_owned()),
    };
    Some(Finding {
        name: source.name(),
        rank: Rank::Best,
        state: if address.is_empty() { State::Off } else { State::Server },
        last_written: None,
        words,
        advice: Some(format!(
            "a user of its own, as MariaDB's root: CREATE USER demarc@localhost IDENTIFIED BY '…'; \
             GRANT SELECT ON {database}.{table} TO demarc@localhost; GRANT SELECT ON asterisk.trunks TO demarc@localhost;"
        )),
        configured: false,
        source: (!address.is_empty()).then_some(source),
    })
}

/// `$amp_conf['NAME'] = 'value';` of freepbx.conf, or `NAME=value` of amportal.conf.
fn value(text: &str, name: &str) -> Option<String> {
    text.lines().map(str::trim).find_map(|line| {
        let rest = line.strip_prefix("$amp_conf['").or_else(|| line.strip_prefix("$amp_conf[\"")).unwrap_or(line);
        let rest = rest.strip_prefix(name)?.trim_start_matches(['\'', '"', ']', ' ']);
        let value = rest.strip_prefix('=')?.trim().trim_end_matches(';').trim().trim_matches(['\'', '"']);
        (!value.is_empty()).then(|| value.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_settings_are_read() {
        let text = "<?php\n$amp_conf['AMPDBUSER'] = 'freepbxuser';\n$amp_conf[\"CDRDBNAME\"] = \"cdrs\";\nCDRDBTABLENAME=legs\nCDRDBHOST=\n";
        assert_eq!(value(text, "CDRDBNAME").as_deref(), Some("cdrs"));
        assert_eq!(value(text, "CDRDBTABLENAME").as_deref(), Some("legs"));
        assert_eq!(value(text, "CDRDBHOST"), None);
        assert_eq!(value(text, "CDRDB"), None);
    }
}
