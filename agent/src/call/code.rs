//! A call as the few bytes in which the store keeps it.

use std::num::NonZeroU64;

use super::{Call, NameId, Pick, Rank, rows::Rows, spans::Spans};

/// The first byte of every form; a later form gets the next number.
const FORM: u8 = 1;

/// The bytes are no call.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("these bytes are no call")]
pub struct NotACall;

impl Call {
    /// The call as bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Writer(Vec::with_capacity(96));
        out.0.push(FORM);
        out.signed(self.start);
        out.since(self.start, self.end);
        out.optional(self.person, |out, person| out.since(self.start, person));
        out.number(self.talk.iter().len() as u64);
        for (from, to) in self.talk.iter() {
            out.since(self.start, from);
            out.since(from, to);
        }
        out.number(self.rows.len());
        for row in self.rows.iter() {
            out.0.extend_from_slice(&row.get().to_le_bytes());
        }
        out.number(u64::from(self.nameless_rows));
        out.number(u64::from(self.saw));
        out.pick(&self.first);
        for pick in [self.out, self.queue, self.rung] {
            out.optional(pick, |out, pick| out.pick(&pick));
        }
        out.0
    }

    /// The call that those bytes are.
    ///
    /// # Errors
    /// When they are none.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, NotACall> {
        let mut input = Reader(bytes);
        if input.byte()? != FORM {
            return Err(NotACall);
        }
        let start = input.signed()?;
        let end = input.since(start)?;
        let person = input.optional(|input| input.since(start))?;
        let mut talk = Spans::default();
        for _ in 0..input.number()? {
            let from = input.since(start)?;
            talk.add(from, input.since(from)?);
        }
        let mut rows = Rows::default();
        for _ in 0..input.number()? {
            rows.add(NonZeroU64::new(input.eight()?).ok_or(NotACall)?);
        }
        let call = Self {
            start,
            end,
            person,
            talk,
            rows,
            nameless_rows: input.number()?.try_into().map_err(|_| NotACall)?,
            saw: input.number()?.try_into().map_err(|_| NotACall)?,
            first: input.pick()?,
            out: input.optional(Reader::pick)?,
            queue: input.optional(Reader::pick)?,
            rung: input.optional(Reader::pick)?,
        };
        if input.0.is_empty() { Ok(call) } else { Err(NotACall) }
    }
}

struct Writer(Vec<u8>);

impl Writer {
    /// Seven bits a byte, the lowest first; the high bit says that more follow.
    fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }

    /// Small numbers of either sign take few bytes.
    fn signed(&mut self, number: i64) {
        self.number(((number << 1) ^ (number >> 63)) as u64);
    }

    fn since(&mut self, origin: i64, moment: i64) {
        self.signed(moment.wrapping_sub(origin));
    }

    fn optional<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Self, T)) {
        self.0.push(u8::from(value.is_some()));
        if let Some(value) = value {
            write(self, value);
        }
    }

    fn pick(&mut self, pick: &Pick) {
        self.0.push(pick.rank as u8);
        self.signed(pick.time);
        self.number(u64::from(pick.sequence));
        self.0.extend_from_slice(&pick.name.0.to_le_bytes());
        self.0.push(pick.detail);
    }
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn byte(&mut self) -> Result<u8, NotACall> {
        let (&byte, rest) = self.0.split_first().ok_or(NotACall)?;
        self.0 = rest;
        Ok(byte)
    }

    fn eight(&mut self) -> Result<u64, NotACall> {
        let (bytes, rest) = self.0.split_first_chunk().ok_or(NotACall)?;
        self.0 = rest;
        Ok(u64::from_le_bytes(*bytes))
    }

    fn number(&mut self) -> Result<u64, NotACall> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(NotACall)
    }

    fn signed(&mut self) -> Result<i64, NotACall> {
        let number = self.number()?;
        Ok((number >> 1) as i64 ^ -((number & 1) as i64))
    }

    fn since(&mut self, origin: i64) -> Result<i64, NotACall> {
        Ok(origin.wrapping_add(self.signed()?))
    }

    fn optional<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T, NotACall>) -> Result<Option<T>, NotACall> {
        match self.byte()? {
            0 => Ok(None),
            1 => read(self).map(Some),
            _ => Err(NotACall),
        }
    }

    fn pick(&mut self) -> Result<Pick, NotACall> {
        Ok(Pick {
            rank: match self.byte()? {
                0 => Rank::Best,
                1 => Rank::Other,
                _ => return Err(NotACall),
            },
            time: self.signed()?,
            sequence: self.number()?.try_into().map_err(|_| NotACall)?,
            name: NameId(self.eight()?),
            detail: self.byte()?,
        })
    }
}
