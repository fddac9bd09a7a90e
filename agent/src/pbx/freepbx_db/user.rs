//! Making the user that reads the table: what is to be said, and saying it.

use std::time::Duration;

use tokio::{net::UnixStream, time::timeout};

use super::{Settings, columns::ALL, words};
use crate::pbx::mysql::{Access, Client, MysqlError, text};

/// How long all of it may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// The user was not made.
#[derive(Debug, thiserror::Error)]
pub enum NotMade {
    /// Only by the socket are we known without a password.
    #[error("the database is reached at {0}, and only by its unix socket can root be known without a password")]
    NoSocket(String),
    /// No server there.
    #[error("the database at {address} cannot be reached")]
    Unreachable {
        /// The socket.
        address: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Nothing came.
    #[error("the database at {0} does not answer")]
    Silent(String),
    /// The server says no.
    #[error("MariaDB does not take it from root at its socket")]
    Refused(#[from] MysqlError),
}

/// What MariaDB's root has to say so that the user can read, and do nothing else.
pub fn statements(settings: &Settings, password: &str) -> Vec<String> {
    with_columns(settings, password, &ALL)
}

fn with_columns(settings: &Settings, password: &str, columns: &[&str]) -> Vec<String> {
    let Settings { database, table, trunks, .. } = settings;
    let who = words::who(settings);
    let mut statements = vec![
        format!("CREATE USER {who} IDENTIFIED BY '{password}';"),
        format!("GRANT SELECT ({}) ON {database}.{table} TO {who};", columns.join(", ")),
    ];
    if !trunks.is_empty() {
        statements.push(format!("GRANT SELECT (tech, channelid, name) ON {trunks} TO {who};"));
    }
    statements
}

/// Makes the user as MariaDB's root, who is let in by the socket alone. Nothing but letters and digits may be in the password.
///
/// # Errors
/// See [`NotMade`].
pub async fn create(settings: &Settings, password: &str) -> Result<(), NotMade> {
    timeout(PATIENCE, say(settings, password)).await.map_err(|_| NotMade::Silent(settings.address.clone()))?
}

async fn say(settings: &Settings, password: &str) -> Result<(), NotMade> {
    let address = &settings.address;
    if !address.starts_with('/') {
        return Err(NotMade::NoSocket(address.clone()));
    }
    let stream = UnixStream::connect(address).await;
    let stream = stream.map_err(|source| NotMade::Unreachable { address: address.clone(), source })?;
    let access = Access { user: "root", password: "", private: true, tls: false };
    let mut client = Client::connect(Box::new(stream), access).await?;
    // Tables of older versions lack some of the columns, and a right to what is not there is refused.
    let (database, table) = (text(&settings.database), text(&settings.table));
    let question = format!(
        "SELECT column_name FROM information_schema.columns WHERE table_schema = {database} AND table_name = {table}"
    );
    let there: Vec<String> =
        client.ask(&question).await?.iter().filter_map(|row| Some(row.str(0)?.to_ascii_lowercase())).collect();
    let columns: Vec<&str> = ALL.into_iter().filter(|column| there.iter().any(|other| other == column)).collect();
    for statement in with_columns(settings, password, &columns) {
        client.ask(statement.trim_end_matches(';')).await?;
    }
    client.leave().await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_user_may_select_and_nothing_else() {
        let settings = Settings {
            address: "/run/mysqld/mysqld.sock".into(),
            user: "demarc".into(),
            password: None,
            database: "asteriskcdrdb".into(),
            table: "cdr".into(),
            trunks: "asterisk.trunks".into(),
        };
        let said = statements(&settings, "secret");
        assert_eq!(said[0], "CREATE USER 'demarc'@'localhost' IDENTIFIED BY 'secret';");
        assert!(
            said[1].starts_with("GRANT SELECT (calldate, ")
                && said[1].ends_with("ON asteriskcdrdb.cdr TO 'demarc'@'localhost';")
        );
        assert_eq!(said[2], "GRANT SELECT (tech, channelid, name) ON asterisk.trunks TO 'demarc'@'localhost';");
        assert_eq!(statements(&Settings { trunks: String::new(), ..settings }, "x").len(), 2);
    }
}
