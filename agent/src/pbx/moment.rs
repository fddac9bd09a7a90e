//! Times as administrators let them be written: on the PBX's wall clock, or in seconds since 1970.

use super::{
    leg::MalformedReason,
    wall::DateCache,
    zone::{Times, WallTimes, Zone},
};

/// A time as it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moment {
    /// On the wall clock: seconds since 1970 as if it ran on UTC.
    Wall(i64),
    /// Seconds since 1970 in UTC.
    Utc(i64),
}

/// What a row tells of its times.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moments {
    pub(super) start: Moment,
    pub(super) answer: Option<Moment>,
    pub(super) end: Option<Moment>,
    /// Seconds from start to end.
    pub(super) duration: Option<i64>,
    /// Seconds from answer to end.
    pub(super) billed: Option<i64>,
    pub(super) answered: bool,
}

/// No moment is later, so that what is reckoned with it stays in bounds.
const LATEST: i64 = 253_000_000_000;

impl Moment {
    /// Reads `2026-11-22 00:57:20`, `1795309040` or `1795309040.123456`. Nothing, and the moment 0, is no time.
    pub(super) fn read(text: &[u8], dates: &mut DateCache) -> Result<Option<Self>, MalformedReason> {
        if text.is_empty() {
            return Ok(None);
        }
        if let Some(seconds) = epoch(text) {
            return Ok((seconds > 0).then_some(Self::Utc(seconds)));
        }
        dates.parse(text).map(|wall| Some(Self::Wall(wall))).ok_or(MalformedReason::Time)
    }

    fn utc(self, zone: &mut Zone, last_end: Option<i64>) -> i64 {
        match self {
            Self::Utc(moment) => moment,
            Self::Wall(wall) => {
                let wall = WallTimes { start: wall, answer: None, end: wall, duration: 0, billed: 0 };
                zone.resolve(wall, || None, || last_end).start
            }
        }
    }
}

/// Whole seconds since 1970, a fraction cut off.
fn epoch(text: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(text).ok()?;
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let seconds: i64 = (digits(seconds) && digits(fraction)).then(|| seconds.parse().ok())??;
    (seconds <= LATEST).then_some(seconds)
}

/// A row's times in UTC, start <= answer <= end. `created` is when the channel was made, `last_end` the end of the row before.
pub(super) fn resolve(
    moments: Moments,
    zone: &mut Zone,
    created: Option<i64>,
    last_end: Option<i64>,
) -> Result<Times, MalformedReason> {
    let Moments { duration, billed, .. } = moments;
    if [duration, billed].into_iter().flatten().any(|seconds| seconds.abs() > LATEST) {
        return Err(MalformedReason::Number);
    }
    let mut times = match (moments.start, moments.answer, moments.end) {
        (Moment::Wall(start), None | Some(Moment::Wall(_)), Some(Moment::Wall(end))) => {
            let answer = moments.answer.map(|(Moment::Wall(answer) | Moment::Utc(answer))| answer);
            let duration = duration.unwrap_or(end - start);
            // What is not told of the billed time cannot cast doubt on the answer.
            let billed = billed.unwrap_or(answer.map_or(0, |answer| end - answer));
            zone.resolve(WallTimes { start, answer, end, duration, billed }, || created, || last_end)
        }
        (start, answer, end) => {
            let start = match start {
                Moment::Wall(wall) => {
                    let wall = WallTimes { start: wall, answer: None, end: wall, duration: 0, billed: 0 };
                    zone.resolve(wall, || created, || last_end).start
                }
                Moment::Utc(moment) => moment,
            };
            let end = match end {
                Some(end) => end.utc(zone, last_end),
                None => start + duration.ok_or(MalformedReason::Time)?,
            };
            // A clock that was set back in the middle of a call.
            let end = if end < start { start + duration.unwrap_or(0).max(0) } else { end };
            let answer = answer.map(|answer| answer.utc(zone, last_end).clamp(start, end));
            Times { start, answer, end }
        }
    };
    if times.answer.is_none() && moments.answered {
        times.answer = billed.map(|billed| (times.end - billed).clamp(times.start, times.end));
    }
    Ok(times)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Option<Moment>, MalformedReason> {
        Moment::read(text.as_bytes(), &mut DateCache::default())
    }

    #[test]
    fn every_form_is_read() {
        assert_eq!(read("2026-11-22 00:57:20"), Ok(Some(Moment::Wall(1_795_309_040))));
        assert_eq!(read("1795309040"), Ok(Some(Moment::Utc(1_795_309_040))));
        assert_eq!(read("1795309040.123"), Ok(Some(Moment::Utc(1_795_309_040))));
        for nothing in ["", "0", "0.000000"] {
            assert_eq!(read(nothing), Ok(None));
        }
        for wrong in ["x", "1795309040.", ".5", "-1", "2026-11-22", "99999999999999"] {
            assert_eq!(read(wrong), Err(MalformedReason::Time), "{wrong}");
        }
    }

    #[test]
    fn what_is_missing_is_reckoned() {
        let mut zone = Zone::load(Some("Europe/Berlin")).unwrap();
        let moments = Moments {
            start: Moment::Wall(1_795_309_040 + 3600),
            answer: None,
            end: None,
            duration: Some(34),
            billed: Some(30),
            answered: true,
        };
        let times = Times { start: 1_795_309_040, answer: Some(1_795_309_044), end: 1_795_309_074 };
        assert_eq!(resolve(moments, &mut zone, None, None), Ok(times));
        let utc =
            Moments { start: Moment::Utc(1_795_309_040), end: Some(Moment::Wall(1_795_309_074 + 3600)), ..moments };
        assert_eq!(resolve(utc, &mut zone, None, None), Ok(times));
        let unknown = Moments { duration: None, ..moments };
        assert_eq!(resolve(unknown, &mut zone, None, None), Err(MalformedReason::Time));
    }
}
