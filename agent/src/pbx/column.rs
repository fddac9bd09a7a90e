//! One column of a plain record: its text, or the number in it.

/// A column of a record, looked for once it is asked for. The record is plain: each text stands in it as it is, between two quotes
/// or without any.
#[derive(Clone, Copy)]
pub struct Column<'a> {
    /// What holds the record.
    pub(super) buffer: &'a [u8],
    /// Where the columns of the record end.
    pub(super) ends: &'a [u16],
    /// Which of them it is; never the first.
    pub(super) number: usize,
}

impl<'a> Column<'a> {
    #[inline(always)]
    fn place(self) -> (usize, usize) {
        (self.ends[self.number - 1] as usize + 1, self.ends[self.number] as usize)
    }

    /// The column exactly as it stands in the record, with its quotes.
    #[inline(always)]
    pub(super) fn raw(self) -> &'a [u8] {
        let (start, end) = self.place();
        &self.buffer[start..end]
    }

    /// The text as it stands in the record.
    #[inline(always)]
    pub fn text(self) -> &'a [u8] {
        // In a plain column, where there is one quote there are two.
        match self.raw() {
            [b'"', inner @ .., _] => inner,
            raw => raw,
        }
    }

    /// The number in a column of one to eight digits and nothing else; none where it is written in another way.
    #[inline(always)]
    pub(super) fn short_number(self) -> Option<u32> {
        let (start, end) = self.place();
        let last = self.buffer[..end].last_chunk::<8>()?;
        let blank = 64_u32.wrapping_sub(8 * end.wrapping_sub(start) as u32);
        if blank < 64 { eight_digits(u64::from_le_bytes(*last), blank) } else { None }
    }
}

impl AsRef<[u8]> for Column<'_> {
    #[inline(always)]
    fn as_ref(&self) -> &[u8] {
        self.text()
    }
}

/// The number that eight bytes, the first of them the lowest of the word, are the digits of; the lowest `blank` bits count as
/// zeros.
#[inline(always)]
pub(crate) fn eight_digits(text: u64, blank: u32) -> Option<u32> {
    const ZEROS: u64 = 0x3030_3030_3030_3030;
    // Makes the highest bit of a byte appear where there is more than a nine.
    const TOO_MUCH: u64 = 0x7676_7676_7676_7676;
    let digits = (text ^ ZEROS) >> blank << blank;
    if (digits.wrapping_add(TOO_MUCH) | digits) & 0x8080_8080_8080_8080 != 0 {
        return None;
    }
    // Pairs in every other byte, then all four of them weighed at once.
    let pairs = (digits * 10).wrapping_add(digits >> 8);
    let left = (pairs & 0x0000_00ff_0000_00ff).wrapping_mul(100 + (1_000_000 << 32));
    let right = (pairs >> 16 & 0x0000_00ff_0000_00ff).wrapping_mul(1 + (10_000 << 32));
    Some((left.wrapping_add(right) >> 32) as u32)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_short_number_is_its_digits(before in "[0-9,]{0,9}", text in "[0-9/:a ]{0,2}[0-9]{0,8}") {
            let record = format!(",{before},{text}").into_bytes();
            let commas = (0..record.len()).filter(|&at| record[at] == b',');
            let ends: Vec<u16> = commas.chain([record.len()]).map(|end| end as u16).collect();
            let column = Column { buffer: &record, ends: &ends, number: ends.len() - 1 };
            prop_assert_eq!(column.raw(), text.as_bytes());
            let found = column.short_number();
            let is_short = (1..=8).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
            // At the buffer's start there are no eight bytes to be looked at.
            prop_assert!(!is_short || found.is_some() || record.len() < 8);
            prop_assert!(is_short || found.is_none());
            prop_assert!(found.is_none_or(|number| Ok(number) == text.parse()));
        }
    }
}
