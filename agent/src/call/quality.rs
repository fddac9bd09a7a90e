//! How calls sounded, by what the PBX tells of their streams while they are up.

use std::collections::{HashMap, VecDeque};

use demarc_proto::report::Quality;
use rustc_hash::FxBuildHasher;

use super::CallKey;

/// Calls that are remembered: those of a busy hour.
const MOST_CALLS: usize = 20_000;
/// Streams of one call that are told apart; a conference has more, and they say nothing new.
const MOST_STREAMS: usize = 16;

/// What was told of a stream of sound.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// The call.
    pub call: CallKey,
    /// The stream: a channel and a direction, as a hash.
    pub stream: u64,
    /// Asterisk's media experience score, from 0 to 100: twenty times the mean opinion score (MOS) of ITU-T G.107.
    pub score: f32,
}

/// What was told of calls that are up, or were not long ago.
#[derive(Debug, Default)]
pub struct Qualities {
    calls: HashMap<CallKey, Vec<Stream>, FxBuildHasher>,
    order: VecDeque<CallKey>,
}

#[derive(Debug)]
struct Stream {
    name: u64,
    sum: f64,
    samples: u32,
}

impl Qualities {
    /// Takes in what was told. Where too many calls are remembered, the oldest is forgotten.
    pub fn note(&mut self, sample: Sample) {
        if !self.calls.contains_key(&sample.call) {
            if self.order.len() >= MOST_CALLS
                && let Some(oldest) = self.order.pop_front()
            {
                self.calls.remove(&oldest);
            }
            self.order.push_back(sample.call);
        }
        let streams = self.calls.entry(sample.call).or_default();
        let has_room = streams.len() < MOST_STREAMS;
        match streams.iter_mut().find(|stream| stream.name == sample.stream) {
            Some(stream) => {
                stream.sum += f64::from(sample.score);
                stream.samples += 1;
            }
            None if has_room => {
                streams.push(Stream { name: sample.stream, sum: f64::from(sample.score), samples: 1 });
            }
            None => {}
        }
    }

    /// How a call sounded: as its worst stream did, each by the mean of what was told of it.
    pub fn of(&self, call: &CallKey) -> Quality {
        let streams = self.calls.get(call).into_iter().flatten();
        let scores = streams.map(|stream| stream.sum / f64::from(stream.samples));
        scores.reduce(f64::min).map_or(Quality::Unknown, band)
    }
}

/// The band of the mean opinion score, 4.34, 4.03, 3.60 and 3.10 (ITU-T G.107, annex B), by tenths of Asterisk's score.
fn band(score: f64) -> Quality {
    match (score * 10.0).round() as i64 {
        868.. => Quality::Best,
        806.. => Quality::High,
        720.. => Quality::Medium,
        620.. => Quality::Low,
        _ => Quality::Poor,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u64) -> CallKey {
        CallKey::of_single(number)
    }

    #[test]
    fn a_call_sounds_as_its_worst_stream_does() {
        let mut qualities = Qualities::default();
        assert_eq!(qualities.of(&key(1)), Quality::Unknown);
        for (stream, score) in [(1, 88.0), (2, 80.0), (2, 70.0), (1, 86.0)] {
            qualities.note(Sample { call: key(1), stream, score });
        }
        assert_eq!(qualities.of(&key(1)), Quality::Medium);
        assert_eq!(qualities.of(&key(2)), Quality::Unknown);
    }

    #[test]
    fn bands_are_those_of_the_standard() {
        for (score, expected) in [
            (88.0, Quality::Best),
            (86.8, Quality::Best),
            (86.7, Quality::High),
            (80.6, Quality::High),
            (72.0, Quality::Medium),
            (62.0, Quality::Low),
            (61.9, Quality::Poor),
            (0.5, Quality::Poor),
        ] {
            assert_eq!(band(score), expected, "{score}");
        }
    }

    #[test]
    fn endless_calls_and_streams_take_no_endless_room() {
        let mut qualities = Qualities::default();
        for number in 0..MOST_CALLS as u64 + 10 {
            qualities.note(Sample { call: key(number), stream: 1, score: 88.0 });
        }
        assert_eq!((qualities.calls.len(), qualities.order.len()), (MOST_CALLS, MOST_CALLS));
        assert_eq!(qualities.of(&key(0)), Quality::Unknown);
        for stream in 0..1000 {
            qualities.note(Sample { call: key(50), stream, score: 88.0 });
        }
        assert_eq!(qualities.calls[&key(50)].len(), MOST_STREAMS);
    }
}
