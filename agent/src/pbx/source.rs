//! From the settings of a source to what reads it.

use tokio::task::JoinHandle;

use super::{
    cdr_sqlite, connector::Connector, format::Format, freepbx_db, fusionpbx_db, reader::RowReader, stream::Outlet,
    zone::Zone,
};
use crate::settings::Source;

/// Where a source that is no followed file begins.
#[derive(Clone, Debug, Default)]
pub struct Start {
    /// Where it stopped last, in its own words.
    pub position: Option<String>,
    /// What it has delivered and may come upon again: its own names for the rows, with the moment of each.
    pub delivered: Vec<(u64, i64)>,
    /// Rows that ended before are not wanted: seconds since 1970 in UTC.
    pub since: i64,
}

/// What the bytes of a followed file mean; none for a source that is no such file.
pub fn format(source: &Source, zone: Zone) -> Option<Box<dyn Format>> {
    match source {
        Source::AsteriskCsv { .. } => Some(Box::new(RowReader::new(zone))),
        _ => None,
    }
}

/// Starts the task that reads a source which is no followed file; `connector` leads to its server, where it has one.
pub fn begin(
    source: &Source,
    zone: Zone,
    start: Start,
    connector: &Connector,
    outlet: Outlet,
) -> Option<JoinHandle<()>> {
    Some(match source.clone() {
        Source::FreepbxDb { address, user, password, database, table, trunks, .. } => {
            let settings = freepbx_db::Settings { address, user, password, database, table, trunks };
            tokio::spawn(freepbx_db::follow(settings, zone, start, connector.clone(), outlet))
        }
        Source::FusionpbxDb { address, user, password, database } => {
            let settings = fusionpbx_db::Settings { address, user, password, database };
            tokio::spawn(fusionpbx_db::follow(settings, start, connector.clone(), outlet))
        }
        Source::CdrSqlite { path, table, .. } => tokio::spawn(cdr_sqlite::follow(path, table, zone, start, outlet)),
        _ => return None,
    })
}
