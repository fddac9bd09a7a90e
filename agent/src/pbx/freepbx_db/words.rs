//! What is wrong with the database and what the owner can do, in words.

use super::{Settings, columns};
use crate::pbx::{mysql::MysqlError, table::Fault};

/// Why a question was not answered.
pub(super) fn explain(settings: &Settings, error: &MysqlError) -> Fault {
    let Settings { address, user, database, table, .. } = settings;
    let who = who(settings);
    Fault(match error {
        MysqlError::Lost(error) => {
            format!(
                "the database at {address} cannot be reached ({error}); is MariaDB running, and is the address right?"
            )
        }
        MysqlError::Refused { code: 1045 | 1698 | 1130, .. } => format!(
            "the database at {address} does not let {user} in: the password is wrong, or there is no such user; to mend it: {}",
            make_user(settings)
        ),
        MysqlError::Refused { code: 1044 | 1142 | 1143, .. } => {
            format!("{user} may not read {database}.{table}; to mend it: {}", grant(settings))
        }
        MysqlError::Refused { code: 1049 | 1146, .. } => {
            format!("there is no table {database}.{table} at {address}; is this the right database?")
        }
        MysqlError::Refused { code: 1054, .. } => {
            format!("the table {database}.{table} lacks columns that call records have ({})", columns::ALL.join(", "))
        }
        MysqlError::Refused { code: 1040 | 1203 | 1226, .. } => {
            format!(
                "the database at {address} has no room for another connection; max_connections sets how many it takes"
            )
        }
        MysqlError::Refused { code: 1969 | 3024, .. } => slow(settings).0,
        MysqlError::Method(method) => format!(
            "the database at {address} wants {user} to log in by {method}, which demarc does not know; to mend it: ALTER USER \
             {who} IDENTIFIED VIA mysql_native_password USING PASSWORD('…');"
        ),
        other @ (MysqlError::Refused { .. } | MysqlError::Protocol(_)) => format!("the database at {address}: {other}"),
    })
}

/// The server does not say anything.
pub(super) fn silent(settings: &Settings) -> Fault {
    Fault(format!("the database at {} took the connection and said nothing", settings.address))
}

/// The answer took too long.
pub(super) fn slow(settings: &Settings) -> Fault {
    Fault(format!("the database at {} took longer than a minute to answer", settings.address))
}

/// The table has no index by which rows of a time can be found.
pub(super) fn no_index(settings: &Settings) -> Fault {
    let Settings { database, table, .. } = settings;
    Fault(format!(
        "{database}.{table} has no index on calldate, so that every look would read all of it; to mend it: CREATE INDEX \
         calldate ON {database}.{table} (calldate);"
    ))
}

/// The table is not what it seems.
pub(super) fn odd(settings: &Settings) -> Fault {
    Fault(format!("{}.{} is no table of call records", settings.database, settings.table))
}

/// Trunks are configured, and cannot be read.
pub(super) fn no_trunks(settings: &Settings) -> String {
    let (trunks, who) = (&settings.trunks, who(settings));
    format!(
        "The trunks in {trunks} cannot be read, so that calls from and to the outside are told by pbx.trunks alone; to mend \
         it: GRANT SELECT (tech, channelid, name) ON {trunks} TO {who}; or set trunks = \"\"."
    )
}

/// The user may do more than it should.
pub(super) fn too_much(settings: &Settings, excess: &str) -> String {
    format!(
        "The database user {} may do more than read call records ({excess}); a user for demarc alone needs only: {}",
        settings.user,
        grant(settings)
    )
}

fn make_user(settings: &Settings) -> String {
    format!("CREATE USER {} IDENTIFIED BY '…'; {}", who(settings), grant(settings))
}

fn grant(settings: &Settings) -> String {
    let Settings { database, table, .. } = settings;
    format!("GRANT SELECT ({}) ON {database}.{table} TO {};", columns::ALL.join(", "), who(settings))
}

/// The user as MariaDB knows it: by where it comes from too.
pub(super) fn who(settings: &Settings) -> String {
    let host = if settings.address.starts_with('/') { "localhost" } else { "127.0.0.1" };
    format!("'{}'@'{host}'", settings.user)
}
