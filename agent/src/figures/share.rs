//! A part of a whole, with the number that it rests on.

/// A part of a whole, or a sum for each of a number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Share {
    /// What is shared out.
    pub part: i64,
    /// Among how many.
    pub n: i64,
}

impl Share {
    /// What it comes to; nothing among none.
    pub fn value(self) -> Option<f64> {
        (self.n > 0).then(|| self.part as f64 / self.n as f64)
    }

    /// Where the share behind the part lies with a confidence of 95 % (Wilson 1927): from, to.
    pub fn interval(self) -> Option<(f64, f64)> {
        const Z: f64 = 1.959_964;
        let share = self.value()?;
        let n = self.n as f64;
        let spread = Z * (share * (1.0 - share) / n + Z * Z / (4.0 * n * n)).sqrt();
        let (middle, scale) = (share + Z * Z / (2.0 * n), 1.0 + Z * Z / n);
        Some((((middle - spread) / scale).max(0.0), ((middle + spread) / scale).min(1.0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_is_as_the_textbook_has_it() {
        let (from, to) = Share { part: 81, n: 263 }.interval().unwrap();
        assert!((from - 0.2553).abs() < 5e-4 && (to - 0.3662).abs() < 5e-4, "{from} {to}");
        let (from, to) = Share { part: 0, n: 10 }.interval().unwrap();
        assert!(from == 0.0 && (to - 0.2775).abs() < 5e-4, "{to}");
        assert_eq!(Share { part: 0, n: 0 }.interval(), None);
    }
}
