//! Axes with round numbers.

/// The ends of the steps of an axis from zero to at least that much: whole numbers, about four steps.
pub(super) fn steps(most: i64) -> Vec<i64> {
    let most = most.max(1);
    let rough = (most as f64 / 4.0).max(1.0);
    let power = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|factor| factor * power).find(|step| *step >= rough);
    let step = step.unwrap_or(rough).max(1.0) as i64;
    (0..=(most + step - 1) / step).map(|number| number * step).collect()
}

/// A number with narrow spaces between its thousands.
pub(crate) fn grouped(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3 + 1);
    if number < 0 {
        text.push('\u{2212}');
    }
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_are_round_and_reach_far_enough() {
        assert_eq!(steps(0), [0, 1]);
        assert_eq!(steps(1), [0, 1]);
        assert_eq!(steps(4), [0, 1, 2, 3, 4]);
        assert_eq!(steps(37), [0, 10, 20, 30, 40]);
        assert_eq!(steps(1000), [0, 500, 1000]);
        for most in [3, 7, 99, 101, 12_345, 1_000_000] {
            let steps = steps(most);
            assert!(*steps.last().unwrap() >= most && steps.len() <= 6, "{most}: {steps:?}");
        }
    }

    #[test]
    fn thousands_are_kept_apart() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(1_234_567), "1\u{202f}234\u{202f}567");
        assert_eq!(grouped(-1000), "\u{2212}1\u{202f}000");
    }
}
