//! Turns an error of the TOML parser into file, line, column, key, and what is allowed there.

use std::path::Path;

use toml_edit::{Document, Item, Table, Value};

use super::{LoadError, check::Fault};

/// What may stand at each key, in words. Every key of the file has a line here.
pub(in crate::settings) const ALLOWED: &[(&str, &str)] = &[
    ("state_dir", "a directory in quotes"),
    ("confinement", "\"required\" or \"best-effort\""),
    ("pbx", "a section"),
    ("pbx.trunks", "a list of trunk names in quotes, such as [\"provider1\"]"),
    ("pbx.quiet", "a duration in quotes, such as \"2m\""),
    ("pbx.patience", "a duration in quotes, such as \"60s\""),
    ("pbx.queue_target", "a duration in quotes, such as \"20s\""),
    ("pbx.keep_missed", "a duration in quotes, such as \"30d\"; \"0s\" keeps nothing"),
    ("pbx.outside_line", "digits in quotes, such as \"9\""),
    ("pbx.international", "a list of prefixes in quotes, such as [\"00\"]"),
    ("pbx.source", "one [[pbx.source]] section for each source"),
    (
        "pbx.source.type",
        "\"asterisk-csv\", \"cdr-custom\", \"cdr-sqlite\", \"freepbx-db\", \"ami\", \"queue-log\", \"freeswitch-csv\", \"freeswitch-json\" \
         or \"fusionpbx-db\"",
    ),
    ("pbx.source.path", "a file in quotes, such as \"/var/log/asterisk/cdr-csv/Master.csv\""),
    (
        "pbx.source.address",
        "host:port of a server on this machine in quotes, such as \"127.0.0.1:5038\"; for a database also the path of its unix socket",
    ),
    ("pbx.source.user", "a name in quotes"),
    ("pbx.source.secret", "a secret in quotes"),
    ("pbx.source.password", "a password in quotes"),
    ("pbx.source.database", "the name of a database in quotes"),
    ("pbx.source.table", "the name of a table in quotes"),
    ("pbx.source.trunks", "the table of trunks in quotes, such as \"asterisk.trunks\", or \"\" for none"),
    ("pbx.source.columns", "a list of column names in quotes, such as [\"src\", \"dst\", \"-\"]"),
    ("pbx.source.outside_profiles", "a list of SIP profiles in quotes, such as [\"external\"]"),
    ("pbx.source.timezone", "an IANA time zone in quotes, such as \"Europe/Berlin\""),
    ("tunnel", "a section"),
    ("tunnel.enabled", "true or false"),
    ("tunnel.hub", "host:port in quotes, such as \"hub.example.com:443\""),
    (
        "tunnel.proxy",
        "\"http://host:port\", \"http://user:password@host:port\" or \"socks5://host:port\", such as \"http://proxy.example.com:3128\"",
    ),
    ("stats", "a section"),
    ("stats.upload", "true or false"),
    ("stats.window", "a whole number of minutes that divides a day, such as \"1m\", \"1h\", \"1d\", or \"7d\""),
    ("stats.floor", "a whole number, 2 or more"),
    ("stats.grace", "a duration in quotes, such as \"24h\""),
    ("stats.schema", "the number of a report schema, such as 1"),
    ("health", "a section"),
    ("health.upload", "true or false"),
    ("health.every", "a duration in quotes from \"1m\" to \"1d\""),
    ("health.schema", "a whole number: the newest schema of health reports that you have accepted"),
    ("health.alert_command", "the full path of a program in quotes, such as \"/usr/local/sbin/demarc-alert\""),
    ("health.disk_free_percent", "a whole number from 0 to 100"),
    ("health.disk_full_days", "a whole number of days"),
    ("health.registration_lost", "a duration in quotes, such as \"5m\""),
    ("health.pbx_silent", "a duration in quotes, such as \"5m\""),
    ("health.no_calls", "a duration in quotes, such as \"4h\""),
    ("health.business_hours", "a list of days and hours in quotes, such as [\"mon-fri 08:00-18:00\"]"),
    ("health.clock_off", "a duration in quotes, such as \"60s\""),
    ("health.source_trouble", "a duration in quotes, such as \"15m\""),
    ("support", "a section"),
    ("support.mode", "\"ask\" or \"never\""),
    ("support.authorities", "a list of public keys in quotes, as in a .pub file"),
    ("support.longest", "a duration in quotes, such as \"24h\""),
    ("support.shell", "a program in quotes, such as \"/bin/bash\""),
    ("support.asterisk", "a program in quotes, such as \"/usr/sbin/asterisk\""),
    ("support.asterisk_conf", "a file in quotes, such as \"/etc/asterisk/asterisk.conf\""),
    ("support.logs", "a list of log files in quotes"),
    ("recordings", "a section"),
    ("recordings.paths", "a list of directories in quotes"),
    ("web", "a section"),
    ("web.listen", "address:port in quotes, such as \"127.0.0.1:8427\", or \"unix:/path\", or \"off\""),
    ("web.hosts", "a list of host names in quotes, such as [\"pbx.example.com\"]"),
    ("web.certificate", "a file in quotes, such as \"/etc/demarc/web.pem\""),
    ("web.key", "a file in quotes, such as \"/etc/demarc/web.key\""),
    ("web.password", "the hash that `demarc web password` prints, in quotes"),
    ("recordings.retention", "\"off\", or a time of a day or more in quotes, such as \"90d\""),
    ("recordings.voicemail", "true or false"),
    ("recordings.holds", "a section"),
    ("recordings.holds.paths", "a list of files and directories in quotes"),
    ("recordings.holds.extensions", "a list of extensions in quotes, such as [\"1001\"]"),
    ("backup", "a section"),
    ("backup.enabled", "true or false"),
    ("backup.recipient", "the public key that `demarc backup key` prints, in quotes: \"age1…\""),
    ("backup.paths", "a list of files and directories in quotes, such as [\"/etc/asterisk\"]"),
    ("backup.every", "\"off\", or a time of an hour or more in quotes, such as \"24h\""),
    ("backup.keep", "a whole number, 1 to 1000"),
    ("updates", "a section"),
    ("updates.via_tunnel", "true or false"),
    ("updates.listen", "address:port of this machine in quotes, such as \"127.0.0.1:8428\""),
];

/// The error of the parser, as its reader needs it.
pub(super) fn parse_error(file: &Path, text: &str, error: &toml::de::Error) -> LoadError {
    let span = error.span().unwrap_or(0..0);
    let message = error.message().replace('\n', ", ");
    let document = Document::parse(text).ok();
    let keys = document.as_ref().map(|document| every_key(document.as_table())).unwrap_or_default();
    let unknown = quoted_after(&message, "unknown field `");
    let place = match unknown {
        // Inside a list of sections the parser only knows where the list begins.
        Some(name) => keys
            .iter()
            .filter(|key| key.last() == name && allowed(&key.path).is_none())
            .min_by_key(|key| key.at.start.abs_diff(span.start)),
        None => keys.iter().filter(|key| key.whole.contains(&span.start)).min_by_key(|key| key.whole.len()),
    };
    let offset = match place {
        Some(key) if unknown.is_some() => key.at.start,
        _ => span.start,
    };
    let key = match (&document, place) {
        (Some(_), place) => place.map(|key| key.path.clone()),
        (None, _) => key_before(text, span.start),
    };
    let missing = quoted_after(&message, "missing field `");
    let problem = match (unknown, missing, &key) {
        (Some(name), _, Some(path)) => unknown_key(name, path),
        (None, Some(name), _) => format!("the key \"{name}\" is missing here"),
        (None, None, Some(path)) if document.is_some() => match allowed(path) {
            Some(allowed) => format!("{}allowed is {allowed}", found(&message)),
            None => message,
        },
        _ => message,
    };
    let (line, column) = line_and_column(text, offset);
    LoadError::Invalid { file: file.to_owned(), line, column, key, problem }
}

/// A value that the parser takes and that makes no sense.
pub(super) fn fault(file: &Path, text: &str, fault: Fault) -> LoadError {
    let document = Document::parse(text).ok();
    let keys = document.as_ref().map(|document| every_key(document.as_table())).unwrap_or_default();
    let mut places = keys.iter().filter(|key| key.path == fault.key);
    let (line, column) = places.nth(fault.occurrence).map_or((1, 1), |key| line_and_column(text, key.at.start));
    LoadError::Invalid { file: file.to_owned(), line, column, key: Some(fault.key.to_owned()), problem: fault.problem }
}

/// The key that a text which is no TOML means to set in the line of that offset.
fn key_before(text: &str, offset: usize) -> Option<String> {
    let line_end = text.get(offset..)?.find('\n').map_or(text.len(), |length| offset + length);
    let mut lines = text[..line_end].lines().rev();
    let name = lines.next()?.split_once('=')?.0.trim();
    let is_key = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte));
    let section = lines.find_map(|line| {
        let header = line.trim_start().strip_prefix('[')?.trim_start_matches('[');
        Some(header.split(']').next()?.trim().to_owned())
    });
    is_key.then(|| section.map_or_else(|| name.to_owned(), |section| format!("{section}.{name}")))
}

/// What may stand at that key.
pub(super) fn allowed(path: &str) -> Option<&'static str> {
    ALLOWED.iter().find(|(key, _)| *key == path).map(|(_, allowed)| *allowed)
}

/// The sentence about a key that does not exist: it names the nearest one that does.
pub(super) fn unknown_key(name: &str, path: &str) -> String {
    let parent = path.strip_suffix(name).unwrap_or("").trim_end_matches('.');
    let siblings = ALLOWED.iter().filter_map(|(key, _)| {
        let (above, last) = key.rsplit_once('.').unwrap_or(("", key));
        (above == parent).then_some(last)
    });
    let here = siblings.clone().map(|key| (distance(name, key), key)).min();
    let anywhere = || ALLOWED.iter().find(|(key, _)| key.rsplit('.').next() == Some(name)).map(|(key, _)| *key);
    match (here, anywhere()) {
        (Some((distance, nearest)), _) if distance <= 2.max(name.len() / 3) => {
            format!("there is no such key; did you mean \"{nearest}\"?")
        }
        (_, Some(elsewhere)) => format!("there is no such key here; did you mean \"{elsewhere}\"?"),
        _ => format!("there is no such key; known here are {}", siblings.collect::<Vec<_>>().join(", ")),
    }
}

/// Line and column of a byte offset, both counted from one.
fn line_and_column(text: &str, offset: usize) -> (usize, usize) {
    line_and_column_of_bytes(text.as_bytes(), offset)
}

/// As [`line_and_column`], for a text that may not be UTF-8 after the offset.
pub(super) fn line_and_column_of_bytes(text: &[u8], offset: usize) -> (usize, usize) {
    let before = &text[..offset.min(text.len())];
    let line_start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let lines = before.iter().filter(|byte| **byte == b'\n').count();
    (lines + 1, String::from_utf8_lossy(&before[line_start..]).chars().count() + 1)
}

/// A key of the document: where its name stands, and what it spans with its value.
struct Key {
    path: String,
    at: std::ops::Range<usize>,
    whole: std::ops::Range<usize>,
}

impl Key {
    fn last(&self) -> &str {
        self.path.rsplit('.').next().unwrap_or("")
    }
}

fn every_key(table: &Table) -> Vec<Key> {
    let mut keys = Vec::new();
    collect(table, "", &mut keys);
    keys
}

fn collect(table: &dyn toml_edit::TableLike, above: &str, keys: &mut Vec<Key>) {
    for (name, item) in table.iter() {
        let path = if above.is_empty() { name.to_owned() } else { format!("{above}.{name}") };
        let at = table.key(name).and_then(toml_edit::Key::span).or_else(|| item.span()).unwrap_or(0..0);
        let whole = at.start..item.span().map_or(at.end, |span| span.end.max(at.end));
        keys.push(Key { path: path.clone(), at, whole });
        match item {
            Item::Table(table) => collect(table, &path, keys),
            Item::ArrayOfTables(tables) => tables.iter().for_each(|table| collect(table, &path, keys)),
            Item::Value(Value::InlineTable(table)) => collect(table, &path, keys),
            Item::Value(Value::Array(values)) => {
                for table in values.iter().filter_map(Value::as_inline_table) {
                    collect(table, &path, keys);
                }
            }
            Item::Value(_) | Item::None => {}
        }
    }
}

/// The parser's description of what it found, where it gave one.
fn found(message: &str) -> String {
    ["invalid type: ", "invalid value: ", "unknown variant "]
        .iter()
        .find_map(|prefix| message.strip_prefix(prefix)?.split(", expected").next())
        .map(|found| format!("found {found}; "))
        .unwrap_or_default()
}

fn quoted_after<'a>(message: &'a str, before: &str) -> Option<&'a str> {
    message.split_once(before)?.1.split('`').next()
}

/// How many letters must be added, taken away or changed (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let change = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
