//! Whether a share has changed from one time to another by more than chance.

use super::Share;

/// Fewer on either side say nothing.
const LEAST: i64 = 30;
/// The error function's complement, for |z| / sqrt 2: Abramowitz and Stegun 7.1.26, good to seven digits.
fn beyond(z: f64) -> f64 {
    let x = z.abs() / std::f64::consts::SQRT_2;
    let t = 1.0 / (1.0 + 0.327_591_1 * x);
    let sum = [1.061_405_429, -1.453_152_027, 1.421_413_741, -0.284_496_736, 0.254_829_592]
        .into_iter()
        .fold(0.0, |sum, factor| (sum + factor) * t);
    sum * (-x * x).exp()
}

/// A share before and after a moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Change {
    /// Before.
    pub before: Share,
    /// After.
    pub after: Share,
    /// The chance that two samples of one and the same share differ by as much: two-sided, pooled.
    pub chance: f64,
}

impl Change {
    /// Compares two shares (two-proportion z test); none where one rests on too little.
    pub fn of(before: Share, after: Share) -> Option<Self> {
        if before.n < LEAST || after.n < LEAST {
            return None;
        }
        let (first, second) = (before.value()?, after.value()?);
        let pooled = (before.part + after.part) as f64 / (before.n + after.n) as f64;
        let error = (pooled * (1.0 - pooled) * (1.0 / before.n as f64 + 1.0 / after.n as f64)).sqrt();
        let chance = if error > 0.0 { beyond((second - first) / error) } else { 1.0 };
        Some(Self { before, after, chance })
    }

    /// Whether it is more than chance: less than 1 in 100.
    pub fn is_real(&self) -> bool {
        self.chance < 0.01
    }
}

/// The chance of `count` or more where `mean` is usual (Poisson).
pub fn chance_of_as_many(count: u32, mean: f64) -> f64 {
    if count == 0 {
        return 1.0;
    }
    if mean <= 0.0 {
        return 0.0;
    }
    let chance_of = |number: u32| ((1..=number).map(|one| (mean / f64::from(one)).ln()).sum::<f64>() - mean).exp();
    if f64::from(count) <= mean {
        let fewer: f64 = (0..count).map(chance_of).sum();
        return (1.0 - fewer).max(0.0);
    }
    // Beyond the mean each term is smaller than the one before; 1 minus the others would lose all digits.
    let (mut sum, mut term) = (0.0, chance_of(count));
    for number in count..u32::MAX {
        sum += term;
        term *= mean / f64::from(number + 1);
        if term <= sum * 1e-12 {
            break;
        }
    }
    sum.min(1.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_change_is_told_from_chance() {
        let share = |part, n| Share { part, n };
        // 60 of 100 against 40 of 100: z = 2.828, p = 0.00468.
        let change = Change::of(share(60, 100), share(40, 100)).unwrap();
        assert!((change.chance - 0.004_68).abs() < 1e-5, "{}", change.chance);
        assert!(change.is_real());
        // 55 against 45: z = 1.414, p = 0.1573.
        let change = Change::of(share(55, 100), share(45, 100)).unwrap();
        assert!((change.chance - 0.1573).abs() < 1e-4 && !change.is_real());
        assert_eq!(Change::of(share(10, 29), share(40, 100)), None);
        assert_eq!(Change::of(share(50, 50), share(50, 50)).map(|change| change.chance), Some(1.0));
    }

    #[test]
    fn rare_counts_are_told_from_usual_ones() {
        assert!((chance_of_as_many(1, 1.0) - 0.632_120_558).abs() < 1e-9);
        assert!((chance_of_as_many(10, 1.0) - 1.114_255e-7).abs() < 1e-12);
        assert_eq!((chance_of_as_many(0, 5.0), chance_of_as_many(1, 0.0)), (1.0, 0.0));
        assert!((chance_of_as_many(5, 1000.0) - 1.0).abs() < 1e-9);
    }

    proptest! {
        #[test]
        fn more_is_rarer(count in 1_u32..60, mean in 0.001_f64..50.0) {
            let (this, next) = (chance_of_as_many(count, mean), chance_of_as_many(count + 1, mean));
            prop_assert!((0.0..=1.0).contains(&this) && next <= this + 1e-12, "{} {}", this, next);
        }
    }
}
