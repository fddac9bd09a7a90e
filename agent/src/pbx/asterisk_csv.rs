//! The columns of Asterisk's `cdr_csv`, in every layout that it can write.
//!
//! One file can hold several layouts, since `cdr.conf` may change at any time: each row is read by its own width.

use std::borrow::Cow;

use memchr::memchr;

use super::{
    leg::{Disposition, MalformedReason},
    scanner::Fields,
    uniqueid,
    wall::DateCache,
};

/// The account code whose rows come twice.
pub const MASTER: &[u8] = b"Master";
/// The same as it stands in the file.
pub const QUOTED_MASTER: &[u8] = b"\"Master\"";

/// A row as it was written: texts freed of their quotes, times still on the PBX's wall clock.
pub struct Written<'a, T> {
    /// Whether the account code is `Master`: such rows come twice.
    pub is_master: bool,
    /// The caller's number.
    pub src: T,
    /// The number or extension that was dialled.
    pub dst: T,
    /// The calling channel.
    pub channel: T,
    /// The called channel.
    pub dstchannel: T,
    /// The application that ran last.
    pub lastapp: T,
    /// Its arguments.
    pub lastdata: T,
    /// Start, in seconds since 1970 as if the wall clock ran on UTC; so are the other two.
    pub start: i64,
    /// Answer.
    pub answer: Option<i64>,
    /// End.
    pub end: i64,
    /// Seconds from start to end, as Asterisk counted them.
    pub duration: i64,
    /// Seconds from answer to end, likewise.
    pub billed: i64,
    /// What became of the leg.
    pub disposition: Disposition,
    /// The channel's own id.
    pub uniqueid: Option<&'a [u8]>,
    /// The id that all legs of a call share.
    pub linkedid: Option<&'a [u8]>,
    /// Number of the record.
    pub sequence: Option<u64>,
}

/// Reads one record by its width.
pub fn read<'a>(fields: &Fields<'a>, dates: &mut DateCache) -> Result<Written<'a, Cow<'a, [u8]>>, MalformedReason> {
    let width = fields.count();
    if !(16..=21).contains(&width) {
        return Err(MalformedReason::Columns);
    }
    let raw = |column| fields.raw(column);
    let text = |column| unquote(raw(column));

    let start = time(raw(9), dates)?;
    let answer = if is_empty(raw(10)) { None } else { Some(time(raw(10), dates)?) };
    let end = time(raw(11), dates)?;
    let duration = number(raw(12))?;
    let billed = number(raw(13))?;
    let disposition = Disposition::parse(bare(raw(14))?).ok_or(MalformedReason::Disposition)?;

    // After the sixteen come uniqueid and userfield, each by its own setting, then the three new columns together.
    let (ids, new) = if width >= 19 { (width - 19, Some(width - 3)) } else { (width - 16, None) };
    let uniqueid = match ids {
        0 => None,
        1 => Some(bare(raw(16))?).filter(|value| uniqueid::is_one(value, start)),
        _ => Some(bare(raw(16))?),
    };
    let (linkedid, sequence) = match new {
        Some(peeraccount) => {
            let sequence = u64::try_from(number(raw(peeraccount + 2))?).map_err(|_| MalformedReason::Number)?;
            (Some(bare(raw(peeraccount + 1))?), Some(sequence))
        }
        None => (None, None),
    };
    Ok(Written {
        is_master: *text(0)? == *MASTER,
        src: text(1)?,
        dst: text(2)?,
        channel: text(5)?,
        dstchannel: text(6)?,
        lastapp: text(7)?,
        lastdata: text(8)?,
        start,
        answer,
        end,
        duration,
        billed,
        disposition,
        uniqueid: uniqueid.filter(|value| !value.is_empty()),
        linkedid: linkedid.filter(|value| !value.is_empty()),
        sequence,
    })
}

fn time(raw: &[u8], dates: &mut DateCache) -> Result<i64, MalformedReason> {
    dates.parse(bare(raw)?).ok_or(MalformedReason::Time)
}

/// Whether a record is one that can be read.
pub fn examine(fields: &Fields<'_>, dates: &mut DateCache) -> Result<(), MalformedReason> {
    read(fields, dates).map(drop)
}

/// Whether a row is written as Asterisk writes it: texts and times quoted. Text inside a quoted column can never look
/// so, since its quotes are doubled; that makes such a row a safe place to begin again after a torn one.
pub fn is_strict(fields: &Fields<'_>) -> bool {
    (0..=9).chain([11]).all(|column| fields.raw(column).first() == Some(&b'"')) && is_well_formed(fields)
}

/// Whether the quotes are in order in every column, those that nobody reads too.
pub fn is_well_formed(fields: &Fields<'_>) -> bool {
    (0..fields.count()).all(|column| unquote(fields.raw(column)).is_ok())
}

/// The text of a column: its quotes taken off, doubled quotes made single.
pub fn unquote(raw: &[u8]) -> Result<Cow<'_, [u8]>, MalformedReason> {
    let inner = bare(raw)?;
    let Some(first) = memchr(b'"', inner) else { return Ok(Cow::Borrowed(inner)) };
    if inner.len() == raw.len() {
        return Err(MalformedReason::Quoting);
    }
    let mut text = Vec::with_capacity(inner.len());
    let mut rest = inner;
    let mut quote = Some(first);
    while let Some(at) = quote {
        if rest.get(at + 1) != Some(&b'"') {
            return Err(MalformedReason::Quoting);
        }
        text.extend_from_slice(&rest[..=at]);
        rest = &rest[at + 2..];
        quote = memchr(b'"', rest);
    }
    text.extend_from_slice(rest);
    Ok(Cow::Owned(text))
}

/// What stands between a column's quotes, or the column itself where it has none.
fn bare(raw: &[u8]) -> Result<&[u8], MalformedReason> {
    match raw {
        [b'"', inner @ .., b'"'] => Ok(inner),
        [b'"', ..] => Err(MalformedReason::Quoting),
        _ => Ok(raw),
    }
}

fn is_empty(raw: &[u8]) -> bool {
    raw.is_empty() || raw == b"\"\""
}

fn number(raw: &[u8]) -> Result<i64, MalformedReason> {
    let text = bare(raw)?;
    let (negative, digits) = match text {
        // A clock that was set back makes durations negative.
        [b'-', digits @ ..] => (true, digits),
        _ => (false, text),
    };
    if digits.is_empty() || digits.len() > 18 {
        return Err(MalformedReason::Number);
    }
    let (mut value, mut worst) = (0_i64, 0);
    for &byte in digits {
        let digit = byte.wrapping_sub(b'0');
        worst = worst.max(digit);
        // What is no digit may be worth more than nine; then the sum is not used.
        value = value.wrapping_mul(10).wrapping_add(i64::from(digit));
    }
    if worst > 9 {
        return Err(MalformedReason::Number);
    }
    Ok(if negative { -value } else { value })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A finding of the fuzzer: the sum of what is no digit left 64 bits before it was seen that it is none.
    #[test]
    fn a_number_is_made_of_digits_that_fit() {
        assert_eq!(number(b"\"-12\""), Ok(-12));
        assert_eq!(number(b"999999999999999999"), Ok(999_999_999_999_999_999));
        for nonsense in [&[b'/'; 18][..], &[0xff; 18], &[b'9'; 19], b"", b"-", b"1.5"] {
            assert_eq!(number(nonsense), Err(MalformedReason::Number), "{nonsense:?}");
        }
    }
}
