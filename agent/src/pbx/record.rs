//! A row that outlives the bytes it was read from: for sources that are no file.

use std::{borrow::Cow, fmt};

use super::leg::{Disposition, Leg, MalformedReason};

/// A [`Leg`] that owns its texts.
#[derive(Clone, PartialEq, Eq)]
pub struct Record {
    /// As in [`Leg`]; so are all others.
    pub uniqueid: Option<Vec<u8>>,
    /// The id that all legs of a call share.
    pub linkedid: Option<Vec<u8>>,
    /// Number of the record.
    pub sequence: Option<u64>,
    /// The calling channel.
    pub channel: Vec<u8>,
    /// The called channel.
    pub dstchannel: Vec<u8>,
    /// The application that ran last.
    pub lastapp: Vec<u8>,
    /// Its arguments.
    pub lastdata: Vec<u8>,
    /// The caller's number.
    pub src: Vec<u8>,
    /// The number or extension that was dialled.
    pub dst: Vec<u8>,
    /// When the leg began: seconds since 1970 in UTC.
    pub start: i64,
    /// When it was answered.
    pub answer: Option<i64>,
    /// When it ended.
    pub end: i64,
    /// What became of it.
    pub disposition: Disposition,
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Record")
    }
}

impl Record {
    /// The row.
    pub fn leg(&self) -> Leg<'_> {
        Leg {
            uniqueid: self.uniqueid.as_deref(),
            linkedid: self.linkedid.as_deref(),
            sequence: self.sequence,
            channel: Cow::Borrowed(&self.channel),
            dstchannel: Cow::Borrowed(&self.dstchannel),
            lastapp: Cow::Borrowed(&self.lastapp),
            lastdata: Cow::Borrowed(&self.lastdata),
            src: Cow::Borrowed(&self.src),
            dst: Cow::Borrowed(&self.dst),
            start: self.start,
            answer: self.answer,
            end: self.end,
            disposition: self.disposition,
        }
    }
}

/// A row of a source that is no file.
#[derive(Clone, PartialEq, Eq)]
pub struct Entry {
    /// The row, or why it was not understood.
    pub row: Result<Record, Unreadable>,
    /// The source's own name for the row and the row's moment, where it may come upon the row again: the store hands back
    /// what was delivered.
    pub name: Option<(u64, i64)>,
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Entry")
    }
}

/// A row that was not understood.
#[derive(Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// What there was of it.
    pub bytes: Vec<u8>,
    /// Why.
    pub why: MalformedReason,
}
