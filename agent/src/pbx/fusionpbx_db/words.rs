//! What is wrong with the database and what the owner can do, in words.

use std::error::Error as _;

use tokio_postgres::{Error, error::SqlState};

use super::{Settings, row};
use crate::pbx::table::Fault;

/// Why a question was not answered.
pub(super) fn explain(settings: &Settings, error: &Error) -> Fault {
    let Settings { address, user, database, .. } = settings;
    let Some(refused) = error.as_db_error() else {
        let why = error.source().map_or_else(|| error.to_string(), ToString::to_string);
        return Fault(format!(
            "the database at {address} cannot be reached ({why}); is PostgreSQL running, and is the address right?"
        ));
    };
    let code = refused.code();
    Fault(if [SqlState::INVALID_PASSWORD, SqlState::INVALID_AUTHORIZATION_SPECIFICATION].contains(code) {
        format!(
            "the database at {address} does not let {user} in ({}); to mend it: CREATE ROLE {user} LOGIN PASSWORD '…'; {}",
            refused.message(),
            grant(settings)
        )
    } else if *code == SqlState::INSUFFICIENT_PRIVILEGE {
        format!("{user} may not read v_xml_cdr in {database}; to mend it: {}", grant(settings))
    } else if [SqlState::UNDEFINED_TABLE, SqlState::INVALID_CATALOG_NAME].contains(code) {
        format!("there is no table v_xml_cdr in the database {database} at {address}; is this the right database?")
    } else if *code == SqlState::UNDEFINED_COLUMN {
        odd(settings).0
    } else if *code == SqlState::TOO_MANY_CONNECTIONS {
        format!("the database at {address} has no room for another connection; max_connections sets how many it takes")
    } else if *code == SqlState::QUERY_CANCELED {
        slow(settings).0
    } else {
        format!("the database at {address} answers with error {}: {}", code.code(), refused.message())
    })
}

/// There is no way to the server.
pub(super) fn lost(settings: &Settings, error: &std::io::Error) -> Fault {
    Fault(format!(
        "the database at {} cannot be reached ({error}); is PostgreSQL running, and is the address right?",
        settings.address
    ))
}

/// The answer took too long.
pub(super) fn slow(settings: &Settings) -> Fault {
    Fault(format!("the database at {} takes too long to answer", settings.address))
}

/// The table is not what it seems.
pub(super) fn odd(settings: &Settings) -> Fault {
    Fault(format!(
        "v_xml_cdr in {} lacks columns that FusionPBX's call records have ({})",
        settings.database,
        row::all()
    ))
}

/// Every look reads the whole table.
pub(super) fn no_index() -> String {
    "v_xml_cdr has no index on start_epoch, so that every look reads all of it, and there are few looks; to mend it: CREATE INDEX \
     ON v_xml_cdr (start_epoch);"
        .to_owned()
}

/// The user may do more than it should.
pub(super) fn too_much(settings: &Settings) -> String {
    format!(
        "The database user {} may change call records; a user for demarc alone needs only: {}",
        settings.user,
        grant(settings)
    )
}

fn grant(settings: &Settings) -> String {
    format!("GRANT SELECT ({}) ON v_xml_cdr TO {};", row::all(), settings.user)
}
