//! The phone system's own records: read where they lie, in the order in which they were written, each row once.
//!
//! Bytes become rows in this order: `tail` or `stretch` (which bytes) → `index`, or `scanner` for one record (records and
//! columns) → `usual`, or `asterisk_csv` for any row (what the columns mean) → `zone` (when it was) → `leg` (a row,
//! understood). Other files have a `format` of their own: `columns`, `freeswitch/template`, `queue_log`.

pub mod ami;
pub mod asterisk_csv;
mod blocks;
pub mod cdr_sqlite;
pub mod column;
pub mod columns;
pub mod connector;
pub mod format;
pub mod freepbx_db;
pub mod freeswitch;
pub mod fusionpbx_db;
mod index;
pub mod leg;
pub mod local_tls;
mod moment;
pub mod mysql;
pub mod position;
pub mod queue_log;
pub mod reader;
pub mod record;
pub mod scanner;
pub mod source;
pub mod split;
pub mod stream;
pub mod stretch;
pub mod table;
pub mod tail;
pub mod uniqueid;
mod usual;
pub mod wall;
pub mod watch;
pub mod zone;
pub mod zone_check;

pub use format::Format;
pub use leg::{Disposition, Leg, MalformedReason, Row};
pub use position::{Mark, Position};
pub use reader::RowReader;
pub use record::{Entry, Record};
pub use stream::{Outlet, Portion, Rows, Said};
pub use tail::{Progress, Tail, TailError};
pub use watch::Watch;
pub use zone::{Zone, ZoneError};

/// Seconds since 1970 in UTC. A clock before 1970 counts as 1970.
fn now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}
