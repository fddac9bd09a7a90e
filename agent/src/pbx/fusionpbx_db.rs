//! FusionPBX's table of call records, `v_xml_cdr` in PostgreSQL, read by a user who may do nothing else.

mod row;
mod words;

use std::{collections::BTreeSet, io, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
    time::{sleep, timeout},
};
use tokio_postgres::{Client, Config, NoTls, SimpleQueryMessage, SimpleQueryRow, config::SslMode};

use self::row::Columns;
use super::{
    connector::{Connector, NotConnected},
    local_tls::{self, Stream},
    source::Start,
    stream::{Outlet, Said},
    table::{BUCKET, Fault, Found, Stop, Table, TableReader},
};
use crate::{
    call::rules::Line,
    settings::{Secret, Source},
};

/// How long the server may take to let us in.
const CONNECT: Duration = Duration::from_secs(10);
/// How long it may take to answer a question.
const ANSWER: Duration = Duration::from_secs(60);
/// How soon, and how late at most, it is tried again.
const SOONEST: Duration = Duration::from_secs(1);
const LATEST: Duration = Duration::from_secs(60);
/// The file of the server's socket in its directory.
const SOCKET: &str = ".s.PGSQL.5432";
/// Asks for TLS before anything else is said.
const WISH_FOR_TLS: [u8; 8] = [0, 0, 0, 8, 4, 0xd2, 0x16, 0x2f];

/// What the settings say of the database.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The directory of a unix socket, or `host:port`.
    pub address: String,
    /// The user.
    pub user: String,
    /// The user's password.
    pub password: Option<Secret>,
    /// The database.
    pub database: String,
}

impl Settings {
    /// What a source's settings say; none for a source of another kind.
    pub fn of(source: &Source) -> Option<Self> {
        let Source::FusionpbxDb { address, user, password, database } = source.clone() else { return None };
        Some(Self { address, user, password, database })
    }
}

/// Reads the table for as long as rows can be stored.
pub async fn follow(settings: Settings, start: Start, connector: Connector, outlet: Outlet) {
    let mut reader = TableReader::new(start.position.as_deref(), start.delivered, start.since);
    let mut pause = SOONEST;
    loop {
        match attend(&settings, &connector, &mut reader, &outlet, &mut pause).await {
            Stop::NotStored(_) => return,
            Stop::Fault(fault) => outlet.trouble(Some(fault.0)).await,
        }
        sleep(pause).await;
        pause = (pause * 2).min(LATEST);
    }
}

/// One connection, from its beginning to its end.
async fn attend(
    settings: &Settings,
    connector: &Connector,
    reader: &mut TableReader,
    outlet: &Outlet,
    pause: &mut Duration,
) -> Stop {
    let mut table = match CdrTable::open(settings, connector, outlet.clone()).await {
        Ok(table) => table,
        Err(fault) => return fault.into(),
    };
    outlet.say(Said::Advice(table.advice.take())).await;
    table.tell_of_gateways().await;
    loop {
        match reader.look(&mut table, outlet, super::now()).await {
            Ok(wait) => {
                *pause = SOONEST;
                outlet.trouble(None).await;
                sleep(wait).await;
            }
            Err(stop) => return stop,
        }
    }
}

struct CdrTable<'a> {
    settings: &'a Settings,
    client: Client,
    columns: Columns,
    outlet: Outlet,
    /// The gateways that rows have named so far.
    gateways: BTreeSet<String>,
    /// What works and could be better.
    advice: Option<String>,
}

impl<'a> CdrTable<'a> {
    async fn open(settings: &'a Settings, connector: &Connector, outlet: Outlet) -> Result<Self, Fault> {
        let client = timeout(CONNECT, connect(settings, connector)).await.map_err(|_| words::slow(settings))??;
        let columns = Columns::default();
        let gateways = BTreeSet::from([row::OUTSIDE.to_owned()]);
        let mut table = Self { settings, client, columns, outlet, gateways, advice: None };
        table.ask("SET statement_timeout = '60s'").await?;
        table.ask("SET default_transaction_read_only = on").await?;
        // Columns without a right to read them would only be refused.
        let there = table
            .ask(
                "SELECT attname FROM pg_attribute WHERE attrelid = to_regclass('v_xml_cdr') AND attnum > 0 AND NOT attisdropped \
                 AND has_column_privilege(attrelid, attnum, 'SELECT')",
            )
            .await?;
        let there: Vec<&str> = there.iter().filter_map(|row| row.get(0)).collect();
        table.columns = match Columns::find(&there) {
            Ok(columns) => columns,
            Err(missing) => {
                // Why: no such table, or no right. The server says it best.
                table.ask(&format!("SELECT {missing} FROM v_xml_cdr LIMIT 0")).await?;
                return Err(words::odd(settings));
            }
        };
        table.advice = table.survey().await?;
        Ok(table)
    }

    /// What could be better: an index, and rights that are not needed.
    async fn survey(&self) -> Result<Option<String>, Fault> {
        let indexed = self
            .ask(
                "SELECT 1 FROM pg_index JOIN pg_attribute ON attrelid = indrelid AND attnum = indkey[0] \
                 WHERE indrelid = to_regclass('v_xml_cdr') AND attname = 'start_epoch'",
            )
            .await?;
        let rights = self
            .ask(
                "SELECT rolsuper OR has_table_privilege('v_xml_cdr', 'INSERT') OR has_table_privilege('v_xml_cdr', 'UPDATE') \
                 OR has_table_privilege('v_xml_cdr', 'DELETE') FROM pg_roles WHERE rolname = current_user",
            )
            .await?;
        let mut advice = Vec::new();
        if rights.first().and_then(|row| row.get(0)) == Some("t") {
            advice.push(words::too_much(self.settings));
        }
        if indexed.is_empty() {
            advice.push(words::no_index());
        }
        Ok(Some(advice.join(" ")).filter(|advice| !advice.is_empty()))
    }

    /// Says which channels are lines to the outside.
    async fn tell_of_gateways(&self) {
        let line = |gateway: &String| Line {
            technology: row::GATEWAY.to_owned(),
            device: gateway.clone(),
            name: gateway.clone(),
        };
        self.outlet.say(Said::Trunks(self.gateways.iter().map(line).collect())).await;
    }

    async fn ask(&self, question: &str) -> Result<Vec<SimpleQueryRow>, Fault> {
        let messages = match timeout(ANSWER, self.client.simple_query(question)).await {
            Ok(answer) => answer.map_err(|error| words::explain(self.settings, &error))?,
            Err(_) => return Err(words::slow(self.settings)),
        };
        let rows = messages.into_iter().filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(row),
            _ => None,
        });
        Ok(rows.collect())
    }

    /// The one number that a question asks for.
    async fn number(&self, question: &str) -> Result<Option<i64>, Fault> {
        Ok(self.ask(question).await?.first().and_then(|row| row::number(row.get(0)?)))
    }
}

async fn connect(settings: &Settings, connector: &Connector) -> Result<Client, Fault> {
    let lost = |error: io::Error| words::lost(settings, &error);
    let stream: Box<dyn Stream> = if settings.address.starts_with('/') {
        Box::new(UnixStream::connect(format!("{}/{SOCKET}", settings.address)).await.map_err(lost)?)
    } else {
        let dial = || async {
            connector.connect(&settings.address).await.map_err(|NotConnected(why)| lost(io::Error::other(why)))
        };
        let mut stream = dial().await?;
        stream.write_all(&WISH_FOR_TLS).await.map_err(lost)?;
        if stream.read_u8().await.map_err(lost)? == b'S' {
            match local_tls::over(Box::new(stream)).await {
                Ok(encrypted) => encrypted,
                // A server of old offers a TLS of old.
                Err(_) => Box::new(dial().await?),
            }
        } else {
            Box::new(stream)
        }
    };
    let mut config = Config::new();
    // TLS, where there is any, is under the stream already.
    config.user(&settings.user).dbname(&settings.database).application_name("demarc").ssl_mode(SslMode::Disable);
    if let Some(password) = &settings.password {
        config.password(password.expose());
    }
    let (client, connection) =
        config.connect_raw(stream, NoTls).await.map_err(|error| words::explain(settings, &error))?;
    // It ends when the client is dropped, and what ends it early is told to the client.
    tokio::spawn(connection);
    Ok(client)
}

impl Table for CdrTable<'_> {
    fn clock(&self, moment: i64) -> i64 {
        moment
    }

    async fn time_behind(&mut self, from: i64, skip: u32) -> Result<Option<i64>, Fault> {
        self.number(&format!(
            "SELECT floor(start_epoch) FROM v_xml_cdr WHERE start_epoch >= {from} ORDER BY start_epoch LIMIT 1 OFFSET {skip}"
        ))
        .await
    }

    async fn time_before(&mut self, until: i64) -> Result<Option<i64>, Fault> {
        self.number(&format!(
            "SELECT floor(start_epoch) FROM v_xml_cdr WHERE start_epoch BETWEEN 0 AND {until} ORDER BY start_epoch DESC LIMIT 1"
        ))
        .await
    }

    async fn counts(&mut self, from: i64) -> Result<Vec<(i64, u64)>, Fault> {
        let question = format!(
            "SELECT floor(start_epoch / {BUCKET}) * {BUCKET}, count(*) FROM v_xml_cdr WHERE start_epoch >= {from} GROUP BY 1"
        );
        let rows = self.ask(&question).await?;
        let counts = rows.iter().map(|row| Some((row::number(row.get(0)?)?, row.get(1)?.parse().ok()?)));
        counts.collect::<Option<_>>().ok_or_else(|| words::odd(self.settings))
    }

    async fn rows(&mut self, from: i64, until: i64) -> Result<Vec<Found>, Fault> {
        let question = format!(
            "SELECT {} FROM v_xml_cdr WHERE start_epoch >= {from} AND start_epoch < {until} ORDER BY start_epoch",
            self.columns.list
        );
        let rows = self.ask(&question).await?;
        let known = self.gateways.len();
        self.gateways.extend(rows.iter().filter_map(row::gateway));
        // Before the rows themselves.
        if self.gateways.len() > known {
            self.tell_of_gateways().await;
        }
        Ok(rows.iter().map(row::make).collect())
    }
}
