//! FreePBX's table of call records in MariaDB or MySQL, read by a user who may do nothing else.

mod columns;
mod rights;
mod row;
mod trunks;
pub mod user;
mod words;

use std::{io, time::Duration};

use tokio::{
    net::UnixStream,
    time::{sleep, timeout},
};

use self::{columns::Columns, row::RowMaker};
use super::{
    connector::{Connector, NotConnected},
    mysql::{Access, Client, MysqlError, Row, name},
    source::Start,
    stream::{Outlet, Said},
    table::{BUCKET, Fault, Found, Stop, Table, TableReader},
    wall,
    zone::Zone,
};
use crate::settings::{Secret, Source};

/// How long the server may take to let us in.
const CONNECT: Duration = Duration::from_secs(10);
/// How long it may take to answer a question.
const ANSWER: Duration = Duration::from_secs(60);
/// How soon, and how late at most, it is tried again.
const SOONEST: Duration = Duration::from_secs(1);
const LATEST: Duration = Duration::from_secs(60);
/// How often trunks and rights are looked at again.
const SURVEY: Duration = Duration::from_secs(300);

/// What the settings say of the database.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The path of a unix socket, or `host:port`.
    pub address: String,
    /// The user.
    pub user: String,
    /// The user's password.
    pub password: Option<Secret>,
    /// The database.
    pub database: String,
    /// The table.
    pub table: String,
    /// The table of trunks, `database.table`; empty for none.
    pub trunks: String,
}

impl Settings {
    /// What a source's settings say; none for a source of another kind.
    pub fn of(source: &Source) -> Option<Self> {
        let Source::FreepbxDb { address, user, password, database, table, trunks, .. } = source.clone() else {
            return None;
        };
        Some(Self { address, user, password, database, table, trunks })
    }
}

/// Reads the table for as long as rows can be stored.
pub async fn follow(settings: Settings, zone: Zone, start: Start, connector: Connector, outlet: Outlet) {
    let mut reader = TableReader::new(start.position.as_deref(), start.delivered, start.since);
    let mut maker = RowMaker::new(zone);
    let mut pause = SOONEST;
    loop {
        let stop = attend(&settings, &connector, &mut maker, &mut reader, &outlet, &mut pause).await;
        match stop {
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
    maker: &mut RowMaker,
    reader: &mut TableReader,
    outlet: &Outlet,
    pause: &mut Duration,
) -> Stop {
    let mut table = match CdrTable::open(settings, connector, maker).await {
        Ok(table) => table,
        Err(fault) => return fault.into(),
    };
    let mut surveyed = None;
    loop {
        if surveyed.is_none_or(|when: tokio::time::Instant| when.elapsed() >= SURVEY) {
            match table.survey().await {
                Ok(Survey { trunks, excess }) => {
                    if let Some(trunks) = trunks {
                        outlet.say(Said::Trunks(trunks)).await;
                    }
                    outlet.say(Said::Advice(excess)).await;
                }
                Err(fault) => return fault.into(),
            }
            surveyed = Some(tokio::time::Instant::now());
        }
        match reader.look(&mut table, outlet, super::now()).await {
            Ok(wait) => {
                *pause = SOONEST;
                outlet.trouble(table.maker.trouble()).await;
                sleep(wait).await;
            }
            Err(stop) => {
                if matches!(stop, Stop::NotStored(_)) {
                    table.client.leave().await;
                }
                return stop;
            }
        }
    }
}

/// What is looked at now and then beside the rows.
struct Survey {
    trunks: Option<Vec<crate::call::rules::Line>>,
    /// What the user may do and need not, in words.
    excess: Option<String>,
}

struct CdrTable<'a> {
    settings: &'a Settings,
    client: Client,
    columns: Columns,
    maker: &'a mut RowMaker,
}

impl<'a> CdrTable<'a> {
    async fn open(settings: &'a Settings, connector: &Connector, maker: &'a mut RowMaker) -> Result<Self, Fault> {
        let explain = |error: MysqlError| words::explain(settings, &error);
        let mut client = timeout(CONNECT, connect(settings, connector))
            .await
            .map_err(|_| words::silent(settings))?
            .map_err(explain)?;
        // Texts come as they lie in the table, whatever character set it has.
        client.ask("SET character_set_results = NULL").await.map_err(explain)?;
        // The server ends a question that takes too long, under the name that it has for that.
        for limit in ["max_statement_time = 60", "max_execution_time = 60000"] {
            match client.ask(&format!("SET SESSION {limit}")).await {
                Ok(_) | Err(MysqlError::Refused { .. }) => {}
                Err(error) => return Err(explain(error)),
            }
        }
        let columns = columns::find(&mut client, settings).await?;
        Ok(Self { settings, client, columns, maker })
    }

    async fn survey(&mut self) -> Result<Survey, Fault> {
        let explain = |error: MysqlError| words::explain(self.settings, &error);
        let grants = self.client.ask("SHOW GRANTS").await.map_err(explain)?;
        let excess = rights::excess(&grants, self.settings);
        let trunks = trunks::read(&mut self.client, self.settings).await?;
        let (trunks, excess) = match trunks {
            trunks::Trunks::Known(trunks) => (Some(trunks), excess),
            trunks::Trunks::Unknown(why) => {
                (None, Some(excess.map_or(why.clone(), |excess| format!("{excess} {why}"))))
            }
            trunks::Trunks::NotWanted => (None, excess),
        };
        Ok(Survey { trunks, excess })
    }

    async fn ask(&mut self, question: String) -> Result<Vec<Row>, Fault> {
        match timeout(ANSWER, self.client.ask(&question)).await {
            Ok(answer) => answer.map_err(|error| words::explain(self.settings, &error)),
            Err(_) => Err(words::slow(self.settings)),
        }
    }

    /// The table, read by the index on its time and in no other way.
    fn from(&self) -> String {
        let Settings { database, table, .. } = self.settings;
        format!("{}.{} FORCE INDEX ({})", name(database), name(table), name(&self.columns.index))
    }
}

async fn connect(settings: &Settings, connector: &Connector) -> Result<Client, MysqlError> {
    let password = settings.password.as_ref().map_or("", Secret::expose);
    let private = settings.address.starts_with('/');
    let access = |tls| Access { user: &settings.user, password, private, tls };
    let dial = || async {
        if private {
            UnixStream::connect(&settings.address).await
        } else {
            connector.connect(&settings.address).await.map_err(|NotConnected(why)| io::Error::other(why))
        }
    };
    match Client::connect(Box::new(dial().await?), access(!private)).await {
        // A server of old offers a TLS of old.
        Err(MysqlError::Lost(_)) if !private => Client::connect(Box::new(dial().await?), access(false)).await,
        other => other,
    }
}

impl Table for CdrTable<'_> {
    fn clock(&self, moment: i64) -> i64 {
        self.maker.wall(moment)
    }

    async fn time_behind(&mut self, from: i64, skip: u32) -> Result<Option<i64>, Fault> {
        let question = format!(
            "SELECT calldate FROM {} WHERE calldate >= '{}' ORDER BY calldate LIMIT 1 OFFSET {skip}",
            self.from(),
            wall::text(from)
        );
        Ok(self.ask(question).await?.first().and_then(|row| self.maker.time(row.text(0)?)))
    }

    async fn time_before(&mut self, until: i64) -> Result<Option<i64>, Fault> {
        let question = format!(
            "SELECT calldate FROM {} WHERE calldate BETWEEN '{}' AND '{}' ORDER BY calldate DESC LIMIT 1",
            self.from(),
            wall::text(0),
            wall::text(until)
        );
        Ok(self.ask(question).await?.first().and_then(|row| self.maker.time(row.text(0)?)))
    }

    async fn counts(&mut self, from: i64) -> Result<Vec<(i64, u64)>, Fault> {
        // `2026-11-22 01:2`: ten minutes.
        const { assert!(BUCKET == 600) };
        let question = format!(
            "SELECT LEFT(calldate, 15), COUNT(*) FROM {} WHERE calldate >= '{}' GROUP BY LEFT(calldate, 15)",
            self.from(),
            wall::text(from)
        );
        let rows = self.ask(question).await?;
        let counts = rows.iter().map(|row| {
            let bucket = self.maker.time(&[row.text(0)?, b"0:00"].concat())?;
            Some((bucket, u64::try_from(row.number(1)?).ok()?))
        });
        counts.collect::<Option<_>>().ok_or_else(|| words::odd(self.settings))
    }

    async fn rows(&mut self, from: i64, until: i64) -> Result<Vec<Found>, Fault> {
        let question = format!(
            "SELECT {} FROM {} WHERE calldate >= '{}' AND calldate < '{}' ORDER BY calldate",
            self.columns.list,
            self.from(),
            wall::text(from),
            wall::text(until)
        );
        let rows = self.ask(question).await?;
        Ok(rows.iter().map(|row| self.maker.make(row)).collect())
    }
}
