//! A client of MariaDB and MySQL that can do one thing: ask, and read the answer as text.
//!
//! It works on any stream, since the collector can make no internet socket and is handed one. It announces neither
//! `LOCAL INFILE` nor several statements at once, so that a hostile server can make it neither read a file nor run more than
//! it was told to.

mod answer;
mod auth;
mod packet;

use std::io;

use tokio::io::{AsyncWriteExt, BufStream};

use self::{
    answer::{Reply, ServerError},
    auth::{Greeting, Login},
};
use super::local_tls::{self, Stream};
pub use answer::Row;

/// An answer with more bytes than this is not waited for.
const MAX_ANSWER: usize = 256 << 20;

/// Why a question was not answered.
#[derive(Debug, thiserror::Error)]
pub enum MysqlError {
    /// The connection failed.
    #[error("the connection was lost: {0}")]
    Lost(#[from] io::Error),
    /// What came is not the protocol, or not of a version that is known.
    #[error("the server does not speak MySQL's protocol as expected ({0})")]
    Protocol(&'static str),
    /// The user logs in by a method that is not known.
    #[error("the server wants the user to log in by {0}")]
    Method(String),
    /// The server refused.
    #[error("the server answers with error {code}: {message}")]
    Refused {
        /// MySQL's number for the error.
        code: u16,
        /// In the server's words.
        message: String,
    },
}

impl From<ServerError> for MysqlError {
    fn from(ServerError { code, message }: ServerError) -> Self {
        Self::Refused { code, message }
    }
}

/// Who logs in, and how the way there is.
#[derive(Clone, Copy, Debug)]
pub struct Access<'a> {
    /// The user.
    pub user: &'a str,
    /// The password; empty for a user who is known by the socket.
    pub password: &'a str,
    /// Whether nobody can listen on the way: a unix socket.
    pub private: bool,
    /// Whether to encrypt the way where the server offers that.
    pub tls: bool,
}

/// A connection that has logged in.
pub struct Client {
    wire: Wire,
}

/// Packets on a stream.
struct Wire {
    stream: BufStream<Box<dyn Stream>>,
    /// Number of the next packet within the exchange.
    sequence: u8,
}

impl Client {
    /// Logs in.
    ///
    /// # Errors
    /// See [`MysqlError`].
    pub async fn connect(stream: Box<dyn Stream>, access: Access<'_>) -> Result<Self, MysqlError> {
        let mut wire = Wire { stream: BufStream::new(stream), sequence: 0 };
        let greeting = Greeting::read(&wire.receive().await?)?;
        let encrypted = access.tls && greeting.offers_tls();
        if encrypted {
            wire.send(&auth::wish_for_tls()).await?;
            wire.stream = BufStream::new(local_tls::over(wire.stream.into_inner()).await?);
        }
        let secure = encrypted || access.private;
        let mut login = Login::new(secure, &greeting);
        wire.send(&login.first(&access, encrypted)).await?;
        loop {
            let packet = wire.receive().await?;
            match login.next(&packet, access.password)? {
                auth::Step::In => return Ok(Self { wire }),
                auth::Step::Listen => {}
                auth::Step::Say(answer) => wire.send(&answer).await?,
            }
        }
    }

    /// Asks, and returns the rows of the answer. Nobody but this program writes the text: it holds numbers, and names of
    /// which [`name`] was made.
    ///
    /// # Errors
    /// See [`MysqlError`]. Only after [`MysqlError::Refused`] is the connection of any further use.
    pub async fn ask(&mut self, question: &str) -> Result<Vec<Row>, MysqlError> {
        self.wire.sequence = 0;
        self.wire.send(&[&[answer::QUERY], question.as_bytes()].concat()).await?;
        let columns = match answer::head(&self.wire.receive().await?)? {
            answer::Head::Done => return Ok(Vec::new()),
            answer::Head::Columns(columns) => columns,
        };
        for _ in 0..columns {
            self.wire.receive().await?;
        }
        if !answer::is_end(&self.wire.receive().await?) {
            return Err(MysqlError::Protocol("no end of the columns"));
        }
        let mut rows = Vec::new();
        let mut bytes = 0;
        loop {
            let packet = self.wire.receive().await?;
            bytes += packet.len();
            if bytes > MAX_ANSWER {
                return Err(MysqlError::Protocol("an answer without end"));
            }
            match answer::row(packet, columns)? {
                Reply::Row(row) => rows.push(row),
                Reply::End => return Ok(rows),
            }
        }
    }

    /// Says good-bye, so that the server does not count the connection as aborted.
    pub async fn leave(mut self) {
        self.wire.sequence = 0;
        // The server may be gone already.
        let _ = self.wire.send(&[answer::QUIT]).await;
        let _ = self.wire.stream.shutdown().await;
    }
}

impl Wire {
    async fn receive(&mut self) -> Result<Vec<u8>, MysqlError> {
        packet::receive(&mut self.stream, &mut self.sequence).await
    }

    async fn send(&mut self, payload: &[u8]) -> Result<(), MysqlError> {
        packet::send(&mut self.stream, &mut self.sequence, payload).await
    }
}

/// A name of a database, table or column as it stands in a question.
pub fn name(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// A text as it stands in a question, whatever the server's mode says of backslashes.
pub fn text(text: &str) -> String {
    let hex: String = text.bytes().map(|byte| format!("{byte:02x}")).collect();
    format!("x'{hex}'")
}

#[cfg(test)]
mod tests;
