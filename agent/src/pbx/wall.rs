//! Times as Asterisk writes them, `2026-11-22 01:00:41`: a reading of a wall clock, without a zone.

/// Reads such times; remembers the last date, since the next row mostly has the same.
#[derive(Clone, Debug)]
pub struct DateCache {
    /// The date and the blank behind it, as two words that overlap.
    date: [u64; 2],
    seconds: i64,
}

impl Default for DateCache {
    fn default() -> Self {
        // No text is both, where they overlap.
        Self { date: [0, u64::MAX], seconds: 0 }
    }
}

impl DateCache {
    /// The time in seconds since 1970 as if the wall clock ran on UTC; absent where the text is no such time.
    pub fn parse(&mut self, text: &[u8]) -> Option<i64> {
        self.parse_whole(text.try_into().ok()?)
    }

    /// The same of a text of the right length.
    #[inline(always)]
    pub fn parse_whole(&mut self, text: &[u8; 19]) -> Option<i64> {
        let word = |at: usize| text[at..].first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        let date = [word(0), word(3)];
        if date != self.date {
            self.turn_to(date, text)?;
        }
        clock_time(word(11)).map(|time| self.seconds + time)
    }

    #[cold]
    fn turn_to(&mut self, words: [u64; 2], text: &[u8; 19]) -> Option<()> {
        let (date, [b' ', ..]) = text.split_first_chunk::<10>()? else { return None };
        self.seconds = days(date)? * 86_400;
        self.date = words;
        Some(())
    }
}

/// The text of such a time, given in seconds since 1970 as if the wall clock ran on UTC.
pub fn text(seconds: i64) -> String {
    // What cannot be written as a date lies before or behind all of them.
    let time = jiff::Timestamp::from_second(seconds.clamp(0, 253_402_207_200)).unwrap_or_default();
    time.strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// The second of the day that `01:00:41` is, all eight bytes looked at at once, the first of them the lowest of the word.
#[inline(always)]
fn clock_time(text: u64) -> Option<i64> {
    const BLANK: u64 = u64::from_le_bytes(*b"00:00:00");
    const HIGH: u64 = 0x8080_8080_8080_8080;
    // What makes the highest bit of a byte appear: ten where a digit stands, one where a colon does.
    const TOO_MUCH: u64 = u64::from_le_bytes([0x76, 0x76, 0x7f, 0x76, 0x76, 0x7f, 0x76, 0x76]);
    const NUMBERS: u64 = u64::from_le_bytes([0xff, 0, 0, 0xff, 0, 0, 0xff, 0]);
    // What makes it appear where an hour is 24, a minute 60, or a second 61: a clock that knows leap seconds shows a 60.
    const TOO_LATE: u64 = u64::from_le_bytes([0x80 - 24, 0, 0, 0x80 - 60, 0, 0, 0x80 - 61, 0]);
    let digits = text ^ BLANK;
    // In every byte ten times its digit, and the digit behind it.
    let numbers = (digits.wrapping_mul(10).wrapping_add(digits >> 8)) & NUMBERS;
    if (digits.wrapping_add(TOO_MUCH) | digits | numbers.wrapping_add(TOO_LATE)) & HIGH != 0 {
        return None;
    }
    let number = |place: u32| (numbers >> (8 * place) & 0xff) as i64;
    Some((number(0) * 60 + number(3)) * 60 + number(6))
}

/// Days since 1970 of `2026-11-22`.
fn days(date: &[u8; 10]) -> Option<i64> {
    let &[y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = date else { return None };
    let (year, month, day) = (pair(y1, y2)? * 100 + pair(y3, y4)?, pair(m1, m2)?, pair(d1, d2)?);
    // Beyond 9998, a zone could push the time out of what can be reckoned with.
    if !(1970..=9998).contains(&year) {
        return None;
    }
    let date = jiff::civil::Date::new(i16::try_from(year).ok()?, month as i8, day as i8).ok()?;
    Some(i64::from((date - jiff::civil::date(1970, 1, 1)).get_days()))
}

fn pair(tens: u8, ones: u8) -> Option<i64> {
    (tens.is_ascii_digit() && ones.is_ascii_digit()).then(|| i64::from(tens - b'0') * 10 + i64::from(ones - b'0'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_what_asterisk_writes() {
        let mut dates = DateCache::default();
        assert_eq!(dates.parse(b"1970-01-01 00:00:01"), Some(1));
        assert_eq!(dates.parse(b"2026-11-22 01:01:35"), Some(1_795_309_295));
        assert_eq!(dates.parse(b"2026-11-22 23:59:60"), Some(1_795_392_000));
    }

    #[test]
    fn refuses_what_is_no_time() {
        let mut dates = DateCache::default();
        for text in [
            "",
            "2026-11-22",
            "2026-11-22 24:00:00",
            "2026-11-22 00:60:00",
            "2026-11-22T00:00:00",
            "2026-02-29 00:00:00",
            "2026-13-01 00:00:00",
            "2026-00-01 00:00:00",
            "0000-00-00 00:00:00",
            "1969-12-31 00:00:00",
            "2026-11-22 0a:00:00",
            " 026-11-22 00:00:00",
            "\0\0\0\0\0\0\0\0\0\0 00:00:00",
            "\0\0\0\0\0\0\0\0\0\0\x0000:00:00",
        ] {
            assert_eq!(dates.parse(text.as_bytes()), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_clock_time_is_six_digits_and_two_colons(text in proptest::array::uniform8(
            prop_oneof![9 => b'0'..=b'9', 6 => Just(b':'), 1 => any::<u8>()]), clock in any::<bool>()) {
            let mut text = text;
            if clock {
                (text[2], text[5]) = (b':', b':');
            }
            let expected = match text {
                [h1, h2, b':', m1, m2, b':', s1, s2] => pair(h1, h2).zip(pair(m1, m2)).zip(pair(s1, s2)),
                _ => None,
            };
            let expected = expected.filter(|((hour, minute), second)| *hour < 24 && *minute < 60 && *second < 61);
            let seconds = expected.map(|((hour, minute), second)| hour * 3600 + minute * 60 + second);
            prop_assert_eq!(clock_time(u64::from_le_bytes(text)), seconds);
        }

        #[test]
        fn agrees_with_jiff(seconds in 0..4_102_444_800_i64, next in -200_000..200_000_i64) {
            let mut dates = DateCache::default();
            for seconds in [seconds, (seconds + next).max(0)] {
                let time = jiff::Timestamp::from_second(seconds).unwrap().to_zoned(jiff::tz::TimeZone::UTC);
                prop_assert_eq!(dates.parse(time.strftime("%Y-%m-%d %T").to_string().as_bytes()), Some(seconds));
                prop_assert_eq!(dates.parse(text(seconds).as_bytes()), Some(seconds));
            }
        }
    }
}
