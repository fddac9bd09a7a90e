//! How many lines and how many agents a load of calls needs (Erlang 1917; ITU-T E.500, E.520).
//!
//! A load is told in erlangs: the mean number of calls at a time, which is busy seconds of an hour / 3600.

/// The share of calls that finds all of so many lines busy: Erlang's first formula, B. B0 = 1, Bn = A Bn-1 / (n + A Bn-1).
pub fn blocked(load: f64, lines: u32) -> f64 {
    if load <= 0.0 {
        return if lines == 0 { 1.0 } else { 0.0 };
    }
    (1..=lines).fold(1.0, |blocked, line| load * blocked / (f64::from(line) + load * blocked))
}

/// The most lines or agents that anybody is advised to have.
const MOST: u32 = 10_000;

/// The fewest lines at which no larger share of calls than `loss` finds all of them busy.
pub fn lines_needed(load: f64, loss: f64) -> Option<u32> {
    let mut blocked = 1.0;
    if load <= 0.0 || !load.is_finite() {
        return (load <= 0.0).then_some(0);
    }
    (1..=MOST).find(|line| {
        blocked = load * blocked / (f64::from(*line) + load * blocked);
        blocked <= loss
    })
}

/// What a queue asks of its agents.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Demand {
    /// Callers at a time that are talked with: callers an hour × seconds of handling / 3600.
    pub load: f64,
    /// Seconds that an agent is busy with a caller (AHT).
    pub handling: f64,
    /// Seconds within which a caller should be answered (T).
    pub target: f64,
    /// The share of callers that should be.
    pub level: f64,
}

impl Demand {
    /// The share of callers that waits at all, if nobody hangs up: Erlang's second formula, C = N B / (N - A (1 - B)). All wait
    /// where agents are too few for the load.
    pub fn waiting(&self, agents: u32) -> f64 {
        let number = f64::from(agents);
        if number <= self.load {
            return 1.0;
        }
        let blocked = blocked(self.load, agents);
        number * blocked / (number - self.load * (1.0 - blocked))
    }

    /// The share of callers that so many agents answer in time: 1 - C e^(-(N - A) T / AHT).
    pub fn in_time(&self, agents: u32) -> f64 {
        let spare = f64::from(agents) - self.load;
        if spare <= 0.0 {
            return 0.0;
        }
        1.0 - self.waiting(agents) * (-spare * self.target / self.handling.max(f64::EPSILON)).exp()
    }

    /// The fewest agents that answer the wanted share in time.
    pub fn agents_needed(&self) -> Option<u32> {
        (0..=MOST).find(|agents| self.load <= 0.0 || self.in_time(*agents) >= self.level)
    }
}

/// The load of each day's busiest hour, to be judged by how many lines there should be.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BusyHours(Vec<f64>);

/// How many lines a trunk needs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LineAdvice {
    /// The number of lines.
    pub lines: u32,
    /// The mean load of the busiest hours.
    pub mean: f64,
    /// The mean load of those of the five busiest days.
    pub peak: f64,
    /// Days that this rests on.
    pub days: usize,
}

/// Fewer days with calls are no ground for advice.
pub const LEAST_DAYS: usize = 20;
/// The days that stand for unusual ones.
const BUSIEST: usize = 5;
/// The share of calls that may find all lines busy on a usual day, and on one of the busiest.
const USUAL_LOSS: f64 = 0.01;
const PEAK_LOSS: f64 = 0.07;

impl BusyHours {
    /// Takes in a day, by the load of its busiest hour.
    pub fn add(&mut self, load: f64) {
        if load > 0.0 && load.is_finite() {
            self.0.push(load);
        }
    }

    /// The lines needed: so that no more than 1 % is lost in the mean busy hour, and 7 % on the five busiest days (ITU-T E.520).
    /// None where too few days had calls.
    pub fn advice(&self) -> Option<LineAdvice> {
        let mut loads = self.0.clone();
        loads.sort_unstable_by(|left, right| right.total_cmp(left));
        if loads.len() < LEAST_DAYS {
            return None;
        }
        let mean = |loads: &[f64]| loads.iter().sum::<f64>() / loads.len() as f64;
        let (usual, peak) = (mean(&loads), mean(&loads[..BUSIEST]));
        let lines = lines_needed(usual, USUAL_LOSS)?.max(lines_needed(peak, PEAK_LOSS)?);
        Some(LineAdvice { lines, mean: usual, peak, days: loads.len() })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lines_are_as_the_tables_have_them() {
        assert_eq!(lines_needed(2.5, 0.01), Some(7));
        assert_eq!(lines_needed(20.0, 0.01), Some(30));
        assert_eq!(lines_needed(0.0, 0.01), Some(0));
        assert_eq!(lines_needed(f64::NAN, 0.01), None);
        assert!((blocked(2.0, 2) - 0.4).abs() < 1e-12, "1 and 2 and 2: 2 of 5");
        assert!((blocked(1.0, 1) - 0.5).abs() < 1e-12);
    }

    #[test]
    fn agents_are_as_the_textbook_has_them() {
        // 10 erlangs and 14 agents: 17.4 % wait.
        let demand = Demand { load: 10.0, handling: 180.0, target: 20.0, level: 0.8 };
        assert!((demand.waiting(14) - 0.1741).abs() < 5e-4, "{}", demand.waiting(14));
        assert!((demand.in_time(14) - 0.8883).abs() < 5e-4, "{}", demand.in_time(14));
        assert_eq!(demand.agents_needed(), Some(14), "13 answer {}", demand.in_time(13));
        assert_eq!(Demand { load: 0.0, ..demand }.agents_needed(), Some(0));
        assert_eq!((demand.waiting(10), demand.in_time(10)), (1.0, 0.0));
    }

    #[test]
    fn advice_waits_for_twenty_days() {
        let mut hours = BusyHours::default();
        (0..19).for_each(|_| hours.add(2.5));
        hours.add(0.0);
        assert_eq!(hours.advice(), None);
        hours.add(2.5);
        assert_eq!(hours.advice(), Some(LineAdvice { lines: 7, mean: 2.5, peak: 2.5, days: 20 }));
        (0..5).for_each(|_| hours.add(20.0));
        let advice = hours.advice().unwrap();
        assert_eq!((advice.lines, advice.peak), (lines_needed(20.0, 0.07).unwrap(), 20.0));
    }

    proptest! {
        #[test]
        fn more_lines_lose_less_and_no_line_is_wasted(load in 0.01_f64..400.0, loss in 0.001_f64..0.5) {
            let lines = lines_needed(load, loss).unwrap();
            prop_assert!(blocked(load, lines) <= loss);
            prop_assert!(lines == 0 || blocked(load, lines - 1) > loss);
        }

        #[test]
        fn more_agents_answer_sooner(load in 0.01_f64..100.0, handling in 10.0_f64..900.0) {
            let demand = Demand { load, handling, target: 20.0, level: 0.8 };
            let agents = demand.agents_needed().unwrap();
            prop_assert!(demand.in_time(agents) >= 0.8 && demand.in_time(agents.saturating_sub(1)) < 0.8);
            prop_assert!(demand.in_time(agents + 1) >= demand.in_time(agents));
            prop_assert!((0.0..=1.0).contains(&demand.waiting(agents)));
        }
    }
}
