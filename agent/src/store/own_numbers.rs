//! The numbers by which callers reach the phone system, and when each was dialled last.

use rusqlite::Transaction;
use rustc_hash::FxHashMap;

use super::{Store, StoreError, error::Fault};
use crate::{
    call::{CallRules, Ids},
    pbx::Leg,
    private::OwnNumber,
};

/// No more numbers are kept: what is dialled comes from outside.
const MAX_NUMBERS: i64 = 20_000;
/// A number has so many digits. What is shorter is an extension or a ring group to which the PBX led the call.
const DIGITS: std::ops::RangeInclusive<usize> = 6..=15;
/// Stands for all calls whose records do not tell which number was dialled.
const UNKNOWN: &str = "";

/// When numbers were dialled: first, and last.
#[derive(Default)]
pub(super) struct OwnNumbers(FxHashMap<Box<str>, (i64, i64)>);

/// When a number was dialled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnNumberUse {
    /// The number; none for all calls whose records do not tell it.
    pub number: Option<OwnNumber>,
    /// When it was dialled first, as far as is known: seconds since 1970 in UTC.
    pub first_call: i64,
    /// When it was dialled last.
    pub last_call: i64,
}

impl OwnNumbers {
    /// Takes in a leg: the first one of a call from outside tells what was dialled, unless the PBX has led the call elsewhere by
    /// then.
    pub(super) fn note(&mut self, leg: &Leg<'_>, rules: &CallRules) {
        if !rules.is_on_trunk(&leg.channel) || !Ids::of(leg).begins {
            return;
        }
        let number = as_number(&leg.dst).unwrap_or(UNKNOWN);
        match self.0.get_mut(number) {
            Some((first, last)) => (*first, *last) = ((*first).min(leg.start), (*last).max(leg.start)),
            None => _ = self.0.insert(number.into(), (leg.start, leg.start)),
        }
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    pub(super) fn write(&self, transaction: &Transaction<'_>) -> Result<(), Fault> {
        let mut note = transaction.prepare_cached(
            "INSERT INTO own_number (number, first_call, last_call) SELECT ?1, ?2, ?3
             WHERE ?1 IN (SELECT number FROM own_number) OR (SELECT count(*) FROM own_number) < ?4
             ON CONFLICT DO UPDATE SET first_call = min(first_call, excluded.first_call),
                 last_call = max(last_call, excluded.last_call)",
        )?;
        for (number, (first, last)) in &self.0 {
            note.execute((number, first, last, MAX_NUMBERS))?;
        }
        Ok(())
    }
}

fn as_number(dialled: &[u8]) -> Option<&str> {
    let digits = dialled.strip_prefix(b"+").unwrap_or(dialled);
    let is_number = DIGITS.contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit);
    is_number.then(|| str::from_utf8(dialled).ok()).flatten()
}

impl Store {
    /// The numbers that callers have dialled, those first that nobody has dialled for the longest time.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn own_numbers(&self) -> Result<Vec<OwnNumberUse>, StoreError> {
        self.connection
            .prepare_cached("SELECT number, first_call, last_call FROM own_number ORDER BY last_call, number")
            .and_then(|mut statement| {
                statement
                    .query_map([], |row| {
                        let number: String = row.get(0)?;
                        let number = (number != UNKNOWN).then(|| OwnNumber::new(number));
                        Ok(OwnNumberUse { number, first_call: row.get(1)?, last_call: row.get(2)? })
                    })?
                    .collect()
            })
            .map_err(|error| self.fault(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_number_is_unknown() {
        assert_eq!(as_number(b"+4930123456"), Some("+4930123456"));
        assert_eq!(as_number(b"5551234"), Some("5551234"));
        for dialled in ["", "s", "h", "600", "PJSIP_1001", "12345", "1234567890123456", "12 3456", "+"] {
            assert_eq!(as_number(dialled.as_bytes()), None, "{dialled}");
        }
    }
}
