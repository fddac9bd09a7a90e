//! Notices a wrong time zone: each uniqueid holds the UTC second at which its channel was made, and most rows start in
//! that very second.

use super::zone::Zone;

/// Zones differ by whole quarters of an hour.
const QUARTER: i64 = 900;
/// How many seconds a row may start after its channel and still count.
const NEAR: i64 = 5;
/// Fewer rows than this prove nothing.
const ENOUGH: u32 = 20;
/// Older rows lose weight when so many were counted: after a change of the zone the new times soon prevail.
const FULL: u32 = 400;
/// The widest offset of any zone, in quarters of an hour.
const WIDEST: i64 = 15 * 4;

/// Counts by how much rows are off.
#[derive(Clone, Debug, Default)]
pub struct ZoneCheck {
    right: u32,
    /// How often the wall clock was ahead of UTC by so many quarters of an hour where it should not have been.
    wrong: std::collections::BTreeMap<i64, u32>,
    seen: u64,
}

impl ZoneCheck {
    /// Whether to look at the next row. The first rows are looked at one and all, then one of sixteen.
    pub fn wants(&mut self) -> bool {
        self.seen += 1;
        self.seen < 64 || self.seen.is_multiple_of(16)
    }

    /// Looks at a row: its start on the wall clock, in UTC by the zone, and when its channel was made.
    pub fn note(&mut self, wall: i64, start: i64, created: i64) {
        if (0..=NEAR).contains(&(start - created)) {
            self.right += 1;
        } else {
            let ahead = wall - created;
            let quarters = ahead.div_euclid(QUARTER);
            // Other rows belong to channels that were up for a while before: they prove nothing.
            if ahead.rem_euclid(QUARTER) <= NEAR && quarters.abs() <= WIDEST {
                *self.wrong.entry(quarters).or_default() += 1;
            }
        }
        self.age();
    }

    /// Takes in what later rows said.
    pub fn add(&mut self, later: &Self) {
        self.right += later.right;
        for (&quarters, count) in &later.wrong {
            *self.wrong.entry(quarters).or_default() += count;
        }
        self.age();
    }

    fn age(&mut self) {
        while self.right + self.wrong.values().sum::<u32>() > FULL {
            self.right /= 2;
            self.wrong.retain(|_, count| {
                *count /= 2;
                *count > 0
            });
        }
    }

    /// What is wrong and what the owner can do, in words.
    pub fn trouble(&self, zone: &Zone) -> Option<String> {
        let total = self.right + self.wrong.values().sum::<u32>();
        let (&quarters, &count) = self.wrong.iter().max_by_key(|(_, count)| **count)?;
        if total < ENOUGH || count * 5 < total * 3 {
            return None;
        }
        let zone = zone.name();
        Some(if quarters == 0 {
            format!(
                "times in this file look like UTC, but they are read in the zone {zone}: set timezone = \"UTC\" for \
                 this source"
            )
        } else {
            let sign = if quarters < 0 { '-' } else { '+' };
            let minutes = quarters.abs() * 15;
            format!(
                "times in this file look like UTC{sign}{:02}:{:02}, but they are read in the zone {zone}: set timezone \
                 to the phone server's own zone, such as \"Europe/Berlin\", for this source",
                minutes / 60,
                minutes % 60
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(file_ahead: i64, zone_ahead: i64, rows: i64) -> ZoneCheck {
        let mut check = ZoneCheck::default();
        for row in 0..rows {
            let created = 1_795_310_000 + row * 37;
            let wall = created + file_ahead + row % 2;
            check.note(wall, wall - zone_ahead, created);
            // A leg of a channel that had been up for a while.
            check.note(wall + 400, wall + 400 - zone_ahead, created);
        }
        check
    }

    #[test]
    fn says_nothing_when_the_zone_is_right_or_little_is_known() {
        assert_eq!(check(3600, 3600, 1000).trouble(&Zone::utc()), None);
        assert_eq!(check(0, 3600, 10).trouble(&Zone::utc()), None);
        assert_eq!(ZoneCheck::default().trouble(&Zone::utc()), None);
    }

    #[test]
    fn names_the_zone_that_the_times_look_like() {
        let zone = Zone::load(Some("Europe/Berlin")).unwrap();
        expect_test::expect![[r#"times in this file look like UTC, but they are read in the zone Europe/Berlin: set timezone = "UTC" for this source"#]]
            .assert_eq(&check(0, 3600, 1000).trouble(&zone).unwrap());
        let kolkata = check(19_800, 0, 1000).trouble(&Zone::utc()).unwrap();
        assert!(kolkata.contains("look like UTC+05:30,"), "{kolkata}");
        let halifax = check(-4 * 3600, 0, 1000).trouble(&Zone::utc()).unwrap();
        assert!(halifax.contains("look like UTC-04:00,"), "{halifax}");
    }

    #[test]
    fn a_zone_that_was_mended_is_noticed() {
        let mut check = check(0, 3600, 1000);
        for row in 0..2000 {
            check.note(1_795_310_000 + row + 3600, 1_795_310_000 + row, 1_795_310_000 + row);
        }
        assert_eq!(check.trouble(&Zone::utc()), None);
    }
}
