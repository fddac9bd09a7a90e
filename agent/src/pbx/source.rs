//! From the settings of a source to what reads it.

use tokio::task::JoinHandle;

use super::{
    ami::task::{self as ami, Place},
    cdr_sqlite,
    columns::{ColumnReader, Mapping},
    connector::Connector,
    format::Format,
    freepbx_db,
    freeswitch::{
        directory,
        template::{Template, TemplateReader},
    },
    fusionpbx_db,
    queue_log::QueueLogReader,
    reader::RowReader,
    stream::Outlet,
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
        // The settings were refused where a mapping makes no sense.
        Source::CdrCustom { columns, .. } => Some(Box::new(ColumnReader::new(Mapping::new(columns).ok()?, zone))),
        Source::FreeswitchCsv { columns, outside_profiles, .. } => {
            Some(Box::new(TemplateReader::new(Template::new(columns).ok()?, outside_profiles, zone)))
        }
        Source::QueueLog { .. } => Some(Box::new(QueueLogReader)),
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
    match source {
        Source::Ami { address, user, secret, .. } => {
            let place = Place { address: address.clone(), user: user.clone(), secret: secret.clone() };
            Some(tokio::spawn(ami::run(place, zone, connector.clone(), outlet)))
        }
        Source::FreeswitchJson { path, outside_profiles } => {
            Some(tokio::spawn(directory::follow(path.clone(), outside_profiles.clone(), zone, start, outlet)))
        }
        Source::FreepbxDb { .. } => {
            let settings = freepbx_db::Settings::of(source)?;
            Some(tokio::spawn(freepbx_db::follow(settings, zone, start, connector.clone(), outlet)))
        }
        Source::FusionpbxDb { .. } => {
            let settings = fusionpbx_db::Settings::of(source)?;
            Some(tokio::spawn(fusionpbx_db::follow(settings, start, connector.clone(), outlet)))
        }
        Source::CdrSqlite { path, table, .. } => {
            Some(tokio::spawn(cdr_sqlite::follow(path.clone(), table.clone(), zone, start, outlet)))
        }
        _ => None,
    }
}
