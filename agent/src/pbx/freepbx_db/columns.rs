//! Which columns this version of the table has.

use super::{Settings, words};
use crate::pbx::{
    mysql::{Client, name, text},
    table::Fault,
};

/// Every column that is ever read, in the order of [`super::row`]. The first ones are in every version.
pub(super) const ALL: [&str; 13] = [
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
/// So many of them must be there.
const NEEDED: usize = 6;

/// What a question may name.
pub(super) struct Columns {
    /// All columns for a question, with NULL for those that are not there.
    pub(super) list: String,
    /// The index on `calldate`.
    pub(super) index: String,
}

/// Looks the columns up. Those that the user may not read do not show.
pub(super) async fn find(client: &mut Client, settings: &Settings) -> Result<Columns, Fault> {
    let explain = |error| words::explain(settings, &error);
    let (database, table) = (text(&settings.database), text(&settings.table));
    let place = format!("table_schema = {database} AND table_name = {table}");
    let question = format!("SELECT column_name FROM information_schema.columns WHERE {place}");
    let rows = client.ask(&question).await.map_err(explain)?;
    let there: Vec<String> = rows.iter().filter_map(|row| Some(row.str(0)?.to_ascii_lowercase())).collect();
    let has = |column: &str| there.iter().any(|other| other == column);
    if let Some(missing) = ALL[..NEEDED].iter().find(|column| !has(column)) {
        // Why: no such table, or no right. The server says it best.
        let question =
            format!("SELECT {} FROM {}.{} LIMIT 0", name(missing), name(&settings.database), name(&settings.table));
        client.ask(&question).await.map_err(explain)?;
        return Err(words::odd(settings));
    }
    let list: Vec<String> =
        ALL.iter().map(|column| if has(column) { name(column) } else { "NULL".to_owned() }).collect();
    let question = format!("SHOW INDEX FROM {}.{}", name(&settings.database), name(&settings.table));
    let indexes = client.ask(&question).await.map_err(explain)?;
    // Columns 2, 3 and 4 of the answer: the index, the place in it, the column.
    let on_time = indexes
        .iter()
        .find(|row| row.number(3) == Some(1) && row.str(4).is_some_and(|column| column.eq_ignore_ascii_case(ALL[0])));
    let index = on_time.and_then(|row| row.str(2)).ok_or_else(|| words::no_index(settings))?;
    Ok(Columns { list: list.join(", "), index: index.to_owned() })
}
