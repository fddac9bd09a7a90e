//! One row of call records, understood: a leg of a call.

use std::{borrow::Cow, fmt};

use super::{column::Column, queue_log::QueueRow};

/// A leg of a call, borrowed from the buffer that it was read into.
///
/// It is private by nature: `Debug` prints no values, and there is no `Serialize`.
#[derive(Clone, PartialEq, Eq)]
pub struct Leg<'a, T = Cow<'a, [u8]>> {
    /// The channel's own id as the file has it; absent in the layouts without it. It is not unique.
    pub uniqueid: Option<&'a [u8]>,
    /// The id that all legs of a call share; absent in the layouts without it.
    pub linkedid: Option<&'a [u8]>,
    /// Number of the record; unique together with `uniqueid`. Absent in the layouts without it.
    pub sequence: Option<u64>,
    /// The calling channel, such as `PJSIP/provider1-0000002a`.
    pub channel: T,
    /// The called channel; empty when nothing outside the PBX's own applications was rung.
    pub dstchannel: T,
    /// The application that ran last.
    pub lastapp: T,
    /// Its arguments.
    pub lastdata: T,
    /// The caller's number.
    pub src: T,
    /// The number or extension that was dialled.
    pub dst: T,
    /// When the leg began: seconds since 1970 in UTC.
    pub start: i64,
    /// When it was answered: seconds since 1970 in UTC.
    pub answer: Option<i64>,
    /// When it ended: seconds since 1970 in UTC.
    pub end: i64,
    /// What became of it.
    pub disposition: Disposition,
}

/// A leg all of whose texts stand in the buffer as they are, as nearly all do. A text is looked for once it is asked for.
pub type PlainLeg<'a> = Leg<'a, Column<'a>>;

impl<T> fmt::Debug for Leg<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Leg")
    }
}

impl<'a> From<PlainLeg<'a>> for Leg<'a> {
    fn from(leg: PlainLeg<'a>) -> Self {
        Self {
            uniqueid: leg.uniqueid,
            linkedid: leg.linkedid,
            sequence: leg.sequence,
            channel: Cow::Borrowed(leg.channel.text()),
            dstchannel: Cow::Borrowed(leg.dstchannel.text()),
            lastapp: Cow::Borrowed(leg.lastapp.text()),
            lastdata: Cow::Borrowed(leg.lastdata.text()),
            src: Cow::Borrowed(leg.src.text()),
            dst: Cow::Borrowed(leg.dst.text()),
            start: leg.start,
            answer: leg.answer,
            end: leg.end,
            disposition: leg.disposition,
        }
    }
}

/// What became of a leg, in the words of Asterisk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Disposition {
    /// `ANSWERED`: by anything, a menu too.
    Answered,
    /// `NO ANSWER`.
    NoAnswer,
    /// `BUSY`.
    Busy,
    /// `FAILED`.
    Failed,
    /// `CONGESTION`: failed for want of a free line, where the PBX is set to tell the two apart.
    Congestion,
    /// `CANCEL`: the caller hung up first; newer versions tell it apart from `NO ANSWER`.
    Cancel,
}

impl Disposition {
    /// Reads the word that Asterisk writes. `UNKNOWN` and anything else is none of them.
    #[inline(always)]
    pub fn parse(word: &[u8]) -> Option<Self> {
        Some(match word {
            b"ANSWERED" => Self::Answered,
            b"NO ANSWER" => Self::NoAnswer,
            b"BUSY" => Self::Busy,
            b"FAILED" => Self::Failed,
            b"CONGESTION" => Self::Congestion,
            b"CANCEL" => Self::Cancel,
            _ => return None,
        })
    }
}

/// What a source delivers.
#[derive(Clone, PartialEq, Eq)]
pub enum Row<'a> {
    /// A row that was understood.
    Leg(Leg<'a>),
    /// A row of a queue log that was understood.
    Queue(QueueRow<'a>),
    /// The second writing of the row before: Asterisk writes every row of the account code `Master` twice into
    /// `Master.csv`. It counts as a duplicate and as nothing else.
    Repeat,
    /// Bytes that were passed over.
    Malformed {
        /// Exactly as they stand in the file.
        bytes: &'a [u8],
        /// Why they were not understood.
        why: MalformedReason,
    },
}

/// Takes rows in, one after the other.
pub trait Sink {
    /// Takes in a row of whatever kind.
    fn row(&mut self, row: Row<'_>);

    /// Takes in a leg of the plain shape: whoever reads many of them is spared the general one.
    #[inline(always)]
    fn plain(&mut self, leg: PlainLeg<'_>) {
        self.row(Row::Leg(leg.into()));
    }
}

impl<F: FnMut(Row<'_>)> Sink for F {
    #[inline(always)]
    fn row(&mut self, row: Row<'_>) {
        self(row);
    }
}

impl fmt::Debug for Row<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Leg(_) => f.write_str("Row::Leg"),
            Self::Queue(_) => f.write_str("Row::Queue"),
            Self::Repeat => f.write_str("Row::Repeat"),
            Self::Malformed { why, .. } => write!(f, "Row::Malformed({why:?})"),
        }
    }
}

/// Why a row was not understood. The reasons never hold anything of the row itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MalformedReason {
    /// No layout of `cdr_csv` has that many columns.
    Columns,
    /// Quotes stand where none may stand, or a quoted column never ends.
    Quoting,
    /// It can be taken apart in more than one way.
    Ambiguous,
    /// A start, answer or end that is no time.
    Time,
    /// A duration, billed duration or sequence that is no number.
    Number,
    /// A disposition that is none of Asterisk's.
    Disposition,
    /// Longer than any record that Asterisk can write.
    TooLong,
    /// The file ended in the middle of the row.
    Torn,
}

impl MalformedReason {
    /// Every reason.
    pub const ALL: [Self; 8] = [
        Self::Columns,
        Self::Quoting,
        Self::Ambiguous,
        Self::Time,
        Self::Number,
        Self::Disposition,
        Self::TooLong,
        Self::Torn,
    ];

    /// A short fixed name, for the quarantine and for `status`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Columns => "columns",
            Self::Quoting => "quoting",
            Self::Ambiguous => "ambiguous",
            Self::Time => "time",
            Self::Number => "number",
            Self::Disposition => "disposition",
            Self::TooLong => "too-long",
            Self::Torn => "torn",
        }
    }
}

impl fmt::Display for MalformedReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_prints_no_values() {
        let leg: Leg<'_> = Leg {
            uniqueid: Some(b"1795310338.18"),
            linkedid: None,
            sequence: None,
            channel: Cow::Borrowed(b"PJSIP/1003-00000012"),
            dstchannel: Cow::Borrowed(b""),
            lastapp: Cow::Borrowed(b"Dial"),
            lastdata: Cow::Borrowed(b""),
            src: Cow::Borrowed(b"1003"),
            dst: Cow::Borrowed(b"8447700900103"),
            start: 1,
            answer: None,
            end: 2,
            disposition: Disposition::Failed,
        };
        assert_eq!(format!("{leg:?}"), "Leg");
        assert_eq!(format!("{:?}", Row::Leg(leg)), "Row::Leg");
        let row = Row::Malformed { bytes: b"1003", why: MalformedReason::Time };
        assert_eq!(format!("{row:?}"), "Row::Malformed(Time)");
    }
}
