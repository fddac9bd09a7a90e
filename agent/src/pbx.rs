//! The phone system's own records: read where they lie, in the order in which they were written, each row once.
//!
//! Bytes become rows in this order: `tail` or `whole` (which bytes) → `scanner` (records and columns) →
//! `asterisk_csv` (what the columns mean) → `zone` (when it was) → `leg` (a row, understood).

pub mod asterisk_csv;
pub mod cdr_sqlite;
pub mod connector;
pub mod format;
pub mod freepbx_db;
pub mod fusionpbx_db;
pub mod leg;
pub mod local_tls;
pub mod mysql;
pub mod position;
pub mod reader;
pub mod record;
pub mod scanner;
pub mod source;
pub mod stream;
pub mod table;
pub mod tail;
pub mod uniqueid;
pub mod wall;
pub mod watch;
pub mod whole;
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
pub use whole::Whole;
pub use zone::{Zone, ZoneError};

/// Seconds since 1970 in UTC. A clock before 1970 counts as 1970.
fn now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}
