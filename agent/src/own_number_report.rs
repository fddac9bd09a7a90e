//! Numbers of the customer's that nobody dials any more.

use crate::{
    call::QUARTER,
    private::OwnNumber,
    store::{OwnNumberUse, Store, StoreError},
};

/// A number that nobody has dialled for so many days is called dead.
pub const DEAD_AFTER_DAYS: i64 = 90;

/// The own numbers, by whether anybody dials them.
#[derive(Clone, Debug, Default)]
pub struct OwnNumberReport {
    /// Those that nobody has dialled for [`DEAD_AFTER_DAYS`] days, and when each was last.
    pub dead: Vec<(OwnNumber, i64)>,
    /// Those that somebody has.
    pub alive: Vec<(OwnNumber, i64)>,
    /// When the last call came in whose records do not tell what was dialled.
    pub unknown: Option<i64>,
    /// When the first call came in of which anything is known here.
    pub since: Option<i64>,
    /// The moment that days are counted back from: now, or the newest call record.
    pub at: i64,
}

impl Store {
    /// The own numbers, by whether anybody has dialled them in the time before the newest call record; `now` is in seconds since
    /// 1970 in UTC.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn own_number_report(&self, now: i64) -> Result<OwnNumberReport, StoreError> {
        // Where no call records come any more, it is not the numbers that are dead.
        let newest = self.newest_quarter()?.map_or(now, |quarter| (quarter + 1).saturating_mul(QUARTER));
        Ok(OwnNumberReport::of(self.own_numbers()?, now.min(newest)))
    }
}

impl OwnNumberReport {
    fn of(uses: Vec<OwnNumberUse>, at: i64) -> Self {
        let mut report = Self { at, since: uses.iter().map(|one| one.first_call).min(), ..Self::default() };
        let oldest = at.saturating_sub(DEAD_AFTER_DAYS * 86_400);
        for OwnNumberUse { number, last_call, .. } in uses {
            match number {
                None => report.unknown = Some(last_call),
                Some(number) if last_call < oldest => report.dead.push((number, last_call)),
                Some(number) => report.alive.push((number, last_call)),
            }
        }
        report
    }

    /// Whether calls are known for long enough to call a number dead.
    pub fn is_old_enough(&self) -> bool {
        self.since.is_some_and(|since| self.at.saturating_sub(since) >= DEAD_AFTER_DAYS * 86_400)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dialled(number: Option<&str>, first_call: i64, last_call: i64) -> OwnNumberUse {
        OwnNumberUse { number: number.map(OwnNumber::new), first_call, last_call }
    }

    #[test]
    fn a_number_is_dead_after_ninety_days() {
        let day = 86_400;
        let at = 200 * day;
        let uses = vec![
            dialled(Some("5551000"), 0, 100 * day),
            dialled(Some("5551001"), 0, 110 * day),
            dialled(None, day, 199 * day),
        ];
        let report = OwnNumberReport::of(uses, at);
        assert_eq!(report.dead, [(OwnNumber::new("5551000"), 100 * day)]);
        assert_eq!(report.alive, [(OwnNumber::new("5551001"), 110 * day)]);
        assert_eq!((report.unknown, report.since, report.is_old_enough()), (Some(199 * day), Some(0), true));
    }

    #[test]
    fn a_site_that_is_known_for_a_month_has_no_dead_numbers() {
        let report = OwnNumberReport::of(vec![dialled(Some("5551000"), 0, 0)], 30 * 86_400);
        assert!(report.dead.is_empty() && !report.is_old_enough());
    }
}
