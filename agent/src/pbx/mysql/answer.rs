//! Answers: rows of texts, or an error.

use super::{MysqlError, packet::Reader};

/// Begins a question.
pub(super) const QUERY: u8 = 3;
/// Ends the connection.
pub(super) const QUIT: u8 = 1;

const OK: u8 = 0;
const NULL: u8 = 0xfb;
const END: u8 = 0xfe;
const ERROR: u8 = 0xff;
/// What begins with [`END`] and is as long as this is a number, not an end.
const LONGEST_END: usize = 9;
/// No question here names as many columns.
const MAX_COLUMNS: u64 = 64;
/// So much of a server's message is shown.
const MAX_MESSAGE: usize = 200;

/// A row: its packet, and where each text lies in it.
pub struct Row {
    packet: Vec<u8>,
    places: Vec<Option<(usize, usize)>>,
}

impl Row {
    /// The text in a column, counted from 0; none for NULL, and for a column that was not asked for.
    pub fn text(&self, column: usize) -> Option<&[u8]> {
        let (from, to) = (*self.places.get(column)?)?;
        self.packet.get(from..to)
    }

    /// The text, where it is valid.
    pub fn str(&self, column: usize) -> Option<&str> {
        std::str::from_utf8(self.text(column)?).ok()
    }

    /// The whole number in a column.
    pub fn number(&self, column: usize) -> Option<i64> {
        self.str(column)?.parse().ok()
    }

    /// Everything, for the quarantine.
    pub fn bytes(&self) -> &[u8] {
        &self.packet
    }
}

/// An error that the server reports.
pub(super) struct ServerError {
    pub(super) code: u16,
    pub(super) message: String,
}

/// How an answer begins.
pub(super) enum Head {
    /// It is done: nothing was asked for.
    Done,
    /// Rows of so many columns follow.
    Columns(usize),
}

/// A packet after the columns.
pub(super) enum Reply {
    Row(Row),
    End,
}

pub(super) fn head(packet: &[u8]) -> Result<Head, MysqlError> {
    match packet.first() {
        Some(&OK) => Ok(Head::Done),
        Some(&ERROR) => Err(error(packet).into()),
        // It asks for a file of ours.
        Some(&NULL) => Err(MysqlError::Protocol("it wants a file")),
        _ => match Reader(packet).number() {
            Some(columns @ 1..=MAX_COLUMNS) => Ok(Head::Columns(columns as usize)),
            _ => Err(MysqlError::Protocol("no number of columns")),
        },
    }
}

pub(super) fn is_end(packet: &[u8]) -> bool {
    packet.first() == Some(&END) && packet.len() < LONGEST_END
}

pub(super) fn row(packet: Vec<u8>, columns: usize) -> Result<Reply, MysqlError> {
    if is_end(&packet) {
        return Ok(Reply::End);
    }
    if packet.first() == Some(&ERROR) {
        return Err(error(&packet).into());
    }
    let mut reader = Reader(&packet);
    let mut places = Vec::with_capacity(columns);
    for _ in 0..columns {
        if reader.0.first() == Some(&NULL) {
            reader.byte();
            places.push(None);
            continue;
        }
        let text = reader.counted().ok_or(MysqlError::Protocol("a torn row"))?;
        let to = packet.len() - reader.0.len();
        places.push(Some((to - text.len(), to)));
    }
    Ok(Reply::Row(Row { packet, places }))
}

/// Reads an error packet.
pub(super) fn error(packet: &[u8]) -> ServerError {
    let mut reader = Reader(packet.get(1..).unwrap_or_default());
    let code = reader.u16().unwrap_or(0);
    let message = String::from_utf8_lossy(reader.0);
    // `#42S02` stands before it, except before the login.
    let message = message.strip_prefix('#').and_then(|rest| rest.get(5..)).unwrap_or(&message);
    let message = message.chars().filter(|character| !character.is_control()).take(MAX_MESSAGE).collect();
    ServerError { code, message }
}

/// Whether a packet is such an error.
pub(super) fn is_error(packet: &[u8]) -> bool {
    packet.first() == Some(&ERROR)
}
